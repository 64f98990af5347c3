//! Durable calls through real sockets: the server in the middle, and a receiver that behaves as its path says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use expect_test::expect;

use crate::kit::{Answer, Server};

/// A receiver that answers as the path asks for, and remembers what it was asked.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, seen) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Seen>>) {
    let mut buffer = Vec::new();
    while let Some(request) = next(&mut stream, &mut buffer) {
        let path = request.line.split(' ').nth(1).unwrap().to_owned();
        let times = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.iter().filter(|other| other.line == request.line).count()
        };
        let json = |status: &str, body: &str| {
            format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let answer = match path.as_str() {
            "/ok" => json("201 Created", r#"{"done":true}"#),
            "/refuse" => json("409 Conflict", r#"{"why":"sold out"}"#),
            "/refuse-at-length" => json("409 Conflict", &format!(r#"{{"why":"{}"}}"#, "x".repeat(20_000))),
            // Not before it was asked for something else.
            "/refuse-second" => {
                let began = Instant::now();
                while seen.lock().unwrap().iter().all(|other| other.line == request.line) {
                    assert!(began.elapsed() < Duration::from_secs(20), "it is asked for something else");
                    std::thread::yield_now();
                }
                json("409 Conflict", "{}")
            }
            "/fail" => json("500 Internal Server Error", "{}"),
            "/redirect" => {
                "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n".to_owned()
            }
            "/binary" => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\u{1}\u{2}".to_owned(),
            // Done, and then silence: the first time. A receiver that knows keys answers the second.
            "/silent-once" if times == 1 => return,
            "/silent-once" => json("200 OK", r#"{"done":true}"#),
            "/silent" | "/silent-probed" | "/silent-one" | "/silent-two" => return,
            "/undo" => json("204 No Content", ""),
            "/huge" => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 104857600\r\n\r\n";
                let chunk = vec![b'x'; 1 << 16];
                let _ = stream.write_all(head.as_bytes());
                for _ in 0..1_600 {
                    if stream.write_all(&chunk).is_err() {
                        return;
                    }
                }
                return;
            }
            "/slow" => {
                // Longer than anybody here waits; ends with the connection.
                let mut byte = [0];
                let _ = stream.read(&mut byte);
                return;
            }
            "/located" => "HTTP/1.1 201 Created\r\nlocation: /ok/r-7\r\nx-part: a\r\nx-part: b\r\nset-cookie: s=1\r\n\
                           content-length: 0\r\n\r\n"
                .to_owned(),
            "/reservations" => json("201 Created", r#"{"id":"r-1"}"#),
            "/reservations/r-1" => json("204 No Content", ""),
            "/parcels" => json("201 Created", r#"{"tracking":"t-1"}"#),
            path if path.starts_with("/ok/") => json("200 OK", r#"{"id":"r-1"}"#),
            path if path.starts_with("/undo/") => json("204 No Content", ""),
            path if path.starts_with("/state/") => json("200 OK", r#"{"state":"paid"}"#),
            other => panic!("what is {other}?"),
        };
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

/// The next request of a connection; `None` at its end.
pub(crate) fn next(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let mut chunk = [0; 16 << 10];
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let mut lines = head.lines();
            let line = lines.next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
            let headers: Vec<(String, String)> = lines
                .map(|line| line.split_once(": ").unwrap())
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length =
                headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let body = String::from_utf8(buffer[end + 4..end + 4 + length].to_vec()).unwrap();
                buffer.drain(..end + 4 + length);
                return Some(Seen { line, headers, body });
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(read) => buffer.extend_from_slice(&chunk[..read]),
        }
    }
}

fn said(answer: &Answer) -> String {
    let json = answer.json();
    let call = if json["call"].is_null() { &json } else { &json["call"] };
    let code = json["code"].as_str().map_or(String::new(), |code| format!(" {code}"));
    format!(
        "{}{code} {}: {} in {} tries, {}; {}",
        answer.status,
        answer.header("tertium-outcome").unwrap_or("-"),
        call["end"].as_str().unwrap_or("-"),
        call["tries"],
        call["evidence"].as_str().unwrap_or("-"),
        call["response"],
    )
}

/// The uncertain calls, once there are so many that a person must look at, or else that are uncertain at all.
pub(crate) fn uncertain(server: &Server, count: usize) -> Vec<serde_json::Value> {
    let began = Instant::now();
    loop {
        let list = server.get("/v1/uncertain").json();
        let items = list["items"].as_array().unwrap();
        if items.len() == count {
            return items.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{count} are uncertain: {list}");
        std::thread::yield_now();
    }
}

fn call(server: &Server, key: &str, body: &str) -> Answer {
    server.post("/v1/calls", key, body)
}

#[test]
fn a_call_ends_with_the_receivers_answer() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let body = format!(r#"{{"url":"{}","headers":{{"X-Order":"17"}},"body":{{"b":1,"a":2}}}}"#, receiver.url("/ok"));
    let first = call(&server, "order-17/pay", &body);
    expect![[r#"200 committed: committed in 1 tries, answered 201; {"body":{"done":true},"content_type":"application/json","is_cut":false,"status":201}"#]].assert_eq(&said(&first));
    let again = call(&server, "order-17/pay", &body);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.body, first.body, "byte for byte");
    let seen = receiver.seen();
    assert_eq!(seen.len(), 1, "called once: {seen:?}");
    assert_eq!(seen[0].header("idempotency-key"), "\"order-17/pay\"");
    assert_eq!((seen[0].header("x-order"), seen[0].body.as_str()), ("17", r#"{"a":2,"b":1}"#));
    let remaining = seen[0].header("x-request-deadline");
    assert!(remaining.ends_with("ms") || remaining.ends_with('s'), "{remaining}");
    let operation = server.get("/v1/operations/order-17%2Fpay").json();
    assert_eq!((operation["outcome"].as_str(), operation["status"].as_u64()), (Some("committed"), Some(200)));
    assert_eq!(call(&server, "order-17/pay", &body.replace("17", "18")).code(), "idempotency-key-reused");
}

#[test]
fn what_receivers_say_and_what_it_means() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let mut lines = Vec::new();
    for path in ["/refuse", "/binary"] {
        lines.push(said(&call(&server, path, &format!(r#"{{"url":"{}"}}"#, receiver.url(path)))));
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = format!(r#"{{"url":"http://{nobody}/","deadline_ms":2000}}"#);
    lines.push(said(&call(&server, "gone", &gone)));
    expect![[r#"
        422 call-refused refused: refused in 1 tries, answered 409; {"body":{"why":"sold out"},"content_type":"application/json","is_cut":false,"status":409}
        200 committed: committed in 1 tries, answered 200; {"body":"\u0001\u0002","content_type":null,"is_cut":false,"status":200}
        502 call-not-done refused: not_done in 1 tries, no connection: connection refused; null"#]].assert_eq(&lines.join("\n"));
    assert_eq!(receiver.lines(), ["POST /refuse", "POST /binary"]);
}

#[test]
fn doubt_is_settled_by_resending_probing_or_undoing() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let resent =
        format!(r#"{{"url":"{}","on_uncertain":"resend","retry":{{"tries_max":1}}}}"#, receiver.url("/silent-once"));
    let resent = call(&server, "resent", &resent);
    let probed = format!(
        r#"{{"url":"{}","retry":{{"tries_max":1}},"probe":{{"url":"{}","pointer":"/state","values":{{"paid":"committed"}}}}}}"#,
        receiver.url("/silent-probed"),
        receiver.url("/state/{key}")
    );
    let probed = call(&server, "a/b", &probed);
    let undone = format!(
        r#"{{"url":"{}","retry":{{"tries_max":1}},"on_uncertain":"compensate","compensate":{{"url":"{}"}}}}"#,
        receiver.url("/silent"),
        receiver.url("/undo")
    );
    let undone = call(&server, "undone", &undone);
    expect![[r#"
        200 committed: committed in 2 tries, answered 200; {"body":{"done":true},"content_type":"application/json","is_cut":false,"status":200}
        200 committed: committed in 2 tries, answered 200; {"body":{"state":"paid"},"content_type":"application/json","is_cut":false,"status":200}
        409 call-compensated refused: compensated in 2 tries, answered 204; {"body":"","content_type":"application/json","is_cut":false,"status":204}"#]].assert_eq(&[said(&resent), said(&probed), said(&undone)].join("\n"));
    let lines = receiver.lines();
    assert_eq!(
        lines,
        [
            "POST /silent-once",
            "POST /silent-once",
            "POST /silent-probed",
            "GET /state/a%2Fb",
            "POST /silent",
            "POST /undo"
        ]
    );
    let undo = receiver.seen().pop().unwrap();
    assert_eq!(undo.header("tertium-compensates"), "\"undone\"");
    assert_eq!(undo.header("idempotency-key"), "\"undone/compensate\"");
    assert_eq!(server.get("/v1/uncertain").json()["items"].as_array().unwrap().len(), 0);
}

#[test]
fn a_person_ends_what_nothing_else_can() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let body = format!(r#"{{"url":"{}","retry":{{"tries_max":1}}}}"#, receiver.url("/silent"));
    let answer = server.connect().post("/v1/calls", "k", &[("x-request-deadline", "300ms")], &body);
    assert_eq!((answer.status, answer.header("tertium-outcome")), (202, Some("uncertain")));
    assert_eq!(answer.header("location"), Some("/v1/operations/k"));
    let item = &uncertain(&server, 1)[0];
    assert_eq!(
        (item["key"].as_str(), item["escalated"].as_bool(), item["next"].as_str()),
        (Some("k"), Some(true), Some("person"))
    );
    assert_eq!(item["tried"][0]["found"], "uncertain");
    assert!(item["tried"][0]["evidence"].as_str().unwrap().contains("closed"), "{item}");
    let operation = server.get("/v1/operations/k").json();
    assert_eq!((operation["outcome"].as_str(), operation["status"].as_u64()), (Some("uncertain"), Some(202)));
    assert!(operation["body"].is_null() && operation["decided_at"].is_null(), "{operation}");

    let path = format!("/v1/uncertain/{}/resolve", item["id"].as_str().unwrap());
    assert_eq!(server.post(&path, "r0", r#"{"outcome":"committed"}"#).status, 400, "who says so, and how they know");
    let decree = r#"{"outcome":"committed","by":"ada","note":"the bank's statement shows it"}"#;
    let resolved = server.post(&path, "r1", decree);
    assert_eq!((resolved.status, resolved.json()["outcome"].as_str()), (200, Some("committed")), "{resolved:?}");
    assert_eq!(server.post(&path, "r2", decree).code(), "not-uncertain");
    let ended = call(&server, "k", &body);
    assert_eq!((ended.status, ended.json()["resolved_by"].as_str()), (200, Some("ada")), "{ended:?}");
    assert_eq!(server.get("/v1/uncertain").json()["items"].as_array().unwrap().len(), 0);
    assert_eq!(receiver.lines().len(), 1);
}

#[test]
fn whoever_does_not_wait_is_told_where_to_ask() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let body = format!(r#"{{"url":"{}"}}"#, receiver.url("/ok"));
    let answer = server.connect().post("/v1/calls", "k", &[("prefer", "respond-async")], &body);
    assert_eq!((answer.status, answer.header("location")), (202, Some("/v1/operations/k")));
    let operation = server.get("/v1/operations/k?wait_ms=10000").json();
    assert_eq!(
        (operation["outcome"].as_str(), operation["body"]["end"].as_str()),
        (Some("committed"), Some("committed"))
    );
    let settled = server.post("/v1/operations/k/settle", "", "");
    assert_eq!(settled.json()["outcome"], "committed");
}

#[test]
fn a_call_that_the_server_did_not_see_the_end_of_is_uncertain_and_settled_by_the_next() {
    let (mut server, receiver) =
        (Server::with(|config| config.limits.stop_grace = Duration::from_millis(250)), Receiver::start());
    let body = format!(
        r#"{{"url":"{}","probe":{{"url":"{}"}},"deadline_ms":60000}}"#,
        receiver.url("/slow"),
        receiver.url("/state/{key}")
    );
    let answer = server.connect().post("/v1/calls", "k", &[("prefer", "respond-async")], &body);
    assert_eq!(answer.status, 202);
    let began = Instant::now();
    while receiver.lines().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "the receiver is called");
        std::thread::yield_now();
    }
    server.restart();
    let operation = server.get("/v1/operations/k?wait_ms=20000").json();
    assert_eq!(operation["outcome"], "committed", "{operation}");
    assert_eq!(operation["body"]["evidence"], "answered 200");
    assert_eq!(receiver.lines(), ["POST /slow", "GET /state/k"]);
}

#[test]
fn receivers_that_misbehave_are_bounded() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let huge = call(&server, "huge", &format!(r#"{{"url":"{}"}}"#, receiver.url("/huge")));
    let response = &huge.json()["response"];
    assert_eq!((huge.status, response["is_cut"].as_bool()), (200, Some(true)));
    assert_eq!(response["body"].as_str().unwrap().len(), 64 << 10, "what is kept is bounded, and kept");
    let redirect = format!(r#"{{"url":"{}","retry":{{"tries_max":1}}}}"#, receiver.url("/redirect"));
    let redirect = server.connect().post("/v1/calls", "redirect", &[("prefer", "respond-async")], &redirect);
    assert_eq!(redirect.status, 202, "{redirect:?}");
    // A redirect is no answer, and not followed.
    uncertain(&server, 1);
    let slow = format!(r#"{{"url":"{}","deadline_ms":1000,"retry":{{"tries_max":1}}}}"#, receiver.url("/slow"));
    let slow = server.connect().post("/v1/calls", "slow", &[("prefer", "respond-async")], &slow);
    assert_eq!(slow.status, 202, "{slow:?}");
    uncertain(&server, 2);
    let list = server.get("/v1/uncertain?limit=1").json();
    let next = list["next"].as_str().unwrap();
    let rest = server.get(&format!("/v1/uncertain?cursor={next}")).json();
    let keys: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .chain(rest["items"].as_array().unwrap())
        .map(|i| i["key"].clone())
        .collect();
    assert_eq!(keys, ["redirect", "slow"], "oldest first");
    assert_eq!(receiver.lines(), ["POST /huge", "POST /redirect", "POST /slow"]);
}

#[test]
fn where_a_caller_may_not_send_the_server() {
    let server = Server::start();
    let mut lines = Vec::new();
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://[fd00:ec2::254]/",
        "http://0.0.0.0/",
        "http://192.0.2.1:80/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1/#x",
        "/relative",
        "http://[::ffff:169.254.169.254]/",
    ] {
        let answer = call(&server, "k", &format!(r#"{{"url":"{url}"}}"#));
        lines.push(format!("{url}: {} {}", answer.status, answer.code()));
    }
    let probe = r#"{"url":"http://127.0.0.1:1/","probe":{"url":"http://169.254.169.254/{key}"}}"#;
    lines.push(format!("probe: {}", call(&server, "k", probe).code()));
    let undo = r#"{"url":"http://127.0.0.1:1/","compensate":{"url":"http://10.1.1.1/"}}"#;
    lines.push(format!("compensate: {}", call(&server, "k", undo).code()));
    let own = r#"{"url":"http://127.0.0.1:1/","headers":{"Tertium-Attempt":"1"}}"#;
    lines.push(format!("own header: {}", call(&server, "k", own).code()));
    expect![[r#"
        http://169.254.169.254/latest/meta-data: 403 destination-not-allowed
        http://10.0.0.1/: 403 destination-not-allowed
        http://[fd00:ec2::254]/: 403 destination-not-allowed
        http://0.0.0.0/: 403 destination-not-allowed
        http://192.0.2.1:80/: 403 destination-not-allowed
        ftp://127.0.0.1/: 400 invalid-request
        file:///etc/passwd: 400 invalid-request
        http://user:secret@127.0.0.1/: 400 invalid-request
        http://127.0.0.1/#x: 400 invalid-request
        /relative: 400 invalid-request
        http://[::ffff:169.254.169.254]/: 403 destination-not-allowed
        probe: destination-not-allowed
        compensate: destination-not-allowed
        own header: invalid-request"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn doubts_are_told_in_metrics() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let body = format!(r#"{{"url":"{}","retry":{{"tries_max":1}}}}"#, receiver.url("/silent"));
    server.connect().post("/v1/calls", "k", &[("x-request-deadline", "300ms")], &body);
    uncertain(&server, 1);
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    for line in ["tertium_uncertain_calls 1", "tertium_open_calls 1", "tertium_uncertain_duration_seconds_count 0"] {
        assert!(text.lines().any(|known| known == line), "{line} in {text}");
    }
    assert!(text.contains("tertium_uncertain_oldest_age_seconds"), "{text}");
    assert!(text.contains(&format!("tertium_calls_total{{destination=\"http://{}\"}} 1", receiver.address)), "{text}");
}
