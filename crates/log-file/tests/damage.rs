//! What is found damaged, and what a start, a verification and a dump say about it.

use disk::{Disk, Mode, RealDisk, SimDisk, read_all};
use expect_test::{Expect, expect};
use fastrand::Rng;
use log::{Append, Log, LogError, Upkeep};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tertium_log_file::{DumpedKind, LogFile, LogOptions, dump, verify};
use words::{CellName, Position};

const BLOCK: u64 = 4096;
const FIRST: &str = "log/segment-000000000001.seg";
const SECOND: &str = "log/segment-000000000002.seg";
const THIRD: &str = "log/segment-000000000003.seg";

fn options(cell: &str) -> LogOptions {
    let cell = CellName::new(cell).expect("a name");
    LogOptions { segment_bytes: 8 * BLOCK, reserve_bytes: 0, ..LogOptions::new(cell, 7) }
}

fn open(disk: &SimDisk) -> Result<(LogFile, tertium_log_file::Recovered), LogError> {
    LogFile::open(Arc::new(disk.clone()), options("main"))
}

/// Entries 1 to `count`, each of one block; seven go into a segment.
fn filled(count: u64) -> (SimDisk, LogFile) {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk).expect("open");
    append(&mut log, count);
    (disk, log)
}

fn append(log: &mut LogFile, count: u64) {
    for _ in 0..count {
        let tail = log.tail().expect("tail");
        let entry = format!("entry {}", tail.index + 1);
        assert!(matches!(log.append(tail, 1, entry.as_bytes()), Append::Ok(_)));
    }
}

fn copy(disk: &SimDisk) -> SimDisk {
    let copy = SimDisk::new();
    copy.create_dir("log").expect("create");
    for name in disk.list("log").expect("list") {
        let name = format!("log/{name}");
        let file = copy.open(&name, Mode::Create).expect("create");
        file.write_at(&read_all(disk, &name).expect("read"), 0).expect("write");
    }
    copy
}

/// The start's answer, and the verification's, which must be the same.
fn answer(disk: &SimDisk) -> String {
    let verified = verify(disk, Some(&options("main").cell), &mut |_| {});
    match (verified, open(disk).map(|(_, recovered)| recovered)) {
        (Ok(verified), Ok(recovered)) => {
            assert_eq!(verified, recovered);
            match recovered.cut {
                Some(cut) => format!("tail {}, cut {} bytes at {}:{}", recovered.tail, cut.bytes, cut.file, cut.offset),
                None => format!("tail {}", recovered.tail),
            }
        }
        (Err(verified), Err(opened)) => {
            assert_eq!(verified.to_string(), opened.to_string());
            opened.to_string()
        }
        (verified, opened) => panic!("verify says {verified:?}, open says {opened:?}"),
    }
}

#[track_caller]
fn check(count: u64, mark: bool, damage: impl Fn(&SimDisk), expected: &Expect) {
    let (disk, mut log) = filled(count);
    if mark {
        log.mark().expect("mark");
    }
    damage(&disk);
    expected.assert_eq(&answer(&disk));
}

#[test]
fn damage_inside_is_refused() {
    // In the body of entry 3, with entries after it in the same segment.
    check(
        5,
        false,
        |disk| disk.flip_bit(FIRST, 3 * BLOCK + 66, 1).expect("there"),
        &expect![
            "log/segment-000000000001.seg is corrupt at offset 12288: the frame that should follow 1:2 is damaged, yet a whole frame stands after it at offset 16384. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
        ],
    );
    // In the header of entry 3.
    check(
        5,
        false,
        |disk| disk.flip_bit(FIRST, 3 * BLOCK + 40, 1).expect("there"),
        &expect![
            "log/segment-000000000001.seg is corrupt at offset 12288: the frame that should follow 1:2 is damaged, yet a whole frame stands after it at offset 16384. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
        ],
    );
    // A frame of the same segment, whole, at a place that is not its own.
    check(
        5,
        false,
        |disk| {
            let bytes = read_all(disk, FIRST).expect("read");
            let third = &bytes[3 * BLOCK as usize..4 * BLOCK as usize];
            disk.open(FIRST, Mode::ReadWrite).expect("there").write_at(third, 6 * BLOCK).expect("write");
        },
        &expect![
            "log/segment-000000000001.seg is corrupt at offset 24576: a frame of position 1:3 stands where one after 1:5 should. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
        ],
    );
    // In the last entry of a segment that has a successor.
    check(
        9,
        false,
        |disk| disk.flip_bit(FIRST, 7 * BLOCK + 66, 1).expect("there"),
        &expect![
            "log/segment-000000000001.seg is corrupt at offset 28672: it ends after 1:6, but the next segment, log/segment-000000000002.seg, goes on after 1:7: frames are damaged. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
        ],
    );
    // In a segment's header, in its first entry.
    check(
        9,
        false,
        |disk| disk.flip_bit(SECOND, 20, 1).expect("there"),
        &expect![
            "log/segment-000000000002.seg is corrupt at offset 8: the header's checksum does not match. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
        ],
    );
    for byte in [40, 66] {
        check(
            8,
            true,
            |disk| disk.flip_bit(SECOND, BLOCK + byte, 1).expect("there"),
            &match byte {
                40 => expect![
                    "log/segment-000000000002.seg is corrupt at offset 4096: the segment's first frame is damaged, yet a whole frame stands after it at offset 8192. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
                ],
                _ => expect![
                    "log/segment-000000000002.seg is corrupt at offset 4096: the frame that should follow 1:7 is damaged, yet a whole frame stands after it at offset 8192. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
                ],
            },
        );
    }
    // In the only frame of a segment that has a successor.
    check(
        15,
        false,
        |disk| {
            let file = disk.open(SECOND, Mode::ReadWrite).expect("there");
            file.write_at(&[0; 7 * BLOCK as usize], BLOCK).expect("write");
        },
        &expect![
            "log/segment-000000000002.seg is corrupt at offset 4096: the segment's first frame is damaged, yet the next segment was begun. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
        ],
    );
    // A missing file.
    check(
        15,
        false,
        |disk| disk.remove(SECOND).expect("there"),
        &expect![
            "log/segment-000000000002.seg is corrupt at offset 0: the file is missing, though there are segments before or after it. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
        ],
    );
}

#[test]
fn a_mark_tells_damage_to_the_last_entry_from_a_torn_tail() {
    let damage = |disk: &SimDisk| disk.flip_bit(FIRST, 5 * BLOCK + 66, 1).expect("there");
    check(5, false, damage, &expect!["tail 1:4, cut 4096 bytes at log/segment-000000000001.seg:20480"]);
    check(
        5,
        true,
        damage,
        &expect![
            "log/segment-000000000001.seg is corrupt at offset 20480: the frame that should follow 1:4 is damaged, yet a whole frame stands after it at offset 24576. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
        ],
    );
    // A damaged mark was only that.
    check(5, true, |disk| disk.flip_bit(FIRST, 6 * BLOCK + 9, 1).expect("there"), &expect!["tail 1:5"]);
}

type Damage<'a> = &'a dyn Fn(&SimDisk);

/// A segment that has its name and no frame yet is no damage, whatever is in its blocks; what is wrong with its header is.
#[test]
fn a_segment_that_waits_is_told_from_a_damaged_one() {
    let garbage = |disk: &SimDisk| {
        let file = disk.open(SECOND, Mode::ReadWrite).expect("there");
        file.write_at(&[0xee; 3 * BLOCK as usize], BLOCK).expect("write");
    };
    let old_frames = |disk: &SimDisk| {
        let bytes = read_all(disk, FIRST).expect("read");
        let file = disk.open(SECOND, Mode::ReadWrite).expect("there");
        file.write_at(&bytes[BLOCK as usize..], BLOCK).expect("write");
    };
    let cases: [(&str, Damage<'_>, Expect); 7] = [
        ("untouched", &|_| {}, expect!["tail 1:7"]),
        ("not there", &|disk| disk.remove(SECOND).expect("there"), expect!["tail 1:7"]),
        ("garbage", &garbage, expect!["tail 1:7"]),
        ("another segment's frames", &old_frames, expect!["tail 1:7"]),
        (
            "its header",
            &|disk| disk.flip_bit(SECOND, 50, 3).expect("there"),
            expect![
                "log/segment-000000000002.seg is corrupt at offset 8: the header's checksum does not match. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
            ],
        ),
        (
            "nothing begun before it",
            &|disk| disk.remove(FIRST).expect("there"),
            expect![
                "log/segment-000000000001.seg is corrupt at offset 0: the file is missing, though there are segments before or after it. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"
            ],
        ),
        (
            "a name of another version",
            &|disk| disk.rename(FIRST, "log/00000000000000000001.seg").expect("there"),
            expect![
                "log/00000000000000000001.seg is not for this program: this program names its segments `segment-`, 12 digits, `.seg`. What to do: use the version of the program that wrote it, or another data directory"
            ],
        ),
    ];
    for (what, damage, expected) in cases {
        let (disk, log) = filled(7);
        assert_eq!(log.preparer().run_once().expect("room"), log::Kept::Worked);
        drop(log);
        assert_eq!(disk.list("log").expect("list").len(), 2, "{what}");
        damage(&disk);
        expected.assert_eq(&answer(&disk));
        if let Ok((mut log, _)) = open(&disk) {
            append(&mut log, 1);
            drop(log);
            assert_eq!(answer(&disk), "tail 1:8", "{what}");
        }
    }
}

/// A next segment of another length than is asked for now is made anew.
#[test]
fn the_length_of_segments_can_change() {
    let (disk, log) = filled(7);
    log.preparer().run_once().expect("room");
    drop(log);
    for blocks in [3, 16] {
        let options = LogOptions { segment_bytes: blocks * BLOCK, ..options("main") };
        let (mut log, recovered) = LogFile::open(Arc::new(disk.clone()), options).expect("open");
        let tail = recovered.tail;
        let entry = vec![7; (blocks as usize - 1) * BLOCK as usize - 64];
        assert!(matches!(log.append(tail, 1, &entry), Append::Ok(_)), "the largest that fits");
        log.preparer().run_once().expect("room");
    }
    let names = disk.list("log").expect("list");
    assert_eq!(names, ["1", "2", "3", "4"].map(|number| format!("segment-00000000000{number}.seg")));
    assert_eq!(answer(&disk), "tail 1:9");
}

#[test]
fn a_cut_tail_stays_cut() {
    let (disk, log) = filled(5);
    drop(log);
    disk.flip_bit(FIRST, 5 * BLOCK + 66, 1).expect("there");
    let (mut log, recovered) = open(&disk).expect("cut");
    assert_eq!((recovered.tail.index, recovered.cut.map(|cut| cut.offset)), (4, Some(5 * BLOCK)));
    append(&mut log, 2);
    drop(log);
    let (_, recovered) = open(&disk).expect("open");
    assert_eq!((recovered.tail.index, recovered.cut), (6, None));
}

/// A torn frame that was cut must not become whole by a later torn write of another entry with the same bytes in the
/// sectors that it lacked.
#[test]
fn what_was_cut_never_comes_together() {
    let (disk, mut log) = filled(3);
    let tail = log.tail().expect("tail");
    assert!(matches!(log.append(tail, 1, &[5; 900]), Append::Ok(_)));
    drop(log);
    let second_sector = |byte: u8| {
        let file = disk.open(FIRST, Mode::ReadWrite).expect("there");
        file.write_at(&[byte; 400], 4 * BLOCK + 512).expect("write");
    };
    second_sector(0);
    expect!["tail 1:3, cut 4096 bytes at log/segment-000000000001.seg:16384"].assert_eq(&answer(&disk));
    second_sector(5);
    expect!["tail 1:3"].assert_eq(&answer(&disk));
}

/// Whatever single bit is flipped: a start refuses, cuts the last entry, or finds everything as it was.
#[test]
fn no_flipped_bit_passes_unseen() {
    let (disk, mut log) = filled(9);
    log.mark().expect("mark");
    let entries = |disk: &SimDisk| {
        let mut found = Vec::new();
        let seen = dump(disk, 0, u64::MAX, &mut |frame| {
            if frame.kind == DumpedKind::Entry {
                found.push((frame.position, frame.digest, frame.entry.to_vec()));
            }
            ControlFlow::Continue(())
        });
        seen.map(|()| found)
    };
    let whole = entries(&disk).expect("whole");
    assert_eq!(whole.len(), 9);
    let mut refused = 0;
    let mut rng = Rng::with_seed(3);
    log.preparer().run_once().expect("room");
    for name in [FIRST, SECOND, THIRD] {
        for block in 0..8 {
            for _ in 0..40 {
                let damaged = copy(&disk);
                damaged.flip_bit(name, block * BLOCK + rng.u64(..80), rng.u8(..8)).expect("there");
                match (open(&damaged), entries(&damaged)) {
                    (Err(LogError::Corrupt { .. }), Err(LogError::Corrupt { .. })) => refused += 1,
                    (Ok((_, recovered)), Ok(found)) => assert!(found == whole && recovered.tail.index == 9),
                    other => panic!("{name}, block {block}: {other:?}"),
                }
            }
        }
    }
    assert!(refused > 200, "{refused}");
}

/// Ranges overwritten at random, with garbage or with other parts of the log: an error or a shorter log, never a panic and
/// never an entry that was not appended at that place.
#[test]
fn garbage_is_never_an_entry() {
    let (disk, mut log) = filled(20);
    log.mark().expect("mark");
    drop(log);
    let (mut rng, mut accepted) = (Rng::with_seed(11), 0);
    for _ in 0..400 {
        let damaged = copy(&disk);
        let names = disk.list("log").expect("list");
        for _ in 0..rng.usize(1..4) {
            let name = format!("log/{}", names[rng.usize(..names.len())]);
            let block = rng.u64(..8) * BLOCK;
            let mut bytes = vec![0; rng.usize(1..2 * BLOCK as usize)];
            if rng.bool() {
                bytes.iter_mut().for_each(|byte| *byte = rng.u8(..));
            } else {
                let from = disk.open(&name, Mode::Read).expect("there");
                from.read_at(&mut bytes, rng.u64(..8) * BLOCK).expect("read");
            }
            damaged.open(&name, Mode::ReadWrite).expect("there").write_at(&bytes, block).expect("write");
        }
        if let Ok((mut log, recovered)) = open(&damaged) {
            accepted += 1;
            for stored in log.read(recovered.first, usize::MAX).expect("what was accepted is readable") {
                assert_eq!(stored.entry, format!("entry {}", stored.position.index).into_bytes());
            }
        }
    }
    assert!((10..390).contains(&accepted), "{accepted}");
}

#[test]
fn another_cell_another_log_and_an_unreadable_file_are_refused() {
    let (disk, log) = filled(9);
    drop(log);
    let error = LogFile::open(Arc::new(disk.clone()), options("other")).expect_err("another cell");
    expect!["log/segment-000000000001.seg is not for this program: it is the log of cell `main`, not of `other`. What to do: give each cell a data directory of its own, or correct the cell's name"].assert_eq(&error.to_string());

    let (foreign, log) = {
        let disk = SimDisk::new();
        let (mut log, _) =
            LogFile::open(Arc::new(disk.clone()), LogOptions { log_id: 8, ..options("main") }).expect("open");
        append(&mut log, 9);
        (disk, log)
    };
    drop(log);
    let file = disk.open(SECOND, Mode::ReadWrite).expect("there");
    file.write_at(&read_all(&foreign, SECOND).expect("read"), 0).expect("write");
    let error = open(&disk).expect_err("another log's segment");
    expect!["log/segment-000000000002.seg is not for this program: it belongs to another log than the segment before it. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"].assert_eq(&error.to_string());

    disk.set_unreadable(FIRST, true).expect("there");
    assert!(matches!(open(&disk), Err(LogError::Io { .. })));
}

#[test]
fn an_entry_cannot_pose_as_a_frame() {
    // A client puts into an entry, where a block begins, a frame such as this log might have, from a log of its own; then
    // that entry is torn.
    let (disk, mut log) = filled(4);
    let own = SimDisk::new();
    let (mut own_log, _) =
        LogFile::open(Arc::new(own.clone()), LogOptions { log_id: 8, ..options("main") }).expect("open");
    append(&mut own_log, 7);
    let frames = read_all(&own, FIRST).expect("read");
    let mut entry = vec![0; BLOCK as usize - 64];
    entry.extend_from_slice(&frames[7 * BLOCK as usize..]);
    let tail = log.tail().expect("tail");
    assert!(matches!(log.append(tail, 1, &entry), Append::Ok(_)));
    drop(log);
    disk.flip_bit(FIRST, 5 * BLOCK + 70, 1).expect("there");
    expect!["tail 1:4, cut 8192 bytes at log/segment-000000000001.seg:20480"].assert_eq(&answer(&disk));
}

#[test]
fn a_start_from_a_checkpoint_reads_only_what_follows() {
    let (disk, log) = filled(30);
    drop(log);
    disk.flip_bit(FIRST, 3 * BLOCK + 66, 1).expect("there");
    assert!(open(&disk).is_err());
    let options = LogOptions { verify_from: 9, ..options("main") };
    let (mut log, recovered) = LogFile::open(Arc::new(disk.clone()), options).expect("the damage lies before");
    assert_eq!((recovered.entries, recovered.first, recovered.tail.index), (30, 1, 30));
    assert_eq!(log.read(9, usize::MAX).expect("read").len(), 22);
    assert!(matches!(log.read(1, usize::MAX), Err(LogError::Corrupt { .. })));
}

#[test]
fn a_dump_shows_what_lies_before_the_damage() {
    let (disk, mut log) = filled(3);
    log.mark().expect("mark");
    append(&mut log, 3);
    log.mark().expect("mark");
    log.seal().expect("seal");
    let shown = |from, to| {
        let mut lines = String::new();
        let result = dump(&disk, from, to, &mut |frame| {
            let text = String::from_utf8_lossy(frame.entry);
            lines += &format!("{}:{} {:?} {} {text}\n", frame.file, frame.offset, frame.kind, frame.position);
            ControlFlow::Continue(())
        });
        lines + &result.map_or_else(|error| error.to_string(), |()| "end".to_owned())
    };
    expect![[r#"
        log/segment-000000000001.seg:8192 Entry 1:2 entry 2
        log/segment-000000000001.seg:12288 Entry 1:3 entry 3
        log/segment-000000000001.seg:16384 Mark 1:3 
        log/segment-000000000001.seg:20480 Entry 1:4 entry 4
        end"#]]
    .assert_eq(&shown(2, 4));
    disk.flip_bit(FIRST, 5 * BLOCK + 66, 0).expect("there");
    expect![[r#"
        log/segment-000000000001.seg:12288 Entry 1:3 entry 3
        log/segment-000000000001.seg:16384 Mark 1:3 
        log/segment-000000000001.seg is corrupt at offset 20480: the frame that should follow 1:3 is damaged, yet a whole frame stands after it at offset 24576. What to do: restore the data directory from a backup and keep the damaged one aside; `tertium log dump` shows the entries before the damage"#]].assert_eq(&shown(3, 100));
}

#[test]
fn verification_reads_beside_a_running_server() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let disk = Arc::new(RealDisk::open(dir.path()).expect("open"));
    let (mut log, _) = LogFile::open(disk, options("main")).expect("open");
    append(&mut log, 10);
    let preparer = log.preparer();
    let (done, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let verified = scope.spawn(|| {
            let reader = RealDisk::read_only(dir.path()).expect("read only");
            let mut last = Position::START;
            while !done.load(Ordering::Acquire) {
                let verified = verify(&reader, None, &mut |_| {}).expect("a running log is whole");
                assert!(verified.tail >= last && verified.tail.index >= 10);
                last = verified.tail;
                rounds.fetch_add(1, Ordering::AcqRel);
            }
        });
        while !verified.is_finished() && (rounds.load(Ordering::Acquire) < 30 || log.tail().expect("tail").index < 300)
        {
            append(&mut log, 5);
            let tail = log.tail().expect("tail").index;
            log.trim(tail.saturating_sub(40)).expect("trim");
            preparer.run_once().expect("prepare");
        }
        done.store(true, Ordering::Release);
        verified.join().expect("verification");
    });
}
