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
    /// The results in the report that is on its way.
    reported: Option<Vec<u64>>,
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
        for delivery in deliveries.ready {
            let offset = delivery.event.offset;
            if !self.open.contains_key(&offset) && !self.results.contains_key(&offset) {
                self.open(delivery, true);
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
    pub fn start(&mut self) -> Option<Delivery> {
        let queues = &self.queues;
        let is_first =
            |offset: u64, key: &str| queues.get(key).and_then(BTreeSet::first).is_none_or(|first| *first == offset);
        let (_, next) = self
            .open
            .iter_mut()
            .find(|(offset, open)| !open.is_under_way && is_first(**offset, &open.delivery.event.key))?;
        next.is_under_way = true;
        Some(next.delivery.clone())
    }

    /// An attempt ended; one that began under other settings counts for nothing. What waited behind one that failed goes
    /// back to the machine, to wait there.
    pub fn finish(&mut self, generation: u64, offset: u64, end: AttemptEnd) {
        if generation != self.generation || !self.open.get(&offset).is_some_and(|open| open.is_under_way) {
            return;
        }
        let Some(Open { delivery, .. }) = self.close(offset) else { return };
        let key = delivery.event.key;
        let missed = match end {
            AttemptEnd::Done => None,
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
        self.reported = Some(self.results.keys().copied().collect());
        true
    }

    /// The report is in the log, or (`applied` is false) certainly is not, or nobody knows: then it is sent again.
    pub fn confirm(&mut self, applied: bool) {
        let Some(reported) = self.reported.take() else { return };
        self.round += 1;
        if applied {
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
