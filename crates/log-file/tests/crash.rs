//! Random runs over the simulated disk with the power cut at every kind of moment: whatever was acknowledged is there, in
//! order, nothing else is but at most the one append that was under way, and no trimmed past comes back.

use disk::{Disk, File, Mode, SimDisk};
use fastrand::Rng;
use log::conformance::read_all;
use log::{Append, Log, LogError, Rejected, Upkeep};
use std::io;
use std::sync::{Arc, Mutex};
use tertium_log_file::{LogFile, LogOptions, Preparer, verify};
use words::{CellName, Position};

const SEGMENT_BYTES: u64 = 8 * 4096;

fn options() -> LogOptions {
    let cell = CellName::new("main").expect("a name");
    LogOptions { segment_bytes: SEGMENT_BYTES, reserve_bytes: 0, spares_max: 2, ..LogOptions::new(cell, 7) }
}

/// What must be in the log.
#[derive(Default)]
struct Model {
    /// Every entry that is known to be in it, from index 1.
    entries: Vec<(Position, Vec<u8>)>,
    /// The append whose fate is unknown.
    pending: Option<(Position, Vec<u8>)>,
    trimmed_upto: u64,
    /// What the runs came across, so that a run that tests nothing is found.
    seen: Seen,
}

#[derive(Default, Debug)]
struct Seen {
    crashes: u64,
    unknown_kept: u64,
    unknown_lost: u64,
    torn: u64,
    recycled: u64,
    trimmed: u64,
}

impl Model {
    fn tail(&self) -> Position {
        self.entries.last().map_or(Position::START, |(position, _)| *position)
    }

    /// Reopens after a crash, reads everything and compares.
    fn reopen(&mut self, disk: &SimDisk, seed: u64) -> (LogFile, Preparer) {
        let (mut log, recovered) = LogFile::open(Arc::new(disk.clone()), options())
            .unwrap_or_else(|e| panic!("seed {seed}: no crash may look like damage: {e}"));
        self.seen.torn += u64::from(recovered.cut.is_some());
        let found: Vec<_> = read_all(&mut log).into_iter().map(|s| (s.position, s.entry)).collect();
        if let Some(pending) = self.pending.take() {
            if found.last() == Some(&pending) {
                self.seen.unknown_kept += 1;
                self.entries.push(pending);
            } else {
                self.seen.unknown_lost += 1;
            }
        }
        let first = log.first();
        assert!(first <= self.trimmed_upto + 1, "seed {seed}: trim took {first}, only {} may go", self.trimmed_upto);
        assert!(found == self.entries[first as usize - 1..], "seed {seed}: the log has exactly what it should");
        assert_eq!(recovered.tail, self.tail(), "seed {seed}");
        let verified = verify(disk, None, &mut |_| {}).expect("what was opened verifies");
        assert_eq!((verified.tail, verified.digest), (recovered.tail, recovered.digest), "seed {seed}");
        let preparer = log.preparer();
        (log, preparer)
    }

    fn append(&mut self, log: &mut LogFile, rng: &mut Rng) -> bool {
        let bytes = [0, 10, 500, 4000, 4100, 9000][rng.usize(..6)];
        // Entries of one length often differ in their first bytes only, so that a torn one and a later one at its place
        // could add up to a whole one.
        let mut entry = vec![1; bytes];
        let different = if rng.bool() { bytes } else { bytes.min(8) };
        entry[..different].iter_mut().for_each(|byte| *byte = rng.u8(..));
        let epoch = self.tail().epoch.max(1) + u64::from(rng.u8(..10) == 0);
        self.append_bytes(log, epoch, entry)
    }

    fn append_bytes(&mut self, log: &mut LogFile, epoch: u64, entry: Vec<u8>) -> bool {
        match log.append(self.tail(), epoch, &entry) {
            Append::Ok(position) => {
                assert_eq!(position, Position { epoch, index: self.tail().index + 1 });
                self.entries.push((position, entry));
                true
            }
            Append::Unknown(LogError::Fatal { .. }) => {
                self.pending = Some((Position { epoch, index: self.tail().index + 1 }, entry));
                false
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A spare comes from a trimmed segment.
fn spares(disk: &SimDisk) -> usize {
    disk.list("log").unwrap_or_default().iter().filter(|name| name.ends_with(".spare")).count()
}

/// One life after the other on one disk; in each the power goes after some steps.
fn run(seed: u64, lives: u64, fault: impl Fn(&SimDisk, &mut Rng)) -> Seen {
    let (mut rng, disk, mut model) = (Rng::with_seed(seed), SimDisk::new(), Model::default());
    for _ in 0..lives {
        if rng.u8(..4) == 0 {
            // The power also goes during a start.
            disk.lose_power_after(rng.u64(..6));
            drop(LogFile::open(Arc::new(disk.clone()), options()));
            disk.crash(&mut rng);
        }
        let (mut log, preparer) = model.reopen(&disk, seed);
        fault(&disk, &mut rng);
        for _ in 0..60 {
            let going = match rng.u8(..10) {
                0 => log.mark().is_ok(),
                1 => {
                    let upto = rng.u64(..=model.tail().index);
                    model.trimmed_upto = model.trimmed_upto.max(upto);
                    let first = log.first();
                    let done = log.trim(upto);
                    model.seen.trimmed += u64::from(log.first() > first);
                    done.is_ok()
                }
                2 | 3 => {
                    let before = spares(&disk);
                    let done = preparer.run_once();
                    model.seen.recycled += u64::from(spares(&disk) > before);
                    done.is_ok()
                }
                _ => model.append(&mut log, &mut rng),
            };
            if !going {
                break;
            }
        }
        drop(log);
        model.seen.crashes += 1;
        disk.crash(&mut rng);
    }
    model.reopen(&disk, seed);
    model.seen
}

#[test]
fn no_power_cut_loses_or_invents() {
    let mut all = Seen::default();
    for seed in 0..200 {
        let seen = run(seed, 24, |disk, rng| {
            let soon = rng.bool();
            disk.lose_power_after(rng.u64(..if soon { 4 } else { 120 }));
        });
        all.crashes += seen.crashes;
        all.unknown_kept += seen.unknown_kept;
        all.unknown_lost += seen.unknown_lost;
        all.torn += seen.torn;
        all.recycled += seen.recycled;
        all.trimmed += seen.trimmed;
    }
    let each = [all.unknown_kept, all.unknown_lost, all.torn, all.recycled, all.trimmed];
    assert!(each.iter().all(|count| *count > 20), "the runs meet each case: {all:?}");
}

/// Two segments' worth of appends, a trim and a recycling, and the power cut before each step of it in turn.
#[test]
fn recycled_segments_bring_nothing_back_at_any_step() {
    let mut steps = 0;
    loop {
        let (disk, mut rng, mut model) = (SimDisk::new(), Rng::with_seed(steps), Model::default());
        let (mut log, preparer) = model.reopen(&disk, steps);
        for _ in 0..60 {
            assert!(model.append(&mut log, &mut rng));
        }
        model.trimmed_upto = 60;
        log.trim(60).expect("trim");
        disk.lose_power_after(steps);
        let mut going = true;
        for _ in 0..4 {
            going = going && preparer.run_once().is_ok();
        }
        for _ in 0..15 {
            going = going && model.append(&mut log, &mut rng);
        }
        let powerless = disk.is_powerless();
        assert_ne!(powerless, going, "step {steps}");
        drop(log);
        disk.crash(&mut rng);
        let (mut log, _) = model.reopen(&disk, steps);
        for _ in 0..10 {
            assert!(model.append(&mut log, &mut rng), "step {steps}: the log goes on");
        }
        drop(log);
        disk.crash(&mut rng);
        model.reopen(&disk, steps);
        if !powerless {
            break;
        }
        steps += 1;
    }
    assert!(steps > 30, "the power went at each step of the run: {steps}");
}

/// How the segment that comes next was made, and when.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Of zeros, beside the appends.
    FreshBeside,
    /// Of zeros, by the append that needs it.
    FreshLate,
    /// Of a trimmed segment, beside the appends.
    RecycledBeside,
    /// Of a trimmed segment, by the append that needs it.
    RecycledLate,
}

impl Next {
    /// A log whose active segment is full to the last block.
    fn prepared(self, seed: u64, rng: &mut Rng) -> (SimDisk, Model, LogFile, Preparer) {
        let (disk, mut model) = (SimDisk::new(), Model::default());
        let (mut log, preparer) = model.reopen(&disk, seed);
        for _ in 0..4 * 7 {
            model.append_bytes(&mut log, 1, vec![rng.u8(..); 100]);
        }
        match self {
            Self::FreshBeside => assert_eq!(preparer.run_once().expect("room"), log::Kept::Worked),
            Self::FreshLate => {}
            Self::RecycledBeside | Self::RecycledLate => {
                model.trimmed_upto = model.tail().index;
                log.trim(model.trimmed_upto).expect("trim");
                let jobs = if matches!(self, Self::RecycledBeside) { 2 } else { 1 };
                for _ in 0..jobs {
                    assert_eq!(preparer.run_once().expect("room"), log::Kept::Worked);
                }
            }
        }
        (disk, model, log, preparer)
    }
}

/// The power goes before each disk operation in turn from just before a segment is full to well into the next but one, with
/// the next one made in each way; then what is there is read, goes on over another change, and is read again.
#[test]
fn a_change_of_segments_is_safe_at_any_step() {
    for next in [Next::FreshBeside, Next::FreshLate, Next::RecycledBeside, Next::RecycledLate] {
        for named_meanwhile in [false, true] {
            let (mut steps, mut seen) = (0, Seen::default());
            while change_segments(next, named_meanwhile, steps, &mut seen) {
                steps += 1;
            }
            assert!(steps > 15, "{next:?}: the power went at each step of the change: {steps}");
            assert!(seen.unknown_kept > 0 && seen.unknown_lost > 0 && seen.torn > 0, "{next:?}: {seen:?}");
        }
    }
}

/// Says whether the power went within the change.
fn change_segments(next: Next, named_meanwhile: bool, steps: u64, seen: &mut Seen) -> bool {
    let mut went = false;
    for draw in 0..6 {
        let seed = steps * 100 + draw;
        let mut rng = Rng::with_seed(seed);
        let (disk, mut model, log, _) = next.prepared(seed, &mut rng);
        drop(log);
        // From here on another segment is named just before the first frame is written into this one, as the thread that
        // names them may.
        let beside = Beside { disk: disk.clone(), preparer: Arc::default() };
        let (mut log, _) = LogFile::open(Arc::new(beside.clone()), options()).expect("whole");
        let preparer = log.preparer();
        if named_meanwhile {
            *beside.preparer.lock().expect("no panic") = Some(preparer.clone());
        }
        disk.lose_power_after(steps);
        let mut going = true;
        for bytes in [9000, 100, 9000, 100, 9000, 100] {
            going = going && model.append_bytes(&mut log, 1, vec![rng.u8(..); bytes]);
            going = going && (bytes != 100 || preparer.run_once().is_ok());
        }
        went = disk.is_powerless();
        assert_ne!(went, going, "{next:?}, step {steps}");
        *beside.preparer.lock().expect("no panic") = None;
        drop(log);
        disk.crash(&mut rng);
        let (mut log, preparer) = model.reopen(&disk, seed);
        for count in 0..9 {
            assert!(model.append(&mut log, &mut rng), "{next:?}, step {steps}: the log goes on");
            assert!(count % 2 == 0 || preparer.run_once().is_ok());
        }
        drop(log);
        disk.crash(&mut rng);
        model.reopen(&disk, seed);
        seen.unknown_kept += model.seen.unknown_kept;
        seen.unknown_lost += model.seen.unknown_lost;
        seen.torn += model.seen.torn;
    }
    went
}

/// What an append waits for when it begins a segment that was named before: one write and one sync.
#[test]
fn a_named_segment_is_begun_by_one_write() {
    for next in [Next::FreshBeside, Next::RecycledBeside] {
        let (disk, mut model, mut log, _) = next.prepared(1, &mut Rng::with_seed(1));
        let before = disk.counts();
        assert!(model.append_bytes(&mut log, 1, vec![1; 100]));
        let after = disk.counts();
        let done = (after.writes - before.writes, after.syncs - before.syncs, after.name_steps - before.name_steps);
        assert_eq!(done, (1, 1, 0), "{next:?}");
        assert_eq!(log.written_bytes() % SEGMENT_BYTES, 2 * 4096, "{next:?}: it is another segment");
    }
}

/// A disk on which the preparer runs just before each write of a frame.
#[derive(Clone, Debug)]
struct Beside {
    disk: SimDisk,
    preparer: Arc<Mutex<Option<Preparer>>>,
}

#[derive(Debug)]
struct BesideFile {
    file: Box<dyn File>,
    preparer: Arc<Mutex<Option<Preparer>>>,
}

impl Disk for Beside {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Box<dyn File>> {
        let file = self.disk.open(name, mode)?;
        let preparer = Arc::clone(&self.preparer);
        Ok(if mode == Mode::Direct { Box::new(BesideFile { file, preparer }) } else { file })
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

impl File for BesideFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        if let Some(preparer) = &*self.preparer.lock().expect("no panic") {
            // Where it fails, so does the write.
            drop(preparer.run_once());
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

#[test]
fn a_failed_sync_stops_the_log_and_what_is_read_after_it_is_durable() {
    for syncs in 0..40 {
        let (disk, mut rng, mut model) = (SimDisk::new(), Rng::with_seed(syncs), Model::default());
        let (mut log, preparer) = model.reopen(&disk, syncs);
        disk.fail_sync_after(syncs);
        while model.append(&mut log, &mut rng) {}
        let tail = model.tail();
        assert!(matches!(log.append(tail, 9, b"x"), Append::Unknown(LogError::Fatal { .. })));
        assert!(matches!(log.read(1, 10), Err(LogError::Fatal { .. })));
        assert!(matches!(log.tail(), Err(LogError::Fatal { .. })));
        assert!(matches!(log.mark(), Err(LogError::Fatal { .. })));
        assert!(matches!(log.seal(), Err(LogError::Fatal { .. })));
        assert!(matches!(preparer.run_once(), Err(LogError::Fatal { .. })));
        drop(log);
        // No power cut: the system still shows what the medium does not have. What the start accepts must stay.
        model.reopen(&disk, syncs);
        disk.crash(&mut rng);
        model.reopen(&disk, syncs);
    }
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let (disk, mut rng, mut model) = (SimDisk::new(), Rng::with_seed(1), Model::default());
    let (mut log, preparer) = model.reopen(&disk, 1);
    assert!(model.append(&mut log, &mut rng));
    disk.set_capacity(Some(disk.used_bytes() + SEGMENT_BYTES / 2));
    assert_eq!(preparer.run_once().expect("not fatal"), log::Kept::Full);
    assert_eq!((log.has_room(), preparer.has_room()), (Err(Rejected::Full), false));
    // What was accepted before still fits into the active segment, until it does not.
    let mut rejected = None;
    for _ in 0..50 {
        match log.append(model.tail(), 9, &[1; 3000]) {
            Append::Ok(position) => model.entries.push((position, vec![1; 3000])),
            Append::Rejected(why) => rejected = Some(why),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rejected, Some(Rejected::Full));
    disk.set_capacity(Some(disk.used_bytes() + SEGMENT_BYTES));
    assert_eq!((preparer.has_room(), log.has_room()), (true, Ok(())));
    assert_eq!(preparer.run_once().expect("room"), log::Kept::Worked);
    for _ in 0..3 {
        assert!(model.append(&mut log, &mut rng));
    }
    drop(log);
    disk.crash(&mut rng);
    model.reopen(&disk, 1);
    assert!(disk.list("log").expect("list").iter().all(|name| !name.ends_with(".tmp")));
}
