//! What a leader was performing when it was replaced is broken off: the next one asks what came of it, and nothing of it may happen after
//! that.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use call::{BulkheadSettings, Client, LoopbackOnly, Settings};
use cell::{CellHandle, OpenLog, Options, OutboxOf, Reply, Work, Write};
use log_file::{LogFile, LogOptions};
use outbox::{Definitions, DeliverySettings, Outbox, UnderWay, WebhookSecrets};
use tertium_outbox as outbox;
use wire::request::parse_call;

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says which keys came. The first request is never answered, every other at once.
fn receive(listener: &TcpListener, seen: &Sender<String>) {
    let mut unanswered: Option<TcpStream> = None;
    for stream in listener.incoming() {
        let (mut stream, mut request, mut part) = (stream.unwrap(), Vec::new(), [0; 4_096]);
        while !request.windows(4).any(|window| window == b"\r\n\r\n") {
            match stream.read(&mut part) {
                Ok(0) | Err(_) => break,
                Ok(length) => request.extend_from_slice(&part[..length]),
            }
        }
        let head = String::from_utf8_lossy(&request).to_lowercase();
        let key = head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).expect("each has one");
        if unanswered.is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        } else {
            unanswered = Some(stream);
        }
        if seen.send(key.trim_matches('"').to_owned()).is_err() {
            return;
        }
    }
}

/// Has the cell accept a call, whose end nobody waits for here.
fn make(cell: &CellHandle, url: &str, key: &str) {
    let body = format!(r#"{{"url":"{url}","deadline_ms":60000}}"#);
    let command = parse_call(body.as_bytes(), "p", key, |_, _| Ok(())).unwrap();
    let (sender, receiver) = channel();
    let write = Write { command, deadline_us: u64::MAX, waits_for_end: false };
    cell.write(write, move |reply| sender.send(reply).unwrap());
    let reply = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(reply, Reply::Pending { .. }), "{reply:?}");
}

fn wait_for(under_way: &UnderWay, count: usize) {
    let began = Instant::now();
    while under_way.count() != count {
        assert!(began.elapsed() < PATIENCE, "{} under way, not {count}", under_way.count());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_attempt_that_waits_is_not_made_once_another_leads() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (sender, seen): (_, Receiver<String>) = channel();
    std::thread::spawn(move || receive(&listener, &sender));
    let directory = tempfile::tempdir().unwrap();
    let outbox = Outbox::default();
    let (under_way, to_outbox) = (outbox.under_way(), Arc::new(Mutex::new(outbox.of_cell())));
    let of_cell: OutboxOf = Box::new({
        let to_outbox = Arc::clone(&to_outbox);
        move |work| to_outbox.lock().unwrap()(work)
    });
    let open_log = |open: OpenLog| {
        let OpenLog { disk, cell, verify_from, log_id, segment_bytes, keep_bytes } = open;
        let options = LogOptions { segment_bytes, verify_from, keep_bytes, ..LogOptions::new(cell, log_id) };
        LogFile::open(disk, options).map(|(log, _)| Box::new(log) as Box<_>)
    };
    let data = directory.path().join("data");
    let (cell, stopper) = cell::start(&data, Options::default(), open_log, of_cell, &mut |_| {}).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let secrets = WebhookSecrets::open(directory.path().join("none.toml")).unwrap();
    let mut settings = Settings::default();
    // One at a time: the second waits for the first.
    settings.destination.bulkhead = BulkheadSettings { concurrency_max: 1, waiting_max: 9 };
    let performing = runtime.spawn(outbox.run(
        cell.clone(),
        Client::new(settings).unwrap(),
        Arc::new(LoopbackOnly),
        Definitions::default(),
        secrets,
        DeliverySettings::default(),
    ));
    make(&cell, &url, "sent");
    assert_eq!(seen.recv_timeout(PATIENCE).as_deref(), Ok("sent"));
    make(&cell, &url, "waits");
    wait_for(&under_way, 2);
    to_outbox.lock().unwrap()(Work::Abandon);
    wait_for(&under_way, 0);
    // It leads again: what it is told from then on is done, and nothing that was told before.
    make(&cell, &url, "later");
    assert_eq!(seen.recv_timeout(PATIENCE).as_deref(), Ok("later"));
    wait_for(&under_way, 0);
    assert!(seen.try_recv().is_err(), "what waited is not sent");
    stopper.stop();
    drop(to_outbox);
    runtime.block_on(performing).unwrap();
}
