//! For how long a holder may believe in its lease: values in, values out.

use std::time::Duration;

use tokio::time::Instant;

/// Of a lease's time to live, so much is never used: one part in twenty.
///
/// The server's clock, by which leases expire, moves with that machine's monotonic clock and is drawn towards its wall
/// clock by at most 5% of the time that passes. So a lease of `ttl` lasts at least `ttl / 1.05`, which is 95.23% of it, by
/// the server's monotonic clock; the 0.23% that remain of the part are for two machines' oscillators, of which each is
/// within 500 ppm, the most that NTP corrects (`MAXFREQ` of RFC 5905): together 0.1%.
const UNUSED_PART: u32 = 20;

/// How much of a lease may be used, counted from before it was asked for, where work needs `stop_within` to stop.
pub(super) fn usable(ttl: Duration, stop_within: Duration) -> Duration {
    (ttl - ttl / UNUSED_PART).saturating_sub(stop_within)
}

/// A holder's belief in its lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Term {
    until: Instant,
    has_ended: bool,
}

impl Term {
    pub(super) const fn new(until: Instant) -> Self {
        Self { until, has_ended: false }
    }

    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// Whether it was found over before.
    pub(super) const fn is_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether it is over at `now`; once it was, it always is.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        self.has_ended |= now >= self.until;
        self.has_ended
    }

    /// Whatever remained of it, it is over.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// A renewal is known at `now`. One that is known too late changes nothing: somebody may have been told already.
    pub(super) fn extend(&mut self, now: Instant, until: Instant) {
        if !self.is_over(now) {
            self.until = self.until.max(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_the_lease_lasts_is_used() {
        for (ttl_ms, stop_ms, usable_ms) in [(10_000, 0, 9_500), (10_000, 500, 9_000), (1_000, 2_000, 0), (0, 0, 0)] {
            let found = usable(Duration::from_millis(ttl_ms), Duration::from_millis(stop_ms));
            assert_eq!(found, Duration::from_millis(usable_ms));
        }
        // A server whose clock gains all that it can, and oscillators that differ by all that they may.
        let ttl = Duration::from_secs(86_400);
        let shortest = ttl.as_secs_f64() / 1.05 * (1.0 - 1_000e-6);
        assert!(usable(ttl, Duration::ZERO).as_secs_f64() < shortest);
    }

    #[test]
    fn what_was_lost_stays_lost() {
        let begin = Instant::now();
        let after = |ms| begin + Duration::from_millis(ms);
        let mut term = Term::new(after(100));
        term.extend(after(99), after(300));
        assert!(!term.is_over(after(299)));
        term.extend(after(150), after(200));
        assert!(!term.is_over(after(299)), "a renewal takes nothing away");
        term.extend(after(300), after(900));
        assert!(term.is_over(after(301)), "known too late");
        let mut ended = Term::new(after(100));
        ended.end();
        ended.extend(after(1), after(900));
        assert!(ended.is_over(after(1)));
    }
}
