//! `POST /v1/leases/{name}/acquire`: granted at once, or a place in line.

use words::Stamp;

use crate::archive::Archive;
use crate::books::Marks;
use crate::inbox::By;
use crate::ledger::{Denial, Stop};
use crate::record::Body;
use crate::refusal::Code;
use crate::turn::Turn;

use super::held::{Lease, Waiter};
use super::order::{Acquire, LEASE_CAPACITY_MAX, LEASE_LINE_MAX, LEASE_TTL_MS_BOUNDS, LEASES_MAX};
use super::record::LeaseRecord;
use super::serve::{grant, serve};

/// The most who may hold leases or wait for them, all names together.
const PLACES_MAX: usize = 100_000;

/// A place in line ends so long before its caller's deadline, or a quarter of the time there is if that is less: the
/// refusal is known when the caller stops waiting.
const ANSWER_MS: u64 = 100;

/// Grants the lease, or notes who waits for it. Gives the record, and whether its end is still to come.
pub(super) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    asked: &Acquire<'a>,
) -> Result<(u64, bool), Stop<'a>> {
    check_bounds(asked)?;
    let known = turn.machine.leases.number(asked.name);
    let number = known.unwrap_or(turn.machine.books.upcoming());
    let taken = known.and_then(|number| turn.machine.leases.take(number));
    let mut lease = taken.unwrap_or_else(|| Lease::new(asked.name, asked.capacity));
    // What is over by this entry's stamp is over, whether or not its timer has had its turn.
    serve(turn, &mut lease)?;
    if lease.is_free() {
        lease.capacity = asked.capacity;
    }
    let decided = match judge(turn, asked, &lease) {
        Ok(Place::Grant) => Ok((grant(turn, by, &mut lease, asked, None), false)),
        Ok(Place::Line { until }) => {
            let marks = Marks { operation: Some(by.name), ..Marks::default() };
            let began = turn.write(by, Body::Lease(LeaseRecord::Waiting { asked: *asked, until }), marks);
            lease.line.push_back(Waiter { began, until });
            Ok((began, true))
        }
        Err(denial) => Err(denial.into()),
    };
    turn.machine.leases.put(number, lease);
    decided
}

enum Place {
    Grant,
    Line { until: Stamp },
}

fn judge<'a, A: Archive>(turn: &Turn<'_, A>, asked: &Acquire<'a>, lease: &Lease) -> Result<Place, Denial<'a>> {
    let (leases, now) = (&turn.machine.leases, turn.stamp);
    let denied = |code, had: u64, wanted: u64| Denial {
        had: had.into(),
        wanted: wanted.into(),
        ..Denial::of_text(code, asked.name)
    };
    if lease.capacity != asked.capacity {
        return Err(denied(Code::LeaseCapacity, lease.capacity, asked.capacity));
    }
    let places = leases.places() + lease.places();
    let is_new = lease.is_free();
    let has_room = lease.has_room() && lease.line.is_empty();
    if is_new && leases.len() >= LEASES_MAX {
        return Err(denied(Code::TooManyLeases, LEASES_MAX as u64, LEASES_MAX as u64 + 1));
    }
    if places >= PLACES_MAX {
        return Err(denied(Code::TooManyLeases, places as u64, places as u64 + 1));
    }
    if has_room {
        return Ok(Place::Grant);
    }
    let until = place_until(now, turn.expires, asked.wait_ms);
    if until <= now {
        return Err(denied(Code::LeaseHeld, lease.holders.len() as u64, lease.expires_in_ms(now)));
    }
    if lease.line.len() >= LEASE_LINE_MAX {
        return Err(denied(Code::TooManyLeases, LEASE_LINE_MAX as u64, LEASE_LINE_MAX as u64 + 1));
    }
    Ok(Place::Line { until })
}

/// When the place in line of whoever waits until `expires` ends.
fn place_until(now: Stamp, expires: Stamp, wait_ms: Option<u64>) -> Stamp {
    let left_ms = expires.millis().saturating_sub(now.millis());
    let answered = expires.minus_ms(ANSWER_MS.min(left_ms / 4));
    wait_ms.map_or(answered, |wait_ms| answered.min(now.plus_ms(wait_ms)))
}

fn check_bounds<'a>(asked: &Acquire<'a>) -> Result<(), Denial<'a>> {
    check_ttl(asked.ttl_ms)?;
    if !(1..=LEASE_CAPACITY_MAX).contains(&asked.capacity) {
        return Err(Denial { wanted: asked.capacity.into(), ..Denial::of_text(Code::AmountInvalid, "capacity") });
    }
    Ok(())
}

pub(super) fn check_ttl(ttl_ms: u64) -> Result<(), Denial<'static>> {
    let (least, most) = LEASE_TTL_MS_BOUNDS;
    if !(least..=most).contains(&ttl_ms) {
        return Err(Denial { wanted: ttl_ms.into(), ..Denial::of_text(Code::AmountInvalid, "ttl_ms") });
    }
    Ok(())
}
