//! Rows of the table that prove nothing: bytes left, and no answer came. Carried out at most once without a key.

use std::time::{Duration, Instant};

use call::{Evidence, Verdict};

use crate::receiver::{Peer, Receiver, client, effect, keyed, told};

/// Without a key: one execution, one attempt, uncertain.
#[track_caller]
fn check(report: &call::Report, receiver: &Receiver, expected: &str) {
    assert_eq!(told(report), expected);
    assert_eq!(report.verdict.outcome(), words::Outcome::Uncertain);
    assert_eq!((receiver.executions(), report.attempts.len()), (1, 1));
}

async fn carried_out_then(after: impl Fn(Peer) + Send + Copy + Sync + 'static) -> Receiver {
    Receiver::start(move |mut peer| async move {
        peer.request().await;
        after(peer);
    })
    .await
}

#[tokio::test]
async fn no_answer_in_time() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        peer.silent().await;
    })
    .await;
    let begun = Instant::now();
    let report = client(|_| {}).call(effect(&receiver.url())).await;
    check(&report, &receiver, "uncertain: no answer in time after N bytes were written");
    let took = begun.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_millis(900)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn closed_after_the_request() {
    let receiver = carried_out_then(drop).await;
    let report = client(|_| {}).call(effect(&receiver.url())).await;
    check(&report, &receiver, "uncertain: closed after N bytes were written");
}

#[tokio::test]
async fn reset_after_the_request() {
    let receiver = carried_out_then(Peer::reset).await;
    let report = client(|_| {}).call(effect(&receiver.url())).await;
    check(&report, &receiver, "uncertain: connection reset after N bytes were written");
}

#[tokio::test]
async fn closed_in_the_middle_of_the_head() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        let _ = peer.send(b"HTTP/1.1 200 O").await;
    })
    .await;
    let report = client(|_| {}).call(effect(&receiver.url())).await;
    check(&report, &receiver, "uncertain: closed after N bytes were written");
}

#[tokio::test]
async fn not_http() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        let _ = peer.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").await;
        peer.silent().await;
    })
    .await;
    let report = client(|_| {}).call(effect(&receiver.url())).await;
    check(&report, &receiver, "uncertain: not an HTTP answer, after N bytes were written");
}

#[tokio::test]
async fn the_keep_alive_close_race() {
    // The second request on the connection is carried out and the connection closed: it looks as if it had been idle.
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        let _ = peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        peer.request().await;
    })
    .await;
    let client = client(|_| {});
    assert_eq!(client.call(effect(&receiver.url())).await.verdict, Verdict::Committed);
    let report = client.call(effect(&receiver.url())).await;
    assert_eq!(told(&report), "uncertain: closed after N bytes were written");
    assert_eq!((receiver.executions(), receiver.connections(), report.attempts.len()), (2, 1, 1));
}

#[tokio::test]
async fn a_head_that_trickles_ends_by_the_deadline() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        for byte in b"HTTP/1.1 200 OK\r\nx-slow: ".iter().chain(std::iter::repeat_n(&b'a', 1_000)) {
            if peer.send(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let begun = Instant::now();
    let report = client(|_| {}).call(effect(&receiver.url())).await;
    check(&report, &receiver, "uncertain: no answer in time after N bytes were written");
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_dropped_call_leaves_no_connection_behind() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        peer.silent().await;
    })
    .await;
    let client = client(|_| {});
    let given_up = tokio::time::timeout(Duration::from_millis(100), client.call(effect(&receiver.url()))).await;
    assert!(given_up.is_err());
    assert_eq!(client.status()[0].under_way, 0);
    assert_eq!(client.status()[0].endpoints[0].rotation.outstanding, 0);
}

#[tokio::test]
async fn a_key_makes_it_definite() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        if peer.seen.heads.lock().unwrap().len() > 2 {
            let _ = peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let report = client(|_| {}).call(keyed(&receiver.url())).await;
    assert_eq!(report.verdict, Verdict::Committed);
    let verdicts: Vec<_> = report.attempts.iter().map(|attempt| attempt.verdict.outcome().as_str()).collect();
    assert_eq!(verdicts, ["uncertain", "uncertain", "committed"]);
    assert!(matches!(report.attempts[0].evidence, Evidence::Closed { bytes_written } if bytes_written > 100));
    assert_eq!(receiver.header("idempotency-key"), ["\"order-17/pay\""; 3]);
}
