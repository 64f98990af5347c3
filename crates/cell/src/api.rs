//! What the rest of the house may ask of a cell, and how it answers.

use std::ops::Range;
use std::sync::Arc;

use machine::{Code, Corrupt, Record};
use words::{Position, Stamp, TransferId};

use crate::history::History;
use crate::leases::{LeaseFound, LeaseQuery};
use crate::sagas::{SagaFound, SagaQuery};
use crate::topics::{TopicFound, TopicQuery};

/// A write: one encoded command, or a stream batch of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// `machine::Command`, encoded; its `expires` is set by the cell.
    pub command: Vec<u8>,
    /// When the caller stops waiting, in microseconds of the cell's monotonic clock (see `CellHandle::now_us`).
    pub deadline_us: u64,
    /// Whether the caller waits for the end of an operation that is accepted first, or only for its acceptance.
    pub waits_for_end: bool,
}

/// How a write ended, as far as the cell can say by the deadline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The log has decided.
    Decided(Decided),
    /// Certain not to have happened, and nothing is remembered.
    Rejected(Rejected),
    /// The append had begun and the deadline passed, or the log was lost.
    Uncertain,
    /// Accepted, durably; its end is still to come, and whoever asks again under its key can wait for it.
    Pending {
        /// The newest position applied here: what the client has now seen.
        seen: Position,
        /// What strangers call the run, where it is one.
        run: Option<TransferId>,
    },
}

/// What the log decided, and everything needed to say it to a stranger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// The entry that decided it (of a replay: the entry that decided it then; of a stream: the entry it came in).
    pub position: Position,
    /// The newest position applied here when the answer was given: what the client has now seen.
    pub seen: Position,
    /// Decided earlier, under the same key.
    pub replayed: bool,
    /// Another request with this key was in flight, and this is its answer.
    pub joined: bool,
    /// The decision: `parts[0]` of a single operation; of a batch the batch's own record and then its items in order; of
    /// a stream its items in order.
    pub answer: Answer,
}

/// Records and refusals, copied out of the archive.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) parts: Vec<PartAt>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PartAt {
    Record { at: Range<usize>, ordinal: u64, replayed: bool },
    Refused { code: Code, about: Range<usize>, had: i128, wanted: i128 },
}

/// One decision of an [`Answer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part<'a> {
    /// It is remembered, in this record.
    Record {
        /// The record's bytes: `machine::Record::decode`.
        bytes: &'a [u8],
        /// Its ordinal.
        ordinal: u64,
        /// Decided earlier, under the same key.
        replayed: bool,
    },
    /// Refused, and the refusal is not remembered (deadline, key reused, barred or expired).
    Refused(machine::Refusal<'a>),
}

/// Why a write was turned away before anything was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejected {
    /// The queue is full, or what is behind the log has fallen too far behind.
    Overloaded {
        /// When to come back.
        retry_after_ms: u64,
    },
    /// The disk has no room for the next log segment.
    StorageFull,
    /// The log could not be reached while this was appended, and it is certain by now that it was not.
    LogUnavailable,
    /// This node does not lead: another one does, or nobody at the moment.
    NotLeader,
    /// The cell is stopping.
    Stopping,
    /// The deadline passed while the write waited for its turn.
    DeadlineExceeded,
    /// The command's bytes are not one: a mistake of this server's own.
    Malformed,
    /// The command cannot be an entry: too large.
    TooLarge {
        /// The largest, in bytes.
        max: usize,
    },
}

/// How fresh a read must be. One node with the file log serves every level from the same state; the levels differ in
/// what they wait for and refuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Everything acknowledged before the read began.
    Linearizable,
    /// At least this position.
    Session(Position),
    /// At most this stale.
    Bounded {
        /// In milliseconds.
        ms: u64,
    },
    /// Whatever is here.
    Eventual,
    /// Exactly as it stood after that entry.
    At(Position),
}

/// A read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// How fresh.
    pub level: Level,
    /// When the caller stops waiting, in microseconds of the cell's monotonic clock.
    pub deadline_us: u64,
    /// What.
    pub query: Query,
}

/// What can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query {
    /// One account. The only one that takes [`Level::At`].
    Account {
        /// Its id.
        id: String,
    },
    /// Accounts in the order they were opened.
    Accounts {
        /// The slot to begin at: 0, or the `next` of the page before.
        from_slot: u64,
        /// At most this many.
        limit: usize,
        /// Only of this unit.
        unit: Option<String>,
    },
    /// The records that changed an account, newest first.
    History {
        /// The account.
        id: String,
        /// Begin at this ordinal: `None` = the newest, else the `next` of the page before.
        before: Option<u64>,
        /// Only records stamped at or after this.
        from: Option<Stamp>,
        /// Only records stamped before this.
        to: Option<Stamp>,
        /// At most this many.
        limit: usize,
    },
    /// A transfer as it is now.
    Transfer {
        /// Its id.
        id: TransferId,
    },
    /// The calls of which nobody knows whether they were done, oldest first.
    Uncertain {
        /// Begin after the one that became uncertain then, under that number.
        after: (Stamp, u64),
        /// At most this many.
        limit: usize,
    },
    /// What became of a key.
    Operation {
        /// Whose.
        principal: String,
        /// Which.
        key: String,
        /// Wait for one in flight until this instant of the cell's monotonic clock; `None` = do not wait.
        wait_until_us: Option<u64>,
    },
    /// Of topics and subscriptions.
    Topics(TopicQuery),
    /// Of sagas and their runs.
    Sagas(SagaQuery),
    /// Of leases.
    Leases(LeaseQuery),
}

/// The answer to a read, with the position it was judged on.
#[derive(Debug)]
pub struct ReadReply {
    /// The state that was read: everything up to this entry, nothing after it.
    pub position: Position,
    /// An upper bound on how old that state is; 0 where it is the newest there is.
    pub staleness_ms: u64,
    /// What was found.
    pub found: Result<Found, ReadError>,
}

/// What a read found.
#[derive(Debug)]
pub enum Found {
    /// An account, as of the position.
    Account(Account),
    /// A page of accounts.
    Accounts {
        /// In the order they were opened.
        items: Vec<Account>,
        /// Where the next page begins.
        next: Option<u64>,
    },
    /// A page of history; `History::finish` reads what is not in memory.
    History(History),
    /// The newest record of a transfer.
    Transfer(Answer),
    /// A decided operation.
    Operation(Operation),
    /// A page of uncertain calls.
    Uncertain {
        /// Oldest first.
        calls: Vec<UncertainCall>,
        /// Where the next page begins: the `after` of its query.
        next: Option<(Stamp, u64)>,
    },
    /// Of topics and subscriptions.
    Topics(TopicFound),
    /// Of sagas and their runs.
    Sagas(SagaFound),
    /// Of leases.
    Leases(LeaseFound),
}

/// A call of which nobody knows whether it was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UncertainCall {
    /// How it stands.
    pub view: machine::CallView,
    /// The record that accepted it: `machine::Record`, encoded.
    pub accepted: Vec<u8>,
    /// The newest records of what was tried, oldest first, likewise.
    pub tried: Vec<Vec<u8>>,
}

/// Why a read has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// There is no such account (or was not, at that position).
    AccountNotFound,
    /// There is no such transfer.
    TransferNotFound,
    /// There is no such topic.
    TopicNotFound,
    /// There is no such subscription.
    SubscriptionNotFound,
    /// There is no such saga, or no such definition of it.
    SagaNotFound,
    /// There is no such run.
    RunNotFound,
    /// Never decided here, or no longer kept.
    OperationUnknown,
    /// The level cannot be met within the deadline.
    Unavailable {
        /// What could be had instead: the position applied here.
        applied: Position,
    },
    /// What is asked for is gone or never was here.
    NotRetained,
    /// The cell is stopping.
    Stopping,
    /// Too many reads are waiting.
    Overloaded,
}

/// An account as a read found it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its unit.
    pub unit: String,
    /// Its floor.
    pub floor: Option<i128>,
    /// Its balance.
    pub balance: i128,
    /// The sum of open holds from it.
    pub held: i128,
    /// Canonical JSON, or empty.
    pub metadata: String,
    /// When it was opened.
    pub created: Stamp,
    /// How many records changed it, the opening included.
    pub version: u64,
}

/// A decided operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// As in [`Decided::answer`].
    pub answer: Answer,
    /// How often it was asked for again and answered from the record, since this node started and while it is recent.
    pub replays: u64,
    /// How many requests joined it in flight, likewise.
    pub joins: u64,
    /// When the request came in; of what was accepted first, when that was asked for, however late its end came.
    pub received_at: Stamp,
    /// Until when the key is kept.
    pub expires_at: Stamp,
}

/// What a node does in its cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// It gives operations their place.
    #[default]
    Leader,
    /// It applies what the leader appended.
    Follower,
}

/// What a cell says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// The newest entry applied.
    pub position: Position,
    /// Its stamp.
    pub stamp: Stamp,
    /// The state's rolling digest there.
    pub digest: u64,
    /// Whether it leads, or follows who does.
    pub role: Role,
    /// The reign it is in.
    pub epoch: u64,
    /// Who claimed that reign; empty where that is not known here, since it was before the checkpoint.
    pub leader: Arc<str>,
    /// What was acknowledged before this instant of the cell's monotonic clock, by anyone, is applied here.
    pub proven_us: u64,
    /// Whether writes are accepted here.
    pub writable: bool,
    /// Why not, in a few words.
    pub reason: &'static str,
    /// Commands waiting to be appended.
    pub queued: u64,
    /// Accounts there are.
    pub accounts: u64,
    /// Open holds there are.
    pub holds: u64,
    /// Open calls there are.
    pub calls: u64,
    /// Of these, uncertain.
    pub uncertain: u64,
    /// Since when the oldest of these is.
    pub uncertain_oldest: Option<Stamp>,
    /// Open runs there are.
    pub runs: u64,
    /// Leases in use.
    pub leases: u64,
    /// Records there are.
    pub records: u64,
    /// The newest durable checkpoint's index.
    pub checkpoint: u64,
    /// The first log entry still readable.
    pub log_first: u64,
    /// Counters since this node started.
    pub counters: Counters,
}

/// Counters since the node started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Entries appended.
    pub entries: u64,
    /// Bytes of entries appended.
    pub entry_bytes: u64,
    /// Commands decided, items of batches included.
    pub decided: u64,
    /// Answers given from the record.
    pub replays: u64,
    /// Requests that joined one in flight.
    pub joins: u64,
    /// Writes turned away before anything was appended.
    pub rejected: u64,
    /// Writes left uncertain.
    pub uncertain: u64,
    /// Holds expired.
    pub expired_holds: u64,
    /// Checkpoints finished.
    pub checkpoints: u64,
    /// Microseconds spent in appends (write and sync).
    pub append_us: u64,
    /// Microseconds spent applying.
    pub apply_us: u64,
    /// Uncertain calls that came to an end, by how long they were uncertain: up to each of [`SETTLED_BOUNDS_MS`], and
    /// longer.
    pub settled: [u64; SETTLED_BOUNDS_MS.len() + 1],
    /// How long these were uncertain together, in microseconds.
    pub settled_us: u64,
}

/// Bounds of how long something was uncertain, in milliseconds: 100 ms to one day.
pub const SETTLED_BOUNDS_MS: [u64; 7] = [100, 1_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000];

impl Answer {
    /// Each decision in turn.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = Part<'_>> {
        self.parts.iter().map(|part| match part {
            PartAt::Record { at, ordinal, replayed } => {
                Part::Record { bytes: &self.bytes[at.clone()], ordinal: *ordinal, replayed: *replayed }
            }
            PartAt::Refused { code, about, had, wanted } => Part::Refused(machine::Refusal {
                code: *code,
                about: std::str::from_utf8(&self.bytes[about.clone()]).unwrap_or_default(),
                had: *had,
                wanted: *wanted,
            }),
        })
    }

    /// The first decision; an answer has at least one unless it is of an empty stream.
    pub fn first(&self) -> Option<Part<'_>> {
        self.parts().next()
    }

    /// Whether what was asked for is accepted and its end still to come.
    ///
    /// # Errors
    /// [`Corrupt`] where the archive holds bytes that are no record.
    pub fn is_pending(&self) -> Result<bool, Corrupt> {
        let record = self.first().map(|part| part.record()).transpose()?.flatten();
        Ok(record.is_some_and(|record| record.body.is_pending()))
    }

    /// The record under which what is pending was accepted first, the answer's own being `ordinal`: what its end names.
    /// `None` if it is not pending.
    pub(crate) fn pending_since(&self, ordinal: u64) -> Result<Option<u64>, Corrupt> {
        let record = self.first().map(|part| part.record()).transpose()?.flatten();
        Ok(record.and_then(|record| record.body.pending_since(ordinal)))
    }

    pub(crate) fn push_record(&mut self, bytes: &[u8], ordinal: u64, replayed: bool) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.parts.push(PartAt::Record { at: start..self.bytes.len(), ordinal, replayed });
    }

    pub(crate) fn push_refusal(&mut self, refusal: machine::Refusal<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(refusal.about.as_bytes());
        self.parts.push(PartAt::Refused {
            code: refusal.code,
            about: start..self.bytes.len(),
            had: refusal.had,
            wanted: refusal.wanted,
        });
    }
}

impl<'a> Part<'a> {
    /// The record, if it is one.
    ///
    /// # Errors
    /// [`Corrupt`] where the archive holds bytes that are no record.
    pub fn record(&self) -> Result<Option<Record<'a>>, Corrupt> {
        match self {
            Part::Record { bytes, .. } => Record::decode(bytes).map(Some),
            Part::Refused(_) => Ok(None),
        }
    }
}
