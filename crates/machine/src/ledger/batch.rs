//! `POST /v1/transfers/batch` and the stream: many transfers in one command, each under its own key.
//!
//! Within one command a key means the first item that has it; a second is a replay or a reuse. An item under the key of
//! its own batch reuses that key: it belongs to the batch.

use words::Fingerprint;

use crate::apply::{Applied, Verdict};
use crate::archive::Archive;
use crate::books::{Marks, damaged};
use crate::command::{BatchMode, Command, Item, Items};
use crate::inbox::{By, Standing, standing};
use crate::record::{Body, Exceptions, Record, Runs};
use crate::refusal::{Code, RefusalOwned};
use crate::turn::Turn;

use super::{Denial, Stop, transfer};

/// A batch with a key of its own.
pub(crate) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    mode: BatchMode,
    items: &Items<'a>,
) -> Result<u64, Stop<'a>> {
    turn.scratch.ordinals.clear();
    turn.scratch.exceptions.clear();
    if mode == BatchMode::Atomic {
        return all_or_none(turn, by, items);
    }
    for (at, item) in items.iter().enumerate() {
        let item = item?;
        match decide_item(turn, by.principal, Some(by.key), &item) {
            Ok(Verdict::Decided { ordinal } | Verdict::Replayed { ordinal }) => turn.scratch.ordinals.push(ordinal),
            Ok(_) => unreachable!("an item is decided, replayed or stopped"),
            Err(Stop::Denied(denial)) if denial.code.is_remembered() => {
                let by = item_by(turn, by.principal, &item);
                let ordinal = turn.write_denial(&by, &denial, None);
                turn.scratch.ordinals.push(ordinal);
            }
            Err(Stop::Denied(denial)) => {
                let exceptions = &mut turn.scratch.exceptions;
                denial.spell(&turn.machine.accounts, |refusal| Exceptions::push(exceptions, at as u64, refusal));
            }
            Err(broken) => return Err(broken),
        }
    }
    Ok(write_batch(turn, by, false))
}

/// A batch without a key: every item is answered for itself.
pub(crate) fn stream<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    command: &Command<'a>,
    items: &Items<'a>,
    out: &mut Applied,
) -> Result<Verdict, Stop<'a>> {
    let start = out.items.len();
    out.items.reserve(items.len());
    for item in items.iter() {
        let item = item?;
        let decided = decide_item(turn, command.principal, None, &item);
        let verdict = turn.conclude(decided, |turn| item_by(turn, command.principal, &item))?;
        out.items.push(verdict);
    }
    Ok(Verdict::Items { start, len: items.len() })
}

fn all_or_none<'a, A: Archive>(turn: &mut Turn<'_, A>, by: &By<'a>, items: &Items<'a>) -> Result<u64, Stop<'a>> {
    let first = turn.machine.books.upcoming();
    turn.machine.accounts.record_undo();
    turn.machine.books.begin_ahead();
    let mut failed = None;
    for (at, item) in items.iter().enumerate() {
        let item = item?;
        let decided = match decide_item(turn, by.principal, Some(by.key), &item) {
            Ok(Verdict::Replayed { ordinal }) => check_committed(turn, ordinal, first).map(|()| ordinal),
            Ok(Verdict::Decided { ordinal }) => Ok(ordinal),
            Ok(_) => unreachable!("an item is decided, replayed or stopped"),
            Err(stop) => Err(stop),
        };
        match decided {
            Ok(ordinal) => turn.scratch.ordinals.push(ordinal),
            Err(Stop::Denied(denial)) => {
                failed = Some((at as u64, item.key, denial));
                break;
            }
            Err(broken) => return Err(broken),
        }
    }
    let Some((item, item_key, denial)) = failed else {
        turn.machine.accounts.forget_undo();
        turn.machine.books.keep_ahead(turn.archive);
        return Ok(write_batch(turn, by, true));
    };
    turn.machine.accounts.undo();
    turn.machine.holds.undo_from(first);
    turn.machine.books.drop_ahead();
    Ok(turn.write_denial(by, &denial, Some((item, item_key))))
}

/// Decides one item; a refusal is not written yet.
fn decide_item<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    principal: &'a str,
    batch_key: Option<&str>,
    item: &Item<'a>,
) -> Result<Verdict, Stop<'a>> {
    if batch_key == Some(item.key) {
        return Err(Denial::of_text(Code::KeyReused, item.key).into());
    }
    let by = item_by(turn, principal, item);
    match standing(turn, &by)? {
        Standing::Decided(ordinal) => Ok(Verdict::Replayed { ordinal }),
        // Only a fingerprint that was made to collide leads here: it is the key of something else all the same.
        Standing::Pending(_) => Err(Denial::of_text(Code::KeyReused, item.key).into()),
        Standing::New => transfer::decide(turn, &by, &item.order).map(|ordinal| Verdict::Decided { ordinal }),
    }
}

#[inline]
fn item_by<'a, A: Archive>(turn: &Turn<'_, A>, principal: &'a str, item: &Item<'a>) -> By<'a> {
    By {
        principal,
        key: item.key,
        name: turn.machine.names.operation(principal, item.key),
        fingerprint: Fingerprint::of(item.op_bytes),
        waited_us: turn.waited_us,
    }
}

/// An item decided before counts as done if it was committed; what this very batch wrote ahead (from `first` on) was.
fn check_committed<A: Archive>(turn: &Turn<'_, A>, ordinal: u64, first: u64) -> Result<(), Stop<'static>> {
    if ordinal >= first {
        return Ok(());
    }
    let mut refused = Ok(None);
    turn.archive.read(ordinal, &mut |bytes| {
        refused = Record::decode(bytes).map(|record| match record.body {
            Body::Refused(refusal) => Some(RefusalOwned::from(refusal)),
            _ => None,
        });
    })?;
    match refused.map_err(damaged)? {
        Some(refusal) => Err(Denial::from(refusal).into()),
        None => Ok(()),
    }
}

fn write_batch<A: Archive>(turn: &mut Turn<'_, A>, by: &By<'_>, atomic: bool) -> u64 {
    let scratch = &mut *turn.scratch;
    scratch.runs.clear();
    Runs::fold(scratch.ordinals.iter().copied(), &mut scratch.runs);
    let (items, exceptions) = (Runs::new(&scratch.runs), Exceptions::new(&scratch.exceptions));
    let record = by.record(turn.position, turn.stamp, Body::Batch { items, atomic, exceptions });
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    turn.machine.books.write(turn.archive, &record, marks)
}

#[cfg(test)]
mod tests;
