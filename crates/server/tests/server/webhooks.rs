//! Deliveries through real sockets: the server, and receivers as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tertium_server::config::Config;
use wire::webhook::{Secret, verify};

use crate::calls::{Seen, next};
use crate::kit::{Answer, Server};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATH: &str = "/v1/subscriptions/mail";

/// How a receiver answers one request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Status(u16),
    Redirect,
    /// 500 with 100 MB of body.
    Huge,
    /// Not at all, until the sender hangs up.
    Hang,
    /// Closes the connection.
    Close,
}

/// A receiver that behaves as it is told for each request, and remembers them.
struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// How many bytes of huge bodies could be written.
    huge_bytes: AtomicU64,
    behave: Box<dyn Fn(&Seen) -> Behaviour + Send + Sync>,
}

impl Receiver {
    fn start(behave: impl Fn(&Seen) -> Behaviour + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, huge_bytes) = (Mutex::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared { seen, huge_bytes, behave: Box::new(behave) });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.unwrap(), Arc::clone(&serving));
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// For each key the offsets in the order in which they came first.
    fn offsets_by_key(&self) -> BTreeMap<String, Vec<u64>> {
        let mut by_key: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for seen in self.seen() {
            let offsets = by_key.entry(seen.header("tertium-partition-key").to_owned()).or_default();
            let offset = offset_of(&seen);
            if !offsets.contains(&offset) {
                offsets.push(offset);
            }
        }
        by_key
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        while let Some(request) = next(&mut stream, &mut buffer) {
            let behaviour = (self.behave)(&request);
            self.seen.lock().unwrap().push(request);
            let answer = match behaviour {
                Behaviour::Status(status) => format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n"),
                Behaviour::Redirect => {
                    "HTTP/1.1 307 There\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned()
                }
                Behaviour::Close => return,
                Behaviour::Hang => {
                    // Ends with the connection.
                    let _ = stream.read(&mut [0]);
                    return;
                }
                Behaviour::Huge => return self.write_huge(&mut stream),
            };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn write_huge(&self, stream: &mut TcpStream) {
        // Without a length, so that nobody knows beforehand.
        let _ = stream.write_all(b"HTTP/1.1 500 So\r\nconnection: close\r\n\r\n");
        let chunk = vec![b'x'; 1 << 16];
        for _ in 0..1_600 {
            match stream.write(&chunk) {
                Ok(written) => self.huge_bytes.fetch_add(written as u64, Ordering::Relaxed),
                Err(_) => return,
            };
        }
    }
}

fn offset_of(seen: &Seen) -> u64 {
    seen.header("tertium-offset").parse().unwrap()
}

/// Waits until there is what is waited for.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

fn write_secrets(path: &Path, secrets: &[(&str, &str)]) {
    let text: String = secrets.iter().map(|(name, secret)| format!("{name} = \"{secret}\"\n")).collect();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn put(server: &Server, key: &str, settings: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    server.connect().request("PUT", PATH, &headers, &settings.to_string())
}

fn subscribe(server: &Server, receiver: &Receiver) {
    let made = put(server, "subscribe", &json!({"topics": ["orders"], "url": receiver.url()}));
    assert_eq!(made.status, 201, "{made:?}");
}

/// Publishes one event for each key, or without one where that is empty, and gives their offsets.
fn publish(server: &Server, key: &str, keys: &[&str]) -> Vec<u64> {
    let event = |key: &&str| if key.is_empty() { json!({"type": "made"}) } else { json!({"type": "made", "key": key}) };
    let events: Vec<Value> = keys.iter().map(event).collect();
    let answer = server.post("/v1/topics/orders/events", key, &json!({"events": events}).to_string());
    assert_eq!(answer.status, 201, "{answer:?}");
    let first = answer.json()["first_offset"].as_u64().unwrap();
    (first..first + keys.len() as u64).collect()
}

fn view(server: &Server) -> Value {
    server.get(PATH).json()
}

fn until_delivered(server: &Server, count: u64) -> Value {
    until("all are delivered", || Some(view(server)).filter(|view| view["delivered"] == count))
}

#[test]
fn a_delivery_is_signed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets.toml");
    write_secrets(&path, &[("old", SECRET)]);
    let server = Server::with(|config: &mut Config| config.webhook_secrets = Some(path.clone()));
    let receiver = Receiver::start(|_| Behaviour::Status(204));
    let settings = |secrets: &[&str]| json!({"topics": ["orders"], "url": receiver.url(), "secrets": secrets});
    let unknown = put(&server, "s1", &settings(&["old", "new"]));
    assert_eq!((unknown.status, unknown.code().as_str()), (400, "invalid-request"), "{unknown:?}");
    let said = String::from_utf8(unknown.body).unwrap();
    assert!(said.contains("`new`") && !said.contains(&SECRET[6..]), "{said}");
    let forbidden = put(&server, "s2", &json!({"topics": ["orders"], "url": "http://169.254.169.254/latest"}));
    assert_eq!(forbidden.code(), "destination-not-allowed", "{forbidden:?}");
    let made = put(&server, "s3", &settings(&["old"]));
    assert_eq!(made.status, 201, "{made:?}");
    let offset = publish(&server, "k1", &["a"])[0];
    until_delivered(&server, 1);
    // While a secret is being replaced, each delivery is signed with both.
    let other = Secret::of_bytes(&[7; 32]).unwrap();
    write_secrets(&path, &[("old", SECRET), ("new", &other.reveal())]);
    assert_eq!(put(&server, "s4", &settings(&["old", "new"])).status, 200);
    publish(&server, "k2", &["a"]);
    assert_eq!(until_delivered(&server, 2)["records_behind"], 0);
    let seen = receiver.seen();
    let believed = |seen: &Seen, secret: &Secret| {
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| seen.header(name));
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let secrets = std::slice::from_ref(secret);
        verify(secrets, (headers[0], headers[1], headers[2]), seen.body.as_bytes(), now_s, 300).is_ok()
    };
    let old = Secret::parse(SECRET).unwrap();
    assert!(believed(&seen[0], &old) && !believed(&seen[0], &other));
    assert!(believed(&seen[1], &old) && believed(&seen[1], &other));
    let id = format!("msg_main_{}_{offset}", made.json()["number"]);
    assert_eq!((seen[0].header("webhook-id"), seen[0].line.as_str()), (id.as_str(), "POST /hook"));
    assert_eq!(seen[0].header("idempotency-key"), format!("\"{id}\""));
    assert_eq!(seen[0].header("content-type"), "application/cloudevents+json");
    assert_eq!((seen[0].header("tertium-subscription"), seen[0].header("tertium-partition-key")), ("mail", "a"));
    let event: Value = serde_json::from_str(&seen[0].body).unwrap();
    assert_eq!(event, server.get("/v1/topics/orders/events").json()["items"][0], "as it is read");
}

#[test]
fn what_a_missing_secret_signs_is_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secrets.toml");
    write_secrets(&path, &[("one", SECRET)]);
    let mut server = Server::with(|config: &mut Config| config.webhook_secrets = Some(path.clone()));
    let receiver = Receiver::start(|_| Behaviour::Status(200));
    let made = put(&server, "s", &json!({"topics": ["orders"], "url": receiver.url(), "secrets": ["one"]}));
    assert_eq!(made.status, 201, "{made:?}");
    write_secrets(&path, &[]);
    // A server that starts has read the file as it is now.
    server.restart();
    publish(&server, "k", &[""]);
    until("it is parked", || Some(()).filter(|()| view(&server)["parked"] == 1));
    assert_eq!(receiver.seen().len(), 0, "never unsigned");
    write_secrets(&path, &[("one", SECRET)]);
    until_delivered(&server, 1);
}

#[test]
fn a_key_that_fails_holds_up_no_other() {
    let server = Server::start();
    let is_bad = Arc::new(AtomicBool::new(true));
    let bad = Arc::clone(&is_bad);
    let receiver = Receiver::start(move |seen| {
        let fails = bad.load(Ordering::Relaxed) && seen.header("tertium-partition-key") == "bad";
        Behaviour::Status(if fails { 500 } else { 200 })
    });
    subscribe(&server, &receiver);
    let keys = ["bad", "a", "", "b", "bad", "a", "b", "bad"];
    let offsets = publish(&server, "k1", &keys);
    let offsets_of = |key: &str| -> Vec<u64> {
        keys.iter().zip(&offsets).filter(|(other, _)| **other == key).map(|(_, offset)| *offset).collect()
    };
    until_delivered(&server, 5);
    let waiting = until("its key waits", || Some(view(&server)).filter(|view| view["parked"] == 3));
    assert_eq!(waiting["resting"], Value::Null);
    assert_eq!(receiver.offsets_by_key()["bad"], offsets[..1], "the later ones of its key were not sent");
    assert!(view(&server)["next_offset"].as_u64() > offsets.last().copied(), "the cursor goes on");
    is_bad.store(false, Ordering::Relaxed);
    until_delivered(&server, 8);
    let by_key = receiver.offsets_by_key();
    for key in ["bad", "a", "b", ""] {
        assert_eq!(by_key[key], offsets_of(key), "`{key}` in order");
    }
}

#[test]
fn rough_receivers_are_bounded_and_nothing_is_lost() {
    let server = Server::with(|config: &mut Config| config.deliveries.attempt = Duration::from_secs(1));
    let is_rough = Arc::new(AtomicBool::new(true));
    let rough = Arc::clone(&is_rough);
    let receiver = Receiver::start(move |seen| match seen.header("tertium-partition-key") {
        _ if !rough.load(Ordering::Relaxed) => Behaviour::Status(200),
        "slow" => Behaviour::Hang,
        "redirects" => Behaviour::Redirect,
        "huge" => Behaviour::Huge,
        "closes" => Behaviour::Close,
        _ => Behaviour::Status(418),
    });
    subscribe(&server, &receiver);
    let keys = ["slow", "redirects", "huge", "closes", "refuses"];
    let offsets = publish(&server, "k1", &keys);
    until("all are parked", || Some(()).filter(|()| view(&server)["parked"] == keys.len()));
    is_rough.store(false, Ordering::Relaxed);
    until_delivered(&server, keys.len() as u64);
    let seen: BTreeSet<u64> = receiver.seen().iter().map(offset_of).collect();
    assert_eq!(seen, offsets.iter().copied().collect());
    assert!(receiver.seen().iter().all(|seen| seen.line == "POST /hook"), "redirects are not followed");
    // What the sockets' buffers take is beside what is read.
    let written = receiver.shared.huge_bytes.load(Ordering::Relaxed);
    assert!(written < 50 << 20, "{written} bytes of answers were taken");
}

#[test]
fn a_restart_loses_no_event() {
    let mut server = Server::with(|config: &mut Config| config.limits.stop_grace = Duration::from_millis(100));
    let hangs = Arc::new(AtomicBool::new(true));
    let hanging = Arc::clone(&hangs);
    let receiver = Receiver::start(move |seen| {
        let hangs = hanging.load(Ordering::Relaxed) && seen.header("tertium-partition-key") == "k3";
        if hangs { Behaviour::Hang } else { Behaviour::Status(200) }
    });
    subscribe(&server, &receiver);
    let names: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut wanted: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut cursor = 0;
    for round in 0..20 {
        for (key, offset) in keys.iter().zip(publish(&server, &format!("p{round}"), &keys)) {
            wanted.entry((*key).to_owned()).or_default().push(offset);
        }
        if round % 7 == 3 {
            until("the one that hangs is under way", || {
                Some(()).filter(|()| receiver.offsets_by_key().contains_key("k3"))
            });
            server.restart();
        }
        let now = view(&server)["next_offset"].as_u64().unwrap();
        assert!(now >= cursor, "the cursor went back from {cursor} to {now}");
        cursor = now;
    }
    hangs.store(false, Ordering::Relaxed);
    server.restart();
    until("everything arrived", || Some(()).filter(|()| receiver.offsets_by_key() == wanted));
    until("the cursor is at the end", || Some(()).filter(|()| view(&server)["next_offset"].as_u64() > Some(cursor)));
    let hung: Vec<Seen> = receiver.seen().into_iter().filter(|seen| offset_of(seen) == wanted["k3"][0]).collect();
    assert!(hung.len() > 1, "what was under way was sent again");
    assert!(hung.iter().all(|seen| seen.header("webhook-id") == hung[0].header("webhook-id")), "under one id");
}

#[test]
fn gone_means_rest() {
    let server = Server::start();
    let is_gone = Arc::new(AtomicBool::new(true));
    let gone = Arc::clone(&is_gone);
    let receiver = Receiver::start(move |_| Behaviour::Status(if gone.load(Ordering::Relaxed) { 410 } else { 200 }));
    subscribe(&server, &receiver);
    let mut offsets = publish(&server, "k1", &["a"]);
    until("it rests", || Some(()).filter(|()| view(&server)["resting"] == "gone"));
    let escalated = server.get("/v1/topics/tertium.escalations/events").json();
    assert_eq!(escalated["items"][0]["type"], "tertium.subscription.paused", "{escalated}");
    assert_eq!(escalated["items"][0]["data"]["subscription"], "mail");
    offsets.extend(publish(&server, "k2", &["a", "b"]));
    is_gone.store(false, Ordering::Relaxed);
    let before: Vec<u64> = receiver.seen().iter().map(offset_of).collect();
    assert_eq!(before, offsets[..1], "nothing more while it rests");
    assert_eq!(put(&server, "resume", &json!({"topics": ["orders"], "url": receiver.url()})).status, 200);
    until_delivered(&server, 3);
    let seen: BTreeSet<u64> = receiver.seen().iter().map(offset_of).collect();
    assert_eq!(seen, offsets.into_iter().collect());
}

#[test]
fn deliveries_are_told_in_metrics() {
    // The first event of each key fails once.
    let server = Server::start();
    let tries = Mutex::new(BTreeMap::new());
    let receiver = Receiver::start(move |seen| {
        let mut tries = tries.lock().unwrap();
        let times: &mut u32 = tries.entry(offset_of(seen)).or_default();
        *times += 1;
        Behaviour::Status(if *times == 1 && seen.header("tertium-partition-key") == "b" { 500 } else { 200 })
    });
    subscribe(&server, &receiver);
    publish(&server, "k", &["a", "a", "b"]);
    until_delivered(&server, 3);
    let text = until("all of it was looked at", || {
        let text = String::from_utf8(server.get("/metrics").body).unwrap();
        text.contains("tertium_subscription_behind{subscription=\"mail\"} 0").then_some(text)
    });
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    };
    let (delivered, failed) =
        ("tertium_deliveries_total{outcome=\"delivered\"}", "tertium_deliveries_total{outcome=\"failed\"}");
    assert_eq!(value(delivered), 3.0);
    // Whatever the client tried again within an attempt, nobody knows here: it failed at most once.
    assert!(value(failed) <= 1.0, "{text}");
    assert_eq!(value("tertium_deliveries_total{outcome=\"gone\"}"), 0.0);
    assert_eq!(value("tertium_delivery_duration_seconds_count"), value(delivered) + value(failed));
    assert_eq!(value("tertium_subscription_dead_letters{subscription=\"mail\"}"), 0.0);
    assert_eq!(value("tertium_subscription_parked{subscription=\"mail\"}"), 0.0);
}
