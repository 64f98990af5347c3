//! The cell without threads: told what came in, what the time is and what the log said, it says what to do next.
//!
//! ```text
//! submit -> queue -> take_batch -> (the log appends) -> appended -> apply_next -> replies
//! ```
//!
//! Nothing is applied before it is durable, so every answer is judged on durable state. The driver runs this with threads
//! and a real log, the simulator with a simulated one; both see the same decisions.

use std::collections::VecDeque;
use std::sync::Arc;

use archive::DiskArchive;
use hashbrown::HashMap;
use machine::{Applied, EntryEncoder, Machine};
use words::{Fingerprint, Position, Stamp};

use crate::api::{Counters, Reply, Role, Status};
use crate::clock::{CellClock, Now};
use crate::house::Progress;
use crate::options::Options;
use crate::pending::Pending;
use crate::queue::Queue;
use crate::waiting::WaitingReads;
use crate::work::Work;

/// A cell: its machine, its archive, and the operations between request and answer. `W` is whoever waits for a write,
/// `R` whoever waits for a read.
#[derive(Debug)]
pub struct Cell<W, R> {
    pub(crate) options: Options,
    pub(crate) machine: Machine,
    pub(crate) archive: DiskArchive,
    pub(crate) clock: CellClock,
    pub(crate) epoch: u64,
    pub(crate) hash_seed: u64,
    pub(crate) queue: Queue<W>,
    pub(crate) inflight: HashMap<u128, Inflight<W>>,
    pub(crate) appending: Option<Batch<W>>,
    /// The epoch in which the entry being appended was, where nobody knows what became of it.
    pub(crate) doubted_in: Option<u64>,
    /// The claims that were to end the doubt, with their epochs.
    pub(crate) own_claims: Vec<(u64, Vec<u8>)>,
    /// What was acknowledged before this instant of the monotonic clock, by anyone, is in `tail` and `ready`.
    pub(crate) proven_us: u64,
    pub(crate) ready: VecDeque<(Position, Batch<W>)>,
    pub(crate) tail: Position,
    pub(crate) encoder: EntryEncoder,
    pub(crate) applied: Applied,
    pub(crate) replies: Vec<(W, Reply)>,
    pub(crate) waiting: WaitingReads<R>,
    /// The reads that wait for events know of the records below this ordinal.
    pub(crate) events_seen: u64,
    pub(crate) pending: Pending<W>,
    pub(crate) work: Vec<Work>,
    pub(crate) notes: HashMap<u128, Note>,
    pub(crate) progress: Progress,
    /// It applies what another leads.
    pub(crate) following: bool,
    /// It is about to follow: nothing more is taken on.
    pub(crate) resigning: bool,
    /// While it follows: it has caught up with the log, and when it last asked for what was new then.
    pub(crate) is_live: bool,
    pub(crate) heard_us: Option<u64>,
    /// Who claimed the newest reign that was seen here.
    pub(crate) leader: Arc<str>,
    pub(crate) stopping: bool,
    pub(crate) storage_full: bool,
    pub(crate) counters: Counters,
}

/// An operation that waits to be appended.
#[derive(Debug)]
pub(crate) struct Queued<W> {
    pub(crate) command: Vec<u8>,
    /// Its place in the order of all that were queued.
    pub(crate) number: u64,
    /// Of principal and key, under which `inflight` knows it; `None` for a stream batch, which has no key of its own, and
    /// where a rival of another kind holds the place.
    pub(crate) name: Option<u128>,
    pub(crate) waiter: Option<Waiter<W>>,
    /// When it came in, on the monotonic clock.
    pub(crate) received_us: u64,
    /// When its deadline is, on the monotonic clock; a later one of a request that joined counts.
    pub(crate) deadline_us: u64,
}

/// Somebody who waits for a decision.
#[derive(Debug)]
pub(crate) struct Waiter<W> {
    pub(crate) who: W,
    pub(crate) deadline_us: u64,
    /// Whether it waits for the end of what is accepted first.
    pub(crate) waits_for_end: bool,
}

/// An operation somewhere between the queue and its decision, as rivals with the same key find it.
#[derive(Debug)]
pub(crate) struct Inflight<W> {
    /// The operation's.
    pub(crate) number: u64,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) is_settle: bool,
    pub(crate) joined: Vec<Joined<W>>,
}

/// A request that came while one with its key was in flight.
#[derive(Debug)]
pub(crate) struct Joined<W> {
    pub(crate) waiter: Waiter<W>,
    pub(crate) asks: Asks,
}

/// What a request that joined asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asks {
    /// What is in flight.
    Same,
    /// Something else under the same key.
    Other,
    /// Whatever is decided.
    Settle,
}

/// What is remembered of an operation beside its record, while it is recent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Note {
    pub(crate) replays: u32,
    pub(crate) joins: u32,
}

/// An entry on its way through the log.
#[derive(Debug)]
pub(crate) struct Batch<W> {
    pub(crate) entry: Vec<u8>,
    pub(crate) operations: Vec<Queued<W>>,
    /// When its append was begun, on the monotonic clock.
    pub(crate) began_us: u64,
}

impl<W, R> Cell<W, R> {
    /// A cell that continues from recovered state. It leads under `epoch` once the claim that
    /// [`Cell::claim`] gives is appended and applied.
    pub fn new(options: Options, machine: Machine, archive: DiskArchive, now: Now) -> Self {
        let (tail, stamp, epoch) = (machine.position(), machine.stamp(), machine.epoch());
        Self {
            clock: CellClock::new(now, stamp),
            epoch: epoch + 1,
            hash_seed: archive.hash_seed(),
            progress: Progress::default(),
            options,
            machine,
            archive,
            queue: Queue::default(),
            inflight: HashMap::new(),
            appending: None,
            doubted_in: None,
            own_claims: Vec::new(),
            proven_us: 0,
            ready: VecDeque::new(),
            tail,
            encoder: EntryEncoder::default(),
            applied: Applied::default(),
            replies: Vec::new(),
            waiting: WaitingReads::default(),
            events_seen: 0,
            pending: Pending::default(),
            work: Vec::new(),
            notes: HashMap::new(),
            following: false,
            resigning: false,
            is_live: false,
            heard_us: None,
            leader: "".into(),
            stopping: false,
            storage_full: false,
            counters: Counters::default(),
        }
    }

    /// Continues after what was replayed from the log: its tail, its stamps, its epochs.
    pub(crate) fn resume(&mut self, now: Now) {
        self.tail = self.machine.position();
        self.epoch = self.machine.epoch() + 1;
        self.clock = CellClock::new(now, self.machine.stamp());
        self.counters = Counters::default();
    }

    /// The epoch under which this cell appends.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The newest entry known to be durable: what the next append comes after.
    pub const fn tail(&self) -> Position {
        self.tail
    }

    /// The state machine, to be looked at.
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The archive, to be looked at.
    pub const fn archive(&self) -> &DiskArchive {
        &self.archive
    }

    /// The archive, for its background jobs.
    pub fn archive_mut(&mut self) -> &mut DiskArchive {
        &mut self.archive
    }

    /// Answers that are due, in the order they were decided. The driver hands them on.
    pub fn take_replies(&mut self) -> std::vec::Drain<'_, (W, Reply)> {
        self.replies.drain(..)
    }

    /// Takes no new work from here on; what is queued is still finished.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.give_up_pending();
    }

    /// Whether nothing is between request and answer.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.is_appending() && self.ready.is_empty()
    }

    /// Whether an append is under way, or what became of one is not known.
    pub const fn is_appending(&self) -> bool {
        self.appending.is_some() || self.is_in_doubt()
    }

    /// Whether no durable entry waits to be applied.
    pub fn nothing_to_apply(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether a durable entry waits to be applied.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether writes are turned away for want of room.
    pub const fn is_storage_full(&self) -> bool {
        self.storage_full
    }

    /// Tells whether the log has room for more; while it has none, writes are turned away.
    pub fn set_storage_full(&mut self, full: bool) {
        self.storage_full = full;
    }

    /// When time alone makes something due: a hold's expiry, as microseconds from now; `None` = nothing is.
    pub fn timer_due_in_us(&mut self, now: Now) -> Option<u64> {
        let due = self.machine.next_timer()?;
        let wall_us = self.clock.wall_us(now);
        // One microsecond more, so that the stamp given then is not before the timer's.
        Some((due.micros() + 1).saturating_sub(wall_us))
    }

    /// An operation is no longer in flight: gives who joined it, and has the reads that wait for it look again.
    pub(crate) fn land(&mut self, name: u128) -> Option<Inflight<W>> {
        self.waiting.wake_operation(name);
        self.inflight.remove(&name)
    }

    /// What the cell says of itself.
    pub fn status(&self) -> Status {
        let reason = match (self.stopping, self.storage_full) {
            (true, _) => "stopping",
            _ if self.is_in_doubt() => "the log does not answer",
            _ if self.following => "another node leads",
            (_, true) => "storage is full",
            _ if self.is_behind() => "the archive is behind",
            _ => "",
        };
        Status {
            position: self.machine.position(),
            stamp: self.machine.stamp(),
            digest: self.machine.digest(),
            role: if self.following { Role::Follower } else { Role::Leader },
            epoch: self.machine.epoch(),
            leader: Arc::clone(&self.leader),
            proven_us: self.proven_us,
            writable: reason.is_empty(),
            reason,
            queued: self.queue.len() as u64,
            accounts: self.machine.accounts_len(),
            holds: self.machine.holds_len(),
            calls: self.machine.calls_len(),
            uncertain: self.machine.uncertain_summary().0,
            uncertain_oldest: self.machine.uncertain_summary().1,
            runs: self.machine.runs_len(),
            leases: self.machine.leases_len(),
            records: machine::Archive::next_ordinal(&self.archive),
            checkpoint: self.progress.newest_checkpoint(),
            log_first: 0,
            counters: self.counters,
        }
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.archive.backlog() > self.options.archive_backlog_max
    }

    /// The instant at which a key decided at `stamp` is forgotten.
    pub(crate) fn key_expires(&self, stamp: Stamp) -> Stamp {
        stamp.plus_ms(self.machine.key_retention_ms())
    }
}
