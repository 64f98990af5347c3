//! What stops a cell. None of these is an answer: the state behind them is unknown.

use std::fmt;

use machine::{ApplyError, Corrupt, Fault};

/// The cell cannot go on: stop, reopen, verify (law 12).
#[derive(Debug)]
pub enum CellFault {
    /// The archive could not be read.
    Archive(Fault),
    /// A record in the archive is none.
    Record(Corrupt),
    /// An entry in the log could not be applied.
    Apply(ApplyError),
    /// A newer leader has fenced this one off: its entries are void.
    Fenced {
        /// The newer leader's epoch.
        epoch: u64,
    },
}

impl fmt::Display for CellFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(_) => f.write_str("the archive failed"),
            Self::Record(_) => f.write_str("a record in the archive is damaged"),
            Self::Apply(_) => f.write_str("an entry of the log cannot be applied"),
            Self::Fenced { epoch } => write!(f, "a newer leader holds epoch {epoch}"),
        }
    }
}

impl std::error::Error for CellFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Archive(source) => Some(source),
            Self::Record(source) => Some(source),
            Self::Apply(source) => Some(source),
            Self::Fenced { .. } => None,
        }
    }
}

impl From<Fault> for CellFault {
    fn from(source: Fault) -> Self {
        Self::Archive(source)
    }
}

impl From<Corrupt> for CellFault {
    fn from(source: Corrupt) -> Self {
        Self::Record(source)
    }
}

impl From<ApplyError> for CellFault {
    fn from(source: ApplyError) -> Self {
        Self::Apply(source)
    }
}
