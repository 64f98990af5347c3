//! Open calls as they may be looked at.

use words::Stamp;

use crate::effect::Phase;
use crate::machine::Machine;

use super::open::{OpenCall, Owner, State};

/// A call that has not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallView {
    /// Its number: the ordinal of the record that accepted it, which says what was asked.
    pub call: u64,
    /// What the receiver is asked, now or next.
    pub phase: Phase,
    /// How many attempts were begun.
    pub attempt: u32,
    /// How many requests were sent, or tried to be.
    pub tries: u32,
    /// Since when nobody knows whether it was done.
    pub uncertain_since: Option<Stamp>,
    /// When its way out is taken.
    pub bound: Option<Stamp>,
    /// When the next attempt begins; `None` while one is under way, and when a person has the next move.
    pub next_attempt: Option<Stamp>,
    /// Whether a person has the next move.
    pub is_escalated: bool,
    /// The newest record about it, from which those before can be followed.
    pub newest: u64,
    /// Whose step it is.
    pub owner: Option<Owner>,
}

impl CallView {
    fn of(call: u64, open: OpenCall) -> Self {
        Self {
            call,
            phase: open.phase,
            attempt: open.attempt,
            tries: open.tries,
            uncertain_since: open.uncertain_since,
            bound: open.bound(),
            next_attempt: match open.state {
                State::Waiting { due } => Some(due),
                State::Trying { .. } | State::Escalated => None,
            },
            is_escalated: open.state == State::Escalated,
            newest: open.newest,
            owner: open.owner,
        }
    }
}

impl Machine {
    /// The open call of that number.
    pub fn call(&self, call: u64) -> Option<CallView> {
        self.calls.get(call).map(|open| CallView::of(call, open))
    }

    /// How many calls are open.
    pub fn calls_len(&self) -> u64 {
        self.calls.len() as u64
    }

    /// Up to `limit` uncertain calls, oldest first, after the one that became uncertain at that stamp under that number;
    /// `(Stamp::ZERO, 0)` begins.
    pub fn uncertain(&self, after: (Stamp, u64), limit: usize) -> Vec<CallView> {
        self.calls.uncertain_after(after).take(limit).filter_map(|(_, call)| self.call(call)).collect()
    }

    /// How many calls are uncertain, and since when the oldest is.
    pub fn uncertain_summary(&self) -> (u64, Option<Stamp>) {
        (self.calls.uncertain_len() as u64, self.calls.uncertain_oldest())
    }
}
