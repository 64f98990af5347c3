//! Which log a cell has, and that a data directory stays with the log it began with.
//!
//! What is in a data directory (checkpoints, archive) was made from one log, and says nothing of another. So a directory that began
//! with a log in PostgreSQL keeps that log's number in a file, and one with segments of its own holds an embedded log.

use std::io;

use cell::OpenLog;
use disk::Disk;
use log::{Durability, Log, LogError};
use log_file::{LogFile, LogOptions};
use log_postgres::{Environment, LogPostgres, NodeTable, Settings, SettingsError};
use tracing::{info, warn};
use words::CellName;

/// The file in a data directory with the number of its log in PostgreSQL.
pub const LOG_ID_FILE: &str = "postgres-log-id";

/// Which log a cell has.
#[derive(Clone, Debug, Default)]
pub enum LogChoice {
    /// The embedded one, on files in the data directory.
    #[default]
    Embedded,
    /// One in PostgreSQL.
    Postgres(Box<PostgresLog>),
}

/// Where a log in PostgreSQL is.
#[derive(Clone, Debug)]
pub struct PostgresLog {
    /// As it was set, without a password.
    url: String,
    settings: Settings,
}

impl LogChoice {
    /// Reads `embedded` or a `postgres://` URL. The password comes from the surroundings.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        let settings = Settings::parse(text, &Environment::of_process()).map_err(|error| match error {
            SettingsError::Url(expected) => format!("`embedded`, or {expected}"),
            other => format!("a URL that can be used: {other}"),
        })?;
        Ok(Self::Postgres(Box::new(PostgresLog { url: text.to_owned(), settings })))
    }

    /// As it was set.
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Embedded => "embedded".to_owned(),
            Self::Postgres(postgres) => postgres.url.clone(),
        }
    }

    /// Takes a node's name beside a log in PostgreSQL that is open.
    pub(crate) fn open_nodes(
        &self,
        schema: &str,
        durability: Durability,
        cell: &CellName,
        node: &str,
    ) -> Result<Option<NodeTable>, LogError> {
        let Self::Postgres(postgres) = self else { return Ok(None) };
        let schema = schema.to_owned();
        let options = log_postgres::LogOptions { schema, durability, ..log_postgres::LogOptions::new(cell.clone(), 0) };
        NodeTable::open(postgres.settings.clone(), options, node).map(Some)
    }

    /// Opens it.
    pub(crate) fn open(self, schema: &str, durability: Durability, open: OpenLog) -> Result<Box<dyn Log>, LogError> {
        match self {
            Self::Embedded => open_log(open),
            Self::Postgres(postgres) => open_postgres(postgres.settings, schema, durability, &open),
        }
    }
}

/// The embedded log, on files.
///
/// # Errors
/// [`LogError`].
pub fn open_log(open: OpenLog) -> Result<Box<dyn Log>, LogError> {
    let OpenLog { disk, cell, verify_from, log_id, segment_bytes, keep_bytes } = open;
    if log_id_of(&*disk)?.is_some() {
        return Err(LogError::Foreign {
            file: LOG_ID_FILE.to_owned(),
            what: "what is in this data directory was made from a log in PostgreSQL".to_owned(),
            remedy: "set `log` to that database's URL again, or start with an empty data directory",
        });
    }
    let options = LogOptions { segment_bytes, verify_from, keep_bytes, ..LogOptions::new(cell, log_id) };
    let (log, found) = LogFile::open(disk, options)?;
    if let Some(cut) = found.cut {
        warn!(file = cut.file, offset = cut.offset, bytes = cut.bytes, "cut off an append that was never acknowledged");
    }
    Ok(Box::new(log))
}

fn open_postgres(
    settings: Settings,
    schema: &str,
    durability: Durability,
    open: &OpenLog,
) -> Result<Box<dyn Log>, LogError> {
    let segments =
        open.disk.list(log_file::DIR).or_else(none_if_absent).map_err(|error| reading(log_file::DIR, error))?;
    if !segments.is_empty() {
        return Err(LogError::Foreign {
            file: log_file::DIR.to_owned(),
            what: "this data directory holds an embedded log".to_owned(),
            remedy: "set `log` to `embedded` again, or start with an empty data directory",
        });
    }
    let known = log_id_of(&*open.disk)?;
    let options = log_postgres::LogOptions {
        schema: schema.to_owned(),
        durability,
        expected_log_id: known,
        // With what was made from a log goes the log: an empty database in its place is a mistake, and not a beginning.
        prepares: known.is_none(),
        ..log_postgres::LogOptions::new(open.cell.clone(), open.log_id)
    };
    info!(database = %settings, schema, "opening the log in PostgreSQL");
    let log = LogPostgres::open(settings, options)?;
    if known.is_none() {
        let line = format!("{:016x}\n", log.log_id());
        disk::replace(&*open.disk, LOG_ID_FILE, line.as_bytes())
            .map_err(|error| LogError::io(format!("writing {LOG_ID_FILE}"), error))?;
    }
    Ok(Box::new(log))
}

fn log_id_of(disk: &dyn Disk) -> Result<Option<u64>, LogError> {
    let bytes = match disk::read_all(disk, LOG_ID_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(reading(LOG_ID_FILE, error)),
    };
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| u64::from_str_radix(text.trim_end(), 16).ok());
    let number = number.ok_or_else(|| LogError::Corrupt {
        file: LOG_ID_FILE.to_owned(),
        offset: 0,
        what: "it holds no number of a log".to_owned(),
        remedy: "start with an empty data directory: the state is read again from the log",
    })?;
    Ok(Some(number))
}

fn reading(name: &str, error: io::Error) -> LogError {
    LogError::io(format!("reading {name}"), error)
}

fn none_if_absent(error: io::Error) -> io::Result<Vec<String>> {
    if error.kind() == io::ErrorKind::NotFound { Ok(Vec::new()) } else { Err(error) }
}
