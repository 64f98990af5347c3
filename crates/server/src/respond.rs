//! How an answer becomes a response: the status, the body, and the headers of the contract.

use bytes::Bytes;
use cell::{Decided, Rejected, Reply};
use edge::Body;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use machine::{Command, Op, Record};
use tracing::{debug, warn};
use wire::{Answer, Code, Item, ItemVerdict, Problem};
use words::{Outcome, Position};

use crate::call::Call;

const TERTIUM_OUTCOME: HeaderName = HeaderName::from_static("tertium-outcome");
const TERTIUM_POSITION: HeaderName = HeaderName::from_static("tertium-position");
const TERTIUM_SESSION: HeaderName = HeaderName::from_static("tertium-session");
const TERTIUM_STALENESS: HeaderName = HeaderName::from_static("tertium-staleness-ms");
const TERTIUM_SERVED_BY: HeaderName = HeaderName::from_static("tertium-served-by");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const JOINED: HeaderName = HeaderName::from_static("idempotency-joined");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// An answer before it is a response.
#[derive(Debug)]
pub(crate) struct Answered {
    /// HTTP status.
    pub status: u16,
    /// Content type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Body,
    /// For `Tertium-Outcome`; reads have none.
    pub outcome: Option<Outcome>,
    /// For `Tertium-Position`.
    pub position: Option<Position>,
    /// What the client has now seen, for `Tertium-Session`.
    pub seen: Option<Position>,
    /// What only some answers have.
    pub extra: Extra,
}

/// What only some answers have.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// Decided earlier, under the same key.
    pub replayed: bool,
    /// Another request with this key was in flight.
    pub joined: bool,
    /// A read's staleness.
    pub staleness_ms: Option<u64>,
    /// When to come back.
    pub retry_after_ms: Option<u64>,
    /// The methods that the path takes.
    pub allow: Option<&'static [&'static str]>,
    /// Where to ask for what becomes of it.
    pub location: Option<String>,
    /// Why it is no success.
    pub code: Option<Code>,
    /// Another node's headers, where the answer is that node's.
    pub relayed: Option<Box<HeaderMap>>,
}

impl Answered {
    /// A success that is no write.
    pub(crate) fn page(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            content_type,
            body: Body::full(body),
            outcome: None,
            position: None,
            seen: None,
            extra: Extra::default(),
        }
    }

    /// An answer of the wire's making.
    pub(crate) fn of(answer: Answer) -> Self {
        Self {
            status: answer.status,
            content_type: answer.content_type,
            body: Body::full(answer.body),
            outcome: Some(answer.outcome),
            position: None,
            seen: None,
            extra: Extra { code: answer.code, ..Extra::default() },
        }
    }

    /// A problem.
    pub(crate) fn problem(problem: &Problem) -> Self {
        let mut answered = Self::of(problem.answer());
        answered.extra.retry_after_ms = problem.retry_after_ms();
        answered
    }
}

/// The answer to the write under `key` whose end the cell reported; `command` is the write, for the keys of its items.
///
/// # Errors
/// A problem where there is no decision, or it cannot be told.
pub(crate) fn of_reply(reply: &Reply, key: &str, command: Option<&[u8]>) -> Result<Answered, Problem> {
    match reply {
        Reply::Decided(decided) => of_decided(decided, key, command),
        Reply::Rejected(rejected) => Err(problem_of(*rejected, key)),
        Reply::Uncertain => Err(Problem::of(Code::OutcomeUnknown).with_operation(key)),
        Reply::Pending { seen, run: None } => Ok(Answered { seen: Some(*seen), ..pending(key) }),
        Reply::Pending { seen, run: Some(run) } => {
            let mut answered = Answered::of(wire::saga::run_pending(*run, key));
            answered.extra.location = Some(wire::path::run_path(*run));
            Ok(Answered { seen: Some(*seen), ..answered })
        }
    }
}

/// `202`, with where to ask: what becomes of it is not known yet.
fn pending(key: &str) -> Answered {
    let mut answered = Answered::of(wire::answer::pending(key));
    answered.extra.location = Some(wire::path::operation_path(key));
    answered
}

fn of_decided(decided: &Decided, key: &str, command: Option<&[u8]>) -> Result<Answered, Problem> {
    let answer = answer_of(&decided.answer, key, command)?;
    Ok(Answered {
        position: Some(decided.position),
        seen: Some(decided.seen),
        extra: Extra { replayed: decided.replayed, joined: decided.joined, code: answer.code, ..Extra::default() },
        ..Answered::of(answer)
    })
}

/// Renders a decision.
///
/// # Errors
/// `internal` where a record cannot be read.
pub(crate) fn answer_of(answer: &cell::Answer, key: &str, command: Option<&[u8]>) -> Result<Answer, Problem> {
    let mut parts = answer.parts();
    let first = parts.next().ok_or_else(|| internal("a decision without parts"))?;
    let record = match first {
        cell::Part::Refused(refusal) => return Ok(Problem::of_refusal(&refusal, key).answer()),
        cell::Part::Record { bytes, .. } => Record::decode(bytes).map_err(internal)?,
    };
    let mut keys = command.into_iter().flat_map(item_keys);
    let broken = Problem::of(Code::Internal);
    let items = parts.map(|part| item_of(part, keys.next().unwrap_or_default(), &broken));
    Ok(wire::answer_of(&record, items))
}

/// One part of a batch or stream as the wire knows it; `broken` stands in for a record that cannot be read.
pub(crate) fn item_of<'a>(part: cell::Part<'a>, key: &'a str, broken: &'a Problem) -> Item<'a> {
    match part {
        // What is kept with a batch only names its item.
        cell::Part::Refused(refusal) => {
            let key = if key.is_empty() { refusal.about } else { key };
            Item { key, verdict: ItemVerdict::Refused(refusal) }
        }
        cell::Part::Record { bytes, .. } => match Record::decode(bytes) {
            Ok(record) => Item { key: record.key, verdict: ItemVerdict::Decided(record) },
            Err(error) => {
                tracing::error!(%error, "a record cannot be read");
                Item { key, verdict: ItemVerdict::Problem(broken) }
            }
        },
    }
}

/// The keys of a batch's items, in order; none for what is no batch.
pub(crate) fn item_keys(command: &[u8]) -> impl Iterator<Item = &str> {
    let items = match Command::decode(command) {
        Ok(Command { op: Op::Batch { items, .. }, .. }) => Some(items),
        _ => None,
    };
    items.into_iter().flat_map(|items| items.iter()).map(|item| item.map_or("", |item| item.key))
}

/// Why a write was turned away, in the wire's words.
pub(crate) fn problem_of(rejected: Rejected, key: &str) -> Problem {
    match rejected {
        Rejected::Overloaded { retry_after_ms } => Problem::of(Code::Overloaded).with_retry_after_ms(retry_after_ms),
        Rejected::StorageFull => Problem::of(Code::StorageFull).with_retry_after_ms(1_000),
        Rejected::LogUnavailable => Problem::of(Code::LogUnavailable).with_retry_after_ms(1_000),
        Rejected::NotLeader => Problem::of(Code::NotLeader).with_retry_after_ms(1_000),
        Rejected::Stopping => Problem::of(Code::Stopping).with_retry_after_ms(1_000),
        Rejected::Malformed => internal("the cell does not understand a command that was made here"),
        Rejected::DeadlineExceeded => Problem::of(Code::DeadlineExceeded).with_operation(key),
        Rejected::TooLarge { max } => {
            Problem::new(Code::PayloadTooLarge, format!("The operation takes more than {max} bytes in the log."))
        }
    }
}

/// A fault of ours. The reason goes to the log and not to strangers.
pub(crate) fn internal(why: impl std::fmt::Display) -> Problem {
    tracing::error!(%why, "an answer cannot be given");
    Problem::of(Code::Internal)
}

impl Call {
    /// The response, counted and logged.
    pub(crate) fn respond(&self, answered: Answered) -> Response<Body> {
        let took_us = edge::now_us().saturating_sub(self.began_us);
        self.app.metrics.answered(self.route, answered.status, answered.outcome, took_us);
        if answered.status >= 400 {
            self.log(&answered, took_us);
        }
        let Answered { status, content_type, body, outcome, position, seen, mut extra } = answered;
        let mut response = Response::new(body);
        // Statuses come from the table of codes.
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(relayed) = extra.relayed.take() {
            *response.headers_mut() = *relayed;
            return response;
        }
        let headers = response.headers_mut();
        headers.reserve(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(outcome) = outcome {
            headers.insert(TERTIUM_OUTCOME, HeaderValue::from_static(outcome.as_str()));
        }
        self.put_texts(headers, position, seen);
        if let Some(staleness_ms) = extra.staleness_ms {
            headers.insert(TERTIUM_STALENESS, HeaderValue::from(staleness_ms));
            headers.insert(TERTIUM_SERVED_BY, self.app.node.clone());
        }
        put_extra(headers, &extra);
        response
    }

    /// The headers whose text is made for this answer, all in one allocation.
    fn put_texts(&self, headers: &mut HeaderMap, position: Option<Position>, seen: Option<Position>) {
        use std::io::Write;
        let mut text = Vec::with_capacity(160);
        self.trace.put_traceparent(&mut text);
        let traceparent_end = text.len();
        let cell = self.app.cell.cell();
        // Writing to a vector cannot fail.
        if let Some(position) = position {
            let _ = write!(text, "{cell}:{position}");
        }
        let position_end = text.len();
        if let Some(seen) = seen {
            let mut session = self.session.clone();
            session.observe(cell, seen);
            let _ = write!(text, "{session}");
        }
        let text = Bytes::from(text);
        let mut put = |name: HeaderName, range: std::ops::Range<usize>| {
            if let Ok(value) = HeaderValue::from_maybe_shared(text.slice(range)) {
                headers.insert(name, value);
            }
        };
        put(TRACEPARENT, 0..traceparent_end);
        if position.is_some() {
            put(TERTIUM_POSITION, traceparent_end..position_end);
        }
        if seen.is_some() {
            put(TERTIUM_SESSION, position_end..text.len());
        }
    }

    /// What was refused is of interest to who looks for it; what is uncertain or our fault to everyone.
    fn log(&self, answered: &Answered, took_us: u64) {
        let (status, route, trace) = (answered.status, self.route.as_str(), &self.trace);
        let code = answered.extra.code.map_or("", Code::as_str);
        if answered.outcome == Some(Outcome::Uncertain) || status == 500 {
            warn!(status, route, code, took_us, trace_id = %trace, "not answered as it should be");
        } else {
            debug!(status, route, code, took_us, trace_id = %trace, "refused");
        }
    }
}

fn put_extra(headers: &mut HeaderMap, extra: &Extra) {
    const TRUE: HeaderValue = HeaderValue::from_static("true");
    if extra.replayed {
        headers.insert(REPLAYED, TRUE);
    }
    if extra.joined {
        headers.insert(JOINED, TRUE);
    }
    if let Some(ms) = extra.retry_after_ms {
        headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000).max(1)));
    }
    if let Some(value) = extra.allow.and_then(|methods| HeaderValue::from_str(&methods.join(", ")).ok()) {
        headers.insert(ALLOW, value);
    }
    if let Some(value) = extra.location.as_ref().and_then(|path| HeaderValue::from_str(path).ok()) {
        headers.insert(LOCATION, value);
    }
    if extra.code == Some(Code::Unauthenticated) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
}
