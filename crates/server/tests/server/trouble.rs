//! A log that hangs, a disk that is full, bodies that fill the memory, a server that is stopping.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use cell::OpenLog;
use disk::{Disk, File, Mode};
use log::{Append, Capabilities, Log, LogError, Rejected, Stored, Upkeep};
use words::Position;

use crate::kit::{Client, Server, request, transfer};

/// How long a test waits at most for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Holds appends up while it is closed.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn pass(&self) {
        drop(self.opened.wait_while(self.closed.lock().unwrap(), |closed| *closed).unwrap());
    }
}

/// A log whose appends hang before they begin.
struct Hanging {
    log: Box<dyn Log>,
    gate: Arc<Gate>,
}

impl Log for Hanging {
    fn append(&mut self, after: Position, epoch: u64, entry: &[u8]) -> Append {
        self.gate.pass();
        self.log.append(after, epoch, entry)
    }

    fn read(&mut self, from: u64, max_bytes: usize) -> Result<Vec<Stored>, LogError> {
        self.log.read(from, max_bytes)
    }

    fn tail(&mut self) -> Result<Position, LogError> {
        self.log.tail()
    }

    fn trim(&mut self, upto: u64) -> Result<(), LogError> {
        self.log.trim(upto)
    }

    fn first(&self) -> u64 {
        self.log.first()
    }

    fn seal(&mut self) -> Result<Position, LogError> {
        self.log.seal()
    }

    fn capabilities(&self) -> Capabilities {
        self.log.capabilities()
    }

    fn has_room(&mut self) -> Result<(), Rejected> {
        self.log.has_room()
    }

    fn mark(&mut self) -> Result<(), LogError> {
        self.log.mark()
    }

    fn upkeep(&self) -> Option<Box<dyn Upkeep>> {
        self.log.upkeep()
    }
}

#[test]
fn a_log_that_hangs_leaves_operations_uncertain_until_it_goes_on() {
    const DEADLINE: Duration = Duration::from_millis(150);
    let gate = Arc::new(Gate::default());
    let mut server = Server::start();
    let before = Arc::clone(&gate);
    server.restart_on(move |open| Ok(Box::new(Hanging { log: tertium_server::open_log(open)?, gate: before })));
    server.open(&["a"]);
    let mut client = server.connect();
    gate.close();
    let mut took: Vec<Duration> = (0..5)
        .map(|at| {
            let began = Instant::now();
            let headers = [("x-request-deadline", "150ms")];
            let answer = client.post("/v1/transfers", &format!("k{at}"), &headers, &transfer("world", "a", 1));
            let took = began.elapsed();
            assert_eq!((answer.status, answer.code().as_str()), (504, "outcome-unknown"), "{answer:?}");
            assert_eq!(answer.outcome(), "uncertain");
            assert_eq!(answer.json()["operation"], format!("/v1/operations/k{at}"));
            assert!(took >= DEADLINE, "it was waited for: {took:?}");
            took
        })
        .collect();
    took.sort_unstable();
    // One of them may have waited for a processor; the server's own bound holds for most.
    assert!(took[2] < DEADLINE + Duration::from_millis(100), "{took:?}");

    // A line of a stream is answered by its deadline too.
    let line = format!("{}\n", transfer("world", "a", 1).replacen('{', r#"{"key":"line","#, 1));
    let headers = [("content-type", "application/x-ndjson"), ("x-request-deadline", "150ms")];
    let answer = server.connect().request("POST", "/v1/transfers", &headers, &line);
    let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&told["key"], &told["problem"]["code"]), (&"line".into(), &"outcome-unknown".into()), "{told}");

    gate.open();
    let settled = client.request("POST", "/v1/operations/line/settle", &[], "");
    let mut committed = i64::from(settled.outcome() == "committed");
    for at in 0..5 {
        let settled = client.request("POST", &format!("/v1/operations/k{at}/settle"), &[], "");
        assert_eq!(settled.status, 200, "{settled:?}");
        let outcome = settled.outcome().to_owned();
        assert!(["committed", "refused"].contains(&outcome.as_str()), "{settled:?}");
        committed += i64::from(outcome == "committed");
        let again = client.request("GET", &format!("/v1/operations/k{at}"), &[], "");
        assert_eq!(again.json()["outcome"], outcome.as_str(), "what is definite stays so");
    }
    assert_eq!(server.balance("a"), committed);
    assert_eq!(server.transfer("after", "world", "a", 1).status, 201);
}

/// A disk on which no file can be created while it is full.
#[derive(Debug)]
struct Filling {
    disk: Arc<dyn Disk>,
    full: Arc<AtomicBool>,
}

impl Disk for Filling {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Box<dyn File>> {
        if mode == Mode::Create && self.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.disk.open(name, mode)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        if self.full.load(Ordering::Relaxed) { Ok(0) } else { self.disk.free_bytes() }
    }
}

#[test]
fn a_full_disk_refuses_writes_answers_reads_and_recovers() {
    let full = Arc::new(AtomicBool::new(false));
    let mut server = Server::with(|config| config.cell.segment_bytes = 64 << 10);
    let fills = Arc::clone(&full);
    server.restart_on(move |open| {
        let disk: Arc<dyn Disk> = Arc::new(Filling { disk: Arc::clone(&open.disk), full: fills });
        tertium_server::open_log(OpenLog { disk, ..open })
    });
    server.open(&["a"]);
    full.store(true, Ordering::Relaxed);
    // What is prepared already takes some more.
    let mut written = 0;
    let refused = loop {
        let answer = server.transfer(&format!("k{written}"), "world", "a", 1);
        if answer.status != 201 {
            break answer;
        }
        written += 1;
        assert!(written < 1_000, "a full disk takes everything");
    };
    assert_eq!((refused.status, refused.code().as_str()), (503, "storage-full"), "{refused:?}");
    assert_eq!(refused.outcome(), "refused");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(server.balance("a"), written, "reads go on");
    assert_eq!(server.transfer("k0", "world", "a", 1).header("idempotency-replayed"), Some("true"), "so do replays");
    assert_eq!(server.get("/readyz").status, 503);

    full.store(false, Ordering::Relaxed);
    let began = Instant::now();
    while server.transfer(&format!("k{written}"), "world", "a", 1).status != 201 {
        assert!(began.elapsed() < PATIENCE, "it does not go on though there is room");
    }
    assert_eq!(server.balance("a"), written + 1, "what was refused did not happen");
}

#[test]
fn bodies_beyond_the_bound_of_all_are_refused() {
    let server = Server::with(|config| config.limits.bodies_bytes_max = 10_000);
    server.open(&["a"]);
    let before = server.position();
    let headers = [("content-type", "application/json"), ("idempotency-key", "slow")];
    let padded = |bytes: usize| format!("{:bytes$}", transfer("world", "a", 1));
    let whole = request("POST", "/v1/transfers", &headers, padded(9_000).as_bytes());
    let (most, last) = whole.split_at(whole.len() - 1);
    let mut slow = server.connect();
    slow.send(most);
    let held = |bytes| format!("\ntertium_request_bodies_bytes {bytes}\n");
    let began = Instant::now();
    while !String::from_utf8(server.get("/metrics").body).unwrap().contains(&held(8_999)) {
        assert!(began.elapsed() < PATIENCE, "the slow one's bytes do not come");
    }
    let refused = server.post("/v1/transfers", "other", &padded(5_000));
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"), "{refused:?}");
    assert_eq!(refused.outcome(), "refused");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let between = server.position();
    assert_eq!(server.post("/v1/transfers", "third", &padded(5_000)).status, 503);
    assert_eq!(server.position(), between, "nothing was appended");
    assert_ne!(server.post("/v1/transfers", "small", &padded(100)).status, 503, "what fits goes on");
    slow.send(last);
    assert_eq!(slow.receive().status, 201, "the slow one has its room");
    assert_eq!(server.post("/v1/transfers", "third", &padded(5_000)).status, 201, "and gives it back");
    assert_ne!(server.position(), before);
}

/// A balancer that keeps a connection is told to go elsewhere. Over HTTP/1.1 its connection is closed; over HTTP/2 it may
/// still ask until it has taken note of the end.
#[test]
fn a_stopping_server_is_not_ready() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(frame(FRAME_SETTINGS, 0, 0, &[]));
    client.send(readyz(1));
    let head = wait_for(&mut client, |frame| frame.kind == FRAME_HEADERS);
    assert!(head.payload.starts_with(STATUS_200), "{:x?}", head.payload);
    assert!(answer_on(&mut client, 1).contains(r#""ready":true"#));
    let (running, runtime) = server.take();
    let stopping = runtime.spawn(running.stop());
    wait_for(&mut client, |frame| frame.kind == FRAME_GOAWAY);
    client.send(readyz(3));
    let head = wait_for(&mut client, |frame| frame.kind == FRAME_HEADERS && frame.stream == 3);
    assert!(head.payload.starts_with(STATUS_503), "{:x?}", head.payload);
    let answer = answer_on(&mut client, 3);
    assert!(answer.contains(r#""ready":false"#) && answer.contains("stopping"), "{answer}");
    drop(client);
    runtime.block_on(stopping).unwrap();
}

const FRAME_DATA: u8 = 0;
const FRAME_HEADERS: u8 = 1;
const FRAME_SETTINGS: u8 = 4;
const FRAME_GOAWAY: u8 = 7;
/// `:status: 200` in HPACK's static table, and 503, which is not there: the name's place, then the digits in the Huffman code
/// (RFC 7541, appendices A and B).
const STATUS_200: &[u8] = b"\x88";
const STATUS_503: &[u8] = b"\x48\x83\x6c\x0c\xff";
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One frame of HTTP/2 (RFC 9113, section 4.1).
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// `GET /readyz`: method and scheme from HPACK's static table, path and authority spelled out (RFC 7541, appendix A).
fn readyz(stream: u32) -> Vec<u8> {
    frame(FRAME_HEADERS, END_STREAM | END_HEADERS, stream, b"\x82\x86\x04\x07/readyz\x01\x01t")
}

fn wait_for(client: &mut Client, wanted: impl Fn(&Frame) -> bool) -> Frame {
    loop {
        let head = client.receive_bytes(9);
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], stream, payload: client.receive_bytes(length) };
        if wanted(&frame) {
            return frame;
        }
    }
}

/// The body of the answer on a stream.
fn answer_on(client: &mut Client, stream: u32) -> String {
    let body = wait_for(client, |frame| frame.kind == FRAME_DATA && frame.stream == stream);
    String::from_utf8(body.payload).unwrap()
}
