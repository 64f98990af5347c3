//! Rows of the table that prove that nothing was done: the receiver carried out nothing, and the verdict says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use call::{AllowList, BulkheadSettings, Client, Evidence, LoopbackOnly, Settings, Verdict};
use tokio::net::TcpListener;

use crate::receiver::{Receiver, answer, client, effect, keyed, told};

#[tokio::test]
async fn name_not_resolved() {
    let report = client(|_| {}).call(effect("http://nowhere.invalid/effect")).await;
    assert_eq!(told(&report), "not done: no address for nowhere.invalid");
}

#[tokio::test]
async fn connection_refused() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let report = client(|_| {}).call(effect(&format!("http://{closed}/effect"))).await;
    assert_eq!(told(&report), "not done: no connection: connection refused");
    assert_eq!(report.attempts.len(), 4, "certainly not done, so tried again without a key");
}

#[tokio::test]
async fn tls_failed() {
    let receiver = Receiver::start(|mut peer| async move {
        let _ = peer.send(b"this is not TLS").await;
        peer.silent().await;
    })
    .await;
    let url = format!("https://localhost:{}/effect", receiver.address.port());
    let report = client(|_| {}).call(effect(&url)).await;
    assert!(matches!(report.verdict, Verdict::NotDone(Evidence::TlsFailed(_))), "{}", report.verdict);
    assert_eq!(receiver.executions(), 0);
}

#[tokio::test]
async fn tls_that_never_answers() {
    let receiver = Receiver::start(|peer| peer.silent()).await;
    let url = format!("https://localhost:{}/effect", receiver.address.port());
    let report = client(|_| {}).call(effect(&url)).await;
    assert_eq!(told(&report), "not done: no connection in time");
}

#[tokio::test]
async fn own_limit() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        peer.silent().await;
    })
    .await;
    let client = client(|destination| destination.bulkhead = BulkheadSettings { concurrency_max: 1, waiting_max: 0 });
    let holder = tokio::spawn({
        let (client, call) = (client.clone(), effect(&receiver.url()));
        async move { client.call(call).await }
    });
    while receiver.executions() == 0 {
        tokio::task::yield_now().await;
    }
    let report = client.call(keyed(&receiver.url())).await;
    assert_eq!(told(&report), "not done: the bound on concurrent calls is reached");
    assert_eq!(told(&holder.await.unwrap()), "uncertain: no answer in time after N bytes were written");
    assert_eq!(receiver.executions(), 1);
}

#[tokio::test]
async fn one_that_waits_for_a_place_gets_it() {
    let receiver = Receiver::answering(answer(200, "")).await;
    let client = client(|destination| destination.bulkhead = BulkheadSettings { concurrency_max: 1, waiting_max: 7 });
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (client, call) = (client.clone(), effect(&receiver.url()));
            tokio::spawn(async move { client.call(call).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().verdict, Verdict::Committed);
    }
    assert_eq!((receiver.executions(), receiver.connections()), (8, 1));
}

#[tokio::test]
async fn deadline_passed_before_it_began() {
    let receiver = Receiver::answering(answer(200, "")).await;
    let mut late = effect(&receiver.url());
    late.deadline = Duration::ZERO;
    let report = client(|_| {}).call(late).await;
    assert_eq!(told(&report), "not done: the deadline left no time for it");
    assert_eq!((receiver.connections(), report.attempts.len()), (0, 0));
}

#[tokio::test]
async fn circuit_open() {
    let receiver = Receiver::answering(answer(500, "")).await;
    let client = client(|_| {});
    for _ in 0..20 {
        let report = client.call(effect(&receiver.url())).await;
        assert_eq!(told(&report), "uncertain: answered 500");
    }
    let report = client.call(effect(&receiver.url())).await;
    assert_eq!(told(&report), "not done: the circuit breaker is open");
    assert_eq!(receiver.executions(), 20);
    let status = client.status();
    assert_eq!(status[0].endpoints[0].breaker.as_str(), "open");
}

#[tokio::test]
async fn address_refused() {
    let receiver = Receiver::answering(answer(200, "")).await;
    let settings = |addresses: Arc<dyn call::AddressPolicy>| Settings { addresses, ..Settings::default() };
    let listed = Client::new(settings(Arc::new(AllowList::new(["pay.example"]).unwrap()))).unwrap();
    let report = listed.call(effect(&receiver.url())).await;
    assert!(matches!(report.verdict, Verdict::NotDone(Evidence::AddressRefused(_))), "{}", report.verdict);
    assert_eq!(receiver.connections(), 0);
    let local = Client::new(settings(Arc::new(LoopbackOnly))).unwrap();
    for url in ["http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/", "http://0.0.0.0/"] {
        let report = local.call(effect(url)).await;
        assert!(matches!(report.verdict, Verdict::NotDone(Evidence::AddressRefused(_))), "{url}: {}", report.verdict);
    }
    assert_eq!(local.call(effect(&receiver.url())).await.verdict, Verdict::Committed);
}

#[tokio::test]
async fn what_cannot_be_sent() {
    let client = client(|_| {});
    for url in ["ftp://localhost/", "/no-host", "http://me:secret@localhost/"] {
        let report = client.call(effect(url)).await;
        assert!(matches!(report.verdict, Verdict::NotDone(Evidence::RequestInvalid(_))), "{url}: {}", report.verdict);
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_costs_no_call() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        let _ = peer.send(answer(200, "").as_bytes()).await;
        // Closed without saying so beforehand.
    })
    .await;
    let client = client(|_| {});
    for call in 1..=20 {
        let report = client.call(effect(&receiver.url())).await;
        // The close may still be on its way when the next call begins: then the race is lost after bytes were written,
        // and the honest answer is that nobody knows.
        let lost = matches!(report.verdict, Verdict::Uncertain(Evidence::Closed { .. } | Evidence::Broken { .. }));
        assert!(report.verdict == Verdict::Committed || lost, "{}", report.verdict);
        assert!(receiver.executions() <= call, "nothing without a key is carried out twice");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced_within_the_attempt() {
    for reset in [true, false] {
        let receiver = Receiver::start(move |mut peer| async move {
            peer.request().await;
            let _ = peer.send(answer(200, "").as_bytes()).await;
            let seen = Arc::clone(&peer.seen);
            if reset {
                peer.reset()
            } else {
                drop(peer)
            }
            seen.closed.fetch_add(1, Ordering::SeqCst);
        })
        .await;
        let client = client(|_| {});
        for call in 1..=3 {
            let report = client.call(effect(&receiver.url())).await;
            assert_eq!((report.verdict, report.attempts.len()), (Verdict::Committed, 1), "call {call}");
            assert_eq!((receiver.executions(), receiver.connections()), (call, call));
            while receiver.seen.closed.load(Ordering::SeqCst) < call {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Once more through the driver, so that an end that has arrived is seen.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn an_old_connection_is_not_used_again() {
    let receiver = Receiver::answering(answer(200, "")).await;
    let client = client(|destination| destination.transport.idle = Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(client.call(effect(&receiver.url())).await.verdict, Verdict::Committed);
    }
    assert_eq!(receiver.connections(), 3);
    let client = crate::receiver::client(|_| {});
    for _ in 0..3 {
        assert_eq!(client.call(effect(&receiver.url())).await.verdict, Verdict::Committed);
    }
    assert_eq!(receiver.connections(), 4, "a young one is");
}

#[tokio::test]
async fn nobody_keeps_old_connections() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        let _ = peer.send(answer(200, "").as_bytes()).await;
        let seen = Arc::clone(&peer.seen);
        peer.silent().await;
        seen.closed.fetch_add(1, Ordering::SeqCst);
    })
    .await;
    let client = client(|destination| destination.transport.idle = Duration::from_millis(20));
    assert_eq!(client.call(effect(&receiver.url())).await.verdict, Verdict::Committed);
    let begun = Instant::now();
    while receiver.seen.closed.load(Ordering::SeqCst) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(5), "still open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_destination_has_one_name_and_old_ones_make_room() {
    let mut settings = Settings { destinations_max: 2, ..Settings::default() };
    settings.destination.attempt_min = Duration::from_secs(1);
    let client = Client::new(settings).unwrap();
    for url in ["http://LOCALHOST/", "http://localhost:80/x", "https://localhost/", "http://localhost", "http://b/"] {
        client.call(effect(url)).await;
    }
    let known: Vec<_> = client.status().into_iter().map(|status| (status.destination, status.requests)).collect();
    assert_eq!(known.len(), 2, "{known:?}");
    assert!(known.iter().any(|(name, _)| name == "http://b:80"), "{known:?}");
}
