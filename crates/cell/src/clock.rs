//! The only reader of clocks turns two of them into one: steady like the monotonic clock, near the wall clock.
//!
//! A wall clock may jump at any moment (a person, NTP, a virtual machine that slept); the monotonic clock does not, but
//! knows no date. The estimate here starts at the wall's time, moves with the monotonic clock, and is drawn towards the
//! wall by at most 5% of the time that passed: after a jump of an hour holds do not expire an hour early, and after a
//! day of slow drift the stamps are still the wall's.

use words::{Clock, Stamp};

/// One reading of both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Microseconds of the monotonic clock since some fixed moment.
    pub mono_us: u64,
    /// Microseconds of the wall clock since 1970.
    pub wall_us: u64,
}

/// By how much of the elapsed time the estimate may be drawn towards the wall clock: one part in this.
const SLEW_PART: u64 = 20;

/// Gives out the cell's stamps.
#[derive(Clone, Debug)]
pub struct CellClock {
    stamps: Clock,
    estimate_us: u64,
    read_at_us: u64,
}

impl CellClock {
    /// A clock whose stamps continue after `last`. If the wall clock is behind that, time goes on from there all the same:
    /// else every timer would stand still until the wall clock has caught up.
    pub fn new(now: Now, last: Stamp) -> Self {
        let estimate_us = now.wall_us.max(last.micros());
        Self { stamps: Clock::after(last), estimate_us, read_at_us: now.mono_us }
    }

    /// A clock that goes on from what another's showed so long ago. The wall clock here only draws it, as it does one that runs: an
    /// hour by which it is wrong is not brought along by whoever takes over.
    pub fn resume(now: Now, last: Stamp, passed_us: u64) -> Self {
        let estimate_us = last.micros().saturating_add(passed_us);
        Self { stamps: Clock::after(last), estimate_us, read_at_us: now.mono_us }
    }

    /// The estimate of the wall time, in microseconds since 1970.
    pub fn wall_us(&mut self, now: Now) -> u64 {
        let elapsed = now.mono_us.saturating_sub(self.read_at_us);
        self.read_at_us = self.read_at_us.max(now.mono_us);
        let steady = self.estimate_us.saturating_add(elapsed);
        let slew_max = elapsed / SLEW_PART;
        self.estimate_us = if now.wall_us > steady {
            steady + (now.wall_us - steady).min(slew_max)
        } else {
            steady - (steady - now.wall_us).min(slew_max)
        };
        self.estimate_us
    }

    /// The stamp of an event, now.
    pub fn tick(&mut self, now: Now) -> Stamp {
        let wall_us = self.wall_us(now);
        self.stamps.tick(wall_us)
    }

    /// What a stamp given out now would be at least, without giving one out.
    pub fn peek(&mut self, now: Now) -> Stamp {
        Stamp::from_micros(self.wall_us(now)).max(self.stamps.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: u64 = 3_600_000_000;

    #[test]
    fn a_jump_of_the_wall_is_absorbed_slowly() {
        let start = 1_700_000_000_000_000;
        let mut clock = CellClock::new(Now { mono_us: 0, wall_us: start }, Stamp::ZERO);
        let after_jump = clock.wall_us(Now { mono_us: 1_000_000, wall_us: start + HOUR_US });
        assert_eq!(after_jump, start + 1_050_000, "one second and 5% of it");
        let back = clock.wall_us(Now { mono_us: 2_000_000, wall_us: start - HOUR_US });
        assert_eq!(back, start + 2_000_000, "and back, still moving forward");
    }

    #[test]
    fn a_wall_that_is_wrong_is_not_brought_along() {
        let start = 1_700_000_000_000_000;
        let last = Stamp::from_micros(start);
        for wall_us in [start - HOUR_US, start + HOUR_US] {
            let mut clock = CellClock::resume(Now { mono_us: 7_000_000, wall_us }, last, 2_000_000);
            let stamp = clock.tick(Now { mono_us: 8_000_000, wall_us });
            assert!(
                stamp.micros().abs_diff(start + 3_000_000) <= 50_000,
                "the 2 s that passed, and one more: {stamp:?}"
            );
        }
    }

    #[test]
    fn drift_is_followed() {
        let start = 1_700_000_000_000_000;
        let mut clock = CellClock::new(Now { mono_us: 0, wall_us: start }, Stamp::ZERO);
        for second in 1..=100u64 {
            let wall_us = start + second * 1_000_100;
            let estimate = clock.wall_us(Now { mono_us: second * 1_000_000, wall_us });
            assert!(estimate.abs_diff(wall_us) <= 100, "at second {second}");
        }
    }

    #[test]
    fn time_passes_even_if_the_clock_started_behind() {
        let start = 1_700_000_000_000_000;
        let last = Stamp::from_micros(start + HOUR_US);
        let mut clock = CellClock::new(Now { mono_us: 0, wall_us: start }, last);
        let stamp = clock.tick(Now { mono_us: 20_000_000, wall_us: start + 20_000_000 });
        assert_eq!(stamp.micros() - last.micros(), 19_000_000, "20 seconds less 5% of them");
    }

    #[test]
    fn stamps_grow_even_if_the_clock_started_behind() {
        let last = Stamp::from_micros(5_000_000);
        let mut clock = CellClock::new(Now { mono_us: 0, wall_us: 1_000_000 }, last);
        let first = clock.tick(Now { mono_us: 1, wall_us: 1_000_001 });
        let second = clock.tick(Now { mono_us: 2, wall_us: 1_000_002 });
        assert!(last < first && first < second);
    }
}
