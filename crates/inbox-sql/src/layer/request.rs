//! What the headers of a request say to the inbox.

use std::time::Duration;

use http::HeaderMap;
use http::request::Parts;
use words::Deadline;

use super::database::{Call, Said};
use super::reply::Problem;
use crate::{Fence, Fingerprint, Key};

/// A request, as the inbox sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) call: Call,
    pub(super) remaining: Duration,
}

/// So much of the remaining time is left for the answer to reach the caller, who stops listening at the end of it.
const MARGIN: Duration = Duration::from_millis(50);

/// Reads the headers.
pub(super) fn read(headers: &HeaderMap) -> Result<Asked, Problem> {
    let remaining = remaining(headers)?;
    if let Some(subscription) = text(headers, "tertium-subscription")? {
        let partition = text(headers, "tertium-partition-key")?.ok_or(Problem::HeaderInvalid)?.to_owned();
        let offset = text(headers, "tertium-offset")?.and_then(number).ok_or(Problem::HeaderInvalid)?;
        let call = Call::Event { subscription: subscription.to_owned(), partition, offset };
        return Ok(Asked { call, remaining });
    }
    // A webhook of somebody else's names its delivery so, the same on each attempt (Standard Webhooks, 1.0).
    let key = match text(headers, "idempotency-key")? {
        Some(key) => Some(key),
        None => text(headers, "webhook-id")?,
    };
    let key = key_of(key.ok_or(Problem::KeyMissing)?)?;
    let fence = text(headers, "tertium-fence")?.map(fence).transpose()?;
    let call = match text(headers, "tertium-compensates")? {
        Some(step) => {
            let said = match text(headers, "tertium-compensates-outcome")? {
                Some("committed") => Said::Committed,
                Some("resolved") => Said::Resolved,
                _ => Said::Nothing,
            };
            Call::Compensation { key, fence, step: key_of(step)?, said }
        }
        None => Call::Step { key, fence },
    };
    Ok(Asked { call, remaining })
}

/// How long the caller still waits.
pub(super) fn remaining(headers: &HeaderMap) -> Result<Duration, Problem> {
    let deadline = text(headers, "x-request-deadline")?.map(Deadline::parse).transpose();
    Ok(deadline.map_err(|_| Problem::HeaderInvalid)?.unwrap_or_default().remaining())
}

/// How long a rival may be waited for.
pub(super) fn wait(remaining: Duration) -> Duration {
    remaining - MARGIN.min(remaining / 4)
}

/// Two requests with one key are the same if these are.
pub(super) fn fingerprint(parts: &Parts, body: &[u8]) -> Fingerprint {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    // Neither a method nor a path holds a line feed.
    Fingerprint::of(&[parts.method.as_str().as_bytes(), b"\n", path.as_bytes(), b"\n", body].concat())
}

/// One value; two of the same header are as bad as an unreadable one.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(Problem::HeaderInvalid),
    }
}

/// Bare, or a string of RFC 9651.
fn key_of(text: &str) -> Result<Key, Problem> {
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Key::new(bare).map_err(|_| Problem::KeyInvalid)
}

/// `<resource>;token=<u64>`
fn fence(text: &str) -> Result<Fence, Problem> {
    let (resource, token) = text.rsplit_once(";token=").ok_or(Problem::HeaderInvalid)?;
    match number(token) {
        Some(token) if !resource.is_empty() => Ok(Fence { resource: resource.to_owned(), token }),
        _ => Err(Problem::HeaderInvalid),
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], expected: Result<(Call, u64), Problem>) {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap()));
        // `collect` would keep only the last of two with one name.
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        let expected = expected.map(|(call, ms)| Asked { call, remaining: Duration::from_millis(ms) });
        assert_eq!(read(&map), expected);
    }

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn calls() {
        let step = |fence| Call::Step { key: key("k"), fence };
        let lease = |token| Some(Fence { resource: "a;b".into(), token });
        check(&[("idempotency-key", "k")], Ok((step(None), 10_000)));
        check(&[("idempotency-key", "\"k\""), ("x-request-deadline", "850ms")], Ok((step(None), 850)));
        check(&[("webhook-id", "k")], Ok((step(None), 10_000)));
        check(&[("idempotency-key", "k"), ("tertium-fence", "a;b;token=7")], Ok((step(lease(7)), 10_000)));
        let undo = |said| Call::Compensation { key: key("c"), fence: None, step: key("k"), said };
        let named = [("idempotency-key", "c"), ("tertium-compensates", "\"k\"")];
        check(&named, Ok((undo(Said::Nothing), 10_000)));
        let words = [("committed", Said::Committed), ("resolved", Said::Resolved), ("uncertain", Said::Nothing)];
        for (outcome, said) in words {
            check(&[named[0], named[1], ("tertium-compensates-outcome", outcome)], Ok((undo(said), 10_000)));
        }
        let event = Call::Event { subscription: "s".into(), partition: "p".into(), offset: 7 };
        let headers = [("tertium-subscription", "s"), ("tertium-partition-key", "p"), ("tertium-offset", "7")];
        check(&headers, Ok((event, 10_000)));
        check(&headers[..2], Err(Problem::HeaderInvalid));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        check(&[], Err(Problem::KeyMissing));
        check(&[("idempotency-key", "")], Err(Problem::KeyInvalid));
        check(&[("idempotency-key", "a b")], Err(Problem::KeyInvalid));
        check(&[("idempotency-key", "a"), ("idempotency-key", "b")], Err(Problem::HeaderInvalid));
        check(&[("idempotency-key", "k"), ("tertium-compensates", "")], Err(Problem::KeyInvalid));
        for fence in ["lease", "lease;token=", "lease;token=+1", ";token=1", "lease;token=18446744073709551616"] {
            check(&[("idempotency-key", "k"), ("tertium-fence", fence)], Err(Problem::HeaderInvalid));
        }
        check(&[("idempotency-key", "k"), ("x-request-deadline", "soon")], Err(Problem::HeaderInvalid));
    }

    #[test]
    fn some_of_the_time_is_left_for_the_answer() {
        for (remaining_ms, wait_ms) in [(0, 0), (100, 75), (200, 150), (1_000, 950), (10_000, 9_950)] {
            assert_eq!(wait(Duration::from_millis(remaining_ms)), Duration::from_millis(wait_ms));
        }
    }

    #[test]
    fn method_path_query_and_body_are_the_request() {
        let of = |method: &str, uri: &str, body: &[u8]| {
            let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
            fingerprint(&request.into_parts().0, body)
        };
        let one = of("POST", "/pay?a=1", b"x");
        assert_eq!(one, of("POST", "http://elsewhere/pay?a=1", b"x"));
        for other in [of("PUT", "/pay?a=1", b"x"), of("POST", "/pay?a=2", b"x"), of("POST", "/pay?a=1", b"y")] {
            assert_ne!(one, other);
        }
    }
}
