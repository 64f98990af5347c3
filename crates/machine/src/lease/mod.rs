//! Leases: who may do something now, until when, and under which fencing token.
//!
//! A lease has a name and a capacity, 1 unless its first user says otherwise. It is in use while somebody holds it or
//! waits for it, and forgotten when nobody does: a name needs no making. Whoever finds no room waits in line, in the order
//! of arrival, until shortly before their deadline; the entry that makes room grants it to the first in line. What expires
//! does so by an entry's stamp, never by a clock.
//!
//! Every grant has a token, from one counter for all names that only ever grows: it is in the snapshot and in the digest.
//! Gray and Cheriton, "Leases" (1989), for the time; the token is for what time cannot do: a resource that refuses a token
//! below one it has seen is safe from a holder that was stopped and does not know it.
//!
//! If this stops halfway: a grant, a place in line and the counter change in the entry that answers them, so there is no
//! halfway. While nobody leads, no holder can renew, and the clock that comes next may be another machine's, or have jumped.
//! So the time between the last entry of one leader and the first of the next counts for no lease ([`Leases::stand_still`]):
//! each has left what it had left, and no clock but a leader's own, which is steady, has shortened it. A place in line ends
//! with its caller's deadline all the same.

mod acquire;
mod held;
mod leases;
mod order;
mod record;
mod renew;
pub(crate) mod serve;
mod view;

pub(crate) use leases::Leases;

pub use order::{
    Acquire, LEASE_CAPACITY_MAX, LEASE_LINE_MAX, LEASE_METADATA_BYTES_MAX, LEASE_TTL_MS_BOUNDS, LEASES_MAX, LeaseOp,
};
pub use record::{Granted, LeaseRecord};
pub use view::{HolderView, LeasePage, LeaseView};

use crate::archive::Archive;
use crate::inbox::By;
use crate::ledger::Stop;
use crate::turn::Turn;

/// Decides a command about a lease. Gives the record, and whether its end is still to come.
pub(crate) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    op: &LeaseOp<'a>,
) -> Result<(u64, bool), Stop<'a>> {
    match *op {
        LeaseOp::Acquire(ref asked) => acquire::decide(turn, by, asked),
        LeaseOp::Renew { name, token, ttl_ms } => Ok((renew::renew(turn, by, name, token, ttl_ms)?, false)),
        LeaseOp::Release { name, token } => Ok((renew::release(turn, by, name, token)?, false)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
