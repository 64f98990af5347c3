//! Crashes, full disks and flipped bits: nothing is lost that counted, and nothing is read that was not written.

use std::sync::Arc;

use disk::{Disk, SimDisk, read_all};
use machine::{Archive, Fault, NameHash};
use tertium_archive::{self as archive, ArchiveError, DiskArchive, Options};

const OPTIONS: Options =
    Options { memtable_records: 40, memtable_bytes: 6_000, merge_step_entries: 100, hash_seed_if_new: 1 };

fn open(disk: &SimDisk, next_ordinal: u64) -> Result<DiskArchive, ArchiveError> {
    DiskArchive::open(Arc::new(disk.clone()), next_ordinal, OPTIONS)
}

/// What record an ordinal has.
fn record(ordinal: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(ordinal);
    let mut bytes = ordinal.to_le_bytes().to_vec();
    bytes.extend((0..random.usize(0..250)).map(|_| random.u8(..)));
    bytes
}

fn name(ordinal: u64) -> NameHash {
    NameHash(ordinal.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn push(archive: &mut DiskArchive) {
    let ordinal = archive.next_ordinal();
    archive.push(&record(ordinal), &[name(ordinal)], &[NameHash(ordinal % 3), NameHash(77)]);
}

fn check(archive: &DiskArchive, upto: u64) {
    assert_eq!(archive.next_ordinal(), upto);
    for ordinal in 0..upto {
        let mut seen = Vec::new();
        archive.read(ordinal, &mut |bytes| seen = bytes.to_vec()).expect("it was pushed");
        assert_eq!(seen, record(ordinal));
        let found = archive.find(name(ordinal), &mut |at, bytes| at == ordinal && bytes == seen);
        assert_eq!(found.expect("it can be read"), Some(ordinal));
    }
    for ordinal in upto..upto + 50 {
        assert_eq!(archive.find(name(ordinal), &mut |at, _| at == ordinal).expect("it can be read"), None);
        assert!(archive.read(ordinal, &mut |_| {}).is_err());
    }
}

fn all_jobs(archive: &mut DiskArchive) -> Result<(), ArchiveError> {
    while let Some(job) = archive.next_job() {
        archive.finish(job.run())?;
    }
    Ok(())
}

/// One life of a cell until the power goes: pushes, jobs, checkpoints, where `checkpoint` is what would be opened.
fn live(archive: &mut DiskArchive, random: &mut fastrand::Rng, checkpoint: &mut u64) -> Result<(), ArchiveError> {
    loop {
        for _ in 0..random.usize(0..120) {
            push(archive);
        }
        if random.u8(0..3) == 0 {
            archive.rotate();
            let boundary = archive.next_ordinal();
            while archive.sealed_upto() < boundary {
                let Some(job) = archive.next_job() else { break };
                archive.finish(job.run())?;
            }
            *checkpoint = boundary;
            archive.set_floor(boundary);
        } else if let Some(job) = archive.next_job() {
            archive.finish(job.run())?;
        }
    }
}

#[test]
fn after_a_crash_anywhere_it_opens_with_exactly_what_was_below_the_checkpoint() {
    let mut merged = 0;
    for seed in 0..100 {
        let disk = SimDisk::new();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut checkpoint = 0;
        for _ in 0..4 {
            let mut archive = open(&disk, checkpoint).expect("what was durable opens");
            check(&archive, checkpoint);
            disk.lose_power_after(random.u64(0..1_500));
            let error = live(&mut archive, &mut random, &mut checkpoint).expect_err("it ends by the power loss");
            assert!(!error.is_retriable() && archive.next_job().is_none(), "{error}");
            disk.crash(&mut random);
        }
        disk.lose_power_after(random.u64(0..12));
        let opened = open(&disk, checkpoint);
        drop(opened);
        disk.crash(&mut random);
        let archive = open(&disk, checkpoint).expect("a crash while opening loses nothing");
        check(&archive, checkpoint);
        let files = disk.list(archive::DIRECTORY).expect("a list");
        let count = |extension| files.iter().filter(|file| file.ends_with(extension)).count();
        merged += usize::from(count(".rec") > count(".names"));
        assert_eq!(files.len(), 1 + count(".rec") + count(".names") + count(".touched"), "{files:?}");
    }
    assert!(merged > 30, "only {merged} runs merged anything");
}

#[test]
fn a_full_disk_keeps_all_in_memory_and_goes_on_when_there_is_room() {
    for spare_bytes in (0..14_000).step_by(1_000) {
        let disk = SimDisk::new();
        let mut archive = open(&disk, 0).expect("a new archive");
        for _ in 0..700 {
            push(&mut archive);
        }
        archive.rotate();
        let boundary = archive.next_ordinal();
        archive.set_floor(boundary);
        let mut failures = 0;
        // Each round has room for a little more and one job that succeeds, so that jobs fail at many points.
        for _ in 0..30 {
            disk.set_capacity(Some(disk.used_bytes() + spare_bytes));
            let backlog = archive.backlog();
            match all_jobs(&mut archive) {
                Ok(()) => break,
                Err(error) => {
                    assert!(error.is_retriable(), "{error}");
                    assert!(archive.backlog() <= backlog);
                    failures += 1;
                    check(&archive, boundary);
                }
            }
            disk.set_capacity(None);
            if let Some(job) = archive.next_job() {
                archive.finish(job.run()).expect("there is room");
            }
        }
        disk.set_capacity(None);
        assert!(failures > 0, "{spare_bytes} bytes were enough");
        all_jobs(&mut archive).expect("there is room");
        check(&archive, boundary);
        drop(archive);
        check(&open(&disk, boundary).expect("it opens"), boundary);
    }
}

#[test]
fn a_failed_sync_ends_the_jobs() {
    for syncs in 0..4 {
        let disk = SimDisk::new();
        let mut archive = open(&disk, 0).expect("a new archive");
        push(&mut archive);
        archive.rotate();
        disk.fail_sync_after(syncs);
        let error = all_jobs(&mut archive).expect_err("a sync failed");
        assert!(matches!(error, ArchiveError::Io { doing: "sync", .. }), "{error}");
        assert!(!error.is_retriable() && archive.next_job().is_none());
        check(&archive, 1);
    }
}

/// A sealed archive of 600 records and its disk.
fn sealed() -> (SimDisk, DiskArchive) {
    let disk = SimDisk::new();
    let mut archive = open(&disk, 0).expect("a new archive");
    for _ in 0..600 {
        push(&mut archive);
    }
    archive.rotate();
    archive.set_floor(600);
    all_jobs(&mut archive).expect("there is room");
    (disk, archive)
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_named() {
    let (disk, archive) = sealed();
    let mut random = fastrand::Rng::with_seed(2);
    let files = disk.list(archive::DIRECTORY).expect("a list");
    for file in files.iter().map(|file| format!("{}/{file}", archive::DIRECTORY)) {
        let len = read_all(&disk, &file).expect("the file").len() as u64;
        for _ in 0..40 {
            let (offset, bit) = (random.u64(0..len), random.u8(0..8));
            disk.flip_bit(&file, offset, bit).expect("inside the file");
            let damage = first_damage(&disk);
            assert!(damage.contains(&file), "{file} at {offset}: {damage}");
            disk.flip_bit(&file, offset, bit).expect("inside the file");
        }
    }
    check(&archive, 600);
}

/// Opens and reads everything; says what it stumbled over.
fn first_damage(disk: &SimDisk) -> String {
    let archive = match open(disk, 600) {
        Ok(archive) => archive,
        Err(error @ ArchiveError::Corrupt { .. }) => return error.to_string(),
        Err(error) => panic!("{error}"),
    };
    let all = || -> Result<(), Fault> {
        for ordinal in 0..600 {
            archive.read(ordinal, &mut |_| {})?;
            archive.find(name(ordinal), &mut |at, _| at == ordinal)?;
            for account in [0, 1, 2, 77] {
                archive.view().touched_around(NameHash(account), ordinal)?;
            }
        }
        Ok(())
    };
    all().map_or_else(|fault| fault.to_string(), |()| "nothing".to_owned())
}

#[test]
fn a_block_that_cannot_be_read_is_a_fault() {
    let (disk, archive) = sealed();
    let file = "archive/00000000000000000000.rec";
    disk.set_unreadable(file, true).expect("it is there");
    let fault = archive.view().read(3, |_| ()).expect_err("it cannot be read");
    assert!(fault.0.contains(file), "{fault}");
}

#[test]
fn it_opens_only_where_it_can_go_back_to() {
    let (disk, archive) = sealed();
    drop(archive);
    let bytes = disk.used_bytes();
    for boundary in [39, 601, 10_000, 1] {
        let refused = open(&disk, boundary);
        assert!(matches!(refused, Err(ArchiveError::Boundary { .. })), "{boundary}: {refused:?}");
    }
    assert_eq!(disk.used_bytes(), bytes, "a refused open drops nothing");
    check(&open(&disk, 600).expect("the boundary"), 600);
    check(&open(&disk, 0).expect("the log replays everything"), 0);
    let missing = open(&SimDisk::new(), 5);
    assert!(matches!(missing, Err(ArchiveError::Boundary { .. })), "{missing:?}");
}

fn seal_all(archive: &mut DiskArchive) {
    while archive.backlog() > 0 {
        let done = archive.next_job().expect("there is a backlog").run();
        archive.finish(done).expect("room");
    }
}

#[test]
fn an_older_checkpoint_can_be_opened_after_the_newer_one_was_in_use() {
    let disk = SimDisk::new();
    let mut archive = open(&disk, 0).expect("a new archive");
    let mut checkpoints = Vec::new();
    for records in [100, 300] {
        (0..records).for_each(|_| push(&mut archive));
        archive.rotate();
        seal_all(&mut archive);
        checkpoints.push(archive.next_ordinal());
    }
    let [older, newer] = checkpoints[..] else { panic!("two checkpoints") };
    drop(archive);
    let opened = DiskArchive::open_above(Arc::new(disk.clone()), older, newer, OPTIONS);
    let mut archive = opened.expect("the newer one");
    all_jobs(&mut archive).expect("room");
    check(&archive, newer);
    drop(archive);
    // The newer one is found damaged, and the log brings again what is above the older one.
    let mut archive = open(&disk, older).expect("the older one");
    (older..newer).for_each(|_| push(&mut archive));
    all_jobs(&mut archive).expect("room");
    check(&archive, newer);
}

#[test]
fn what_is_below_an_older_checkpoint_is_merged_all_the_same() {
    let disk = SimDisk::new();
    let mut archive = open(&disk, 0).expect("a new archive");
    (0..400).for_each(|_| push(&mut archive));
    archive.rotate();
    seal_all(&mut archive);
    let newer = archive.next_ordinal();
    drop(archive);
    let indexes = |disk: &SimDisk| {
        let files = disk.list("archive").expect("list");
        files.iter().filter(|file| file.ends_with(".names")).count()
    };
    let before = indexes(&disk);
    assert!(before >= 10, "{before}: a segment has at most 40 records");
    let mut archive = DiskArchive::open_above(Arc::new(disk.clone()), 330, newer, OPTIONS).expect("it opens");
    all_jobs(&mut archive).expect("room");
    assert_eq!(indexes(&disk), before - 7, "the first eight are one");
}
