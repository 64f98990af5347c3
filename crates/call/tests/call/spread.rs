//! Balancing, health checks and hedging over layers put together by hand, as a stranger would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use call::core::budget::Budget;
use call::layer::attempt::Attempt;
use call::layer::balance::Balance;
use call::layer::circuit::Circuit;
use call::layer::hedge::{Hedge, HedgePolicy};
use call::layer::resolve::{Names, Resolve};
use call::transport::Transport;
use call::{BreakerSettings, BudgetSettings, Evidence, HealthSettings, Meanings, RotationSettings, Terms};
use http::{Request, Response};
use tower::{Service, ServiceExt};

use crate::receiver::{Receiver, answer, client, effect};

fn request(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn an_endpoint_with_an_open_breaker_is_passed_by() {
    let well = Receiver::answering(answer(200, "")).await;
    let ill = Receiver::answering(answer(500, "")).await;
    let endpoint = |receiver: &Receiver| {
        let transport = Transport::plain(receiver.address, Default::default());
        (receiver.address, Circuit::new(transport, BreakerSettings::default()))
    };
    // Ejection is switched off, so that the breaker alone has to do it.
    let rotation = RotationSettings { failures_in_a_row_max: 0, phi_max: f64::INFINITY, ..Default::default() };
    let mut balance = Balance::new(vec![endpoint(&well), endpoint(&ill)], rotation);
    // The ill one is asked until its breaker opens; failures cost a second of latency, so the load has to be shared.
    let mut circuit = balance.endpoints().iter().find(|e| e.address() == ill.address).unwrap().service().clone();
    for _ in 0..20 {
        circuit.ready().await.unwrap().call(request(&ill.url())).await.unwrap();
    }
    for _ in 0..200 {
        let answer = balance.ready().await.unwrap().call(request(&well.url())).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!((well.executions(), ill.executions()), (200, 20));
}

#[tokio::test]
async fn an_endpoint_that_fails_in_a_row_is_ejected_but_never_all() {
    let receivers = [answer(500, ""), answer(500, ""), answer(500, ""), answer(200, "")];
    let mut started = Vec::new();
    for answer in receivers {
        started.push(Receiver::answering(answer).await);
    }
    let endpoints = started.iter().map(|r| (r.address, Transport::plain(r.address, Default::default()))).collect();
    let rotation = RotationSettings { phi_max: f64::INFINITY, ..Default::default() };
    let mut balance: Balance<Transport> = Balance::new(endpoints, rotation);
    // All at the same moment see equal loads, and so the choice falls on each.
    for _ in 0..40 {
        let calls: Vec<_> = (0..16).map(|_| tokio::spawn(balance.call(request("http://any/")))).collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
    }
    let out = balance.status().iter().filter(|endpoint| !endpoint.in_rotation).count();
    assert_eq!(out, 2, "half of four, though three are ill: {:?}", balance.status());
    assert!(balance.status().iter().find(|e| e.address == started[3].address).unwrap().in_rotation);
}

#[tokio::test]
async fn health_checks_are_made_and_counted() {
    let receiver = Receiver::answering(answer(503, "")).await;
    let client = client(|to| {
        to.health = Some(HealthSettings { every: Duration::from_millis(20), ..HealthSettings::new("/healthz") });
    });
    client.call(effect(&receiver.url())).await;
    let begun = Instant::now();
    while client.status()[0].endpoints[0].rotation.in_rotation {
        assert!(begun.elapsed() < Duration::from_secs(5), "never out");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let checks = receiver.seen.heads.lock().unwrap().iter().filter(|head| head.starts_with("GET /healthz ")).count();
    assert!(checks >= 3, "out after {checks} checks");
    assert!(begun.elapsed() >= Duration::from_millis(40), "three checks, 20 ms apart");
}

/// Answers the first request late, all others at once.
fn first_is_slow(asked: &Arc<AtomicUsize>) -> Slow {
    Slow(Arc::clone(asked))
}

#[derive(Clone)]
struct Slow(Arc<AtomicUsize>);

impl Service<Request<Bytes>> for Slow {
    type Response = Response<Bytes>;
    type Error = Evidence;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Bytes>, Evidence>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Evidence>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let first = self.0.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            if first {
                std::future::pending::<()>().await;
            }
            Ok(Response::new(Bytes::new()))
        })
    }
}

/// How often the service was asked, and whether an answer came.
async fn hedged(read: bool, floor: u32) -> (usize, bool, Vec<String>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let budget = Arc::new(Budget::new(BudgetSettings { percent: 10, floor, floor_again: 0 }));
    let policy = HedgePolicy {
        after: Some(Duration::from_millis(10)),
        budget: Arc::clone(&budget),
        budget_of_process: Arc::new(Budget::new(BudgetSettings { percent: 10, floor: 9, floor_again: 0 })),
        hedges: AtomicU64::new(0),
    };
    let service = Hedge::new(Attempt::new(first_is_slow(&asked), Meanings::default()), Arc::new(policy));
    let terms = Terms::new(Instant::now() + Duration::from_secs(5), 0, read);
    let mut request = request("http://any/");
    request.extensions_mut().insert(terms.clone());
    let answered = tokio::time::timeout(Duration::from_millis(300), service.oneshot(request)).await;
    let attempts = terms.attempts().iter().map(|attempt| attempt.verdict.to_string()).collect();
    (asked.load(Ordering::SeqCst), answered.is_ok(), attempts)
}

#[tokio::test]
async fn a_slow_read_is_asked_twice_and_nothing_else_is() {
    let (asked, answered, attempts) = hedged(true, 1).await;
    assert_eq!((asked, answered), (2, true));
    assert_eq!(attempts, ["committed", "uncertain: given up while it was under way"]);
    assert_eq!(hedged(false, 1).await.0, 1, "no read");
    assert_eq!(hedged(true, 0).await.0, 1, "no budget");
}

/// Makes the address of the one endpoint known, and counts how often that is asked for.
fn names(address: SocketAddr, asked: &Arc<AtomicUsize>) -> Names<Transport> {
    #[derive(Debug)]
    struct Counting(Arc<AtomicUsize>);
    impl call::AddressPolicy for Counting {
        fn check(&self, _: &str, _: SocketAddr) -> Result<(), String> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }
    Names {
        host: address.ip().to_string(),
        port: address.port(),
        policy: Arc::new(Counting(Arc::clone(asked))),
        every: Duration::from_millis(20),
        make: Box::new(|address| Transport::plain(address, Default::default())),
    }
}

#[tokio::test]
async fn names_are_looked_up_again_and_connections_stay() {
    let receiver = Receiver::answering(answer(200, "")).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let balance = Balance::new(Vec::new(), RotationSettings::default());
    let mut resolve = Resolve::new(balance, names(receiver.address, &asked));
    let begun = Instant::now();
    while asked.load(Ordering::SeqCst) < 3 {
        resolve.ready().await.unwrap().call(request(&receiver.url())).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "looked up {asked:?} times");
    }
    assert!(begun.elapsed() >= Duration::from_millis(40), "three times, 20 ms apart: {:?}", begun.elapsed());
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn the_whole_stack_hedges_reads_only() {
    for (read, connections) in [(true, 2), (false, 1)] {
        let receiver = Receiver::start(|mut peer| async move {
            let nth = peer.seen.connections.load(Ordering::SeqCst);
            peer.request().await;
            if nth > 1 {
                let _ = peer.send(answer(200, "").as_bytes()).await;
            }
            peer.silent().await;
        })
        .await;
        let client = client(|to| to.hedge_after = Some(Duration::from_millis(20)));
        let mut call = effect(&receiver.url());
        (call.read, call.retries_max) = (read, 0);
        let report = client.call(call).await;
        assert_eq!(report.verdict == call::Verdict::Committed, read, "{}", report.verdict);
        assert_eq!((receiver.connections(), client.status()[0].hedges), (connections, connections as u64 - 1));
    }
}

#[tokio::test]
async fn endpoints_that_stay_keep_what_is_known_of_them() {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let balance: Balance<Transport> = Balance::new(Vec::new(), RotationSettings::default());
    let make = |address| Transport::plain(address, Default::default());
    balance.update(&[address(1), address(2), address(1)], make);
    assert_eq!(balance.endpoints().len(), 2, "each address once");
    let kept = Arc::clone(&balance.endpoints()[1]);
    balance.update(&[address(2), address(3)], make);
    assert!(Arc::ptr_eq(&balance.endpoints()[0], &kept));
    let none = Balance::<Transport>::new(Vec::new(), RotationSettings::default());
    assert_eq!(none.oneshot(request("http://any/")).await.unwrap_err(), Evidence::CircuitOpen);
}
