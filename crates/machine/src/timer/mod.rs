//! What happens because time has passed: the expiry of holds.
//!
//! Stamps fire timers, never a clock: a hold expires in the first entry stamped at or after its end, so that every
//! replica lets it expire in the same entry, exactly once and never early. Keys expire without a timer: see `inbox`.

use words::Stamp;

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::ledger::expire;
use crate::machine::Machine;
use crate::turn::Turn;

/// The most timers that fire in one entry; the rest wait for the next, and [`Machine::next_timer`] says so.
pub const TIMERS_PER_ENTRY_MAX: u32 = 4_096;

/// Fires what is due, the earliest first. Gives how many fired.
pub(crate) fn fire<A: Archive>(turn: &mut Turn<'_, A>) -> Result<u32, ApplyError> {
    let mut fired = 0;
    while fired < TIMERS_PER_ENTRY_MAX {
        let Some((expires, ordinal)) = turn.machine.holds.first_due() else { break };
        if expires > turn.stamp {
            break;
        }
        let hold = turn.machine.holds.get(ordinal).expect("what is due is open");
        expire::expire(turn, ordinal, hold)?;
        fired += 1;
    }
    Ok(fired)
}

impl Machine {
    /// When the next hold expires, if there is one. Apply an entry stamped at or after it, with or without commands; ask
    /// again after every entry. It may lie before [`Machine::stamp`], if more was due than one entry fires.
    pub fn next_timer(&self) -> Option<Stamp> {
        self.holds.first_due().map(|(expires, _)| expires)
    }
}

#[cfg(test)]
mod tests;
