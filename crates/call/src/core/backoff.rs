//! How long to pause before a retry, and how long the receiver asked for: clients that failed together must not return
//! together.

use std::time::Duration;

use http::{HeaderMap, header};

/// The pause is drawn from `[0, (2^n - 1) x base)`, bounded by `cap`: exponential backoff with full jitter
/// (Brooker, "Exponential Backoff And Jitter", 2015).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// What one step is worth. Default 25 ms.
    pub base: Duration,
    /// The highest bound. Default 1 s.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_millis(25), cap: Duration::from_secs(1) }
    }
}

impl Backoff {
    /// The pause before retry `n` (from 1), given a random number in `[0, 1)`.
    pub fn pause(&self, n: u32, random: f64) -> Duration {
        self.pause_max(n).mul_f64(random.clamp(0.0, 1.0))
    }

    /// The bound of that pause.
    pub fn pause_max(&self, n: u32) -> Duration {
        let steps = (1u32 << n.min(31)) - 1;
        self.base.saturating_mul(steps).min(self.cap)
    }
}

/// What the receiver said about asking again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushback {
    /// Nothing.
    Silent,
    /// Not sooner than this.
    After(Duration),
    /// Not at all.
    Never,
}

/// Reads `Retry-After` and `grpc-retry-pushback-ms` (gRPC proposal A6).
pub fn pushback(headers: &HeaderMap) -> Pushback {
    if let Some(value) = headers.get("grpc-retry-pushback-ms") {
        // A6: what is negative or no number means "do not retry".
        let ms = value.to_str().ok().and_then(|text| text.trim().parse::<u32>().ok());
        return ms.map_or(Pushback::Never, |ms| Pushback::After(Duration::from_millis(ms.into())));
    }
    retry_after(headers).map_or(Pushback::Silent, Pushback::After)
}

/// Reads `Retry-After`: [`words::retry_after`].
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    words::retry_after(text(header::RETRY_AFTER)?, text(header::DATE), |then, sent| {
        let date = |text: &str| httpdate::parse_http_date(text).ok();
        Some(date(then)?.duration_since(date(sent)?).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn bounds_grow_to_the_cap() {
        let backoff = Backoff::default();
        let bounds: Vec<_> = (0..=7).map(|n| backoff.pause_max(n).as_millis()).collect();
        assert_eq!(bounds, [0, 25, 75, 175, 375, 775, 1000, 1000]);
        assert_eq!(backoff.pause_max(u32::MAX), backoff.cap);
        assert_eq!(backoff.pause(2, 0.0), Duration::ZERO);
        assert_eq!(backoff.pause(2, 0.5), Duration::from_micros(37_500));
    }

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], expected: Pushback) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        assert_eq!(pushback(&headers), expected, "{headers:?}");
    }

    #[test]
    fn what_the_receiver_asked_for() {
        let after = |ms| Pushback::After(Duration::from_millis(ms));
        check(&[], Pushback::Silent);
        check(&[("retry-after", "2")], after(2_000));
        check(&[("retry-after", "soon")], Pushback::Silent);
        check(&[("retry-after", "-1")], Pushback::Silent);
        check(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], Pushback::Silent);
        let (sent, then) = ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:05 GMT");
        check(&[("retry-after", then), ("date", sent)], after(5_000));
        check(&[("retry-after", sent), ("date", then)], after(0));
        // The two older forms of a date, and one that means a leap day.
        check(&[("retry-after", "Wednesday, 21-Oct-15 07:28:05 GMT"), ("date", sent)], after(5_000));
        check(&[("retry-after", "Wed Oct 21 07:28:05 2015"), ("date", sent)], after(5_000));
        check(
            &[("retry-after", "Thu, 29 Feb 2024 00:00:00 GMT"), ("date", "Wed, 28 Feb 2024 23:59:59 GMT")],
            after(1_000),
        );
        // A receiver whose clock is years off says the same.
        check(
            &[("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT"), ("date", "Thu, 01 Jan 1970 00:00:00 GMT")],
            after(60_000),
        );
        check(&[("retry-after", then), ("date", "just now")], Pushback::Silent);
        check(&[("retry-after", "Wed, 21 Oct 2015"), ("date", sent)], Pushback::Silent);
        check(&[("retry-after", ""), ("date", sent)], Pushback::Silent);
        // No longer than a day, however it is said.
        check(&[("retry-after", "Fri, 21 Oct 2016 07:28:00 GMT"), ("date", sent)], after(86_400_000));
        check(&[("retry-after", "86401")], after(86_400_000));
        check(&[("retry-after", "99999999999999999999")], after(86_400_000));
        check(&[("grpc-retry-pushback-ms", "15")], after(15));
        check(&[("grpc-retry-pushback-ms", "-1")], Pushback::Never);
        check(&[("grpc-retry-pushback-ms", "x"), ("retry-after", "2")], Pushback::Never);
    }
}
