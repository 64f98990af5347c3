//! The running log: what its two connections know, and the contract's calls.

use crate::connector::{Connector, LogOptions, until};
use crate::link::{Link, LogLink, explain, foreign, get};
use crate::partitions::{Bounds, Partitions};
use crate::settings::Settings;
use crate::tail::{Tail, back_in_time, went_back};
use crate::thread::Thread;
use log::{Append, Capabilities, Durability, Kept, Log, LogError, Rejected, Stored, Upkeep};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_postgres::types::{ToSql, Type};
use words::Position;

/// After the database was full, so long nothing is asked of it.
const FULL_WAIT: Duration = Duration::from_secs(1);

/// A log in PostgreSQL. Its calls wait, so they must not be made on a thread that serves an asynchronous runtime.
pub struct LogPostgres {
    pub(crate) thread: Arc<Thread>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) appender: Option<LogLink>,
    pub(crate) reader: Option<LogLink>,
    pub(crate) tail: Tail,
    /// The newest entry that is known to be acknowledged, with the chain's digest after it.
    pub(crate) acknowledged: Option<(Position, u64)>,
    /// Entries up to here are known to be committed.
    pub(crate) committed_upto: u64,
    /// What was found where the log went back in time: it ended with that.
    went_back: Option<String>,
    full_until: Option<Instant>,
    has_upkeep: AtomicBool,
}

/// Makes the tables of a log where there are none, and says nothing where there are. For the one who may make tables, where the
/// server's role may not.
///
/// # Errors
/// [`LogError::Foreign`], [`LogError::Io`].
///
/// # Panics
/// Where the options' schema is no name of one.
pub fn prepare(settings: Settings, options: LogOptions) -> Result<(), LogError> {
    let options = LogOptions { prepares: true, ..options };
    LogPostgres::open(settings, options).map(drop)
}

impl LogPostgres {
    /// Opens the log, and makes its tables where there are none and the options allow it. Waits for the database as long as
    /// a read may take.
    ///
    /// # Errors
    /// [`LogError::Foreign`] where it is another cell's, of another version or log, where a right or the promised durability is missing;
    /// [`LogError::WentBack`], [`LogError::Io`].
    ///
    /// # Panics
    /// Where the options' schema is no name of one, or on a thread that serves an asynchronous runtime.
    pub fn open(settings: Settings, options: LogOptions) -> Result<Self, LogError> {
        let thread = Thread::start().map_err(|error| LogError::io("starting the log's thread", error))?;
        let acknowledged = options.acknowledged;
        let connector = Arc::new(Connector::new(settings, options));
        let mut log = Self {
            thread: Arc::clone(&thread),
            connector,
            bounds: Arc::new(Bounds::default()),
            appender: None,
            reader: None,
            tail: Tail::START,
            acknowledged,
            committed_upto: acknowledged.map_or(0, |(position, _)| position.index),
            went_back: None,
            full_until: None,
            has_upkeep: AtomicBool::new(false),
        };
        thread.block_on(log.start())?;
        Ok(log)
    }

    async fn start(&mut self) -> Result<(), LogError> {
        let deadline = self.read_deadline();
        let connector = Arc::clone(&self.connector);
        let link = until(deadline, "opening the log", async || connector.open().await).await?;
        verify(&connector, &link, self.acknowledged).await?;
        self.reader = Some(link);
        self.look(deadline, false).await?;
        if connector.wants_quorum() && !self.tail.has_quorum {
            let what = "its setting synchronous_standby_names is empty, and durability by a quorum was asked for";
            let remedy = "name the standbys, as in synchronous_standby_names = 'ANY 1 (a, b)', or ask for durability on one node";
            return Err(foreign(&connector.settings, what, remedy));
        }
        self.learn_first(deadline).await
    }

    /// A number that says which log it is, the same for everyone who opens it.
    pub fn log_id(&self) -> u64 {
        self.connector.whose().log_id
    }

    /// The newest entry that is known to be acknowledged, with the chain's digest after it: what to open the log with the
    /// next time.
    pub fn acknowledged(&self) -> Option<(Position, u64)> {
        self.acknowledged
    }

    pub(crate) fn read_deadline(&self) -> Instant {
        Instant::now() + self.connector.options.read_wait
    }

    pub(crate) fn cell(&self) -> String {
        self.connector.options.cell.as_str().to_owned()
    }

    /// The log went back in time: it is over, for good.
    pub(crate) fn end(&mut self, acknowledged: (Position, u64), found: Option<(u64, u64)>) -> LogError {
        let what = back_in_time(acknowledged, found);
        (self.appender, self.reader) = (None, None);
        self.went_back = Some(what.clone());
        went_back(what)
    }

    pub(crate) fn check_alive(&self) -> Result<(), LogError> {
        self.went_back.clone().map_or(Ok(()), |what| Err(went_back(what)))
    }

    pub(crate) fn be_full(&mut self) {
        self.full_until = Some(Instant::now() + FULL_WAIT);
    }

    /// Takes over what was seen of the tail, unless what was acknowledged is missing from it.
    pub(crate) fn accept(&mut self, seen: Option<Tail>) -> Result<(), LogError> {
        let Some(tail) = seen else {
            return Err(LogError::Corrupt {
                file: self.connector.sql.table(),
                offset: 0,
                what: "it has no row, and a log has at least one".to_owned(),
                remedy: "bring the table back, from a backup if need be",
            });
        };
        if let Some(acknowledged @ (position, digest)) = self.acknowledged {
            if tail.position.index < position.index {
                return Err(self.end(acknowledged, None));
            }
            if tail.position.index == position.index && (tail.position, tail.digest) != (position, digest) {
                return Err(self.end(acknowledged, Some((tail.position.epoch, tail.digest))));
            }
        }
        self.tail = tail;
        self.committed_upto = self.committed_upto.max(tail.committed_upto);
        self.bounds.reach(tail.position.index, self.connector.whose().partition_entries);
        Ok(())
    }

    /// The connection for reads.
    pub(crate) async fn reader(&mut self) -> Result<&LogLink, LogError> {
        if self.reader.as_ref().is_none_or(|reader| reader.link.client.is_closed()) {
            self.reader = None;
            let link = self.connect_verified().await?;
            self.reader = Some(link);
        }
        Ok(self.reader.as_ref().expect("it was just made where there was none"))
    }

    /// A new connection, to a log that still has what was acknowledged.
    pub(crate) async fn connect_verified(&mut self) -> Result<LogLink, LogError> {
        let link = self.connector.connect().await?;
        if let Err(error) = verify(&self.connector, &link, self.acknowledged).await {
            if let LogError::WentBack { what, .. } = &error {
                self.went_back = Some(what.clone());
            }
            return Err(error);
        }
        Ok(link)
    }

    /// Looks where the tail is. Confirmed, it is linearizable: in a log with a quorum by a commit that the standbys confirm.
    pub(crate) async fn look(&mut self, deadline: Instant, is_confirmed: bool) -> Result<(), LogError> {
        let cell = self.cell();
        let connector = Arc::clone(&self.connector);
        let by_quorum = is_confirmed && connector.wants_quorum();
        let seen = until(deadline, "looking where the log ends", async || {
            let link = self.reader().await?;
            if by_quorum {
                let seen = confirmed_tail(&connector, &link.link).await;
                if seen.is_err() {
                    // What it still answers belongs to what was given up.
                    self.reader = None;
                }
                return seen;
            }
            let rows = link.link.client.query(&link.tail, &[&cell]).await;
            Tail::of(&rows.map_err(|error| explain(&connector.settings, "looking where the log ends in", error))?)
        })
        .await
        .inspect_err(|_| self.reader = None)?;
        self.accept(seen)
    }

    /// Learns what is still readable.
    pub(crate) async fn learn_first(&mut self, deadline: Instant) -> Result<(), LogError> {
        let cell = self.cell();
        let connector = Arc::clone(&self.connector);
        let first = until(deadline, "looking where the log begins", async || {
            let link = self.reader().await?;
            let cell: [(&(dyn ToSql + Sync), Type); 1] = [(&cell, Type::TEXT)];
            let asked = link.link.client.query_typed(&connector.sql.first, &cell).await;
            let rows = asked.map_err(|error| explain(&connector.settings, "looking where the log begins in", error))?;
            rows.first().map_or(Ok(0), |row| get::<i64>(row, 0)).map(i64::cast_unsigned)
        })
        .await
        .inspect_err(|_| self.reader = None)?;
        self.bounds.first.fetch_max(first.max(1), Ordering::Relaxed);
        Ok(())
    }
}

/// The tail, beside a commit that the standbys confirm. Where they do not in time, the commit is given up: nothing depends on it,
/// and nothing else would end its wait.
async fn confirmed_tail(connector: &Connector, link: &Link) -> Result<Option<Tail>, LogError> {
    let confirming = |source| LogError::io("confirming where the log ends", source);
    let cell = connector.options.cell.as_str();
    let cell: [(&(dyn ToSql + Sync), Type); 1] = [(&cell, Type::TEXT)];
    link.take_doubt();
    let patience = connector.options.append_wait.min(connector.options.read_wait / 2);
    let gives_up = link.give_up_with(&connector.settings);
    let asked = timeout(patience, link.client.query_typed(&connector.sql.barrier, &cell)).await;
    let Ok(rows) = asked else { return Err(confirming(io::ErrorKind::TimedOut.into())) };
    gives_up.answered();
    let rows = rows.map_err(|error| explain(&connector.settings, "looking where the log ends in", error))?;
    if let Some(doubt) = link.take_doubt() {
        return Err(confirming(io::Error::other(doubt)));
    }
    let seen = Tail::of(&rows)?;
    if seen.is_some_and(|tail| !tail.has_quorum) {
        return Err(confirming(io::Error::other("synchronous_standby_names is empty")));
    }
    Ok(seen)
}

/// That the log still has what was acknowledged. What was trimmed since cannot be compared.
async fn verify(connector: &Connector, link: &LogLink, acknowledged: Option<(Position, u64)>) -> Result<(), LogError> {
    let Some((position, digest)) = acknowledged.filter(|(position, _)| position.index > 0) else { return Ok(()) };
    let failed = |error| explain(&connector.settings, "verifying the log in", error);
    let cell = connector.options.cell.as_str();
    let client = &link.link.client;
    let index = i64::try_from(position.index).unwrap_or(i64::MAX);
    let at: [(&(dyn ToSql + Sync), Type); 2] = [(&cell, Type::TEXT), (&index, Type::INT8)];
    let row = client.query_typed_opt(&connector.sql.row_at, &at).await.map_err(failed)?;
    let found = match &row {
        Some(row) => Some((get::<i64>(row, 0)?.cast_unsigned(), get::<i64>(row, 1)?.cast_unsigned())),
        None => None,
    };
    if found == Some((position.epoch, digest)) {
        return Ok(());
    }
    let first = client.query_typed_opt(&connector.sql.first, &at[..1]).await.map_err(failed)?;
    let first = first.map_or(Ok(0), |row| get::<i64>(&row, 0))?.cast_unsigned();
    if found.is_none() && first > position.index {
        return Ok(());
    }
    Err(went_back(back_in_time((position, digest), found)))
}

impl Log for LogPostgres {
    fn append(&mut self, after: Position, epoch: u64, entry: &[u8]) -> Append {
        if let Err(error) = self.check_alive() {
            return Append::Unknown(error);
        }
        if entry.len() > self.connector.options.entry_bytes_max {
            return Append::Rejected(Rejected::TooLarge { max: self.connector.options.entry_bytes_max });
        }
        let thread = Arc::clone(&self.thread);
        thread.block_on(self.append_entry(after, epoch, entry))
    }

    fn read(&mut self, from: u64, max_bytes: usize) -> Result<Vec<Stored>, LogError> {
        self.check_alive()?;
        let thread = Arc::clone(&self.thread);
        thread.block_on(self.read_upto(from, max_bytes, None))
    }

    fn read_committed(&mut self, from: u64, max_bytes: usize, acknowledged: u64) -> Result<Vec<Stored>, LogError> {
        self.check_alive()?;
        let thread = Arc::clone(&self.thread);
        thread.block_on(self.read_upto(from, max_bytes, Some(acknowledged)))
    }

    /// In a log with a quorum this is a commit of its own, which the standbys confirm.
    fn tail(&mut self) -> Result<Position, LogError> {
        self.check_alive()?;
        let (thread, deadline) = (Arc::clone(&self.thread), self.read_deadline());
        thread.block_on(self.look(deadline, true))?;
        Ok(self.tail.position)
    }

    fn trim(&mut self, upto: u64) -> Result<(), LogError> {
        self.check_alive()?;
        self.bounds.trim(upto.min(self.tail.position.index));
        if self.has_upkeep.load(Ordering::Relaxed) {
            return Ok(());
        }
        let partitions = self.partitions();
        while partitions.run_once()? == Kept::Worked {}
        Ok(())
    }

    /// As far as it is known here: where another node trims the log, reading says what is gone.
    fn first(&self) -> u64 {
        self.bounds.first.load(Ordering::Relaxed).max(1)
    }

    fn seal(&mut self) -> Result<Position, LogError> {
        self.check_alive()?;
        let thread = Arc::clone(&self.thread);
        thread.block_on(self.append_seal())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditional: true,
            dense: true,
            durability: self.connector.options.durability,
            entry_bytes_max: self.connector.options.entry_bytes_max,
            shared: true,
        }
    }

    /// Full for a while after the database said so, then as if there were room: the next append finds out.
    fn has_room(&mut self) -> Result<(), Rejected> {
        self.full_until = self.full_until.filter(|until| Instant::now() < *until);
        match (self.tail.is_sealed, self.full_until) {
            (true, _) => Err(Rejected::Sealed),
            (false, Some(_)) => Err(Rejected::Full),
            (false, None) => Ok(()),
        }
    }

    /// Makes partitions before the log reaches them, and drops those that it was trimmed past. Without it appends make their own,
    /// which is correct and slow.
    fn upkeep(&self) -> Option<Box<dyn Upkeep>> {
        self.has_upkeep.store(true, Ordering::Relaxed);
        Some(Box::new(self.partitions()))
    }
}

impl LogPostgres {
    fn partitions(&self) -> Partitions {
        Partitions::new(Arc::clone(&self.thread), Arc::clone(&self.connector), Arc::clone(&self.bounds))
    }

    /// The durability that was asked for.
    pub fn durability(&self) -> Durability {
        self.connector.options.durability
    }
}
