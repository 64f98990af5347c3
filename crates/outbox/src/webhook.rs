//! One attempt at a delivery: a signed webhook, and what its answer means.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use call::{Call, Client, Report, Turn};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use machine::{AttemptEnd, Body, Deliveries, Delivery, Record, TopicRecord};
use wire::event::EVENT_TYPE;
use wire::topic::write_record;
use wire::trace::{TraceContext, TraceParent, baggage, tracestate};
use words::{CellName, Key};

use crate::UnderWay;
use crate::attempt::{EVIDENCE_BYTES_MAX, retry_after_ms};
use crate::request::check_url;
use crate::secrets::WebhookSecrets;
use crate::turn::{self, Waited};

/// Tries in a row within one attempt, beyond the first: the receiver knows the message by its id.
const RETRIES_MAX: u32 = 2;

/// So long an attempt takes that had no turn, give or take half of it.
const UNASKED_MIN: Duration = Duration::from_secs(1);

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
    under_way: &UnderWay,
    target: &Target,
    delivery: &Delivery,
    deadline: Duration,
) -> AttemptEnd {
    let began = Instant::now();
    let call = || {
        let call = request_of(secrets, target, delivery, now_s())?;
        let deadline = deadline.saturating_sub(began.elapsed());
        Ok::<_, String>(Call { deadline, retries_max: RETRIES_MAX, ..call })
    };
    if delivery.attempts == 0 {
        return match call() {
            Ok(call) => end_of(&client.call(call).await),
            Err(why) => not_sent(&why),
        };
    }
    let url = match check_url(&target.url) {
        Ok(url) => url,
        Err(error) => return not_sent(&error),
    };
    let attempt = u32::try_from(delivery.attempts).unwrap_or(u32::MAX).saturating_add(1);
    let turn: Turn = match turn::wait(client, under_way, &url, attempt, deadline).await {
        Waited::Turn(turn) => turn,
        Waited::InVain => {
            keep_place(under_way, began).await;
            return AttemptEnd::Unasked;
        }
        Waited::Impossible(evidence) => return not_sent(&evidence),
    };
    // Signed with the time at which it is sent.
    let end = match call() {
        Ok(call) => end_of(&client.call_in_turn(call, &turn).await),
        Err(why) => {
            turn.give_back();
            return not_sent(&why);
        }
    };
    if matches!(end, AttemptEnd::Done | AttemptEnd::Gone { .. }) {
        turn.give_back();
    }
    end
}

/// Keeps the place of an attempt that had no turn until it took a while: the event is begun again as soon as it is free, and
/// where too many wait it is sent away at once.
async fn keep_place(under_way: &UnderWay, began: Instant) {
    let held = UNASKED_MIN.mul_f64(0.5 + fastrand::f64());
    let mut closing = under_way.closing();
    tokio::select! {
        () = tokio::time::sleep(held.saturating_sub(began.elapsed())) => {}
        // An error says that nobody can close it any more.
        Ok(_) = closing.wait_for(|closing| *closing) => {}
    }
}

fn not_sent(why: &dyn std::fmt::Display) -> AttemptEnd {
    failed(0, 0, &format!("nothing was sent: {why}"))
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use call::Settings;
    use machine::{EventRecord, Message};
    use words::{Fingerprint, Position, Stamp};

    use super::*;

    /// Answers everything with that status, and counts.
    fn receiver(status: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counted: Arc<AtomicUsize> = Arc::default();
        let shared = Arc::clone(&counted);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut request, mut part) = (stream.unwrap(), Vec::new(), [0; 4_096]);
                // One request for each connection; its body is not looked at.
                while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                    match stream.read(&mut part) {
                        Ok(0) | Err(_) => break,
                        Ok(length) => request.extend_from_slice(&part[..length]),
                    }
                }
                shared.fetch_add(1, Ordering::SeqCst);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        (address, counted)
    }

    fn delivery(attempts: u64) -> Delivery {
        let message = Message { kind: "made", data: "{}", ..Message::default() };
        let record = Record {
            position: Position { epoch: 1, index: 1 },
            stamp: Stamp::ZERO,
            principal: "p",
            key: "k",
            fingerprint: Fingerprint::of(b""),
            waited_us: 0,
            body: Body::Topic(TopicRecord::Published { topic: "orders", message }),
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let event = EventRecord { offset: 7, key: "".into(), record: bytes };
        Delivery { event, generation: 1, attempts, is_behind: false }
    }

    /// Attempts with that many before them, one after the other, each in so long.
    async fn ends(
        client: &Client,
        to: SocketAddr,
        attempts: impl Iterator<Item = u64>,
        each: Duration,
    ) -> Vec<AttemptEnd> {
        let directory = tempfile::tempdir().unwrap();
        let secrets = WebhookSecrets::open(directory.path().join("none.toml")).unwrap();
        let (cell, url) = (CellName::new("c").unwrap(), format!("http://{to}/hook").into());
        let target = Target { cell, number: 1, name: "mail".into(), url, secrets: Vec::new() };
        let mut ends = Vec::new();
        for attempts in attempts {
            ends.push(deliver(client, &secrets, &UnderWay::default(), &target, &delivery(attempts), each).await);
        }
        ends
    }

    fn counted(client: &Client) -> (u64, u64, u64) {
        let status = client.status().remove(0);
        (status.requests, status.retries, status.budget_refusals)
    }

    #[tokio::test]
    async fn a_redelivery_counts_as_a_retry_and_costs_nothing_if_it_arrives() {
        let (address, received) = receiver("200 OK");
        let client = Client::new(Settings::default()).unwrap();
        let patience = Duration::from_secs(20);
        assert_eq!(ends(&client, address, [0].into_iter(), patience).await, [AttemptEnd::Done]);
        assert_eq!(counted(&client), (1, 0, 0));
        let again = ends(&client, address, 1..=30, patience).await;
        assert!(again.iter().all(|end| *end == AttemptEnd::Done), "{again:?}");
        assert_eq!((counted(&client), received.load(Ordering::SeqCst)), ((1, 30, 0), 31));
    }

    #[tokio::test]
    async fn a_redelivery_without_a_turn_is_not_sent() {
        let (address, received) = receiver("500 Internal Server Error");
        let mut settings = Settings::default();
        settings.destination.breaker = None;
        let client = Client::new(settings).unwrap();
        let failed = ends(&client, address, 1..=10, Duration::from_secs(20)).await;
        assert!(failed.iter().all(|end| matches!(end, AttemptEnd::Failed { status: 500, .. })), "{failed:?}");
        let unasked = ends(&client, address, [1, 8].into_iter(), Duration::from_millis(2)).await;
        assert_eq!(unasked, [AttemptEnd::Unasked, AttemptEnd::Unasked]);
        assert_eq!(received.load(Ordering::SeqCst), 10);
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_is_not_begun_again_at_once() {
        let (address, received) = receiver("500 Internal Server Error");
        let mut settings = Settings::default();
        settings.destination.budget.floor_again = 0;
        let client = Client::new(settings).unwrap();
        let url = format!("http://{address}/hook").parse().unwrap();
        let mut waiters: Vec<_> = (0..1_000).map(|_| Box::pin(client.turn(&url, 1, Duration::from_secs(60)))).collect();
        for waiter in &mut waiters {
            tokio::select! {
                biased;
                _ = waiter => panic!("there is no room"),
                () = std::future::ready(()) => {}
            }
        }
        // As a courier does that has one event, which is parked.
        let patience = Duration::from_secs(20);
        let (began, mut begun) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(1) {
            assert_eq!(ends(&client, address, [8].into_iter(), patience).await, [AttemptEnd::Unasked]);
            begun += 1;
        }
        assert!((1..=2).contains(&begun), "{begun} in {:?}", began.elapsed());
        assert_eq!((counted(&client).2, received.load(Ordering::SeqCst)), (begun, 0));
        drop(waiters);
    }

    #[tokio::test]
    async fn nothing_is_held_once_the_server_closes() {
        let under_way = UnderWay::default();
        assert!(under_way.none_within(Duration::ZERO).await);
        let began = Instant::now();
        for _ in 0..20 {
            keep_place(&under_way, Instant::now()).await;
        }
        assert!(began.elapsed() < 20 * UNASKED_MIN / 2);
    }
}
