//! Dead letters, with a cell on a real disk and a receiver on a real socket. The schedule of attempts takes a day, so that
//! the attempts before the replay are reported here and not made.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use call::{Client, LoopbackOnly, Settings};
use cell::{
    CellHandle, Found, Level, OpenLog, Options, OutboxOf, Query, Read, Reply, Stopper, TopicFound, TopicQuery, Write,
};
use log_file::{LogFile, LogOptions};
use machine::{Miss, MissedBecause, Misses, Offsets, Op, Report, Reports, SubscriptionView, TopicOp, encode_head};
use outbox::{Definitions, DeliverySettings, Outbox, WebhookSecrets};
use tertium_outbox as outbox;
use wire::request::{EventForm, parse_letters, parse_publish, parse_subscription};
use words::Stamp;

/// After so many attempts an event is given up.
const ATTEMPTS_MAX: usize = 9;
/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

fn start(data: &Path, outbox: OutboxOf) -> (CellHandle, Stopper) {
    let open_log = |open: OpenLog| {
        let OpenLog { disk, cell, verify_from, log_id, segment_bytes, keep_bytes } = open;
        let options = LogOptions { segment_bytes, verify_from, keep_bytes, ..LogOptions::new(cell, log_id) };
        LogFile::open(disk, options).map(|(log, _)| Box::new(log) as Box<_>)
    };
    cell::start(data, Options::default(), open_log, outbox, &mut |_| {}).expect("the cell starts")
}

fn write(cell: &CellHandle, command: Vec<u8>) {
    let (sender, receiver) = channel();
    let write = Write { command, deadline_us: u64::MAX, waits_for_end: true };
    cell.write(write, move |reply| sender.send(reply).unwrap());
    let reply = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(reply, Reply::Decided(_)), "{reply:?}");
}

fn read(cell: &CellHandle, query: TopicQuery) -> TopicFound {
    let (sender, receiver) = channel();
    let read = Read { level: Level::Linearizable, deadline_us: u64::MAX, query: Query::Topics(query) };
    cell.read(read, move |reply| sender.send(reply.found).unwrap());
    match receiver.recv_timeout(PATIENCE).unwrap() {
        Ok(Found::Topics(found)) => found,
        other => panic!("{other:?}"),
    }
}

fn view(cell: &CellHandle) -> SubscriptionView {
    match read(cell, TopicQuery::Subscription { name: "mail".to_owned() }) {
        TopicFound::Subscriptions(mut views) => views.remove(0),
        other => panic!("{other:?}"),
    }
}

fn first_offset(cell: &CellHandle) -> u64 {
    let query = TopicQuery::Events { topic: "orders".to_owned(), from: 0, limit: 9, wait_until_us: None };
    match read(cell, query) {
        TopicFound::Events(page) => page.events[0].offset,
        other => panic!("{other:?}"),
    }
}

fn subscribe(cell: &CellHandle, key: &str, url: &str, paused: bool) {
    let body = format!(r#"{{"topics":["orders"],"url":"{url}","paused":{paused}}}"#);
    write(cell, parse_subscription("mail", body.as_bytes(), "p", key, |_| Ok(())).unwrap());
}

/// An attempt at that event failed.
fn report_failure(cell: &CellHandle, view: &SubscriptionView, offset: u64) {
    let mut missed = Vec::new();
    Miss { offset, key: "a", why: MissedBecause::Failed, status: 500, retry_after_ms: 0, evidence: "answered 500" }
        .push(&mut missed);
    let (done, missed) = (Offsets::new(&[]), Misses::new(&missed));
    let mut report = Vec::new();
    Report { subscription: view.number, generation: view.generation, below: offset + 1, done, missed }
        .push(&mut report);
    let mut command = Vec::new();
    encode_head(&mut command, Stamp::MAX, "", "");
    Op::Topic(TopicOp::Delivered(Reports::new(&report))).encode(&mut command);
    write(cell, command);
}

/// Answers 200 to everything, and says which offsets came.
fn receive(listener: &TcpListener, seen: &Sender<u64>) {
    for stream in listener.incoming() {
        let (mut stream, mut request) = (stream.unwrap(), Vec::new());
        let mut part = [0; 4_096];
        // One request for each connection; its body is not looked at.
        while !request.windows(4).any(|window| window == b"\r\n\r\n") {
            match stream.read(&mut part) {
                Ok(0) | Err(_) => break,
                Ok(length) => request.extend_from_slice(&part[..length]),
            }
        }
        let head = String::from_utf8_lossy(&request).to_lowercase();
        let offset = head.lines().find_map(|line| line.strip_prefix("tertium-offset: ")?.parse().ok());
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        if seen.send(offset.unwrap()).is_err() {
            return;
        }
    }
}

#[test]
fn a_dead_letter_that_is_replayed_arrives() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, seen): (_, Receiver<u64>) = channel();
    std::thread::spawn(move || receive(&listener, &sender));
    let directory = tempfile::tempdir().unwrap();
    let outbox = Outbox::default();
    let (cell, stopper) = start(&directory.path().join("data"), outbox.of_cell());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let secrets = WebhookSecrets::open(directory.path().join("none.toml")).unwrap();
    let client = Client::new(Settings::default()).unwrap();
    let addresses = Arc::new(LoopbackOnly);
    let performing = runtime.spawn(outbox.run(
        cell.clone(),
        client,
        addresses,
        Definitions::default(),
        secrets,
        DeliverySettings::default(),
    ));
    // It rests, so that nobody delivers but this test.
    subscribe(&cell, "s1", &url, true);
    let events = br#"{"events":[{"type":"made","key":"a"},{"type":"made","key":"a"}]}"#;
    write(&cell, parse_publish("orders", EventForm::Short, events, "p", "k1").unwrap());
    let resting = view(&cell);
    let offset = first_offset(&cell);
    for attempt in 1..=ATTEMPTS_MAX {
        assert_eq!(view(&cell).dead_letters, 0, "attempt {attempt}");
        report_failure(&cell, &resting, offset);
    }
    assert_eq!((view(&cell).dead_letters, view(&cell).parked), (1, 0));
    subscribe(&cell, "s2", &url, false);
    assert_eq!(seen.recv_timeout(PATIENCE), Ok(offset + 1), "its key goes on without it");
    write(&cell, parse_letters("mail", true, b"{}", "p", "r1").unwrap());
    assert_eq!(seen.recv_timeout(PATIENCE), Ok(offset), "it comes after all");
    stopper.stop();
    runtime.block_on(performing).unwrap();
}
