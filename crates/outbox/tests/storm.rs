//! A destination that is wholly down is asked at most 1.10 times as often as durable calls are made, though each of them is
//! to be sent again until somebody answers: the later attempts wait for their turn in the retry budget.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use call::{Client, DestinationStatus, LoopbackOnly, Settings};
use cell::{CellHandle, OpenLog, Options, OutboxOf, Reply, Stopper, Write};
use log_file::{LogFile, LogOptions};
use outbox::{Definitions, DeliverySettings, Outbox, WebhookSecrets};
use tertium_outbox as outbox;
use wire::request::parse_call;

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Calls made in each storm.
const CALLS: usize = 800;

fn start(data: &Path, outbox: OutboxOf) -> (CellHandle, Stopper) {
    let open_log = |open: OpenLog| {
        let OpenLog { disk, cell, verify_from, log_id, segment_bytes, keep_bytes } = open;
        let options = LogOptions { segment_bytes, verify_from, keep_bytes, ..LogOptions::new(cell, log_id) };
        LogFile::open(disk, options).map(|(log, _)| Box::new(log) as Box<_>)
    };
    cell::start(data, Options::default(), open_log, outbox, &mut |_| {}).expect("the cell starts")
}

/// Has the cell accept a call, whose end nobody waits for here.
fn make(cell: &CellHandle, url: &str, key: &str) {
    let body = format!(r#"{{"url":"{url}","deadline_ms":60000,"on_uncertain":"resend"}}"#);
    let command = parse_call(body.as_bytes(), "p", key, |_, _| Ok(())).unwrap();
    let (sender, receiver) = channel();
    let write = Write { command, deadline_us: u64::MAX, waits_for_end: false };
    cell.write(write, move |reply| sender.send(reply).unwrap());
    let reply = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(reply, Reply::Pending { .. } | Reply::Decided(_)), "{reply:?}");
}

/// A receiver that answers 500 to everything, which says nothing.
#[derive(Default)]
struct Down {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    requests: usize,
    keys: HashSet<String>,
}

impl Down {
    fn start() -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let down = Arc::new(Self::default());
        let shared = Arc::clone(&down);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, down) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || down.serve(stream));
            }
        });
        (down, address)
    }

    /// Until the other side closes.
    fn serve(&self, mut stream: TcpStream) {
        let (mut buffer, mut part) = (Vec::new(), [0; 4_096]);
        loop {
            while let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
                buffer.drain(..end + 4);
                let key = head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).expect("each has one");
                {
                    let mut seen = self.seen.lock().unwrap();
                    seen.requests += 1;
                    seen.keys.insert(key.trim_matches('"').to_owned());
                }
                self.changed.notify_all();
                let answer = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
                if stream.write_all(answer).is_err() {
                    return;
                }
            }
            match stream.read(&mut part) {
                Ok(0) | Err(_) => return,
                Ok(length) => buffer.extend_from_slice(&part[..length]),
            }
        }
    }

    /// Waits until a call arrived.
    fn wait_for(&self, key: &str) {
        let began = Instant::now();
        let mut seen = self.seen.lock().unwrap();
        while !seen.keys.contains(key) {
            assert!(began.elapsed() < PATIENCE, "{key} arrives");
            seen = self.changed.wait_timeout(seen, PATIENCE).unwrap().0;
        }
    }
}

/// Requests that reached the destination while all calls were made, how long that took, and what the client counted.
fn storm(connections: usize) -> (usize, Duration, DestinationStatus) {
    let (down, address) = Down::start();
    let directory = tempfile::tempdir().unwrap();
    let outbox = Outbox::default();
    let (cell, stopper) = start(&directory.path().join("data"), outbox.of_cell());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let secrets = WebhookSecrets::open(directory.path().join("none.toml")).unwrap();
    let mut settings = Settings::default();
    // Nothing but the budget keeps anybody away.
    settings.destination.breaker = None;
    let client = Client::new(settings).unwrap();
    let performing = runtime.spawn(outbox.run(
        cell.clone(),
        client.clone(),
        Arc::new(LoopbackOnly),
        Definitions::default(),
        secrets,
        DeliverySettings::default(),
    ));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for connection in 0..connections {
            let (cell, down) = (&cell, &down);
            scope.spawn(move || {
                for number in 0..CALLS / connections {
                    let key = format!("{connection}/{number}");
                    make(cell, &format!("http://{address}/"), &key);
                    down.wait_for(&key);
                }
            });
        }
    });
    let reached = down.seen.lock().unwrap().requests;
    let took = began.elapsed();
    let status = client.status().remove(0);
    stopper.stop();
    runtime.block_on(performing).unwrap();
    (reached, took, status)
}

#[test]
fn resends_keep_to_the_budget() {
    for connections in [4, 64] {
        let (reached, took, status) = storm(connections);
        let made = CALLS / connections * connections;
        println!(
            "{connections} connections: {made} made, {reached} reached it, x{:.4}; {} turns refused",
            reached as f64 / made as f64,
            status.budget_refusals
        );
        // The budget holds for any 10 s. Where the calls take longer, what is allowed whatever is made comes once more for each.
        let floors = 10 * (took.as_secs() / 10) as usize;
        assert!(reached * 100 <= made * 110 + floors * 100, "{connections}: {reached} of {made} in {took:?}");
        assert!(reached > made && status.budget_refusals > 0, "{connections}: {reached} of {made}: nothing was tested");
    }
}
