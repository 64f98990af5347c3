//! When to try again: full jitter between attempts, and a budget above them all.
//!
//! Full jitter after Brooker, "Exponential Backoff And Jitter" (AWS, 2015); the budget after Finagle's `RetryBudget`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How a client tries again.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RetryOptions {
    /// At most this many attempts after the first. Default 3; 0 = none.
    pub retries_max: u32,
    /// The bound of the first pause, doubled for each further one. Default 25 ms.
    pub backoff_base: Duration,
    /// The highest bound of a pause. Default 1 s.
    pub backoff_cap: Duration,
    /// Retries in the trailing 10 s, in percent of first attempts in the same 10 s. Default 10.
    pub budget_percent: u32,
    /// So many retries a second are allowed however few first attempts there are, so that a quiet client can try again
    /// at all. Default 1, which is 10 in any 10 s.
    pub budget_per_second_min: u32,
}

/// Of all clones of one client: what its retries may cost.
#[derive(Debug)]
pub(crate) struct Budget {
    percent: u64,
    free: u64,
    window: Mutex<Window>,
}

/// Counts by second, in a ring as long as the window.
#[derive(Debug)]
struct Window {
    start: Instant,
    second: u64,
    counts: [Counts; WINDOW_SECONDS],
}

#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    firsts: u64,
    retries: u64,
}

const WINDOW_SECONDS: usize = 10;

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            retries_max: 3,
            backoff_base: Duration::from_millis(25),
            backoff_cap: Duration::from_secs(1),
            budget_percent: 10,
            budget_per_second_min: 1,
        }
    }
}

impl RetryOptions {
    /// The pause before retry `n` (from 1): anything up to the bound, so that clients who failed together do not return
    /// together.
    pub(crate) fn pause(&self, n: u32) -> Duration {
        self.pause_max(n).mul_f64(fastrand::f64())
    }

    fn pause_max(&self, n: u32) -> Duration {
        let doublings = n.saturating_sub(1).min(20);
        self.backoff_base.saturating_mul(1 << doublings).min(self.backoff_cap)
    }
}

impl Budget {
    pub(crate) fn new(options: &RetryOptions, now: Instant) -> Self {
        Self {
            percent: u64::from(options.budget_percent),
            free: u64::from(options.budget_per_second_min) * WINDOW_SECONDS as u64,
            window: Mutex::new(Window { start: now, second: 0, counts: Default::default() }),
        }
    }

    /// Notes a first attempt.
    pub(crate) fn first(&self, now: Instant) {
        self.at(now, |window| window.current().firsts += 1);
    }

    /// Takes one retry, if there is one to take.
    pub(crate) fn take(&self, now: Instant) -> bool {
        self.at(now, |window| {
            let (firsts, retries) = window.sum();
            let allowed = (firsts * self.percent / 100).max(self.free);
            let granted = retries < allowed;
            window.current().retries += u64::from(granted);
            granted
        })
    }

    fn at<R>(&self, now: Instant, act: impl FnOnce(&mut Window) -> R) -> R {
        // The counts are whole after any panic: each change is one addition.
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.advance(now);
        act(&mut window)
    }
}

impl Window {
    fn advance(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.start).as_secs();
        for passed in (self.second + 1..=second).take(WINDOW_SECONDS) {
            self.counts[passed as usize % WINDOW_SECONDS] = Counts::default();
        }
        if second >= self.second + WINDOW_SECONDS as u64 {
            self.counts = Default::default();
        }
        self.second = self.second.max(second);
    }

    fn current(&mut self) -> &mut Counts {
        &mut self.counts[self.second as usize % WINDOW_SECONDS]
    }

    fn sum(&self) -> (u64, u64) {
        self.counts.iter().fold((0, 0), |(f, r), counts| (f + counts.firsts, r + counts.retries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(budget: &Budget, now: Instant, asked: usize) -> usize {
        (0..asked).filter(|_| budget.take(now)).count()
    }

    #[test]
    fn a_tenth_of_first_attempts_or_the_floor() {
        let start = Instant::now();
        let budget = Budget::new(&RetryOptions::default(), start);
        assert_eq!(granted(&budget, start, 100), 10, "the floor: 1 a second over 10 s");
        for _ in 0..200 {
            budget.first(start);
        }
        assert_eq!(granted(&budget, start, 100), 10, "a tenth of 200 less the 10 taken");
        let later = start + Duration::from_secs(9);
        assert_eq!(granted(&budget, later, 100), 0, "still in the window");
        let after = start + Duration::from_secs(10);
        assert_eq!(granted(&budget, after, 100), 10, "a new window, without first attempts");
        let long_after = start + Duration::from_secs(1_000_003);
        assert_eq!(granted(&budget, long_after, 100), 10);
    }

    #[test]
    fn no_floor_and_no_percent_is_no_retry() {
        let start = Instant::now();
        let options = RetryOptions { budget_percent: 0, budget_per_second_min: 0, ..RetryOptions::default() };
        let budget = Budget::new(&options, start);
        budget.first(start);
        assert_eq!(granted(&budget, start, 5), 0);
    }

    #[test]
    fn pauses_grow_to_the_cap_and_are_spread() {
        let options = RetryOptions::default();
        let bounds: Vec<_> = (1..=8).map(|n| options.pause_max(n).as_millis()).collect();
        assert_eq!(bounds, [25, 50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(options.pause_max(u32::MAX), options.backoff_cap);
        let pauses: Vec<_> = (0..200).map(|_| options.pause(7)).collect();
        assert!(pauses.iter().all(|pause| *pause <= options.backoff_cap));
        assert!(
            pauses.iter().any(|pause| pause.as_millis() < 300) && pauses.iter().any(|pause| pause.as_millis() > 700)
        );
    }
}
