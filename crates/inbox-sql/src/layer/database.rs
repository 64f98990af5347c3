//! What the layer needs of a database, and the transaction as the handler has it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

use super::reply::Problem;
use crate::{Answer, Arrival, Compensation, Entry, Error, Event, Fence, Fingerprint, Key, Settled, Step, Ticket};

/// A database under the layer: [`Postgres`](super::Postgres) or [`Sqlite`](super::Sqlite).
///
/// Each method is one transaction or the half of one. An [`Open`](Database::Open) that is dropped rolls back.
pub trait Database: Clone + Send + Sync + 'static {
    /// A connection in a transaction.
    type Open: Send + 'static;

    /// Opens a transaction and enters the call in it.
    #[doc(hidden)]
    fn begin(
        &self,
        scope: &str,
        call: &Call,
        fingerprint: Fingerprint,
        wait: Duration,
    ) -> impl Future<Output = Result<Begun<Self::Open>, Error>> + Send;

    /// Keeps the answer, and with it what the handler wrote if the answer says that it committed; then commits.
    #[doc(hidden)]
    fn conclude(
        &self,
        open: Self::Open,
        scope: &str,
        ticket: Option<Ticket>,
        answer: &Answer,
    ) -> impl Future<Output = Result<(), Fate>> + Send;

    /// Rolls back.
    #[doc(hidden)]
    fn abandon(&self, open: Self::Open) -> impl Future<Output = ()> + Send;

    /// Settles a key, in a transaction of its own.
    #[doc(hidden)]
    fn probe(&self, scope: &str, key: &Key, wait: Duration) -> impl Future<Output = Result<Settled, Fate>> + Send;
}

/// What became of a transaction that did not commit in good order.
#[derive(Debug)]
pub enum Fate {
    /// It certainly did not commit.
    Nothing(Error),
    /// The commit was sent and not answered: nobody knows.
    Unknown(Error),
}

/// What a request is to the inbox.
#[doc(hidden)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Call {
    Step { key: Key, fence: Option<Fence> },
    Compensation { key: Key, fence: Option<Fence>, step: Key, said: Said },
    Event { subscription: String, partition: String, offset: u64 },
}

/// What a compensation says of its step's outcome.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// A person says that it was done.
    Resolved,
    /// The step's receiver had said that it was done.
    Committed,
}

impl Call {
    pub(super) fn arrival(key: &Key, fence: Option<&Fence>, fingerprint: Fingerprint) -> Arrival {
        let arrival = Arrival::new(key.clone(), fingerprint);
        match fence {
            Some(fence) => arrival.fenced(fence.clone()),
            None => arrival,
        }
    }
}

/// What is to be done about a request.
#[doc(hidden)]
#[derive(Debug)]
pub enum Begun<O> {
    Run { open: O, ticket: Option<Ticket>, step: Option<Answer> },
    Told(Told),
}

/// What it is told without being run.
#[doc(hidden)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    Again(Answer),
    Barred,
    Reused,
    Stale,
    Seen,
    /// What was decided, and kept, without asking the handler.
    First(Answer),
}

/// What follows from what the inbox said.
pub(super) enum Next {
    Run {
        ticket: Option<Ticket>,
        step: Option<Answer>,
    },
    /// Finish with this answer, commit, and say so.
    Finish(Ticket, Answer),
    Tell(Told),
}

impl From<Entry> for Next {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::First(ticket) => Self::Run { ticket: Some(ticket), step: None },
            Entry::Again(answer) => Self::Tell(Told::Again(answer)),
            Entry::Barred => Self::Tell(Told::Barred),
            Entry::Reused => Self::Tell(Told::Reused),
            Entry::Stale(_) => Self::Tell(Told::Stale),
        }
    }
}

impl Next {
    /// What follows for a compensation whose step is not in the inbox:
    ///
    /// | its caller | then |
    /// |---|---|
    /// | had heard from here that it was done | its row was collected: it is undone all the same |
    /// | has a person's word for it | nobody knows: it is refused, so that a person looks |
    /// | says nothing | it never ran: there is nothing to undo |
    pub(super) fn of_compensation(compensation: Compensation, said: Said) -> Self {
        match compensation {
            Compensation::First(ticket, Step::Ran(answer)) => Self::Run { ticket: Some(ticket), step: Some(answer) },
            Compensation::First(ticket, Step::Refused(_)) => Self::Finish(ticket, Answer::new(204, Vec::new())),
            Compensation::First(ticket, Step::NeverRan) => match said {
                Said::Committed => Self::Run { ticket: Some(ticket), step: None },
                Said::Resolved => Self::Finish(ticket, Problem::StepUnknown.answer()),
                Said::Nothing => Self::Finish(ticket, Answer::new(204, Vec::new())),
            },
            Compensation::Again(answer) => Self::Tell(Told::Again(answer)),
            Compensation::Barred => Self::Tell(Told::Barred),
            Compensation::Reused => Self::Tell(Told::Reused),
            Compensation::Stale(_) => Self::Tell(Told::Stale),
        }
    }
}

impl From<Event> for Next {
    fn from(event: Event) -> Self {
        match event {
            Event::First => Self::Run { ticket: None, step: None },
            Event::Seen => Self::Tell(Told::Seen),
        }
    }
}

/// The answer of the step that a compensation undoes, as an extension of its request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepAnswer(pub Answer);

/// The call's transaction, for its handler. All that is written through it is committed with the answer, or not at all.
#[derive(Debug)]
pub struct Tx<O> {
    slot: Arc<Mutex<Option<O>>>,
}

/// The transaction while it is in use.
pub type Guard<O> = OwnedMappedMutexGuard<Option<O>, O>;

/// The handler has answered, and its transaction is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended;

impl<O: Send + 'static> Tx<O> {
    pub(super) fn new(open: O) -> Self {
        Self { slot: Arc::new(Mutex::new(Some(open))) }
    }

    /// The transaction, as soon as no other part of the handler uses it. `BEGIN`, `COMMIT` and `ROLLBACK` are the layer's
    /// to say.
    ///
    /// # Errors
    /// [`Ended`], in a task that outlived its handler.
    pub async fn lock(&self) -> Result<Guard<O>, Ended> {
        let slot = self.slot.clone().lock_owned().await;
        OwnedMutexGuard::try_map(slot, Option::as_mut).map_err(|_| Ended)
    }

    /// Does something with it that blocks, as all does in SQLite, where that disturbs nobody.
    ///
    /// # Errors
    /// [`Ended`], in a task that outlived its handler.
    ///
    /// # Panics
    /// Where `work` does.
    pub async fn run<R, W>(&self, work: W) -> Result<R, Ended>
    where
        R: Send + 'static,
        W: FnOnce(&O) -> R + Send + 'static,
    {
        let open = self.lock().await?;
        blocking(move || work(&open)).await
    }

    /// Takes it back from the handler; `None` where a part of the handler still holds it, who then never commits.
    pub(super) fn end(&self) -> Option<O> {
        self.slot.try_lock().ok()?.take()
    }
}

/// On a thread that may block. A panic there goes on here.
async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, Ended> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => Err(Ended),
        },
    }
}

impl<O> Clone for Tx<O> {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone() }
    }
}

impl<S: Sync, O: Send + 'static> FromRequestParts<S> for Tx<O> {
    type Rejection = axum::response::Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // Without the layer around the handler, or with that of another database.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::Failed.response())
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the handler has answered and its transaction is over")
    }
}

impl std::error::Error for Ended {}
