//! Suspicion by phi accrual (Hayashibara et al., "The phi Accrual Failure Detector", 2004): slow is not dead.
//!
//! A receiver owes a sign of life only while a call is under way, so what is measured is waiting: from the moment
//! something was asked of an idle endpoint, or from its last sign of life, to the next one. Phi 1 means that a wait as long
//! as this one is seen once in ten, phi 8 once in a hundred million.

use std::time::Duration;

use suspicion::Waits;

/// The waits of one endpoint.
#[derive(Default, Debug)]
pub struct Phi {
    waits: Waits,
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
            self.waits.note(now.saturating_sub(self.waiting_since));
            self.waiting_since = now;
        }
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// How suspicious the current wait is.
    pub fn phi(&self, now: Duration) -> f64 {
        if self.outstanding == 0 {
            return 0.0;
        }
        self.waits.phi(now.saturating_sub(self.waiting_since))
    }
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
}
