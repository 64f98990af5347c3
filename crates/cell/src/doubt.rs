//! An append of which nobody knows whether it was done, and how that ends.
//!
//! A log behind a network may lose its answer: the connection breaks, a deadline passes. The entry may be in the log, or may
//! still come. Until that is settled nothing is acknowledged and nothing else appended. What settles it is the claim of a
//! higher epoch: once that is in the log, what is found before it happened, and the rest never will, since the claim stands
//! where it would have to. If this stops halfway, the next start claims, and so settles it too.
//!
//! It claims only behind what it has seen, and only while all of that is its own. Where another leader was meanwhile, this one is
//! over: its clock knows nothing of the other's stamps, and its performers nothing of what was decided.

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
        let entry = self.claim_entry(now, true);
        self.own_claims.push((self.epoch, entry.clone()));
        entry
    }

    /// The newest claim is certainly not in the log.
    pub fn claim_not_done(&mut self) {
        self.own_claims.pop();
    }

    /// Whether an entry behind [`Cell::tail`] is the one in doubt, or a claim that was to end the doubt.
    pub fn is_own(&self, found: &Stored) -> bool {
        self.is_doubted(found)
            || self.own_claims.iter().any(|(epoch, entry)| *epoch == found.position.epoch && *entry == found.entry)
    }

    fn is_doubted(&self, found: &Stored) -> bool {
        let doubted = self.appending.as_ref().filter(|_| Some(found.position.epoch) == self.doubted_in);
        doubted.is_some_and(|batch| batch.entry == found.entry)
    }

    /// Takes in what the log holds after [`Cell::tail`], a portion at a time and in order, once the claim is in it at `claim`.
    /// Says whether that was all: then the doubt is over.
    pub fn settle(&mut self, found: Vec<Stored>, claim: Position) -> bool {
        for stored in found.into_iter().filter(|stored| stored.position.index <= claim.index) {
            let doubted = if self.is_doubted(&stored) { self.appending.take() } else { None };
            // Else another entry stands where it would have to.
            self.append_rejected(Rejected::LogUnavailable);
            let operations = doubted.map(|batch| batch.operations).unwrap_or_default();
            self.note_durable(stored.position, Batch { entry: stored.entry, operations, began_us: 0 });
        }
        let is_over = self.tail == claim;
        if is_over {
            self.doubted_in = None;
            self.own_claims.clear();
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::testing::{World, command, order};

    #[test]
    fn only_what_this_cell_sent_is_taken_for_its_own() {
        let mut world = World::new(Options::default());
        let (epoch, tail) = (world.cell.epoch(), world.cell.tail());
        world.submit(command("t", &machine::Op::Transfer(order("a", "b"))));
        let doubted = world.cell.take_batch(world.now()).expect("there is something to append");
        world.cell.append_unknown(doubted.clone());
        let claims: Vec<_> = (0..3).map(|_| (world.cell.reclaim(tail, world.now()), world.cell.epoch())).collect();
        world.cell.claim_not_done();
        let is_own = |epoch, entry: &[u8]| {
            let position = Position { epoch, index: tail.index + 1 };
            world.cell.is_own(&Stored { position, entry: entry.to_vec(), digest: 0 })
        };
        assert!(is_own(epoch, &doubted));
        assert!(!is_own(epoch + 1, &doubted), "sent in another reign");
        for (at, (claim, claimed_in)) in claims.iter().enumerate() {
            assert_eq!(is_own(*claimed_in, claim), at < 2, "the last was not done");
            assert!(!is_own(*claimed_in, b"of another leader in the same epoch"));
        }
    }
}
