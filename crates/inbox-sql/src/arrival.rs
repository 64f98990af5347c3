//! What arrives and what it is told: the values that go into the inbox of either database and come out of it.

use std::time::Duration;

use words::{Fingerprint, Key};

use crate::Answer;

/// A call that arrives: its key, what it asks for, and the lease it says it holds.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub(crate) key: Key,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) fence: Option<Fence>,
}

impl Arrival {
    /// A call under this key. The fingerprint is taken over everything that makes the request what it is: method, path
    /// and body.
    pub fn new(key: Key, fingerprint: Fingerprint) -> Self {
        Self { key, fingerprint, fence: None }
    }

    /// Run only if no higher token than this was seen for the resource.
    pub fn fenced(mut self, fence: Fence) -> Self {
        self.fence = Some(fence);
        self
    }

    /// Its key.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

/// A fencing token (Kleppmann, "How to do distributed locking", 2016): it grows with each holder of the resource's lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fence {
    /// What the lease guards, by its name.
    pub resource: String,
    /// The holder's token. Those above 2^63-1 are refused with [`Error::OutOfRange`](crate::Error::OutOfRange): neither
    /// database has a type for them.
    pub token: u64,
}

/// What the inbox says of a call.
#[derive(Debug)]
#[must_use]
pub enum Entry {
    /// It is the first: do the work in this transaction, then finish the ticket in it.
    First(Ticket),
    /// It was answered before: this is the first answer.
    Again(Answer),
    /// Somebody asked for it, or compensated it, before it came: it never ran and never will.
    Barred,
    /// The key belongs to a call with another fingerprint, which stays as it was.
    Reused,
    /// A higher token was seen for the resource: this one. Nothing is kept of the call.
    Stale(u64),
}

/// The duty to answer a key that was entered. Dropped unfinished, it makes the commit of its transaction fail.
#[derive(Debug)]
#[must_use = "the transaction cannot commit until the ticket is finished"]
pub struct Ticket {
    pub(crate) key: Key,
}

/// What the inbox says of a compensation, which is a call of its own with a key of its own.
#[derive(Debug)]
#[must_use]
pub enum Compensation {
    /// It is the first: undo the step if it ran, then finish the ticket.
    First(Ticket, Step),
    /// As of a call.
    Again(Answer),
    /// As of a call.
    Barred,
    /// As of a call.
    Reused,
    /// As of a call.
    Stale(u64),
}

/// What became of the step that is compensated. Whatever it was, it is final.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// It had its effect and answered this: undo it.
    Ran(Answer),
    /// It was refused, so it had no effect: there is nothing to undo.
    Refused(Answer),
    /// It is not here, and is barred now should it still arrive: it never ran, and there is nothing to undo. Unless the
    /// caller knows that it was done: then its row was collected. Where only a person says so, refuse.
    NeverRan,
}

/// What a key is, once somebody asked.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Settled {
    /// It was answered.
    Answered(Answer),
    /// It never ran, and never will.
    Barred,
}

/// What the inbox says of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Event {
    /// Newer than all of its partition so far: handle it in this transaction.
    First,
    /// Not newer than the last one handled: it was handled before.
    Seen,
}

/// How much is collected, and how much of it at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Collection {
    /// What is younger stays. It has to be longer than the longest retry and the broker's retention together; whole
    /// milliseconds count. The default is 7 days.
    pub window: Duration,
    /// Rows removed in one transaction, so that nobody waits long behind it. The default is 1,000.
    pub rows_per_batch: u32,
    /// Transactions in one call. The default is 100.
    pub batches_max: u32,
}

impl Default for Collection {
    fn default() -> Self {
        Self { window: Duration::from_secs(7 * 24 * 3_600), rows_per_batch: 1_000, batches_max: 100 }
    }
}

/// What was collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Collected {
    /// Rows of keys.
    pub keys: u64,
    /// Rows of partitions that had no event within the window.
    pub partitions: u64,
    /// Whether the batches ended before the old rows did.
    pub more: bool,
}
