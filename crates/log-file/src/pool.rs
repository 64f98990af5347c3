//! Segments ready to be written: prewritten with zeros, or recycled from what was trimmed, beside the append path.
//!
//! A spare is a file of its full length whose blocks were all written once, so that an append into it changes no
//! metadata: that is what makes the sync cheap. What a recycled one still holds is invalid under its next header's seed.

use crate::DIR;
use disk::{Disk, Mode};
use log::{Kept, LogError, Upkeep};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    segment_bytes: u64,
    reserve_bytes: u64,
    spares_max: usize,
    state: Mutex<State>,
    changed: Condvar,
    full: AtomicBool,
    fatal: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Names of spares, complete and durable.
    ready: Vec<String>,
    /// Names of trimmed segments, oldest first.
    retired: VecDeque<String>,
    number_next: u64,
    busy: bool,
    fatal: Option<String>,
}

enum Job {
    Create,
    Recycle(String),
    Remove(String),
}

impl Upkeep for Preparer {
    /// Prepares the next segment where it is missing, or puts one trimmed segment away.
    fn run_once(&self) -> Result<Kept, LogError> {
        let job = {
            let mut state = self.pool.lock();
            match self.pool.next_job(&mut state)? {
                Some(job) if !state.busy => {
                    state.busy = true;
                    job
                }
                _ => return Ok(Kept::Idle),
            }
        };
        self.pool.run(job)
    }

    /// All of the time where the disk is full.
    fn wait(&self, timeout: Duration) {
        let state = self.pool.lock();
        // With a full disk there is something to do, but no sense in trying it again at once.
        let full = self.pool.full.load(Ordering::Relaxed);
        let idle = |state: &mut State| full || (state.retired.is_empty() && !state.ready.is_empty());
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
    /// Takes over the spares that an earlier life left, and removes what it did not finish.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        reserve_bytes: u64,
        spares_max: usize,
    ) -> io::Result<Arc<Self>> {
        let mut state = State::default();
        for file in disk.list(DIR)? {
            let name = format!("{DIR}/{file}");
            let number = file.strip_prefix("spare-").and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
            let Some(number) = number else { continue };
            state.number_next = state.number_next.max(number + 1);
            let whole = file.ends_with(".spare") && disk.open(&name, Mode::Read)?.len()? == segment_bytes;
            if whole && state.ready.len() < spares_max {
                state.ready.push(name);
            } else {
                disk.remove(&name)?;
            }
        }
        Ok(Arc::new(Self {
            disk,
            segment_bytes,
            reserve_bytes,
            spares_max,
            state: Mutex::new(state),
            changed: Condvar::new(),
            full: AtomicBool::new(false),
            fatal: AtomicBool::new(false),
        }))
    }

    /// A spare's name. Prepares one now where none is ready. The caller renames it.
    pub(crate) fn take(&self) -> Result<String, LogError> {
        let mut state = self.lock();
        loop {
            self.check(&state)?;
            if let Some(name) = state.ready.pop() {
                self.changed.notify_all();
                return Ok(name);
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

    /// Gives trimmed segments to the preparer.
    pub(crate) fn retire(&self, names: impl IntoIterator<Item = String>) {
        self.lock().retired.extend(names);
        self.changed.notify_all();
    }

    /// Whether the next segment is there or can be expected.
    pub(crate) fn has_room(&self) -> bool {
        if self.full.load(Ordering::Relaxed) && self.disk.free_bytes().is_ok_and(|free| free >= self.needed_bytes()) {
            self.full.store(false, Ordering::Relaxed);
        }
        !self.full.load(Ordering::Relaxed)
    }

    pub(crate) fn set_full(&self) {
        self.full.store(true, Ordering::Relaxed);
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
        if let Some(name) = state.retired.pop_front() {
            let keep = state.ready.len() < self.spares_max;
            return Ok(Some(if keep { Job::Recycle(name) } else { Job::Remove(name) }));
        }
        Ok(state.ready.is_empty().then_some(Job::Create))
    }

    fn run(&self, job: Job) -> Result<Kept, LogError> {
        let done = match job {
            Job::Create => self.create(),
            Job::Recycle(name) => self.recycle(&name),
            Job::Remove(name) => self.disk.remove(&name).and_then(|()| self.disk.sync_dir(DIR)).map(|()| None),
        };
        let mut state = self.lock();
        state.busy = false;
        self.changed.notify_all();
        match done {
            Ok(spare) => {
                state.ready.extend(spare);
                self.full.store(false, Ordering::Relaxed);
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

    fn create(&self) -> io::Result<Option<String>> {
        // Asked first, so that a disk is not filled up to the last byte again and again.
        if self.disk.free_bytes()? < self.needed_bytes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let spare = self.spare_name();
        let unfinished = format!("{spare}.tmp");
        let written = self.prewrite(&unfinished);
        if let Err(error) = &written
            && is_full(error)
        {
            self.disk.remove(&unfinished)?;
        }
        written?;
        self.disk.rename(&unfinished, &spare)?;
        self.disk.sync_dir(DIR)?;
        Ok(Some(spare))
    }

    fn prewrite(&self, name: &str) -> io::Result<()> {
        let file = self.disk.open(name, Mode::Create)?;
        let zeros = vec![0; ZEROS_BYTES.min(self.segment_bytes as usize)];
        let mut at = 0;
        while at < self.segment_bytes {
            let count = (self.segment_bytes - at).min(zeros.len() as u64);
            file.write_at(&zeros[..count as usize], at)?;
            at += count;
            if at.is_multiple_of(PREWRITTEN_BETWEEN_SYNCS_BYTES) {
                file.sync()?;
            }
        }
        file.sync()
    }

    /// Makes a spare of a trimmed segment. Durable one by one and oldest first, so that no crash leaves a gap.
    fn recycle(&self, name: &str) -> io::Result<Option<String>> {
        if self.disk.open(name, Mode::Read)?.len()? != self.segment_bytes {
            self.disk.remove(name)?;
            self.disk.sync_dir(DIR)?;
            return Ok(None);
        }
        let spare = self.spare_name();
        self.disk.rename(name, &spare)?;
        self.disk.sync_dir(DIR)?;
        Ok(Some(spare))
    }

    fn spare_name(&self) -> String {
        let mut state = self.lock();
        state.number_next += 1;
        format!("{DIR}/spare-{:08}.spare", state.number_next - 1)
    }

    fn needed_bytes(&self) -> u64 {
        self.segment_bytes + self.reserve_bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The disk, or the share of it that this user may have, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
