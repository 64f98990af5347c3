//! The end of a hold whose money goes back to where it was: by itself when its time is over, or by a void.

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::books::Marks;
use crate::inbox::By;
use crate::record::{Body, Event, Moved};
use crate::turn::Turn;

use super::holds::Hold;
use super::{Legs, original};

/// A hold's time is over.
pub(crate) fn expire<A: Archive>(turn: &mut Turn<'_, A>, made: u64, hold: Hold) -> Result<(), ApplyError> {
    turn.scratch.original.clear();
    let original = &mut turn.scratch.original;
    turn.archive.read(made, &mut |bytes| original.extend_from_slice(bytes))?;
    release(turn, None, made, hold, Event::Expired)?;
    Ok(())
}

/// Releases the hold whose record is in the scratch buffer. What happens by itself is done by nobody, under no key.
pub(super) fn release<A: Archive>(
    turn: &mut Turn<'_, A>,
    by: Option<&By<'_>>,
    made: u64,
    hold: Hold,
    event: Event,
) -> Result<u64, ApplyError> {
    let machine = &mut *turn.machine;
    let was = original::decode(&turn.scratch.original)?;
    let legs = Legs::recorded(machine, was.from, was.to)?;
    let (before, other) = (machine.accounts.tally(legs.from), machine.accounts.tally(legs.to));
    let held = before.held.checked_sub(hold.amount).ok_or(ApplyError::HOLD_WITHOUT_COVER)?;
    let after = before.changed(before.balance, held, machine.books.upcoming());
    machine.accounts.set(legs.from, after);
    machine.holds.close(made);
    let body =
        Body::Moved(Moved { event, from_after: after.after(before.head), to_after: other.after(other.head), ..was });
    let record = by.unwrap_or(&By::NOBODY).record(turn.position, turn.stamp, body);
    let marks = Marks {
        operation: by.map(|by| by.name),
        transfer: Some(machine.names.transfer(made)),
        touched: [Some(legs.from_name), None],
    };
    Ok(machine.books.write(turn.archive, &record, marks))
}

#[cfg(test)]
mod tests;
