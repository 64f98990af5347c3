//! Durable calls: what is uncertain of them.

use cell::{Found, Query, UncertainCall};
use http::request::Parts;
use machine::{Body, Record};
use outbox::{Probe, check_url, secrets_in};
use wire::call::{write_uncertain, write_uncertain_page};
use wire::query::UncertainQuery;
use wire::request::{Asked, parse_call};
use wire::{Code, Problem};

use super::judge::Judge;
use super::reads::{Fresh, answer};
use super::writes::{Judged, decide_judged};
use crate::call::{Call, Payload};
use crate::respond::{Answered, internal};

/// `POST /v1/calls`.
///
/// # Errors
/// The problem to answer instead.
pub(super) async fn make(call: &Call, head: &Parts, body: &mut Payload) -> Result<Answered, Problem> {
    decide_judged(call, head, body, |body, principal, key| {
        let mut judge = Judge::new(call);
        let command = parse_call(body, principal, key, |parent, asked| check(&mut judge, parent, asked))?;
        call.app.traces.note(principal, key, call.trace.context(&head.headers));
        Ok(Judged { command, if_new: judge.against })
    })
    .await
}

/// Whether a call is one. What this server's settings have against it is noted.
fn check(judge: &mut Judge<'_>, parent: &str, asked: Asked<'_>) -> Result<(), Problem> {
    let field = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
    let wrong = |name: &str, error: &dyn std::fmt::Display| Problem::field(Code::InvalidRequest, &field(name), error);
    let (url, headers) = match asked {
        Asked::Request { url, headers } => {
            (check_url(url), secrets_in(headers).map_err(|error| wrong("headers", &error))?)
        }
        Asked::Probe(json) => {
            let probe = Probe::parse_with_secrets(json);
            let probe = probe.map_err(|error| Problem::field(Code::InvalidRequest, parent, error))?;
            (probe.url_of("key"), secrets_in(probe.headers()).map_err(|error| wrong("headers", &error))?)
        }
    };
    judge.address(&field("url"), &url.map_err(|error| wrong("url", &error))?);
    headers.iter().for_each(|name| judge.call_secret(&field("headers"), name));
    Ok(())
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
