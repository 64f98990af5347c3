//! Reading what was: an account's history, and how it stood at a position. Pure functions over records, for any thread.

use words::Position;

use crate::archive::{Archive, Fault};
use crate::books::damaged;
use crate::record::{After, Body, Record};

/// One link of an account's history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The account as the record left it. Its `previous` means nothing where the record opened the account.
    pub after: After,
    /// The record that changed the account before this one; `None` if this one opened it.
    pub previous: Option<u64>,
}

/// What a record says of an account; `None` if it is not part of the account's history. A hold, its void and its expiry
/// are part of the history of the account the money is taken from, and of no other.
pub fn chain_link(record: &Record<'_>, account: &str) -> Option<Link> {
    match record.body {
        Body::Opened(opened) if opened.id == account => {
            let after = After { balance: 0, held: 0, version: 1, previous: 0 };
            Some(Link { after, previous: None })
        }
        Body::Moved(moved) => {
            let after = match account {
                _ if moved.from == account => moved.from_after,
                _ if moved.to == account && moved.event.touches_both() => moved.to_after,
                _ => return None,
            };
            Some(Link { after, previous: Some(after.previous) })
        }
        _ => None,
    }
}

/// Hands the record under `ordinal`, which must be of the account's history, to `visit`, and gives the ordinal of the one
/// before it; `None` at the account's opening.
///
/// # Errors
/// [`Fault`], also where the record is not of the account's history.
pub fn history_step<A: Archive>(
    archive: &A,
    account: &str,
    ordinal: u64,
    visit: &mut dyn FnMut(&Record<'_>, &After),
) -> Result<Option<u64>, Fault> {
    let mut step = Ok(None);
    archive.read(ordinal, &mut |bytes| {
        step = Record::decode(bytes).map(|record| {
            let link = chain_link(&record, account);
            if let Some(link) = &link {
                visit(&record, &link.after);
            }
            link
        });
    })?;
    let not_of_it = || Fault(format!("record {ordinal} is not of the history of account {account}"));
    Ok(step.map_err(damaged)?.ok_or_else(not_of_it)?.previous)
}

/// The account as it stood after the entry at `position`: walks its history from record `start` back. `None` if it was
/// opened later.
///
/// # Errors
/// [`Fault`].
pub fn account_at<A: Archive>(
    archive: &A,
    account: &str,
    start: u64,
    position: Position,
) -> Result<Option<After>, Fault> {
    let mut at = Some(start);
    let mut found = None;
    while let Some(ordinal) = at {
        at = history_step(archive, account, ordinal, &mut |record, after| {
            found = (record.position.index <= position.index).then_some(*after);
        })?;
        if found.is_some() {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
