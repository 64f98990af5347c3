//! Which requests are new: keys, fingerprints, first answers, and how long they are remembered.
//!
//! What was decided under a key stands in the archive, under the key's name. Here is judged whether it still counts.

use words::{Fingerprint, Stamp, key_time_ms};

use crate::archive::{Archive, Fault, NameHash};
use crate::ledger::{Denial, Stop};
use crate::record::Decision;
use crate::refusal::Code;
use crate::turn::Turn;

/// How long decided keys are kept until the cell says otherwise: 7 days.
pub const KEY_RETENTION_MS_DEFAULT: u64 = 7 * 24 * 60 * 60 * 1_000;

/// Who asks, under which key, for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By<'a> {
    pub(crate) principal: &'a str,
    pub(crate) key: &'a str,
    pub(crate) name: NameHash,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) waited_us: u32,
}

/// How long keys are remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Retention {
    pub(crate) ms: u64,
    /// What was decided before this was forgotten under a shorter retention, and stays forgotten: an archive may have
    /// dropped its names already, and every replica must judge alike.
    pub(crate) forgotten_before: Stamp,
}

impl Default for Retention {
    fn default() -> Self {
        Self { ms: KEY_RETENTION_MS_DEFAULT, forgotten_before: Stamp::ZERO }
    }
}

impl Retention {
    /// What was decided before this instant does not count any more at `now`.
    pub(crate) fn horizon(&self, now: Stamp) -> Stamp {
        now.minus_ms(self.ms).max(self.forgotten_before)
    }

    /// Changes the retention at `now`.
    pub(crate) fn change(&mut self, ms: u64, now: Stamp) {
        *self = Self { ms, forgotten_before: self.horizon(now) };
    }
}

/// What the past says about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    New,
    /// Decided under that ordinal, for the same request.
    Decided(u64),
    /// Accepted under that ordinal, for the same request; its end is still to come.
    Pending(u64),
}

/// Whether the request is new, was decided, or may not be decided under its key.
#[inline]
pub(crate) fn standing<'a, A: Archive>(turn: &Turn<'_, A>, by: &By<'a>) -> Result<Standing, Stop<'a>> {
    if let Some((ordinal, decision)) = decided(turn, by)? {
        if decision.is_barred {
            return Err(Denial::of_text(Code::OperationBarred, by.key).into());
        }
        if decision.fingerprint != by.fingerprint {
            return Err(Denial::of_text(Code::KeyReused, by.key).into());
        }
        return Ok(if decision.is_pending { Standing::Pending(ordinal) } else { Standing::Decided(ordinal) });
    }
    check_age(turn, by)?;
    Ok(Standing::New)
}

/// What was decided under the key and still counts, and its ordinal.
#[inline]
pub(crate) fn decided<A: Archive>(turn: &Turn<'_, A>, by: &By<'_>) -> Result<Option<(u64, Decision)>, Fault> {
    let found = turn.machine.books.find(turn.archive, by.name, by.principal, by.key)?;
    let horizon = turn.machine.retention.horizon(turn.stamp);
    // What is pending is remembered for as long as it takes: its retention begins with its end.
    Ok(found.filter(|(_, decision)| decision.is_pending || decision.stamp >= horizon))
}

/// Refuses a key that carries its own time and is older than the retention. Whoever sends so old a key sends it again: it
/// may have been decided, and nobody knows any more.
#[inline]
pub(crate) fn check_age<'a, A: Archive>(turn: &Turn<'_, A>, by: &By<'a>) -> Result<(), Denial<'a>> {
    let horizon = turn.machine.retention.horizon(turn.stamp);
    match key_time_ms(by.key) {
        Some(ms) if Stamp::from_micros(ms.saturating_mul(1_000)) < horizon => {
            Err(Denial::of_text(Code::KeyExpired, by.key))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
