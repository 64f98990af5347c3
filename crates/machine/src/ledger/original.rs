//! The record that made a transfer, found by the transfer's id alone.

use words::TransferId;

use crate::archive::{Archive, Fault, NameHash};
use crate::books::damaged;
use crate::codec::Corrupt;
use crate::names::Names;
use crate::record::{Body, Event, Moved, Record};

/// Copies the record that made the transfer into `into`, and gives its ordinal; `None` if no record did.
pub(crate) fn read<A: Archive>(
    archive: &A,
    cell_tag: u64,
    id: TransferId,
    into: &mut Vec<u8>,
) -> Result<Option<u64>, Fault> {
    into.clear();
    let Some(ordinal) = id.ordinal(cell_tag).filter(|ordinal| *ordinal < archive.next_ordinal()) else {
        return Ok(None);
    };
    archive.read(ordinal, &mut |bytes| into.extend_from_slice(bytes))?;
    let record = Record::decode(into).map_err(damaged)?;
    let is_it = matches!(record.body, Body::Moved(moved) if moved.transfer == id && moved.event.makes());
    Ok(is_it.then_some(ordinal))
}

/// The movement in bytes that [`read`] has checked.
pub(crate) fn decode(bytes: &[u8]) -> Result<Moved<'_>, Fault> {
    match Record::decode(bytes).map_err(damaged)?.body {
        Body::Moved(moved) => Ok(moved),
        _ => Err(damaged(Corrupt("a movement was expected"))),
    }
}

/// How the hold that is record `ordinal` was closed: by which record and event, and what was posted.
pub(crate) fn closing<A: Archive>(
    archive: &A,
    names: &Names,
    id: TransferId,
    ordinal: u64,
) -> Result<Option<(u64, Event, u128)>, Fault> {
    newest(archive, names.transfer(ordinal), |moved| {
        let posted = match moved.event {
            Event::Captured => moved.amount,
            Event::Voided | Event::Expired => 0,
            Event::Posted | Event::Held | Event::Reversal => return None,
        };
        (moved.transfer == id).then_some((moved.event, posted))
    })
    .map(|found| found.map(|(ordinal, (event, posted))| (ordinal, event, posted)))
}

/// The newest reversal of the transfer that is record `ordinal`, and how much was moved back in all.
pub(crate) fn reversal<A: Archive>(
    archive: &A,
    names: &Names,
    id: TransferId,
    ordinal: u64,
) -> Result<Option<(u64, u128)>, Fault> {
    newest(archive, names.reversals(ordinal), |moved| {
        (moved.event == Event::Reversal && moved.reverses == Some(id)).then_some(moved.reversed_total)
    })
}

fn newest<A: Archive, T>(
    archive: &A,
    name: NameHash,
    accept: impl Fn(&Moved<'_>) -> Option<T>,
) -> Result<Option<(u64, T)>, Fault> {
    let mut found = Ok(None);
    let ordinal = archive.find(name, &mut |_, bytes| {
        found = Record::decode(bytes).map(|record| match record.body {
            Body::Moved(moved) => accept(&moved),
            _ => None,
        });
        !matches!(found, Ok(None))
    })?;
    Ok(ordinal.zip(found.map_err(damaged)?))
}
