//! The deadline: inherited, shrinking, monotonic inside, and over all attempts together. What has no time left is not
//! begun, since nobody would hear the answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use super::{Exchange, ask, exchange};
use crate::core::verdict::Evidence;
use crate::terms::{RETRIES_MAX, Terms};

/// Carries the remaining time, `250ms`.
pub const X_REQUEST_DEADLINE: HeaderName = HeaderName::from_static("x-request-deadline");
/// gRPC's own: up to 8 digits and a unit ("gRPC over HTTP2", Requests).
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The layer: gives a request without terms those of its headers, and turns away what cannot finish.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
    attempt_min: Duration,
}

/// The least time that an attempt is worth beginning with, by default: the headers count in milliseconds.
pub const ATTEMPT_MIN: Duration = Duration::from_millis(1);

impl<S: Exchange> Deadline<S> {
    /// Turns away what has less than `attempt_min` left.
    pub fn new(inner: S, attempt_min: Duration) -> Self {
        Self { inner, attempt_min }
    }

    async fn run(mut self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Evidence> {
        let now = Instant::now();
        if request.extensions().get::<Terms>().is_none()
            && let Some(until) = inherited(request.headers(), now)
        {
            request.extensions_mut().insert(Terms::new(until, RETRIES_MAX, false));
        }
        let terms = Terms::ensure(&mut request);
        if terms.remaining(now) < self.attempt_min {
            return Err(Evidence::DeadlinePassed);
        }
        ask(&mut self.inner, request).await
    }
}

exchange!(Deadline);

/// The instant that a request's headers mean, counted from its first header byte. `X-Request-Deadline` goes first, and of
/// the two the earlier one holds, an hour at most. An RFC 3339 instant is not read here: it is another machine's clock.
pub fn inherited(headers: &HeaderMap, first_byte: Instant) -> Option<Instant> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let own = text(X_REQUEST_DEADLINE).and_then(|text| words::Deadline::parse(text).ok()).map(|d| d.remaining());
    let grpc = text(GRPC_TIMEOUT).and_then(parse_grpc_timeout);
    let remaining = own.into_iter().chain(grpc).min()?.min(Duration::from_millis(words::DEADLINE_MS_MAX));
    Some(first_byte + remaining)
}

/// Writes what remains into both headers, rounded down: a hop may only ever see less than there is.
pub fn stamp(headers: &mut HeaderMap, remaining: Duration) {
    let ms = remaining.as_millis().min(words::DEADLINE_MS_MAX.into()) as u64;
    let value = |text: String| HeaderValue::from_str(&text).expect("digits and ASCII letters are a header value");
    headers.insert(X_REQUEST_DEADLINE, value(format!("{ms}ms")));
    headers.insert(GRPC_TIMEOUT, value(format!("{ms}m")));
}

// An hour in milliseconds has 7 digits, and gRPC allows 8.
const _: () = assert!(words::DEADLINE_MS_MAX <= 99_999_999);

fn parse_grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(own: &'static str, grpc: &'static str, expected_ms: Option<u64>) {
        let mut headers = HeaderMap::new();
        for (name, value) in [(X_REQUEST_DEADLINE, own), (GRPC_TIMEOUT, grpc)] {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        let first_byte = Instant::now();
        let found = inherited(&headers, first_byte).map(|until| (until - first_byte).as_millis() as u64);
        assert_eq!(found, expected_ms, "{own:?} {grpc:?}");
    }

    #[test]
    fn what_headers_mean() {
        check("", "", None);
        check("250ms", "", Some(250));
        check("2s", "100m", Some(100));
        check("", "1S", Some(1_000));
        check("", "2M", Some(120_000));
        check("", "1500000u", Some(1_500));
        check("", "99999999H", Some(words::DEADLINE_MS_MAX));
        check("", "123456789m", None);
        check("", "m", None);
        check("soon", "5", None);
        check("2026-01-01T00:00:00Z", "", None);
    }

    #[test]
    fn what_is_stamped_is_read_back_rounded_down() {
        let mut headers = HeaderMap::new();
        stamp(&mut headers, Duration::from_micros(1_999));
        assert_eq!(headers[X_REQUEST_DEADLINE], "1ms");
        assert_eq!(headers[GRPC_TIMEOUT], "1m");
        stamp(&mut headers, Duration::MAX);
        assert_eq!(headers[X_REQUEST_DEADLINE], "3600000ms");
    }
}
