//! `POST /v1/transfers/{id}/void`: releases a held transfer.

use words::TransferId;

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::inbox::By;
use crate::record::Event;
use crate::refusal::Code;
use crate::turn::Turn;

use super::holds::Hold;
use super::{Denial, Stop, expire, original};

pub(crate) fn decide<'a, A: Archive>(turn: &mut Turn<'_, A>, by: &By<'a>, id: TransferId) -> Result<u64, Stop<'a>> {
    let (made, hold) = find_open(turn, id)?;
    Ok(expire::release(turn, Some(by), made, hold, Event::Voided)?)
}

/// The open hold of that id, and the ordinal of the record that made it, which is now in the scratch buffer.
///
/// A hold past its expiry is closed, even if so many expired at once that its turn has not come yet.
pub(super) fn find_open<'a, A: Archive>(turn: &mut Turn<'_, A>, id: TransferId) -> Result<(u64, Hold), Stop<'a>> {
    let denied = |code| Denial::of_transfer(code, id, 0, 0);
    let made = original::read(turn.archive, turn.machine.cell_tag, id, &mut turn.scratch.original)?;
    let made = made.ok_or_else(|| denied(Code::TransferNotFound))?;
    let hold = turn.machine.holds.get(made).filter(|hold| hold.expires > turn.stamp);
    Ok((made, hold.ok_or_else(|| denied(Code::HoldClosed))?))
}

impl ApplyError {
    /// The state is not one that commands lead to.
    pub(super) const HOLD_WITHOUT_COVER: Self =
        Self::Corrupt(crate::codec::Corrupt("an account holds less than its open holds"));
}

#[cfg(test)]
mod tests;
