//! What an answer means, and answers that are meant to hurt: bounded, and a clear verdict.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use call::{Call, Cut, Meanings, NotDone, Verdict};

use crate::receiver::{Receiver, answer, client, effect, told};

#[tokio::test]
async fn one_table_for_all_statuses() {
    for (status, undeclared, declared) in [
        (200, "committed", "committed"),
        (204, "committed", "committed"),
        (404, "refused", "refused"),
        (409, "refused", "refused"),
        (425, "still at it", "still at it"),
        (408, "uncertain: answered 408", "not done: answered 408"),
        (429, "uncertain: answered 429", "not done: answered 429"),
        (500, "uncertain: answered 500", "uncertain: answered 500"),
        (503, "uncertain: answered 503", "not done: answered 503"),
        (302, "uncertain: answered 302", "uncertain: answered 302"),
    ] {
        let receiver = Receiver::answering(answer(status, "")).await;
        let not_done = NotDone::new(&[408, 429, 503]).unwrap();
        for (not_done, expected) in [(NotDone::default(), undeclared), (not_done, declared)] {
            let client = client(|to| to.meanings = Meanings { not_done, outcome_trusted: false });
            let mut call = effect(&receiver.url());
            call.retries_max = 0;
            let report = client.call(call).await;
            assert_eq!(told(&report), expected);
            assert_eq!(report.answer.unwrap().status, status);
        }
        assert_eq!(receiver.executions(), 2);
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let elsewhere = Receiver::answering(answer(200, "")).await;
    for status in [301, 302, 303, 307, 308] {
        let receiver = Receiver::answering(answer(status, &format!("location: {}\r\n", elsewhere.url()))).await;
        let report = client(|_| {}).call(effect(&receiver.url())).await;
        assert_eq!(told(&report), format!("uncertain: answered {status}"));
        assert_eq!(report.answer.unwrap().headers["location"], elsewhere.url());
        assert_eq!(receiver.executions(), 1);
    }
    assert_eq!(elsewhere.connections(), 0);
}

const HUGE: usize = 100 << 20;

async fn huge(head: &'static str) -> Receiver {
    Receiver::start(move |mut peer| async move {
        peer.request().await;
        let mut left = HUGE;
        let _ = peer.send(head.as_bytes()).await;
        let piece = [b"10000\r\n".as_slice(), &[b'x'; 1 << 16], b"\r\n"].concat();
        while left > 0 && peer.send(&piece).await.is_ok() {
            left -= 1 << 16;
        }
    })
    .await
}

#[tokio::test]
async fn a_huge_answer_is_cut() {
    for head in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
    ] {
        let receiver = huge(head).await;
        let mut call = effect(&receiver.url());
        call.deadline = Duration::from_secs(10);
        let report = client(|_| {}).call(call).await;
        assert_eq!(report.verdict, Verdict::Committed, "the head is knowledge of the answer");
        assert_eq!(report.attempts[0].evidence.to_string(), "answered 200, with a body over 1048576 bytes");
        let answer = report.answer.unwrap();
        assert_eq!(answer.cut, Some(Cut::TooLarge { bytes_max: 1 << 20 }));
        assert_eq!(answer.body.len(), 1 << 20, "{head:?}: as much is kept as may be");
        // What the sockets' buffers took, and no more: the connection was dropped.
        let sent = receiver.seen.bytes_sent.load(Ordering::SeqCst);
        assert!(sent < HUGE / 4, "{head:?}: {sent} bytes were taken");
    }
}

#[tokio::test]
async fn a_call_may_ask_for_less_of_an_answer_than_its_destination_allows() {
    for (asked, read) in [(1 << 10, 1 << 10), (u64::MAX, 1 << 20)] {
        let receiver = huge("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let call = Call { answer_bytes_max: asked, ..effect(&receiver.url()) };
        let answer = client(|_| {}).call(call).await.answer.unwrap();
        assert_eq!(answer.cut, Some(Cut::TooLarge { bytes_max: read }));
        assert_eq!(answer.body.len() as u64, read);
    }
}

#[tokio::test]
async fn a_body_that_trickles_ends_by_the_deadline() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        let _ = peer.send(b"HTTP/1.1 201 Created\r\ncontent-length: 1000\r\n\r\n").await;
        while peer.send(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let begun = Instant::now();
    let report = client(|_| {}).call(effect(&receiver.url())).await;
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    assert_eq!(report.verdict, Verdict::Committed);
    let answer = report.answer.unwrap();
    assert_eq!(answer.cut, Some(Cut::TimedOut));
    assert!((1..1000).contains(&answer.body.len()));
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        let _ = peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    })
    .await;
    let report = client(|_| {}).call(effect(&receiver.url())).await;
    assert_eq!(report.verdict, Verdict::Committed);
    assert_eq!(report.answer.unwrap().cut, Some(Cut::BrokeOff));
}

#[tokio::test]
async fn a_head_without_end_is_bounded() {
    let receiver = Receiver::start(|mut peer| async move {
        peer.request().await;
        let _ = peer.send(b"HTTP/1.1 200 OK\r\n").await;
        while peer.send(b"x-more: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").await.is_ok() {}
    })
    .await;
    let mut call = effect(&receiver.url());
    call.deadline = Duration::from_secs(10);
    let begun = Instant::now();
    let report = client(|_| {}).call(call).await;
    assert_eq!(told(&report), "uncertain: not an HTTP answer, after N bytes were written");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_frames_the_request_is_not_the_callers_to_say() {
    let receiver = Receiver::answering(answer(200, "")).await;
    let mut call = effect(&receiver.url());
    for (name, value) in [("content-length", "3"), ("transfer-encoding", "chunked"), ("connection", "close")] {
        call.headers.insert(name, http::HeaderValue::from_static(value));
    }
    assert_eq!(client(|_| {}).call(call).await.verdict, Verdict::Committed);
    assert_eq!(receiver.header("content-length"), ["12"]);
    assert_eq!(receiver.header("transfer-encoding"), [""]);
}

#[tokio::test]
async fn a_deadline_without_end_is_an_hour() {
    let receiver = Receiver::answering(answer(200, "")).await;
    let mut call = effect(&receiver.url());
    call.deadline = Duration::MAX;
    assert_eq!(client(|_| {}).call(call).await.verdict, Verdict::Committed);
    assert!(receiver.header("x-request-deadline")[0].starts_with("3599"));
}

#[tokio::test]
async fn a_trusted_peer_names_the_outcome() {
    let receiver = Receiver::answering(answer(503, "tertium-outcome: refused\r\n")).await;
    for (outcome_trusted, expected) in
        [(true, "not done: the peer said refused with 503"), (false, "uncertain: answered 503")]
    {
        let client = client(|to| to.meanings.outcome_trusted = outcome_trusted);
        let mut call = effect(&receiver.url());
        call.retries_max = 0;
        assert_eq!(told(&client.call(call).await), expected);
    }
}
