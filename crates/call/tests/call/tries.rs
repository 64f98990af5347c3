//! What is tried again, how often, and what the receiver is told meanwhile.

use std::time::{Duration, Instant};

use call::{Meanings, NotDone, Settings, Verdict};
use http::HeaderValue;

use crate::receiver::{Receiver, answer, client, effect, keyed, told};

fn unavailable_is_not_done() -> Meanings {
    Meanings { not_done: NotDone::new(&[503, 429]).unwrap(), outcome_trusted: false }
}

#[tokio::test]
async fn at_most_three_times_and_the_header_counts() {
    let receiver = Receiver::answering(answer(503, "")).await;
    let client = client(|to| to.meanings = unavailable_is_not_done());
    let mut call = effect(&receiver.url());
    (call.retries_max, call.deadline) = (99, Duration::from_secs(5));
    let report = client.call(call).await;
    assert_eq!(told(&report), "not done: answered 503");
    assert_eq!(report.attempts.len(), 4);
    assert_eq!(receiver.header("tertium-attempt"), ["1;budget=ok", "2;budget=ok", "3;budget=ok", "4;budget=ok"]);
}

#[tokio::test]
async fn the_deadline_shrinks_from_attempt_to_attempt() {
    let receiver = Receiver::answering(answer(503, "")).await;
    let client = client(|to| {
        to.meanings = unavailable_is_not_done();
        to.backoff.base = Duration::from_millis(60);
    });
    let mut call = effect(&receiver.url());
    call.deadline = Duration::from_secs(5);
    let report = client.call(call).await;
    let left: Vec<u64> = receiver
        .header("x-request-deadline")
        .iter()
        .map(|text| text.strip_suffix("ms").unwrap().parse().unwrap())
        .collect();
    assert_eq!(left.len(), 4);
    for (left, attempt) in left.iter().zip(&report.attempts) {
        let expected = 5_000 - attempt.started_after.as_millis() as u64;
        assert!((expected.saturating_sub(2)..=expected).contains(left), "{left} at {:?}", attempt.started_after);
    }
    let grpc: Vec<_> = left.iter().map(|ms| format!("{ms}m")).collect();
    assert_eq!(receiver.header("grpc-timeout"), grpc);
}

#[tokio::test]
async fn no_attempt_begins_that_cannot_finish() {
    let receiver = Receiver::answering(answer(503, "retry-after: 1\r\n")).await;
    let client = client(|to| to.meanings = unavailable_is_not_done());
    let begun = Instant::now();
    let report = client.call(effect(&receiver.url())).await;
    assert_eq!(told(&report), "not done: answered 503");
    assert_eq!(receiver.executions(), 1);
    assert!(begun.elapsed() < Duration::from_millis(300), "nobody waits for what cannot be: {:?}", begun.elapsed());
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let receiver = Receiver::answering(answer(429, "retry-after: 1\r\n")).await;
    let client = client(|to| to.meanings = unavailable_is_not_done());
    let mut call = effect(&receiver.url());
    (call.retries_max, call.deadline) = (1, Duration::from_secs(5));
    let report = client.call(call).await;
    assert_eq!(report.attempts.len(), 2);
    assert!(report.attempts[1].started_after >= Duration::from_secs(1));
}

#[tokio::test]
async fn grpc_pushback_is_honoured() {
    for (pushback, attempts) in [("-1", 1), ("5", 4)] {
        let receiver = Receiver::answering(answer(503, &format!("grpc-retry-pushback-ms: {pushback}\r\n"))).await;
        let client = client(|to| to.meanings = unavailable_is_not_done());
        let mut call = effect(&receiver.url());
        call.deadline = Duration::from_secs(5);
        assert_eq!(client.call(call).await.attempts.len(), attempts, "pushback {pushback}");
    }
}

#[tokio::test]
async fn only_what_has_a_key_or_was_not_done() {
    for (status, with_key, without) in [(500, 4, 1), (425, 4, 1), (503, 4, 4), (409, 1, 1), (302, 4, 1)] {
        let receiver = Receiver::answering(answer(status, "")).await;
        for (mut call, attempts) in [(keyed(&receiver.url()), with_key), (effect(&receiver.url()), without)] {
            call.deadline = Duration::from_secs(5);
            let client = client(|to| to.meanings = unavailable_is_not_done());
            assert_eq!(client.call(call).await.attempts.len(), attempts, "{status}");
        }
    }
}

#[tokio::test]
async fn an_inner_hop_leaves_retrying_to_the_outer_one() {
    for (came_in, attempts, sent) in
        [("1;budget=ok", 4, "1;budget=ok"), ("2;budget=ok", 1, "2;budget=ok"), ("1;budget=empty", 1, "1;budget=empty")]
    {
        let receiver = Receiver::answering(answer(503, "")).await;
        let client = client(|to| to.meanings = unavailable_is_not_done());
        let mut call = keyed(&receiver.url());
        call.headers.insert("tertium-attempt", HeaderValue::from_static(came_in));
        call.deadline = Duration::from_secs(5);
        assert_eq!(client.call(call).await.attempts.len(), attempts, "{came_in}");
        assert_eq!(receiver.header("tertium-attempt")[0], sent);
    }
}

#[tokio::test]
async fn an_empty_budget_is_told_at_once() {
    let receiver = Receiver::answering(answer(503, "")).await;
    let client = call::Client::new(Settings::default()).unwrap();
    let report = client.call(keyed(&receiver.url())).await;
    assert_eq!(told(&report), "uncertain: answered 503");
    assert_eq!(report.attempts.len(), 1);
    assert_eq!(receiver.header("tertium-attempt"), ["1;budget=empty"]);
    let status = &client.status()[0];
    assert_eq!((status.requests, status.retries, status.budget_refusals), (1, 0, 1));
}

#[tokio::test]
async fn an_open_attempt_is_not_closed_by_one_that_did_nothing() {
    // The first is carried out and its answer lost; then the receiver is gone.
    let receiver = Receiver::start(|mut peer| async move {
        if peer.seen.heads.lock().unwrap().is_empty() {
            peer.request().await;
            return;
        }
        peer.request().await;
        let _ = peer.send(answer(503, "").as_bytes()).await;
    })
    .await;
    let client = client(|to| to.meanings = unavailable_is_not_done());
    let mut call = keyed(&receiver.url());
    call.deadline = Duration::from_secs(5);
    let report = client.call(call).await;
    assert_eq!(told(&report), "uncertain: closed after N bytes were written");
    assert!(matches!(report.attempts.last().unwrap().verdict, Verdict::NotDone(_)));
}
