//! `POST /v1/transfers` with `hold_ms`: sets money aside until it is captured, voided or expires.

use std::ops::RangeInclusive;

use words::TransferId;

use crate::archive::Archive;
use crate::books::Marks;
use crate::command::Order;
use crate::inbox::By;
use crate::record::{Body, Event, Moved};
use crate::refusal::Code;
use crate::turn::Turn;

use super::holds::Hold;
use super::{Denial, Legs, Stop};

/// How long money may be set aside: a millisecond to 366 days.
pub const HOLD_MS_BOUNDS: RangeInclusive<u64> = 1..=366 * 24 * 60 * 60 * 1_000;

/// Holds the order's amount; the caller has checked all but overflow and funds.
pub(super) fn set_aside<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    order: &Order<'a>,
    legs: Legs,
    hold_ms: u64,
) -> Result<u64, Stop<'a>> {
    let machine = &mut *turn.machine;
    let ordinal = machine.books.upcoming();
    let amount = order.amount.signed();
    let (before, other) = (machine.accounts.tally(legs.from), machine.accounts.tally(legs.to));
    let overflow = || Denial::of_account(Code::Overflow, legs.from, before.held, amount);
    let held = before.held.checked_add(amount).ok_or_else(overflow)?;
    let available = before.balance.checked_sub(held).ok_or_else(overflow)?;
    if machine.accounts.floor(legs.from).is_some_and(|floor| available < floor) {
        return Err(Denial::of_account(Code::InsufficientFunds, legs.from, before.available(), amount).into());
    }
    let after = before.changed(before.balance, held, ordinal);
    let expires = turn.stamp.plus_ms(hold_ms);
    machine.accounts.set(legs.from, after);
    machine.holds.open(ordinal, Hold { from: legs.from, to: legs.to, amount, expires });
    let unit = machine.accounts.unit_name(machine.accounts.unit(legs.from));
    let body = Body::Moved(Moved {
        event: Event::Held,
        transfer: TransferId::new(machine.cell_tag, turn.stamp.millis(), ordinal),
        created: turn.stamp,
        from: order.from,
        to: order.to,
        unit,
        amount: order.amount.units(),
        hold_until: Some(expires),
        reverses: None,
        reversed_total: 0,
        memo: order.memo,
        metadata: order.metadata,
        from_after: after.after(before.head),
        to_after: other.after(other.head),
    });
    let record = by.record(turn.position, turn.stamp, body);
    let marks = Marks { operation: Some(by.name), transfer: None, touched: [Some(legs.from_name), None] };
    Ok(machine.books.write(turn.archive, &record, marks))
}

#[cfg(test)]
mod tests;
