//! One lease in use: who holds it, and who waits for it.

use std::collections::VecDeque;

use words::Stamp;

use crate::codec::{Corrupt, Reader, put_bytes, put_u64};

/// A lease that somebody holds or waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lease {
    pub(crate) name: Box<str>,
    pub(crate) capacity: u64,
    /// In the order of their tokens.
    pub(crate) holders: Vec<Holder>,
    /// In the order of their arrival.
    pub(crate) line: VecDeque<Waiter>,
}

/// Somebody who holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Holder {
    pub(crate) token: u64,
    pub(crate) owner: Box<str>,
    pub(crate) granted: Stamp,
    pub(crate) expires: Stamp,
    pub(crate) metadata: Box<str>,
}

/// Somebody who waits for it. What they asked for stands in the record under which they wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Waiter {
    pub(crate) began: u64,
    pub(crate) until: Stamp,
}

impl Lease {
    pub(crate) fn new(name: &str, capacity: u64) -> Self {
        Self { name: name.into(), capacity, holders: Vec::new(), line: VecDeque::new() }
    }

    /// Whether nobody holds it and nobody waits for it.
    pub(crate) fn is_free(&self) -> bool {
        self.holders.is_empty() && self.line.is_empty()
    }

    /// Whether one more may hold it. Whoever waits in line comes before whoever comes now.
    pub(crate) fn has_room(&self) -> bool {
        (self.holders.len() as u64) < self.capacity
    }

    /// How many hold it or wait for it.
    pub(crate) fn places(&self) -> usize {
        self.holders.len() + self.line.len()
    }

    /// When time alone moves it on.
    pub(crate) fn wakes(&self) -> Option<Stamp> {
        let expires = self.holders.iter().map(|holder| holder.expires);
        expires.chain(self.line.iter().map(|waiter| waiter.until)).min()
    }

    /// In how many milliseconds the first of its holders expires; 0 without one.
    pub(crate) fn expires_in_ms(&self, now: Stamp) -> u64 {
        let first = self.holders.iter().map(|holder| holder.expires).min();
        first.map_or(0, |first| first.micros().saturating_sub(now.micros()).div_ceil(1_000))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        put_u64(out, self.capacity);
        put_u64(out, self.holders.len() as u64);
        for Holder { token, owner, granted, expires, metadata } in &self.holders {
            put_u64(out, *token);
            put_bytes(out, owner.as_bytes());
            put_u64(out, granted.raw());
            put_u64(out, expires.raw());
            put_bytes(out, metadata.as_bytes());
        }
        put_u64(out, self.line.len() as u64);
        for Waiter { began, until } in &self.line {
            put_u64(out, *began);
            put_u64(out, until.raw());
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut lease = Self::new(r.str()?, r.u64()?);
        for _ in 0..r.u64()? {
            lease.holders.push(Holder {
                token: r.u64()?,
                owner: r.str()?.into(),
                granted: Stamp::from_raw(r.u64()?),
                expires: Stamp::from_raw(r.u64()?),
                metadata: r.str()?.into(),
            });
        }
        for _ in 0..r.u64()? {
            lease.line.push_back(Waiter { began: r.u64()?, until: Stamp::from_raw(r.u64()?) });
        }
        Ok(lease)
    }
}
