//! What can go wrong with the archive's files, and whether trying again may help.

use std::{error, fmt, io};

use machine::Fault;

/// A failure of the archive.
#[derive(Debug)]
pub enum ArchiveError {
    /// The disk has no room. Nothing is lost, since the memtable is kept; the job can be tried again.
    Full {
        /// What was written.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// The system failed. What is durable is not known: stop, reopen, verify (law 12).
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        file: String,
        /// What the system said.
        error: io::Error,
    },
    /// The file does not hold what was written to it.
    Corrupt {
        /// Which file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The ordinal given to open is not one the archive can go back to.
    Boundary {
        /// The checkpoint's next ordinal.
        next_ordinal: u64,
        /// What stands against it.
        what: String,
    },
}

impl ArchiveError {
    /// Whether the same job may succeed later, everything being as it was before.
    pub const fn is_retriable(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    pub(crate) fn writing(file: &str, error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::Full { file: file.to_owned(), error };
        }
        Self::io("write", file, error)
    }

    pub(crate) fn io(doing: &'static str, file: &str, error: io::Error) -> Self {
        Self::Io { doing, file: file.to_owned(), error }
    }

    pub(crate) fn corrupt(file: &str, offset: u64, what: &'static str) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, what }
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { file, .. } => write!(f, "{file}: the disk is full; make room, and it goes on"),
            Self::Io { doing, file, .. } => write!(f, "{file}: cannot {doing}"),
            Self::Corrupt { file, offset, what } => {
                write!(f, "{file} at offset {offset}: {what}; restore the data directory from a backup")
            }
            Self::Boundary { next_ordinal, what } => {
                write!(f, "the archive cannot be opened at ordinal {next_ordinal}: {what}; restore from a backup")
            }
        }
    }
}

impl error::Error for ArchiveError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Full { error, .. } | Self::Io { error, .. } => Some(error),
            Self::Corrupt { .. } | Self::Boundary { .. } => None,
        }
    }
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Self {
        match error::Error::source(&error) {
            Some(source) => Self(format!("{error}: {source}")),
            None => Self(error.to_string()),
        }
    }
}
