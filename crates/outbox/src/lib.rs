//! Performs effects after commit: each at least once, with its operation's key; what came of it goes back into the log.
//!
//! It holds nothing that must last. The cell hands over [`Work`]; what an attempt found is submitted as a
//! command, again and again until the cell takes it. If the process stops in between, the next leader's claim finds the
//! attempt open and calls it uncertain.

mod attempt;
mod definitions;
mod deliver;
mod delivered;
mod destination;
mod evaluate;
mod kept;
mod probe;
mod request;
mod secrets;
mod submit;
mod traces;
mod turn;
mod webhook;

use std::sync::Arc;
use std::time::{Duration, Instant};

use call::{AddressPolicy, Client};
use cell::{CellHandle, OutboxOf, Work};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use definitions::Definitions;
pub use deliver::DeliverySettings;
pub use delivered::{DELIVERY_BOUNDS_MS, Delivered, DeliveryCounts};
pub use destination::{check_address, check_asked};
pub use probe::{Probe, ProbeError};
pub use request::{Compensation, RequestError, check_headers, check_url, secrets_in};
pub use secrets::{CallSecrets, SecretsError, WebhookSecrets};
pub use traces::Traces;

use attempt::With;
use deliver::Couriers;
use evaluate::Evaluator;

/// How many calls may wait for their turn at one destination: as many as may be open.
pub const WAITING_MAX: usize = 100_000;

/// Work on its way from the cell's thread.
#[derive(Debug)]
struct Handed {
    work: Work,
    at: Instant,
}

/// Where the cell hands work over, before there is anybody to do it.
#[derive(Debug)]
pub struct Outbox {
    sender: UnboundedSender<Handed>,
    receiver: UnboundedReceiver<Handed>,
    under_way: UnderWay,
    call_secrets: Option<CallSecrets>,
    traces: Traces,
    deliveries: DeliveryCounts,
}

/// How many effects are being performed.
#[derive(Clone, Debug, Default)]
pub struct UnderWay {
    count: Arc<watch::Sender<usize>>,
    closing: Arc<watch::Sender<bool>>,
}

impl UnderWay {
    /// Begins no further delivery, and waits until nothing is being performed, at most so long. Says whether that came.
    pub async fn none_within(&self, patience: Duration) -> bool {
        self.closing.send_replace(true);
        let mut count = self.count.subscribe();
        let none = count.wait_for(|count| *count == 0);
        matches!(tokio::time::timeout(patience, none).await, Ok(Ok(_)))
    }

    /// How many.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Whether nothing further is to be begun.
    fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    fn begin(&self) -> Performing {
        self.count.send_modify(|count| *count += 1);
        Performing(self.clone())
    }
}

/// One effect being performed.
struct Performing(UnderWay);

impl Drop for Performing {
    fn drop(&mut self) {
        self.0.count.send_modify(|count| *count -= 1);
    }
}

impl Default for Outbox {
    fn default() -> Self {
        // Bounded by what may be open, which the cell sees to.
        let (sender, receiver) = unbounded_channel();
        Self {
            sender,
            receiver,
            under_way: UnderWay::default(),
            call_secrets: None,
            traces: Traces::default(),
            deliveries: DeliveryCounts::default(),
        }
    }
}

impl Outbox {
    /// What the cell calls with its work.
    pub fn of_cell(&self) -> OutboxOf {
        let sender = self.sender.clone();
        // After the end there is nobody to do it, and the claim of the next life finds it.
        Box::new(move |work| drop(sender.send(Handed { work, at: Instant::now() })))
    }

    /// With secrets that calls may show their receivers; without, a call that names one is not made.
    #[must_use]
    pub fn with_call_secrets(self, secrets: CallSecrets) -> Self {
        Self { call_secrets: Some(secrets), ..self }
    }

    /// Where to note which trace a call belongs to.
    pub fn traces(&self) -> Traces {
        self.traces.clone()
    }

    /// What deliveries come to, now and later.
    pub fn deliveries(&self) -> DeliveryCounts {
        self.deliveries.clone()
    }

    /// How many effects are being performed, now and later.
    pub fn under_way(&self) -> UnderWay {
        self.under_way.clone()
    }

    /// Performs what is handed over, until the cell is gone. What the steps of runs want called is judged by `addresses`
    /// before it is accepted, as what callers want is.
    pub async fn run(
        self,
        cell: CellHandle,
        client: Client,
        addresses: Arc<dyn AddressPolicy>,
        definitions: Definitions,
        secrets: WebhookSecrets,
        settings: DeliverySettings,
    ) {
        let Self { sender, mut receiver, under_way, call_secrets, traces, deliveries } = self;
        drop(sender);
        let with = With { client: client.clone(), secrets: call_secrets, traces, under_way: under_way.clone() };
        let evaluator = Evaluator::new(&cell, addresses, definitions);
        let couriers = Couriers::new(cell.clone(), client, secrets, settings, under_way.clone(), deliveries);
        let mut performing = JoinSet::new();
        loop {
            let handed = tokio::select! {
                handed = receiver.recv() => handed,
                // What it came to is told by itself.
                Some(_) = performing.join_next() => continue,
            };
            let Some(Handed { work, at }) = handed else { break };
            let (call, attempt, phase, remaining_us, accepted) = match work {
                Work::Try { call, attempt, phase, remaining_us, accepted } => {
                    (call, attempt, phase, remaining_us, accepted)
                }
                Work::Deliver { subscription } => {
                    couriers.wake(&mut performing, subscription);
                    continue;
                }
                Work::Abandon => {
                    // Everything waits somewhere, so this ends at once; and afterwards nothing more is begun.
                    performing.shutdown().await;
                    couriers.forget();
                    continue;
                }
                // What is not computed any more is asked for again by the next leader's claim.
                Work::Evaluate(_) if *under_way.closing.borrow() => continue,
                Work::Evaluate(evaluation) => {
                    performing.spawn(evaluator.clone().evaluate(cell.clone(), evaluation, under_way.begin()));
                    continue;
                }
            };
            let (cell, with, counted) = (cell.clone(), with.clone(), under_way.begin());
            performing.spawn(async move {
                let _counted = counted;
                let deadline = Duration::from_micros(remaining_us).saturating_sub(at.elapsed());
                let command = attempt::perform(&with, call, attempt, phase, deadline, &accepted).await;
                submit::submit(&cell, command).await;
            });
        }
        // What is under way ends by itself, and finds nobody to tell. Whoever still waits for something to deliver waits in vain.
        performing.detach_all();
        under_way.closing.send_replace(true);
    }
}
