//! Names become endpoints here, and the address policy has its say: no connection goes to an address that it was not asked
//! about, since nothing below looks a name up again.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::Mutex;

use super::balance::Balance;
use super::{Exchange, ask};
use crate::core::clock;
use crate::core::verdict::Evidence;
use crate::terms::Terms;
use crate::transport::Answering;
use crate::transport::address::AddressPolicy;

/// Where a destination is, and how its endpoints are made.
pub struct Names<S> {
    /// Without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Asked about each address.
    pub policy: Arc<dyn AddressPolicy>,
    /// How long an answer of the resolver is believed.
    pub every: Duration,
    /// Makes the service of one address.
    pub make: Box<dyn Fn(SocketAddr) -> S + Send + Sync>,
}

/// The layer above a balancer.
pub struct Resolve<S> {
    inner: Balance<S>,
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    names: Names<S>,
    /// When to look again, in ms; 0 = nothing is known yet.
    again_ms: AtomicU64,
    failed: Mutex<Option<(Duration, Evidence)>>,
}

/// How long a failure to resolve is believed: a name that is down must not be asked for by every call.
const FAILURE_BELIEVED: Duration = Duration::from_secs(1);

/// How long a lookup that nobody waits for may take.
const LOOKUP_WAIT: Duration = Duration::from_secs(5);

impl<S> Clone for Resolve<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S> std::fmt::Debug for Resolve<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = &self.shared.names;
        f.debug_struct("Resolve").field("host", &names.host).field("port", &names.port).finish_non_exhaustive()
    }
}

impl<S: Exchange + Sync> Resolve<S> {
    /// Fills that balancer.
    pub fn new(inner: Balance<S>, names: Names<S>) -> Self {
        let shared = Shared { names, again_ms: AtomicU64::new(0), failed: Mutex::new(None) };
        Self { inner, shared: Arc::new(shared) }
    }

    async fn run(mut self, request: Request<Bytes>) -> Result<Response<Bytes>, Evidence> {
        let until = Terms::of(&request).until;
        self.refresh(until).await?;
        ask(&mut self.inner, request).await
    }

    async fn refresh(&self, until: Instant) -> Result<(), Evidence> {
        match self.shared.again_ms.load(Ordering::Acquire) {
            0 => self.first(until).await,
            again_ms => {
                self.look_again_at(again_ms);
                Ok(())
            }
        }
    }

    /// Old addresses do while new ones are looked up: no call waits for that.
    fn look_again_at(&self, again_ms: u64) {
        let now = clock::now();
        if (now.as_millis() as u64) < again_ms {
            return;
        }
        // Whoever moves the hand does it; if it comes to nothing, somebody does after that pause.
        let next_ms = (now + FAILURE_BELIEVED).as_millis() as u64;
        let moved = self.shared.again_ms.compare_exchange(again_ms, next_ms, Ordering::AcqRel, Ordering::Relaxed);
        if moved.is_ok() {
            let this = self.clone();
            tokio::spawn(async move {
                if this.resolve(Instant::now() + LOOKUP_WAIT).await.is_ok() {
                    this.look_again_after(this.shared.names.every);
                }
            });
        }
    }

    async fn first(&self, until: Instant) -> Result<(), Evidence> {
        let locked = tokio::time::timeout_at(until.into(), self.shared.failed.lock()).await;
        let mut failed = locked.map_err(|_| self.unresolved())?;
        if self.shared.again_ms.load(Ordering::Acquire) != 0 {
            return Ok(());
        }
        if let Some((_, evidence)) = failed.as_ref().filter(|(at, _)| clock::now() - *at < FAILURE_BELIEVED) {
            return Err(evidence.clone());
        }
        match self.resolve(until).await {
            Ok(()) => self.look_again_after(self.shared.names.every),
            Err(evidence) => {
                *failed = Some((clock::now(), evidence.clone()));
                return Err(evidence);
            }
        }
        Ok(())
    }

    async fn resolve(&self, until: Instant) -> Result<(), Evidence> {
        let Names { host, port, policy, make, .. } = &self.shared.names;
        let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, *port)],
            Err(_) => {
                let lookup = tokio::net::lookup_host((host.as_str(), *port));
                let found = tokio::time::timeout_at(until.into(), lookup).await;
                found.ok().and_then(Result::ok).ok_or_else(|| self.unresolved())?.collect()
            }
        };
        let mut refused = None;
        let allowed = |address: &SocketAddr| match policy.check(host, *address) {
            Ok(()) => true,
            Err(why) => {
                refused.get_or_insert(why);
                false
            }
        };
        let addresses: Vec<SocketAddr> = found.into_iter().filter(allowed).collect();
        if addresses.is_empty() {
            return Err(refused.map_or_else(|| self.unresolved(), |why| Evidence::AddressRefused(why.into())));
        }
        self.inner.update(&addresses, make);
        Ok(())
    }

    fn look_again_after(&self, pause: Duration) {
        // Rounded up: believed for no less than that. Never 0, which means that nothing is known.
        let again_ms = (clock::now() + pause).as_millis() as u64 + 1;
        self.shared.again_ms.store(again_ms, Ordering::Release);
    }

    fn unresolved(&self) -> Evidence {
        Evidence::NameNotResolved(self.shared.names.host.as_str().into())
    }
}

impl<S: Exchange + Sync> tower::Service<Request<Bytes>> for Resolve<S> {
    type Response = Response<Bytes>;
    type Error = Evidence;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Evidence>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Answering {
        Box::pin(self.clone().run(request))
    }
}
