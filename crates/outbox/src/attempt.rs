//! One attempt at a durable call: its request, and what its answer means.

use std::time::{Duration, Instant};

use call::{Call, Client, Evidence, Report, Turn, Verdict};
use http::{HeaderValue, Method, StatusCode, header};
use machine::{Body, CallAccepted, CallOrder, Finding, Op, Owner, Phase, Record, Tried, Undoes};
use wire::trace::TraceContext;
use words::{Key, Stamp};

use crate::UnderWay;
use crate::kept;
use crate::probe::Probe;
use crate::request::{self, RequestError};
use crate::secrets::CallSecrets;
use crate::traces::Traces;
use crate::turn::{self, Waited};

/// How much of a receiver's answer is kept.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// Names the call that this one undoes, by its key.
const COMPENSATES: &str = "tertium-compensates";
/// What is known of that call's outcome: what its receiver said, or a person.
const COMPENSATES_OUTCOME: &str = "tertium-compensates-outcome";
/// How much of the evidence is kept.
pub(crate) const EVIDENCE_BYTES_MAX: usize = 300;

/// What attempts are made with.
#[derive(Clone)]
pub(crate) struct With {
    pub(crate) client: Client,
    /// What may stand in headers; `None` = nothing.
    pub(crate) secrets: Option<CallSecrets>,
    pub(crate) traces: Traces,
    pub(crate) under_way: UnderWay,
}

/// What an attempt found out.
struct Found {
    finding: Finding,
    evidence: String,
    report: Option<Report>,
    /// Of the answer's headers those that are kept.
    kept: String,
}

/// Makes the attempt, and gives the command that tells what came of it.
pub(crate) async fn perform(
    with: &With,
    call: u64,
    attempt: u32,
    phase: Phase,
    deadline: Duration,
    accepted: &[u8],
) -> Vec<u8> {
    let found = match Record::decode(accepted) {
        Ok(Record { principal, key, body: Body::CallAccepted(body), .. }) => {
            ask(with, (attempt, phase), deadline, (principal, key), &body).await
        }
        Ok(_) | Err(_) => not_sent("the record of the call cannot be read"),
    };
    tell(call, attempt, &found)
}

fn unasked() -> Found {
    Found { finding: Finding::Unasked, evidence: String::new(), report: None, kept: String::new() }
}

fn not_sent(why: impl std::fmt::Display) -> Found {
    Found { finding: Finding::NotDone, evidence: format!("nothing was sent: {why}"), report: None, kept: String::new() }
}

async fn ask(
    with: &With,
    (attempt, phase): (u32, Phase),
    deadline: Duration,
    (principal, key): (&str, &str),
    accepted: &CallAccepted<'_>,
) -> Found {
    let order = &accepted.order;
    let secrets = with.secrets.as_ref();
    let probe = match (phase == Phase::Probe).then(|| Probe::parse_with_secrets(order.probe)).transpose() {
        Ok(probe) => probe,
        Err(error) => return not_sent(error),
    };
    let call = match phase {
        Phase::Call | Phase::Resend => call_of(accepted, key, secrets),
        Phase::Probe => probe.as_ref().map_or_else(|| Err(RequestError::Absent), |probe| probe_of(probe, key, secrets)),
        Phase::Compensate => compensation_of(order, key, secrets),
    };
    let call = match call.map(|call| traced(call, with.traces.of(principal, key))) {
        Ok(call) => Call { deadline, retries_max: order.tries_max.saturating_sub(1).min(3), ..call },
        Err(error) => return not_sent(error),
    };
    let (report, turn) = match asked(with, (attempt, phase), call).await {
        Ok(asked) => asked,
        Err(Unmade::NoTurn) => return unasked(),
        Err(Unmade::NotSent(evidence)) => return not_sent(evidence),
    };
    let finding = match (&probe, &report.answer) {
        (Some(probe), Some(answer)) => probe.finding(answer.status.as_u16(), &answer.body),
        // A probe that was not answered says nothing.
        (Some(_), None) => Finding::Uncertain,
        (None, Some(answer)) if phase == Phase::Resend && speaks_of_itself_only(answer.status) => Finding::Uncertain,
        (None, _) => finding_of(&report.verdict),
    };
    // What was seen last says more than what was made of it.
    let evidence = report.attempts.last().map_or_else(|| report.verdict.to_string(), |last| last.evidence.to_string());
    if let Some(turn) = turn
        && settles(finding, accepted.owner)
    {
        turn.give_back();
    }
    let kept = report.answer.as_ref().map(|answer| kept::headers(order.keep, &answer.headers)).unwrap_or_default();
    Found { finding, evidence, report: Some(report), kept }
}

/// Why nothing was asked.
enum Unmade {
    NoTurn,
    NotSent(Evidence),
}

/// Asks: whatever an attempt after the first asks, it is asked because of the one before, and so in its turn.
async fn asked(with: &With, (attempt, phase): (u32, Phase), call: Call) -> Result<(Report, Option<Turn>), Unmade> {
    if attempt <= 1 {
        return Ok((with.client.call(call).await, None));
    }
    let began = Instant::now();
    match turn::wait(&with.client, &with.under_way, &call.url, rank(attempt, phase), call.deadline).await {
        Waited::Turn(turn) => {
            let deadline = call.deadline.saturating_sub(began.elapsed());
            let report = with.client.call_in_turn(Call { deadline, ..call }, &turn).await;
            Ok((report, Some(turn)))
        }
        Waited::InVain => Err(Unmade::NoTurn),
        Waited::Impossible(evidence) => Err(Unmade::NotSent(evidence)),
    }
}

/// How often it was asked, as its place among those that wait has it. What is to be undone comes first: its attempts count on
/// from those at the call itself, and it is past the bound that all others still have before them.
const fn rank(attempt: u32, phase: Phase) -> u32 {
    if matches!(phase, Phase::Compensate) { 0 } else { attempt }
}

/// Whether that answer ends what it was about. A refusal does not end a step of a run: past the pivot the run asks again.
fn settles(finding: Finding, owner: Option<Owner>) -> bool {
    match finding {
        Finding::Committed => true,
        Finding::Refused => owner.is_none_or(|owner| owner.compensates),
        Finding::NotDone | Finding::StillAtIt | Finding::Uncertain | Finding::Unasked => false,
    }
}

/// Refusals of a request that say nothing about the one before it under the same key: who asks is not let in any more, or
/// its twin is in the way.
fn speaks_of_itself_only(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 407 | 409 | 413 | 414 | 421 | 431)
}

const fn finding_of(verdict: &Verdict) -> Finding {
    match verdict {
        Verdict::Committed => Finding::Committed,
        Verdict::Refused => Finding::Refused,
        Verdict::StillAtIt => Finding::StillAtIt,
        Verdict::NotDone(_) => Finding::NotDone,
        Verdict::Uncertain(_) => Finding::Uncertain,
    }
}

fn call_of(accepted: &CallAccepted<'_>, key: &str, secrets: Option<&CallSecrets>) -> Result<Call, RequestError> {
    let CallAccepted { order, undoes, .. } = accepted;
    let mut call = request::call_of(order.method, order.url, order.headers, order.body, secrets)?;
    if *undoes != Undoes::Nothing
        && let Some(step) = key.strip_suffix(machine::COMPENSATION_SUFFIX)
    {
        call.headers.insert(COMPENSATES, key_of(step).map(|step| call::key_value(&step))?);
        // An inbox forgets: that it does not know of the step does not mean that the step was not done.
        if let Some(outcome) = undoes.outcome() {
            call.headers.insert(COMPENSATES_OUTCOME, HeaderValue::from_static(outcome));
        }
    }
    call.key = Some(key_of(key)?);
    call.read = false;
    Ok(call)
}

fn probe_of(probe: &Probe, key: &str, secrets: Option<&CallSecrets>) -> Result<Call, RequestError> {
    let mut call = request::call_of("GET", &probe.url_for(key), &probe.headers, b"", secrets)?;
    call.method = Method::GET;
    call.read = true;
    Ok(call)
}

fn compensation_of(order: &CallOrder<'_>, key: &str, secrets: Option<&CallSecrets>) -> Result<Call, RequestError> {
    let request::Compensation { method, url, headers, body } = request::Compensation::parse(order.compensation)?;
    let mut call = request::call_of(&method, &url, &headers, body.as_bytes(), secrets)?;
    call.headers.insert(COMPENSATES, call::key_value(&key_of(key)?));
    call.key = Some(request::compensation_key(key));
    call.read = false;
    Ok(call)
}

fn key_of(key: &str) -> Result<Key, RequestError> {
    Key::new(key).map_err(|_| RequestError::Key)
}

/// With what the request of the call said of its trace, unless the call itself says something else.
fn traced(mut call: Call, context: TraceContext) -> Call {
    let has_trace = call.headers.contains_key("traceparent");
    for (name, value) in context.headers() {
        let is_of_trace = name != "baggage";
        // What the wire reads of a trace is ASCII, and can be sent.
        if let Ok(value) = HeaderValue::try_from(value)
            && !(is_of_trace && has_trace)
        {
            call.headers.entry(name).or_insert(value);
        }
    }
    call
}

/// The command that takes what was found into the log.
fn tell(call: u64, attempt: u32, found: &Found) -> Vec<u8> {
    let answer = found.report.as_ref().and_then(|report| report.answer.as_ref());
    let body = answer.map_or(&b""[..], |answer| &answer.body);
    let kept = &body[..body.len().min(KEPT_BYTES_MAX)];
    let content_type = answer.and_then(|answer| answer.headers.get(header::CONTENT_TYPE)?.to_str().ok());
    let evidence = &found.evidence[..found.evidence.floor_char_boundary(EVIDENCE_BYTES_MAX)];
    let tried = Tried {
        headers: &found.kept,
        call,
        attempt,
        finding: found.finding,
        evidence,
        tries: found.report.as_ref().map_or(0, |report| report.attempts.len() as u32),
        status: answer.map_or(0, |answer| answer.status.as_u16()),
        content_type: content_type.filter(|text| text.len() <= 200).unwrap_or_default(),
        body: kept,
        is_cut: kept.len() < body.len() || answer.is_some_and(|answer| answer.cut.is_some()),
        retry_after_ms: answer.map_or(0, retry_after_ms),
    };
    let mut command = Vec::with_capacity(128 + kept.len());
    machine::encode_head(&mut command, Stamp::MAX, "", "");
    Op::Tried(tried).encode(&mut command);
    command
}

/// `Retry-After` (RFC 9110, section 10.2.3); 0 = it says nothing.
pub(crate) fn retry_after_ms(answer: &call::Answer) -> u64 {
    let asked = call::core::backoff::retry_after(&answer.headers);
    asked.map_or(0, |asked| u64::try_from(asked.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_undone_comes_before_all_others() {
        assert_eq!(rank(300, Phase::Compensate), 0);
        assert!(rank(300, Phase::Compensate) < rank(2, Phase::Resend));
        assert!(rank(2, Phase::Probe) < rank(3, Phase::Resend), "who was asked less often");
    }

    #[track_caller]
    fn check(finding: Finding, compensates: Option<bool>, expected: bool) {
        let owner = compensates.map(|compensates| Owner { run: 1, step: 0, compensates });
        assert_eq!(settles(finding, owner), expected, "{finding:?} {owner:?}");
    }

    #[test]
    fn only_what_ends_what_it_was_about_costs_nothing() {
        for compensates in [None, Some(false), Some(true)] {
            check(Finding::Committed, compensates, true);
            for finding in [Finding::NotDone, Finding::StillAtIt, Finding::Uncertain, Finding::Unasked] {
                check(finding, compensates, false);
            }
        }
        check(Finding::Refused, None, true);
        check(Finding::Refused, Some(true), true);
        check(Finding::Refused, Some(false), false);
    }
}
