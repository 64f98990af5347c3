//! Reads that cannot be answered yet, by what they wait for.
//!
//! If this stops halfway nothing is lost: a read changes nothing, and whoever asked asks again.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::Read;

/// What a read waits for, beside its deadline.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Until {
    /// The entry of that index is applied.
    Index(u64),
    /// It is proved that this cell led at that instant of the monotonic clock, or later.
    Proof(u64),
    /// The operation of that name is no longer in flight.
    Landed(u128),
    /// What is pending under that record has come to its end.
    Ended(u64),
    /// An event comes to the topic, at that offset or after it.
    Event { topic: Box<str>, from: u64 },
    /// The same of the topics of a subscription.
    Delivery { subscription: Box<str>, from: u64 },
}

/// A read that waits.
#[derive(Debug)]
pub(crate) struct Waiting<R> {
    pub(crate) read: Read,
    pub(crate) who: R,
    /// When it came, on the monotonic clock.
    pub(crate) asked_us: u64,
}

/// All reads that wait, in the order they came.
#[derive(Debug)]
pub(crate) struct WaitingReads<R> {
    reads: BTreeMap<u64, (Waiting<R>, Until, u64)>,
    next: u64,
    /// The same by what they wait for, so that what comes wakes only those that wait for it.
    untils: BTreeSet<(Until, u64)>,
    deadlines: BTreeSet<(u64, u64)>,
    /// Those that have something to look at.
    woken: BTreeSet<u64>,
}

impl<R> Default for WaitingReads<R> {
    fn default() -> Self {
        Self {
            reads: BTreeMap::new(),
            next: 0,
            untils: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            woken: BTreeSet::new(),
        }
    }
}

impl<R> WaitingReads<R> {
    pub(crate) fn len(&self) -> usize {
        self.reads.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reads.is_empty()
    }

    /// Keeps a read, at the end of all.
    pub(crate) fn add(&mut self, waiting: Waiting<R>, until: Until, deadline_us: u64) {
        let number = self.next;
        self.next += 1;
        self.put(number, waiting, until, deadline_us);
    }

    /// Keeps a read again that was taken, in its place.
    pub(crate) fn put(&mut self, number: u64, waiting: Waiting<R>, until: Until, deadline_us: u64) {
        self.untils.insert((until.clone(), number));
        self.deadlines.insert((deadline_us, number));
        self.reads.insert(number, (waiting, until, deadline_us));
    }

    /// The first of those that were woken, if one was.
    pub(crate) fn take_woken(&mut self) -> Option<(u64, Waiting<R>)> {
        let number = self.woken.pop_first()?;
        let (waiting, until, deadline_us) = self.reads.remove(&number)?;
        self.untils.remove(&(until, number));
        self.deadlines.remove(&(deadline_us, number));
        Some((number, waiting))
    }

    /// When the first deadline passes.
    pub(crate) fn due_us(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline_us, _)| *deadline_us)
    }

    /// Wakes those whose deadline has passed.
    pub(crate) fn wake_late(&mut self, now_us: u64) {
        self.woken.extend(self.deadlines.range(..=(now_us, u64::MAX)).map(|(_, number)| *number));
    }

    pub(crate) fn wake_all(&mut self) {
        self.woken.extend(self.reads.keys());
    }

    /// Everything up to that index is applied.
    pub(crate) fn wake_applied(&mut self, index: u64) {
        self.wake(Until::Index(0)..=Until::Index(index));
    }

    /// The cell is known to have led at that instant.
    pub(crate) fn wake_proven(&mut self, proven_us: u64) {
        self.wake(Until::Proof(0)..=Until::Proof(proven_us));
    }

    /// When the newest of those came who wait for a proof.
    pub(crate) fn wants_proof_since_us(&self) -> Option<u64> {
        let newest = self.untils.range(..(Until::Landed(0), 0)).next_back();
        newest.and_then(|(until, _)| if let Until::Proof(asked_us) = until { Some(*asked_us) } else { None })
    }

    /// The operation is no longer in flight.
    pub(crate) fn wake_operation(&mut self, name: u128) {
        self.wake(Until::Landed(name)..=Until::Landed(name));
    }

    /// What was pending has come to its end.
    pub(crate) fn wake_pending(&mut self, began: u64) {
        self.wake(Until::Ended(began)..=Until::Ended(began));
    }

    fn wake(&mut self, untils: std::ops::RangeInclusive<Until>) {
        if self.untils.is_empty() {
            return;
        }
        let (from, to) = untils.into_inner();
        self.woken.extend(self.untils.range((from, 0)..=(to, u64::MAX)).map(|(_, number)| *number));
    }

    /// Wakes those for whom something may have come: `end` gives, of a topic or of a subscription, the offset that all its
    /// events are below. It is asked once for each.
    pub(crate) fn wake_events(&mut self, end: impl Fn(&Until) -> u64) {
        let least = Until::Event { topic: "".into(), from: 0 };
        let mut at = (least, 0);
        while let Some((first, _)) = self.untils.range(at.clone()..).next() {
            let to = with_from(first, end(first));
            let begin = with_from(first, 0);
            at = (with_from(first, u64::MAX), u64::MAX);
            self.woken.extend(self.untils.range((begin, 0)..(to, 0)).map(|(_, number)| *number));
        }
    }
}

/// The same topic or subscription from another offset on.
fn with_from(until: &Until, from: u64) -> Until {
    match until {
        Until::Event { topic, .. } => Until::Event { topic: topic.clone(), from },
        Until::Delivery { subscription, .. } => Until::Delivery { subscription: subscription.clone(), from },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Level, Query};

    fn event(topic: &str, from: u64) -> Until {
        Until::Event { topic: topic.into(), from }
    }

    fn delivery(subscription: &str, from: u64) -> Until {
        Until::Delivery { subscription: subscription.into(), from }
    }

    /// Reads that are known by their place here, each with its deadline.
    fn reads(waits: &[(Until, u64)]) -> WaitingReads<usize> {
        let mut reads = WaitingReads::default();
        for (who, (until, deadline_us)) in waits.iter().enumerate() {
            let query = Query::Account { id: "a".to_owned() };
            let read = Read { level: Level::Eventual, deadline_us: *deadline_us, query };
            reads.add(Waiting { read, who, asked_us: 0 }, until.clone(), *deadline_us);
        }
        reads
    }

    #[track_caller]
    fn check(wake: impl Fn(&mut WaitingReads<usize>), expected: &[usize]) {
        let mut reads = reads(&[
            (Until::Index(7), 50),
            (Until::Index(5), 40),
            (event("b", 10), 40),
            (event("a", 10), 60),
            (event("b", 12), 60),
            (Until::Landed(1), 60),
            (Until::Ended(1), 60),
            (delivery("a", 3), 60),
            (Until::Landed(u128::MAX), 60),
            (delivery("b", 9), 60),
        ]);
        wake(&mut reads);
        let woken: Vec<usize> = std::iter::from_fn(|| reads.take_woken().map(|(_, waiting)| waiting.who)).collect();
        assert_eq!(woken, expected);
        assert_eq!(reads.len(), 10 - expected.len());
        assert_eq!((reads.untils.len(), reads.deadlines.len()), (reads.len(), reads.len()));
    }

    #[test]
    fn what_comes_wakes_those_who_wait_for_it_in_the_order_they_came() {
        check(|_| {}, &[]);
        check(|reads| reads.wake_applied(4), &[]);
        check(|reads| reads.wake_applied(6), &[1]);
        check(|reads| reads.wake_applied(7), &[0, 1]);
        check(|reads| reads.wake_late(39), &[]);
        check(|reads| reads.wake_late(40), &[1, 2]);
        check(|reads| reads.wake_operation(1), &[5]);
        check(|reads| reads.wake_operation(2), &[]);
        check(|reads| reads.wake_operation(u128::MAX), &[8]);
        check(|reads| reads.wake_pending(1), &[6]);
        check(WaitingReads::wake_all, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        // The event at offset 11 of topic `b` is for whoever waits from 10 on; nothing came to `a`.
        let ends = |until: &Until| match until {
            Until::Event { topic, .. } if &**topic == "b" => 12,
            Until::Delivery { subscription, .. } if &**subscription == "a" => u64::MAX,
            Until::Event { .. } => 10,
            _ => 9,
        };
        check(|reads| reads.wake_events(ends), &[2, 7]);
    }
}
