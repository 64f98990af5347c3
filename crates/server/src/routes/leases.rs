//! Leases: acquiring, renewing and releasing them, and looking who holds what.

use cell::{Found, LeaseFound, LeaseQuery, Query};
use http::request::Parts;
use wire::Problem;
use wire::lease::{write_lease, write_leases};
use wire::path::id_of_segment;
use wire::query::{NamesQuery, no_query};
use wire::request;

use super::reads::{Fresh, answer};
use super::writes::{decide, json_only};
use crate::call::{Call, Payload};
use crate::respond::{Answered, internal};
use crate::route::LeaseRoute;

/// Makes the command of a body: of the lease's name, the body, the principal and the key.
type Parse = fn(&str, &[u8], &str, &str) -> Result<Vec<u8>, Problem>;

/// Answers a write.
///
/// # Errors
/// The problem to answer instead.
pub(super) async fn write(
    call: &mut Call,
    route: LeaseRoute<'_>,
    head: &Parts,
    body: &mut Payload,
) -> Result<Answered, Problem> {
    json_only(head, body)?;
    let (segment, parse): (_, Parse) = match route {
        LeaseRoute::Acquire(segment) => (segment, request::parse_acquire),
        LeaseRoute::Renew(segment) => (segment, request::parse_renew),
        LeaseRoute::Release(segment) => (segment, request::parse_release),
        LeaseRoute::List | LeaseRoute::Read(_) => return Err(internal("a route that is no write")),
    };
    let name = id_of_segment("name", segment)?;
    decide(call, head, body, |body, who, key| parse(&name, body, who, key)).await
}

/// Answers a read.
///
/// # Errors
/// The problem to answer instead.
pub(super) async fn read(call: &Call, route: LeaseRoute<'_>, head: &Parts) -> Result<Answered, Problem> {
    let query = head.uri.query().unwrap_or("");
    match route {
        LeaseRoute::List => {
            let NamesQuery { limit, after } = NamesQuery::parse(query)?;
            found(call, head, LeaseQuery::Leases { after, limit }, |found, out| {
                let LeaseFound::Leases(page) = found else { return false };
                let next = page.items.last().filter(|_| page.has_more).map(|lease| &*lease.name);
                write_leases(out, &page.items, next);
                true
            })
            .await
        }
        LeaseRoute::Read(segment) => {
            let name = id_of_segment("name", segment)?;
            no_query(query)?;
            found(call, head, LeaseQuery::Lease { name: name.clone() }, |found, out| {
                let LeaseFound::Lease(lease) = found else { return false };
                write_lease(out, &name, lease.as_ref());
                true
            })
            .await
        }
        _ => Err(internal("a route that is no read")),
    }
}

/// Asks, and answers with what `write` writes of what was found.
async fn found(
    call: &Call,
    head: &Parts,
    query: LeaseQuery,
    write: impl FnOnce(&LeaseFound, &mut Vec<u8>) -> bool,
) -> Result<Answered, Problem> {
    let fresh = Fresh::of(call, &head.headers)?;
    let reply = call.app.read(fresh.level, fresh.deadline_us, Query::Leases(query)).await?;
    answer(call, reply, "", |found| {
        let mut out = Vec::with_capacity(512);
        match found {
            Found::Leases(found) if write(&found, &mut out) => Ok(out),
            _ => Err(internal("another kind of thing was found")),
        }
    })
}
