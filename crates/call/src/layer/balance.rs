//! The balancer: of two endpoints at random the less loaded one, among those that are in rotation and ready.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use super::Exchange;
use crate::core::balance::{Candidate, Member, RotationSettings, choose, ejected_max};
use crate::core::clock;
use crate::core::sign::{self, Sign};
use crate::core::verdict::Evidence;
use crate::transport::Answering;

/// The layer over all endpoints of a destination.
#[derive(Debug)]
pub struct Balance<S> {
    shared: Arc<Shared<S>>,
}

#[derive(Debug)]
struct Shared<S> {
    endpoints: RwLock<Arc<[Arc<Endpoint<S>>]>>,
    settings: RotationSettings,
}

/// One of them.
#[derive(Debug)]
pub struct Endpoint<S> {
    address: SocketAddr,
    service: S,
    member: Mutex<Member>,
}

/// What strangers may know of one.
#[derive(Clone, PartialEq, Debug)]
pub struct EndpointStatus {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it is asked in good times.
    pub in_rotation: bool,
    /// How suspicious its silence is.
    pub phi: f64,
    /// Its peak-EWMA latency.
    pub latency: Duration,
    /// Calls under way.
    pub outstanding: u32,
}

impl<S> Clone for Balance<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: Exchange + Sync> Balance<S> {
    /// Over these endpoints.
    pub fn new(endpoints: Vec<(SocketAddr, S)>, settings: RotationSettings) -> Self {
        let balance = Self { shared: Arc::new(Shared { endpoints: RwLock::new(Arc::new([])), settings }) };
        let mut endpoints: std::collections::HashMap<_, _> = endpoints.into_iter().collect();
        let addresses: Vec<_> = endpoints.keys().copied().collect();
        balance.update(&addresses, |address| endpoints.remove(&address).expect("each address is asked for once"));
        balance
    }

    /// Sets the addresses: those that stay keep what is known of them, `make` makes the new ones.
    pub fn update(&self, addresses: &[SocketAddr], mut make: impl FnMut(SocketAddr) -> S) {
        let now = clock::now();
        let old = self.endpoints();
        let mut endpoints: Vec<Arc<Endpoint<S>>> = Vec::with_capacity(addresses.len());
        for address in addresses {
            if endpoints.iter().any(|endpoint| endpoint.address == *address) {
                continue;
            }
            let kept = old.iter().find(|endpoint| endpoint.address == *address).cloned();
            endpoints.push(kept.unwrap_or_else(|| {
                let member = Mutex::new(Member::new(now));
                Arc::new(Endpoint { address: *address, service: make(*address), member })
            }));
        }
        *self.shared.endpoints.write().unwrap_or_else(PoisonError::into_inner) = endpoints.into();
    }

    /// All of them.
    pub fn endpoints(&self) -> Arc<[Arc<Endpoint<S>>]> {
        Arc::clone(&self.shared.endpoints.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of them.
    pub fn status(&self) -> Vec<EndpointStatus> {
        let (now, settings) = (clock::now(), &self.shared.settings);
        let status = |endpoint: &Arc<Endpoint<S>>| {
            let member = endpoint.member();
            EndpointStatus {
                address: endpoint.address,
                in_rotation: member.in_rotation(now, settings),
                phi: member.phi(now),
                latency: member.latency(now, settings),
                outstanding: member.outstanding(),
            }
        };
        self.endpoints().iter().map(status).collect()
    }

    /// What a health check of an endpoint said.
    pub fn checked(&self, endpoint: &Endpoint<S>, well: bool) {
        endpoint.member().checked(well, clock::now(), &self.shared.settings);
    }

    pub(crate) fn downgrade(&self) -> impl Fn() -> Option<Self> + Send + Sync + use<S> {
        let shared = Arc::downgrade(&self.shared);
        move || Some(Self { shared: shared.upgrade()? })
    }

    fn choose(&self, endpoints: &[Arc<Endpoint<S>>]) -> Option<usize> {
        if endpoints.len() == 1 {
            return Some(0);
        }
        let (now, settings) = (clock::now(), &self.shared.settings);
        let candidate = |endpoint: &Arc<Endpoint<S>>| {
            let ready = endpoint.is_ready();
            let member = endpoint.member();
            Candidate { load: member.load(now, settings), in_rotation: member.in_rotation(now, settings), ready }
        };
        let candidates: Vec<_> = endpoints.iter().map(candidate).collect();
        choose(&candidates, settings, (fastrand::u64(..), fastrand::u64(..)))
    }

    fn ended(&self, endpoint: &Endpoint<S>, sign: Sign, took: Duration) {
        let (now, settings) = (clock::now(), &self.shared.settings);
        let should_eject = endpoint.member().ended(sign, took, now, settings);
        if should_eject {
            let endpoints = self.endpoints();
            let ejected = endpoints.iter().filter(|endpoint| endpoint.member().is_ejected(now)).count();
            if ejected < ejected_max(endpoints.len(), settings) {
                endpoint.member().eject(now, settings);
            }
        }
    }
}

impl<S: Exchange + Sync> Endpoint<S> {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What asks it.
    pub fn service(&self) -> &S {
        &self.service
    }

    fn member(&self) -> MutexGuard<'_, Member> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ready(&self) -> bool {
        let ready = self.service.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(())))
    }
}

impl<S: Exchange + Sync> tower::Service<Request<Bytes>> for Balance<S> {
    type Response = Response<Bytes>;
    type Error = Evidence;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Evidence>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Answering {
        let endpoints = self.endpoints();
        let Some(at) = self.choose(&endpoints) else {
            return Box::pin(std::future::ready(Err(Evidence::CircuitOpen)));
        };
        let endpoint = Arc::clone(&endpoints[at]);
        let mut service = endpoint.service.clone();
        // A service may only be called once it has said that it is ready, and another one's word does not count.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(evidence)) => return Box::pin(std::future::ready(Err(evidence))),
            Poll::Pending => return Box::pin(std::future::ready(Err(Evidence::CircuitOpen))),
        }
        let begun = clock::now();
        endpoint.member().asked(begun);
        let answer = service.call(request);
        let mut visit = Visit { balance: self.clone(), endpoint, begun, sign: Sign::None };
        Box::pin(async move {
            let result = answer.await;
            visit.saw(sign::of(&result));
            result
        })
    }
}

/// A call to an endpoint, which ends also when it is dropped.
struct Visit<S: Exchange + Sync> {
    balance: Balance<S>,
    endpoint: Arc<Endpoint<S>>,
    begun: Duration,
    sign: Sign,
}

impl<S: Exchange + Sync> Visit<S> {
    fn saw(&mut self, sign: Sign) {
        self.sign = sign;
    }
}

impl<S: Exchange + Sync> Drop for Visit<S> {
    fn drop(&mut self) {
        let took = clock::now().saturating_sub(self.begun);
        self.balance.ended(&self.endpoint, self.sign, took);
    }
}
