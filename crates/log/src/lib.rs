//! The contract of an ordered, durable log and the kit that every engine of it must pass.
//!
//! A log never parses entries (law 9). It knows one writer at a time: an append names the tail it believes in, and one
//! that believes wrong is told so and changes nothing. Entries are chained by digest, so that two logs with the same
//! digest at the same position have the same history.

use std::fmt;
use std::time::Duration;
use words::Position;

mod checkpoints;
pub mod conformance;
mod error;

pub use checkpoints::{Checkpoint, Checkpoints};
pub use error::LogError;

/// The largest entry any engine takes, in bytes. An engine may take less ([`Capabilities::entry_bytes_max`]).
pub const ENTRY_BYTES_MAX: usize = 32 << 20;

/// One ordered, durable log.
///
/// Each method may wait for a disk or a network. After [`LogError::Fatal`] each call answers that: reopen and verify.
pub trait Log: Send {
    /// Appends one entry after `after`, the caller's belief of the tail, in the reign `epoch`. It is durable when this
    /// says [`Append::Ok`]. What follows an append that was not done is void: it would conflict.
    fn append(&mut self, after: Position, epoch: u64, entry: &[u8]) -> Append;

    /// The entries from an index on, in order and without a gap: up to `max_bytes` of them, but at least one where there
    /// is one. Empty at the tail's next index.
    ///
    /// # Errors
    /// [`LogError::Trimmed`] before [`Log::first`], [`LogError::Beyond`] after the tail's next index,
    /// [`LogError::Corrupt`], [`LogError::Io`].
    fn read(&mut self, from: u64, max_bytes: usize) -> Result<Vec<Stored>, LogError>;

    /// As [`Log::read`], but only entries that are known to be committed: what a follower may apply. Where a log is replicated
    /// below this contract, an entry that can be read is not yet one that survives; only what was acknowledged is, and what stands
    /// before a claim that was. `acknowledged` is an index that the caller was told of by the leader, 0 where it was told of
    /// none. Empty where nothing more is known to be committed.
    ///
    /// By default what can be read is committed.
    ///
    /// # Errors
    /// As [`Log::read`].
    fn read_committed(&mut self, from: u64, max_bytes: usize, acknowledged: u64) -> Result<Vec<Stored>, LogError> {
        let _ = acknowledged;
        self.read(from, max_bytes)
    }

    /// The position of the newest entry, linearizable: each entry acknowledged before the call, by anyone, is at or
    /// before it. [`Position::START`] where there is none.
    ///
    /// # Errors
    /// [`LogError::Io`], [`LogError::Fatal`].
    fn tail(&mut self) -> Result<Position, LogError>;

    /// Says that entries up to this index may go. A hint: they may stay readable for a while, and be back after a
    /// restart. The newest entry never goes.
    ///
    /// # Errors
    /// [`LogError::Io`], [`LogError::Fatal`].
    fn trim(&mut self, upto: u64) -> Result<(), LogError>;

    /// The first index that is still readable; the tail's next one where none is.
    fn first(&self) -> u64;

    /// Closes the log for ever: after it each append is [`Rejected::Sealed`], also after a restart. Says the final tail.
    /// Sealing a sealed log changes nothing.
    ///
    /// # Errors
    /// [`LogError::Io`], [`LogError::Fatal`], [`LogError::Full`].
    fn seal(&mut self) -> Result<Position, LogError>;

    /// What the engine promises.
    fn capabilities(&self) -> Capabilities;

    /// Whether there is room to go on; asked before a proposal is accepted, so cheap. It recovers by itself once there is
    /// room again.
    ///
    /// # Errors
    /// [`Rejected::Full`] while there is not, [`Rejected::Sealed`].
    fn has_room(&mut self) -> Result<(), Rejected>;

    /// Tells the engine that the log rests, so that one which can tell an unfinished append from a damaged one only by what
    /// follows it may write something that follows. Nothing to do by default.
    ///
    /// # Errors
    /// [`LogError::Io`], [`LogError::Fatal`].
    fn mark(&mut self) -> Result<(), LogError> {
        Ok(())
    }

    /// Work that the engine wants done beside the appends, on another thread. None by default.
    fn upkeep(&self) -> Option<Box<dyn Upkeep>> {
        None
    }
}

/// Work beside the appends.
pub trait Upkeep: Send {
    /// Does one piece of it, which may take as long as writing a segment.
    ///
    /// # Errors
    /// [`LogError::Fatal`]: the log stops.
    fn run_once(&self) -> Result<Kept, LogError>;

    /// Waits until there may be something to do, or until the time is over.
    fn wait(&self, timeout: Duration);
}

/// What one run of the upkeep did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// There was nothing to do.
    Idle,
    /// One piece was done; there may be more to do.
    Worked,
    /// There is no room for what is needed next. Try again in a while; [`Log::has_room`] says `Full` until then.
    Full,
}

/// What became of an append.
#[derive(Debug)]
#[must_use]
pub enum Append {
    /// It is durable, at this position.
    Ok(Position),
    /// Nothing happened: the tail is another one, or belongs to a higher epoch.
    Conflict {
        /// The tail as the log knows it.
        tail: Position,
    },
    /// Nothing happened and nothing will.
    Rejected(Rejected),
    /// Nobody knows. It is an answer, not an error: the next claim settles it, and what is then found happened. After
    /// [`LogError::Fatal`] that takes a restart; after anything else this log can be asked again.
    Unknown(LogError),
}

/// Why an append was not begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejected {
    /// The storage has no room at the moment.
    Full,
    /// The log was sealed.
    Sealed,
    /// The storage cannot be written to at the moment, and did not begin: it is not reached, read-only, or has not the
    /// replicas that were promised.
    Unavailable {
        /// Why.
        why: &'static str,
    },
    /// The entry is too large.
    TooLarge {
        /// The largest the engine takes, in bytes.
        max: usize,
    },
}

/// An entry as it is read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its place.
    pub position: Position,
    /// Its bytes.
    pub entry: Vec<u8>,
    /// The chain's digest after it.
    pub digest: u64,
}

/// What an engine promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// An append whose belief of the tail is wrong is refused by the engine itself.
    pub conditional: bool,
    /// Indexes have no gaps.
    pub dense: bool,
    /// What survives what.
    pub durability: Durability,
    /// The largest entry it takes, in bytes.
    pub entry_bytes_max: usize,
    /// Others may append to it, and it is reached over a network: each call may take as long as its deadline, and only the
    /// log can say who leads.
    pub shared: bool,
}

/// What an acknowledged entry survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// A crash and a power cut of the one machine, as long as its disk lives.
    OneNode,
    /// The loss of a minority of machines.
    Quorum,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the storage is full"),
            Self::Sealed => f.write_str("the log is sealed"),
            Self::Unavailable { why } => write!(f, "the storage takes no entries at the moment: {why}"),
            Self::TooLarge { max } => write!(f, "the entry is larger than {max} bytes"),
        }
    }
}

impl std::error::Error for Rejected {}
