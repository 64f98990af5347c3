//! How suspicious a silence is, by phi accrual: slow is not dead. Numbers only, for calls and for nodes alike.
//!
//! Hayashibara et al., "The phi Accrual Failure Detector", 2004. Phi 1 means that a wait as long as this one is seen once in ten,
//! phi 8 once in a hundred million.

use std::collections::VecDeque;
use std::time::Duration;

const WAITS_MAX: usize = 128;
/// Fewer waits than this say nothing: phi is 0.
const WAITS_MIN: usize = 8;
/// A spread below this would take the first hiccup for a death.
const SPREAD_MIN_US: f64 = 100_000.0;

/// The newest waits for a sign of life.
#[derive(Clone, Default, Debug)]
pub struct Waits {
    waits_us: VecDeque<u64>,
    sum: u128,
    sum_of_squares: u128,
}

impl Waits {
    /// As if signs of life had come so far apart: what is expected of somebody nothing was heard of yet.
    pub fn expecting(wait: Duration) -> Self {
        let mut waits = Self::default();
        (0..WAITS_MIN).for_each(|_| waits.note(wait));
        waits
    }

    /// A sign of life came after that wait.
    pub fn note(&mut self, wait: Duration) {
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

    /// How suspicious a silence of that length is; 0 where too little is known.
    pub fn phi(&self, silence: Duration) -> f64 {
        if self.waits_us.len() < WAITS_MIN {
            return 0.0;
        }
        let count = self.waits_us.len() as f64;
        let mean = self.sum as f64 / count;
        let variance = (self.sum_of_squares as f64 / count - mean * mean).max(0.0);
        let spread = variance.sqrt().max(SPREAD_MIN_US);
        -log10_of_normal_tail((silence.as_micros() as f64 - mean) / spread)
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

    #[test]
    fn the_tail_of_the_normal_distribution() {
        for (y, chance) in [(0.0, 0.5), (1.0, 0.158_655), (2.0, 0.022_750), (3.0, 0.001_350)] {
            let log10: f64 = log10_of_normal_tail(y);
            assert!((10f64.powf(log10) - chance).abs() < 1.5e-4, "{y}");
        }
    }

    #[test]
    fn what_is_expected_stands_in_for_what_was_not_seen_yet() {
        let ms = Duration::from_millis;
        assert_eq!(Waits::default().phi(ms(60_000)), 0.0, "nothing is known");
        let waits = Waits::expecting(ms(300));
        assert!(waits.phi(ms(400)) < 1.0, "a hiccup");
        assert!(waits.phi(ms(1_000)) > 8.0, "a death");
    }
}
