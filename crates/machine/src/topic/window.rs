//! What of one subscription is under way: the outbox's share of a delivery, without its network.
//!
//! The machine says what comes next ([`Machine::next_deliveries`]), the window says which of it may be sent now (one event
//! of a key at a time, in order), is told what came of it, and says what to report. It lives in memory and nothing is lost
//! with it: an empty window begins with what the machine knows.
//!
//! ```text
//! ask -> next_deliveries -> take -> { start -> send -> finish }* -> report -> Op::Topic(Delivered) -> confirm -> ask ...
//! ```
//!
//! [`Machine::next_deliveries`]: crate::Machine::next_deliveries

use std::collections::{BTreeMap, BTreeSet};

use super::deliveries::{Deliveries, Delivery};
use super::order::{Miss, MissedBecause, Misses, Offsets, Report};

/// That so many records were passed over, with nothing wanted among them, is worth a report of its own: a new leader would look
/// at them again.
const REPORT_BELOW_MIN: u64 = 1_024;

/// The deliveries of one subscription that are under way, or about to be.
#[derive(Clone, Debug)]
pub struct DeliveryWindow {
    subscription: u64,
    events_max: usize,
    generation: u64,
    /// Everything below was looked at.
    from: u64,
    /// Everything below is dealt with, as far as the machine has said.
    next: u64,
    /// Grows with everything that makes an older answer of the machine out of date.
    round: u64,
    open: BTreeMap<u64, Open>,
    queues: BTreeMap<Box<str>, BTreeSet<u64>>,
    /// What came of attempts and is not confirmed to be in the log.
    results: BTreeMap<u64, Unconfirmed>,
    /// What is below and the results, in the report that is on its way.
    reported: Option<(u64, Vec<u64>)>,
}

/// What to ask [`Machine::next_deliveries`] for.
///
/// [`Machine::next_deliveries`]: crate::Machine::next_deliveries
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowAsk {
    /// From which offset on.
    pub from: u64,
    /// How many; 0 if there is no room.
    pub limit: usize,
    round: u64,
}

/// What came of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttemptEnd {
    /// The receiver has it.
    Done,
    /// No attempt was made: there was no turn for it. It is as before, and may be begun again.
    Unasked,
    /// It does not, or nobody knows.
    Failed {
        /// The receiver's HTTP status; 0 without an answer.
        status: u16,
        /// How long the receiver asks to be left alone; 0 = it does not.
        retry_after_ms: u64,
        /// On what evidence, for a person to read.
        evidence: Box<str>,
    },
    /// The receiver says that nobody is there any more.
    Gone {
        /// On what evidence.
        evidence: Box<str>,
    },
}

#[derive(Clone, Debug)]
struct Open {
    delivery: Delivery,
    is_under_way: bool,
    /// The machine has it parked, and so does not count on `below` for it.
    is_parked: bool,
}

#[derive(Clone, Debug)]
struct Unconfirmed {
    key: Box<str>,
    /// `None`: delivered.
    missed: Option<(MissedBecause, u16, u64, Box<str>)>,
}

impl DeliveryWindow {
    /// An empty window of a subscription, of at most so many events.
    pub const fn new(subscription: u64, events_max: usize) -> Self {
        Self {
            subscription,
            events_max,
            generation: 0,
            from: 0,
            next: 0,
            round: 0,
            open: BTreeMap::new(),
            queues: BTreeMap::new(),
            results: BTreeMap::new(),
            reported: None,
        }
    }

    /// What to ask the machine for now.
    pub fn ask(&self) -> WindowAsk {
        let taken = self.open.len() + self.results.len();
        WindowAsk { from: self.from, limit: self.events_max.saturating_sub(taken), round: self.round }
    }

    /// Takes in what the machine answered. An answer that was asked for before a report was confirmed is out of date, and
    /// passed over. Other settings void all that is here.
    pub fn take(&mut self, ask: WindowAsk, deliveries: Deliveries) {
        if ask.round != self.round {
            return;
        }
        if deliveries.generation != self.generation {
            *self = Self {
                generation: deliveries.generation,
                round: self.round + 1,
                ..Self::new(self.subscription, self.events_max)
            };
            // What was asked for from elsewhere leaves a gap unless it began where the new settings do.
            if ask.from > deliveries.next {
                self.from = deliveries.next;
                return;
            }
        }
        // What failed before takes no more than half of the room, or it would keep out what is new.
        let mut room =
            self.events_max.div_ceil(2).saturating_sub(self.open.values().filter(|open| open.is_parked).count());
        for delivery in deliveries.ready {
            let offset = delivery.event.offset;
            if room == 0 {
                break;
            }
            if !self.open.contains_key(&offset) && !self.results.contains_key(&offset) {
                self.open(delivery, true);
                room -= 1;
            }
        }
        for delivery in deliveries.fresh {
            if delivery.event.offset < self.from {
                continue;
            }
            if delivery.is_behind || self.is_blocked(&delivery.event.key) {
                self.keep_behind(&delivery);
            } else {
                self.open(delivery, false);
            }
        }
        self.from = self.from.max(deliveries.scanned);
        self.next = deliveries.next;
    }

    /// The next event to send, which is under way from now on; `None` if all that is here is, or waits behind one that is.
    /// One that failed before only where `again` allows it.
    pub fn start(&mut self, again: bool) -> Option<Delivery> {
        let may_start = |(offset, open): &(&u64, &Open)| {
            !open.is_under_way && (again || open.delivery.attempts == 0) && self.may_start(**offset, open)
        };
        let next = self.open.iter().find(may_start);
        let next = *next?.0;
        let open = self.open.get_mut(&next)?;
        open.is_under_way = true;
        Some(open.delivery.clone())
    }

    /// Whether an event is the first of its key, and none of its key is under way: a dead letter that is delivered again may
    /// come before one that is.
    fn may_start(&self, offset: u64, open: &Open) -> bool {
        let Some(queue) = self.queues.get(&open.delivery.event.key) else { return true };
        let is_under_way = |offset: &u64| self.open.get(offset).is_some_and(|open| open.is_under_way);
        queue.first() == Some(&offset) && !queue.iter().any(is_under_way)
    }

    /// An attempt ended; one that began under other settings counts for nothing. What waited behind one that failed goes
    /// back to the machine, to wait there.
    pub fn finish(&mut self, generation: u64, offset: u64, end: AttemptEnd) {
        if generation != self.generation || !self.open.get(&offset).is_some_and(|open| open.is_under_way) {
            return;
        }
        if end == AttemptEnd::Unasked {
            self.open.entry(offset).and_modify(|open| open.is_under_way = false);
            return;
        }
        let Some(Open { delivery, .. }) = self.close(offset) else { return };
        let key = delivery.event.key;
        let missed = match end {
            AttemptEnd::Done | AttemptEnd::Unasked => None,
            AttemptEnd::Failed { status, retry_after_ms, evidence } => {
                Some((MissedBecause::Failed, status, retry_after_ms, evidence))
            }
            AttemptEnd::Gone { evidence } => Some((MissedBecause::Gone, 410, 0, evidence)),
        };
        if missed.is_some() {
            for behind in self.queues.get(&key).cloned().unwrap_or_default() {
                if let Some(open) = self.close(behind) {
                    self.keep_behind(&open.delivery);
                }
            }
        }
        self.results.insert(offset, Unconfirmed { key, missed });
    }

    /// Appends a report of what is new, to be given to [`Reports::new`] with those of other subscriptions; `false`, and
    /// nothing appended, if there is nothing new or one report is on its way. [`DeliveryWindow::confirm`] is to follow.
    ///
    /// [`Reports::new`]: super::Reports::new
    pub fn report(&mut self, out: &mut Vec<u8>) -> bool {
        let below = self.below();
        let is_news = !self.results.is_empty() || below >= self.next.saturating_add(REPORT_BELOW_MIN);
        if self.reported.is_some() || !is_news {
            return false;
        }
        let (mut done, mut missed) = (Vec::new(), Vec::new());
        for (offset, result) in &self.results {
            match &result.missed {
                None => Offsets::push(&mut done, *offset),
                Some((why, status, retry_after_ms, evidence)) => Miss {
                    offset: *offset,
                    key: &result.key,
                    why: *why,
                    status: *status,
                    retry_after_ms: *retry_after_ms,
                    evidence,
                }
                .push(&mut missed),
            }
        }
        let (done, missed) = (Offsets::new(&done), Misses::new(&missed));
        Report { subscription: self.subscription, generation: self.generation, below, done, missed }.push(out);
        self.reported = Some((below, self.results.keys().copied().collect()));
        true
    }

    /// The report is in the log, or (`applied` is false) certainly is not, or nobody knows: then it is sent again.
    pub fn confirm(&mut self, applied: bool) {
        let Some((below, reported)) = self.reported.take() else { return };
        self.round += 1;
        if applied {
            // Else what was passed over would be told over and over.
            self.next = self.next.max(below);
            for offset in reported {
                self.results.remove(&offset);
            }
        }
    }

    /// Whether nothing is here that is not reported and confirmed.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.results.is_empty()
    }

    /// How many events are under way.
    pub fn under_way(&self) -> usize {
        self.open.values().filter(|open| open.is_under_way).count()
    }

    /// The first offset that is neither reported nor ruled out.
    fn below(&self) -> u64 {
        let unparked = self.open.iter().find(|(_, open)| !open.is_parked);
        unparked.map_or(self.from, |(offset, _)| *offset)
    }

    /// Whether an earlier event of that key is on its way back to the machine.
    fn is_blocked(&self, key: &str) -> bool {
        !key.is_empty() && self.results.values().any(|result| result.missed.is_some() && *result.key == *key)
    }

    fn open(&mut self, delivery: Delivery, is_parked: bool) {
        let offset = delivery.event.offset;
        if !delivery.event.key.is_empty() {
            self.queues.entry(delivery.event.key.clone()).or_default().insert(offset);
        }
        self.open.insert(offset, Open { delivery, is_under_way: false, is_parked });
    }

    fn close(&mut self, offset: u64) -> Option<Open> {
        let open = self.open.remove(&offset)?;
        if let Some(queue) = self.queues.get_mut(&open.delivery.event.key) {
            queue.remove(&offset);
            if queue.is_empty() {
                self.queues.remove(&open.delivery.event.key);
            }
        }
        Some(open)
    }

    fn keep_behind(&mut self, delivery: &Delivery) {
        let missed = Some((MissedBecause::Behind, 0, 0, Box::default()));
        self.results.insert(delivery.event.offset, Unconfirmed { key: delivery.event.key.clone(), missed });
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::EventRecord;
    use super::*;

    fn deliveries(ready: &[(u64, &str)], fresh: &[(u64, &str)], scanned: u64) -> Deliveries {
        let all = |events: &[(u64, &str)]| {
            let event =
                |(offset, key): &(u64, &str)| EventRecord { offset: *offset, key: (*key).into(), record: vec![] };
            let delivery = |event| Delivery { event, generation: 1, attempts: 0, is_behind: false };
            events.iter().map(event).map(delivery).collect()
        };
        let (ready, fresh) = (all(ready), all(fresh));
        let (name, url, secrets) = ("s".into(), "http://r".into(), Vec::new());
        Deliveries { name, generation: 1, url, secrets, ready, fresh, scanned, next: 0 }
    }

    /// What may be started now.
    fn started(window: &mut DeliveryWindow) -> Vec<u64> {
        std::iter::from_fn(|| window.start(true)).map(|delivery| delivery.event.offset).collect()
    }

    /// What is reported: below, done, and missed.
    fn reported(window: &mut DeliveryWindow) -> (u64, Vec<u64>, Vec<(u64, MissedBecause)>) {
        let mut bytes = Vec::new();
        assert!(window.report(&mut bytes), "there is something to report");
        let report = super::super::Reports::new(&bytes).iter().next().unwrap().unwrap();
        let missed = report.missed.iter().map(|miss| (miss.offset, miss.why)).collect();
        (report.below, report.done.iter().collect(), missed)
    }

    fn failed() -> AttemptEnd {
        AttemptEnd::Failed { status: 500, retry_after_ms: 0, evidence: "seen".into() }
    }

    #[test]
    fn one_of_a_key_at_a_time() {
        let mut window = DeliveryWindow::new(1, 9);
        window.take(window.ask(), deliveries(&[], &[], 0));
        window.take(window.ask(), deliveries(&[], &[(1, "a"), (2, "b"), (3, "a"), (4, "")], 5));
        assert_eq!(started(&mut window), [1, 2, 4]);
        window.finish(1, 4, AttemptEnd::Done);
        window.finish(1, 2, AttemptEnd::Done);
        assert_eq!(reported(&mut window), (1, vec![2, 4], vec![]));
        window.confirm(true);
        window.finish(1, 1, AttemptEnd::Done);
        assert_eq!(started(&mut window), [3]);
        // A dead letter of before is to be delivered again: it waits for the one that is under way.
        window.take(window.ask(), deliveries(&[(0, "a")], &[], 5));
        assert_eq!(started(&mut window), [0; 0]);
        window.finish(1, 3, AttemptEnd::Done);
        assert_eq!(started(&mut window), [0]);
        assert_eq!(reported(&mut window), (5, vec![1, 3], vec![]), "what is parked holds nothing back");
    }

    #[test]
    fn what_had_no_turn_is_as_before_and_keeps_out_nothing_new() {
        let mut window = DeliveryWindow::new(1, 4);
        window.take(window.ask(), deliveries(&[], &[], 0));
        let failed_before = [(1, "a"), (2, "b"), (3, "c")];
        let mut todo = deliveries(&failed_before, &[(7, "a"), (8, "d")], 9);
        todo.ready.iter_mut().for_each(|delivery| delivery.attempts = 3);
        window.take(window.ask(), todo);
        assert_eq!(window.start(true).unwrap().event.offset, 1);
        window.finish(1, 1, AttemptEnd::Unasked);
        assert_eq!(window.start(false).unwrap().event.offset, 8, "7 waits behind 1, which failed before");
        assert_eq!(window.start(false), None);
        assert!(!window.report(&mut Vec::new()), "nothing came of it");
        assert_eq!(started(&mut window), [1, 2], "3 finds no room");
        window.finish(1, 1, AttemptEnd::Done);
        assert_eq!(started(&mut window), [7]);
        assert_eq!(reported(&mut window), (7, vec![1], vec![]));
    }

    #[test]
    fn what_was_passed_over_is_told_once() {
        let mut window = DeliveryWindow::new(1, 9);
        window.take(window.ask(), deliveries(&[], &[], 0));
        window.take(window.ask(), deliveries(&[], &[], REPORT_BELOW_MIN));
        assert_eq!(reported(&mut window), (REPORT_BELOW_MIN, vec![], vec![]));
        window.confirm(false);
        assert_eq!(reported(&mut window), (REPORT_BELOW_MIN, vec![], vec![]), "sent again");
        window.confirm(true);
        assert!(!window.report(&mut Vec::new()), "there is nothing new");
    }

    #[test]
    fn what_fails_takes_its_key_along() {
        let mut window = DeliveryWindow::new(1, 9);
        window.take(window.ask(), deliveries(&[], &[], 0));
        window.take(window.ask(), deliveries(&[], &[(1, "a"), (2, "a"), (3, "b")], 4));
        assert_eq!(started(&mut window), [1, 3]);
        window.finish(1, 1, failed());
        let old = window.ask();
        assert_eq!(reported(&mut window), (3, vec![], vec![(1, MissedBecause::Failed), (2, MissedBecause::Behind)]));
        assert!(!window.report(&mut Vec::new()), "one at a time");
        window.confirm(false);
        let again = reported(&mut window);
        assert_eq!(again, (3, vec![], vec![(1, MissedBecause::Failed), (2, MissedBecause::Behind)]), "sent again");
        window.confirm(true);
        // What was asked for before the report was in the log does not know that 1 is parked.
        window.take(old, deliveries(&[], &[(5, "a")], 6));
        assert_eq!(started(&mut window), [0; 0]);
        window.finish(1, 9, AttemptEnd::Done);
        window.finish(0, 3, AttemptEnd::Done);
        assert_eq!(window.under_way(), 1, "what is not of here and now counts for nothing");
    }
}
