//! Durable calls: what may be asked for, and what is uncertain of them.

use std::net::{IpAddr, SocketAddr};

use call::AddressPolicy;
use cell::{Found, Query, UncertainCall};
use http::request::Parts;
use machine::{Body, Record};
use outbox::{Probe, check_headers, check_url};
use wire::call::{write_uncertain, write_uncertain_page};
use wire::query::UncertainQuery;
use wire::request::Asked;
use wire::{Code, Problem};

use super::reads::{Fresh, answer};
use crate::call::Call;
use crate::respond::{Answered, internal};

/// Whether a call can be made as it is asked for. Which addresses may be called is known when a name is resolved.
pub(super) fn check(addresses: &dyn AddressPolicy, parent: &str, asked: Asked<'_>) -> Result<(), Problem> {
    let field = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
    match asked {
        Asked::Request { url, headers } => {
            let url = check_url(url).map_err(|error| Problem::field(Code::InvalidRequest, &field("url"), error))?;
            check_address(addresses, &field("url"), &url)?;
            check_headers(headers).map_err(|error| Problem::field(Code::InvalidRequest, &field("headers"), error))?;
        }
        Asked::Probe(json) => {
            let probe = Probe::parse(json).map_err(|error| Problem::field(Code::InvalidRequest, parent, error))?;
            let url =
                probe.url_of("key").map_err(|error| Problem::field(Code::InvalidRequest, &field("url"), error))?;
            check_address(addresses, &field("url"), &url)?;
        }
    }
    Ok(())
}

/// An address that is written down can be judged at once; a name is judged when it is resolved, each time anew.
pub(super) fn check_address(addresses: &dyn AddressPolicy, field: &str, url: &http::Uri) -> Result<(), Problem> {
    let host = url.host().unwrap_or_default();
    let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() else { return Ok(()) };
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let judged = addresses.check(host, SocketAddr::new(ip, port));
    judged.map_err(|why| Problem::field(Code::DestinationNotAllowed, field, why))
}

/// `GET /v1/uncertain`.
///
/// # Errors
/// The problem to answer instead.
pub(super) async fn uncertain(call: &Call, head: &Parts) -> Result<Answered, Problem> {
    let UncertainQuery { limit, after } = UncertainQuery::parse(head.uri.query().unwrap_or(""))?;
    let fresh = Fresh::of(call, &head.headers)?;
    let query = Query::Uncertain { after, limit };
    let reply = call.app.read(fresh.level, fresh.deadline_us, query).await?;
    let now = call.app.cell.status().stamp;
    answer(call, reply, "", |found| {
        let Found::Uncertain(calls) = found else { return Err(internal("another kind of thing was found")) };
        let last = calls.last().filter(|_| calls.len() == limit);
        let next = last.and_then(|last| Some(UncertainQuery::cursor((last.view.uncertain_since?, last.view.call))));
        let shown = calls.iter().map(Shown::of).collect::<Result<Vec<_>, _>>().map_err(internal)?;
        let mut out = Vec::with_capacity(64 + shown.len() * 512);
        write_uncertain_page(&mut out, shown, next.as_deref(), |out, shown| shown.write(out, now));
        Ok(out)
    })
}

/// An uncertain call, decoded.
struct Shown<'a> {
    call: &'a UncertainCall,
    record: Record<'a>,
    tried: Vec<Record<'a>>,
}

impl<'a> Shown<'a> {
    fn of(call: &'a UncertainCall) -> Result<Self, machine::Corrupt> {
        let tried = call.tried.iter().map(|record| Record::decode(record)).collect::<Result<_, _>>()?;
        Ok(Self { call, record: Record::decode(&call.accepted)?, tried })
    }

    fn write(&self, out: &mut Vec<u8>, now: words::Stamp) {
        let Body::CallAccepted(ref accepted) = self.record.body else { return };
        let tried = self.tried.iter().filter_map(|record| match record.body {
            Body::CallTried(tried) => Some((record.stamp, tried)),
            _ => None,
        });
        write_uncertain(out, &self.call.view, (self.record.principal, self.record.key, accepted), tried, now);
    }
}
