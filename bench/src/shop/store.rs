//! A service's own SQLite: how it is opened, and its connections, lent for one transaction each.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inbox_sql::sqlite;
use rusqlite::Connection;

/// How long anybody waits for the one writer before this one.
const WAIT: Duration = Duration::from_secs(5);

/// Connections to one file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Store {
    /// The database of that file, with these tables and the inbox's.
    ///
    /// # Errors
    /// Where it can not be opened or written.
    pub fn open(path: &Path, tables: &str) -> Result<Arc<Self>, inbox_sql::Error> {
        let mut connection = connect(path)?;
        let tx = sqlite::begin(&mut connection, WAIT)?;
        tx.execute_batch(tables)?;
        sqlite::install(&tx)?;
        tx.commit()?;
        Ok(Arc::new(Self { path: path.to_owned(), idle: Mutex::new(vec![connection]) }))
    }

    /// A connection; it comes back when it is dropped.
    ///
    /// # Errors
    /// Where none is idle and the file can not be opened.
    pub fn lend(self: &Arc<Self>) -> rusqlite::Result<Lent> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = idle.map_or_else(|| connect(&self.path), Ok)?;
        Ok(Lent { connection: Some(connection), store: self.clone() })
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(WAIT)?;
    // Readers do not hinder the writer, and what was committed is on the disk before it is answered.
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    Ok(connection)
}

/// A connection for the time of one transaction.
#[derive(Debug)]
pub struct Lent {
    connection: Option<Connection>,
    store: Arc<Store>,
}

impl Deref for Lent {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("it is taken back only when this is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // One with a transaction left open is closed, and with it the transaction.
        if let Some(connection) = self.connection.take().filter(Connection::is_autocommit) {
            self.store.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
