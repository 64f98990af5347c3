//! What is asked of a durable call, and what an attempt at it found, in the bytes of a command.

use crate::codec::{Corrupt, Reader, put_bytes, put_u64};

/// How long a call may be tried, in milliseconds: 1 ms to 1 day.
pub const CALL_MS_BOUNDS: (u64, u64) = (1, 24 * 60 * 60 * 1_000);

/// How long a call may stay uncertain before its way out is taken, in milliseconds: 1 s to 30 days.
pub const UNCERTAIN_MS_BOUNDS: (u64, u64) = (1_000, 30 * 24 * 60 * 60 * 1_000);

/// Beside a small number: something follows that earlier versions did not write.
const MORE: u8 = 0x80;

/// `POST /v1/calls`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallOrder<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// Where to.
    pub url: &'a str,
    /// Canonical JSON, name to value, or empty.
    pub headers: &'a str,
    /// The body, as it is sent.
    pub body: &'a [u8],
    /// How long it may be tried, from the entry that accepts it.
    pub deadline_ms: u64,
    /// The most tries in a row, while it is certain that nothing was done; 1 = no retry.
    pub tries_max: u32,
    /// Whether it is tried again until the deadline, as long as it is certain that nothing was done.
    pub persistent: bool,
    /// What to do when nobody knows whether it was done.
    pub doubt: Doubt,
    /// How to ask what became of it: canonical JSON, or empty.
    pub probe: &'a str,
    /// How to undo it: canonical JSON, or empty.
    pub compensation: &'a str,
    /// How long it may stay uncertain.
    pub uncertain_ms_max: u64,
    /// What to do after that.
    pub way_out: WayOut,
    /// The headers of the answer that are kept: their names in lower case, with a comma between two, or empty.
    pub keep: &'a str,
}

/// What to do when nobody knows whether a call was done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Doubt {
    /// Ask the receiver.
    Probe = 1,
    /// Send it again: the receiver does it once for each key.
    Resend = 2,
    /// Undo it: the receiver bars what was not done yet.
    Compensate = 3,
    /// Tell a person.
    Escalate = 4,
}

/// What to do when a call was uncertain for too long.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum WayOut {
    /// Tell a person.
    Escalate = 1,
    /// Undo it.
    Compensate = 2,
    /// Count it as not done: what the receiver did lapses by itself. Declared by the caller, and recorded as assumed.
    Cancel = 3,
}

/// What is known of the call that a call undoes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Undoes {
    /// It undoes no call.
    Nothing = 0,
    /// A person said that it was done, and its receiver did not: it may never have arrived, or arrive later.
    Resolved = 1,
    /// The receiver said that it was done.
    Done = 2,
}

/// What an attempt at a call found out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Finding {
    /// It was done.
    Committed = 1,
    /// The receiver refused it.
    Refused = 2,
    /// Certain: this attempt did nothing.
    NotDone = 3,
    /// The receiver is still at it.
    StillAtIt = 4,
    /// Nobody knows.
    Uncertain = 5,
    /// Nothing was asked: whoever was to ask had no turn. It is as if the attempt had not come yet.
    Unasked = 6,
}

/// What came of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tried<'a> {
    /// The call: the ordinal of the record that accepted it.
    pub call: u64,
    /// Which attempt.
    pub attempt: u32,
    /// What it found.
    pub finding: Finding,
    /// On what evidence, for a person to read.
    pub evidence: &'a str,
    /// How many requests were sent, or tried to be, in this attempt.
    pub tries: u32,
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
    /// How long the receiver asks to be left alone; 0 = it does not.
    pub retry_after_ms: u64,
}

/// How a person ends a call that nothing else could end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resolved<'a> {
    /// The call.
    pub call: u64,
    /// Whether it was done.
    pub committed: bool,
    /// Who says so.
    pub by: &'a str,
    /// How they know.
    pub note: &'a str,
}

impl<'a> CallOrder<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.method.as_bytes());
        put_bytes(out, self.url.as_bytes());
        put_bytes(out, self.headers.as_bytes());
        put_bytes(out, self.body);
        put_u64(out, self.deadline_ms);
        put_u64(out, self.tries_max.into());
        out.extend([u8::from(self.persistent), self.doubt as u8]);
        put_bytes(out, self.probe.as_bytes());
        put_bytes(out, self.compensation.as_bytes());
        put_u64(out, self.uncertain_ms_max);
        // What comes after it was not there in earlier versions.
        out.push(self.way_out as u8 | if self.keep.is_empty() { 0 } else { MORE });
        if !self.keep.is_empty() {
            put_bytes(out, self.keep.as_bytes());
        }
    }

    pub(crate) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        let order = Self {
            method: r.str()?,
            url: r.str()?,
            headers: r.str()?,
            body: r.bytes()?,
            deadline_ms: r.u64()?,
            tries_max: r.u32()?,
            persistent: r.flag()?,
            doubt: Doubt::from_number(r.u8()?)?,
            probe: r.str()?,
            compensation: r.str()?,
            uncertain_ms_max: r.u64()?,
            way_out: WayOut::Escalate,
            keep: "",
        };
        let last = r.u8()?;
        let way_out = WayOut::from_number(last & !MORE)?;
        Ok(Self { way_out, keep: if last & MORE > 0 { r.str()? } else { "" }, ..order })
    }
}

impl Tried<'static> {
    /// What is told where no attempt was made, or nobody knows of one.
    pub(crate) const fn unmade(call: u64, attempt: u32) -> Self {
        Self {
            call,
            attempt,
            finding: Finding::Uncertain,
            evidence: "",
            tries: 0,
            status: 0,
            content_type: "",
            headers: "",
            body: b"",
            is_cut: false,
            retry_after_ms: 0,
        }
    }
}

impl<'a> Tried<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.call);
        put_u64(out, self.attempt.into());
        out.push(self.finding as u8);
        put_bytes(out, self.evidence.as_bytes());
        put_u64(out, self.tries.into());
        put_u64(out, self.status.into());
        put_bytes(out, self.content_type.as_bytes());
        put_bytes(out, self.body);
        encode_cut(out, self.is_cut, self.headers);
        put_u64(out, self.retry_after_ms);
    }

    pub(crate) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        let tried = Self {
            call: r.u64()?,
            attempt: r.u32()?,
            finding: Finding::from_number(r.u8()?)?,
            evidence: r.str()?,
            tries: r.u32()?,
            status: r.u16()?,
            content_type: r.str()?,
            body: r.bytes()?,
            ..Tried::unmade(0, 0)
        };
        let (is_cut, headers) = decode_cut(r)?;
        Ok(Self { is_cut, headers, retry_after_ms: r.u64()?, ..tried })
    }
}

/// Whether an answer was cut off, and what of its headers is kept.
pub(crate) fn encode_cut(out: &mut Vec<u8>, is_cut: bool, headers: &str) {
    out.push(u8::from(is_cut) | if headers.is_empty() { 0 } else { MORE });
    if !headers.is_empty() {
        put_bytes(out, headers.as_bytes());
    }
}

pub(crate) fn decode_cut<'a>(r: &mut Reader<'a>) -> Result<(bool, &'a str), Corrupt> {
    Ok(match r.u8()? {
        flag @ (0 | 1) => (flag == 1, ""),
        flag if flag & !MORE < 2 => (flag & !MORE == 1, r.str()?),
        _ => return Err(Corrupt("a flag that is neither yes nor no")),
    })
}

impl<'a> Resolved<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.call);
        out.push(u8::from(self.committed));
        put_bytes(out, self.by.as_bytes());
        put_bytes(out, self.note.as_bytes());
    }

    pub(crate) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(Self { call: r.u64()?, committed: r.flag()?, by: r.str()?, note: r.str()? })
    }
}

impl Undoes {
    /// What its receiver is told of the call's outcome, in a word; nothing where it undoes none.
    pub const fn outcome(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Resolved => Some("resolved"),
            Self::Done => Some("committed"),
        }
    }

    pub(crate) fn from_number(number: u8) -> Result<Self, Corrupt> {
        let all = [Self::Nothing, Self::Resolved, Self::Done];
        all.into_iter().find(|undoes| *undoes as u8 == number).ok_or(Corrupt("an unknown word on what a call undoes"))
    }
}

impl Doubt {
    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Resend => "resend",
            Self::Compensate => "compensate",
            Self::Escalate => "escalate",
        }
    }

    pub(crate) fn from_number(number: u8) -> Result<Self, Corrupt> {
        let all = [Self::Probe, Self::Resend, Self::Compensate, Self::Escalate];
        all.into_iter().find(|doubt| *doubt as u8 == number).ok_or(Corrupt("an unknown way with doubt"))
    }
}

impl WayOut {
    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Escalate => "escalate",
            Self::Compensate => "compensate",
            Self::Cancel => "cancel",
        }
    }

    pub(crate) fn from_number(number: u8) -> Result<Self, Corrupt> {
        let all = [Self::Escalate, Self::Compensate, Self::Cancel];
        all.into_iter().find(|way| *way as u8 == number).ok_or(Corrupt("an unknown way out"))
    }
}

impl Finding {
    /// The word strangers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Refused => "refused",
            Self::NotDone => "not_done",
            Self::StillAtIt => "still_at_it",
            Self::Uncertain => "uncertain",
            Self::Unasked => "unasked",
        }
    }

    pub(crate) fn from_number(number: u8) -> Result<Self, Corrupt> {
        let all = [Self::Committed, Self::Refused, Self::NotDone, Self::StillAtIt, Self::Uncertain, Self::Unasked];
        all.into_iter().find(|finding| *finding as u8 == number).ok_or(Corrupt("an unknown finding"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of an answer comes back; what an earlier version wrote, without it, is read as well.
    #[test]
    fn headers_are_written_where_there_are_any() {
        for (is_cut, headers, length) in [(false, "", 1), (true, "", 1), (false, "{}", 4), (true, r#"{"a":"b"}"#, 11)] {
            let mut bytes = Vec::new();
            encode_cut(&mut bytes, is_cut, headers);
            let mut r = Reader::new(&bytes);
            assert_eq!((decode_cut(&mut r), r.is_empty()), (Ok((is_cut, headers)), true));
            assert_eq!(bytes.len(), length);
        }
        assert!(decode_cut(&mut Reader::new(&[2])).is_err());
        let order = CallOrder {
            method: "POST",
            url: "http://h/",
            headers: "",
            body: b"",
            deadline_ms: 1,
            tries_max: 1,
            persistent: false,
            doubt: Doubt::Resend,
            probe: "",
            compensation: "",
            uncertain_ms_max: 1,
            way_out: WayOut::Cancel,
            keep: "",
        };
        let encoded = |order: CallOrder<'_>| {
            let mut bytes = Vec::new();
            order.encode(&mut bytes);
            bytes
        };
        let (earlier, keeps) = (encoded(order), CallOrder { keep: "etag,location", ..order });
        assert_eq!(earlier.last(), Some(&(WayOut::Cancel as u8)), "as earlier versions wrote it");
        assert_eq!(CallOrder::decode(&mut Reader::new(&earlier)), Ok(order));
        assert_eq!(CallOrder::decode(&mut Reader::new(&encoded(keeps))), Ok(keeps));
    }
}
