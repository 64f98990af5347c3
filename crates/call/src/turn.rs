//! Turns: a later attempt waits here until the retry budget has room for it, instead of being made or given up.
//!
//! Whoever was asked least goes first, and then whoever came first: with room for few, everything is asked once before
//! anything is asked twice. Only the first of a destination takes; it looks again when time, a first attempt or something
//! given back may have made room, and whoever leaves wakes the next one.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::core::budget::{Budget, Token};
use crate::core::clock;

/// So many wait before one destination: each holds what it is to send. One more sends away whoever is last.
const WAITING_MAX: usize = 1_000;

/// The budget of a process, and who waits for it.
#[derive(Debug)]
pub struct ProcessTurns {
    budget: Arc<Budget>,
    /// Something was given back, by whichever destination.
    freed: Notify,
}

/// The queue before one destination's budget.
#[derive(Debug)]
pub struct Turns {
    budget: Arc<Budget>,
    process: Arc<ProcessTurns>,
    queue: Mutex<Queue>,
    waiting: AtomicUsize,
    arrivals: AtomicU64,
}

/// Who waits, by how often it was asked before and when it came, and how to wake it.
type Queue = BTreeMap<(u32, u64), Arc<Notify>>;

/// Leave to make one later attempt. Spent unless it is given back.
#[must_use]
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    token: Token,
}

impl ProcessTurns {
    /// Over that budget.
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { budget, freed: Notify::new() }
    }

    /// It.
    pub const fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

impl Turns {
    /// Before that destination's budget.
    pub fn new(budget: Arc<Budget>, process: Arc<ProcessTurns>) -> Self {
        let (queue, waiting, arrivals) = (Mutex::default(), AtomicUsize::new(0), AtomicU64::new(0));
        Self { budget, process, queue, waiting, arrivals }
    }

    /// Waits for a turn, at most so long; `None` if none came. `asked` says how often it had one before.
    pub async fn take(self: &Arc<Self>, asked: u32, wait: Duration) -> Option<Turn> {
        let end = Instant::now() + wait;
        let place = Place::new(Arc::clone(self), asked);
        loop {
            let mut freed = pin!(self.process.freed.notified());
            // From before the look on, so that nothing given back meanwhile is missed.
            freed.as_mut().enable();
            let now = clock::now();
            let is_first = place.is_first();
            if is_first && let Some(token) = self.budget.withdraw_again(&self.process.budget, now) {
                return Some(Turn { turns: Arc::clone(self), token });
            }
            if Instant::now() >= end || place.is_lost() {
                return None;
            }
            let room_at = self.budget.room_at(&self.process.budget, now).filter(|_| is_first);
            let until = room_at.map_or(end, |at| end.min(Instant::now() + at.saturating_sub(now)));
            tokio::select! {
                () = place.bell.notified() => {}
                () = freed, if is_first => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// There may be more room than there was.
    pub(crate) fn ring(&self) {
        if self.waiting() > 0 {
            ring_first(&self.queue());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each change is one insertion or removal.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ring_first(queue: &Queue) {
    if let Some((_, first)) = queue.first_key_value() {
        first.notify_one();
    }
}

impl Turn {
    /// The attempt was answered, and the answer settled what it was about: it was no burden to somebody who is down, and
    /// counts as if it had not been made.
    pub fn give_back(self) {
        let Self { turns, token } = self;
        turns.budget.give_back(&turns.process.budget, token);
        turns.ring();
        turns.process.freed.notify_waiters();
    }
}

/// A place in the queue, left when it is dropped.
struct Place {
    turns: Arc<Turns>,
    rank: (u32, u64),
    bell: Arc<Notify>,
}

impl Place {
    fn new(turns: Arc<Turns>, asked: u32) -> Self {
        let rank = (asked, turns.arrivals.fetch_add(1, Ordering::Relaxed));
        let bell = Arc::new(Notify::new());
        let mut queue = turns.queue();
        queue.insert(rank, Arc::clone(&bell));
        if queue.len() > WAITING_MAX
            && let Some((_, last)) = queue.pop_last()
        {
            last.notify_one();
        }
        turns.waiting.store(queue.len(), Ordering::Release);
        drop(queue);
        Self { turns, rank, bell }
    }

    /// Whether it was sent away for others.
    fn is_lost(&self) -> bool {
        !self.turns.queue().contains_key(&self.rank)
    }

    fn is_first(&self) -> bool {
        self.turns.queue().first_key_value().is_some_and(|(rank, _)| *rank == self.rank)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.turns.queue();
        queue.remove(&self.rank);
        self.turns.waiting.store(queue.len(), Ordering::Release);
        ring_first(&queue);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::task::yield_now;

    use super::*;
    use crate::core::budget::BudgetSettings;

    /// Nothing here takes that long unless it hangs.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn budget(floor_again: u32) -> Arc<Budget> {
        Arc::new(Budget::new(BudgetSettings { percent: 10, floor: 0, floor_again }))
    }

    fn turns(floor_again: u32, process: &Arc<ProcessTurns>) -> Arc<Turns> {
        Arc::new(Turns::new(budget(floor_again), Arc::clone(process)))
    }

    async fn until_waiting(turns: &Turns, count: usize) {
        while turns.waiting() != count {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_given_back_goes_to_whoever_was_asked_least_and_then_came_first() {
        let turns = turns(1, &Arc::new(ProcessTurns::new(budget(9))));
        let taken = turns.take(1, Duration::ZERO).await.expect("there is room for one");
        let (sender, mut served) = unbounded_channel();
        for (name, asked) in [("a", 3), ("b", 2), ("c", 2), ("d", 1), ("e", 3)] {
            let (sender, waiter) = (sender.clone(), Arc::clone(&turns));
            tokio::spawn(async move {
                let turn = waiter.take(asked, PATIENCE).await.expect("each gives it back");
                sender.send(name).unwrap();
                turn.give_back();
            });
            until_waiting(&turns, "abcde".find(name).unwrap() + 1).await;
        }
        taken.give_back();
        let mut order = String::new();
        while order.len() < 5 {
            order += served.recv().await.unwrap();
        }
        assert_eq!(order, "dbcae");
        assert_eq!((turns.waiting(), turns.budget.spent(clock::now())), (0, (0, 0)));
    }

    #[tokio::test]
    async fn who_waits_in_vain_leaves_no_trace_and_wakes_the_next() {
        let turns = turns(1, &Arc::new(ProcessTurns::new(budget(9))));
        let taken = turns.take(1, Duration::ZERO).await.unwrap();
        assert!(turns.take(1, Duration::from_millis(1)).await.is_none());
        let first = turns.take(1, PATIENCE);
        let next = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(2, PATIENCE).await.is_some() }
        });
        let mut first = Box::pin(first);
        tokio::select! {
            biased;
            _ = first.as_mut() => panic!("there is no room"),
            () = until_waiting(&turns, 2) => {}
        }
        taken.give_back();
        // It was rung, and is gone before it looked.
        drop(first);
        assert!(tokio::time::timeout(PATIENCE, next).await.unwrap().unwrap());
        assert_eq!(turns.waiting(), 0);
    }

    #[tokio::test]
    async fn where_too_many_wait_the_last_is_sent_away() {
        let turns = turns(0, &Arc::new(ProcessTurns::new(budget(0))));
        let wait = |asked| {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.take(asked, PATIENCE).await.is_none() })
        };
        let last = wait(8);
        until_waiting(&turns, 1).await;
        let others: Vec<_> = (1..WAITING_MAX).map(|_| wait(7)).collect();
        until_waiting(&turns, WAITING_MAX).await;
        let began = Instant::now();
        assert!(turns.take(9, PATIENCE).await.is_none(), "it would be the last");
        assert!(!last.is_finished());
        let before = wait(2);
        assert!(last.await.unwrap(), "who was the last makes room");
        assert!(began.elapsed() < PATIENCE && !before.is_finished());
        assert_eq!(turns.waiting(), WAITING_MAX);
        others.iter().chain([&before]).for_each(tokio::task::JoinHandle::abort);
        until_waiting(&turns, 0).await;
    }

    #[tokio::test]
    async fn one_destination_gives_back_to_the_process_what_another_waits_for() {
        let process = Arc::new(ProcessTurns::new(budget(1)));
        let (one, other) = (turns(9, &process), turns(9, &process));
        let taken = one.take(1, Duration::ZERO).await.unwrap();
        let waiter = tokio::spawn({
            let other = Arc::clone(&other);
            async move { other.take(1, PATIENCE).await.is_some() }
        });
        until_waiting(&other, 1).await;
        taken.give_back();
        assert!(tokio::time::timeout(PATIENCE, waiter).await.unwrap().unwrap());
    }

    #[tokio::test]
    async fn first_attempts_make_room() {
        let process = Arc::new(ProcessTurns::new(budget(0)));
        let turns = turns(0, &process);
        let waiter = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(1, PATIENCE).await.is_some() }
        });
        until_waiting(&turns, 1).await;
        for _ in 0..10 {
            process.budget.first(clock::now());
            turns.budget.first(clock::now());
            turns.ring();
        }
        assert!(tokio::time::timeout(PATIENCE, waiter).await.unwrap().unwrap());
    }
}
