//! A run that has not ended: how far each of its steps is, and what it waits for.

use std::sync::Arc;

use words::Stamp;

use crate::call::{Owner, decode_owner, encode_owner};
use crate::codec::{Corrupt, Reader, put_u64};

use super::plan::Plan;

/// An open run. What was asked stands in the record that started it, whose ordinal is its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// The record that defined its saga, as it was when it started.
    pub(crate) definition: u64,
    /// The same, laid out.
    pub(crate) plan: Arc<Plan>,
    pub(crate) stage: Stage,
    /// Nothing begins until it is resumed or its time is up.
    pub(crate) paused: bool,
    /// Its time for going forward is up.
    pub(crate) expired: bool,
    /// Why it is to go back, if it is.
    pub(crate) why: Option<Why>,
    pub(crate) started: Stamp,
    pub(crate) deadline: Stamp,
    /// Whose step it is.
    pub(crate) parent: Option<Owner>,
    /// How many runs it is nested in.
    pub(crate) depth: u8,
    /// How many steps have ended: their order.
    pub(crate) ended: u32,
    /// The newest record about it.
    pub(crate) newest: u64,
    pub(crate) steps: Vec<Slot>,
}

/// Where a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Its first step is not to begin before then.
    Delayed {
        until: Stamp,
    },
    Forward,
    /// What was done is undone, the newest first.
    Backward,
    /// All is done; what it gives is computed, until then.
    Closing {
        until: Stamp,
    },
}

/// Why a run goes back, or was escalated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// Somebody asked for it.
    Cancelled,
    /// A step failed.
    Failed {
        /// The step, counted from 0.
        step: u32,
    },
    /// Its time was up.
    Deadline,
}

/// A step of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    pub(crate) state: StepState,
    /// Of the attempts so far, the newest; from 1.
    pub(crate) attempt: u32,
    /// Until when it is tried; see [`Slot::state`] for whether it is done or undone.
    pub(crate) until: Stamp,
    /// The record that holds what it gave; 0 for none.
    pub(crate) record: u64,
    /// The how manieth it was to be done, from 1.
    pub(crate) order: u32,
}

/// How far a step is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StepState {
    /// Not begun.
    Pending,
    /// Under way, or waiting to be tried again.
    Busy {
        undoes: bool,
        at: Busy,
    },
    Done,
    /// Definitely not done.
    Failed,
    /// Never to be begun: the run goes back.
    Skipped,
    Undone,
    /// A person has the next move: nobody knows whether it was done, or it could not be undone.
    Stuck {
        undoes: bool,
        /// The call or the run that it waited for; 0 if it waited for none.
        on: u64,
    },
}

/// What a step under way waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Busy {
    /// What it asks for to be computed, until then.
    Evaluating { until: Stamp },
    /// A call's end.
    Calling { call: u64 },
    /// That time.
    Waiting { due: Stamp },
    /// Another run's end; that run is cancelled at that time.
    Nested { run: u64, until: Stamp },
    /// The next attempt.
    Retrying { due: Stamp },
}

/// The states of open runs that strangers can ask for. The numbers are stored: they are added to, never changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum RunState {
    /// It has not begun.
    Delayed = 1,
    /// It goes forward.
    Running = 2,
    /// It goes forward when it is resumed.
    Paused = 3,
    /// It goes back.
    Compensating = 4,
}

impl Run {
    pub(crate) fn state(&self) -> RunState {
        match self.stage {
            Stage::Backward => RunState::Compensating,
            Stage::Delayed { .. } | Stage::Forward if self.paused => RunState::Paused,
            Stage::Delayed { .. } => RunState::Delayed,
            Stage::Forward | Stage::Closing { .. } => RunState::Running,
        }
    }

    /// When time alone moves it on.
    pub(crate) fn wakes(&self) -> Option<Stamp> {
        let stage = match self.stage {
            Stage::Delayed { until } if !self.paused => Some(until),
            Stage::Closing { until } => Some(until),
            _ => None,
        };
        let is_forward = matches!(self.stage, Stage::Delayed { .. } | Stage::Forward);
        let deadline = Some(self.deadline).filter(|_| is_forward && !self.expired);
        // What is to be tried again begins when the run goes on: paused, or with a reason to turn back that waits for what is
        // in flight, it must not wake for it, over and over.
        let is_held = self.paused || self.why.is_some();
        let steps = self.steps.iter().filter_map(|slot| slot.wakes(is_held));
        steps.chain(stage).chain(deadline).min()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.definition);
        let (stage, until) = match self.stage {
            Stage::Delayed { until } => (1, until),
            Stage::Forward => (2, Stamp::ZERO),
            Stage::Backward => (3, Stamp::ZERO),
            Stage::Closing { until } => (4, until),
        };
        out.push(stage);
        put_u64(out, until.raw());
        out.extend([u8::from(self.paused), u8::from(self.expired), self.depth]);
        Why::encode(self.why, out);
        put_u64(out, self.started.raw());
        put_u64(out, self.deadline.raw());
        encode_owner(out, self.parent);
        put_u64(out, self.ended.into());
        put_u64(out, self.newest);
        put_u64(out, self.steps.len() as u64);
        for slot in &self.steps {
            slot.encode(out);
        }
    }

    /// Reads a run of the plan that `plan_of` knows under its definition's number.
    pub(crate) fn decode(
        r: &mut Reader<'_>,
        plan_of: impl FnOnce(u64) -> Result<Arc<Plan>, Corrupt>,
    ) -> Result<Self, Corrupt> {
        let definition = r.u64()?;
        let plan = plan_of(definition)?;
        let (stage, until) = (r.u8()?, Stamp::from_raw(r.u64()?));
        let stage = match stage {
            1 => Stage::Delayed { until },
            2 => Stage::Forward,
            3 => Stage::Backward,
            4 => Stage::Closing { until },
            _ => return Err(Corrupt("an unknown stage of a run")),
        };
        let (paused, expired, depth) = (r.flag()?, r.flag()?, r.u8()?);
        let why = Why::decode(r)?;
        let (started, deadline) = (Stamp::from_raw(r.u64()?), Stamp::from_raw(r.u64()?));
        let parent = decode_owner(r)?;
        let (ended, newest, count) = (r.u32()?, r.u64()?, r.u64()?);
        if count != plan.steps.len() as u64 {
            return Err(Corrupt("a run has other steps than its saga"));
        }
        let steps = (0..count).map(|_| Slot::decode(r)).collect::<Result<_, _>>()?;
        Ok(Self {
            definition,
            plan,
            stage,
            paused,
            expired,
            why,
            started,
            deadline,
            parent,
            depth,
            ended,
            newest,
            steps,
        })
    }
}

impl Slot {
    pub(crate) const NEW: Self =
        Self { state: StepState::Pending, attempt: 0, until: Stamp::ZERO, record: 0, order: 0 };

    /// Whether something was begun outside or in the ledger's name that has no end yet.
    pub(crate) const fn is_in_flight(&self) -> bool {
        matches!(self.state, StepState::Busy { at, .. } if !matches!(at, Busy::Retrying { .. }))
    }

    /// Whether it was done, and so gave something, whatever became of it since.
    pub(crate) const fn has_output(&self) -> bool {
        self.order > 0
    }

    /// The call or the run whose end it waits for, or waited for until a person got the next move; 0 for none.
    pub(crate) const fn waits_on(&self) -> u64 {
        match self.state {
            StepState::Busy { at: Busy::Calling { call: on } | Busy::Nested { run: on, .. }, .. }
            | StepState::Stuck { on, .. } => on,
            _ => 0,
        }
    }

    fn wakes(&self, is_held: bool) -> Option<Stamp> {
        let StepState::Busy { undoes, at } = self.state else { return None };
        match at {
            Busy::Evaluating { until } => Some(until),
            Busy::Calling { .. } => None,
            Busy::Waiting { due } => Some(due),
            Busy::Nested { until, .. } => Some(until).filter(|until| *until < Stamp::MAX),
            Busy::Retrying { due } => Some(due).filter(|_| undoes || !is_held),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (state, first, second) = match self.state {
            StepState::Pending => (1, 0, 0),
            StepState::Done => (2, 0, 0),
            StepState::Failed => (3, 0, 0),
            StepState::Skipped => (4, 0, 0),
            StepState::Undone => (5, 0, 0),
            StepState::Stuck { undoes, on } => (6 + u8::from(undoes), on, 0),
            StepState::Busy { undoes, at } => {
                let (at, first, second) = match at {
                    Busy::Evaluating { until } => (8, until.raw(), 0),
                    Busy::Calling { call } => (10, call, 0),
                    Busy::Waiting { due } => (12, due.raw(), 0),
                    Busy::Nested { run, until } => (14, run, until.raw()),
                    Busy::Retrying { due } => (16, due.raw(), 0),
                };
                (at + u8::from(undoes), first, second)
            }
        };
        out.push(state);
        put_u64(out, first);
        put_u64(out, second);
        put_u64(out, self.attempt.into());
        put_u64(out, self.until.raw());
        put_u64(out, self.record);
        put_u64(out, self.order.into());
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let (state, first, second) = (r.u8()?, r.u64()?, r.u64()?);
        let undoes = state % 2 == 1;
        let at = Stamp::from_raw(first);
        let busy = |at| StepState::Busy { undoes, at };
        let state = match state {
            1 => StepState::Pending,
            2 => StepState::Done,
            3 => StepState::Failed,
            4 => StepState::Skipped,
            5 => StepState::Undone,
            6 | 7 => StepState::Stuck { undoes, on: first },
            8 | 9 => busy(Busy::Evaluating { until: at }),
            10 | 11 => busy(Busy::Calling { call: first }),
            12 | 13 => busy(Busy::Waiting { due: at }),
            14 | 15 => busy(Busy::Nested { run: first, until: Stamp::from_raw(second) }),
            16 | 17 => busy(Busy::Retrying { due: at }),
            _ => return Err(Corrupt("an unknown state of a step")),
        };
        Ok(Self { state, attempt: r.u32()?, until: Stamp::from_raw(r.u64()?), record: r.u64()?, order: r.u32()? })
    }
}

impl StepState {
    /// The word strangers see.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Busy { undoes: false, at: Busy::Retrying { .. } } => "retrying",
            Self::Busy { undoes: false, .. } => "running",
            Self::Busy { undoes: true, .. } => "compensating",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Undone => "compensated",
            Self::Stuck { undoes: false, .. } => "uncertain",
            Self::Stuck { undoes: true, .. } => "escalated",
        }
    }
}

impl Why {
    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Failed { .. } => "step_failed",
            Self::Deadline => "deadline",
        }
    }

    pub(crate) fn encode(why: Option<Self>, out: &mut Vec<u8>) {
        match why {
            None => out.push(0),
            Some(Self::Cancelled) => out.push(1),
            Some(Self::Failed { step }) => {
                out.push(2);
                put_u64(out, step.into());
            }
            Some(Self::Deadline) => out.push(3),
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Option<Self>, Corrupt> {
        Ok(match r.u8()? {
            0 => None,
            1 => Some(Self::Cancelled),
            2 => Some(Self::Failed { step: r.u32()? }),
            3 => Some(Self::Deadline),
            _ => return Err(Corrupt("an unknown reason of a run")),
        })
    }
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Delayed, Self::Running, Self::Paused, Self::Compensating];

    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delayed => "delayed",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Compensating => "compensating",
        }
    }

    pub(crate) fn from_number(number: u8) -> Result<Self, Corrupt> {
        Self::ALL.into_iter().find(|state| *state as u8 == number).ok_or(Corrupt("an unknown state of a run"))
    }
}
