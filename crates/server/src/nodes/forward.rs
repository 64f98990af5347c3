//! Writes that reach a follower: passed on to the leader, one hop, and its answer given back byte for byte.
//!
//! The caller's key, credential, session and trace go along, and what is left of its deadline. If this stops halfway the leader may have
//! the request or not: the verdict is the call layers', on evidence, and what is uncertain is told as that.

use std::time::Duration;

use bytes::Bytes;
use call::{Report, Verdict};
use cell::Promoted;
use edge::Body;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HOST, ORIGIN, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use log_postgres::NodeSeen;
use tokio::sync::oneshot;
use wire::headers::{self, Media};
use wire::path::id_of_segment;
use wire::{Code, Problem};
use words::{Key, Outcome};

use super::{HEARD_WITHIN_MS, Nodes};
use crate::call::{Call, IDEMPOTENCY_KEY, Payload, media_of};
use crate::respond::{Answered, internal};
use crate::route::Route;
use crate::routes::{self, collect};

/// Names the node that passed a request on. A request that has it is passed on no more.
const TERTIUM_FORWARDED: HeaderName = HeaderName::from_static("tertium-forwarded");
const X_REQUEST_DEADLINE: HeaderName = HeaderName::from_static("x-request-deadline");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const TERTIUM_SERVED_BY: HeaderName = HeaderName::from_static("tertium-served-by");
const TERTIUM_OUTCOME: &str = "tertium-outcome";

/// How often a follower looks whether somebody leads, while nobody does.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long it does, in microseconds: a hand-over takes less.
const LEADER_WAIT_US: u64 = 300_000;

/// What is kept of the deadline for the answer's way back, in microseconds.
const WAY_BACK_US: u64 = 5_000;

/// When to come back to a cell that nobody leads.
const RETRY_AFTER_MS: u64 = 1_000;

/// What a browser says of the page that asks. The node that it asked has judged it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A request on its way to the leader.
#[derive(Clone)]
struct Passed {
    body: Bytes,
    key: Option<Key>,
    deadline_us: u64,
}

/// Passes a write on.
///
/// # Errors
/// `not-leader` where it certainly did not happen, `outcome-unknown` where nobody knows, and what is wrong with the request.
pub(crate) async fn forward(
    call: &mut Call,
    nodes: &Nodes,
    route: Route<'_>,
    head: &Parts,
    body: &mut Payload,
) -> Result<Answered, Problem> {
    refuse_second_hop(nodes, head)?;
    if media_of(&head.headers, body).is_ok_and(|media| media == Media::Ndjson) {
        return Err(not_leader(nodes.leader().as_ref(), "A stream is not passed on."));
    }
    // A settle names its key in the path, and is the same however often it is asked for.
    let key = match route {
        Route::Settle(_) => None,
        _ => Some(headers::idempotency_key(head.headers.get_all(IDEMPOTENCY_KEY).iter().map(HeaderValue::as_bytes))?),
    };
    let deadline_us = call.deadline_us(&head.headers)?;
    let text = key.as_ref().map_or("", Key::as_str);
    call.check_in_time(deadline_us, text)?;
    let body = collect(call, body, deadline_us, text).await?;
    let body = body.as_deref().map(Bytes::copy_from_slice).unwrap_or_default();
    let until_us = deadline_us.min(call.app.cell.now_us() + LEADER_WAIT_US);
    let passed = Passed { body, key, deadline_us };
    loop {
        let leader = leader_until(call, nodes, until_us).await;
        if !nodes.follows() {
            // It took over meanwhile.
            let mut body = Payload::Whole(passed.body);
            return routes::write(call, route, head, &mut body).await;
        }
        let leader = leader.ok_or_else(|| not_leader(None, "Nobody is known to lead."))?;
        let answered = pass_on(call, nodes, &leader, head, passed.clone()).await?;
        // A leader that hands the lead over takes nothing more: what it turned away is certain not to have happened.
        if answered.extra.code != Some(Code::NotLeader) || call.app.cell.now_us() >= until_us {
            return Ok(answered);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Refuses a write over a way on which nothing is passed on.
///
/// # Errors
/// `not-leader` at a follower.
pub(crate) fn refuse_follower(nodes: Option<&Nodes>) -> Result<(), Problem> {
    match nodes.filter(|nodes| nodes.follows()) {
        Some(nodes) => Err(not_leader(nodes.leader().as_ref(), "This way nothing is passed on.")),
        None => Ok(()),
    }
}

/// Asks that a node lead.
///
/// # Errors
/// `invalid-request` for a node that is not there, `not-leader`, and what passing it on ends with.
pub(crate) async fn promote(call: &Call, segment: &str, head: &Parts) -> Result<Answered, Problem> {
    let Some(nodes) = call.app.nodes.clone() else {
        return Err(Problem::new(
            Code::InvalidRequest,
            "This server has its cell alone: there is nobody to hand it to.",
        ));
    };
    let to = id_of_segment("node", segment)?;
    let deadline_us = call.deadline_us(&head.headers)?;
    let is_me = to == nodes.shared.config.node;
    let heard = nodes.known().into_iter().find(|seen| seen.said.node == to).map(|seen| seen.ago_ms);
    if !is_me && heard.is_none_or(|ago_ms| ago_ms > HEARD_WITHIN_MS) {
        let heard = heard.map_or("never".to_owned(), |ago_ms| format!("{ago_ms} ms ago"));
        return Err(Problem::new(Code::InvalidRequest, format!("The node {to} was last heard of: {heard}.")));
    }
    let until_us = deadline_us.min(call.app.cell.now_us() + LEADER_WAIT_US);
    let leader = if nodes.follows() { leader_until(call, &nodes, until_us).await } else { None };
    if let Some(leader) = leader.filter(|leader| leader.ago_ms <= HEARD_WITHIN_MS) {
        refuse_second_hop(&nodes, head)?;
        let passed = Passed { body: Bytes::new(), key: None, deadline_us };
        match pass_on(call, &nodes, &leader, head, passed).await {
            // A leader that is not there can hand nothing over: the node itself may claim.
            Err(problem) if problem.code == Code::NotLeader && is_me => {}
            answer => return answer,
        }
    }
    let (sender, receiver) = oneshot::channel();
    call.app.cell.promote(&to, move |promoted| {
        // Whoever asked may have gone.
        let _ = sender.send(promoted);
    });
    let promoted = tokio::time::timeout_at(call.app.instant_of(deadline_us), receiver).await;
    let is_under_way = match promoted {
        Ok(Ok(Promoted::Asked)) => true,
        Ok(Ok(Promoted::Leads)) => false,
        Ok(Ok(Promoted::NotLeader)) => return Err(not_leader(None, "Nobody leads: ask the node that is to.")),
        Ok(Ok(Promoted::Failed)) => return Err(Problem::of(Code::Overloaded).with_retry_after_ms(RETRY_AFTER_MS)),
        Ok(Ok(Promoted::Alone)) => return Err(internal("a cell without turns among nodes")),
        Ok(Err(_)) => return Err(Problem::of(Code::Stopping)),
        Err(_) => return Err(Problem::of(Code::OutcomeUnknown)),
    };
    let mut out = Vec::with_capacity(64);
    wire::node::write_promoted(&mut out, &to, is_under_way);
    let mut answered = Answered::page(wire::answer::JSON_TYPE, out);
    answered.outcome = Some(Outcome::Committed);
    Ok(answered)
}

fn refuse_second_hop(nodes: &Nodes, head: &Parts) -> Result<(), Problem> {
    match head.headers.contains_key(TERTIUM_FORWARDED) {
        true => Err(not_leader(nodes.leader().as_ref(), "It was passed on once already.")),
        false => Ok(()),
    }
}

fn not_leader(leader: Option<&NodeSeen>, why: &str) -> Problem {
    let detail = match leader {
        Some(leader) => format!("{why} The leader is {} at {}.", leader.said.node, leader.said.advertise),
        None => why.to_owned(),
    };
    Problem::new(Code::NotLeader, detail).with_retry_after_ms(RETRY_AFTER_MS)
}

/// The other node that leads; where nobody does at the moment, the next one, if there is one by then and it is not this one.
async fn leader_until(call: &Call, nodes: &Nodes, until_us: u64) -> Option<NodeSeen> {
    loop {
        let leader = nodes.leader().filter(|leader| leader.said.node != nodes.shared.config.node);
        if leader.is_some() || !nodes.follows() || call.app.cell.now_us() >= until_us {
            return leader;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn pass_on(
    call: &Call,
    nodes: &Nodes,
    leader: &NodeSeen,
    head: &Parts,
    passed: Passed,
) -> Result<Answered, Problem> {
    let text = passed.key.as_ref().map(|key| key.as_str().to_owned()).unwrap_or_default();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}{path}", leader.said.advertise).parse().map_err(internal)?;
    let left_us = passed.deadline_us.saturating_sub(call.app.cell.now_us());
    // What would come back too late is not begun.
    let Some(deadline_us) = left_us.checked_sub(WAY_BACK_US).filter(|left_us| *left_us > 0) else {
        return Err(Problem::of(Code::DeadlineExceeded).with_operation(&text));
    };
    let request = call::Call {
        headers: headers_of(&head.headers, &nodes.shared.config.node),
        body: passed.body,
        key: passed.key,
        deadline: Duration::from_micros(deadline_us),
        // Whoever asks tries again, and knows how often it did.
        retries_max: 0,
        ..call::Call::new(Method::POST, url)
    };
    let request = call::Call { method: head.method.clone(), ..request };
    tokio::select! {
        // What is answered is known, whoever leads by then.
        biased;
        report = nodes.shared.client.call(request) => answer_of(report, leader, &text),
        // A leader that hangs would keep the caller for all its deadline, though another could answer.
        () = another_leads(nodes, leader) => Err(unknown(&text)),
    }
}

fn answer_of(report: Report, leader: &NodeSeen, key: &str) -> Result<Answered, Problem> {
    match (report.answer, report.verdict) {
        (Some(answer), _) if answer.cut.is_none() => Ok(relayed(answer, leader)),
        (None, Verdict::NotDone(evidence)) => {
            Err(not_leader(Some(leader), &format!("The leader was not reached: {evidence}.")))
        }
        _ => Err(unknown(key)),
    }
}

fn unknown(key: &str) -> Problem {
    let unknown = Problem::of(Code::OutcomeUnknown);
    if key.is_empty() { unknown } else { unknown.with_operation(key) }
}

/// Waits until another node leads than the one that was asked.
async fn another_leads(nodes: &Nodes, asked: &NodeSeen) {
    let is_newer = |leader: NodeSeen| leader.said.epoch > asked.said.epoch && leader.said.node != asked.said.node;
    while !nodes.leader().is_some_and(is_newer) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The leader's answer, as it came.
fn relayed(answer: call::Answer, leader: &NodeSeen) -> Answered {
    let mut headers = answer.headers;
    let of_that_hop = named_by_connection(&headers);
    let never = [CONNECTION, CONTENT_LENGTH, DATE, KEEP_ALIVE, TRANSFER_ENCODING, TRAILER, UPGRADE];
    for name in of_that_hop.into_iter().chain(never) {
        headers.remove(name);
    }
    if let Ok(value) = HeaderValue::from_str(&leader.said.node) {
        headers.entry(TERTIUM_SERVED_BY).or_insert(value);
    }
    let outcome = headers.get(TERTIUM_OUTCOME).and_then(|value| value.to_str().ok());
    let outcome = [Outcome::Committed, Outcome::Refused, Outcome::Uncertain]
        .into_iter()
        .find(|known| Some(known.as_str()) == outcome);
    let mut answered = Answered::page("", Bytes::new());
    answered.extra.code = is_not_leader(answer.status.as_u16(), outcome, &answer.body).then_some(Code::NotLeader);
    (answered.status, answered.body, answered.outcome) = (answer.status.as_u16(), Body::full(answer.body), outcome);
    answered.extra.relayed = Some(Box::new(headers));
    answered
}

/// Whether whoever answered refused because it did not lead, and so nothing happened.
fn is_not_leader(status: u16, outcome: Option<Outcome>, body: &[u8]) -> bool {
    status == Code::NotLeader.status()
        && outcome == Some(Outcome::Refused)
        && serde_json::from_slice::<serde_json::Value>(body)
            .is_ok_and(|problem| problem["code"] == Code::NotLeader.as_str())
}

/// What goes along: everything but what belongs to the connection, and what the call layers set themselves.
fn headers_of(headers: &HeaderMap, node: &str) -> HeaderMap {
    let of_this_hop = [
        CONNECTION,
        CONTENT_LENGTH,
        EXPECT,
        HOST,
        KEEP_ALIVE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        IDEMPOTENCY_KEY,
        ORIGIN,
        SEC_FETCH_SITE,
        X_REQUEST_DEADLINE,
    ];
    let mut along = headers.clone();
    for name in named_by_connection(headers).into_iter().chain(of_this_hop) {
        along.remove(name);
    }
    if let Ok(value) = HeaderValue::from_str(node) {
        along.insert(TERTIUM_FORWARDED, value);
    }
    along
}

/// What the connection's header names belongs to it, too (RFC 9110, section 7.6.1).
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_lead_says_so() {
        let body = Problem::of(Code::NotLeader).answer().body;
        let other = Problem::of(Code::Stopping).answer().body;
        for (status, outcome, body, expected) in [
            (503, Some(Outcome::Refused), &body[..], true),
            (503, None, &body, false),
            (500, Some(Outcome::Refused), &body, false),
            (503, Some(Outcome::Refused), &other, false),
            (503, Some(Outcome::Refused), b"", false),
        ] {
            assert_eq!(is_not_leader(status, outcome, body), expected, "{status} {outcome:?}");
        }
    }

    #[test]
    fn what_belongs_to_the_connection_stays() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer k"),
            ("connection", "close, x-of-this-hop"),
            ("content-type", "application/json"),
            ("host", "follower:1"),
            ("idempotency-key", "k"),
            ("origin", "http://follower:1"),
            ("sec-fetch-site", "same-origin"),
            ("tertium-session", "1.main:1:7"),
            ("x-of-this-hop", "1"),
            ("x-request-deadline", "2s"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let along = headers_of(&headers, "b");
        let mut names: Vec<_> = along.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "content-type", "tertium-forwarded", "tertium-session"]);
    }
}
