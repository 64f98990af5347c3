//! What the layer answers by itself, and what it keeps of a handler's answer.

use axum::body::Body;
use axum::response::Response;
use http::response::Parts;
use http::{HeaderValue, StatusCode, header};

use super::database::Told;
use crate::Answer;

/// The headers that belong to the content, and are kept with it. What belongs to the connection or the day is made anew.
const KEPT_HEADERS: [header::HeaderName; 5] =
    [header::CONTENT_TYPE, header::CONTENT_LANGUAGE, header::CONTENT_ENCODING, header::LOCATION, header::ETAG];

/// The media type of a problem (RFC 9457, section 3).
const PROBLEM_JSON: &str = "application/problem+json";

const REPLAYED: &str = "idempotency-replayed";

/// Seconds after which it is worth asking again, where nobody can know better.
const RETRY_AFTER_S: &str = "1";

/// What is kept of a handler's run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    /// What it wrote, and its answer.
    All,
    /// Its answer.
    Answer,
    /// Nothing.
    Nothing,
}

/// By its status; see the table in the layer's documentation. A caller takes each 4xx but 425 for a final refusal, so each
/// has to be one, those too that a handler may not mean for ever (408, 429).
pub(super) fn kept(status: StatusCode, is_event: bool) -> Kept {
    match status {
        status if status.is_success() => Kept::All,
        StatusCode::TOO_EARLY => Kept::Nothing,
        status if status.is_client_error() && !is_event => Kept::Answer,
        _ => Kept::Nothing,
    }
}

/// The answer as it is kept.
pub(super) fn answer(parts: &Parts, body: &[u8]) -> Answer {
    let mut answer = Answer::new(parts.status.as_u16(), body);
    for name in &KEPT_HEADERS {
        for value in parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
            // A value that is no plain text is left out; the handler's own answer still has it.
            answer = answer.clone().with_header(name.as_str(), value).unwrap_or(answer);
        }
    }
    answer
}

/// The answer of a call that was not run.
pub(super) fn told(told: Told) -> Result<Response, Problem> {
    match told {
        Told::Again(answer) => replayed(&answer),
        Told::Barred => Err(Problem::Barred),
        Told::Reused => Err(Problem::Reused),
        Told::Stale => Err(Problem::Stale),
        Told::Seen => replayed(&Answer::new(204, Vec::new())),
        Told::First(answer) => built(&answer),
    }
}

/// The first answer again.
pub(super) fn replayed(answer: &Answer) -> Result<Response, Problem> {
    let mut response = built(answer)?;
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

fn built(answer: &Answer) -> Result<Response, Problem> {
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    // A row that another service wrote may hold a status that there is not.
    response.body(Body::from(answer.body().to_vec())).map_err(|_| Problem::Failed)
}

/// What the layer says by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Problem {
    KeyMissing,
    KeyInvalid,
    HeaderInvalid,
    BodyTooLarge,
    BodyBroken,
    Reused,
    Barred,
    Stale,
    StepUnknown,
    InFlight,
    DeadlineExceeded,
    OutcomeUnknown,
    Unavailable,
    Failed,
}

impl Problem {
    /// Status, code, and what the caller may conclude.
    fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::KeyMissing => (400, "idempotency-key-missing", "refused"),
            Self::KeyInvalid => (400, "idempotency-key-invalid", "refused"),
            Self::HeaderInvalid => (400, "header-invalid", "refused"),
            Self::BodyTooLarge => (413, "body-too-large", "refused"),
            Self::Reused => (422, "idempotency-key-reused", "refused"),
            Self::Barred => (409, "operation-barred", "refused"),
            Self::Stale => (409, "token-stale", "refused"),
            Self::StepUnknown => (409, "step-unknown", "refused"),
            Self::InFlight => (425, "in-flight", "uncertain"),
            Self::BodyBroken => (503, "body-broken", "uncertain"),
            Self::Unavailable => (503, "unavailable", "uncertain"),
            Self::DeadlineExceeded => (504, "deadline-exceeded", "uncertain"),
            Self::OutcomeUnknown => (504, "outcome-unknown", "uncertain"),
            Self::Failed => (500, "failed", "uncertain"),
        }
    }

    /// As RFC 9457 has it.
    fn body(self) -> String {
        let (status, code, outcome) = self.row();
        let title = code.replace('-', " ");
        format!(r#"{{"title":"{title}","status":{status},"code":"{code}","outcome":"{outcome}"}}"#)
    }

    /// The same as an answer that is kept.
    pub(super) fn answer(self) -> Answer {
        let answer = Answer::new(self.row().0, self.body());
        let named = answer.with_header(header::CONTENT_TYPE.as_str(), PROBLEM_JSON);
        named.expect("the name of a header, and a text without control characters")
    }

    /// The same as an answer that is not.
    pub(super) fn response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        let status = StatusCode::from_u16(self.row().0);
        *response.status_mut() = status.expect("the table holds only statuses that there are");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if matches!(self, Self::InFlight | Self::Unavailable) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_follows_from_the_status() {
        use Kept::{All, Answer, Nothing};
        for (status, of_call, of_event) in [
            (200, All, All),
            (204, All, All),
            (302, Nothing, Nothing),
            (400, Answer, Nothing),
            (408, Answer, Nothing),
            (409, Answer, Nothing),
            (425, Nothing, Nothing),
            (429, Answer, Nothing),
            (500, Nothing, Nothing),
            (503, Nothing, Nothing),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!((kept(status, false), kept(status, true)), (of_call, of_event), "{status}");
        }
    }

    #[test]
    fn a_status_says_what_the_outcome_says() {
        use Problem::*;
        for problem in [
            KeyMissing,
            KeyInvalid,
            HeaderInvalid,
            BodyTooLarge,
            BodyBroken,
            Reused,
            Barred,
            Stale,
            StepUnknown,
            InFlight,
            DeadlineExceeded,
            OutcomeUnknown,
            Unavailable,
            Failed,
        ] {
            let (status, _, outcome) = problem.row();
            assert_eq!(outcome == "refused", (400..500).contains(&status) && status != 425, "{problem:?}");
            assert_eq!(problem.response().status(), status);
        }
    }

    #[test]
    fn the_headers_of_the_content_come_back_and_no_others() {
        let first = Response::builder()
            .status(201)
            .header("content-type", "a/b")
            .header("location", "/c")
            .header("date", "today")
            .body(())
            .unwrap();
        let again = replayed(&answer(&first.into_parts().0, b"\0\xff")).unwrap();
        let headers: Vec<_> = again.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(again.status(), 201);
        assert_eq!(headers, [("content-type", &b"a/b"[..]), ("location", b"/c"), (REPLAYED, b"true")]);
    }
}
