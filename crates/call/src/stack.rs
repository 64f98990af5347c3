//! The whole stack of a destination, outermost layer last, with one reason for each.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::core::breaker::BreakerSettings;
use crate::core::budget::Budget;
use crate::core::verdict::Evidence;
use crate::layer::attempt::Attempt;
use crate::layer::balance::Balance;
use crate::layer::bulkhead::Bulkhead;
use crate::layer::circuit::Circuit;
use crate::layer::deadline::Deadline;
use crate::layer::health;
use crate::layer::hedge::{Hedge, HedgePolicy};
use crate::layer::resolve::{Names, Resolve};
use crate::layer::retry::{Retry, RetryCounters, RetryPolicy};
use crate::origin::Origin;
use crate::settings::{DestinationSettings, Settings};
use crate::transport::Transport;
use crate::transport::connect::Tls;
use crate::turn::{ProcessTurns, Turns};

pub(crate) type EndpointService = Circuit<Transport>;
pub(crate) type Stack = Deadline<Retry<Hedge<Attempt<Bulkhead<Resolve<EndpointService>>>>>>;

/// A destination and what it is seen by.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) stack: Stack,
    pub(crate) retry: Arc<RetryPolicy>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) hedge: Arc<HedgePolicy>,
    pub(crate) balance: Balance<EndpointService>,
    pub(crate) bulkhead: Bulkhead<Resolve<EndpointService>>,
    pub(crate) used_ms: AtomicU64,
}

impl Destination {
    pub(crate) fn new(
        origin: &Origin,
        settings: &Settings,
        tls: &rustls::ClientConfig,
        process: &Arc<ProcessTurns>,
    ) -> Result<Self, Evidence> {
        let own = settings.of(origin.host(), origin.port()).clone();
        let tls = if origin.is_secure() { Some(Tls::new(tls, origin.host(), own.transport.protocol)?) } else { None };
        let budget = Arc::new(Budget::new(own.budget));
        let turns = Arc::new(Turns::new(Arc::clone(&budget), Arc::clone(process)));
        let retry = Arc::new(retry_policy(&own, &budget, process.budget(), &turns));
        let hedge = Arc::new(hedge_policy(&own, &budget, process.budget()));

        // One of the endpoints, by load, suspicion and readiness; which ones there are comes from above.
        let balance = Balance::new(Vec::new(), own.rotation);
        // Names become addresses, and the policy is asked about each: nothing below looks a name up.
        let resolve = Resolve::new(balance.clone(), names(origin, settings, &own, tls));
        // So many at a time, counted where one attempt is one: a pause between two holds no place.
        let bulkhead = Bulkhead::new(resolve, own.bulkhead);
        // The time that remains is written on each attempt, and how it ended is written down.
        let attempt = Attempt::new(bulkhead.clone(), own.meanings);
        // A slow read is asked twice: within one attempt of the layer above, so that both count once for it.
        let hedge_layer = Hedge::new(attempt, Arc::clone(&hedge));
        // The one layer that tries again, and the last that knows whether it may.
        let retry_layer = Retry::new(hedge_layer, Arc::clone(&retry));
        // Over everything, since it spans all attempts; what has no time left costs nothing but this look.
        let stack = Deadline::new(retry_layer, own.attempt_min);

        if let Some(checks) = own.health {
            tokio::spawn(health::run(balance.downgrade(), origin.to_string(), checks));
        }
        Ok(Self { stack, retry, turns, hedge, balance, bulkhead, used_ms: AtomicU64::new(0) })
    }
}

/// An endpoint is its connections, and above them the breaker: what it fails to carry counts against this address alone.
fn names(origin: &Origin, settings: &Settings, own: &DestinationSettings, tls: Option<Tls>) -> Names<EndpointService> {
    let transport = own.transport;
    let breaker = own.breaker.unwrap_or(NEVER_OPENS);
    Names {
        host: origin.host().to_owned(),
        port: origin.port(),
        policy: Arc::clone(&settings.addresses),
        every: own.resolve_every,
        make: Box::new(move |address| Circuit::new(Transport::new(address, tls.clone(), transport), breaker)),
    }
}

const NEVER_OPENS: BreakerSettings = BreakerSettings {
    failures_percent: 100,
    samples_min: u32::MAX,
    open: std::time::Duration::ZERO,
    open_max: std::time::Duration::ZERO,
};

fn retry_policy(
    own: &DestinationSettings,
    budget: &Arc<Budget>,
    of_process: &Arc<Budget>,
    turns: &Arc<Turns>,
) -> RetryPolicy {
    RetryPolicy {
        backoff: own.backoff,
        budget: Arc::clone(budget),
        budget_of_process: Arc::clone(of_process),
        turns: Arc::clone(turns),
        meanings: own.meanings,
        attempt_min: own.attempt_min,
        counters: RetryCounters::default(),
    }
}

fn hedge_policy(own: &DestinationSettings, budget: &Arc<Budget>, of_process: &Arc<Budget>) -> HedgePolicy {
    HedgePolicy {
        after: own.hedge_after,
        budget: Arc::clone(budget),
        budget_of_process: Arc::clone(of_process),
        hedges: AtomicU64::new(0),
    }
}
