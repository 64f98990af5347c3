//! A hybrid logical clock: near wall time, never against causality.
//!
//! After Kulkarni, Demirbas et al., "Logical Physical Clocks" (2014), packed into one integer: the upper 52 bits are
//! microseconds since 1970 (until the year 2112), the lower 12 a counter. A counter that overflows carries into the
//! microseconds, so that the next stamp is simply `max(last + 1, now)`.

use std::fmt;

/// How many of a stamp's low bits count events within one microsecond.
pub const STAMP_COUNTER_BITS: u32 = 12;

/// One reading of a cell's clock. Stamps of one log only ever grow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Stamp(u64);

impl Stamp {
    /// Before everything.
    pub const ZERO: Self = Self(0);
    /// After everything.
    pub const MAX: Self = Self(u64::MAX);

    /// The first stamp of a microsecond since 1970; saturates at the year 2112.
    pub const fn from_micros(micros: u64) -> Self {
        if micros > u64::MAX >> STAMP_COUNTER_BITS {
            return Self::MAX;
        }
        Self(micros << STAMP_COUNTER_BITS)
    }

    /// The stamp that `raw()` gave.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// All 64 bits, to be stored.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(self) -> u64 {
        self.0 >> STAMP_COUNTER_BITS
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(self) -> u64 {
        self.micros() / 1_000
    }

    /// The stamp `ms` later; saturates.
    pub const fn plus_ms(self, ms: u64) -> Self {
        self.plus_micros(ms.saturating_mul(1_000))
    }

    /// The stamp `micros` later; saturates.
    pub const fn plus_micros(self, micros: u64) -> Self {
        if micros > u64::MAX >> STAMP_COUNTER_BITS {
            return Self::MAX;
        }
        Self(self.0.saturating_add(micros << STAMP_COUNTER_BITS))
    }

    /// The stamp `ms` earlier; saturates at zero.
    pub const fn minus_ms(self, ms: u64) -> Self {
        self.minus_micros(ms.saturating_mul(1_000))
    }

    /// The stamp `micros` earlier; saturates at zero.
    pub const fn minus_micros(self, micros: u64) -> Self {
        if micros > u64::MAX >> STAMP_COUNTER_BITS {
            return Self::ZERO;
        }
        Self(self.0.saturating_sub(micros << STAMP_COUNTER_BITS))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us+{}", self.micros(), self.0 & ((1 << STAMP_COUNTER_BITS) - 1))
    }
}

/// Gives out stamps. It is told the wall time and never reads one itself.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    last: Stamp,
}

impl Clock {
    /// A clock that continues after `last`.
    pub const fn after(last: Stamp) -> Self {
        Self { last }
    }

    /// The stamp of an event here, now: above every stamp given out or seen, and not before `wall_micros`.
    pub fn tick(&mut self, wall_micros: u64) -> Stamp {
        let next = Stamp(self.last.0.saturating_add(1));
        self.last = next.max(Stamp::from_micros(wall_micros));
        self.last
    }

    /// Takes note of a stamp from elsewhere, so that what follows it here is above it.
    pub fn observe(&mut self, seen: Stamp) {
        self.last = self.last.max(seen);
    }

    /// The newest stamp given out or seen.
    pub const fn last(&self) -> Stamp {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However the wall clock jumps, stamps grow strictly.
        #[test]
        fn strictly_monotone_under_jumping_clocks(walls in prop::collection::vec(0u64..1 << 52, 1..200)) {
            let mut clock = Clock::default();
            let mut last = Stamp::ZERO;
            for wall in walls {
                let stamp = clock.tick(wall);
                prop_assert!(stamp > last);
                prop_assert!(stamp >= Stamp::from_micros(wall.min((1 << 52) - 1)));
                last = stamp;
            }
        }

        /// A message's receipt is stamped after its sending, whatever the two clocks' skew.
        #[test]
        fn causality_under_skew(
            events in prop::collection::vec((0usize..3, 0usize..3, 0u64..1_000), 1..200),
            skews in prop::array::uniform3(0u64..10_000_000),
        ) {
            let mut clocks = [Clock::default(), Clock::default(), Clock::default()];
            let mut true_time = 0;
            for (from, to, step) in events {
                true_time += step;
                let sent = clocks[from].tick(true_time + skews[from]);
                clocks[to].observe(sent);
                let received = clocks[to].tick(true_time + skews[to]);
                prop_assert!(received > sent);
            }
        }

        /// With honest clocks a stamp stays within the counter's reach of the wall time.
        #[test]
        fn near_wall_time(steps in prop::collection::vec(1u64..50, 1..200)) {
            let mut clock = Clock::default();
            let mut wall = 1_000_000;
            for step in steps {
                wall += step;
                prop_assert_eq!(clock.tick(wall).micros(), wall);
            }
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Stamp::from_micros(u64::MAX), Stamp::MAX);
        assert_eq!(Stamp::MAX.plus_ms(1), Stamp::MAX);
        assert_eq!(Stamp::ZERO.plus_ms(u64::MAX), Stamp::MAX);
        assert_eq!(Stamp::ZERO.minus_ms(1), Stamp::ZERO);
        assert_eq!(Stamp::from_micros(5_000).minus_ms(3).micros(), 2_000);
    }
}
