//! `POST /v1/leases/{name}/renew` and `.../release`: what a holder does, and nobody else can, by the token.

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::books::Marks;
use crate::inbox::By;
use crate::ledger::{Denial, Stop};
use crate::record::Body;
use crate::refusal::Code;
use crate::topic::TOPIC_LEASES;
use crate::topic::publish::publish_built_in;
use crate::turn::Turn;

use super::acquire::check_ttl;
use super::held::Lease;
use super::record::LeaseRecord;
use super::serve::serve;

/// Lets a holder have the lease for `ttl_ms` from now on at least: a renewal that comes late takes nothing from a newer one.
pub(super) fn renew<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    name: &'a str,
    token: u64,
    ttl_ms: u64,
) -> Result<u64, Stop<'a>> {
    check_ttl(ttl_ms)?;
    let expires = turn.stamp.plus_ms(ttl_ms);
    change(turn, name, token, |turn, lease, at| {
        let holder = &mut lease.holders[at];
        holder.expires = holder.expires.max(expires);
        let body = LeaseRecord::Renewed { name, owner: &holder.owner, token, expires: holder.expires };
        let marks = Marks { operation: Some(by.name), ..Marks::default() };
        Ok(turn.write(by, Body::Lease(body), marks))
    })
}

/// Takes the lease from a holder who does not need it any more. Whoever is first in line has it next, in the same entry.
pub(super) fn release<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    name: &'a str,
    token: u64,
) -> Result<u64, Stop<'a>> {
    change(turn, name, token, |turn, lease, at| {
        let holder = lease.holders.remove(at);
        let body = LeaseRecord::Released { name, owner: &holder.owner, token };
        let marks = Marks { operation: Some(by.name), ..Marks::default() };
        let ordinal = turn.write(by, Body::Lease(body), marks);
        publish_built_in(turn, TOPIC_LEASES, ordinal);
        serve(turn, lease)?;
        Ok(ordinal)
    })
}

/// Changes a lease that is held under the token.
fn change<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    name: &'a str,
    token: u64,
    change: impl FnOnce(&mut Turn<'_, A>, &mut Lease, usize) -> Result<u64, ApplyError>,
) -> Result<u64, Stop<'a>> {
    let lost =
        |newest: u64| Denial { had: newest.into(), wanted: token.into(), ..Denial::of_text(Code::LeaseLost, name) };
    let Some(number) = turn.machine.leases.number(name) else { return Err(lost(0).into()) };
    let mut lease = turn.machine.leases.take(number).expect("what has a name is there");
    // What is over by this entry's stamp is over, whether or not its timer has had its turn.
    serve(turn, &mut lease)?;
    let changed = match lease.holders.iter().position(|holder| holder.token == token) {
        Some(at) => change(turn, &mut lease, at).map_err(Stop::from),
        None => Err(lost(lease.holders.last().map_or(0, |holder| holder.token)).into()),
    };
    turn.machine.leases.put(number, lease);
    changed
}
