//! The way to a running cell: started, asked, stopped.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use disk::{Disk, RealDisk};
use log::{Append, Log, LogError};
use words::{CellName, Position};

use crate::api::{Read, ReadError, ReadReply, Rejected, Reply, Status, Write};
use crate::checkpoint::oldest_checkpoint;
use crate::clock::Now;
use crate::driver::{Driver, TheCell};
use crate::hand::Done;
use crate::house::HouseResult;
use crate::inbox::Inbox;
use crate::options::Options;
use crate::recover::{RecoverError, Recovery, recover};
use crate::work::OutboxOf;

/// What waits for a write's answer. Called once, on the cell's thread: it must not block.
pub type WriteReply = Box<dyn FnOnce(Reply) + Send>;

/// What waits for a read's answer, likewise.
pub type ReadReplyTo = Box<dyn FnOnce(ReadReply) + Send>;

pub(crate) enum Message {
    Write(Write, WriteReply),
    Read(Read, ReadReplyTo),
    Log(Done),
    House(HouseResult),
    Promote(String, PromotedReply),
    Stop(Sender<()>),
}

/// What becomes of the wish that a node lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promoted {
    /// It is asked to, in the log or here: it claims as soon as it can.
    Asked,
    /// It leads already.
    Leads,
    /// This is another node, and does not lead itself.
    NotLeader,
    /// The lead could not be handed over at the moment; this node goes on leading, or a claim settles who does.
    Failed,
    /// The log is this node's own.
    Alone,
}

/// What waits for that. Called once, on the cell's thread: it must not block.
pub type PromotedReply = Box<dyn FnOnce(Promoted) + Send>;

/// The way to a running cell. Cheap to clone.
#[derive(Clone)]
pub struct CellHandle {
    inbox: Arc<Inbox<Message>>,
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) cell: CellName,
    pub(crate) started: Instant,
    pub(crate) status: Mutex<Status>,
    /// Whether this node may claim when a leader is silent.
    pub(crate) may_claim: AtomicBool,
    /// Weak, so that a stopped cell's directory can be opened again while handles are still about.
    pub(crate) disk: Weak<RealDisk>,
}

/// Stops a running cell.
pub struct Stopper {
    inbox: Arc<Inbox<Message>>,
    thread: JoinHandle<()>,
}

/// Why a cell cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The data directory cannot be opened, or another process has it.
    Data(std::io::Error),
    /// The log cannot be opened.
    Log(LogError),
    /// What is on disk cannot be brought to a state.
    Recover(RecoverError),
    /// A new leader's claim could not be appended.
    Claim(String),
}

/// What whoever opens the log is told.
#[derive(Debug)]
pub struct OpenLog {
    /// Where the data is.
    pub disk: Arc<dyn Disk>,
    /// Whose log it is.
    pub cell: CellName,
    /// Entries up to this index are in a checkpoint: they need not be read again.
    pub verify_from: u64,
    /// A number that nobody can guess, for an engine that needs one.
    pub log_id: u64,
    /// The size of one segment, for an engine that has segments.
    pub segment_bytes: u64,
    /// How many bytes of the newest entries to keep, whatever is trimmed.
    pub keep_bytes: u64,
}

/// Opens the data directory and, through `open_log`, the log; recovers, claims a new epoch and starts the cell's threads. A node that
/// takes turns with others claims nothing and begins as a follower.
/// What is to be done outside goes to `outbox`.
///
/// # Errors
/// [`StartError`], whose text says what to do.
pub fn start(
    data: &Path,
    mut options: Options,
    open_log: impl FnOnce(OpenLog) -> Result<Box<dyn Log>, LogError>,
    outbox: OutboxOf,
    progress: &mut dyn FnMut(Recovery),
) -> Result<(CellHandle, Stopper), StartError> {
    let started = Instant::now();
    let real = Arc::new(RealDisk::open(data).map_err(StartError::Data)?);
    let weak = Arc::downgrade(&real);
    let disk: Arc<dyn Disk> = real;
    let mut log = open_log(OpenLog {
        disk: Arc::clone(&disk),
        cell: options.cell.clone(),
        verify_from: oldest_checkpoint(&*disk).map_err(StartError::Data)?,
        log_id: random_seed(),
        segment_bytes: options.segment_bytes,
        keep_bytes: options.log_retention_bytes,
    })
    .map_err(StartError::Log)?;
    options.log_is_shared = log.capabilities().shared;
    options.turns = options.turns.filter(|_| options.log_is_shared);
    let hash_seed = random_seed();
    let mut cell: TheCell =
        recover(&disk, &mut *log, options, hash_seed, now_since(started), progress).map_err(StartError::Recover)?;
    let upkeep = log.upkeep();
    // So that the first append does not wait for what can be made ready before it.
    if let Some(upkeep) = &upkeep {
        upkeep.run_once().map_err(StartError::Log)?;
    }
    if cell.options.turns.is_some() {
        cell.follow();
    } else {
        let entry = cell.claim(now_since(started));
        match log.append(cell.tail(), cell.epoch(), &entry) {
            Append::Ok(position) => cell.appended(position, entry),
            other => return Err(StartError::Claim(format!("{other:?}"))),
        }
        cell.apply_next().map_err(|fault| StartError::Recover(RecoverError::Cell(fault)))?;
    }
    let inbox = Arc::new(Inbox::new());
    let shared = Arc::new(Shared {
        cell: cell.options.cell.clone(),
        started,
        status: Mutex::new(cell.status()),
        may_claim: AtomicBool::new(true),
        disk: weak,
    });
    let thread = Driver::spawn(cell, outbox, log, upkeep, disk, Arc::clone(&inbox), Arc::clone(&shared));
    Ok((CellHandle { inbox: Arc::clone(&inbox), shared }, Stopper { inbox, thread }))
}

impl CellHandle {
    /// The cell's monotonic clock, in microseconds. Deadlines are instants of it.
    pub fn now_us(&self) -> u64 {
        self.shared.started.elapsed().as_micros() as u64
    }

    /// The same clock's reading of an instant.
    pub fn at_us(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.shared.started).as_micros() as u64
    }

    /// Submits a write. `reply` is called once, on the cell's thread: it must not block.
    pub fn write(&self, write: Write, reply: impl FnOnce(Reply) + Send + 'static) {
        self.send(Message::Write(write, Box::new(reply)));
    }

    /// Submits a read, likewise.
    pub fn read(&self, read: Read, reply: impl FnOnce(ReadReply) + Send + 'static) {
        self.send(Message::Read(read, Box::new(reply)));
    }

    fn send(&self, message: Message) {
        if let Err(message) = self.inbox.send(message) {
            refuse(message, self.status().position);
        }
    }

    /// Asks that a node lead: by the leader, the lead is handed over; by that node itself, it claims.
    pub fn promote(&self, to: &str, reply: impl FnOnce(Promoted) + Send + 'static) {
        self.send(Message::Promote(to.to_owned(), Box::new(reply)));
    }

    /// Says whether this node may claim by itself when the leader is silent. It may from the start.
    pub fn allow_claims(&self, may_claim: bool) {
        self.shared.may_claim.store(may_claim, Ordering::Relaxed);
    }

    /// What the cell last said of itself.
    pub fn status(&self) -> Status {
        lock(&self.shared.status).clone()
    }

    /// Its name.
    pub fn cell(&self) -> &CellName {
        &self.shared.cell
    }

    /// Bytes written to disk since the start, by directory.
    pub fn bytes_written(&self) -> Vec<(String, u64)> {
        self.shared.disk.upgrade().map(|disk| disk.bytes_written()).unwrap_or_default()
    }
}

impl Stopper {
    /// Takes no more work, finishes what is in flight, makes everything durable and ends the threads. Blocks.
    pub fn stop(self) {
        let (done, stopped) = channel();
        // An error means that the thread is gone already, which is what was asked for.
        if self.inbox.send(Message::Stop(done)).is_ok() {
            let _ = stopped.recv();
        }
        let _ = self.thread.join();
    }
}

/// Answers a message that came after the end.
pub(crate) fn refuse(message: Message, position: Position) {
    match message {
        Message::Write(_, reply) => reply(Reply::Rejected(Rejected::Stopping)),
        Message::Read(_, reply) => {
            reply(ReadReply { position, staleness_ms: 0, found: Err(ReadError::Stopping) });
        }
        Message::Promote(_, reply) => reply(Promoted::Failed),
        Message::Stop(done) => drop(done),
        Message::Log(_) | Message::House(_) => {}
    }
}

pub(crate) fn now_since(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { mono_us: started.elapsed().as_micros() as u64, wall_us: wall.as_micros() as u64 }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A seed for hashes that nobody outside can guess.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

impl std::fmt::Debug for CellHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CellHandle").field("cell", &self.shared.cell).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(_) => f.write_str("the data directory cannot be opened"),
            Self::Log(_) => f.write_str("the log cannot be opened"),
            Self::Recover(_) => f.write_str("the cell cannot be recovered"),
            Self::Claim(why) => write!(f, "the claim of a new epoch was not appended: {why}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Data(source) => Some(source),
            Self::Log(source) => Some(source),
            Self::Recover(source) => Some(source),
            Self::Claim(_) => None,
        }
    }
}
