//! The inbox in SQLite, through rusqlite.
//!
//! SQLite has one writer at a time: [`begin`] takes the write lock at once (`BEGIN IMMEDIATE`), so that a rival waits
//! there, whatever its key. An unanswered key is refused at commit by a foreign key, which SQLite checks only on
//! connections that have `PRAGMA foreign_keys = ON`; on others, nothing is entered.

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};
use words::Key;

use crate::decide::{self, Columns, Place};
use crate::{
    Answer, Arrival, Collected, Collection, Compensation, Entry, Error, Event, Fence, Settled, Ticket, schema,
};

/// Creates the tables, or brings them to this version. What is there stays; to call it at each start is what it is for.
///
/// # Errors
/// [`Error::SchemaNewer`] where a newer program was here first, [`Error::InFlight`], [`Error::Sqlite`].
pub fn install(tx: &Transaction<'_>) -> Result<(), Error> {
    tx.execute(schema::VERSIONS, ())?;
    let found: i64 = tx.query_row(schema::VERSION_READ, (), |row| row.get(0))?;
    let known = schema::SQLITE.len() as i64;
    if found > known {
        return Err(Error::SchemaNewer { found, known });
    }
    for (version, tables) in (1_i64..).zip(schema::SQLITE).skip(found.max(0) as usize) {
        tx.execute_batch(tables)?;
        tx.execute(schema::VERSION_ADD, (version,))?;
    }
    Ok(())
}

/// Begins a transaction that may write, after waiting no longer than this for the one before it: what remains of the
/// caller's deadline. The connection's busy time-out stays at it, so that the commit does not wait longer for readers.
///
/// # Errors
/// [`Error::InFlight`] where somebody else was writing all the time, [`Error::Sqlite`].
pub fn begin(connection: &mut Connection, wait: Duration) -> Result<Transaction<'_>, Error> {
    connection.busy_timeout(wait_of(wait))?;
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

/// SQLite counts in an `int` of milliseconds.
pub(crate) fn wait_of(wait: Duration) -> Duration {
    wait.min(Duration::from_millis(i32::MAX as u64))
}

/// Removes what is older than the window.
///
/// # Errors
/// [`Error::OutOfRange`] where the window is, [`Error::InFlight`], [`Error::Sqlite`].
pub fn collect(connection: &mut Connection, collection: &Collection) -> Result<Collected, Error> {
    let window_ms = decide::signed(u64::try_from(collection.window.as_millis()).unwrap_or(u64::MAX))?;
    let mut collected = Collected::default();
    for _ in 0..collection.batches_max {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut removed = [0; 2];
        for (statement, removed) in schema::SQLITE_COLLECT.iter().zip(&mut removed) {
            *removed = tx.execute(statement, (window_ms, collection.rows_per_batch))? as u64;
        }
        tx.commit()?;
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
    /// [`Error`], all but those of PostgreSQL.
    pub fn enter(&self, tx: &Transaction<'_>, arrival: &Arrival) -> Result<Entry, Error> {
        self.enter_in(tx, arrival)
    }

    /// Answers a call that was entered in this transaction.
    ///
    /// # Errors
    /// [`Error::TicketElsewhere`] where it was not, [`Error::Sqlite`].
    pub fn finish(&self, tx: &Transaction<'_>, ticket: Ticket, answer: &Answer) -> Result<(), Error> {
        self.finish_in(tx, ticket, answer)
    }

    /// Enters a compensation, and settles the step that it compensates.
    ///
    /// # Errors
    /// As [`Inbox::enter`].
    pub fn compensate(&self, tx: &Transaction<'_>, arrival: &Arrival, step: &Key) -> Result<Compensation, Error> {
        self.compensate_in(tx, arrival, step)
    }

    /// Asks for a call: its answer, if it has one; else it is barred, so that asking decides.
    ///
    /// # Errors
    /// As [`Inbox::enter`].
    pub fn probe(&self, tx: &Transaction<'_>, key: &Key) -> Result<Settled, Error> {
        self.probe_in(tx, key)
    }

    pub(crate) fn enter_in(&self, connection: &Connection, arrival: &Arrival) -> Result<Entry, Error> {
        if !connection.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY)? {
            return Err(Error::ForeignKeysOff);
        }
        let (scope, key) = (self.scope.as_str(), arrival.key.as_str());
        let place = match connection.execute(schema::ENTER, (scope, key, arrival.fingerprint.as_bytes()))? {
            0 => self.read(connection, &arrival.key)?,
            _ => Place::Taken,
        };
        let first = matches!(place, Place::Taken);
        if let (true, Some(fence)) = (first, &arrival.fence)
            && let Some(highest) = stale(connection, fence)?
        {
            connection.execute(schema::LEAVE, (scope, key))?;
            return Ok(Entry::Stale(highest));
        }
        decide::enter(place, arrival.fingerprint, Ticket { key: arrival.key.clone() })
    }

    pub(crate) fn finish_in(&self, connection: &Connection, ticket: Ticket, answer: &Answer) -> Result<(), Error> {
        let parameters =
            (answer.status(), answer.headers_as_stored(), answer.body(), self.scope.as_str(), ticket.key.as_str());
        match connection.execute(schema::FINISH, parameters)? {
            0 => Err(Error::TicketElsewhere),
            _ => Ok(()),
        }
    }

    pub(crate) fn compensate_in(
        &self,
        connection: &Connection,
        arrival: &Arrival,
        step: &Key,
    ) -> Result<Compensation, Error> {
        match decide::compensation(self.enter_in(connection, arrival)?) {
            Ok(ticket) => Ok(Compensation::First(ticket, decide::step(self.probe_in(connection, step)?))),
            Err(told) => Ok(told),
        }
    }

    pub(crate) fn probe_in(&self, connection: &Connection, key: &Key) -> Result<Settled, Error> {
        let place = match connection.execute(schema::BAR, (self.scope.as_str(), key.as_str()))? {
            0 => self.read(connection, key)?,
            _ => Place::Taken,
        };
        decide::settle(place)
    }

    fn read(&self, connection: &Connection, key: &Key) -> Result<Place, Error> {
        let columns = connection
            .query_row(schema::READ, (self.scope.as_str(), key.as_str()), |row| {
                Ok(Columns {
                    state: row.get(0)?,
                    fingerprint: row.get(1)?,
                    status: row.get(2)?,
                    headers: row.get(3)?,
                    body: row.get(4)?,
                })
            })
            .optional()?;
        columns.map_or(Ok(Place::Gone), Place::of)
    }
}

/// The token that was seen, if it is higher than this one.
fn stale(connection: &Connection, fence: &Fence) -> Result<Option<u64>, Error> {
    let token = decide::signed(fence.token)?;
    if connection.execute(schema::FENCE, (fence.resource.as_str(), token))? > 0 {
        return Ok(None);
    }
    let highest = connection.query_row(schema::FENCE_READ, (fence.resource.as_str(),), |row| row.get(0))?;
    decide::unsigned(highest).map(Some)
}

/// Enters an event of a partition whose offsets grow: whether it is newer than all before it. Its offset is kept when this
/// transaction commits, and so is what it led to.
///
/// # Errors
/// [`Error::OutOfRange`], [`Error::Sqlite`].
pub fn event(tx: &Transaction<'_>, subscription: &str, partition: &str, offset: u64) -> Result<Event, Error> {
    event_in(tx, subscription, partition, offset)
}

pub(crate) fn event_in(
    connection: &Connection,
    subscription: &str,
    partition: &str,
    offset: u64,
) -> Result<Event, Error> {
    let moved = connection.execute(schema::EVENT, (subscription, partition, decide::signed(offset)?))?;
    Ok(if moved > 0 { Event::First } else { Event::Seen })
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InFlight,
            _ => Self::Sqlite(error),
        }
    }
}
