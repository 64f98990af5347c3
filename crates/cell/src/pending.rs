//! Who waits for the end of what was accepted: calls that are tried outside.
//!
//! If this stops halfway, what was accepted is in the log and comes to its end without anybody waiting; whoever asks again
//! under the same key waits here again, or finds the end.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Answer, Decided, Reply};
use crate::cell::{Asks, Cell, Joined, Waiter};
use crate::clock::Now;
use crate::fault::CellFault;

/// Everybody who waits for the end of a pending operation, by the record under which it is pending.
#[derive(Debug)]
pub(crate) struct Pending<W> {
    /// In order, so that whoever is given up is answered in the same order every time.
    waiting: BTreeMap<u64, Vec<Waits<W>>>,
    /// When somebody's patience ends, on the monotonic clock, and for what they wait.
    deadlines: BTreeSet<(u64, u64)>,
    /// How many wait.
    len: usize,
}

#[derive(Debug)]
struct Waits<W> {
    waiter: Waiter<W>,
    joined: bool,
}

impl<W> Default for Pending<W> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), deadlines: BTreeSet::new(), len: 0 }
    }
}

impl<W, R> Cell<W, R> {
    /// `began` is pending: whoever asked for it waits on, unless its acceptance was all they waited for, or too many wait: it is
    /// accepted, and who does not wait can ask.
    pub(crate) fn wait_for_end(&mut self, began: u64, waiter: Option<Waiter<W>>, joined: Vec<Joined<W>>) {
        let first = waiter.map(|waiter| Waits { waiter, joined: false });
        let others = joined.into_iter().map(|join| Waits { waiter: join.waiter, joined: join.asks == Asks::Same });
        let seen = self.machine.position();
        for waits in first.into_iter().chain(others) {
            if waits.waiter.waits_for_end && self.pending.len < self.options.pending_waiters_max {
                self.pending.len += 1;
                self.pending.deadlines.insert((waits.waiter.deadline_us, began));
                self.pending.waiting.entry(began).or_default().push(waits);
            } else {
                let run = self.run_pending(began);
                self.replies.push((waits.waiter.who, Reply::Pending { seen, run }));
            }
        }
    }

    /// Answers those who waited for what has now come to its end.
    pub(crate) fn answer_ended(&mut self, began: u64, ended: u64) -> Result<(), CellFault> {
        self.waiting.wake_pending(began);
        let Some(waiting) = self.pending.waiting.remove(&began) else { return Ok(()) };
        self.pending.len -= waiting.len();
        let mut answer = Answer::default();
        let position = self.collect(ended, false, &mut answer)?;
        let seen = self.machine.position();
        for Waits { waiter, joined } in waiting {
            self.pending.deadlines.remove(&(waiter.deadline_us, began));
            let decided = Decided { position, seen, replayed: false, joined, answer: answer.clone() };
            self.replies.push((waiter.who, Reply::Decided(decided)));
        }
        Ok(())
    }

    /// Answers those whose patience is over: what they asked for is accepted, and goes on. See [`Cell::take_replies`].
    pub fn wake_pending(&mut self, now: Now) {
        let seen = self.machine.position();
        while let Some((deadline_us, began)) = self.pending.deadlines.first().copied() {
            if deadline_us > now.mono_us {
                return;
            }
            self.pending.deadlines.pop_first();
            let run = self.run_pending(began);
            let Some(waiting) = self.pending.waiting.get_mut(&began) else { continue };
            let before = waiting.len();
            let late = waiting.extract_if(.., |waits| waits.waiter.deadline_us <= now.mono_us);
            self.replies.extend(late.map(|waits| (waits.waiter.who, Reply::Pending { seen, run })));
            self.pending.len -= before - waiting.len();
            if waiting.is_empty() {
                self.pending.waiting.remove(&began);
            }
        }
    }

    /// In how many microseconds somebody's patience ends who waits for what is pending.
    pub fn pending_due_in_us(&self, now: Now) -> Option<u64> {
        self.pending.deadlines.first().map(|(deadline_us, _)| deadline_us.saturating_sub(now.mono_us))
    }

    /// The cell ends: what is accepted comes to its end in a later life.
    pub(crate) fn give_up_pending(&mut self) {
        let seen = self.machine.position();
        self.pending.deadlines.clear();
        self.pending.len = 0;
        for (began, waiting) in std::mem::take(&mut self.pending.waiting) {
            let run = self.run_pending(began);
            self.replies.extend(waiting.into_iter().map(|waits| (waits.waiter.who, Reply::Pending { seen, run })));
        }
    }
}
