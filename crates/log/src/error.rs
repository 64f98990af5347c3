//! What can be wrong with a log.

use std::fmt;
use std::io;

/// What can be wrong with a log. A closed list; `Display` does not repeat the source.
#[derive(Debug)]
pub enum LogError {
    /// What is stored is damaged, in a place where no crash damages it. The start stops here (law 12).
    Corrupt {
        /// The file or table.
        file: String,
        /// Where in it: in bytes in a file, the index in a table.
        offset: u64,
        /// What was found.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// What is stored is whole but not for this program: another cell's, or of another version.
    Foreign {
        /// The file or table.
        file: String,
        /// What was found.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The entries asked for were trimmed.
    Trimmed {
        /// The first index that is still readable.
        first: u64,
    },
    /// The entries asked for do not exist yet.
    Beyond {
        /// The next index the log will give.
        next: u64,
    },
    /// The storage has forgotten entries that were acknowledged, as a standby does that was promoted without them. Going on
    /// would give two histories to one log: after this each call answers it.
    WentBack {
        /// What was acknowledged, and what is there instead.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The storage has no room at the moment; nothing was changed.
    Full,
    /// The storage could not be asked. It may work again.
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A write or a sync failed, so that nobody knows what is durable: stop, reopen, verify (law 12).
    Fatal {
        /// What failed first.
        what: String,
    },
}

impl LogError {
    /// An I/O error with what was tried.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { file, offset, what, remedy } => {
                write!(f, "{file} is corrupt at offset {offset}: {what}. What to do: {remedy}")
            }
            Self::Foreign { file, what, remedy } => {
                write!(f, "{file} is not for this program: {what}. What to do: {remedy}")
            }
            Self::Trimmed { first } => write!(f, "these entries were trimmed; the log begins at index {first}"),
            Self::Beyond { next } => write!(f, "the log has no such entry yet; its next index is {next}"),
            Self::WentBack { what, remedy } => write!(f, "the log went back in time: {what}. What to do: {remedy}"),
            Self::Full => f.write_str("the storage is full"),
            Self::Io { what, .. } => write!(f, "{what} failed"),
            Self::Fatal { what } => {
                write!(
                    f,
                    "the log stopped: {what}. What is durable is not known; restart, so that it is read back and verified"
                )
            }
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
