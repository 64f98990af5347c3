//! From settings to a connection that is known to be to this log: whose it is, which version, which cell, which log.

use crate::link::{Link, LogLink, Session, explain, foreign, get};
use crate::schema::{Sql, VERSION, is_schema_name};
use crate::settings::Settings;
use log::{Durability, ENTRY_BYTES_MAX, LogError};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use words::{CellName, Position};

/// How a log in PostgreSQL is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The cell whose log it is; another's is refused.
    pub cell: CellName,
    /// The schema that holds it, one for each cell: `a-z 0-9 _`, up to 40 characters; `tertium`.
    pub schema: String,
    /// What an acknowledged entry survives; [`Durability::OneNode`]. [`Durability::Quorum`] is refused where the server's
    /// `synchronous_standby_names` is empty.
    pub durability: Durability,
    /// A random number that says which log it is where it is new.
    pub log_id: u64,
    /// Which log it must be, for the one who has seen it before; another one of the same cell is refused.
    pub expected_log_id: Option<u64>,
    /// Whether the tables are made where there are none; true.
    pub prepares: bool,
    /// An entry that is known to be acknowledged, with the chain's digest after it. A log that has another one there, or none, went
    /// back in time.
    pub acknowledged: Option<(Position, u64)>,
    /// How long an append may take before nobody knows; 10 s. While the database is away, an append waits as long for it.
    pub append_wait: Duration,
    /// How long a read may take, with all its tries; 30 s.
    pub read_wait: Duration,
    /// How many entries a partition of a new log holds; 16,384. What is trimmed goes by whole partitions.
    pub partition_entries: u64,
    /// The largest entry, in bytes; 32 MiB.
    pub entry_bytes_max: usize,
    /// Whether a server is taken that does not sync what it writes, so that tests on a busy disk are fast.
    pub takes_unsafe_server: bool,
}

impl LogOptions {
    /// The default for a cell.
    pub fn new(cell: CellName, log_id: u64) -> Self {
        Self {
            cell,
            schema: "tertium".to_owned(),
            durability: Durability::OneNode,
            log_id,
            expected_log_id: None,
            prepares: true,
            acknowledged: None,
            append_wait: Duration::from_secs(10),
            read_wait: Duration::from_secs(30),
            partition_entries: 16_384,
            entry_bytes_max: ENTRY_BYTES_MAX,
            takes_unsafe_server: false,
        }
    }
}

/// Which log it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Whose {
    pub(crate) log_id: u64,
    pub(crate) partition_entries: u64,
}

/// Makes connections to one log.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) settings: Settings,
    pub(crate) options: LogOptions,
    pub(crate) sql: Sql,
    /// Once it was opened.
    whose: OnceLock<Whose>,
}

impl Connector {
    /// # Panics
    /// Where the options' schema is no name of one, or a partition has no entries.
    pub(crate) fn new(settings: Settings, options: LogOptions) -> Self {
        assert!(is_schema_name(&options.schema), "a schema is named with a-z 0-9 _, up to 40 characters");
        assert!(options.partition_entries > 0, "a partition has entries");
        let sql = Sql::new(&options.schema);
        Self { settings, options, sql, whose: OnceLock::new() }
    }

    /// Which log it is.
    pub(crate) fn whose(&self) -> Whose {
        *self.whose.get().expect("a log is opened before anything else is asked of it")
    }

    /// The first connection: makes the tables where that is wanted, and learns which log it is.
    pub(crate) async fn open(&self) -> Result<LogLink, LogError> {
        let link = Link::connect(&self.settings, self.session()).await?;
        if self.options.prepares {
            self.prepare_on(&link).await?;
        }
        let whose = self.look(&link).await?;
        let known = *self.whose.get_or_init(|| whose);
        assert_eq!(known, whose, "a log is opened once");
        link.for_log(&self.settings, &self.sql).await
    }

    /// A connection for the log.
    pub(crate) async fn connect(&self) -> Result<LogLink, LogError> {
        self.connect_as(self.session()).await?.for_log(&self.settings, &self.sql).await
    }

    /// A connection for the upkeep, which waits for no standby: what it does needs none, and each try while there is none
    /// would leave a session behind that waits.
    pub(crate) async fn connect_for_upkeep(&self) -> Result<Link, LogError> {
        self.connect_as(Session { wants_quorum: false, ..self.session() }).await
    }

    /// A connection beside the log.
    pub(crate) async fn connect_beside(&self) -> Result<Link, LogError> {
        self.connect_as(self.session()).await
    }

    async fn connect_as(&self, session: Session) -> Result<Link, LogError> {
        let link = Link::connect(&self.settings, session).await?;
        let found = self.look(&link).await?;
        if found != self.whose() {
            return Err(self.other_log(found.log_id));
        }
        Ok(link)
    }

    /// Makes the tables, unless they are there.
    pub(crate) async fn prepare_on(&self, link: &Link) -> Result<(), LogError> {
        let failed = |error| explain(&self.settings, "preparing the log in", error);
        let there = link.client.query_typed_one(&self.sql.is_there(), &[]).await.map_err(failed)?;
        if get(&there, 0)? {
            return Ok(());
        }
        let options = &self.options;
        let statements =
            self.sql.prepare(options.cell.as_str(), options.log_id, options.partition_entries, get(&there, 1)?);
        let Err(error) = link.client.batch_execute(&Sql::in_transaction(&statements)).await else { return Ok(()) };
        let _ = link.client.batch_execute("ROLLBACK").await;
        // Somebody else may have made them meanwhile.
        let there = link.client.query_typed_one(&self.sql.is_there(), &[]).await.map_err(failed)?;
        if get(&there, 0)? { Ok(()) } else { Err(failed(error)) }
    }

    async fn look(&self, link: &Link) -> Result<Whose, LogError> {
        let failed = |error| explain(&self.settings, "reading whose log is in", error);
        let there = link.client.query_typed_one(&self.sql.is_there(), &[]).await.map_err(failed)?;
        if !get::<bool>(&there, 0)? {
            let what = format!("it has no log in the schema {}", self.options.schema);
            return Err(foreign(&self.settings, what, "prepare it, or name the right database and schema"));
        }
        let row = link.client.query_typed_one(&self.sql.whose, &[]).await.map_err(failed)?;
        let version: i32 = get(&row, 0)?;
        if version != VERSION {
            let what = format!("its tables have version {version}, and this program knows version {VERSION}");
            return Err(foreign(&self.settings, what, "use the program that made them, or a newer one"));
        }
        let cell: &str = get(&row, 1)?;
        if cell != self.options.cell.as_str() {
            let what = format!(
                "its log in the schema {} is of the cell {cell}, not {}",
                self.options.schema, self.options.cell
            );
            return Err(foreign(
                &self.settings,
                what,
                "name the right database, or give each cell a schema of its own",
            ));
        }
        let log_id = get::<i64>(&row, 2)?.cast_unsigned();
        if self.options.expected_log_id.is_some_and(|expected| expected != log_id) {
            return Err(self.other_log(log_id));
        }
        let partition_entries = get::<i64>(&row, 3)?.cast_unsigned();
        Ok(Whose { log_id, partition_entries })
    }

    fn other_log(&self, found: u64) -> LogError {
        let expected = self.options.expected_log_id.or(self.whose.get().map(|whose| whose.log_id)).unwrap_or(0);
        let what =
            format!("its log is {found:016x}, and what is known here is of the log {expected:016x} of the same name");
        foreign(&self.settings, what, "name the right database; two deployments of one cell's name each need their own")
    }

    pub(crate) fn wants_quorum(&self) -> bool {
        self.options.durability == Durability::Quorum
    }

    fn session(&self) -> Session {
        Session {
            wants_quorum: self.wants_quorum(),
            wait: self.options.append_wait,
            takes_unsafe_server: self.options.takes_unsafe_server,
        }
    }
}

/// Tries until it is done, cannot be done, or the deadline has passed; what it says then is what the last try said.
///
/// # Errors
/// The first error that does not pass by itself, or the last one.
pub(crate) async fn until<T>(
    deadline: Instant,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, LogError>,
) -> Result<T, LogError> {
    let mut last = None;
    for number in 0.. {
        match timeout_at(deadline, attempt()).await {
            Ok(Err(error @ LogError::Io { .. })) => last = Some(error),
            Ok(done) => return done,
            Err(_) => break,
        }
        let pause = backoff(number, fastrand::f64());
        if Instant::now() + pause >= deadline {
            break;
        }
        sleep(pause).await;
    }
    Err(last.unwrap_or_else(|| LogError::io(what, std::io::ErrorKind::TimedOut.into())))
}

/// How long to rest before the next try: exponential from 20 ms to 1 s, with full jitter. `part` is from 0 to 1.
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
fn backoff(attempt: u32, part: f64) -> Duration {
    Duration::from_millis(20 << attempt.min(6)).min(Duration::from_secs(1)).mul_f64(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_and_are_bounded() {
        for (attempt, part, expected_ms) in [
            (0, 1.0, 20),
            (0, 0.5, 10),
            (1, 1.0, 40),
            (5, 1.0, 640),
            (6, 1.0, 1000),
            (4_000_000, 1.0, 1000),
            (9, 0.0, 0),
        ] {
            assert_eq!(backoff(attempt, part), Duration::from_millis(expected_ms), "{attempt} {part}");
        }
    }
}
