//! The runs that ended as escalated and can go on: what a command to restart many of them looks through.
//!
//! A run is in the list from its end until it is restarted. The list is bounded, so the oldest leave it; they can still be
//! restarted one by one, for as long as their keys are kept.

use std::collections::BTreeSet;

use crate::codec::{Corrupt, Reader, put_bytes, put_u64};
use crate::shelf::Shelf;

/// The most runs in the list: as many as may be open in a cell.
const ESCALATED_MAX: usize = 100_000;

/// The list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Escalated {
    /// Of which saga each is.
    sagas: Shelf<Box<str>>,
    numbers: BTreeSet<u64>,
}

impl Escalated {
    pub(super) fn add(&mut self, number: u64, saga: Box<str>) {
        self.sagas.insert(number, saga);
        self.numbers.insert(number);
        if self.numbers.len() > ESCALATED_MAX
            && let Some(oldest) = self.numbers.pop_first()
        {
            self.sagas.remove(oldest);
        }
    }

    pub(super) fn remove(&mut self, number: u64) {
        if self.numbers.remove(&number) {
            self.sagas.remove(number);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Those of a saga, or all if it is empty, before that one, newest first.
    pub(super) fn before<'s>(&'s self, before: u64, saga: &'s str) -> impl Iterator<Item = u64> + 's {
        let numbers = self.numbers.range(..before).rev().copied();
        numbers.filter(move |number| saga.is_empty() || self.sagas.get(*number).is_some_and(|of| **of == *saga))
    }

    /// Each, in the order in which snapshots have them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &str)> + '_ {
        self.sagas.iter().map(|(number, saga)| (number, &**saga))
    }

    pub(super) fn freeze(&mut self) {
        self.sagas.freeze();
    }

    pub(super) fn thaw(&mut self) {
        self.sagas.thaw();
    }

    /// The next of a snapshot, encoded.
    pub(super) fn take(&mut self, out: &mut Vec<u8>) -> bool {
        self.sagas.take_frozen().map(|(number, saga)| encode(number, &saga, out)).is_some()
    }

    pub(super) fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Corrupt> {
        let (number, saga) = (r.u64()?, Box::from(r.str()?));
        self.add(number, saga);
        Ok(())
    }
}

pub(crate) fn encode(number: u64, saga: &str, out: &mut Vec<u8>) {
    put_u64(out, number);
    put_bytes(out, saga.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leave_a_full_list() {
        let mut list = Escalated::default();
        for number in 1..=ESCALATED_MAX as u64 + 2 {
            list.add(number, if number % 2 == 0 { "even" } else { "odd" }.into());
        }
        list.remove(5);
        list.remove(5);
        assert_eq!(list.before(8, "").collect::<Vec<_>>(), [7, 6, 4, 3]);
        assert_eq!(list.before(7, "odd").next(), Some(3));
        assert_eq!((list.iter().count(), list.len()), (ESCALATED_MAX - 1, ESCALATED_MAX - 1));
    }
}
