//! The records of durable calls: accepted, tried, ended.

use crate::call::Owner;
use crate::call::order::{CallOrder, Finding, Undoes, decode_cut, encode_cut};
use crate::codec::{Corrupt, Reader, put_bytes, put_u64};
use crate::effect::Phase;

/// A call was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallAccepted<'a> {
    /// What was asked.
    pub order: CallOrder<'a>,
    /// Whose step it is; `None` = it was asked for by itself.
    pub owner: Option<Owner>,
    /// What is known of the call that it undoes, for its owner.
    pub undoes: Undoes,
}

/// An attempt that did not end its call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallTried<'a> {
    /// The call: the ordinal of the record that accepted it.
    pub call: u64,
    /// The record about it before this one; the call's own at the begin.
    pub previous: u64,
    /// What the receiver was asked.
    pub phase: Phase,
    /// Which attempt.
    pub attempt: u32,
    /// How many requests it took.
    pub tries: u32,
    /// What it found.
    pub finding: Finding,
    /// The receiver's HTTP status; 0 without an answer.
    pub status: u16,
    /// Whether a person has the next move from here on.
    pub escalated: bool,
    /// On what evidence.
    pub evidence: &'a str,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum CallEnd {
    /// It was done.
    Committed = 1,
    /// The receiver refused it.
    Refused = 2,
    /// It was not done.
    NotDone = 3,
    /// It was undone, or barred before it was done.
    Compensated = 4,
    /// It counts as not done, as its caller declared for this case. Assumed, not known.
    Cancelled = 5,
    /// A person said that it was done.
    DecreedCommitted = 6,
    /// A person said that it was not done.
    DecreedRefused = 7,
}

/// The end of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallEnded<'a> {
    /// The call: the ordinal of the record that accepted it.
    pub call: u64,
    /// The record about it before this one.
    pub previous: u64,
    /// How it ended.
    pub end: CallEnd,
    /// What the receiver was asked last.
    pub phase: Phase,
    /// How many attempts it took.
    pub attempt: u32,
    /// How many requests it took in all.
    pub tries: u32,
    /// For how long it was uncertain, in microseconds.
    pub uncertain_us: u64,
    /// On what evidence.
    pub evidence: &'a str,
    /// The receiver's HTTP status; 0 without an answer.
    pub status: u16,
    /// The receiver's content type, or empty.
    pub content_type: &'a str,
    /// Those of the receiver's headers that were to be kept: canonical JSON, name to value, or empty where none was.
    pub headers: &'a str,
    /// The receiver's answer, cut off at a bound.
    pub body: &'a [u8],
    /// Whether it was cut off.
    pub is_cut: bool,
    /// The person who said so, or empty.
    pub by: &'a str,
}

impl CallEnd {
    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Refused => "refused",
            Self::NotDone => "not_done",
            Self::Compensated => "compensated",
            Self::Cancelled => "cancelled",
            Self::DecreedCommitted => "resolved_committed",
            Self::DecreedRefused => "resolved_refused",
        }
    }

    /// Whether the effect stands.
    pub const fn is_committed(self) -> bool {
        matches!(self, Self::Committed | Self::DecreedCommitted)
    }

    fn from_number(number: u8) -> Result<Self, Corrupt> {
        let all = [
            Self::Committed,
            Self::Refused,
            Self::NotDone,
            Self::Compensated,
            Self::Cancelled,
            Self::DecreedCommitted,
            Self::DecreedRefused,
        ];
        all.into_iter().find(|end| *end as u8 == number).ok_or(Corrupt("an unknown end of a call"))
    }
}

impl<'a> CallAccepted<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        // One byte for both: only what has an owner undoes anything.
        out.push(self.owner.map_or(0, |_| 1 + self.undoes as u8));
        self.owner.iter().for_each(|owner| owner.encode(out));
        self.order.encode(out);
    }

    pub(super) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        let (owner, undoes) = match r.u8()? {
            0 => (None, Undoes::Nothing),
            number => (Some(Owner::decode(r)?), Undoes::from_number(number - 1)?),
        };
        Ok(Self { owner, undoes, order: CallOrder::decode(r)? })
    }
}

impl<'a> CallTried<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.call);
        put_u64(out, self.previous);
        out.push(self.phase as u8);
        put_u64(out, self.attempt.into());
        put_u64(out, self.tries.into());
        out.push(self.finding as u8);
        put_u64(out, self.status.into());
        out.push(u8::from(self.escalated));
        put_bytes(out, self.evidence.as_bytes());
    }

    pub(super) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(Self {
            call: r.u64()?,
            previous: r.u64()?,
            phase: decode_phase(r)?,
            attempt: r.u32()?,
            tries: r.u32()?,
            finding: Finding::from_number(r.u8()?)?,
            status: r.u16()?,
            escalated: r.flag()?,
            evidence: r.str()?,
        })
    }
}

impl<'a> CallEnded<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.call);
        put_u64(out, self.previous);
        out.extend([self.end as u8, self.phase as u8]);
        put_u64(out, self.attempt.into());
        put_u64(out, self.tries.into());
        put_u64(out, self.uncertain_us);
        put_bytes(out, self.evidence.as_bytes());
        put_u64(out, self.status.into());
        put_bytes(out, self.content_type.as_bytes());
        put_bytes(out, self.body);
        encode_cut(out, self.is_cut, self.headers);
        put_bytes(out, self.by.as_bytes());
    }

    pub(super) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        let ended = Self {
            call: r.u64()?,
            previous: r.u64()?,
            end: CallEnd::from_number(r.u8()?)?,
            phase: decode_phase(r)?,
            attempt: r.u32()?,
            tries: r.u32()?,
            uncertain_us: r.u64()?,
            evidence: r.str()?,
            status: r.u16()?,
            content_type: r.str()?,
            headers: "",
            body: r.bytes()?,
            is_cut: false,
            by: "",
        };
        let (is_cut, headers) = decode_cut(r)?;
        Ok(Self { is_cut, headers, by: r.str()?, ..ended })
    }
}

fn decode_phase(r: &mut Reader<'_>) -> Result<Phase, Corrupt> {
    Phase::from_number(r.u8()?).ok_or(Corrupt("an unknown phase of a call"))
}
