//! What is asked of sagas and runs, and what the outbox brings back of a step, in the bytes of a command.

use crate::codec::{Corrupt, Reader, put_bytes, put_option_u64, put_u64};
use crate::command::Op;
use crate::effect::Ask;

use super::run::RunState;

/// How long a start may be delayed, and a run may go forward, in milliseconds: up to 366 days.
pub const RUN_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1_000;

/// What is asked about sagas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SagaOp<'a> {
    /// `PUT /v1/sagas/{name}`: a definition; runs that are open keep theirs.
    Define {
        /// Its name.
        name: &'a str,
        /// [`Plan`](super::Plan), encoded.
        plan: &'a [u8],
        /// The definition, canonical JSON.
        document: &'a str,
    },
    /// `POST /v1/sagas/{name}/runs`.
    Start {
        /// Of which saga.
        saga: &'a str,
        /// Its input, canonical JSON.
        input: &'a str,
        /// How long to wait before the first step, in milliseconds.
        delay_ms: u64,
        /// How long it may go forward, if not as long as its saga says.
        deadline_ms: Option<u64>,
    },
    /// `POST /v1/runs/{id}/...`.
    Control {
        /// Which run.
        run: u64,
        /// What is to become of it.
        control: Control,
    },
    /// The same for many at once.
    ControlMany {
        /// What is to become of them.
        control: Control,
        /// Only runs of this saga; empty = of any.
        saga: &'a str,
        /// Only runs in this state.
        state: Option<RunState>,
        /// Only runs after this one.
        after: u64,
        /// At most so many.
        limit: u64,
    },
    /// `POST /v1/runs/restart`: escalated runs go on.
    RestartMany {
        /// Only runs of this saga; empty = of any.
        saga: &'a str,
        /// The step each goes on from; empty = wherever it stopped.
        from: &'a str,
        /// Only runs before this one, the newest first; 0 = from the newest on.
        before: u64,
        /// At most so many.
        limit: u64,
    },
    /// What came of [`Effect::Evaluate`](crate::Effect::Evaluate). It has no key.
    Step(StepReport<'a>),
}

/// What is to become of a run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Control {
    /// It goes back: what was done is undone.
    Cancel,
    /// It begins nothing more until it is resumed, or its deadline passes.
    Pause,
    /// It goes on.
    Resume,
    /// It goes on from this step, though it was escalated: the step and all that wait for it are done if they were not.
    Restart {
        /// The step, counted from 0.
        step: u32,
    },
}

/// What a step asks for, computed outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepReport<'a> {
    /// Of which run.
    pub run: u64,
    /// Which step, counted from 0; 0 for [`Ask::Output`].
    pub step: u32,
    /// Which attempt.
    pub attempt: u32,
    /// What was to be computed.
    pub ask: Ask,
    /// What it is.
    pub found: StepFound<'a>,
}

/// What a step asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepFound<'a> {
    /// An operation: the bytes of [`Op::Transfer`], [`Op::Capture`], [`Op::Void`], [`Op::Reverse`] or [`Op::Call`].
    Do(&'a [u8]),
    /// An event.
    Publish(StepEvent<'a>),
    /// A wait.
    Wait {
        /// For how many milliseconds.
        ms: u64,
    },
    /// A run of another saga.
    Start {
        /// Which.
        saga: &'a str,
        /// Its input, canonical JSON.
        input: &'a str,
    },
    /// What the run gives, canonical JSON.
    Output(&'a str),
    /// It cannot be computed.
    Failed {
        /// Why not, for people.
        evidence: &'a str,
    },
}

/// An event that a step publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepEvent<'a> {
    /// Where.
    pub topic: &'a str,
    /// Its type.
    pub kind: &'a str,
    /// What it is about, or empty.
    pub subject: &'a str,
    /// What orders it, or empty.
    pub key: &'a str,
    /// JSON, or empty.
    pub data: &'a str,
}

mod kind {
    pub(super) const DEFINE: u8 = 1;
    pub(super) const START: u8 = 2;
    pub(super) const CONTROL: u8 = 3;
    pub(super) const CONTROL_MANY: u8 = 4;
    pub(super) const STEP: u8 = 5;
    pub(super) const RESTART_MANY: u8 = 6;
}

impl<'a> SagaOp<'a> {
    /// Appends the bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Define { name, plan, document } => {
                out.push(kind::DEFINE);
                put_bytes(out, name.as_bytes());
                put_bytes(out, plan);
                put_bytes(out, document.as_bytes());
            }
            Self::Start { saga, input, delay_ms, deadline_ms } => {
                out.push(kind::START);
                put_bytes(out, saga.as_bytes());
                put_bytes(out, input.as_bytes());
                put_u64(out, delay_ms);
                put_option_u64(out, deadline_ms);
            }
            Self::Control { run, control } => {
                out.push(kind::CONTROL);
                put_u64(out, run);
                control.encode(out);
            }
            Self::ControlMany { control, saga, state, after, limit } => {
                out.push(kind::CONTROL_MANY);
                control.encode(out);
                put_bytes(out, saga.as_bytes());
                out.push(state.map_or(0, |state| state as u8));
                put_u64(out, after);
                put_u64(out, limit);
            }
            Self::RestartMany { saga, from, before, limit } => {
                out.push(kind::RESTART_MANY);
                put_bytes(out, saga.as_bytes());
                put_bytes(out, from.as_bytes());
                put_u64(out, before);
                put_u64(out, limit);
            }
            Self::Step(ref report) => {
                out.push(kind::STEP);
                report.encode(out);
            }
        }
    }

    pub(crate) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(match r.u8()? {
            kind::DEFINE => Self::Define { name: r.str()?, plan: r.bytes()?, document: r.str()? },
            kind::START => {
                Self::Start { saga: r.str()?, input: r.str()?, delay_ms: r.u64()?, deadline_ms: r.option_u64()? }
            }
            kind::CONTROL => Self::Control { run: r.u64()?, control: Control::decode(r)? },
            kind::CONTROL_MANY => {
                let (control, saga) = (Control::decode(r)?, r.str()?);
                let state = match r.u8()? {
                    0 => None,
                    number => Some(RunState::from_number(number)?),
                };
                Self::ControlMany { control, saga, state, after: r.u64()?, limit: r.u64()? }
            }
            kind::RESTART_MANY => {
                Self::RestartMany { saga: r.str()?, from: r.str()?, before: r.u64()?, limit: r.u64()? }
            }
            kind::STEP => Self::Step(StepReport::decode(r)?),
            _ => return Err(Corrupt("an unknown command about sagas")),
        })
    }
}

impl Control {
    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Restart { .. } => "restart",
        }
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Cancel => out.push(1),
            Self::Pause => out.push(2),
            Self::Resume => out.push(3),
            Self::Restart { step } => {
                out.push(4);
                put_u64(out, step.into());
            }
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(match r.u8()? {
            1 => Self::Cancel,
            2 => Self::Pause,
            3 => Self::Resume,
            4 => Self::Restart { step: r.u32()? },
            _ => return Err(Corrupt("an unknown control of a run")),
        })
    }
}

impl<'a> StepReport<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.run);
        put_u64(out, self.step.into());
        put_u64(out, self.attempt.into());
        out.push(self.ask as u8);
        match self.found {
            StepFound::Do(op) => {
                out.push(1);
                put_bytes(out, op);
            }
            StepFound::Publish(StepEvent { topic, kind, subject, key, data }) => {
                out.push(2);
                for text in [topic, kind, subject, key, data] {
                    put_bytes(out, text.as_bytes());
                }
            }
            StepFound::Wait { ms } => {
                out.push(3);
                put_u64(out, ms);
            }
            StepFound::Start { saga, input } => {
                out.push(4);
                put_bytes(out, saga.as_bytes());
                put_bytes(out, input.as_bytes());
            }
            StepFound::Output(json) => {
                out.push(5);
                put_bytes(out, json.as_bytes());
            }
            StepFound::Failed { evidence } => {
                out.push(6);
                put_bytes(out, evidence.as_bytes());
            }
        }
    }

    fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        let (run, step, attempt) = (r.u64()?, r.u32()?, r.u32()?);
        let ask = Ask::from_number(r.u8()?).ok_or(Corrupt("an unknown question about a step"))?;
        let found = match r.u8()? {
            1 => {
                let op = r.bytes()?;
                step_op(op)?;
                StepFound::Do(op)
            }
            2 => StepFound::Publish(StepEvent {
                topic: r.str()?,
                kind: r.str()?,
                subject: r.str()?,
                key: r.str()?,
                data: r.str()?,
            }),
            3 => StepFound::Wait { ms: r.u64()? },
            4 => StepFound::Start { saga: r.str()?, input: r.str()? },
            5 => StepFound::Output(r.str()?),
            6 => StepFound::Failed { evidence: r.str()? },
            _ => return Err(Corrupt("an unknown answer about a step")),
        };
        Ok(Self { run, step, attempt, ask, found })
    }
}

/// The operation in the bytes of [`StepFound::Do`].
pub(super) fn step_op(bytes: &[u8]) -> Result<Op<'_>, Corrupt> {
    // Looked at before it is read: what holds a step itself would be read without end.
    if !Op::can_be_step(bytes) {
        return Err(Corrupt("an operation that is no step"));
    }
    let mut r = Reader::new(bytes);
    let op = Op::decode(&mut r)?;
    if r.is_empty() { Ok(op) } else { Err(Corrupt("bytes after the operation of a step")) }
}
