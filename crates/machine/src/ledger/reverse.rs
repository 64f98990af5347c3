//! `POST /v1/transfers/{id}/reverse`: a new transfer that moves a posted one's money back, in all at most what was posted.

use words::{AMOUNT_MAX, Amount, TransferId};

use crate::archive::{Archive, Fault};
use crate::books::Marks;
use crate::inbox::By;
use crate::record::{Body, Event, Moved};
use crate::refusal::Code;
use crate::turn::Turn;

use super::{Denial, Legs, Stop, moved, original};

pub(crate) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    id: TransferId,
    amount: Option<Amount>,
) -> Result<u64, Stop<'a>> {
    let Some(Left { made, reversed, units: left }) = left(turn, id)? else {
        return Err(Denial::of_transfer(Code::TransferNotFound, id, 0, 0).into());
    };
    let was = original::decode(&turn.scratch.original)?;
    let machine = &mut *turn.machine;
    let wanted = amount.map_or(left, Amount::units);
    if wanted == 0 || wanted > left {
        return Err(Denial::of_transfer(Code::ExceedsPosted, id, signed(left), signed(wanted)).into());
    }
    // Back: from where it went to where it came from.
    let legs = Legs::recorded(machine, was.to, was.from)?;
    let ordinal = machine.books.upcoming();
    let after = moved(machine, legs, signed(wanted), ordinal)?;
    machine.accounts.set(legs.from, after.from);
    machine.accounts.set(legs.to, after.to);
    let body = Body::Moved(Moved {
        event: Event::Reversal,
        transfer: TransferId::new(machine.cell_tag, turn.stamp.millis(), ordinal),
        created: turn.stamp,
        from: was.to,
        to: was.from,
        unit: was.unit,
        amount: wanted,
        hold_until: None,
        reverses: Some(id),
        reversed_total: reversed.checked_add(wanted).ok_or_else(|| Fault("a reversed total is too large".into()))?,
        memo: "",
        metadata: "",
        from_after: after.from.after(after.from_head),
        to_after: after.to.after(after.to_head),
    });
    let record = by.record(turn.position, turn.stamp, body);
    let transfer = Some(machine.names.reversals(made));
    let marks = Marks { operation: Some(by.name), transfer, touched: [Some(legs.from_name), Some(legs.to_name)] };
    Ok(machine.books.write(turn.archive, &record, marks))
}

/// What of a transfer was posted and not moved back.
pub(crate) struct Left {
    /// The record that made the transfer, which is now in the scratch buffer.
    made: u64,
    /// How much was moved back.
    reversed: u128,
    /// How much was not.
    pub(crate) units: u128,
}

/// What is left of the transfer of that id, if there is one.
pub(crate) fn left<A: Archive>(turn: &mut Turn<'_, A>, id: TransferId) -> Result<Option<Left>, Fault> {
    let made = original::read(turn.archive, turn.machine.cell_tag, id, &mut turn.scratch.original)?;
    let Some(made) = made else { return Ok(None) };
    let was = original::decode(&turn.scratch.original)?;
    let names = &turn.machine.names;
    let posted = match was.event {
        // A hold that is open, voided or expired has posted nothing.
        Event::Held => original::closing(turn.archive, names, id, made)?.map_or(0, |(_, _, posted)| posted),
        _ => was.amount,
    };
    let reversed = original::reversal(turn.archive, names, id, made)?.map_or(0, |(_, total)| total);
    Ok(Some(Left { made, reversed, units: posted.saturating_sub(reversed) }))
}

/// Amounts fit: they came from an [`Amount`] or from a record of one.
fn signed(units: u128) -> i128 {
    units.min(AMOUNT_MAX) as i128
}

#[cfg(test)]
mod tests;
