//! A destination that is wholly down is asked at most 1.10 times as often as requests are made, however many callers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use call::{BreakerSettings, Client, Settings, Verdict};

use crate::receiver::{Receiver, answer, client, effect, keyed};

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

/// Does something else to each connection, and after each request.
async fn moody() -> Receiver {
    let moods = Arc::new(AtomicUsize::new(0));
    Receiver::start(move |mut peer| {
        let moods = Arc::clone(&moods);
        async move {
            // A plain sequence of moods that has no period of its own in common with the callers.
            let mood = || moods.fetch_add(1, Ordering::SeqCst) * 7 % 11;
            if mood() == 0 {
                return peer.reset();
            }
            while peer.request().await.is_some() {
                match mood() {
                    0 => return,
                    1 => return peer.reset(),
                    2 => return drop(peer.send(b"HTTP/1.1 20").await),
                    3 => return drop(peer.send(answer(200, "").as_bytes()).await),
                    4 => return drop(peer.send(answer(200, "connection: close\r\n").as_bytes()).await),
                    5 => drop(peer.send(b"what?\r\n\r\n").await),
                    _ => drop(peer.send(answer(200, "").as_bytes()).await),
                }
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_without_a_key_is_carried_out_twice_and_no_verdict_is_wrong() {
    let receiver = moody().await;
    let client = client(|to| {
        to.breaker = None;
        to.budget.percent = 100;
    });
    let callers = (0..16).map(|caller| {
        let (client, url) = (client.clone(), receiver.url());
        tokio::spawn(async move {
            let mut told = Vec::new();
            for call in 0..100 {
                let url = format!("{url}/{caller}/{call}");
                let mut effect = effect(&url);
                effect.deadline = Duration::from_secs(20);
                let report = client.call(effect).await;
                told.push((url, report.verdict));
            }
            told
        })
    });
    let mut told = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        told.extend(caller.await.unwrap());
    }
    let mut carried_out: HashMap<String, usize> = HashMap::new();
    for head in receiver.seen.heads.lock().unwrap().iter() {
        let path = head.split(' ').nth(1).unwrap();
        *carried_out.entry(format!("http://{}{path}", receiver.address)).or_default() += 1;
    }
    let mut counts = [0; 3];
    for (url, verdict) in &told {
        let times = carried_out.get(url).copied().unwrap_or(0);
        let (at, right) = match verdict {
            Verdict::Committed => (0, times == 1),
            Verdict::NotDone(_) => (1, times == 0),
            Verdict::Uncertain(_) => (2, times <= 1),
            Verdict::Refused | Verdict::StillAtIt => (0, false),
        };
        counts[at] += 1;
        assert!(right, "{url}: {verdict}, but carried out {times} times");
    }
    println!("of 1600: {} committed, {} not done, {} uncertain", counts[0], counts[1], counts[2]);
    assert!(counts[0] > 400 && counts[2] > 100, "{counts:?}: too little of one kind to mean anything");
}
