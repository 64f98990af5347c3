//! The circuit breaker: an endpoint that fails half of what it is asked is left alone for a while.
//!
//! Ten buckets of one second with exact counts (Nygard, "Release It!"). Verbs in: [`Breaker::enter`], [`Breaker::record`];
//! what it decides comes back as values, and time is handed in.

use std::time::Duration;

use super::sign::Sign;

/// When it opens, and for how long.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BreakerSettings {
    /// Opens when failures reach this share of all samples, in percent. Default 50.
    pub failures_percent: u32,
    /// Never opens on fewer samples than this. Default 20.
    pub samples_min: u32,
    /// How long it stays open the first time; doubled each time the probe fails. Default 30 s.
    pub open: Duration,
    /// The longest it stays open. Default 10 min.
    pub open_max: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures_percent: 50,
            samples_min: 20,
            open: Duration::from_secs(30),
            open_max: Duration::from_secs(600),
        }
    }
}

/// What strangers may know of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// No call passes.
    Open,
    /// One call passes, as a probe; what becomes of it decides.
    HalfOpen,
}

impl BreakerState {
    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// What lets one call pass. It is handed back with how the call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Entries of an earlier reign say nothing about this one.
    reign: u64,
}

/// The breaker of one endpoint.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    buckets: [Bucket; BUCKETS],
    second: u64,
    state: State,
    /// One more with each change of state.
    reign: u64,
    /// How often it opened in a row, without a probe that went well between.
    openings: u32,
}

const BUCKETS: usize = 10;

#[derive(Clone, Copy, Default, Debug)]
struct Bucket {
    failures: u32,
    total: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open { until: Duration },
    Probing,
}

impl Breaker {
    /// A closed one.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, buckets: Default::default(), second: 0, state: State::Closed, reign: 0, openings: 0 }
    }

    /// Lets a call pass, or says until when none does. While a probe is under way that is not known: `None`.
    ///
    /// # Errors
    /// When to ask again.
    pub fn enter(&mut self, now: Duration) -> Result<Entry, Option<Duration>> {
        self.ready(now)?;
        if let State::Open { .. } = self.state {
            self.change(State::Probing);
        }
        Ok(Entry { reign: self.reign })
    }

    /// Whether [`Breaker::enter`] would let a call pass.
    ///
    /// # Errors
    /// When to ask again.
    pub fn ready(&self, now: Duration) -> Result<(), Option<Duration>> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until } if now >= until => Ok(()),
            State::Open { until } => Err(Some(until)),
            State::Probing => Err(None),
        }
    }

    /// What became of a call. Our own rejections never count, but end a probe without a verdict on the endpoint.
    pub fn record(&mut self, entry: Entry, sign: Sign, now: Duration) {
        if entry.reign != self.reign {
            return;
        }
        match (self.state, sign) {
            (State::Closed, Sign::None) => {}
            (State::Closed, sign) => self.count(sign, now),
            (State::Probing, Sign::Good) => self.close(),
            (State::Probing, Sign::None) => self.change(State::Open { until: now }),
            (State::Probing, Sign::Bad | Sign::Throttled) => self.open(now),
            (State::Open { .. }, _) => unreachable!("entering an open breaker starts a new reign"),
        }
    }

    /// Its state.
    pub fn state(&self, now: Duration) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open,
            State::Open { .. } | State::Probing => BreakerState::HalfOpen,
        }
    }

    fn count(&mut self, sign: Sign, now: Duration) {
        self.advance(now);
        let bucket = &mut self.buckets[self.second as usize % BUCKETS];
        bucket.total += 1;
        // 429 lowers the ratio; that it is no failure in a row is the ejector's affair.
        bucket.failures += u32::from(sign != Sign::Good);
        if sign == Sign::Good {
            return;
        }
        let (failures, total) = self
            .buckets
            .iter()
            .fold((0u64, 0u64), |(f, t), bucket| (f + u64::from(bucket.failures), t + u64::from(bucket.total)));
        let enough = total >= self.settings.samples_min.into();
        if enough && failures * 100 >= total * u64::from(self.settings.failures_percent) {
            self.open(now);
        }
    }

    fn advance(&mut self, now: Duration) {
        let second = now.as_secs();
        let passed = second.saturating_sub(self.second).min(BUCKETS as u64);
        for step in 1..=passed {
            self.buckets[(self.second + step) as usize % BUCKETS] = Bucket::default();
        }
        if passed == BUCKETS as u64 {
            self.buckets = Default::default();
        }
        self.second = self.second.max(second);
    }

    fn open(&mut self, now: Duration) {
        let factor = 1u32 << self.openings.min(16);
        let pause = self.settings.open.saturating_mul(factor).min(self.settings.open_max.max(self.settings.open));
        self.openings += 1;
        self.change(State::Open { until: now.saturating_add(pause) });
    }

    fn close(&mut self) {
        self.openings = 0;
        self.change(State::Closed);
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.reign += 1;
        self.buckets = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn feed(breaker: &mut Breaker, sign: Sign, times: usize, now: f64) {
        for _ in 0..times {
            let entry = breaker.enter(at(now)).expect("it is closed");
            breaker.record(entry, sign, at(now));
        }
    }

    /// Feeds (good, throttled, none, bad) in that order and looks at the state.
    #[track_caller]
    fn check(good: usize, throttled: usize, none: usize, bad: usize, expected: BreakerState) {
        let mut breaker = Breaker::new(BreakerSettings::default());
        for (sign, times) in [(Sign::Good, good), (Sign::Throttled, throttled), (Sign::None, none), (Sign::Bad, bad)] {
            feed(&mut breaker, sign, times, 100.0);
        }
        assert_eq!(breaker.state(at(100.0)), expected, "{good} good, {throttled} throttled, {none} none, {bad} bad");
    }

    #[test]
    fn when_it_opens() {
        use BreakerState::{Closed, Open};
        check(0, 0, 0, 19, Closed);
        check(0, 0, 0, 20, Open);
        check(11, 0, 0, 10, Closed);
        check(10, 0, 0, 9, Closed);
        check(10, 0, 0, 10, Open);
        check(0, 20, 0, 0, Open);
        check(10, 9, 0, 1, Open);
        check(0, 0, 1_000, 19, Closed);
        check(1_000, 0, 0, 999, Closed);
    }

    #[test]
    fn only_the_trailing_ten_seconds_count() {
        let mut breaker = Breaker::new(BreakerSettings::default());
        feed(&mut breaker, Sign::Bad, 19, 100.0);
        feed(&mut breaker, Sign::Good, 1, 109.9);
        feed(&mut breaker, Sign::Bad, 1, 110.0);
        assert_eq!(breaker.state(at(110.0)), BreakerState::Closed, "the first 19 are out of the window");
        feed(&mut breaker, Sign::Bad, 18, 118.9);
        assert_eq!(breaker.state(at(118.9)), BreakerState::Open, "1 good and 19 bad");
    }

    #[test]
    fn one_probe_then_longer() {
        let mut breaker = Breaker::new(BreakerSettings::default());
        feed(&mut breaker, Sign::Bad, 20, 0.0);
        assert_eq!(breaker.enter(at(29.9)), Err(Some(at(30.0))));
        let probe = breaker.enter(at(30.0)).unwrap();
        assert_eq!(breaker.enter(at(30.1)), Err(None), "one probe at a time");
        breaker.record(probe, Sign::Bad, at(31.0));
        assert_eq!(breaker.enter(at(90.9)), Err(Some(at(91.0))), "twice as long");
        let probe = breaker.enter(at(91.0)).unwrap();
        breaker.record(probe, Sign::None, at(91.0));
        let probe = breaker.enter(at(91.1)).expect("a probe that never left says nothing");
        breaker.record(probe, Sign::Good, at(91.2));
        assert_eq!(breaker.state(at(91.2)), BreakerState::Closed);
        feed(&mut breaker, Sign::Bad, 20, 92.0);
        assert_eq!(breaker.ready(at(92.0)), Err(Some(at(122.0))), "from the start again");
    }

    #[test]
    fn what_entered_before_it_opened_says_nothing_after() {
        let mut breaker = Breaker::new(BreakerSettings::default());
        let slow = breaker.enter(at(0.0)).unwrap();
        feed(&mut breaker, Sign::Bad, 20, 0.0);
        breaker.record(slow, Sign::Good, at(1.0));
        assert_eq!(breaker.state(at(1.0)), BreakerState::Open);
    }

    #[test]
    fn it_never_stays_open_longer_than_the_bound() {
        let mut breaker = Breaker::new(BreakerSettings::default());
        feed(&mut breaker, Sign::Bad, 20, 0.0);
        let mut now = 0.0;
        for _ in 0..40 {
            now += 600.0;
            let probe = breaker.enter(at(now)).expect("10 min at most");
            breaker.record(probe, Sign::Bad, at(now));
        }
    }
}
