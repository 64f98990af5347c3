//! The open holds, in the order of their making and in the order of their expiry.
//!
//! A hold never changes: it is opened and it is closed. What its record says beside (memo, names) is read from the archive
//! when it closes.

use std::collections::{BTreeMap, BTreeSet};

use words::Stamp;

/// An open hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hold {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) amount: i128,
    pub(crate) expires: Stamp,
}

/// All open holds, by the ordinal of the record that made them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds {
    open: BTreeMap<u64, Hold>,
    due: BTreeSet<(Stamp, u64)>,
    freeze: Option<Freeze>,
}

/// What a running snapshot has not written yet, of the holds that were open at its begin.
#[derive(Clone, Debug)]
struct Freeze {
    next: u64,
    /// Holds from this ordinal on were made after the begin.
    end: u64,
    /// Closed since.
    closed: BTreeMap<u64, Hold>,
}

impl Holds {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn get(&self, ordinal: u64) -> Option<Hold> {
        self.open.get(&ordinal).copied()
    }

    pub(crate) fn open(&mut self, ordinal: u64, hold: Hold) {
        self.open.insert(ordinal, hold);
        self.due.insert((hold.expires, ordinal));
    }

    pub(crate) fn close(&mut self, ordinal: u64) {
        let Some(hold) = self.open.remove(&ordinal) else { return };
        self.due.remove(&(hold.expires, ordinal));
        if let Some(freeze) = &mut self.freeze {
            if (freeze.next..freeze.end).contains(&ordinal) {
                freeze.closed.insert(ordinal, hold);
            }
        }
    }

    /// Takes back the holds made from record `ordinal` on.
    pub(crate) fn undo_from(&mut self, ordinal: u64) {
        while let Some((newest, _)) = self.open.last_key_value() {
            if *newest < ordinal {
                break;
            }
            self.close(*newest);
        }
    }

    /// The hold that expires first: when, and its ordinal.
    pub(crate) fn first_due(&self) -> Option<(Stamp, u64)> {
        self.due.first().copied()
    }

    /// Each, in the order of their making.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Hold)> + '_ {
        self.open.iter().map(|(ordinal, hold)| (*ordinal, *hold))
    }

    /// A snapshot begins; records from `next_ordinal` on are made after it.
    pub(crate) fn freeze(&mut self, next_ordinal: u64) {
        self.freeze = Some(Freeze { next: 0, end: next_ordinal, closed: BTreeMap::new() });
    }

    /// The snapshot is over.
    pub(crate) fn thaw(&mut self) {
        self.freeze = None;
    }

    /// The next hold of the snapshot, as it was when the snapshot began.
    pub(crate) fn take_frozen(&mut self) -> Option<(u64, Hold)> {
        let freeze = self.freeze.as_mut()?;
        let open = self.open.range(freeze.next..freeze.end).next().map(|(ordinal, hold)| (*ordinal, *hold));
        let closed = freeze.closed.first_key_value().map(|(ordinal, hold)| (*ordinal, *hold));
        let (ordinal, hold) = match (open, closed) {
            (Some(open), Some(closed)) => [open, closed].into_iter().min_by_key(|(ordinal, _)| *ordinal)?,
            (one, other) => one.or(other)?,
        };
        freeze.closed.remove(&ordinal);
        freeze.next = ordinal + 1;
        Some((ordinal, hold))
    }
}
