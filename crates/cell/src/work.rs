//! Effects on their way to the outbox, with what is needed to perform them.
//!
//! If this stops halfway, an effect that was not handed over, or handed over and lost, is found again by the next
//! leader's claim: the machine knows what is open.

use machine::{Archive, Effect, Phase};

use crate::cell::Cell;
use crate::clock::Now;
use crate::fault::CellFault;

/// Takes effects on. Called on the cell's thread: it must not block.
pub type OutboxOf = Box<dyn FnMut(Work) + Send>;

/// One effect to perform. What comes of it is submitted as a command without a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// A durable call is to be tried: `machine::Op::Tried` says what came of it.
    Try {
        /// The call.
        call: u64,
        /// Which attempt.
        attempt: u32,
        /// What is to be asked.
        phase: Phase,
        /// How long the attempt may take from when the work was handed over, in microseconds.
        remaining_us: u64,
        /// The record that accepted the call: `machine::Record`, encoded.
        accepted: Vec<u8>,
    },
    /// There is, or may be, something to deliver for a subscription: `Query::Deliveries` says what. What came of it is
    /// reported as `machine::TopicOp::Delivered`.
    Deliver {
        /// The subscription's number.
        subscription: u64,
    },
}

impl<W, R> Cell<W, R> {
    /// Keeps the effects of the entry just applied for the outbox.
    pub(crate) fn note_effects(&mut self, effects: &[Effect]) -> Result<(), CellFault> {
        for effect in effects {
            let (call, attempt, phase, until) = match *effect {
                Effect::Try { call, attempt, phase, until } => (call, attempt, phase, until),
                Effect::Deliver { subscription } => {
                    self.work.push(Work::Deliver { subscription });
                    continue;
                }
            };
            let mut accepted = Vec::new();
            self.archive.read(call, &mut |bytes| accepted.extend_from_slice(bytes))?;
            // The same clock stamped the entry, so what is left is what it said.
            let remaining_us = until.micros().saturating_sub(self.machine.stamp().micros());
            self.work.push(Work::Try { call, attempt, phase, remaining_us, accepted });
        }
        Ok(())
    }

    /// What is to be done outside, in order. Only a leader's outbox does it.
    pub fn take_work(&mut self) -> std::vec::Drain<'_, Work> {
        self.work.drain(..)
    }

    /// Whether time has moved on for those who wait, and answers them: see [`Cell::take_replies`].
    pub fn wake_pending(&mut self, now: Now) {
        self.expire_pending(now);
    }
}
