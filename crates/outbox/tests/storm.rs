//! A destination that is wholly down is asked at most 1.10 times as often as durable calls are made, though each of them is
//! to be sent again until somebody answers: the later attempts wait for their turn in the retry budget. And once it is up
//! again, all that is uncertain is settled, and not held to what it may be asked while it is down.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use call::{Client, DestinationStatus, LoopbackOnly, Settings};
use cell::{CellHandle, Found, Level, OpenLog, Options, OutboxOf, Query, Read, Reply, Stopper, Write};
use log_file::{LogFile, LogOptions};
use outbox::{Definitions, DeliverySettings, Outbox, WebhookSecrets};
use tertium_outbox as outbox;
use wire::request::parse_call;
use words::Stamp;

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Calls made in each storm.
const CALLS: usize = 800;
/// Calls made before the outage ends.
const UNCERTAIN: usize = 2_000;
/// How long these may be uncertain before a person gets them.
const UNCERTAIN_MS_MAX: u64 = 60_000;
/// By when they are settled: there is room once the storm has left the budget's window of 10 s; what had no turn before that
/// comes again within half of the time that is left to it; and it waits 5 s at most.
const SETTLED_WITHIN: Duration = Duration::from_millis(10_000 + UNCERTAIN_MS_MAX / 2 + 5_000);

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
    let body = format!(
        r#"{{"url":"{url}","deadline_ms":60000,"on_uncertain":"resend","uncertain_ms_max":{UNCERTAIN_MS_MAX}}}"#
    );
    let command = parse_call(body.as_bytes(), "p", key, |_, _| Ok(())).unwrap();
    let (sender, receiver) = channel();
    let write = Write { command, deadline_us: u64::MAX, waits_for_end: false };
    cell.write(write, move |reply| sender.send(reply).unwrap());
    let reply = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(reply, Reply::Pending { .. } | Reply::Decided(_)), "{reply:?}");
}

/// A receiver that answers 500 to everything, which says nothing, until it is up.
#[derive(Default)]
struct Down {
    is_up: AtomicBool,
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
                let status = if self.is_up.load(Ordering::SeqCst) { "200 OK" } else { "500 Internal Server Error" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                if stream.write_all(answer.as_bytes()).is_err() {
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

/// A cell whose outbox calls a receiver that is down.
struct World {
    down: Arc<Down>,
    url: String,
    cell: CellHandle,
    client: Client,
    stopper: Stopper,
    performing: tokio::task::JoinHandle<()>,
    runtime: tokio::runtime::Runtime,
    _directory: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
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
        let url = format!("http://{address}/");
        Self { down, url, cell, client, stopper, performing, runtime, _directory: directory }
    }

    /// Makes so many calls over so many connections, each after the one before has arrived.
    fn make(&self, calls: usize, connections: usize) {
        std::thread::scope(|scope| {
            for connection in 0..connections {
                scope.spawn(move || {
                    for number in 0..calls / connections {
                        let key = format!("{connection}/{number}");
                        make(&self.cell, &self.url, &key);
                        self.down.wait_for(&key);
                    }
                });
            }
        });
    }

    fn reached(&self) -> usize {
        self.down.seen.lock().unwrap().requests
    }

    fn status(&self) -> DestinationStatus {
        self.client.status().remove(0)
    }

    /// How many calls are uncertain, and how many of these a person has.
    fn uncertain(&self) -> (usize, usize) {
        let (sender, receiver) = channel();
        let query = Query::Uncertain { after: (Stamp::ZERO, 0), limit: 2 * UNCERTAIN };
        let read = Read { level: Level::Linearizable, deadline_us: u64::MAX, query };
        self.cell.read(read, move |reply| sender.send(reply.found).unwrap());
        match receiver.recv_timeout(PATIENCE).unwrap() {
            Ok(Found::Uncertain { calls, .. }) => {
                (calls.len(), calls.iter().filter(|found| found.view.is_escalated).count())
            }
            other => panic!("{other:?}"),
        }
    }

    fn stop(self) {
        self.stopper.stop();
        self.runtime.block_on(self.performing).unwrap();
    }
}

/// Asks until it is so.
fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

#[test]
fn what_an_outage_left_uncertain_is_settled_once_it_is_over() {
    let world = World::start();
    world.make(UNCERTAIN, 64);
    // Some waited for a turn in vain.
    until("turns are refused", PATIENCE, || world.status().budget_refusals > 200);
    let (uncertain, reached) = (world.uncertain().0, world.reached());
    assert!(uncertain > UNCERTAIN * 9 / 10, "{uncertain} uncertain: the outage was over too soon");
    world.down.is_up.store(true, Ordering::SeqCst);
    let took = until("all are settled in time", SETTLED_WITHIN, || {
        let (uncertain, escalated) = world.uncertain();
        assert_eq!(escalated, 0, "nobody's bound comes before a turn did");
        uncertain == 0
    });
    println!(
        "{uncertain} of {UNCERTAIN} uncertain after {reached} requests, all settled {took:?} after it was up; {} requests, {} turns refused",
        world.reached(),
        world.status().budget_refusals
    );
    world.stop();
}

/// Requests that reached the destination while all calls were made, how long that took, and what the client counted.
fn storm(connections: usize) -> (usize, Duration, DestinationStatus) {
    let world = World::start();
    let began = Instant::now();
    world.make(CALLS, connections);
    let (reached, took, status) = (world.reached(), began.elapsed(), world.status());
    world.stop();
    (reached, took, status)
}

#[test]
fn resends_keep_to_the_budget() {
    for connections in [4, 64] {
        let (reached, took, status) = storm(connections);
        let made = CALLS / connections * connections;
        println!(
            "{connections} connections: {made} made, {reached} reached it, x{:.4}; {} turns waited for in vain",
            reached as f64 / made as f64,
            status.budget_refusals
        );
        // The budget holds for any 10 s. Where the calls take longer, what is allowed whatever is made comes once more for each.
        let floors = 10 * (took.as_secs() / 10) as usize;
        assert!(reached * 100 <= made * 110 + floors * 100, "{connections}: {reached} of {made} in {took:?}");
        assert!(reached > made, "{connections}: {reached} of {made}: nothing was tested");
    }
}
