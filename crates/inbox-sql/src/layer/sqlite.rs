//! SQLite under the layer. All of it blocks, so all of it is done on threads that may.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::database::{Begun, Call, Database, Fate, Next, Told};
use crate::sqlite::{Inbox, event_in, wait_of};
use crate::{Answer, Error, Fingerprint, Key, Settled, Ticket};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// SQLite, with connections from a pool or one by one.
pub struct Sqlite<C> {
    connect: Arc<dyn Fn() -> Result<C, Failure> + Send + Sync>,
}

impl<C> Sqlite<C> {
    /// `connect` lends a connection for one transaction: a pool's, or `Box<Connection>` of a new one. It comes back
    /// without a transaction on it.
    pub fn new(connect: impl Fn() -> Result<C, Failure> + Send + Sync + 'static) -> Self {
        Self { connect: Arc::new(connect) }
    }
}

/// A connection in a transaction, which is rolled back when this is dropped.
#[derive(Debug)]
pub struct SqliteOpen<C: Deref<Target = Connection>> {
    connection: C,
}

impl<C: Deref<Target = Connection> + Send + 'static> Database for Sqlite<C> {
    type Open = SqliteOpen<C>;

    async fn begin(
        &self,
        scope: &str,
        call: &Call,
        fingerprint: Fingerprint,
        wait: Duration,
    ) -> Result<Begun<Self::Open>, Error> {
        let (database, inbox, call) = (self.clone(), Inbox::new(scope), call.clone());
        blocking(move || database.enter(&inbox, &call, fingerprint, wait)).await?
    }

    async fn conclude(
        &self,
        open: Self::Open,
        scope: &str,
        ticket: Option<Ticket>,
        answer: &Answer,
    ) -> Result<(), Fate> {
        let (inbox, answer) = (Inbox::new(scope), answer.clone());
        let concluded = blocking(move || {
            write(&open, &inbox, ticket, &answer).map_err(Fate::Nothing)?;
            open.commit().map_err(fate)
        });
        concluded.await.map_err(Fate::Unknown)?
    }

    async fn abandon(&self, open: Self::Open) {
        // Where it fails the runtime is shutting down, and the transaction with it.
        let _ = blocking(move || drop(open)).await;
    }

    async fn probe(&self, scope: &str, key: &Key, wait: Duration) -> Result<Settled, Fate> {
        let (database, inbox, key) = (self.clone(), Inbox::new(scope), key.clone());
        let settled = blocking(move || {
            let open = database.open(wait).map_err(Fate::Nothing)?;
            let settled = inbox.probe_in(&open, &key).map_err(Fate::Nothing)?;
            open.commit().map_err(fate)?;
            Ok(settled)
        });
        settled.await.map_err(Fate::Unknown)?
    }
}

impl<C: Deref<Target = Connection>> Sqlite<C> {
    fn open(&self, wait: Duration) -> Result<SqliteOpen<C>, Error> {
        let connection = (self.connect)().map_err(Error::Connection)?;
        let open = SqliteOpen { connection };
        open.busy_timeout(wait_of(wait))?;
        open.execute_batch("BEGIN IMMEDIATE")?;
        Ok(open)
    }

    fn enter(
        &self,
        inbox: &Inbox,
        call: &Call,
        fingerprint: Fingerprint,
        wait: Duration,
    ) -> Result<Begun<SqliteOpen<C>>, Error> {
        let open = self.open(wait)?;
        let next: Next = match call {
            Call::Step { key, fence } => {
                inbox.enter_in(&open, &Call::arrival(key, fence.as_ref(), fingerprint))?.into()
            }
            Call::Compensation { key, fence, step, said } => {
                let arrival = Call::arrival(key, fence.as_ref(), fingerprint);
                Next::of_compensation(inbox.compensate_in(&open, &arrival, step)?, *said)
            }
            Call::Event { subscription, partition, offset } => {
                event_in(&open, subscription, partition, *offset)?.into()
            }
        };
        match next {
            Next::Run { ticket, step } => {
                open.execute_batch("SAVEPOINT tertium_handler")?;
                Ok(Begun::Run { open, ticket, step })
            }
            Next::Finish(ticket, answer) => {
                inbox.finish_in(&open, ticket, &answer)?;
                open.commit()?;
                Ok(Begun::Told(Told::First(answer)))
            }
            Next::Tell(told) => Ok(Begun::Told(told)),
        }
    }
}

fn write(open: &Connection, inbox: &Inbox, ticket: Option<Ticket>, answer: &Answer) -> Result<(), Error> {
    // Both fail where the handler, or an error, ended the transaction. A refusal undoes what it wrote.
    let verb = if answer.is_committed() { "RELEASE" } else { "ROLLBACK TO" };
    open.execute_batch(&format!("{verb} tertium_handler"))?;
    ticket.map_or(Ok(()), |ticket| inbox.finish_in(open, ticket, answer))
}

/// What a failed commit means. A broken constraint and a busy database leave the transaction open, and it is rolled back;
/// after an error of the disk nobody knows what the disk has.
fn fate(error: Error) -> Fate {
    match &error {
        Error::InFlight => Fate::Nothing(error),
        Error::Sqlite(said) if said.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Fate::Nothing(error),
        _ => Fate::Unknown(error),
    }
}

impl<C: Deref<Target = Connection>> SqliteOpen<C> {
    fn commit(self) -> Result<(), Error> {
        Ok(self.execute_batch("COMMIT")?)
    }
}

impl<C: Deref<Target = Connection>> Deref for SqliteOpen<C> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl<C: Deref<Target = Connection>> Drop for SqliteOpen<C> {
    fn drop(&mut self) {
        if !self.is_autocommit() {
            // Where it fails the connection is of no use, and closing it rolls back.
            let _ = self.execute_batch("ROLLBACK");
        }
    }
}

async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Connection(Box::new(error)))
}

impl<C> Clone for Sqlite<C> {
    fn clone(&self) -> Self {
        Self { connect: self.connect.clone() }
    }
}

impl<C> fmt::Debug for Sqlite<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").finish_non_exhaustive()
    }
}
