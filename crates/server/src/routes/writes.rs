//! Writes: from a body to a command, from the cell's reply to an answer.

use cell::{Level, Query, ReadError, Reply};
use edge::{BodyError, Collected};
use http::HeaderMap;
use http::HeaderName;
use http::request::Parts;
use wire::headers::{self, Media};
use wire::path::id_of_segment;
use wire::{Code, Problem, request};
use words::Key;

use super::reads::problem_of_read;
use super::{calls, leases, operations, sagas, stream, topics};
use crate::call::{Call, IDEMPOTENCY_KEY, Payload, media_of};
use crate::respond::{Answered, of_reply};
use crate::route::{Route, RouteName};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// When to try again where other clients' bodies took all room: they are read within less, unless they are slow.
const NO_ROOM_RETRY_AFTER_MS: u64 = 1_000;

/// Answers a write.
///
/// # Errors
/// The problem to answer instead.
pub(crate) async fn write(
    call: &mut Call,
    route: Route<'_>,
    head: &Parts,
    body: &mut Payload,
) -> Result<Answered, Problem> {
    wire::query::no_query(head.uri.query().unwrap_or(""))?;
    if let Route::Settle(key) = route {
        return operations::settle(call, key, head, body).await;
    }
    if let Route::Topic(route) = route {
        return topics::write(call, route, head, body).await;
    }
    if let Route::Saga(route) = route {
        return sagas::write(call, route, head, body).await;
    }
    if let Route::Lease(route) = route {
        return leases::write(call, route, head, body).await;
    }
    let media = media_of(&head.headers, body)?;
    if media == Media::Ndjson {
        if route != Route::Transfer {
            let what = "is application/json here; a stream of transfers goes to /v1/transfers";
            return Err(Problem::field(Code::UnsupportedMediaType, "Content-Type", what));
        }
        call.route = RouteName::TransferStream;
        let Payload::Incoming(body) = std::mem::take(body) else {
            return Err(crate::respond::internal("a body that is gone"));
        };
        return stream::answer(call, head, body);
    }
    if route == Route::Call {
        return calls::make(call, head, body).await;
    }
    decide(call, head, body, |body, principal, key| command_of(route, body, principal, key)).await
}

/// A command, and why it must not be run if its key is new: what depends on this server's settings may have changed since
/// the key was first used, and the first answer stands.
pub(super) struct Judged {
    pub(super) command: Vec<u8>,
    pub(super) if_new: Option<Problem>,
}

/// Answers a write whose body is one command: `make` makes it of body, principal and key.
pub(super) async fn decide(
    call: &Call,
    head: &Parts,
    body: &mut Payload,
    make: impl FnOnce(&[u8], &str, &str) -> Result<Vec<u8>, Problem>,
) -> Result<Answered, Problem> {
    decide_judged(call, head, body, |body, principal, key| {
        make(body, principal, key).map(|command| Judged { command, if_new: None })
    })
    .await
}

/// The same for a write that this server's settings may forbid.
pub(super) async fn decide_judged(
    call: &Call,
    head: &Parts,
    body: &mut Payload,
    make: impl FnOnce(&[u8], &str, &str) -> Result<Judged, Problem>,
) -> Result<Answered, Problem> {
    let key = key_of(&head.headers)?;
    let deadline_us = call.deadline_us(&head.headers)?;
    call.check_in_time(deadline_us, key.as_str())?;
    let body = collect(call, body, deadline_us, key.as_str()).await?;
    let Judged { command, if_new } = make(body.as_deref().unwrap_or_default(), &call.principal, key.as_str())?;
    drop(body);
    if let Some(problem) = if_new
        && !is_known(call, key.as_str(), deadline_us).await?
    {
        return Err(problem);
    }
    // Items of a batch that were refused and not remembered are known by their place only.
    let items = (call.route == RouteName::Batch).then(|| command.clone());
    // Of slow work that it is accepted, durably, is all that is waited for; everything else is decided at once.
    let accepts = call.route.is_slow()
        && headers::prefers_async(head.headers.get_all(PREFER).iter().map(http::HeaderValue::as_bytes));
    let reply = match accepts {
        true => call.app.accept(command, deadline_us).await,
        false => call.app.write(command, deadline_us).await,
    };
    of_reply(&reply, key.as_str(), items.as_deref())
}

/// Whether the key was decided, or is in flight and then is. What follows finds it so, and answers as it was answered.
pub(super) async fn is_known(call: &Call, key: &str, deadline_us: u64) -> Result<bool, Problem> {
    // What is accepted is known, and not waited for; what is in flight may yet be refused, and then is not known.
    for wait_until_us in [None, Some(deadline_us)] {
        let principal = call.principal.to_string();
        let query = Query::Operation { principal, key: key.to_owned(), wait_until_us };
        match call.app.read(Level::Linearizable, deadline_us, query).await?.found {
            Ok(_) => return Ok(true),
            Err(ReadError::OperationUnknown) => {}
            Err(error) => return Err(problem_of_read(call, error, key)),
        }
    }
    Ok(false)
}

/// Refuses a body that is not JSON by its content type.
pub(super) fn json_only(head: &Parts, body: &Payload) -> Result<(), Problem> {
    match media_of(&head.headers, body)? {
        Media::Json => Ok(()),
        Media::Ndjson => Err(Problem::field(Code::UnsupportedMediaType, "Content-Type", "is application/json here")),
    }
}

/// The idempotency key in the headers.
pub(super) fn key_of(headers: &HeaderMap) -> Result<Key, Problem> {
    headers::idempotency_key(headers.get_all(IDEMPOTENCY_KEY).iter().map(http::HeaderValue::as_bytes))
}

/// The whole body, within the limits and the deadline.
pub(crate) async fn collect(
    call: &Call,
    body: &mut Payload,
    deadline_us: u64,
    key: &str,
) -> Result<Option<Collected>, Problem> {
    let limits = &call.app.limits;
    let (bytes_max, room) = (limits.body_bytes_max, &call.app.bodies);
    let collected = match body {
        Payload::Gone => return Ok(None),
        Payload::Whole(bytes) => edge::Collected::whole(std::mem::take(bytes), bytes_max, room),
        Payload::Incoming(body) => {
            let until = call.app.instant_of(deadline_us);
            edge::collect(body, bytes_max, room, limits.body_idle_timeout, until).await
        }
    };
    collected.map(Some).map_err(|error| problem_of_body(&error, key))
}

/// Why a body cannot be had, in the wire's words.
pub(crate) fn problem_of_body(error: &BodyError, key: &str) -> Problem {
    match error {
        BodyError::NoRoom => Problem::of(Code::Overloaded).with_retry_after_ms(NO_ROOM_RETRY_AFTER_MS),
        BodyError::TooLarge { .. } => Problem::new(Code::PayloadTooLarge, error.to_string()),
        BodyError::Late if key.is_empty() => Problem::of(Code::DeadlineExceeded),
        BodyError::Late => Problem::of(Code::DeadlineExceeded).with_operation(key),
        BodyError::Idle | BodyError::Broken(_) => Problem::new(Code::InvalidRequest, error.to_string()),
    }
}

fn command_of(route: Route<'_>, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    match route {
        Route::OpenAccount => request::parse_account(body, principal, key),
        Route::Transfer => request::parse_transfer(body, principal, key),
        Route::Batch => request::parse_batch(body, principal, key),
        Route::Capture(id) => request::parse_capture(&id_of_segment("id", id)?, body, principal, key),
        Route::Void(id) => request::parse_void(&id_of_segment("id", id)?, body, principal, key),
        Route::Reverse(id) => request::parse_reverse(&id_of_segment("id", id)?, body, principal, key),
        Route::Resolve(id) => request::parse_resolve(&id_of_segment("id", id)?, body, principal, key),
        _ => Err(crate::respond::internal("a route that is no write")),
    }
}

/// Whether the write was decided, for callers that go on from there.
pub(super) fn require_decided(reply: &Reply, key: &str) -> Result<(), Problem> {
    match reply {
        Reply::Decided(_) => Ok(()),
        Reply::Rejected(rejected) => Err(crate::respond::problem_of(*rejected, key)),
        Reply::Uncertain | Reply::Pending { .. } => Err(Problem::of(Code::OutcomeUnknown).with_operation(key)),
    }
}
