//! What time and room do to a lease: holders expire, whoever waited too long is refused, whoever is first in line is granted.

use crate::apply::{ApplyError, Ended};
use crate::archive::Archive;
use crate::books::{Marks, damaged};
use crate::inbox::By;
use crate::record::{Body, Record};
use crate::topic::TOPIC_LEASES;
use crate::topic::publish::publish_built_in;
use crate::turn::Turn;

use super::held::{Holder, Lease};
use super::order::Acquire;
use super::record::{Granted, LeaseRecord};

/// The lease `number` wakes.
pub(crate) fn wake<A: Archive>(turn: &mut Turn<'_, A>, number: u64) -> Result<(), ApplyError> {
    let mut lease = turn.machine.leases.take(number).expect("what wakes is in use");
    serve(turn, &mut lease)?;
    turn.machine.leases.put(number, lease);
    Ok(())
}

/// Brings a lease up to this entry's stamp: it is not held at the stamp at which it expires, and nobody is granted it who
/// does not wait for it any more.
pub(super) fn serve<A: Archive>(turn: &mut Turn<'_, A>, lease: &mut Lease) -> Result<(), ApplyError> {
    let now = turn.stamp;
    if lease.wakes().is_none_or(|wakes| wakes > now) {
        return admit(turn, lease);
    }
    let (over, held): (Vec<Holder>, Vec<Holder>) =
        std::mem::take(&mut lease.holders).into_iter().partition(|holder| holder.expires <= now);
    lease.holders = held;
    for Holder { token, owner, .. } in over {
        let body = LeaseRecord::Expired { name: &lease.name, owner: &owner, token };
        let ordinal = turn.write_unnamed(Body::Lease(body));
        publish_built_in(turn, TOPIC_LEASES, ordinal);
    }
    let late: Vec<u64> = lease.line.iter().filter(|waiter| waiter.until <= now).map(|waiter| waiter.began).collect();
    lease.line.retain(|waiter| waiter.until > now);
    for began in late {
        let (holders, expires_in_ms) = (lease.holders.len() as u64, lease.expires_in_ms(now));
        let name = lease.name.clone();
        end(turn, began, |turn, by, _| {
            let body = LeaseRecord::GaveUp { began, name: &name, holders, expires_in_ms };
            let marks = Marks { operation: Some(by.name), ..Marks::default() };
            turn.write(by, Body::Lease(body), marks)
        })?;
    }
    admit(turn, lease)
}

/// Grants what room there is to those who are first in line.
fn admit<A: Archive>(turn: &mut Turn<'_, A>, lease: &mut Lease) -> Result<(), ApplyError> {
    while lease.has_room() {
        let Some(first) = lease.line.pop_front() else { break };
        end(turn, first.began, |turn, by, asked| grant(turn, by, lease, asked, Some(first.began)))?;
    }
    Ok(())
}

/// Grants a lease that has room. Gives the record, which stands under the key it was asked for with.
pub(super) fn grant<A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'_>,
    lease: &mut Lease,
    asked: &Acquire<'_>,
    began: Option<u64>,
) -> u64 {
    assert!(lease.has_room(), "a lease has no more holders than it has room for");
    let Acquire { owner, ttl_ms, metadata, .. } = *asked;
    let (granted, expires) = (turn.stamp, turn.stamp.plus_ms(ttl_ms));
    let token = turn.machine.leases.next_token();
    let body = Granted { name: &lease.name, owner, token, capacity: lease.capacity, ttl_ms, expires, metadata, began };
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    let ordinal = turn.write(by, Body::Lease(LeaseRecord::Granted(body)), marks);
    publish_built_in(turn, TOPIC_LEASES, ordinal);
    lease.holders.push(Holder { token, owner: owner.into(), granted, expires, metadata: metadata.into() });
    ordinal
}

/// Ends the wait that began with the record `began`, with the record that `write` writes for whoever asked. They are answered.
fn end<A: Archive>(
    turn: &mut Turn<'_, A>,
    began: u64,
    write: impl FnOnce(&mut Turn<'_, A>, &By<'_>, &Acquire<'_>) -> u64,
) -> Result<(), ApplyError> {
    let mut bytes = std::mem::take(&mut turn.scratch.original);
    bytes.clear();
    turn.archive.read(began, &mut |record| bytes.extend_from_slice(record))?;
    let record = Record::decode(&bytes).map_err(damaged)?;
    let Body::Lease(LeaseRecord::Waiting { asked, .. }) = record.body else {
        return Err(damaged(crate::codec::Corrupt("a place in line that is none")).into());
    };
    let by = By {
        principal: record.principal,
        key: record.key,
        name: turn.machine.names.operation(record.principal, record.key),
        fingerprint: record.fingerprint,
        waited_us: 0,
    };
    let ordinal = write(turn, &by, &asked);
    turn.scratch.original = bytes;
    turn.scratch.ended.push(Ended { began, ordinal, uncertain_us: 0 });
    Ok(())
}
