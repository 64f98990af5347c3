//! What waits to be appended: in the order it came, and in the order in which it is given up.
//!
//! Each has a number, one higher than the one before. What is given up in the middle leaves its place empty, so that nothing
//! is moved. Deadlines are kept in a heap that is not tidied when something is answered: what is found there and is gone counts
//! for nothing, and once most of it is gone it is swept.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::cell::Queued;

/// The fewest deadlines that are swept.
const SWEEP_MIN: usize = 4_096;

/// Operations between submission and append.
#[derive(Debug)]
pub(crate) struct Queue<W> {
    places: VecDeque<Option<Queued<W>>>,
    /// The number of the first place.
    first: u64,
    len: usize,
    bytes: usize,
    /// When somebody's patience ends, on the monotonic clock, and who waits for which operation.
    deadlines: BinaryHeap<Reverse<(u64, u64)>>,
    sweep_at: usize,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self { places: VecDeque::new(), first: 0, len: 0, bytes: 0, deadlines: BinaryHeap::new(), sweep_at: SWEEP_MIN }
    }
}

impl<W> Queue<W> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Of the commands.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the first that waits; of the next to come, if none does.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next operation gets.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    /// Takes an operation in, under the number [`Queue::next`] gave.
    pub(crate) fn push(&mut self, operation: Queued<W>) {
        debug_assert_eq!(operation.number, self.next(), "operations are in the order of their numbers");
        self.expect_by(operation.deadline_us, operation.number);
        self.len += 1;
        self.bytes += operation.command.len();
        self.places.push_back(Some(operation));
    }

    /// The oldest.
    pub(crate) fn front(&self) -> Option<&Queued<W>> {
        self.places.front().and_then(Option::as_ref)
    }

    pub(crate) fn pop(&mut self) -> Option<Queued<W>> {
        let operation = self.places.pop_front()??;
        self.first += 1;
        self.count_out(&operation);
        self.skip_empty();
        Some(operation)
    }

    /// Takes one out of the middle, if it still waits: to be given up, or to go back by [`Queue::put_back`].
    pub(crate) fn take(&mut self, number: u64) -> Option<Queued<W>> {
        let operation = self.place(number)?.take()?;
        self.count_out(&operation);
        Some(operation)
    }

    /// Puts back what was just taken.
    pub(crate) fn put_back(&mut self, operation: Queued<W>) {
        self.len += 1;
        self.bytes += operation.command.len();
        if let Some(place) = self.place(operation.number) {
            *place = Some(operation);
        }
    }

    /// Gives up the places of what was taken and not put back.
    pub(crate) fn skip_empty(&mut self) {
        while self.places.front().is_some_and(Option::is_none) {
            self.places.pop_front();
            self.first += 1;
        }
    }

    /// Somebody waits for the operation of that number until then.
    pub(crate) fn expect_by(&mut self, deadline_us: u64, number: u64) {
        if deadline_us != u64::MAX {
            self.deadlines.push(Reverse((deadline_us, number)));
        }
    }

    /// An operation for which somebody's patience ends by `now_us`: each patience is told once.
    pub(crate) fn pop_due(&mut self, now_us: u64) -> Option<u64> {
        let Reverse((deadline_us, number)) = *self.deadlines.peek()?;
        if deadline_us > now_us {
            return None;
        }
        self.deadlines.pop();
        Some(number)
    }

    /// When somebody's patience may end next.
    pub(crate) fn due_us(&self) -> Option<u64> {
        self.deadlines.peek().map(|Reverse((deadline_us, _))| *deadline_us)
    }

    /// Whether it is time to [`Queue::sweep`].
    pub(crate) fn is_littered(&self) -> bool {
        self.deadlines.len() >= self.sweep_at
    }

    /// Forgets the deadlines of what is answered: of all before `oldest`.
    pub(crate) fn sweep(&mut self, oldest: u64) {
        self.deadlines.retain(|Reverse((_, number))| *number >= oldest);
        self.sweep_at = SWEEP_MIN.max(2 * self.deadlines.len());
    }

    fn place(&mut self, number: u64) -> Option<&mut Option<Queued<W>>> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.places.get_mut(at)
    }

    fn count_out(&mut self, operation: &Queued<W>) {
        self.len -= 1;
        self.bytes -= operation.command.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(number: u64, deadline_us: u64) -> Queued<()> {
        Queued { command: vec![0; 10], number, name: None, waiter: None, received_us: 0, deadline_us }
    }

    fn filled(deadlines_us: &[u64]) -> Queue<()> {
        let mut queue = Queue::default();
        for deadline_us in deadlines_us {
            queue.push(operation(queue.next(), *deadline_us));
        }
        queue
    }

    fn due(queue: &mut Queue<()>, now_us: u64) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop_due(now_us)).collect()
    }

    #[test]
    fn what_is_due_comes_by_deadline_and_once() {
        let mut queue = filled(&[30, 10, 20, u64::MAX, 10]);
        assert_eq!((due(&mut queue, 9), queue.due_us()), (vec![], Some(10)));
        assert_eq!((due(&mut queue, 20), queue.due_us()), (vec![1, 4, 2], Some(30)));
        assert_eq!((due(&mut queue, u64::MAX - 1), queue.due_us()), (vec![0], None));
    }

    #[test]
    fn what_is_taken_out_of_the_middle_leaves_the_order_of_the_others() {
        let mut queue = filled(&[1, 2, 3, 4]);
        let back = queue.take(2).expect("it waits");
        assert_eq!((queue.len(), queue.bytes(), queue.take(2).is_none()), (3, 30, true));
        queue.put_back(back);
        queue.take(1).expect("it waits");
        queue.skip_empty();
        assert_eq!((queue.len(), queue.first(), queue.next()), (3, 0, 4));
        let numbers = std::iter::from_fn(|| queue.pop().map(|operation| operation.number));
        assert_eq!(numbers.collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!((queue.len(), queue.bytes(), queue.first(), queue.next()), (0, 0, 4, 4));
        assert!(queue.take(2).is_none() && queue.front().is_none());
        // All of what waits is given up.
        queue.push(operation(4, 1));
        queue.take(4).expect("it waits");
        queue.skip_empty();
        assert_eq!((queue.first(), queue.next(), queue.is_empty()), (5, 5, true));
    }

    #[test]
    fn deadlines_of_what_is_answered_are_swept() {
        let mut queue = Queue::default();
        let mut most = 0;
        for round in 0..20_u64 * SWEEP_MIN as u64 {
            queue.push(operation(queue.next(), 1_000_000 + round));
            queue.pop().expect("it waits");
            if queue.is_littered() {
                queue.sweep(queue.first());
            }
            most = most.max(queue.deadlines.len());
        }
        assert!(most <= SWEEP_MIN, "{most}");
    }
}
