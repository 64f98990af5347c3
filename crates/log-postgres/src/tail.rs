//! The end of the log as it was last seen, and what it says of an append that inserted nothing.

use crate::chain::CHAIN_START;
use crate::link::get;
use crate::schema::{KIND_SEAL, KIND_START};
use log::LogError;
use tokio_postgres::Row;
use words::Position;

/// The end of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tail {
    /// The newest entry.
    pub(crate) position: Position,
    /// The chain's digest there.
    pub(crate) digest: u64,
    /// Nothing follows, for ever.
    pub(crate) is_sealed: bool,
    /// Entries up to here are known to be committed.
    pub(crate) committed_upto: u64,
    /// The server waits for standbys.
    pub(crate) has_quorum: bool,
}

impl Tail {
    /// Of an empty log.
    pub(crate) const START: Self =
        Self { position: Position::START, digest: CHAIN_START, is_sealed: false, committed_upto: 0, has_quorum: false };

    /// From the newest two rows, newest first; `None` where there are none.
    pub(crate) fn of(rows: &[Row]) -> Result<Option<Self>, LogError> {
        let Some(newest) = rows.first() else { return Ok(None) };
        let is_sealed = get::<i16>(newest, 2)? == KIND_SEAL;
        let Some(row) = rows.get(usize::from(is_sealed)) else { return Ok(None) };
        debug_assert!(get::<i16>(row, 2)? != KIND_SEAL, "behind a seal nothing follows");
        let is_start = get::<i16>(row, 2)? == KIND_START;
        let position =
            Position { epoch: get::<i64>(row, 1)?.cast_unsigned(), index: get::<i64>(row, 0)?.cast_unsigned() };
        Ok(Some(Self {
            position: if is_start { Position::START } else { position },
            digest: get::<i64>(row, 3)?.cast_unsigned(),
            is_sealed,
            committed_upto: get::<i64>(newest, 4)?.cast_unsigned(),
            has_quorum: get(newest, 5)?,
        }))
    }
}

/// Why an append inserted nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WhyNot {
    Sealed,
    /// Another tail, or a higher epoch.
    Conflict,
    /// The server waits for no standby, and a quorum was promised.
    NoQuorum,
    /// It is the entry that was meant, but with another history before it.
    OtherHistory,
    /// Nothing that is still so. Try again.
    Passed,
}

/// What stood in the way of an append after `after`, with the digest there, in the reign `epoch`. Looked for after the fact:
/// a seal and another tail stay, so the order is that of what lasts.
pub(crate) fn why_not(tail: &Tail, after: (Position, u64), epoch: u64, wants_quorum: bool) -> WhyNot {
    let (position, digest) = after;
    if tail.is_sealed {
        WhyNot::Sealed
    } else if tail.position != position || epoch < position.epoch {
        WhyNot::Conflict
    } else if tail.digest != digest {
        WhyNot::OtherHistory
    } else if wants_quorum && !tail.has_quorum {
        WhyNot::NoQuorum
    } else {
        WhyNot::Passed
    }
}

/// What is told of an acknowledged entry that is there no more.
pub(crate) fn back_in_time(acknowledged: (Position, u64), found: Option<(u64, u64)>) -> String {
    let (position, digest) = acknowledged;
    let instead = match found {
        Some((epoch, digest)) => format!("the database has an entry of epoch {epoch} with digest {digest:016x} there"),
        None => "the database has none there".to_owned(),
    };
    format!("entry {position} was acknowledged with digest {digest:016x}, and {instead}")
}

/// That an acknowledged entry is there no more.
pub(crate) fn went_back(what: String) -> LogError {
    let remedy = "a standby was promoted that had not all of the log, or an old backup was brought back: bring back the server \
                  that has the entry; or, to give up what was acknowledged since, start every node of the cell anew from this \
                  database";
    LogError::WentBack { what, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_nothing_was_inserted() {
        let at = |epoch, index| Position { epoch, index };
        let tail = Tail { position: at(3, 9), digest: 77, is_sealed: false, committed_upto: 8, has_quorum: true };
        let alone = Tail { has_quorum: false, ..tail };
        let sealed = Tail { is_sealed: true, ..tail };
        for (tail, after, epoch, wants_quorum, expected) in [
            (tail, (at(3, 9), 77), 3, true, WhyNot::Passed),
            (tail, (at(3, 9), 77), 4, false, WhyNot::Passed),
            (tail, (at(3, 9), 77), 2, false, WhyNot::Conflict),
            (tail, (at(3, 8), 77), 3, false, WhyNot::Conflict),
            (tail, (at(2, 9), 77), 3, false, WhyNot::Conflict),
            (tail, (at(3, 9), 78), 3, false, WhyNot::OtherHistory),
            (alone, (at(3, 9), 77), 3, true, WhyNot::NoQuorum),
            (alone, (at(3, 9), 77), 3, false, WhyNot::Passed),
            (alone, (at(3, 8), 77), 3, true, WhyNot::Conflict),
            (sealed, (at(3, 8), 1), 2, true, WhyNot::Sealed),
        ] {
            assert_eq!(why_not(&tail, after, epoch, wants_quorum), expected, "{after:?} {epoch} {wants_quorum}");
        }
    }
}
