//! The one reading of the clock in this crate: monotonic, and counted from one origin, so that cores take plain durations.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How long this process has been making calls. Monotonic; means nothing elsewhere.
pub(crate) fn now() -> Duration {
    ORIGIN.elapsed()
}
