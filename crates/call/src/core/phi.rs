//! Suspicion by phi accrual (Hayashibara et al., "The phi Accrual Failure Detector", 2004): slow is not dead.
//!
//! A receiver owes a sign of life only while a call is under way, so what is measured is waiting: from the moment
//! something was asked of an idle endpoint, or from its last sign of life, to the next one. Phi 1 means that a wait as long
//! as this one is seen once in ten, phi 8 once in a hundred million.

use std::collections::VecDeque;
use std::time::Duration;

const WAITS_MAX: usize = 128;
/// Fewer waits than this say nothing: phi is 0.
const WAITS_MIN: usize = 8;
/// A spread below this would take the first hiccup for a death.
const SPREAD_MIN_US: f64 = 100_000.0;

/// The waits of one endpoint.
#[derive(Default, Debug)]
pub struct Phi {
    waits_us: VecDeque<u64>,
    sum: u128,
    sum_of_squares: u128,
    outstanding: u32,
    waiting_since: Duration,
}

impl Phi {
    /// Something was asked.
    pub fn asked(&mut self, now: Duration) {
        if self.outstanding == 0 {
            self.waiting_since = now;
        }
        self.outstanding += 1;
    }

    /// A call ended; `alive` if by a sign of life, any answer at all.
    pub fn ended(&mut self, alive: bool, now: Duration) {
        if alive {
            self.note(now.saturating_sub(self.waiting_since));
            self.waiting_since = now;
        }
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// How suspicious the current wait is.
    pub fn phi(&self, now: Duration) -> f64 {
        if self.outstanding == 0 || self.waits_us.len() < WAITS_MIN {
            return 0.0;
        }
        let count = self.waits_us.len() as f64;
        let mean = self.sum as f64 / count;
        let variance = (self.sum_of_squares as f64 / count - mean * mean).max(0.0);
        let spread = variance.sqrt().max(SPREAD_MIN_US);
        let wait = now.saturating_sub(self.waiting_since).as_micros() as f64;
        -log10_of_normal_tail((wait - mean) / spread)
    }

    fn note(&mut self, wait: Duration) {
        // Bounded by an hour, so that no sum can overflow.
        let wait = wait.as_micros().min(3_600_000_000) as u64;
        if self.waits_us.len() == WAITS_MAX {
            let oldest = u128::from(self.waits_us.pop_front().unwrap_or_default());
            self.sum -= oldest;
            self.sum_of_squares -= oldest * oldest;
        }
        self.waits_us.push_back(wait);
        self.sum += u128::from(wait);
        self.sum_of_squares += u128::from(wait) * u128::from(wait);
    }
}

/// log10 of the chance that a standard normal value exceeds `y`, by the logistic approximation of Bowling et al. ("A
/// logistic approximation to the cumulative normal distribution", 2009), kept in logarithms so that no tail is too thin.
fn log10_of_normal_tail(y: f64) -> f64 {
    let exponent = y * (1.5976 + 0.070_565_992 * y * y);
    // 1 / (1 + e^x), for large x by its first term alone.
    let ln = if exponent > 30.0 { -exponent } else { -exponent.exp().ln_1p() };
    ln / std::f64::consts::LN_10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// After `count` calls of `each` ms, how suspicious is a wait of `wait` ms?
    fn phi_after(count: u64, each: u64, wait: u64) -> f64 {
        let mut phi = Phi::default();
        for call in 0..count {
            phi.asked(ms(call * 10_000));
            phi.ended(true, ms(call * 10_000 + each));
        }
        phi.asked(ms(1_000_000));
        phi.phi(ms(1_000_000 + wait))
    }

    #[test]
    fn slow_is_not_dead() {
        assert!(phi_after(100, 2_000, 2_000) < 1.0, "as slow as ever");
        assert!(phi_after(100, 5, 2_000) > 8.0, "two seconds from one that takes 5 ms");
        assert!(phi_after(100, 5, 50) < 1.0, "a hiccup");
        assert_eq!(phi_after(7, 5, 60_000), 0.0, "too little is known");
    }

    #[test]
    fn it_grows_with_the_wait_and_never_stops_being_a_number() {
        let steps: Vec<_> = (0..60).map(|seconds| phi_after(100, 5, seconds * 1_000)).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert!(phi_after(100, 5, 3_600_000).is_finite());
    }

    #[test]
    fn an_idle_endpoint_owes_nothing() {
        let mut phi = Phi::default();
        for call in 0..20 {
            phi.asked(ms(call * 100));
            phi.ended(true, ms(call * 100 + 5));
        }
        assert_eq!(phi.phi(ms(1_000_000)), 0.0);
    }

    #[test]
    fn the_tail_of_the_normal_distribution() {
        for (y, chance) in [(0.0, 0.5), (1.0, 0.158_655), (2.0, 0.022_750), (3.0, 0.001_350)] {
            let log10: f64 = log10_of_normal_tail(y);
            assert!((10f64.powf(log10) - chance).abs() < 1.5e-4, "{y}");
        }
    }
}
