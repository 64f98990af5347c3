//! A log on a disk that changes what it was given.

use std::ops::ControlFlow;
use std::sync::Arc;

use disk::{Disk, Mode, SimDisk, read_all};
use log::{Append, Log, LogError};
use log_file::{BLOCK_BYTES, DIR, DumpedKind, LogFile, LogOptions, dump, verify};
use words::{CellName, Position};

use crate::Script;

const BLOCK: usize = BLOCK_BYTES;
const SEGMENT_BYTES: u64 = 4 * BLOCK as u64;
const EPOCH: u64 = 1;

/// Damages the files of a log as the bytes say, then reads it in every way there is. Whatever was done to it: what is read
/// is what was written, in order and from the place where it was written; all ways agree; and a log that opens works.
///
/// # Panics
/// Where one of that does not hold.
pub fn frame_decoder(bytes: &[u8]) {
    let disk = Arc::new(SimDisk::new());
    let mut script = Script(bytes);
    let written = write(&disk, &mut script);
    while !script.is_over() {
        damage(disk.as_ref(), &mut script);
    }
    let verified = verify(disk.as_ref(), Some(&cell()), &mut |_| {});
    let mut shown = Vec::new();
    let dumped = dump(disk.as_ref(), 0, u64::MAX, &mut |frame| {
        if frame.kind == DumpedKind::Entry {
            shown.push((frame.position, frame.entry.to_vec()));
        }
        ControlFlow::Continue(())
    });
    check_prefix(&shown, &written);
    match LogFile::open(Arc::clone(&disk) as Arc<dyn Disk>, options()) {
        Ok((mut log, recovered)) => {
            assert_eq!(verified.map(|verified| verified.tail).ok(), Some(recovered.tail), "verify sees another tail");
            assert!(dumped.is_ok(), "dump fails where open does not: {dumped:?}");
            check_works(&mut log, recovered.tail, recovered.sealed, &written);
        }
        Err(LogError::Fatal { what }) => panic!("damage is no failed sync: {what}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn cell() -> CellName {
    CellName::new("main").expect("it is a name")
}

fn options() -> LogOptions {
    LogOptions { segment_bytes: SEGMENT_BYTES, reserve_bytes: 0, spares_max: 2, ..LogOptions::new(cell(), 7) }
}

/// A log of a few segments; how many entries, how long, and whether it was marked, the script says.
fn write(disk: &Arc<SimDisk>, script: &mut Script<'_>) -> Vec<Vec<u8>> {
    let opened = LogFile::open(Arc::clone(disk) as Arc<dyn Disk>, options());
    let (mut log, recovered) = opened.expect("the disk is empty and works");
    let mut tail = recovered.tail;
    let shape = script.byte();
    let mut written = Vec::new();
    for number in 0..shape % 8 {
        // Below, at and above a block.
        let len = [0, 1, 40, 4_000, 5_000, 9_000, 100, 4_096][usize::from(number.wrapping_add(shape >> 4) % 8)];
        let entry = vec![number + 1; len];
        let Append::Ok(position) = log.append(tail, EPOCH, &entry) else { break };
        tail = position;
        written.push(entry);
    }
    if shape & 8 != 0 {
        log.mark().expect("the disk works");
    }
    written
}

fn damage(disk: &SimDisk, script: &mut Script<'_>) {
    let files = disk.list(DIR).expect("the disk works");
    let instruction = script.byte();
    let Some(file) = files.get(usize::from(instruction >> 4) % files.len().max(1)) else {
        script.0 = &[];
        return;
    };
    let name = format!("{DIR}/{file}");
    let mut content = read_all(disk, &name).expect("the disk works");
    let blocks = content.len() / BLOCK;
    let at = script.number() % content.len().max(1);
    match instruction & 7 {
        0 => content.truncate(at),
        1 => drop(disk.remove(&name)),
        2 if blocks > 0 => content[at / BLOCK % blocks * BLOCK..][..BLOCK].fill(0),
        3 if blocks > 0 => {
            let from = script.number() % blocks * BLOCK;
            content.copy_within(from..from + BLOCK, at / BLOCK % blocks * BLOCK);
        }
        4 => {
            let other = &files[script.number() % files.len()];
            content = read_all(disk, &format!("{DIR}/{other}")).expect("the disk works");
        }
        5 => content.splice(at.., script.bytes().iter().copied()).for_each(drop),
        _ if !content.is_empty() => content[at] ^= script.byte(),
        _ => {}
    }
    if instruction & 7 != 1 {
        overwrite(disk, &name, &content);
    }
}

fn overwrite(disk: &SimDisk, name: &str, content: &[u8]) {
    let file = disk.open(name, Mode::ReadWrite).expect("it is there");
    file.set_len(content.len() as u64).expect("the disk works");
    file.write_at(content, 0).expect("the disk works");
    file.sync().expect("the disk works");
}

/// Entries come out where they were put in, and without a gap.
fn check_prefix(read: &[(Position, Vec<u8>)], written: &[Vec<u8>]) {
    for (position, entry) in read {
        let index = usize::try_from(position.index).expect("it was read, so it is small");
        assert_eq!(written.get(index - 1), Some(entry), "entry {index} was never written");
    }
    assert!(read.windows(2).all(|two| two[0].0.index + 1 == two[1].0.index), "a gap");
}

fn check_works(log: &mut LogFile, tail: Position, sealed: bool, written: &[Vec<u8>]) {
    assert!(!sealed, "nobody has sealed it");
    let before = read(log);
    check_prefix(&before, written);
    assert_eq!(before.last().map_or(Position::START, |(position, _)| *position).index, last_index(&before, tail));
    let Append::Ok(position) = log.append(tail, EPOCH, b"more") else { panic!("a log that opens takes entries") };
    let after = read(log);
    assert_eq!(after[..after.len() - 1], before, "an append changed what was there");
    assert_eq!(after.last(), Some(&(position, b"more".to_vec())));
}

/// Where nothing is readable any more the tail stands for what was trimmed.
fn last_index(read: &[(Position, Vec<u8>)], tail: Position) -> u64 {
    if read.is_empty() { 0 } else { tail.index }
}

fn read(log: &mut LogFile) -> Vec<(Position, Vec<u8>)> {
    let stored = log.read(log.first(), usize::MAX).expect("it was verified");
    stored.into_iter().map(|stored| (stored.position, stored.entry)).collect()
}
