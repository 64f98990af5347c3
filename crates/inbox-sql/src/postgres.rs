//! The inbox in PostgreSQL, through tokio-postgres.
//!
//! A rival in flight is waited for by the unique index: `INSERT ... ON CONFLICT DO NOTHING` of the same key blocks until
//! the first transaction ends, and then inserts nothing or has the place. [`begin`] bounds every such wait of the
//! transaction. In isolation levels above READ COMMITTED the rival's row may be there and not to be seen; PostgreSQL ends
//! the transaction then, and the answer is [`Error::InFlight`]: ask again.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};
use words::Key;

use crate::decide::{self, Columns, Place};
use crate::{
    Answer, Arrival, Collected, Collection, Compensation, Entry, Error, Event, Fence, Settled, Ticket, schema,
};

/// So that two that install at once do not meet halfway; any number that nobody else locks would do.
const INSTALL_LOCK: &str = "SELECT pg_advisory_xact_lock(7700003154)";

/// Another transaction has what this one waited for, or this one was ended for it.
const IN_FLIGHT: [SqlState; 4] = [
    SqlState::LOCK_NOT_AVAILABLE,
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::QUERY_CANCELED,
];

/// Creates the tables, or brings them to this version, in the connection's schema. What is there stays; to call it at each
/// start is what it is for.
///
/// # Errors
/// [`Error::SchemaNewer`] where a newer program was here first, [`Error::Postgres`].
pub async fn install(tx: &Transaction<'_>) -> Result<(), Error> {
    let client = tx.client();
    client.batch_execute(INSTALL_LOCK).await?;
    client.batch_execute(schema::VERSIONS).await?;
    let found: i64 = client.query_typed_one(schema::VERSION_READ, &[]).await?.try_get(0)?;
    let known = schema::POSTGRES.len() as i64;
    if found > known {
        return Err(Error::SchemaNewer { found, known });
    }
    for (version, tables) in (1_i64..).zip(schema::POSTGRES).skip(found.max(0) as usize) {
        client.batch_execute(tables).await?;
        client.execute_typed(schema::VERSION_ADD, &[(&version, Type::INT8)]).await?;
    }
    Ok(())
}

/// Begins a transaction in which nothing waits longer than this for a lock: what remains of the caller's deadline.
///
/// # Errors
/// [`Error::Postgres`].
pub async fn begin(client: &mut Client, wait: Duration) -> Result<Transaction<'_>, Error> {
    let tx = client.transaction().await?;
    tx.batch_execute(&bounded("lock_timeout", wait)).await?;
    Ok(tx)
}

/// `SET LOCAL` of a time-out. 0 would mean none, and PostgreSQL counts in an `int` of milliseconds.
pub(crate) fn bounded(setting: &str, wait: Duration) -> String {
    let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX).max(1);
    format!("SET LOCAL {setting} = {wait_ms}")
}

/// Removes what is older than the window.
///
/// # Errors
/// [`Error::OutOfRange`] where the window is, [`Error::Postgres`].
pub async fn collect(client: &mut Client, collection: &Collection) -> Result<Collected, Error> {
    let window_ms = decide::signed(u64::try_from(collection.window.as_millis()).unwrap_or(u64::MAX))?;
    let mut collected = Collected::default();
    for _ in 0..collection.batches_max {
        let tx = client.transaction().await?;
        let mut removed = [0; 2];
        for (statement, removed) in schema::POSTGRES_COLLECT.iter().zip(&mut removed) {
            let rows = i64::from(collection.rows_per_batch);
            *removed = tx.execute_typed(statement, &[(&window_ms, Type::INT8), (&rows, Type::INT8)]).await?;
        }
        tx.commit().await?;
        collected.keys += removed[0];
        collected.partitions += removed[1];
        collected.more = removed.iter().any(|rows| *rows >= u64::from(collection.rows_per_batch));
        if !collected.more {
            break;
        }
    }
    Ok(collected)
}

/// The keys of one scope: of one principal, who alone can reuse them.
#[derive(Clone, Debug)]
pub struct Inbox {
    scope: String,
}

impl Inbox {
    /// The inbox of this scope.
    pub fn new(scope: impl Into<String>) -> Self {
        Self { scope: scope.into() }
    }

    /// Enters a call: the first one gets a ticket, the others what became of it.
    ///
    /// # Errors
    /// [`Error`], all but those of SQLite.
    pub async fn enter(&self, tx: &Transaction<'_>, arrival: &Arrival) -> Result<Entry, Error> {
        self.enter_in(tx.client(), arrival).await
    }

    /// Answers a call that was entered in this transaction.
    ///
    /// # Errors
    /// [`Error::TicketElsewhere`] where it was not, [`Error::Postgres`].
    pub async fn finish(&self, tx: &Transaction<'_>, ticket: Ticket, answer: &Answer) -> Result<(), Error> {
        self.finish_in(tx.client(), ticket, answer).await
    }

    /// Enters a compensation, and settles the step that it compensates.
    ///
    /// # Errors
    /// As [`Inbox::enter`].
    pub async fn compensate(&self, tx: &Transaction<'_>, arrival: &Arrival, step: &Key) -> Result<Compensation, Error> {
        self.compensate_in(tx.client(), arrival, step).await
    }

    /// Asks for a call: its answer, if it has one; else it is barred, so that asking decides.
    ///
    /// # Errors
    /// As [`Inbox::enter`].
    pub async fn probe(&self, tx: &Transaction<'_>, key: &Key) -> Result<Settled, Error> {
        self.probe_in(tx.client(), key).await
    }

    pub(crate) async fn enter_in(&self, client: &Client, arrival: &Arrival) -> Result<Entry, Error> {
        let ticket = Ticket { key: arrival.key.clone() };
        let fingerprint = &arrival.fingerprint.as_bytes()[..];
        let (scope, key) = (self.scope.as_str(), arrival.key.as_str());
        let texts: [(&(dyn ToSql + Sync), Type); 3] =
            [(&scope, Type::TEXT), (&key, Type::TEXT), (&fingerprint, Type::BYTEA)];
        let place = match client.execute_typed(schema::ENTER, &texts).await? {
            0 => self.read(client, &arrival.key).await?,
            _ => Place::Taken,
        };
        let first = matches!(place, Place::Taken);
        if let (true, Some(fence)) = (first, &arrival.fence)
            && let Some(highest) = self.stale(client, fence).await?
        {
            client.execute_typed(schema::LEAVE, &texts[..2]).await?;
            return Ok(Entry::Stale(highest));
        }
        decide::enter(place, arrival.fingerprint, ticket)
    }

    pub(crate) async fn finish_in(&self, client: &Client, ticket: Ticket, answer: &Answer) -> Result<(), Error> {
        let (status, headers, body) = (i32::from(answer.status()), answer.headers_as_stored(), answer.body());
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&status, Type::INT4),
            (&headers, Type::TEXT),
            (&body, Type::BYTEA),
            (&self.scope, Type::TEXT),
            (&ticket.key.as_str(), Type::TEXT),
        ];
        match client.execute_typed(schema::FINISH, &parameters).await? {
            0 => Err(Error::TicketElsewhere),
            _ => Ok(()),
        }
    }

    pub(crate) async fn compensate_in(
        &self,
        client: &Client,
        arrival: &Arrival,
        step: &Key,
    ) -> Result<Compensation, Error> {
        match decide::compensation(self.enter_in(client, arrival).await?) {
            Ok(ticket) => Ok(Compensation::First(ticket, decide::step(self.probe_in(client, step).await?))),
            Err(told) => Ok(told),
        }
    }

    pub(crate) async fn probe_in(&self, client: &Client, key: &Key) -> Result<Settled, Error> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&self.scope, Type::TEXT), (&key.as_str(), Type::TEXT)];
        let place = match client.execute_typed(schema::BAR, &parameters).await? {
            0 => self.read(client, key).await?,
            _ => Place::Taken,
        };
        decide::settle(place)
    }

    async fn read(&self, client: &Client, key: &Key) -> Result<Place, Error> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&self.scope, Type::TEXT), (&key.as_str(), Type::TEXT)];
        let Some(row) = client.query_typed_opt(schema::READ, &parameters).await? else {
            return Ok(Place::Gone);
        };
        Place::of(Columns {
            state: row.try_get(0)?,
            fingerprint: row.try_get(1)?,
            status: row.try_get::<_, Option<i16>>(2)?.map(i64::from),
            headers: row.try_get(3)?,
            body: row.try_get(4)?,
        })
    }

    /// The token that was seen, if it is higher than this one.
    async fn stale(&self, client: &Client, fence: &Fence) -> Result<Option<u64>, Error> {
        let token = decide::signed(fence.token)?;
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&fence.resource, Type::TEXT), (&token, Type::INT8)];
        if client.execute_typed(schema::FENCE, &parameters).await? > 0 {
            return Ok(None);
        }
        let row = client.query_typed_one(schema::FENCE_READ, &parameters[..1]).await?;
        decide::unsigned(row.try_get(0)?).map(Some)
    }
}

/// Enters an event of a partition whose offsets grow: whether it is newer than all before it. Its offset is kept when this
/// transaction commits, and so is what it led to.
///
/// # Errors
/// [`Error::InFlight`] while another one of the partition is at it, [`Error::OutOfRange`], [`Error::Postgres`].
pub async fn event(tx: &Transaction<'_>, subscription: &str, partition: &str, offset: u64) -> Result<Event, Error> {
    event_in(tx.client(), subscription, partition, offset).await
}

pub(crate) async fn event_in(
    client: &Client,
    subscription: &str,
    partition: &str,
    offset: u64,
) -> Result<Event, Error> {
    let offset = decide::signed(offset)?;
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&subscription, Type::TEXT), (&partition, Type::TEXT), (&offset, Type::INT8)];
    let moved = client.execute_typed(schema::EVENT, &parameters).await?;
    Ok(if moved > 0 { Event::First } else { Event::Seen })
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) if IN_FLIGHT.contains(code) => Self::InFlight,
            _ => Self::Postgres(error),
        }
    }
}
