//! PostgreSQL under the layer.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio_postgres::Client;

use super::database::{Begun, Call, Database, Fate, Next, Told};
use crate::postgres::{Inbox, bounded, event_in};
use crate::{Answer, Error, Fingerprint, Key, Settled, Ticket};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Connecting<C> = Pin<Box<dyn Future<Output = Result<C, Failure>> + Send>>;

/// PostgreSQL, with connections from a pool or one by one.
pub struct Postgres<C> {
    connect: Arc<dyn Fn() -> Connecting<C> + Send + Sync>,
}

impl<C> Postgres<C> {
    /// `connect` lends a connection for one transaction: a pool's, or `Box<Client>` of a new one. It comes back without a
    /// transaction on it.
    pub fn new(connect: impl Fn() -> Connecting<C> + Send + Sync + 'static) -> Self {
        Self { connect: Arc::new(connect) }
    }
}

/// A connection in a transaction, which is rolled back when this is dropped.
#[derive(Debug)]
pub struct PostgresOpen<C: Deref<Target = Client>> {
    connection: C,
    is_open: bool,
}

impl<C: Deref<Target = Client> + Send + Sync + 'static> Database for Postgres<C> {
    type Open = PostgresOpen<C>;

    async fn begin(
        &self,
        scope: &str,
        call: &Call,
        fingerprint: Fingerprint,
        wait: Duration,
    ) -> Result<Begun<Self::Open>, Error> {
        let inbox = Inbox::new(scope);
        let open = self.open(wait).await?;
        let next: Next = match call {
            Call::Step { key, fence } => {
                inbox.enter_in(&open, &Call::arrival(key, fence.as_ref(), fingerprint)).await?.into()
            }
            Call::Compensation { key, fence, step, said } => {
                let arrival = Call::arrival(key, fence.as_ref(), fingerprint);
                Next::of_compensation(inbox.compensate_in(&open, &arrival, step).await?, *said)
            }
            Call::Event { subscription, partition, offset } => {
                event_in(&open, subscription, partition, *offset).await?.into()
            }
        };
        match next {
            Next::Run { ticket, step } => {
                open.batch_execute("SAVEPOINT tertium_handler").await?;
                Ok(Begun::Run { open, ticket, step })
            }
            Next::Finish(ticket, answer) => {
                inbox.finish_in(&open, ticket, &answer).await?;
                open.end("COMMIT").await?;
                Ok(Begun::Told(Told::First(answer)))
            }
            Next::Tell(told) => {
                open.end("ROLLBACK").await?;
                Ok(Begun::Told(told))
            }
        }
    }

    async fn conclude(
        &self,
        open: Self::Open,
        scope: &str,
        ticket: Option<Ticket>,
        answer: &Answer,
    ) -> Result<(), Fate> {
        let write = async {
            // Both fail where the handler ended the transaction or left it broken. A refusal undoes what it wrote.
            let verb = if answer.is_committed() { "RELEASE" } else { "ROLLBACK TO" };
            open.batch_execute(&format!("{verb} SAVEPOINT tertium_handler")).await?;
            match ticket {
                Some(ticket) => Inbox::new(scope).finish_in(&open, ticket, answer).await,
                None => Ok(()),
            }
        };
        write.await.map_err(Fate::Nothing)?;
        open.end("COMMIT").await.map_err(fate)
    }

    async fn abandon(&self, open: Self::Open) {
        // Where it fails the connection is gone, and the transaction with it.
        let _ = open.end("ROLLBACK").await;
    }

    async fn probe(&self, scope: &str, key: &Key, wait: Duration) -> Result<Settled, Fate> {
        let open = self.open(wait).await.map_err(Fate::Nothing)?;
        let settled = Inbox::new(scope).probe_in(&open, key).await.map_err(Fate::Nothing)?;
        open.end("COMMIT").await.map_err(fate)?;
        Ok(settled)
    }
}

impl<C: Deref<Target = Client> + Send + Sync + 'static> Postgres<C> {
    async fn open(&self, wait: Duration) -> Result<PostgresOpen<C>, Error> {
        let connection = (self.connect)().await.map_err(Error::Connection)?;
        // Open before it is: what is cancelled halfway has to be rolled back too.
        let open = PostgresOpen { connection, is_open: true };
        let (locks, statements) = (bounded("lock_timeout", wait), bounded("statement_timeout", wait));
        open.batch_execute(&format!("BEGIN; {locks}; {statements}")).await?;
        Ok(open)
    }
}

/// What a failed commit means. An answer of the server that names a broken constraint or a lost race means that it was
/// rolled back; a broken connection, or a server that is being shut down, may have committed before.
fn fate(error: Error) -> Fate {
    let class = match &error {
        Error::InFlight => return Fate::Nothing(error),
        Error::Postgres(error) => error.code().map_or("", |code| &code.code()[..2]),
        _ => "",
    };
    if ["23", "40"].contains(&class) { Fate::Nothing(error) } else { Fate::Unknown(error) }
}

impl<C: Deref<Target = Client>> PostgresOpen<C> {
    async fn end(mut self, statement: &str) -> Result<(), Error> {
        self.connection.batch_execute(statement).await?;
        self.is_open = false;
        Ok(())
    }
}

impl<C: Deref<Target = Client>> Deref for PostgresOpen<C> {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.connection
    }
}

impl<C: Deref<Target = Client>> Drop for PostgresOpen<C> {
    fn drop(&mut self) {
        if self.is_open {
            // The first poll sends it; nobody needs the answer, and the next statement on this connection comes after it.
            let _ = self.connection.batch_execute("ROLLBACK").now_or_never();
        }
    }
}

impl<C> Clone for Postgres<C> {
    fn clone(&self) -> Self {
        Self { connect: self.connect.clone() }
    }
}

impl<C> fmt::Debug for Postgres<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}
