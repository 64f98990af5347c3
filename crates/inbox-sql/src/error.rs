//! What can go wrong between the inbox and its database. That a call is not the first is no error.

use std::fmt;

/// Why there is no decision. The transaction is to be rolled back after each of them, and nothing was done then.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A rival in flight did not end in time, or the database chose to end this transaction for one: ask again (425).
    InFlight,
    /// A transaction entered a key a second time before finishing it.
    Unfinished,
    /// A ticket was finished in a transaction that did not enter its key, or no longer has it.
    TicketElsewhere,
    /// A token or an offset above 2^63-1, for which the databases have no type.
    OutOfRange(u64),
    /// The connection does not check foreign keys (`PRAGMA foreign_keys`), so that an unanswered key could be committed.
    ForeignKeysOff,
    /// The tables are of a newer version than this crate knows.
    SchemaNewer {
        /// The version found.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// A row holds what this crate never stores.
    Damaged(&'static str),
    /// What the database or the connection to it said.
    #[cfg(feature = "postgres")]
    Postgres(tokio_postgres::Error),
    /// What the database said.
    #[cfg(feature = "sqlite")]
    Sqlite(rusqlite::Error),
    /// There is no connection to be had; what its source said.
    #[cfg(feature = "axum")]
    Connection(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight => write!(f, "a call with this key is in flight: ask again"),
            Self::Unfinished => write!(f, "this transaction entered the key before and has not finished it"),
            Self::TicketElsewhere => write!(f, "the ticket's key was not entered in this transaction"),
            Self::OutOfRange(value) => write!(f, "{value} is above {}", i64::MAX),
            Self::ForeignKeysOff => write!(f, "the connection must check foreign keys: PRAGMA foreign_keys = ON"),
            Self::SchemaNewer { found, known } => {
                write!(f, "the inbox's tables have version {found}, this program knows {known}: update the program")
            }
            Self::Damaged(what) => write!(f, "a row of the inbox is damaged: {what}"),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => write!(f, "PostgreSQL did not do it"),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => write!(f, "SQLite did not do it"),
            #[cfg(feature = "axum")]
            Self::Connection(_) => write!(f, "there is no connection to the database"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(error) => Some(error),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(error) => Some(error),
            #[cfg(feature = "axum")]
            Self::Connection(error) => Some(&**error),
            _ => None,
        }
    }
}
