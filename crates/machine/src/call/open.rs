//! The calls that have not ended, in the order they wake and in the order they became uncertain.

use std::collections::BTreeSet;

use words::Stamp;

use crate::call::order::{Doubt, WayOut};
use crate::codec::{Corrupt, Reader, put_option_u64, put_u64};
use crate::effect::Phase;
use crate::shelf::Shelf;

/// How long after an attempt's end its result may still be on its way, in milliseconds.
const REPORT_MS: u64 = 10_000;

/// Whose step a call is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// The run: the ordinal of the record that started it.
    pub run: u64,
    /// The step, counted from 0 in its definition.
    pub step: u32,
    /// Whether it undoes the step.
    pub compensates: bool,
}

/// A call that has not ended. What was asked stands in the record that accepted it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OpenCall {
    pub(crate) state: State,
    pub(crate) phase: Phase,
    /// Of the attempts so far, the newest; from 1.
    pub(crate) attempt: u32,
    /// Requests sent so far, or tried to be.
    pub(crate) tries: u32,
    pub(crate) deadline: Stamp,
    pub(crate) persistent: bool,
    pub(crate) doubt: Doubt,
    pub(crate) way_out: WayOut,
    pub(crate) can_compensate: bool,
    pub(crate) uncertain_ms_max: u64,
    /// Since when nobody knows whether it was done.
    pub(crate) uncertain_since: Option<Stamp>,
    /// The newest record about it.
    pub(crate) newest: u64,
    pub(crate) owner: Option<Owner>,
}

/// Who has the next move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The outbox, until then.
    Trying { until: Stamp },
    /// Time: the next attempt begins then.
    Waiting { due: Stamp },
    /// A person.
    Escalated,
}

impl OpenCall {
    /// When its way out is due, if it is uncertain. To undo it may take as long again; after that there is a person.
    pub(crate) fn bound(&self) -> Option<Stamp> {
        let times = if self.phase == Phase::Compensate { 2 } else { 1 };
        self.uncertain_since.map(|since| since.plus_ms(self.uncertain_ms_max.saturating_mul(times)))
    }

    /// When time alone moves it on.
    pub(crate) fn wakes(&self) -> Option<Stamp> {
        match self.state {
            State::Trying { until } => Some(until.plus_ms(REPORT_MS)),
            State::Waiting { due } if self.phase == Phase::Compensate => Some(due),
            State::Waiting { due } => Some(self.bound().map_or(due, |bound| bound.min(due))),
            State::Escalated => None,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (state, at) = match self.state {
            State::Trying { until } => (1, until.raw()),
            State::Waiting { due } => (2, due.raw()),
            State::Escalated => (3, 0),
        };
        out.push(state);
        put_u64(out, at);
        out.push(self.phase as u8);
        put_u64(out, self.attempt.into());
        put_u64(out, self.tries.into());
        put_u64(out, self.deadline.raw());
        out.extend([u8::from(self.persistent), self.doubt as u8, self.way_out as u8, u8::from(self.can_compensate)]);
        put_u64(out, self.uncertain_ms_max);
        put_option_u64(out, self.uncertain_since.map(Stamp::raw));
        put_u64(out, self.newest);
        encode_owner(out, self.owner);
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let (state, at) = (r.u8()?, Stamp::from_raw(r.u64()?));
        let state = match state {
            1 => State::Trying { until: at },
            2 => State::Waiting { due: at },
            3 => State::Escalated,
            _ => return Err(Corrupt("an unknown state of a call")),
        };
        Ok(Self {
            state,
            phase: Phase::from_number(r.u8()?).ok_or(Corrupt("an unknown phase of a call"))?,
            attempt: r.u32()?,
            tries: r.u32()?,
            deadline: Stamp::from_raw(r.u64()?),
            persistent: r.flag()?,
            doubt: Doubt::from_number(r.u8()?)?,
            way_out: WayOut::from_number(r.u8()?)?,
            can_compensate: r.flag()?,
            uncertain_ms_max: r.u64()?,
            uncertain_since: r.option_u64()?.map(Stamp::from_raw),
            newest: r.u64()?,
            owner: decode_owner(r)?,
        })
    }
}

impl Owner {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.run);
        put_u64(out, self.step.into());
        out.push(u8::from(self.compensates));
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self { run: r.u64()?, step: r.u32()?, compensates: r.flag()? })
    }
}

pub(crate) fn encode_owner(out: &mut Vec<u8>, owner: Option<Owner>) {
    out.push(u8::from(owner.is_some()));
    owner.iter().for_each(|owner| owner.encode(out));
}

pub(crate) fn decode_owner(r: &mut Reader<'_>) -> Result<Option<Owner>, Corrupt> {
    if !r.flag()? {
        return Ok(None);
    }
    Owner::decode(r).map(Some)
}

/// All open calls, by the ordinal of the record that accepted them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    open: Shelf<OpenCall>,
    wakes: BTreeSet<(Stamp, u64)>,
    uncertain: BTreeSet<(Stamp, u64)>,
}

impl Calls {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn get(&self, call: u64) -> Option<OpenCall> {
        self.open.get(call).copied()
    }

    /// Opens a call, or changes one.
    pub(crate) fn set(&mut self, call: u64, open: OpenCall) {
        let before = self.open.insert(call, open);
        self.unlist(call, before);
        self.wakes.extend(open.wakes().map(|at| (at, call)));
        self.uncertain.extend(open.uncertain_since.map(|since| (since, call)));
    }

    pub(crate) fn close(&mut self, call: u64) {
        let before = self.open.remove(call);
        self.unlist(call, before);
    }

    fn unlist(&mut self, call: u64, before: Option<OpenCall>) {
        let Some(before) = before else { return };
        if let Some(at) = before.wakes() {
            self.wakes.remove(&(at, call));
        }
        if let Some(since) = before.uncertain_since {
            self.uncertain.remove(&(since, call));
        }
    }

    /// What time moves on first: when, and which.
    pub(crate) fn first_due(&self) -> Option<(Stamp, u64)> {
        self.wakes.first().copied()
    }

    /// The uncertain ones after that place, oldest first.
    pub(crate) fn uncertain_after(&self, after: (Stamp, u64)) -> impl Iterator<Item = (Stamp, u64)> + '_ {
        use std::ops::Bound::{Excluded, Unbounded};
        self.uncertain.range((Excluded(after), Unbounded)).copied()
    }

    /// How many are uncertain.
    pub(crate) fn uncertain_len(&self) -> usize {
        self.uncertain.len()
    }

    /// Since when the oldest is.
    pub(crate) fn uncertain_oldest(&self) -> Option<Stamp> {
        self.uncertain.first().map(|(since, _)| *since)
    }

    /// Each, in the order in which snapshots have them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, OpenCall)> + '_ {
        self.open.iter().map(|(call, open)| (call, *open))
    }

    pub(crate) fn freeze(&mut self) {
        self.open.freeze();
    }

    pub(crate) fn thaw(&mut self) {
        self.open.thaw();
    }

    pub(crate) fn take_frozen(&mut self) -> Option<(u64, OpenCall)> {
        self.open.take_frozen()
    }
}
