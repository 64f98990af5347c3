//! What happens because time has passed: the expiry of holds and leases, the next attempt at a call or a delivery, a
//! step's time.
//!
//! Stamps fire timers, never a clock: a hold expires in the first entry stamped at or after its end, so that every
//! replica lets it expire in the same entry, exactly once and never early. Keys expire without a timer: see `inbox`.

use words::Stamp;

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::call::due;
use crate::lease::serve;
use crate::ledger::expire;
use crate::machine::Machine;
use crate::saga;
use crate::topic;
use crate::turn::Turn;

/// The most timers that fire in one entry; the rest wait for the next, and [`Machine::next_timer`] says so.
pub const TIMERS_PER_ENTRY_MAX: u32 = 4_096;

/// Fires what is due: holds first, then calls, then deliveries and what topics keep no longer, then runs, then leases, of
/// each kind the earliest first. Gives how many holds expired.
pub(crate) fn fire<A: Archive>(turn: &mut Turn<'_, A>) -> Result<u32, ApplyError> {
    let mut expired = 0;
    while expired < TIMERS_PER_ENTRY_MAX {
        let Some((expires, ordinal)) = turn.machine.holds.first_due() else { break };
        if expires > turn.stamp {
            break;
        }
        let hold = turn.machine.holds.get(ordinal).expect("what is due is open");
        expire::expire(turn, ordinal, hold)?;
        expired += 1;
    }
    for _ in expired..TIMERS_PER_ENTRY_MAX {
        let due = turn.machine.calls.first_due().filter(|(wakes, _)| *wakes <= turn.stamp);
        let Some((_, call)) = due else { break };
        due::wake(turn, call)?;
    }
    topic::due::fire(turn, TIMERS_PER_ENTRY_MAX);
    for _ in expired..TIMERS_PER_ENTRY_MAX {
        let due = turn.machine.sagas.first_due().filter(|(wakes, _)| *wakes <= turn.stamp);
        let Some((_, run)) = due else { break };
        saga::due::wake(turn, run)?;
    }
    for _ in expired..TIMERS_PER_ENTRY_MAX {
        let due = turn.machine.leases.first_due().filter(|(wakes, _)| *wakes <= turn.stamp);
        let Some((_, lease)) = due else { break };
        serve::wake(turn, lease)?;
    }
    Ok(expired)
}

impl Machine {
    /// When the next timer is due, if there is one. Apply an entry stamped at or after it, with or without commands; ask
    /// again after every entry. It may lie before [`Machine::stamp`], if more was due than one entry fires.
    pub fn next_timer(&self) -> Option<Stamp> {
        let (hold, call, run) = (self.holds.first_due(), self.calls.first_due(), self.sagas.first_due());
        let lease = self.leases.first_due();
        let due = hold.into_iter().chain(call).chain(run).chain(lease).map(|(due, _)| due);
        due.chain(topic::due::first(self)).min()
    }
}

#[cfg(test)]
mod tests;
