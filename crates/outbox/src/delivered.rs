//! What attempts at deliveries came to, counted since the start, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use machine::AttemptEnd;

/// Upper bounds of the buckets of [`Delivered::took`], in milliseconds.
pub const DELIVERY_BOUNDS_MS: [u64; 10] = [1, 5, 10, 25, 50, 100, 250, 1_000, 5_000, 15_000];

/// Counts of this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct DeliveryCounts {
    shared: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
    gone: AtomicU64,
    took: [AtomicU64; DELIVERY_BOUNDS_MS.len() + 1],
    took_us: AtomicU64,
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// Attempts that the receiver took.
    pub delivered: u64,
    /// Attempts that failed, or were not made because nothing could be sent.
    pub failed: u64,
    /// Attempts that were answered 410.
    pub gone: u64,
    /// How many attempts took how long: up to each of [`DELIVERY_BOUNDS_MS`], and longer.
    pub took: [u64; DELIVERY_BOUNDS_MS.len() + 1],
    /// How long all of them took together, in microseconds.
    pub took_us: u64,
}

impl DeliveryCounts {
    pub(crate) fn count(&self, end: &AttemptEnd, took: Duration) {
        let counter = match end {
            // No attempt at all.
            AttemptEnd::Unasked => return,
            AttemptEnd::Done => &self.shared.delivered,
            AttemptEnd::Failed { .. } => &self.shared.failed,
            AttemptEnd::Gone { .. } => &self.shared.gone,
        };
        counter.fetch_add(1, Relaxed);
        let bucket = DELIVERY_BOUNDS_MS.iter().position(|ms| took <= Duration::from_millis(*ms));
        self.shared.took[bucket.unwrap_or(DELIVERY_BOUNDS_MS.len())].fetch_add(1, Relaxed);
        self.shared.took_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// What was counted so far.
    pub fn now(&self) -> Delivered {
        let counts = &*self.shared;
        Delivered {
            delivered: counts.delivered.load(Relaxed),
            failed: counts.failed.load(Relaxed),
            gone: counts.gone.load(Relaxed),
            took: std::array::from_fn(|bucket| counts.took[bucket].load(Relaxed)),
            took_us: counts.took_us.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_counts_once_in_its_outcome_and_its_bucket() {
        let counts = DeliveryCounts::default();
        let failed = AttemptEnd::Failed { status: 500, retry_after_ms: 0, evidence: "seen".into() };
        counts.count(&AttemptEnd::Done, Duration::from_millis(5));
        counts.count(&failed, Duration::from_micros(5_001));
        counts.count(&failed, Duration::from_secs(16));
        counts.count(&AttemptEnd::Gone { evidence: "seen".into() }, Duration::ZERO);
        let now = counts.now();
        assert_eq!((now.delivered, now.failed, now.gone), (1, 2, 1));
        assert_eq!(now.took, [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(now.took_us, 5_000 + 5_001 + 16_000_000);
    }
}
