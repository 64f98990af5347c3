//! Durable calls: what is uncertain of them.

use cell::{Found, Query, UncertainCall};
use http::request::Parts;
use machine::{Body, Record};
use wire::Problem;
use wire::call::{write_uncertain, write_uncertain_page};
use wire::query::UncertainQuery;

use super::reads::{Fresh, answer};
use crate::call::Call;
use crate::respond::{Answered, internal};

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
        let Found::Uncertain { calls, next } = found else { return Err(internal("another kind of thing was found")) };
        let next = next.map(UncertainQuery::cursor);
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
