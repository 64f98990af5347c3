//! What is asked of leases, in the bytes of a command.

use crate::codec::{Corrupt, Reader, put_bytes, put_option_u64, put_u64};

/// For how long a lease may be granted or renewed: 1 ms to 24 h.
pub const LEASE_TTL_MS_BOUNDS: (u64, u64) = (1, 24 * 60 * 60 * 1_000);

/// The most holders that one lease may have at a time.
pub const LEASE_CAPACITY_MAX: u64 = 1_000;

/// The longest line of those who wait for one lease.
pub const LEASE_LINE_MAX: usize = 1_000;

/// The most leases of a cell that are in use at a time.
pub const LEASES_MAX: usize = 10_000;

/// The longest metadata of a holder, in bytes of canonical JSON: it stays in memory for as long as the lease is held.
pub const LEASE_METADATA_BYTES_MAX: usize = 1_024;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseOp<'a> {
    /// `POST /v1/leases/{name}/acquire`.
    Acquire(Acquire<'a>),
    /// `POST /v1/leases/{name}/renew`: it lasts `ttl_ms` from now on at least, and never shorter than before.
    Renew {
        /// Which lease.
        name: &'a str,
        /// The token it is held under.
        token: u64,
        /// For how long from now on.
        ttl_ms: u64,
    },
    /// `POST /v1/leases/{name}/release`.
    Release {
        /// Which lease.
        name: &'a str,
        /// The token it is held under.
        token: u64,
    },
}

/// A wish to hold a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acquire<'a> {
    /// Which.
    pub name: &'a str,
    /// Who, for people to read: the same owner may hold a lease twice where it has room for two.
    pub owner: &'a str,
    /// For how long from the grant on, in milliseconds.
    pub ttl_ms: u64,
    /// How many may hold it at a time.
    pub capacity: u64,
    /// How long to wait in line at most; for as long as the caller waits if absent, not at all if 0.
    pub wait_ms: Option<u64>,
    /// Canonical JSON, or empty.
    pub metadata: &'a str,
}

mod kind {
    pub(super) const ACQUIRE: u8 = 1;
    pub(super) const RENEW: u8 = 2;
    pub(super) const RELEASE: u8 = 3;
}

impl<'a> LeaseOp<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Acquire(ref asked) => {
                out.push(kind::ACQUIRE);
                asked.encode(out);
            }
            Self::Renew { name, token, ttl_ms } => {
                out.push(kind::RENEW);
                put_bytes(out, name.as_bytes());
                put_u64(out, token);
                put_u64(out, ttl_ms);
            }
            Self::Release { name, token } => {
                out.push(kind::RELEASE);
                put_bytes(out, name.as_bytes());
                put_u64(out, token);
            }
        }
    }

    pub(crate) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(match r.u8()? {
            kind::ACQUIRE => Self::Acquire(Acquire::decode(r)?),
            kind::RENEW => Self::Renew { name: r.str()?, token: r.u64()?, ttl_ms: r.u64()? },
            kind::RELEASE => Self::Release { name: r.str()?, token: r.u64()? },
            _ => return Err(Corrupt("an unknown kind of command to leases")),
        })
    }
}

impl<'a> Acquire<'a> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        put_bytes(out, self.owner.as_bytes());
        put_u64(out, self.ttl_ms);
        put_u64(out, self.capacity);
        put_option_u64(out, self.wait_ms);
        put_bytes(out, self.metadata.as_bytes());
    }

    pub(super) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(Self {
            name: r.str()?,
            owner: r.str()?,
            ttl_ms: r.u64()?,
            capacity: r.u64()?,
            wait_ms: r.option_u64()?,
            metadata: r.str()?,
        })
    }
}
