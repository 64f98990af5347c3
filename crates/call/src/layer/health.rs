//! Health checks: every 10 s a read of a path that the destination has for it. They go through the breaker, so that one
//! can be its probe, and past the retries, since one lost check is no news.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};

use super::Exchange;
use super::balance::{Balance, Endpoint};
use crate::core::sign::{self, Sign};
use crate::terms::Terms;

/// What is checked, and how often.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthSettings {
    /// The path of a `GET`; anything under 500, but 429, is well.
    pub path: String,
    /// How often. Default 10 s.
    pub every: Duration,
    /// How long one check waits. Default 1 s.
    pub wait: Duration,
}

impl HealthSettings {
    /// That path, every 10 s, each waiting 1 s at most.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), every: Duration::from_secs(10), wait: Duration::from_secs(1) }
    }
}

/// Checks all endpoints until the balancer is gone. `origin` is the destination's `http://host:port`.
pub(crate) async fn run<S: Exchange + Sync>(
    balance: impl Fn() -> Option<Balance<S>>,
    origin: String,
    settings: HealthSettings,
) {
    let Ok(url) = format!("{origin}{}", settings.path).parse::<Uri>() else { return };
    let mut ticks = tokio::time::interval(settings.every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(balance) = balance() else { return };
        let checks: Vec<_> = balance
            .endpoints()
            .iter()
            .map(|endpoint| {
                let (balance, endpoint) = (balance.clone(), std::sync::Arc::clone(endpoint));
                tokio::spawn(check(balance, endpoint, url.clone(), settings.wait))
            })
            .collect();
        for check in checks {
            // One that panicked says nothing about the endpoint.
            let _ = check.await;
        }
    }
}

async fn check<S: Exchange + Sync>(
    balance: Balance<S>,
    endpoint: std::sync::Arc<Endpoint<S>>,
    url: Uri,
    wait: Duration,
) {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url;
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(crate::USER_AGENT));
    request.extensions_mut().insert(Terms::new(Instant::now() + wait, 0, true));
    let mut service = endpoint.service().clone();
    let ready = service.poll_ready(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    if ready.is_pending() {
        return;
    }
    let result = service.call(request).await;
    match sign::of(&result) {
        Sign::Good => balance.checked(&endpoint, true),
        Sign::Bad | Sign::Throttled => balance.checked(&endpoint, false),
        Sign::None => {}
    }
}
