//! Deliveries in one life of the server: for each subscription a window, and what is on its way.

use std::collections::BTreeMap;

use machine::{AttemptEnd, Deliveries, Delivery, DeliveryWindow, Op, Reports, TopicOp, WindowAsk};

use crate::canary::Canary;
use crate::client::command;

/// How many events of a subscription are in memory at a time.
const WINDOW_EVENTS_MAX: usize = 12;
/// How many are on their way at a time.
const UNDER_WAY_MAX: usize = 4;

/// Whoever delivers for one subscription.
#[derive(Debug)]
pub(crate) struct Courier {
    pub(crate) window: DeliveryWindow,
    subscription: u64,
    /// Of the newest settings known; `None` before the first answer, and while the subscription rests.
    generation: Option<u64>,
    /// Whether the cell may have something new.
    is_to_look: bool,
    pub(crate) is_reporting: bool,
    /// What is on its way: under which settings, which event.
    pub(crate) under_way: BTreeMap<u64, (u64, u64)>,
}

impl Courier {
    pub(crate) const fn new(subscription: u64) -> Self {
        Self {
            window: DeliveryWindow::new(subscription, WINDOW_EVENTS_MAX),
            subscription,
            generation: None,
            is_to_look: true,
            is_reporting: false,
            under_way: BTreeMap::new(),
        }
    }

    /// Has it look again.
    pub(crate) const fn ring(&mut self) {
        self.is_to_look = true;
    }

    /// What may be sent now. What was begun under other settings comes to its end first, so that a key stays in order.
    pub(crate) fn start(&mut self) -> Option<Delivery> {
        let generation = self.generation?;
        let is_mixed = self.under_way.values().any(|(other, _)| *other != generation);
        let is_full = self.under_way.len() >= UNDER_WAY_MAX;
        if is_mixed || is_full { None } else { self.window.start(true) }
    }

    /// An attempt is over.
    pub(crate) fn finish(&mut self, delivery: u64, is_done: bool) {
        let Some((generation, offset)) = self.under_way.remove(&delivery) else { return };
        let failed = AttemptEnd::Failed { status: 0, retry_after_ms: 0, evidence: "not taken".into() };
        self.window.finish(generation, offset, if is_done { AttemptEnd::Done } else { failed });
    }

    /// It broke: all that is here begins anew from what the machine knows.
    pub(crate) fn break_down(&mut self) {
        self.window = DeliveryWindow::new(self.subscription, WINDOW_EVENTS_MAX);
        self.is_to_look = true;
    }

    /// The command that tells what is new, if anything is and nothing is being told.
    pub(crate) fn report(&mut self) -> Option<Vec<u8>> {
        let mut report = Vec::new();
        if self.is_reporting || !self.window.report(&mut report) {
            return None;
        }
        self.is_reporting = true;
        Some(command("", &Op::Topic(TopicOp::Delivered(Reports::new(&report)))))
    }

    pub(crate) fn confirm(&mut self) {
        self.is_reporting = false;
        self.window.confirm(true);
        self.is_to_look = true;
    }

    /// What to ask the cell for, if it is to be asked.
    pub(crate) fn ask(&mut self) -> Option<WindowAsk> {
        let ask = self.window.ask();
        let is_asking = self.is_to_look && !self.is_reporting && ask.limit > 0;
        self.is_to_look &= !is_asking;
        is_asking.then_some(ask)
    }

    pub(crate) fn take(&mut self, ask: WindowAsk, deliveries: Option<Deliveries>, canary: Option<Canary>) {
        let Some(mut deliveries) = deliveries else {
            self.generation = None;
            return;
        };
        self.is_to_look |= self.generation != Some(deliveries.generation) || deliveries.scanned > ask.from;
        self.generation = Some(deliveries.generation);
        if canary == Some(Canary::ForgetEventKeys) {
            let all = deliveries.ready.iter_mut().chain(&mut deliveries.fresh);
            all.for_each(|delivery| delivery.event.key = "".into());
        }
        self.window.take(ask, deliveries);
    }

    /// Whether it has nothing to do or to say.
    pub(crate) fn is_idle(&self) -> bool {
        self.window.is_idle() && self.under_way.is_empty() && !self.is_reporting && !self.is_to_look
    }
}
