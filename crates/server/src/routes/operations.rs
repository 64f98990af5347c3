//! Operations: what became of a key, and making that definite.

use std::time::Duration;

use cell::{Found, Level, Query, Reply};
use http::request::Parts;
use machine::Record;
use wire::path::key_of_segment;
use wire::query::OperationQuery;
use wire::view::{Operation, write_operation};
use wire::{Code, Problem};

use super::reads::{Fresh, problem_of_read};
use super::writes::{collect, require_decided};
use crate::call::{Call, Payload};
use crate::respond::{Answered, answer_of, internal};

/// `POST /v1/operations/{key}/settle`.
///
/// # Errors
/// The problem to answer instead: the deadline passed, or the cell takes no work.
pub(super) async fn settle(call: &Call, segment: &str, head: &Parts, body: &mut Payload) -> Result<Answered, Problem> {
    let key = key_of_segment(segment)?;
    let key = key.as_str();
    let deadline_us = call.deadline_us(&head.headers)?;
    call.check_in_time(deadline_us, key)?;
    match collect(call, body, deadline_us, key).await?.as_deref().unwrap_or_default().trim_ascii() {
        b"" | b"{}" => {}
        _ => return Err(Problem::new(Code::InvalidRequest, "A settle takes no body: the key is in the path.")),
    }
    let reply = call.app.write(wire::request::settle(&call.principal, key), deadline_us).await;
    require_decided(&reply, key)?;
    let Reply::Decided(decided) = reply else { return Err(internal("a decision that is none")) };
    if let Some(cell::Part::Refused(refusal)) = decided.answer.first() {
        return Err(Problem::of_refusal(&refusal, key));
    }
    // The operation as everybody sees it: with its counts, and until when it is kept.
    let query = Query::Operation { principal: call.principal.to_string(), key: key.to_owned(), wait_until_us: None };
    // From here on the key is definite: that its answer cannot be read now must not sound as if nothing had happened.
    let unread = |_| Problem::of(Code::OutcomeUnknown).with_operation(key);
    let reply = call.app.read(Level::Session(decided.seen), deadline_us, query).await.map_err(unread)?;
    match reply.found {
        Ok(Found::Operation(operation)) => {
            let mut answered = render(call, key, &operation)?;
            answered.seen = Some(reply.position);
            answered.extra.joined = decided.joined;
            Ok(answered)
        }
        Ok(_) => Err(internal("another kind of thing was found")),
        Err(error) => Err(unread(problem_of_read(call, error, key))),
    }
}

/// `GET /v1/operations/{key}`.
///
/// # Errors
/// The problem to answer instead.
pub(super) async fn read(call: &Call, segment: &str, head: &Parts) -> Result<Answered, Problem> {
    let key = key_of_segment(segment)?;
    let key = key.as_str();
    let OperationQuery { wait_ms } = OperationQuery::parse(head.uri.query().unwrap_or(""))?;
    let fresh = Fresh::of(call, &head.headers)?;
    let wait_us = u64::try_from(Duration::from_millis(wait_ms).as_micros()).unwrap_or(u64::MAX);
    // Nobody waits longer than the deadline.
    let wait_until_us = (wait_ms > 0).then(|| (call.app.cell.now_us() + wait_us).min(fresh.deadline_us));
    let query = Query::Operation { principal: call.principal.to_string(), key: key.to_owned(), wait_until_us };
    let reply = call.app.read(fresh.level, fresh.deadline_us, query).await?;
    let mut answered = match reply.found {
        Ok(Found::Operation(operation)) => render(call, key, &operation)?,
        Ok(_) => return Err(internal("another kind of thing was found")),
        Err(error) => Answered::problem(&problem_of_read(call, error, key)),
    };
    // The read's own position: the operation's is in the body.
    answered.position = Some(reply.position);
    answered.seen = Some(reply.position);
    answered.extra.staleness_ms = Some(reply.staleness_ms);
    Ok(answered)
}

fn render(call: &Call, key: &str, operation: &cell::Operation) -> Result<Answered, Problem> {
    with_operation(call, key, operation, |view| {
        let mut out = Vec::with_capacity(320 + view.body.len());
        write_operation(&mut out, view);
        Answered {
            outcome: Some(view.outcome),
            position: view.position.map(|(_, position)| position),
            ..Answered::page(wire::answer::JSON_TYPE, out)
        }
    })
}

/// Shows an operation to `show` as the wire knows it.
///
/// # Errors
/// `internal` where its record cannot be read.
pub(crate) fn with_operation<T>(
    call: &Call,
    key: &str,
    operation: &cell::Operation,
    show: impl FnOnce(&Operation<'_>) -> T,
) -> Result<T, Problem> {
    let cell::Operation { answer, replays, joins, received_at, expires_at, .. } = operation;
    let Some(cell::Part::Record { bytes, .. }) = answer.first() else {
        return Err(internal("an operation without a record"));
    };
    let record = Record::decode(bytes).map_err(internal)?;
    let first = answer_of(answer, key, None)?;
    // What is accepted and not ended has no answer yet, and its key is kept for as long as that takes.
    let is_decided = !answer.is_pending().map_err(internal)?;
    Ok(show(&Operation {
        key,
        outcome: first.outcome,
        status: first.status,
        body: if is_decided { &first.body } else { b"" },
        position: Some((call.app.cell.cell(), record.position)),
        received: Some(*received_at),
        decided: is_decided.then_some(record.stamp),
        expires: is_decided.then_some(*expires_at),
        replays: *replays,
        joins: *joins,
    }))
}
