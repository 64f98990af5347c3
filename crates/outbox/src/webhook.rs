//! One attempt at a delivery: a signed webhook, and what its answer means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use call::{Call, Client, Report};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use machine::{AttemptEnd, Body, Deliveries, Delivery, Record, TopicRecord};
use wire::event::EVENT_TYPE;
use wire::topic::write_record;
use wire::trace::{TraceContext, TraceParent, baggage, tracestate};
use words::{CellName, Key};

use crate::attempt::{EVIDENCE_BYTES_MAX, retry_after_ms};
use crate::request::check_url;
use crate::secrets::WebhookSecrets;

/// Tries in a row within one attempt, beyond the first: the receiver knows the message by its id.
const RETRIES_MAX: u32 = 2;

/// How much of an answer is read, though only its status counts: a connection whose answer was read whole is used again.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Where deliveries go, and signed with what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) cell: CellName,
    pub(crate) number: u64,
    pub(crate) name: Box<str>,
    pub(crate) url: Box<str>,
    pub(crate) secrets: Vec<Box<str>>,
}

impl Target {
    pub(crate) fn of(cell: &CellName, number: u64, deliveries: &Deliveries) -> Self {
        let Deliveries { name, url, secrets, .. } = deliveries;
        Self { cell: cell.clone(), number, name: name.clone(), url: url.clone(), secrets: secrets.clone() }
    }
}

/// Makes the attempt.
pub(crate) async fn deliver(
    client: &Client,
    secrets: &WebhookSecrets,
    target: &Target,
    delivery: &Delivery,
    deadline: Duration,
) -> AttemptEnd {
    match request_of(secrets, target, delivery, now_s()) {
        Ok(call) => end_of(&client.call(Call { deadline, retries_max: RETRIES_MAX, ..call }).await),
        Err(why) => failed(0, 0, &format!("nothing was sent: {why}")),
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn request_of(
    secrets: &WebhookSecrets,
    target: &Target,
    delivery: &Delivery,
    timestamp_s: u64,
) -> Result<Call, String> {
    // Never unsigned because a secret is missing: the receiver would have to believe anybody.
    let find = |name| secrets.find(name).ok_or_else(|| format!("there is no secret called `{name}` on this server"));
    let secrets = target.secrets.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?;
    let event = &delivery.event;
    let mut body = Vec::with_capacity(event.record.len() + 256);
    if !write_record(&mut body, &target.cell, event.offset, &event.record) {
        return Err("its record is no event".to_owned());
    }
    let trace = trace_of(&event.record);
    let webhook = wire::webhook::Delivery {
        cell: &target.cell,
        subscription: &target.name,
        number: target.number,
        key: &event.key,
        offset: event.offset,
        trace: trace.as_ref(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_TYPE));
    for (name, value) in webhook.headers(&secrets, timestamp_s, &body) {
        let value = HeaderValue::try_from(value).map_err(|_| format!("`{name}` cannot be sent in a header"))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    let key = Key::new(&webhook.id()).map_err(|_| "its id cannot be sent in a header".to_owned())?;
    let url = check_url(&target.url).map_err(|error| error.to_string())?;
    let (body, key, answer_bytes_max) = (Bytes::from(body), Some(key), ANSWER_BYTES_MAX);
    Ok(Call { headers, body, key, answer_bytes_max, ..Call::new(Method::POST, url) })
}

/// The trace an event says that it is part of (CloudEvents, Distributed Tracing extension, and `baggage` likewise).
fn trace_of(record: &[u8]) -> Option<TraceContext> {
    let Ok(Record { body: Body::Topic(TopicRecord::Published { message, .. }), .. }) = Record::decode(record) else {
        return None;
    };
    if !message.attributes.contains("traceparent") {
        return None;
    }
    let attributes: serde_json::Value = serde_json::from_str(message.attributes).ok()?;
    let text = |name: &str| attributes.get(name)?.as_str().map(str::as_bytes);
    let parent = TraceParent::parse(text("traceparent")?)?;
    Some(TraceContext { parent, state: tracestate(text("tracestate")), baggage: baggage(text("baggage")) })
}

/// Only the status counts, whatever came with it.
fn end_of(report: &Report) -> AttemptEnd {
    let seen = report.attempts.last().map_or_else(|| report.verdict.to_string(), |last| last.evidence.to_string());
    match report.answer.as_ref() {
        Some(answer) if answer.status.is_success() => AttemptEnd::Done,
        Some(answer) if answer.status == StatusCode::GONE => AttemptEnd::Gone { evidence: seen.into() },
        Some(answer) => failed(answer.status.as_u16(), retry_after_ms(answer), &seen),
        None => failed(0, 0, &seen),
    }
}

fn failed(status: u16, retry_after_ms: u64, evidence: &str) -> AttemptEnd {
    let evidence = evidence[..evidence.floor_char_boundary(EVIDENCE_BYTES_MAX)].into();
    AttemptEnd::Failed { status, retry_after_ms, evidence }
}
