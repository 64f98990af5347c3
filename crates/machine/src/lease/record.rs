//! What the archive keeps of leases.

use words::Stamp;

use crate::codec::{Corrupt, Reader, put_bytes, put_option_u64, put_u64};

use super::order::Acquire;

/// A record about a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseRecord<'a> {
    /// Somebody waits in line: pending until a grant or its refusal stands under the same key.
    Waiting {
        /// What was asked for.
        asked: Acquire<'a>,
        /// When the place in line ends.
        until: Stamp,
    },
    /// The lease was granted.
    Granted(Granted<'a>),
    /// There was no room for whoever waited in line for as long as they waited.
    GaveUp {
        /// The record under which they waited.
        began: u64,
        /// Which lease.
        name: &'a str,
        /// How many held it then.
        holders: u64,
        /// In how many milliseconds the first of these would have expired.
        expires_in_ms: u64,
    },
    /// A holder has it for longer.
    Renewed {
        /// Which lease.
        name: &'a str,
        /// Who holds it.
        owner: &'a str,
        /// Under which token: the same as before.
        token: u64,
        /// Until when now.
        expires: Stamp,
    },
    /// A holder gave it back.
    Released {
        /// Which lease.
        name: &'a str,
        /// Who held it.
        owner: &'a str,
        /// Under which token.
        token: u64,
    },
    /// A holder's time was over.
    Expired {
        /// Which lease.
        name: &'a str,
        /// Who held it.
        owner: &'a str,
        /// Under which token.
        token: u64,
    },
}

/// A grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granted<'a> {
    /// Which lease.
    pub name: &'a str,
    /// To whom.
    pub owner: &'a str,
    /// The fencing token: greater than every one granted before, of whatever lease.
    pub token: u64,
    /// How many may hold the lease at a time.
    pub capacity: u64,
    /// For how long it was asked for, in milliseconds.
    pub ttl_ms: u64,
    /// Until when, unless it is renewed.
    pub expires: Stamp,
    /// Canonical JSON, or empty.
    pub metadata: &'a str,
    /// The record under which it was waited for.
    pub began: Option<u64>,
}

mod kind {
    pub(super) const WAITING: u8 = 1;
    pub(super) const GRANTED: u8 = 2;
    pub(super) const GAVE_UP: u8 = 3;
    pub(super) const RENEWED: u8 = 4;
    pub(super) const RELEASED: u8 = 5;
    pub(super) const EXPIRED: u8 = 6;
}

impl<'a> LeaseRecord<'a> {
    /// Whether what was asked for is accepted, and its end still to come under the same key.
    pub const fn is_pending(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// The same of a record's first byte.
    pub(crate) const fn is_pending_kind(kind: u8) -> bool {
        kind == kind::WAITING
    }

    /// The record under which it was waited for, if this is the end of that.
    pub const fn began(&self) -> Option<u64> {
        match self {
            Self::Granted(granted) => granted.began,
            Self::GaveUp { began, .. } => Some(*began),
            _ => None,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Waiting { ref asked, until } => {
                out.push(kind::WAITING);
                asked.encode(out);
                put_u64(out, until.raw());
            }
            Self::Granted(ref granted) => {
                out.push(kind::GRANTED);
                granted.encode(out);
            }
            Self::GaveUp { began, name, holders, expires_in_ms } => {
                out.push(kind::GAVE_UP);
                put_u64(out, began);
                put_bytes(out, name.as_bytes());
                put_u64(out, holders);
                put_u64(out, expires_in_ms);
            }
            Self::Renewed { name, owner, token, expires } => {
                encode_held(out, kind::RENEWED, name, owner, token);
                put_u64(out, expires.raw());
            }
            Self::Released { name, owner, token } => encode_held(out, kind::RELEASED, name, owner, token),
            Self::Expired { name, owner, token } => encode_held(out, kind::EXPIRED, name, owner, token),
        }
    }

    pub(crate) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(match r.u8()? {
            kind::WAITING => Self::Waiting { asked: Acquire::decode(r)?, until: Stamp::from_raw(r.u64()?) },
            kind::GRANTED => Self::Granted(Granted::decode(r)?),
            kind::GAVE_UP => {
                Self::GaveUp { began: r.u64()?, name: r.str()?, holders: r.u64()?, expires_in_ms: r.u64()? }
            }
            kind::RENEWED => {
                let (name, owner, token) = (r.str()?, r.str()?, r.u64()?);
                Self::Renewed { name, owner, token, expires: Stamp::from_raw(r.u64()?) }
            }
            kind::RELEASED => Self::Released { name: r.str()?, owner: r.str()?, token: r.u64()? },
            kind::EXPIRED => Self::Expired { name: r.str()?, owner: r.str()?, token: r.u64()? },
            _ => return Err(Corrupt("an unknown kind of record about leases")),
        })
    }
}

fn encode_held(out: &mut Vec<u8>, kind: u8, name: &str, owner: &str, token: u64) {
    out.push(kind);
    put_bytes(out, name.as_bytes());
    put_bytes(out, owner.as_bytes());
    put_u64(out, token);
}

impl<'a> Granted<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        put_bytes(out, self.owner.as_bytes());
        put_u64(out, self.token);
        put_u64(out, self.capacity);
        put_u64(out, self.ttl_ms);
        put_u64(out, self.expires.raw());
        put_bytes(out, self.metadata.as_bytes());
        put_option_u64(out, self.began);
    }

    fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(Self {
            name: r.str()?,
            owner: r.str()?,
            token: r.u64()?,
            capacity: r.u64()?,
            ttl_ms: r.u64()?,
            expires: Stamp::from_raw(r.u64()?),
            metadata: r.str()?,
            began: r.option_u64()?,
        })
    }
}
