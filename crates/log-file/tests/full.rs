//! Disks that are full in places where a prewritten log needs no room: quotas, file systems that copy on write.

use disk::{Disk, File, Mode, SimDisk};
use log::{Append, Kept, Log, LogError, Rejected, Upkeep};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tertium_log_file::{LogFile, LogOptions};
use words::CellName;

const BLOCK: usize = 4096;
/// A frame of this entry takes two blocks.
const ENTRY: [u8; 5_000] = [9; 5_000];

fn options() -> LogOptions {
    let cell = CellName::new("main").expect("a name");
    LogOptions { segment_bytes: 8 * BLOCK as u64, reserve_bytes: 0, spares_max: 2, ..LogOptions::new(cell, 7) }
}

/// What a disk refuses for want of room.
#[derive(Clone, Copy, Debug)]
enum Refuses {
    /// So many appends, of each of which so many blocks arrive all the same. What it says of its room is given.
    Appends {
        times: usize,
        arriving_blocks: usize,
        free_bytes: u64,
    },
    SyncDir,
    Rename,
    Remove,
}

/// A disk that refuses, from when it is told to.
#[derive(Clone, Debug)]
struct Refusing {
    disk: SimDisk,
    what: Refuses,
    left: Arc<AtomicUsize>,
}

impl Refusing {
    fn new(disk: &SimDisk, what: Refuses) -> Self {
        Self { disk: disk.clone(), what, left: Arc::new(AtomicUsize::new(0)) }
    }

    fn begin(&self) {
        let times = if let Refuses::Appends { times, .. } = self.what { times } else { usize::MAX };
        self.left.store(times, Ordering::Relaxed);
    }

    fn end(&self) {
        self.left.store(0, Ordering::Relaxed);
    }

    fn is_refused(&self, wanted: bool) -> bool {
        wanted && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn refuse(&self, wanted: bool) -> io::Result<()> {
        if self.is_refused(wanted) { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(()) }
    }
}

impl Disk for Refusing {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Box<dyn File>> {
        let file = self.disk.open(name, mode)?;
        Ok(if mode == Mode::Direct { Box::new(RefusingFile { file, disk: self.clone() }) } else { file })
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.refuse(matches!(self.what, Refuses::Rename))?;
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.refuse(matches!(self.what, Refuses::Remove))?;
        self.disk.remove(name)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.refuse(matches!(self.what, Refuses::SyncDir))?;
        self.disk.sync_dir(dir)
    }
    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        Ok(if let Refuses::Appends { free_bytes, .. } = self.what { free_bytes } else { u64::MAX })
    }
}

#[derive(Debug)]
struct RefusingFile {
    file: Box<dyn File>,
    disk: Refusing,
}

impl File for RefusingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        if let Refuses::Appends { arriving_blocks, .. } = self.disk.what
            && self.disk.is_refused(true)
        {
            self.file.write_at(&buf[..(arriving_blocks * BLOCK).min(buf.len())], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_at(buf, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

fn open(disk: &Refusing) -> LogFile {
    LogFile::open(Arc::new(disk.clone()), options()).expect("a sound log").0
}

fn append(log: &mut LogFile, entry: &[u8]) -> Append {
    let tail = log.tail().expect("tail");
    log.append(tail, 1, entry)
}

/// What the log says of an append that meets a full disk, and how many entries stand there after a power cut: what was not
/// synced may be there and may not.
#[track_caller]
fn check_append(times: usize, arriving_blocks: usize, expected: &str, entries_after: std::ops::RangeInclusive<u64>) {
    for seed in 0..20 {
        let disk = SimDisk::new();
        let mut log = open(&Refusing::new(&disk, Refuses::Rename));
        assert!(matches!(append(&mut log, b"first"), Append::Ok(_)));
        drop(log);
        let refusing = Refusing::new(&disk, Refuses::Appends { times, arriving_blocks, free_bytes: 0 });
        let mut log = open(&refusing);
        refusing.begin();
        let said = match append(&mut log, &ENTRY) {
            Append::Rejected(Rejected::Full) => "rejected",
            Append::Unknown(LogError::Fatal { .. }) => "unknown",
            other => panic!("{other:?}"),
        };
        assert_eq!(said, expected);
        if said == "rejected" {
            assert_eq!(log.has_room(), Err(Rejected::Full));
        }
        drop(log);
        disk.crash(&mut fastrand::Rng::with_seed(seed));
        let (mut log, _) = LogFile::open(Arc::new(disk), options()).expect("a sound log");
        let tail = log.tail().expect("tail").index;
        assert!(entries_after.contains(&tail), "seed {seed}: {tail} entries stand there");
    }
}

#[test]
fn what_a_full_disk_took_of_a_frame_is_taken_back_or_nobody_knows() {
    // Nothing arrived: that is certain, whatever else the disk takes.
    check_append(usize::MAX, 0, "rejected", 1..=1);
    // Some of it, or all of it, and the disk takes the zeros over it.
    check_append(1, 1, "rejected", 1..=1);
    check_append(1, 2, "rejected", 1..=1);
    // The disk does not take them either. Here the zeros arrive though the disk denies it; the log cannot know.
    check_append(2, 1, "unknown", 1..=1);
    check_append(usize::MAX, 2, "unknown", 1..=2);
}

#[test]
fn after_a_refusal_the_next_append_takes_the_same_place() {
    let disk = SimDisk::new();
    let refusing = Refusing::new(&disk, Refuses::Appends { times: 1, arriving_blocks: 2, free_bytes: u64::MAX });
    let mut log = open(&refusing);
    assert!(matches!(append(&mut log, b"first"), Append::Ok(_)));
    refusing.begin();
    assert!(matches!(append(&mut log, &ENTRY), Append::Rejected(Rejected::Full)));
    // The disk says that it has room, as under a quota: nobody tries again before the preparer had a turn.
    assert_eq!((log.has_room(), log.has_room()), (Err(Rejected::Full), Err(Rejected::Full)));
    let preparer = log.preparer();
    while preparer.run_once().expect("sound") != Kept::Idle {}
    assert_eq!(log.has_room(), Ok(()));
    assert!(matches!(append(&mut log, b"second"), Append::Ok(_)));
    drop(log);
    let (mut log, recovered) = LogFile::open(Arc::new(disk), options()).expect("a sound log");
    assert_eq!((recovered.entries, recovered.cut), (2, None));
    assert_eq!(log.read(2, 100).expect("read")[0].entry, b"second");
}

/// A log of some segments, most of which may go, on a disk that refuses from then on.
fn trimmed(what: Refuses) -> (Refusing, LogFile) {
    let refusing = Refusing::new(&SimDisk::new(), what);
    let mut log = open(&refusing);
    for _ in 0..60 {
        assert!(matches!(append(&mut log, b"small"), Append::Ok(_)));
    }
    log.trim(60).expect("trim");
    refusing.begin();
    (refusing, log)
}

#[test]
fn names_that_may_not_be_durable_stop_the_log_though_the_disk_is_only_full() {
    let (_refusing, mut log) = trimmed(Refuses::SyncDir);
    assert!(matches!(log.preparer().run_once(), Err(LogError::Fatal { .. })));
    assert!(matches!(log.tail(), Err(LogError::Fatal { .. })));
}

#[test]
fn what_a_full_disk_does_not_rename_or_remove_is_tried_again_in_its_order() {
    for what in [Refuses::Rename, Refuses::Remove] {
        let (refusing, mut log) = trimmed(what);
        let preparer = log.preparer();
        let segments = |disk: &SimDisk| {
            let names = disk.list("log").expect("list");
            names.into_iter().filter(|name| name.ends_with(".seg")).collect::<Vec<_>>()
        };
        let before = segments(&refusing.disk);
        let mut last = Kept::Worked;
        for _ in 0..12 {
            last = preparer.run_once().expect("a full disk is not fatal");
        }
        if matches!(what, Refuses::Rename) {
            assert_eq!((last, segments(&refusing.disk)), (Kept::Full, before), "the oldest keeps its name");
        }
        refusing.end();
        while preparer.run_once().expect("sound") != Kept::Idle {}
        assert_eq!(segments(&refusing.disk).len(), 2, "the active one and the one that waits: {what:?}");
        assert!(matches!(append(&mut log, b"small"), Append::Ok(_)));
        drop(log);
        LogFile::open(Arc::new(refusing.disk.clone()), options()).expect("a sound log");
    }
}

#[test]
fn so_many_bytes_are_kept_whatever_is_trimmed_and_whoever_restarts() {
    let segment_bytes = options().segment_bytes;
    let options = LogOptions { keep_bytes: 3 * segment_bytes, ..options() };
    let disk = SimDisk::new();
    // Each life is shorter than what is kept.
    for life in 0..10 {
        let (mut log, _) = LogFile::open(Arc::new(disk.clone()), options.clone()).expect("a sound log");
        for _ in 0..8 {
            assert!(matches!(append(&mut log, b"small"), Append::Ok(_)));
        }
        log.trim(u64::MAX).expect("trim");
        let kept = log.written_bytes();
        let preparer = log.preparer();
        while preparer.run_once().expect("sound") != Kept::Idle {}
        let bounds = options.keep_bytes..options.keep_bytes + segment_bytes;
        assert!(life < 3 || bounds.contains(&kept), "{kept} bytes in life {life}");
    }
}
