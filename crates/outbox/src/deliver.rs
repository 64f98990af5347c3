//! Deliveries: a courier for each subscription that has something to deliver, one at a time.
//!
//! What may be sent when, and what to report of it, is the [`DeliveryWindow`]'s to say, which is a value of the machine's
//! crate. A courier asks the cell, sends, waits and reports. It holds nothing that must last: what was under way when it
//! ended is delivered once more, under the same id.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use call::Client;
use cell::{CellHandle, Found, Level, Query, Read, ReadError, TopicFound, TopicQuery};
use machine::{AttemptEnd, Deliveries, Delivery, DeliveryWindow, Op, Reports, TopicOp, WindowAsk};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use words::Stamp;

use crate::delivered::DeliveryCounts;
use crate::secrets::WebhookSecrets;
use crate::submit::submit;
use crate::webhook::{Target, deliver};
use crate::{Performing, UnderWay};

/// How many events of a subscription are in memory at a time, and so in one report.
const WINDOW_EVENTS_MAX: usize = 256;
/// How long the cell may take to say what comes next, in microseconds.
const ASK_US_MAX: u64 = 10_000_000;
/// How long to wait where it did not.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// How events are delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeliverySettings {
    /// How long one attempt may take, all its tries together. Default 15 s.
    pub attempt: Duration,
    /// How many attempts of one subscription are under way at a time. Default 16.
    pub concurrency_max: usize,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self { attempt: Duration::from_secs(15), concurrency_max: 16 }
    }
}

/// All couriers.
#[derive(Clone)]
pub(crate) struct Couriers {
    shared: Arc<Shared>,
}

struct Shared {
    cell: CellHandle,
    client: Client,
    secrets: WebhookSecrets,
    settings: DeliverySettings,
    under_way: UnderWay,
    counts: DeliveryCounts,
    /// How to have each of them look again.
    running: Mutex<HashMap<u64, Arc<Notify>>>,
}

/// What an exchange with the cell came to.
enum Exchanged {
    /// A report is in the log, or is not and never will be from here.
    Reported { taken: bool },
    /// What comes next; `None` if the subscription is gone, rests, or is fetched.
    Found(WindowAsk, Option<Box<Deliveries>>),
    /// Nothing came, and it may be asked again.
    Unavailable,
    /// The cell is gone.
    Stopped,
}

/// An attempt that ended: under which settings, at which event.
type Attempted = (u64, u64, AttemptEnd);

impl Couriers {
    pub(crate) fn new(
        cell: CellHandle,
        client: Client,
        secrets: WebhookSecrets,
        settings: DeliverySettings,
        under_way: UnderWay,
        counts: DeliveryCounts,
    ) -> Self {
        let running = Mutex::new(HashMap::new());
        Self { shared: Arc::new(Shared { cell, client, secrets, settings, under_way, counts, running }) }
    }

    /// Has somebody look at a subscription.
    pub(crate) fn wake(&self, performing: &mut JoinSet<()>, subscription: u64) {
        match self.shared.running().entry(subscription) {
            Entry::Occupied(running) => running.get().notify_one(),
            Entry::Vacant(none) => {
                let bell = Arc::clone(none.insert(Arc::default()));
                performing.spawn(Courier::new(Arc::clone(&self.shared), bell, subscription).run());
            }
        }
    }

    /// All couriers were broken off.
    pub(crate) fn forget(&self) {
        self.shared.running().clear();
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, HashMap<u64, Arc<Notify>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Delivers for one subscription.
struct Courier {
    shared: Arc<Shared>,
    bell: Arc<Notify>,
    subscription: u64,
    window: DeliveryWindow,
    /// Where to, under the newest settings known; `None` before the first answer, and while it rests.
    target: Option<(u64, Arc<Target>)>,
    /// Whether the cell may have something new.
    is_to_look: bool,
    /// Each attempt that is under way, by its task: the generation of its settings, and whether it is a later one.
    attempts: HashMap<tokio::task::Id, (u64, bool)>,
    sending: JoinSet<Attempted>,
}

impl Courier {
    fn new(shared: Arc<Shared>, bell: Arc<Notify>, subscription: u64) -> Self {
        Self {
            shared,
            bell,
            subscription,
            window: DeliveryWindow::new(subscription, WINDOW_EVENTS_MAX),
            target: None,
            is_to_look: true,
            attempts: HashMap::new(),
            sending: JoinSet::new(),
        }
    }

    /// Ends when there is nothing to deliver to, or no cell any more.
    async fn run(mut self) {
        let mut closing = self.shared.under_way.closing();
        let mut exchange: Option<Pin<Box<dyn Future<Output = Exchanged> + Send>>> = None;
        let mut performing: Option<Performing> = None;
        loop {
            let is_closing = *closing.borrow_and_update();
            if !is_closing {
                self.start();
            }
            if exchange.is_none() {
                exchange = self.next_exchange(is_closing);
            }
            let is_performing = !self.sending.is_empty() || (exchange.is_some() && !self.window.is_idle());
            performing = is_performing.then(|| performing.take().unwrap_or_else(|| self.shared.under_way.begin()));
            if exchange.is_none() && self.sending.is_empty() && (is_closing || self.is_done()) {
                if self.has_ended(is_closing) {
                    return;
                }
                continue;
            }
            tokio::select! {
                Some(ended) = self.sending.join_next_with_id() => self.finish(ended),
                exchanged = async { exchange.as_mut().expect("polled only if there is one").await },
                    if exchange.is_some() =>
                {
                    exchange = None;
                    if !self.take(exchanged) {
                        self.shared.running().remove(&self.subscription);
                        return;
                    }
                }
                () = self.bell.notified() => self.is_to_look = true,
                changed = closing.changed(), if !is_closing => {
                    changed.expect("the sender is in what is shared");
                }
            }
        }
    }

    /// Begins what may be begun. What was begun under other settings goes first, so that a key stays in order.
    fn start(&mut self) {
        let Some((generation, target)) = &self.target else { return };
        if self.attempts.values().any(|(other, _)| other != generation) {
            return;
        }
        let concurrency_max = self.shared.settings.concurrency_max;
        while self.sending.len() < concurrency_max {
            // Later attempts may wait for their turn: half of the places are not theirs.
            let again = self.attempts.values().filter(|(_, again)| *again).count() < concurrency_max.div_ceil(2);
            let Some(delivery) = self.window.start(again) else { return };
            let begun = (delivery.generation, delivery.attempts > 0);
            let task = self.sending.spawn(attempt(Arc::clone(&self.shared), Arc::clone(target), delivery));
            self.attempts.insert(task.id(), begun);
        }
    }

    /// What is to be said to the cell next, or asked.
    fn next_exchange(&mut self, is_closing: bool) -> Option<Pin<Box<dyn Future<Output = Exchanged> + Send>>> {
        let cell = self.shared.cell.clone();
        let mut report = Vec::new();
        if self.window.report(&mut report) {
            return Some(Box::pin(tell(cell, report)));
        }
        let ask = self.window.ask();
        if is_closing || !self.is_to_look || ask.limit == 0 {
            return None;
        }
        self.is_to_look = false;
        Some(Box::pin(find(cell, self.subscription, ask)))
    }

    fn finish(&mut self, ended: Result<(tokio::task::Id, Attempted), tokio::task::JoinError>) {
        match ended {
            Ok((task, (generation, offset, end))) => {
                self.attempts.remove(&task);
                self.window.finish(generation, offset, end);
            }
            // Its event would never end: all that is here begins anew from what the machine knows.
            Err(error) => {
                tracing::error!(%error, subscription = self.subscription, "an attempt at a delivery broke");
                self.attempts.remove(&error.id());
                self.window = DeliveryWindow::new(self.subscription, WINDOW_EVENTS_MAX);
                self.is_to_look = true;
            }
        }
    }

    /// Takes in what the cell said; `false` if there is no cell any more.
    fn take(&mut self, exchanged: Exchanged) -> bool {
        match exchanged {
            Exchanged::Reported { taken } => {
                self.window.confirm(taken);
                self.is_to_look = true;
                taken
            }
            Exchanged::Found(ask, Some(deliveries)) => {
                let generation = deliveries.generation;
                let is_other = self.target.as_ref().is_none_or(|(known, _)| *known != generation);
                if is_other {
                    let target = Target::of(self.shared.cell.cell(), self.subscription, &deliveries);
                    self.target = Some((generation, Arc::new(target)));
                }
                self.is_to_look |= is_other || deliveries.scanned > ask.from;
                self.window.take(ask, *deliveries);
                true
            }
            Exchanged::Found(_, None) => {
                self.target = None;
                true
            }
            Exchanged::Unavailable => {
                self.is_to_look = true;
                true
            }
            Exchanged::Stopped => false,
        }
    }

    /// Whether there is nobody to deliver to, as far as it is known.
    const fn is_done(&self) -> bool {
        self.target.is_none() && !self.is_to_look
    }

    /// Ends, unless somebody has rung meanwhile: then it is to look again.
    fn has_ended(&mut self, is_closing: bool) -> bool {
        let mut running = self.shared.running();
        if !is_closing && pin!(self.bell.notified()).enable() {
            self.is_to_look = true;
            return false;
        }
        running.remove(&self.subscription);
        true
    }
}

async fn attempt(shared: Arc<Shared>, target: Arc<Target>, delivery: Delivery) -> Attempted {
    let began = Instant::now();
    let Shared { client, secrets, under_way, settings, .. } = &*shared;
    let end = deliver(client, secrets, under_way, &target, &delivery, settings.attempt).await;
    shared.counts.count(&end, began.elapsed());
    (delivery.generation, delivery.event.offset, end)
}

async fn tell(cell: CellHandle, report: Vec<u8>) -> Exchanged {
    let mut command = Vec::with_capacity(64 + report.len());
    machine::encode_head(&mut command, Stamp::MAX, "", "");
    Op::Topic(TopicOp::Delivered(Reports::new(&report))).encode(&mut command);
    Exchanged::Reported { taken: submit(&cell, command).await }
}

async fn find(cell: CellHandle, subscription: u64, ask: WindowAsk) -> Exchanged {
    let (sender, receiver) = oneshot::channel();
    let query = Query::Topics(TopicQuery::Deliveries { subscription, from: ask.from, limit: ask.limit });
    let read = Read { level: Level::Eventual, deadline_us: cell.now_us() + ASK_US_MAX, query };
    // The receiver lives until the answer is there.
    cell.read(read, move |reply| drop(sender.send(reply)));
    match receiver.await.map(|reply| reply.found) {
        Ok(Ok(Found::Topics(TopicFound::Deliveries(deliveries)))) => Exchanged::Found(ask, deliveries),
        Ok(Err(ReadError::Stopping)) | Err(_) => Exchanged::Stopped,
        Ok(_) => {
            tokio::time::sleep(ASK_PAUSE).await;
            Exchanged::Unavailable
        }
    }
}
