//! An append of which nobody knows whether it was done, and how that ends.
//!
//! A log behind a network may lose its answer: the connection breaks, a deadline passes. The entry may be in the log, or may
//! still come. Until that is settled nothing is acknowledged and nothing else appended. What settles it is the claim of a
//! higher epoch: once that is in the log, what is found before it happened, and the rest never will, since the claim stands
//! where it would have to. If this stops halfway, the next start claims, and so settles it too.

use log::Stored;
use words::Position;

use crate::api::Rejected;
use crate::cell::{Batch, Cell};
use crate::clock::Now;

impl<W, R> Cell<W, R> {
    /// The log does not know what became of the entry it was given. Who waits for it keeps waiting, by their own deadlines.
    pub fn append_unknown(&mut self, entry: Vec<u8>) {
        let batch = self.appending.as_mut().expect("an append was under way");
        batch.entry = entry;
        self.doubted_in = Some(self.epoch);
    }

    /// Whether the fate of an append is not known.
    pub const fn is_in_doubt(&self) -> bool {
        self.doubted_in.is_some()
    }

    /// The claim that settles the doubt, to be appended after `tail` in the epoch that [`Cell::epoch`] is from here on. It may
    /// be asked for again if that, too, comes to nothing.
    pub fn reclaim(&mut self, tail: Position, now: Now) -> Vec<u8> {
        assert!(self.is_in_doubt(), "a leader without doubts has claimed already");
        self.epoch = self.epoch.max(tail.epoch) + 1;
        self.claim_entry(now)
    }

    /// Takes in what the log holds after [`Cell::tail`], a portion at a time and in order, once the claim is in it at `claim`.
    /// Says whether that was all: then the doubt is over.
    pub fn settle(&mut self, found: Vec<Stored>, claim: Position) -> bool {
        for stored in found.into_iter().filter(|stored| stored.position.index <= claim.index) {
            assert_eq!(stored.position.index, self.tail.index + 1, "the log is dense");
            let doubted = self.appending.take();
            let is_it = doubted
                .as_ref()
                .is_some_and(|batch| Some(stored.position.epoch) == self.doubted_in && batch.entry == stored.entry);
            let batch = match doubted {
                Some(batch) if is_it => batch,
                other => {
                    // Another entry stands where it would have to.
                    self.reject_batch(other);
                    Batch { entry: stored.entry, operations: Vec::new(), began_us: 0 }
                }
            };
            self.counters.entries += 1;
            self.counters.entry_bytes += batch.entry.len() as u64;
            self.tail = stored.position;
            self.ready.push_back((stored.position, batch));
        }
        let is_over = self.tail == claim;
        if is_over {
            self.doubted_in = None;
        }
        is_over
    }

    fn reject_batch(&mut self, batch: Option<Batch<W>>) {
        for operation in batch.into_iter().flat_map(|batch| batch.operations) {
            self.reject_operation(operation, Rejected::LogUnavailable);
        }
    }
}
