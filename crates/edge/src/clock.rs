//! The monotonic clock of the gateway, as one number that fits an atomic.

use std::sync::OnceLock;
use std::time::Instant;

/// Microseconds since this process first asked, plus one: never 0, so that 0 can stand for "not".
pub fn now_us() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1
}
