//! The next segment, ready to be appended to: prewritten with zeros, or recycled from what was trimmed, and named, all beside
//! the append path.
//!
//! A segment is a file of its full length whose blocks were all written once, so that an append into it changes no
//! metadata: that is what makes the sync cheap. It also has its header, and then its name, and both are durable, since the
//! sync of a directory waits for the file system's journal and that for whatever else is written, a checkpoint for one.
//! What a recycled one still holds is invalid under its new header's seed.

use crate::segment::{SegmentHeader, segment_name};
use crate::{BLOCK_BYTES, DIR, LogOptions};
use disk::{Disk, File, Mode};
use log::{Kept, LogError, Upkeep};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use words::CellName;

const ZEROS_BYTES: usize = 1 << 20;
/// How much is prewritten between two syncs, so that appends meanwhile wait for no more than that.
const PREWRITTEN_BETWEEN_SYNCS_BYTES: u64 = 4 << 20;

/// Prepares segments for one log file, on any thread.
#[derive(Clone, Debug)]
pub struct Preparer {
    pub(crate) pool: Arc<Pool>,
}

#[derive(Debug)]
pub(crate) struct Pool {
    disk: Arc<dyn Disk>,
    cell: CellName,
    log_id: u64,
    segment_bytes: u64,
    reserve_bytes: u64,
    spares_max: usize,
    state: Mutex<State>,
    changed: Condvar,
    full: AtomicBool,
    /// The disk says that it has room, and yet took nothing: only another try can tell.
    misled: AtomicBool,
    fatal: AtomicBool,
}

/// A segment that waits for its first frame.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) header: SegmentHeader,
    pub(crate) file: Box<dyn File>,
}

/// The segments that the start found.
pub(crate) struct NamedSegments {
    /// The number of the last one that was begun; 0 for none.
    pub(crate) last_begun: u64,
    /// The numbers of those after it.
    pub(crate) waiting: Vec<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Segments that wait for their first frame, in order.
    named: VecDeque<Named>,
    /// Names of spares, complete and durable.
    spares: Vec<String>,
    /// Names of trimmed segments, oldest first.
    retired: VecDeque<String>,
    segment_next: u64,
    spare_next: u64,
    busy: bool,
    fatal: Option<String>,
}

enum Job {
    /// Make the next segment of nothing.
    Create,
    /// Make it of a spare.
    Name(String),
    /// Make a spare of a trimmed segment.
    Recycle(String),
    Remove(String),
}

/// What a job came to.
enum Made {
    Segment(Named),
    Spare(String),
    Nothing,
}

impl Upkeep for Preparer {
    /// Prepares the next segment where it is missing, or puts one trimmed segment away. Where the disk was full and there is
    /// nothing to prepare, lets the next append try again.
    fn run_once(&self) -> Result<Kept, LogError> {
        let job = {
            let mut state = self.pool.lock();
            match self.pool.next_job(&mut state)? {
                Some(job) if !state.busy => {
                    state.busy = true;
                    job
                }
                _ => {
                    self.pool.misled.store(false, Ordering::Relaxed);
                    return Ok(Kept::Idle);
                }
            }
        };
        self.pool.run(job)
    }

    /// All of the time where the disk is full.
    fn wait(&self, timeout: Duration) {
        let state = self.pool.lock();
        // With a full disk there is something to do, but no sense in trying it again at once.
        let full = self.pool.full.load(Ordering::Relaxed);
        let idle = |state: &mut State| full || (state.retired.is_empty() && !state.named.is_empty());
        let waited = self.pool.changed.wait_timeout_while(state, timeout, idle);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Preparer {
    /// Whether there is room to go on, as [`log::Log::has_room`] says of a log that is not sealed: for a thread that must
    /// not wait for an append under way.
    pub fn has_room(&self) -> bool {
        self.pool.has_room()
    }
}

impl Pool {
    /// Takes over the waiting segments and the spares that an earlier life left, and removes what it did not finish or has
    /// another length.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: &LogOptions,
        log_id: u64,
        segments: &NamedSegments,
    ) -> io::Result<Arc<Self>> {
        let pool = Self {
            disk,
            cell: options.cell.clone(),
            log_id,
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
            spares_max: options.spares_max,
            state: Mutex::default(),
            changed: Condvar::new(),
            full: AtomicBool::new(false),
            misled: AtomicBool::new(false),
            fatal: AtomicBool::new(false),
        };
        let mut state = State { segment_next: segments.last_begun + 1, ..State::default() };
        pool.take_over_segments(&mut state, &segments.waiting)?;
        pool.take_over_spares(&mut state)?;
        *pool.lock() = state;
        Ok(Arc::new(pool))
    }

    fn take_over_segments(&self, state: &mut State, waiting: &[u64]) -> io::Result<()> {
        let fits = |number: &u64| Ok(self.disk.open(&segment_name(*number), Mode::Read)?.len()? == self.segment_bytes);
        let fitting = waiting.iter().map(fits).collect::<io::Result<Vec<bool>>>()?;
        let keep = fitting.iter().take_while(|fits| **fits).count();
        // The newest first, so that no crash leaves a gap; and not as spares, since their numbers are given out again and
        // a torn frame of that number may be in them.
        for number in waiting[keep..].iter().rev() {
            self.disk.remove(&segment_name(*number))?;
            self.disk.sync_dir(DIR)?;
        }
        for &number in &waiting[..keep] {
            let file = self.disk.open(&segment_name(number), Mode::Direct)?;
            state.named.push_back(Named { header: self.header(number), file });
            state.segment_next = number + 1;
        }
        Ok(())
    }

    fn take_over_spares(&self, state: &mut State) -> io::Result<()> {
        for file in self.disk.list(DIR)? {
            let name = format!("{DIR}/{file}");
            let number = file.strip_prefix("spare-").and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
            let Some(number) = number else { continue };
            state.spare_next = state.spare_next.max(number + 1);
            let whole = file.ends_with(".spare") && self.disk.open(&name, Mode::Read)?.len()? == self.segment_bytes;
            if whole && state.spares.len() < self.spares_max {
                state.spares.push(name);
            } else {
                self.disk.remove(&name)?;
            }
        }
        Ok(())
    }

    /// The next segment. Prepares one now where none is ready.
    pub(crate) fn take(&self) -> Result<Named, LogError> {
        let mut state = self.lock();
        loop {
            self.check(&state)?;
            if let Some(named) = state.named.pop_front() {
                self.changed.notify_all();
                return Ok(named);
            }
            if state.busy {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let job = self.next_job(&mut state)?.unwrap_or(Job::Create);
            state.busy = true;
            drop(state);
            if self.run(job)? == Kept::Full {
                return Err(LogError::Full);
            }
            state = self.lock();
        }
    }

    /// The length of a new segment.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Gives a trimmed segment to the preparer.
    pub(crate) fn retire(&self, name: String) {
        self.lock().retired.push_back(name);
        self.changed.notify_all();
    }

    /// Whether the next segment is there or can be expected.
    pub(crate) fn has_room(&self) -> bool {
        let is_misled = self.misled.load(Ordering::Relaxed);
        if self.full.load(Ordering::Relaxed) && !is_misled && self.says_room() {
            self.full.store(false, Ordering::Relaxed);
        }
        !self.full.load(Ordering::Relaxed)
    }

    /// A write found no room. Where the disk claims to have some (a quota, a file system that copies on write), its word counts
    /// for nothing until the preparer has had a turn: else each request would try it anew.
    pub(crate) fn set_full(&self) {
        self.misled.store(self.says_room(), Ordering::Relaxed);
        self.full.store(true, Ordering::Relaxed);
    }

    fn set_room(&self) {
        self.misled.store(false, Ordering::Relaxed);
        self.full.store(false, Ordering::Relaxed);
    }

    fn says_room(&self) -> bool {
        self.disk.free_bytes().is_ok_and(|free| free >= self.needed_bytes())
    }

    /// Stops the log for good.
    pub(crate) fn fail(&self, what: String) -> LogError {
        let mut state = self.lock();
        let what = state.fatal.get_or_insert(what).clone();
        self.fatal.store(true, Ordering::Release);
        self.changed.notify_all();
        LogError::Fatal { what }
    }

    /// What stopped the log, where something did.
    pub(crate) fn check_fatal(&self) -> Result<(), LogError> {
        if self.fatal.load(Ordering::Acquire) { self.check(&self.lock()) } else { Ok(()) }
    }

    fn check(&self, state: &State) -> Result<(), LogError> {
        state.fatal.clone().map_or(Ok(()), |what| Err(LogError::Fatal { what }))
    }

    fn next_job(&self, state: &mut State) -> Result<Option<Job>, LogError> {
        self.check(state)?;
        if state.busy {
            return Ok(None);
        }
        // First what an append may come to wait for.
        if state.named.is_empty()
            && let Some(name) = state.spares.pop()
        {
            return Ok(Some(Job::Name(name)));
        }
        if let Some(name) = state.retired.pop_front() {
            let keep = state.spares.len() < self.spares_max;
            return Ok(Some(if keep { Job::Recycle(name) } else { Job::Remove(name) }));
        }
        Ok(state.named.is_empty().then_some(Job::Create))
    }

    fn run(&self, job: Job) -> Result<Kept, LogError> {
        let done = match job {
            Job::Create => self.create(),
            Job::Name(spare) => self.name_spare(&spare),
            Job::Recycle(name) => self.recycle(&name),
            Job::Remove(name) => self.remove(&name),
        };
        let mut state = self.lock();
        state.busy = false;
        self.changed.notify_all();
        match done {
            Ok(made) => {
                match made {
                    Made::Segment(named) => state.named.push_back(named),
                    Made::Spare(name) => state.spares.push(name),
                    Made::Nothing => {}
                }
                self.set_room();
                Ok(Kept::Worked)
            }
            Err(error) if is_full(&error) => {
                self.set_full();
                Ok(Kept::Full)
            }
            Err(error) => {
                drop(state);
                Err(self.fail(format!("preparing a segment failed: {error}")))
            }
        }
    }

    fn create(&self) -> io::Result<Made> {
        // Asked first, so that a disk is not filled up to the last byte again and again.
        if self.disk.free_bytes()? < self.needed_bytes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let header = self.header(self.lock().segment_next);
        let unfinished = format!("{}.tmp", self.spare_name());
        let written = self.prewrite(&unfinished, &header);
        // Nothing counts on this file yet, so that here even a sync may meet a full disk.
        let named = written.and_then(|()| self.name(&unfinished, header));
        if named.as_ref().is_err_and(is_full) {
            self.disk.remove(&unfinished)?;
        }
        named
    }

    fn prewrite(&self, name: &str, header: &SegmentHeader) -> io::Result<()> {
        let file = self.disk.open(name, Mode::Create)?;
        let mut bytes = vec![0; ZEROS_BYTES.min(self.segment_bytes as usize)];
        header.encode(&mut bytes[..BLOCK_BYTES]);
        let mut at = 0;
        while at < self.segment_bytes {
            let count = (self.segment_bytes - at).min(bytes.len() as u64);
            file.write_at(&bytes[..count as usize], at)?;
            bytes[..BLOCK_BYTES].fill(0);
            at += count;
            if at.is_multiple_of(PREWRITTEN_BETWEEN_SYNCS_BYTES) {
                file.sync()?;
            }
        }
        file.sync()
    }

    fn name_spare(&self, spare: &str) -> io::Result<Made> {
        let header = self.header(self.lock().segment_next);
        let mut block = vec![0; BLOCK_BYTES];
        header.encode(&mut block);
        let file = self.disk.open(spare, Mode::ReadWrite)?;
        let named = file.write_at(&block, 0).and_then(|()| {
            file.sync().map_err(|error| unsynced(spare, &error))?;
            self.name(spare, header)
        });
        if named.as_ref().is_err_and(is_full) {
            self.lock().spares.push(spare.to_owned());
        }
        named
    }

    /// Makes a file the next segment. Its header is durable.
    fn name(&self, file: &str, header: SegmentHeader) -> io::Result<Made> {
        let name = segment_name(header.number);
        self.disk.rename(file, &name)?;
        self.sync_names()?;
        self.lock().segment_next = header.number + 1;
        Ok(Made::Segment(Named { header, file: self.disk.open(&name, Mode::Direct)? }))
    }

    fn header(&self, number: u64) -> SegmentHeader {
        SegmentHeader { cell: self.cell.clone(), log_id: self.log_id, number }
    }

    /// Makes a spare of a trimmed segment. Durable one by one and oldest first, so that no crash leaves a gap.
    fn recycle(&self, name: &str) -> io::Result<Made> {
        if self.disk.open(name, Mode::Read)?.len()? != self.segment_bytes {
            return self.remove(name);
        }
        let spare = format!("{}.spare", self.spare_name());
        self.disk.rename(name, &spare).inspect_err(|error| self.keep_retired(name, error))?;
        self.sync_names()?;
        Ok(Made::Spare(spare))
    }

    fn remove(&self, name: &str) -> io::Result<Made> {
        self.disk.remove(name).inspect_err(|error| self.keep_retired(name, error))?;
        self.sync_names()?;
        Ok(Made::Nothing)
    }

    /// A trimmed segment that a full disk did not let go is the next one again: they go oldest first.
    fn keep_retired(&self, name: &str, error: &io::Error) {
        if is_full(error) {
            self.lock().retired.push_front(name.to_owned());
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_dir(DIR).map_err(|error| unsynced(DIR, &error))
    }

    fn spare_name(&self) -> String {
        let mut state = self.lock();
        state.spare_next += 1;
        format!("{DIR}/spare-{:08}", state.spare_next - 1)
    }

    fn needed_bytes(&self) -> u64 {
        self.segment_bytes + self.reserve_bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sync that failed is fatal whatever it says, for nobody knows what is durable: a full disk is not told as one.
fn unsynced(what: &str, error: &io::Error) -> io::Error {
    io::Error::other(format!("syncing {what}: {error}"))
}

/// The disk, or the share of it that this user may have, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
