//! `POST /v1/accounts`: opens an account.

use crate::archive::Archive;
use crate::books::Marks;
use crate::command::OpenAccount;
use crate::inbox::By;
use crate::record::{Body, Opened};
use crate::refusal::Code;
use crate::turn::Turn;

use super::accounts::{Fixed, Tally};
use super::{Denial, Stop};

pub(crate) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    asked: OpenAccount<'a>,
) -> Result<u64, Stop<'a>> {
    let OpenAccount { id, unit, floor, metadata } = asked;
    let name = turn.machine.names.account(id);
    if turn.machine.accounts.find(name, id).is_some() {
        return Err(Denial::of_text(Code::AccountExists, id).into());
    }
    let opened = Opened { id, unit, floor, metadata };
    let marks = Marks { operation: Some(by.name), touched: [Some(name), None], ..Marks::default() };
    let ordinal = turn.write(by, Body::Opened(opened), marks);
    turn.machine.accounts.add(name, Fixed { opened, created: turn.stamp }, Tally::opened(ordinal));
    Ok(ordinal)
}

#[cfg(test)]
mod tests;
