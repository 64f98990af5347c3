//! The retry budget: what keeps a receiver that is down from being asked twice as often as one that is up.
//!
//! Retries and hedges of the trailing 10 s never exceed a tenth of the first attempts of the same 10 s, counted, not
//! estimated. Time has ticks of 1 ms here. Where the window's edge cuts through a tick, that tick's retries count and its
//! first attempts do not, so that the bound holds for every finer clock too.
//!
//! What destinations take within their own tenths at one time is within the process's tenth too, since shares add up; over
//! time they do not, and a share may have to wait until what was taken before leaves the process's window, or take of its
//! floor. What a destination takes beyond its tenth, on its floor, is counted apart by the process: whoever is down and asked
//! on its floor takes nothing from whoever is within its tenth.

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
    /// however few first attempts there are: whom nobody calls any more can still be asked what became of a call. For one
    /// destination it adds nothing to what the percentage allows; for the process it bounds what all destinations take
    /// beyond their percentages. Default 10, of the process 100.
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

/// What a later attempt was granted, to be given back if it turns out to have been no burden.
#[must_use]
#[derive(Debug)]
pub struct Token {
    own: Taken,
    above: Taken,
}

impl Budget {
    /// An empty one.
    pub fn new(settings: BudgetSettings) -> Self {
        Self { settings, window: Mutex::default() }
    }

    /// Notes a first attempt.
    pub fn first(&self, now: Duration) {
        self.lock().first(tick(now));
    }

    /// Withdraws one retry from both, or from neither. Withdrawn before the backoff, and never given back.
    pub fn withdraw(&self, above: &Self, now: Duration) -> bool {
        self.withdraw_above(above, now, |settings| settings.floor).is_some()
    }

    /// The same for a later attempt at what was tried before.
    pub fn withdraw_again(&self, above: &Self, now: Duration) -> Option<Token> {
        self.withdraw_above(above, now, |settings| settings.floor.max(settings.floor_again))
    }

    fn withdraw_above(&self, above: &Self, now: Duration, floor: fn(&BudgetSettings) -> u32) -> Option<Token> {
        let at = tick(now);
        // Always the narrower one first, so that two threads cannot wait for each other.
        let (mut own, mut all) = (self.lock(), above.lock());
        let from = own.room_of_own(self.settings.percent, floor(&self.settings), at)?;
        let above_from = all.room_of_process(from, above.settings.percent, floor(&above.settings), at)?;
        Some(Token { own: own.take(from), above: all.take(above_from) })
    }

    /// Puts what was withdrawn back into both, as if it had never been. What has left the window has come back already.
    pub fn give_back(&self, above: &Self, token: Token) {
        let (mut own, mut all) = (self.lock(), above.lock());
        own.give_back(token.own);
        all.give_back(token.above);
    }

    /// When time alone may make room for a later attempt that found none; `now` if there is room by now, `None` if only further
    /// first attempts, or something given back, can.
    pub fn room_at(&self, above: &Self, now: Duration) -> Option<Duration> {
        let floor = |settings: &BudgetSettings| settings.floor.max(settings.floor_again);
        let at = tick(now);
        let mut own = self.lock();
        let from = own.room_of_own(self.settings.percent, floor(&self.settings), at);
        let oldest = if let Some(from) = from {
            let mut all = above.lock();
            if all.room_of_process(from, above.settings.percent, floor(&above.settings), at).is_some() {
                return Some(now);
            }
            // Whoever is on its floor has no use for a share.
            all.oldest(|tick| tick.floors + if from == Account::Share { tick.shares } else { 0 })
        } else {
            own.oldest(|tick| tick.shares + tick.floors)
        };
        oldest.map(|at| Duration::from_millis(at + WINDOW_TICKS + 1))
    }

    /// Whether a retry would be granted now.
    pub fn has_room(&self, now: Duration) -> bool {
        self.lock().room_of_own(self.settings.percent, self.settings.floor, tick(now)).is_some()
    }

    /// First attempts, and retries and hedges, in the trailing 10 s.
    pub fn spent(&self, now: Duration) -> (u64, u64) {
        let mut window = self.lock();
        window.advance(tick(now));
        (window.firsts, window.shares + window.floors)
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
    /// Of all ticks that are held: what was taken within the percentage.
    shares: u64,
    /// Likewise: what was taken beyond it, on the floor.
    floors: u64,
    /// The first attempts of the front tick no longer count, its retries do.
    edge: bool,
    newest: u64,
}

#[derive(Default, Debug)]
struct Tick {
    at: u64,
    firsts: u32,
    shares: u32,
    floors: u32,
}

/// What something is taken out of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Account {
    Share,
    Floor,
}

/// One retry, and the tick it stands in.
#[derive(Clone, Copy, Debug)]
struct Taken {
    at: u64,
    from: Account,
}

impl Window {
    fn first(&mut self, at: u64) {
        self.advance(at);
        self.firsts += 1;
        self.current().firsts += 1;
    }

    /// Out of what a destination's next retry would be; `None` if there is no room.
    fn room_of_own(&mut self, percent: u32, floor: u32, at: u64) -> Option<Account> {
        self.advance(at);
        let retries = self.shares + self.floors;
        if retries < self.share(percent) {
            return Some(Account::Share);
        }
        (retries < floor.into()).then_some(Account::Floor)
    }

    /// Out of what the process lets a destination have what that takes out of `from`.
    fn room_of_process(&mut self, from: Account, percent: u32, floor: u32, at: u64) -> Option<Account> {
        self.advance(at);
        if from == Account::Share && self.shares < self.share(percent) {
            return Some(Account::Share);
        }
        (self.floors < floor.into()).then_some(Account::Floor)
    }

    const fn share(&self, percent: u32) -> u64 {
        self.firsts * percent as u64 / 100
    }

    /// At the time that was looked at last.
    fn take(&mut self, from: Account) -> Taken {
        let at = self.newest;
        *self.count(from) += 1;
        *self.current().count(from) += 1;
        Taken { at, from }
    }

    fn give_back(&mut self, Taken { at, from }: Taken) {
        let Ok(found) = self.ticks.binary_search_by_key(&at, |tick| tick.at) else { return };
        *self.ticks[found].count(from) -= 1;
        *self.count(from) -= 1;
    }

    fn oldest(&self, retries: impl Fn(&Tick) -> u32) -> Option<u64> {
        self.ticks.iter().find(|tick| retries(tick) > 0).map(|tick| tick.at)
    }

    const fn count(&mut self, from: Account) -> &mut u64 {
        match from {
            Account::Share => &mut self.shares,
            Account::Floor => &mut self.floors,
        }
    }

    fn current(&mut self) -> &mut Tick {
        if self.ticks.back().is_none_or(|last| last.at != self.newest) {
            self.ticks.push_back(Tick { at: self.newest, ..Tick::default() });
        }
        self.ticks.back_mut().expect("one was pushed if there was none")
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
            self.shares -= u64::from(front.shares);
            self.floors -= u64::from(front.floors);
            self.ticks.pop_front();
        }
    }
}

impl Tick {
    const fn count(&mut self, from: Account) -> &mut u32 {
        match from {
            Account::Share => &mut self.shares,
            Account::Floor => &mut self.floors,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Event {
        First,
        Retry,
        Again,
        /// Of the later attempts that were granted, that one is given back, if it is there.
        GiveBack(usize),
    }

    /// (microseconds since the one before, what happens)
    fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
        let gap = prop_oneof![
            4 => 0u64..3,
            3 => 0u64..200_000,
            2 => (0u64..12).prop_map(|s| s * 1_000_000),
            1 => (9_990u64..10_010).prop_map(|ms| ms * 1_000),
        ];
        let event = prop_oneof![
            8 => Just(Event::First),
            1 => Just(Event::Retry),
            1 => Just(Event::Again),
            1 => (0usize..8).prop_map(Event::GiveBack),
        ];
        proptest::collection::vec((gap, event), 1..400)
    }

    struct Model {
        firsts: Vec<u64>,
        retries: Vec<u64>,
    }

    fn within(times: &[u64], from: u64, to: u64) -> u64 {
        times.iter().filter(|at| (from..=to).contains(*at)).count() as u64
    }

    fn check(events: &[(u64, Event)], settings: BudgetSettings) {
        let budget = Budget::new(settings);
        let process = Budget::new(BudgetSettings { percent: 100, floor: u32::MAX, floor_again: 0 });
        let mut model = Model { firsts: Vec::new(), retries: Vec::new() };
        let mut tokens = Vec::new();
        // Past the first window, so that "10 s ago" exists.
        let mut now = 20_000_000;
        for (gap, event) in events {
            now += gap;
            let at = Duration::from_micros(now);
            let floor = match event {
                Event::First => {
                    budget.first(at);
                    model.firsts.push(now);
                    continue;
                }
                Event::GiveBack(which) => {
                    if *which < tokens.len() {
                        let (taken_at, token) = tokens.swap_remove(*which);
                        budget.give_back(&process, token);
                        let taken = model.retries.iter().position(|at| *at == taken_at).unwrap();
                        model.retries.swap_remove(taken);
                    }
                    continue;
                }
                Event::Retry => settings.floor,
                Event::Again => settings.floor.max(settings.floor_again),
            };
            let tick = now / 1_000;
            let firsts = within(&model.firsts, (tick - 9_999) * 1_000, now);
            let retries = within(&model.retries, (tick - 10_000) * 1_000, now);
            let expected = retries < (firsts * u64::from(settings.percent) / 100).max(floor.into());
            let granted = match event {
                Event::Again => budget.withdraw_again(&process, at).map(|token| tokens.push((now, token))).is_some(),
                _ => budget.withdraw(&process, at),
            };
            assert_eq!(granted, expected, "{event:?} at {now}: {firsts} firsts, {retries} retries");
            if granted {
                model.retries.push(now);
                let firsts = within(&model.firsts, now - 9_999_999, now);
                let retries = within(&model.retries, now - 9_999_999, now);
                let allowed = firsts * u64::from(settings.percent);
                assert!(retries * 100 <= allowed || retries <= floor.into(), "over, to the microsecond");
            }
        }
    }

    proptest! {
        #[test]
        fn exact_against_a_model_and_never_over(
            events in events(), percent in 0u32..40, floor in 0u32..4, floor_again in 0u32..6,
        ) {
            check(&events, BudgetSettings { percent, floor, floor_again });
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
            let granted = (0..200).filter(|_| budget.withdraw_again(&process, now).is_some()).count();
            assert_eq!(granted, expected, "after {firsts} first attempts");
            assert!(!budget.withdraw(&process, now), "what later attempts took is not there for retries");
            let next = budget.room_at(&process, now).unwrap();
            assert!(budget.withdraw_again(&process, now + WINDOW).is_none(), "to the last tick of the window");
            assert_eq!(next, now + WINDOW + Duration::from_millis(1));
            assert!(budget.withdraw_again(&process, next).is_some(), "the next window");
        }
    }

    #[test]
    fn whoever_is_asked_on_its_floor_takes_nothing_from_a_tenth() {
        let now = Duration::from_secs(100);
        let process = Budget::new(BudgetSettings { floor_again: 100, ..BudgetSettings::default() });
        // Nobody calls these any more: they are asked what became of earlier calls, as often as they may be.
        let down: Vec<_> = (0..20).map(|_| Budget::new(BudgetSettings::default())).collect();
        let ask = |budget: &Budget| std::iter::from_fn(|| budget.withdraw_again(&process, now)).count();
        let asked: usize = down.iter().map(ask).sum();
        assert_eq!(asked, 100, "as much as the process's floor is");
        let healthy = Budget::new(BudgetSettings::default());
        for _ in 0..200 {
            healthy.first(now);
            process.first(now);
        }
        let granted = (0..50).filter(|_| healthy.withdraw(&process, now)).count();
        assert_eq!(granted, 20, "its own tenth, whatever others took on their floors");
        assert_eq!(process.spent(now), (200, 120));
        assert_eq!(
            down[19].room_at(&process, now),
            Some(now + WINDOW + Duration::from_millis(1)),
            "the process has none"
        );
    }

    #[test]
    fn room_that_came_meanwhile_is_there_now() {
        let now = Duration::from_secs(100);
        let (budget, process) = (Budget::new(BudgetSettings::default()), Budget::new(BudgetSettings::default()));
        let mut taken: Vec<_> = std::iter::from_fn(|| budget.withdraw_again(&process, now)).collect();
        assert_eq!(budget.room_at(&process, now), Some(now + WINDOW + Duration::from_millis(1)));
        budget.give_back(&process, taken.pop().unwrap());
        assert_eq!(budget.room_at(&process, now), Some(now), "both have room again");
    }

    #[test]
    fn shares_of_the_process_are_waited_for_too() {
        let none = BudgetSettings { floor_again: 0, ..BudgetSettings::default() };
        let (earlier, later, process) = (Budget::new(none), Budget::new(none), Budget::new(none));
        let at = Duration::from_secs;
        let first = |budget: &Budget, now| {
            for _ in 0..10 {
                budget.first(now);
                process.first(now);
            }
        };
        first(&earlier, at(100));
        drop(earlier.withdraw_again(&process, at(109)).expect("a tenth of ten"));
        // What earned it has left the window, it has not: shares do not add up over time.
        first(&later, at(111));
        assert!(later.withdraw_again(&process, at(111)).is_none());
        let next = at(119) + Duration::from_millis(1);
        assert_eq!(later.room_at(&process, at(111)), Some(next));
        assert!(later.withdraw_again(&process, next).is_some());
    }

    #[test]
    fn what_is_given_back_was_never_taken() {
        let now = Duration::from_secs(100);
        let (budget, process) = (Budget::new(BudgetSettings::default()), Budget::new(BudgetSettings::default()));
        for asked in 0..1_000 {
            let token = budget.withdraw_again(&process, now).expect("each before was given back");
            assert_eq!(budget.spent(now), (0, 1), "{asked}");
            budget.give_back(&process, token);
        }
        assert_eq!((budget.spent(now), process.spent(now)), ((0, 0), (0, 0)));
        // One that comes back later than its window changes nothing.
        let token = budget.withdraw_again(&process, now).unwrap();
        let later = now + 2 * WINDOW;
        assert_eq!(std::iter::from_fn(|| budget.withdraw_again(&process, later)).count(), 10);
        budget.give_back(&process, token);
        assert_eq!((budget.spent(later), process.spent(later)), ((0, 10), (0, 10)));
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
