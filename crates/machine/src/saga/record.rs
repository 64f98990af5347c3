//! The records of sagas: defined; and of runs: started, each step's attempts, controlled, ended.

use words::{Stamp, TransferId};

use crate::call::{Owner, decode_owner, encode_owner};
use crate::codec::{Corrupt, Reader, put_bytes, put_u64};
use crate::record::decode_transfer_id;

use super::order::Control;
use super::run::Why;

/// What was decided about sagas and runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SagaRecord<'a> {
    /// A saga was defined.
    Defined {
        /// Its name.
        name: &'a str,
        /// The how manieth definition of that name, from 1.
        version: u64,
        /// The record of the definition before this one; 0 for none.
        previous: u64,
        /// [`Plan`](super::Plan), encoded.
        plan: &'a [u8],
        /// The definition, canonical JSON.
        document: &'a str,
    },
    /// A run was started. Its end stands in a later record under the same key.
    Started {
        /// Of which saga.
        saga: &'a str,
        /// The record that defined it.
        definition: u64,
        /// Its input, canonical JSON.
        input: &'a str,
        /// When its first step may begin.
        starts: Stamp,
        /// Until when it may go forward.
        deadline: Stamp,
        /// Whose step it is; `None` = it was asked for by itself.
        parent: Option<Owner>,
    },
    /// An attempt at a step came to its end.
    Stepped {
        /// Of which run.
        run: u64,
        /// The record about the run before this one.
        previous: u64,
        /// Which step, counted from 0.
        step: u32,
        /// Which attempt.
        attempt: u32,
        /// What came of it.
        event: StepEvent,
        /// The record of what was done: a transfer, an event, a call's or a run's end; 0 for none.
        what: u64,
        /// On what evidence, for people.
        evidence: &'a str,
    },
    /// Somebody changed what is to become of a run.
    Controlled {
        /// Which.
        run: u64,
        /// What strangers call it.
        id: TransferId,
        /// The record about it before this one.
        previous: u64,
        /// How.
        control: Control,
    },
    /// The same of many.
    ControlledMany {
        /// How.
        control: Control,
        /// How many.
        count: u64,
        /// The last that was looked at; 0 if there are no more.
        next: u64,
    },
    /// An escalated run goes on. Its end stands in a later record under the same key.
    Restarted {
        /// Which.
        run: u64,
        /// The record about it before this one.
        previous: u64,
        /// From which step, counted from 0.
        step: u32,
        /// Until when it may go forward.
        deadline: Stamp,
    },
    /// A run came to its end.
    Ended {
        /// Which.
        run: u64,
        /// What strangers call it.
        id: TransferId,
        /// The record about it before this one.
        previous: u64,
        /// How.
        end: RunEnd,
        /// Why, if it is not done.
        why: Option<Why>,
        /// What it gives, canonical JSON; empty if it is what its steps gave.
        output: &'a str,
        /// How far each step was: the run's own bytes.
        state: &'a [u8],
    },
}

/// How a run ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum RunEnd {
    /// All its steps are done.
    Done = 1,
    /// What was done is undone.
    Compensated = 2,
    /// Something is left that a person must see to.
    Escalated = 3,
}

/// What came of an attempt at a step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum StepEvent {
    /// It is done.
    Done = 1,
    /// It was refused, and is tried again.
    Refused = 2,
    /// It has failed.
    Failed = 3,
    /// It is uncertain, and a person has the next move.
    Uncertain = 4,
    /// It is undone.
    Undone = 5,
    /// To undo it was refused, and is tried again.
    UndoRefused = 6,
    /// It cannot be undone, and a person has the next move.
    UndoFailed = 7,
}

mod kind {
    pub(super) const DEFINED: u8 = 1;
    pub(super) const STARTED: u8 = 2;
    pub(super) const STEPPED: u8 = 3;
    pub(super) const CONTROLLED: u8 = 4;
    pub(super) const CONTROLLED_MANY: u8 = 5;
    pub(super) const RESTARTED: u8 = 6;
    pub(super) const ENDED: u8 = 7;
}

impl<'a> SagaRecord<'a> {
    /// Whether what was asked for is accepted, and its end still to come under the same key.
    pub const fn is_pending(&self) -> bool {
        matches!(self, Self::Started { .. } | Self::Restarted { .. })
    }

    /// The same of a record's first byte.
    pub(crate) const fn is_pending_kind(kind: u8) -> bool {
        matches!(kind, kind::STARTED | kind::RESTARTED)
    }

    /// The record about the same run before this one.
    pub const fn previous(&self) -> Option<u64> {
        match self {
            Self::Stepped { previous, .. }
            | Self::Controlled { previous, .. }
            | Self::Restarted { previous, .. }
            | Self::Ended { previous, .. } => Some(*previous),
            Self::Defined { .. } | Self::Started { .. } | Self::ControlledMany { .. } => None,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Defined { name, version, previous, plan, document } => {
                out.push(kind::DEFINED);
                put_bytes(out, name.as_bytes());
                put_u64(out, version);
                put_u64(out, previous);
                put_bytes(out, plan);
                put_bytes(out, document.as_bytes());
            }
            Self::Started { saga, definition, input, starts, deadline, parent } => {
                out.push(kind::STARTED);
                put_bytes(out, saga.as_bytes());
                put_u64(out, definition);
                put_bytes(out, input.as_bytes());
                put_u64(out, starts.raw());
                put_u64(out, deadline.raw());
                encode_owner(out, parent);
            }
            Self::Stepped { run, previous, step, attempt, event, what, evidence } => {
                out.push(kind::STEPPED);
                put_u64(out, run);
                put_u64(out, previous);
                put_u64(out, step.into());
                put_u64(out, attempt.into());
                out.push(event as u8);
                put_u64(out, what);
                put_bytes(out, evidence.as_bytes());
            }
            Self::Controlled { run, id, previous, control } => {
                out.push(kind::CONTROLLED);
                put_u64(out, run);
                out.extend_from_slice(&id.to_bytes());
                put_u64(out, previous);
                control.encode(out);
            }
            Self::ControlledMany { control, count, next } => {
                out.push(kind::CONTROLLED_MANY);
                control.encode(out);
                put_u64(out, count);
                put_u64(out, next);
            }
            Self::Restarted { run, previous, step, deadline } => {
                out.push(kind::RESTARTED);
                put_u64(out, run);
                put_u64(out, previous);
                put_u64(out, step.into());
                put_u64(out, deadline.raw());
            }
            Self::Ended { run, id, previous, end, why, output, state } => {
                out.push(kind::ENDED);
                put_u64(out, run);
                out.extend_from_slice(&id.to_bytes());
                put_u64(out, previous);
                out.push(end as u8);
                Why::encode(why, out);
                put_bytes(out, output.as_bytes());
                put_bytes(out, state);
            }
        }
    }

    pub(crate) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(match r.u8()? {
            kind::DEFINED => Self::Defined {
                name: r.str()?,
                version: r.u64()?,
                previous: r.u64()?,
                plan: r.bytes()?,
                document: r.str()?,
            },
            kind::STARTED => Self::Started {
                saga: r.str()?,
                definition: r.u64()?,
                input: r.str()?,
                starts: Stamp::from_raw(r.u64()?),
                deadline: Stamp::from_raw(r.u64()?),
                parent: decode_owner(r)?,
            },
            kind::STEPPED => Self::Stepped {
                run: r.u64()?,
                previous: r.u64()?,
                step: r.u32()?,
                attempt: r.u32()?,
                event: StepEvent::from_number(r.u8()?)?,
                what: r.u64()?,
                evidence: r.str()?,
            },
            kind::CONTROLLED => Self::Controlled {
                run: r.u64()?,
                id: decode_transfer_id(r)?,
                previous: r.u64()?,
                control: Control::decode(r)?,
            },
            kind::CONTROLLED_MANY => {
                Self::ControlledMany { control: Control::decode(r)?, count: r.u64()?, next: r.u64()? }
            }
            kind::RESTARTED => Self::Restarted {
                run: r.u64()?,
                previous: r.u64()?,
                step: r.u32()?,
                deadline: Stamp::from_raw(r.u64()?),
            },
            kind::ENDED => Self::Ended {
                run: r.u64()?,
                id: decode_transfer_id(r)?,
                previous: r.u64()?,
                end: RunEnd::from_number(r.u8()?)?,
                why: Why::decode(r)?,
                output: r.str()?,
                state: r.bytes()?,
            },
            _ => return Err(Corrupt("an unknown record of a saga")),
        })
    }
}

impl RunEnd {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Done, Self::Compensated, Self::Escalated];

    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Compensated => "compensated",
            Self::Escalated => "escalated",
        }
    }

    fn from_number(number: u8) -> Result<Self, Corrupt> {
        Self::ALL.into_iter().find(|end| *end as u8 == number).ok_or(Corrupt("an unknown end of a run"))
    }
}

impl StepEvent {
    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Uncertain => "uncertain",
            Self::Undone => "compensated",
            Self::UndoRefused => "compensation_refused",
            Self::UndoFailed => "escalated",
        }
    }

    fn from_number(number: u8) -> Result<Self, Corrupt> {
        let all = [
            Self::Done,
            Self::Refused,
            Self::Failed,
            Self::Uncertain,
            Self::Undone,
            Self::UndoRefused,
            Self::UndoFailed,
        ];
        all.into_iter().find(|event| *event as u8 == number).ok_or(Corrupt("an unknown event of a step"))
    }
}
