//! Why a history cannot be read: each with its line.

use std::{fmt, io};

/// A history that cannot be read.
#[derive(Debug)]
pub enum HistoryError {
    /// Not to be had.
    Io(io::Error),
    /// Longer than [`LINE_BYTES_MAX`](crate::LINE_BYTES_MAX).
    LineTooLong {
        /// From 1.
        line: u64,
    },
    /// More operations than [`OPERATIONS_MAX`](crate::OPERATIONS_MAX).
    TooMany {
        /// From 1.
        line: u64,
    },
    /// Not what this line should hold.
    Malformed {
        /// From 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// The model is neither in the history nor given, or they differ.
    Model(String),
}

impl HistoryError {
    pub(crate) fn malformed(line: u64, what: impl Into<String>) -> Self {
        Self::Malformed { line, what: what.into() }
    }
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the history cannot be read"),
            Self::LineTooLong { line } => write!(f, "line {line}: longer than {} bytes", crate::LINE_BYTES_MAX),
            Self::TooMany { line } => write!(f, "line {line}: more than {} operations", crate::OPERATIONS_MAX),
            Self::Malformed { line, what } => write!(f, "line {line}: {what}"),
            Self::Model(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for HistoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for HistoryError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
