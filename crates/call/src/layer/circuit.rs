//! The breaker as a layer: while it is open the service is not ready, so that a balancer passes the endpoint by. One who
//! uses it alone sheds the load (`tower::load_shed`), or waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Sleep;

use super::Exchange;
use crate::core::breaker::{Breaker, BreakerSettings, BreakerState, Entry};
use crate::core::clock;
use crate::core::sign::{self, Sign};
use crate::core::verdict::Evidence;
use crate::transport::Answering;

/// The layer.
#[derive(Debug)]
pub struct Circuit<S> {
    inner: S,
    breaker: Arc<Mutex<Breaker>>,
    waiting: Option<Pin<Box<Sleep>>>,
}

/// While a probe is under way nobody knows how long it will take: so often a lone waiter looks again.
const PROBE_GLANCE: Duration = Duration::from_millis(50);

impl<S: Clone> Clone for Circuit<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), breaker: Arc::clone(&self.breaker), waiting: None }
    }
}

impl<S> Circuit<S> {
    /// A closed one, shared by all clones.
    pub fn new(inner: S, settings: BreakerSettings) -> Self {
        Self { inner, breaker: Arc::new(Mutex::new(Breaker::new(settings))), waiting: None }
    }

    /// Its state now.
    pub fn state(&self) -> BreakerState {
        lock(&self.breaker).state(clock::now())
    }

    /// What it guards.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: Exchange> tower::Service<Request<Bytes>> for Circuit<S> {
    type Response = Response<Bytes>;
    type Error = Evidence;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Evidence>> {
        loop {
            let now = clock::now();
            let pause = match lock(&self.breaker).ready(now) {
                Ok(()) => return self.inner.poll_ready(cx),
                Err(until) => until.map_or(PROBE_GLANCE, |until| until.saturating_sub(now)),
            };
            let sleep = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(sleep.as_mut().poll(cx));
            self.waiting = None;
        }
    }

    fn call(&mut self, request: Request<Bytes>) -> Answering {
        let entered = lock(&self.breaker).enter(clock::now());
        let Ok(entry) = entered else { return Box::pin(std::future::ready(Err(Evidence::CircuitOpen))) };
        let mut visit = Visit { breaker: Arc::clone(&self.breaker), entry, sign: Sign::None };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let result = answer.await;
            visit.saw(sign::of(&result));
            result
        })
    }
}

/// What is dropped in the middle says nothing, but must not hold the probe's place for ever.
struct Visit {
    breaker: Arc<Mutex<Breaker>>,
    entry: Entry,
    sign: Sign,
}

impl Visit {
    fn saw(&mut self, sign: Sign) {
        self.sign = sign;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        lock(&self.breaker).record(self.entry, self.sign, clock::now());
    }
}

fn lock(breaker: &Mutex<Breaker>) -> MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(PoisonError::into_inner)
}
