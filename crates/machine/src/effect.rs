//! What there is to do outside once an entry is committed.
//!
//! Effects are values. The leader's cell hands them to the outbox, which performs each at least once and brings back what
//! came of it as a command. Replicas and a recovery drop them: whatever is open stays in the machine's state, and a new
//! leader's claim makes it due again.

use words::Stamp;

/// Something to do outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// A durable call is to be tried.
    Try {
        /// The call: the ordinal of the record that accepted it.
        call: u64,
        /// Which attempt this is, from 1. What comes back names it. One that had no turn comes again under its number.
        attempt: u32,
        /// What is to be asked.
        phase: Phase,
        /// When nobody waits for this attempt any more.
        until: Stamp,
    },
    /// There is, or may be, something to deliver for a subscription: ask [`Machine::next_deliveries`].
    ///
    /// [`Machine::next_deliveries`]: crate::Machine::next_deliveries
    Deliver {
        /// The subscription's number.
        subscription: u64,
    },
    /// What a step of a run asks for is to be computed.
    Evaluate {
        /// The run: the ordinal of the record that started it.
        run: u64,
        /// Which step, counted from 0; 0 for [`Ask::Output`].
        step: u32,
        /// Which attempt. What comes back names it.
        attempt: u32,
        /// What is to be computed.
        ask: Ask,
        /// When it is asked again, or given up.
        until: Stamp,
    },
}

/// What is to be computed of a run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Ask {
    /// What a step does.
    Act = 1,
    /// What undoes it.
    Compensate = 2,
    /// What the run gives.
    Output = 3,
}

impl Ask {
    /// The question stored as `number`.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Act, Self::Compensate, Self::Output].into_iter().find(|ask| *ask as u8 == number)
    }
}

/// What an attempt at a durable call asks the receiver.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Phase {
    /// To do it.
    Call = 1,
    /// To do it, under the same key as before: it may have been done.
    Resend = 2,
    /// What became of it.
    Probe = 3,
    /// To undo it, or never to do it.
    Compensate = 4,
}

impl Phase {
    /// The phase stored as `number`.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Call, Self::Resend, Self::Probe, Self::Compensate].into_iter().find(|phase| *phase as u8 == number)
    }

    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Resend => "resend",
            Self::Probe => "probe",
            Self::Compensate => "compensate",
        }
    }
}
