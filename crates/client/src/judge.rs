//! What one response, or none, says of the operation, and what several say together.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::outcome::Problem;
use crate::transport::{LATE, Lost, Response};

/// What one attempt says.
#[derive(Debug)]
pub(crate) enum Judged {
    /// It happened.
    Committed(Response),
    /// The log decided against it, or never will decide for it: true of every attempt with this key.
    Refused(Problem, Response),
    /// This attempt did nothing. What an earlier one did, it does not say.
    TurnedAway { problem: Problem, again: Again },
    /// Nobody knows.
    Unknown { reason: String, again: Again },
}

/// Whether another attempt can end otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Again {
    /// No.
    Never,
    /// Yes, after this long at the earliest.
    After(Duration),
}

/// Refusals that stand for the key itself: remembered, or true whatever an earlier attempt did.
const DEFINITE: [&str; 17] = [
    "idempotency-key-reused",
    "operation-barred",
    "amount-invalid",
    "same-account",
    "account-not-found",
    "account-exists",
    "transfer-not-found",
    "unit-mismatch",
    "hold-closed",
    "exceeds-hold",
    "exceeds-posted",
    "overflow",
    "insufficient-funds",
    "batch-refused",
    "lease-held",
    "lease-lost",
    "lease-capacity-mismatch",
];

pub(crate) fn judge(sent: Result<Response, Lost>) -> Judged {
    let response = match sent {
        Ok(response) => response,
        Err(Lost::NotSent(reason)) => {
            let problem = Problem::own("unreachable", "The server cannot be reached", reason);
            return Judged::TurnedAway { problem, again: Again::After(Duration::ZERO) };
        }
        Err(Lost::Late) => {
            let problem = Problem::own("unreachable", "The server cannot be reached", LATE);
            return Judged::TurnedAway { problem, again: Again::Never };
        }
        Err(Lost::Perhaps(reason)) => return Judged::Unknown { reason, again: Again::After(Duration::ZERO) },
    };
    let pause = retry_after(&response.headers);
    match outcome_of(&response) {
        Some(words::Outcome::Committed) => Judged::Committed(response),
        Some(words::Outcome::Refused) => {
            let problem = problem_of(&response);
            if DEFINITE.contains(&problem.code.as_str()) {
                return Judged::Refused(problem, response);
            }
            Judged::TurnedAway { again: again(response.status, pause), problem }
        }
        Some(words::Outcome::Uncertain) => {
            let problem = problem_of(&response);
            Judged::Unknown { reason: problem.to_string(), again: Again::After(pause.unwrap_or_default()) }
        }
        None => judge_stranger(&response, pause),
    }
}

/// A response that names no outcome did not come from Tertium: a proxy's, a load balancer's.
fn judge_stranger(response: &Response, pause: Option<Duration>) -> Judged {
    let problem = problem_of(response);
    let again = again(response.status, pause);
    if response.status.is_client_error() && response.status != StatusCode::REQUEST_TIMEOUT {
        return Judged::TurnedAway { problem, again };
    }
    // A gateway's 5xx says nothing of what stands behind it, and a 2xx that names no outcome promises nothing.
    Judged::Unknown { reason: problem.to_string(), again: Again::After(pause.unwrap_or_default()) }
}

fn again(status: StatusCode, pause: Option<Duration>) -> Again {
    match status.as_u16() {
        // Not 504: the deadline has passed, and it is the same for every attempt.
        429 | 503 => Again::After(pause.unwrap_or_default()),
        _ => Again::Never,
    }
}

fn outcome_of(response: &Response) -> Option<words::Outcome> {
    let named = text(&response.headers, "tertium-outcome").and_then(words::Outcome::parse);
    named.or_else(|| {
        let problem: Problem = serde_json::from_slice(&response.body).ok()?;
        words::Outcome::parse(&problem.outcome).filter(|_| !response.status.is_success())
    })
}

/// The problem in the body, or one made of the status where there is none.
pub(crate) fn problem_of(response: &Response) -> Problem {
    match serde_json::from_slice::<Problem>(&response.body) {
        Ok(problem) if !problem.code.is_empty() => problem,
        _ => {
            let reason = response.status.canonical_reason().unwrap_or("no reason given");
            let code = format!("http-{}", response.status.as_u16());
            let mut problem =
                Problem::own(&code, reason, "the answer is not Tertium's: is something else listening there?");
            problem.status = response.status.as_u16();
            problem
        }
    }
}

/// Reads `Retry-After`, which something between here and the server may have put there: [`words::retry_after`].
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    words::retry_after(text(headers, "retry-after")?, text(headers, "date"), |then, sent| {
        let date = |text: &str| httpdate::parse_http_date(text).ok();
        Some(date(then)?.duration_since(date(sent)?).unwrap_or_default())
    })
}

/// A header, if it is there and is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a header says `true`.
pub(crate) fn flag(headers: &HeaderMap, name: &str) -> bool {
    text(headers, name) == Some("true")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_against_the_answers_own() {
        let (sent, then) = ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:05 GMT");
        for (asked, date, seconds) in [
            ("2", None, Some(2)),
            ("86401", None, Some(86_400)),
            (then, Some(sent), Some(5)),
            (sent, Some(then), Some(0)),
            ("Fri, 21 Oct 2016 07:28:00 GMT", Some(sent), Some(86_400)),
            (then, None, None),
            (then, Some("today"), None),
            ("soon", Some(sent), None),
        ] {
            let mut headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static(asked))]);
            headers.extend(date.map(|date| (http::header::DATE, HeaderValue::from_static(date))));
            assert_eq!(retry_after(&headers), seconds.map(Duration::from_secs), "{asked}, {date:?}");
        }
    }

    fn check(status: u16, outcome: Option<&'static str>, code: &str, expect: &str) {
        let mut headers = HeaderMap::new();
        if let Some(outcome) = outcome {
            headers.insert("tertium-outcome", HeaderValue::from_static(outcome));
        }
        headers.insert("retry-after", HeaderValue::from_static("2"));
        let body = if code.is_empty() { "<html>".to_owned() } else { format!(r#"{{"code":"{code}"}}"#) };
        let response = Response { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() };
        let judged = match judge(Ok(response)) {
            Judged::Committed(_) => "committed".to_owned(),
            Judged::Refused(problem, _) => format!("refused {}", problem.code),
            Judged::TurnedAway { problem, again } => format!("turned away {} {again:?}", problem.code),
            Judged::Unknown { again, .. } => format!("unknown {again:?}"),
        };
        assert_eq!(judged, expect, "{status} {outcome:?} {code}");
    }

    #[test]
    fn table() {
        check(201, Some("committed"), "", "committed");
        check(422, Some("refused"), "insufficient-funds", "refused insufficient-funds");
        check(422, Some("refused"), "idempotency-key-reused", "refused idempotency-key-reused");
        check(409, Some("refused"), "operation-barred", "refused operation-barred");
        // Says nothing of an earlier attempt, which may have happened before the key expired.
        check(409, Some("refused"), "key-expired", "turned away key-expired Never");
        check(401, Some("refused"), "unauthenticated", "turned away unauthenticated Never");
        check(503, Some("refused"), "overloaded", "turned away overloaded After(2s)");
        check(429, Some("refused"), "too-many-requests", "turned away too-many-requests After(2s)");
        check(504, Some("refused"), "deadline-exceeded", "turned away deadline-exceeded Never");
        check(504, Some("uncertain"), "outcome-unknown", "unknown After(2s)");
        check(500, Some("uncertain"), "internal", "unknown After(2s)");
        check(404, None, "", "turned away http-404 Never");
        check(502, None, "", "unknown After(2s)");
        check(503, None, "", "unknown After(2s)");
        check(408, None, "", "unknown After(2s)");
        check(200, None, "", "unknown After(2s)");
    }

    #[test]
    fn definite_refusals_are_codes_of_the_table() {
        let mut sorted = DEFINITE;
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
