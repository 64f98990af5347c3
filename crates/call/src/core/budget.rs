//! The retry budget: what keeps a receiver that is down from being asked twice as often as one that is up.
//!
//! Retries and hedges of the trailing 10 s never exceed a tenth of the first attempts of the same 10 s, counted, not
//! estimated. Time has ticks of 1 ms here. Where the window's edge cuts through a tick, that tick's retries count and its
//! first attempts do not, so that the bound holds for every finer clock too.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How far back is counted.
pub const WINDOW: Duration = Duration::from_secs(10);

const WINDOW_TICKS: u64 = WINDOW.as_millis() as u64;

/// What retries may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BudgetSettings {
    /// Retries and hedges in the trailing 10 s, in percent of first attempts in the same 10 s. Default 10.
    pub percent: u32,
    /// So many are allowed in any 10 s however few first attempts there are. Default 0.
    pub floor: u32,
    /// So many later attempts at what was tried before ([`Terms::again`](crate::Terms::again)) are allowed in any 10 s,
    /// however few first attempts there are: whom nobody calls any more can still be asked what became of a call. It adds
    /// nothing to what the percentage allows. Default 10, of the process 100.
    pub floor_again: u32,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { percent: 10, floor: 0, floor_again: 10 }
    }
}

/// A budget, shared by all calls to one destination, or of one process.
#[derive(Debug)]
pub struct Budget {
    settings: BudgetSettings,
    window: Mutex<Window>,
}

impl Budget {
    /// An empty one.
    pub fn new(settings: BudgetSettings) -> Self {
        Self { settings, window: Mutex::default() }
    }

    /// Notes a first attempt.
    pub fn first(&self, now: Duration) {
        self.lock().note(tick(now), 1, 0);
    }

    /// Withdraws one retry from both, or from neither. Withdrawn before the backoff, and never given back.
    pub fn withdraw(&self, above: &Self, now: Duration) -> bool {
        self.withdraw_above(above, now, |settings| settings.floor)
    }

    /// The same for a later attempt at what was tried before.
    pub fn withdraw_again(&self, above: &Self, now: Duration) -> bool {
        self.withdraw_above(above, now, |settings| settings.floor.max(settings.floor_again))
    }

    fn withdraw_above(&self, above: &Self, now: Duration, floor: fn(&BudgetSettings) -> u32) -> bool {
        // Always the narrower one first, so that two threads cannot wait for each other.
        let (mut own, mut all) = (self.lock(), above.lock());
        let granted = own.allows(self.settings.percent, floor(&self.settings), tick(now))
            && all.allows(above.settings.percent, floor(&above.settings), tick(now));
        if granted {
            own.note(tick(now), 0, 1);
            all.note(tick(now), 0, 1);
        }
        granted
    }

    /// Whether a retry would be granted now.
    pub fn has_room(&self, now: Duration) -> bool {
        self.lock().allows(self.settings.percent, self.settings.floor, tick(now))
    }

    /// First attempts, and retries and hedges, in the trailing 10 s.
    pub fn spent(&self, now: Duration) -> (u64, u64) {
        let mut window = self.lock();
        window.advance(tick(now));
        (window.firsts, window.retries)
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        // Each change is made whole before anything that could panic.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tick(now: Duration) -> u64 {
    now.as_millis() as u64
}

/// Ticks in which something happened, oldest first: at most 10,001, however many calls are made.
#[derive(Default, Debug)]
struct Window {
    ticks: VecDeque<Tick>,
    /// Of the ticks whose first attempts still count.
    firsts: u64,
    /// Of all ticks that are held.
    retries: u64,
    /// The first attempts of the front tick no longer count, its retries do.
    edge: bool,
    newest: u64,
}

#[derive(Debug)]
struct Tick {
    at: u64,
    firsts: u32,
    retries: u32,
}

impl Window {
    fn note(&mut self, at: u64, firsts: u32, retries: u32) {
        self.advance(at);
        self.firsts += u64::from(firsts);
        self.retries += u64::from(retries);
        match self.ticks.back_mut() {
            Some(last) if last.at == self.newest => {
                last.firsts += firsts;
                last.retries += retries;
            }
            _ => self.ticks.push_back(Tick { at: self.newest, firsts, retries }),
        }
    }

    fn allows(&mut self, percent: u32, floor: u32, at: u64) -> bool {
        self.advance(at);
        let share = self.firsts * u64::from(percent) / 100;
        self.retries < share.max(floor.into())
    }

    /// Readings of threads that overtook each other count as the newest one: the window never goes back.
    fn advance(&mut self, at: u64) {
        self.newest = self.newest.max(at);
        while let Some(front) = self.ticks.front() {
            let age = self.newest - front.at;
            if age < WINDOW_TICKS {
                break;
            }
            if !self.edge {
                self.firsts -= u64::from(front.firsts);
            }
            self.edge = age == WINDOW_TICKS;
            if self.edge {
                break;
            }
            self.retries -= u64::from(front.retries);
            self.ticks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// (microseconds since the one before, whether a first attempt)
    fn events() -> impl Strategy<Value = Vec<(u64, bool)>> {
        let gap = prop_oneof![
            4 => 0u64..3,
            3 => 0u64..200_000,
            2 => (0u64..12).prop_map(|s| s * 1_000_000),
            1 => (9_990u64..10_010).prop_map(|ms| ms * 1_000),
        ];
        proptest::collection::vec((gap, prop::bool::weighted(0.8)), 1..400)
    }

    struct Model {
        firsts: Vec<u64>,
        retries: Vec<u64>,
    }

    fn within(times: &[u64], from: u64, to: u64) -> u64 {
        times.iter().filter(|at| (from..=to).contains(*at)).count() as u64
    }

    fn check(events: &[(u64, bool)], settings: BudgetSettings) {
        let budget = Budget::new(settings);
        let process = Budget::new(BudgetSettings { percent: 100, floor: u32::MAX, floor_again: 0 });
        let mut model = Model { firsts: Vec::new(), retries: Vec::new() };
        // Past the first window, so that "10 s ago" exists.
        let mut now = 20_000_000;
        for (gap, first) in events {
            now += gap;
            if *first {
                budget.first(Duration::from_micros(now));
                model.firsts.push(now);
                continue;
            }
            let tick = now / 1_000;
            let firsts = within(&model.firsts, (tick - 9_999) * 1_000, now);
            let retries = within(&model.retries, (tick - 10_000) * 1_000, now);
            let expected = retries < (firsts * u64::from(settings.percent) / 100).max(settings.floor.into());
            let granted = budget.withdraw(&process, Duration::from_micros(now));
            assert_eq!(granted, expected, "at {now}: {firsts} firsts, {retries} retries");
            if granted {
                model.retries.push(now);
                let firsts = within(&model.firsts, now - 9_999_999, now);
                let retries = within(&model.retries, now - 9_999_999, now);
                let allowed = firsts * u64::from(settings.percent);
                assert!(retries * 100 <= allowed || retries <= settings.floor.into(), "over, to the microsecond");
            }
        }
    }

    proptest! {
        #[test]
        fn exact_against_a_model_and_never_over(events in events(), percent in 0u32..40, floor in 0u32..4) {
            check(&events, BudgetSettings { percent, floor, floor_again: 9 });
        }
    }

    #[test]
    fn a_tenth_and_no_floor() {
        let (budget, process) = (Budget::new(BudgetSettings::default()), Budget::new(BudgetSettings::default()));
        let now = Duration::from_secs(100);
        for first in 1..=30 {
            budget.first(now);
            process.first(now);
            assert_eq!(budget.withdraw(&process, now), first % 10 == 0, "after {first} first attempts");
        }
        assert_eq!(budget.spent(now), (30, 3));
        assert_eq!(budget.spent(now + Duration::from_secs(11)), (0, 0));
    }

    #[test]
    fn withdrawn_from_both_or_from_neither() {
        let generous = Budget::new(BudgetSettings { percent: 0, floor: 9, floor_again: 9 });
        let empty = Budget::new(BudgetSettings::default());
        assert!(!generous.withdraw(&empty, Duration::ZERO));
        assert!(!empty.withdraw(&generous, Duration::ZERO));
        assert_eq!(generous.spent(Duration::ZERO), (0, 0));
    }

    #[test]
    fn a_later_attempt_has_a_floor_that_adds_nothing_to_the_tenth() {
        for (firsts, expected) in [(0, 10), (10, 10), (99, 10), (100, 10), (110, 11), (1_000, 100)] {
            let (budget, process) = (Budget::new(BudgetSettings::default()), Budget::new(BudgetSettings::default()));
            let now = Duration::from_secs(100);
            for _ in 0..firsts {
                budget.first(now);
                process.first(now);
            }
            let granted = (0..200).filter(|_| budget.withdraw_again(&process, now)).count();
            assert_eq!(granted, expected, "after {firsts} first attempts");
            assert!(!budget.withdraw(&process, now), "what later attempts took is not there for retries");
            assert!(!budget.withdraw_again(&process, now + WINDOW), "to the last tick of the window");
            assert!(budget.withdraw_again(&process, now + WINDOW + Duration::from_millis(1)), "the next window");
        }
    }

    #[test]
    fn many_threads_get_no_more_than_one_would() {
        let (budget, process) = (Budget::new(BudgetSettings::default()), Budget::new(BudgetSettings::default()));
        for _ in 0..1_000 {
            budget.first(Duration::ZERO);
            process.first(Duration::ZERO);
        }
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..500).filter(|_| budget.withdraw(&process, Duration::ZERO)).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 100);
    }
}
