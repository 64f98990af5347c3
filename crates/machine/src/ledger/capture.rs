//! `POST /v1/transfers/{id}/capture`: posts a held transfer, in whole or in part; the rest is released.

use words::{Amount, TransferId};

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::books::Marks;
use crate::inbox::By;
use crate::record::{Body, Event, Moved};
use crate::refusal::Code;
use crate::turn::Turn;

use super::{Denial, Legs, Stop, original, void};

pub(crate) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    id: TransferId,
    amount: Option<Amount>,
) -> Result<u64, Stop<'a>> {
    let (made, hold) = void::find_open(turn, id)?;
    let captured = amount.map_or(hold.amount, Amount::signed);
    if captured > hold.amount {
        return Err(Denial::of_transfer(Code::ExceedsHold, id, hold.amount, captured).into());
    }
    let machine = &mut *turn.machine;
    let was = original::decode(&turn.scratch.original)?;
    let legs = Legs::recorded(machine, was.from, was.to)?;
    let ordinal = machine.books.upcoming();
    let (from, to) = (machine.accounts.tally(legs.from), machine.accounts.tally(legs.to));
    let overflow = |slot, had| Denial::of_account(Code::Overflow, slot, had, captured);
    let from_balance = from.balance.checked_sub(captured).ok_or_else(|| overflow(legs.from, from.balance))?;
    let to_balance = to.balance.checked_add(captured).ok_or_else(|| overflow(legs.to, to.balance))?;
    let from_held = from.held.checked_sub(hold.amount).ok_or(ApplyError::HOLD_WITHOUT_COVER)?;
    let from_after = from.changed(from_balance, from_held, ordinal);
    let to_after = to.changed(to_balance, to.held, ordinal);
    machine.accounts.set(legs.from, from_after);
    machine.accounts.set(legs.to, to_after);
    machine.holds.close(made);
    let body = Body::Moved(Moved {
        event: Event::Captured,
        amount: captured.unsigned_abs(),
        from_after: from_after.after(from.head),
        to_after: to_after.after(to.head),
        ..was
    });
    let record = by.record(turn.position, turn.stamp, body);
    let transfer = Some(machine.names.transfer(made));
    let marks = Marks { operation: Some(by.name), transfer, touched: [Some(legs.from_name), Some(legs.to_name)] };
    Ok(machine.books.write(turn.archive, &record, marks))
}

#[cfg(test)]
mod tests;
