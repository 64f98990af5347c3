//! A destination that is wholly down is asked at most 1.10 times as often as requests are made, however many callers.

use std::time::Duration;

use call::{BreakerSettings, Client, Settings};

use crate::receiver::{Receiver, answer, keyed};

/// Requests made, and those that reached the destination.
async fn storm(connections: usize, calls_each: usize, breaker: Option<BreakerSettings>) -> (usize, usize) {
    let receiver = Receiver::answering(answer(500, "")).await;
    let mut settings = Settings::default();
    settings.destination.breaker = breaker;
    let client = Client::new(settings).unwrap();
    let callers: Vec<_> = (0..connections)
        .map(|_| {
            let (client, url) = (client.clone(), receiver.url());
            tokio::spawn(async move {
                for _ in 0..calls_each {
                    let mut call = keyed(&url);
                    call.deadline = Duration::from_secs(20);
                    let report = client.call(call).await;
                    assert_ne!(report.verdict.outcome(), words::Outcome::Committed);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    (connections * calls_each, receiver.executions())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_budget_alone_keeps_the_bound() {
    for connections in [4, 64] {
        let (made, reached) = storm(connections, 6_400 / connections, None).await;
        println!("{connections} connections: {made} made, {reached} reached it, x{:.4}", reached as f64 / made as f64);
        assert!(reached * 100 <= made * 110, "{connections}: {reached} of {made}");
        assert!(reached * 100 >= made * 105, "{connections}: {reached} of {made}: no retries, so nothing was tested");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_breaker_keeps_nearly_all_of_them_away() {
    for connections in [4, 64] {
        let (made, reached) = storm(connections, 6_400 / connections, Some(BreakerSettings::default())).await;
        println!("{connections} connections: {made} made, {reached} reached it");
        // 20 samples, and what was under way when the last of these came in.
        assert!((20..=20 + 2 * connections).contains(&reached), "{connections}: {reached} of {made}");
    }
}
