//! Retries: at most 3, under the budget, and only of what carries a key or certainly was not done. This is the one layer
//! that tries again; the header [`Hop`] keeps the hops behind it from doing so too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};

use super::{Exchange, ask, attempt, exchange};
use crate::core::backoff::{Backoff, Pushback, pushback};
use crate::core::budget::Budget;
use crate::core::clock;
use crate::core::hop::{ATTEMPT, Hop};
use crate::core::verdict::{Evidence, Meanings, Verdict, settle};
use crate::terms::{RETRIES_MAX, Terms};
use crate::transport::read::Trailers;
use crate::turn::Turns;

/// Names the effect; the same on each attempt.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What all calls to one destination share.
#[derive(Debug)]
pub struct RetryPolicy {
    /// Pauses.
    pub backoff: Backoff,
    /// The destination's budget.
    pub budget: Arc<Budget>,
    /// The process's.
    pub budget_of_process: Arc<Budget>,
    /// Who waits for them.
    pub turns: Arc<Turns>,
    /// What its answers mean.
    pub meanings: Meanings,
    /// No retry begins with less time than this.
    pub attempt_min: Duration,
    /// What has been counted.
    pub counters: RetryCounters,
}

/// Since the start, for metrics.
#[derive(Default, Debug)]
pub struct RetryCounters {
    /// Requests made, and so first attempts.
    pub requests: AtomicU64,
    /// Attempts after the first.
    pub retries: AtomicU64,
    /// Retries that the budget refused.
    pub budget_refusals: AtomicU64,
}

/// The layer.
#[derive(Clone, Debug)]
pub struct Retry<S> {
    inner: S,
    policy: Arc<RetryPolicy>,
}

impl<S: Exchange> Retry<S> {
    /// Under that policy.
    pub fn new(inner: S, policy: Arc<RetryPolicy>) -> Self {
        Self { inner, policy }
    }

    async fn run(mut self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Evidence> {
        let policy = &*self.policy;
        let terms = Terms::ensure(&mut request);
        let outer = Hop::of(request.headers());
        let keyed = request.headers().contains_key(IDEMPOTENCY_KEY);
        let retries_max = if outer.forbids_retries() { 0 } else { terms.retries_max.min(RETRIES_MAX) };
        let now = clock::now();
        if !terms.again {
            // What is a retry for an outer hop is no first attempt for this one, and earns no retries.
            if outer.attempt == 1 {
                policy.budget.first(now);
                policy.budget_of_process.first(now);
                policy.turns.ring();
            }
            policy.counters.requests.fetch_add(1, Ordering::Relaxed);
        }
        let mut open: Option<(Verdict, Result<Response<Bytes>, Evidence>)> = None;
        for retry in 1.. {
            let next = (retry <= retries_max).then(|| request.clone());
            let empty = !policy.has_room(clock::now());
            request.headers_mut().insert(ATTEMPT, outer.inward(retry + u32::from(terms.again), empty).value());
            let result = ask(&mut self.inner, request).await;
            let (verdict, _) = attempt::judge(&result, policy.meanings);
            let pause = if may_try_again(&verdict, keyed) { policy.pause(retry, &result) } else { None };
            let (verdict, result) = combine(open, verdict, result);
            let granted = match (next, pause) {
                (Some(next), Some(pause)) if verdict != Verdict::Committed => {
                    policy.withdraw(pause, &terms).map(|pause| (next, pause))
                }
                _ => None,
            };
            let Some((next, pause)) = granted else {
                terms.conclude(verdict);
                return result;
            };
            open = verdict.is_open().then_some((verdict, result));
            tokio::time::sleep(pause).await;
            request = next;
        }
        unreachable!("retries are at most {RETRIES_MAX}")
    }
}

exchange!(Retry);

/// The result that stands: an earlier attempt that is still open is not closed by one that certainly did nothing.
fn combine(
    open: Option<(Verdict, Result<Response<Bytes>, Evidence>)>,
    verdict: Verdict,
    result: Result<Response<Bytes>, Evidence>,
) -> (Verdict, Result<Response<Bytes>, Evidence>) {
    let Some((earlier, earlier_result)) = open else { return (verdict, result) };
    let status: Option<StatusCode> = result.as_ref().ok().map(Response::status);
    let settled = settle(Some(earlier), verdict.clone(), status);
    if settled == verdict { (settled, result) } else { (settled, earlier_result) }
}

fn may_try_again(verdict: &Verdict, keyed: bool) -> bool {
    match verdict {
        Verdict::Committed | Verdict::Refused => false,
        Verdict::StillAtIt | Verdict::Uncertain(_) => keyed,
        // Our own limits say no for longer than a backoff lasts, and what cannot be sent never can.
        Verdict::NotDone(
            Evidence::DeadlinePassed
            | Evidence::LimitReached
            | Evidence::CircuitOpen
            | Evidence::RequestInvalid(_)
            | Evidence::AddressRefused(_),
        ) => false,
        Verdict::NotDone(_) => true,
    }
}

impl RetryPolicy {
    fn has_room(&self, now: Duration) -> bool {
        self.budget.has_room(now) && self.budget_of_process.has_room(now)
    }

    /// How long to pause, if the receiver lets us ask again at all.
    fn pause(&self, retry: u32, result: &Result<Response<Bytes>, Evidence>) -> Option<Duration> {
        let asked = result.as_ref().map_or(Pushback::Silent, |answer| {
            let trailers = answer.extensions().get().map(|Trailers(trailers)| pushback(trailers));
            match pushback(answer.headers()) {
                Pushback::Silent => trailers.unwrap_or(Pushback::Silent),
                asked => asked,
            }
        });
        let pause = self.backoff.pause(retry, fastrand::f64());
        match asked {
            Pushback::Silent => Some(pause),
            Pushback::After(after) => Some(pause.max(after)),
            Pushback::Never => None,
        }
    }

    /// Takes the retry out of the budget, before the backoff, unless it could not finish in time anyway, or somebody waits
    /// for what there is: a later attempt is of what has been open for longer.
    fn withdraw(&self, pause: Duration, terms: &Terms) -> Option<Duration> {
        if terms.remaining(Instant::now()) < pause.saturating_add(self.attempt_min) {
            return None;
        }
        let granted = self.turns.waiting() == 0 && self.budget.withdraw(&self.budget_of_process, clock::now());
        self.counted(granted).then_some(pause)
    }

    pub(crate) fn counted(&self, granted: bool) -> bool {
        let counter = if granted { &self.counters.retries } else { &self.counters.budget_refusals };
        counter.fetch_add(1, Ordering::Relaxed);
        granted
    }
}
