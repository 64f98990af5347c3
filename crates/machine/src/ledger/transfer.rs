//! `POST /v1/transfers`: moves money, or sets it aside.

use words::TransferId;

use crate::archive::Archive;
use crate::books::Marks;
use crate::command::Order;
use crate::inbox::By;
use crate::record::{Body, Event, Moved};
use crate::refusal::Code;
use crate::turn::Turn;

use super::{Denial, Legs, Stop, hold, moved};

pub(crate) fn decide<'a, A: Archive>(turn: &mut Turn<'_, A>, by: &By<'a>, order: &Order<'a>) -> Result<u64, Stop<'a>> {
    if let Some(hold_ms) = order.hold_ms.filter(|ms| !hold::HOLD_MS_BOUNDS.contains(ms)) {
        return Err(Denial { wanted: hold_ms.into(), ..Denial::of_text(Code::AmountInvalid, "hold_ms") }.into());
    }
    if order.from == order.to {
        return Err(Denial::of_text(Code::SameAccount, order.from).into());
    }
    let legs = find_legs(turn, order)?;
    let accounts = &turn.machine.accounts;
    if accounts.unit(legs.from) != accounts.unit(legs.to) {
        return Err(Denial::of_text(Code::UnitMismatch, order.to).into());
    }
    match order.hold_ms {
        Some(hold_ms) => hold::set_aside(turn, by, order, legs, hold_ms),
        None => post(turn, by, order, legs),
    }
}

#[inline]
fn find_legs<'a, A: Archive>(turn: &Turn<'_, A>, order: &Order<'a>) -> Result<Legs, Denial<'a>> {
    let machine = &*turn.machine;
    let (from_name, to_name) = (machine.names.account(order.from), machine.names.account(order.to));
    let from = machine.accounts.find(from_name, order.from);
    let to = machine.accounts.find(to_name, order.to);
    let missing = |id| Denial::of_text(Code::AccountNotFound, id);
    Ok(Legs {
        from: from.ok_or_else(|| missing(order.from))?,
        to: to.ok_or_else(|| missing(order.to))?,
        from_name,
        to_name,
    })
}

fn post<'a, A: Archive>(turn: &mut Turn<'_, A>, by: &By<'a>, order: &Order<'a>, legs: Legs) -> Result<u64, Stop<'a>> {
    let machine = &mut *turn.machine;
    let ordinal = machine.books.upcoming();
    let after = moved(machine, legs, order.amount.signed(), ordinal)?;
    machine.accounts.set(legs.from, after.from);
    machine.accounts.set(legs.to, after.to);
    let unit = machine.accounts.unit_name(machine.accounts.unit(legs.from));
    let body = Body::Moved(Moved {
        event: Event::Posted,
        transfer: TransferId::new(machine.cell_tag, turn.stamp.millis(), ordinal),
        created: turn.stamp,
        from: order.from,
        to: order.to,
        unit,
        amount: order.amount.units(),
        hold_until: None,
        reverses: None,
        reversed_total: 0,
        memo: order.memo,
        metadata: order.metadata,
        from_after: after.from.after(after.from_head),
        to_after: after.to.after(after.to_head),
    });
    let record = by.record(turn.position, turn.stamp, body);
    let touched = [Some(legs.from_name), Some(legs.to_name)];
    let marks = Marks { operation: Some(by.name), transfer: None, touched };
    Ok(machine.books.write(turn.archive, &record, marks))
}

#[cfg(test)]
mod tests;
