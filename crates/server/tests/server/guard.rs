//! Who is kept out, and who is let go: web pages, revoked keys in the middle of a stream, clients that hold on to what they
//! cost.

use std::path::Path;
use std::time::{Duration, Instant};

use edge::{Keys, Role};
use serde_json::{Value, json};
use tertium_server::config::Config;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::transport::Channel;
use wire::proto::tertium_client::TertiumClient;
use wire::proto::topics_client::TopicsClient;
use wire::proto::{BatchRequest, FollowEventsRequest, FramesIn, GetAccountRequest, TransferRequest};

use crate::grpc::{code, connect, frame_of};
use crate::kit::{Client, Server, request, transfer};

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_web_page_is_not_answered() {
    let mut server = Server::start();
    server.open(&["a"]);
    let before = server.position();
    let ask = |server: &Server, method: &str, path: &str, host: &str, headers: &[(&str, &str)]| {
        let key = if method == "POST" { "idempotency-key: k\r\ncontent-type: application/json\r\n" } else { "" };
        let body = if method == "POST" { transfer("world", "a", 5) } else { String::new() };
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{key}content-length: {}\r\n", body.len());
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        let mut client = server.connect();
        client.send(head + "\r\n" + &body);
        let answer = client.receive();
        (answer.status, answer.code())
    };
    let refused = (403, "origin-not-allowed".to_owned());
    let page = [("origin", "http://evil.example")];
    let ours = format!("{}", server.address());
    for (method, path) in
        [("POST", "/v1/transfers"), ("GET", "/v1/accounts/a"), ("GET", "/v1/topics/ledger/events"), ("GET", "/metrics")]
    {
        assert_eq!(ask(&server, method, path, "evil.example", &[]), refused, "{method} {path}");
        assert_eq!(ask(&server, method, path, &ours, &page), refused, "{method} {path}");
        assert_eq!(ask(&server, method, path, &ours, &[("sec-fetch-site", "cross-site")]), refused, "{method} {path}");
    }
    let stream = [("accept", "text/event-stream"), ("origin", "null")];
    assert_eq!(ask(&server, "GET", "/v1/topics/ledger/events", &ours, &stream), refused);
    assert_eq!(server.position(), before, "nothing was appended");
    assert_eq!(ask(&server, "GET", "/healthz", "evil.example", &[]).0, 200, "what says nothing is open");
    assert_eq!(ask(&server, "POST", "/v1/transfers", &ours, &[]).0, 201);
    // A page has no API key to show, so whoever shows one is no page.
    server.restart_with(|config| config.authentication = true);
    assert_eq!(ask(&server, "GET", "/v1/accounts/a", "evil.example", &[]).0, 401);
}

#[test]
fn a_web_page_is_not_answered_over_grpc_either() {
    let server = Server::start();
    let address = server.address();
    server.runtime().block_on(async {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        let channel = channel.origin("http://evil.example".parse().unwrap()).connect().await.unwrap();
        let status =
            TertiumClient::new(channel).get_account(GetAccountRequest { id: "a".to_owned() }).await.unwrap_err();
        assert_eq!(status.metadata().get("tertium-code").unwrap(), "origin-not-allowed");
    });
}

/// A server that asks for keys, the file of them, and the token of a key called `till`.
fn guarded(edit: impl FnOnce(&mut Config)) -> (Server, std::path::PathBuf, String) {
    let (mut path, mut token) = Default::default();
    let server = Server::with(|config| {
        config.authentication = true;
        std::fs::create_dir_all(&config.data).unwrap();
        path = config.keys_path();
        token = Keys::change(&path, |keys| keys.add("till", "shop", Role::Write)).unwrap().reveal().to_owned();
        edit(config);
    });
    (server, path, format!("Bearer {token}"))
}

fn revoke(path: &Path) {
    Keys::change(path, |keys| keys.revoke("till")).unwrap();
}

fn send_line(client: &mut Client, key: &str) {
    let line = format!("{}\n", json!({"key": key, "from": "world", "to": "a", "amount": 1}));
    client.send(format!("{:x}\r\n{line}\r\n", line.len()));
}

fn open_guarded(server: &Server, bearer: &str) {
    for (id, floor) in [("world", "null"), ("a", "0")] {
        let body = format!(r#"{{"id":"{id}","unit":"GBP","floor":{floor}}}"#);
        let answer = server.connect().post("/v1/accounts", id, &[("authorization", bearer)], &body);
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

#[test]
fn a_key_that_is_revoked_ends_its_streams() {
    let (server, path, bearer) = guarded(|_| {});
    open_guarded(&server, &bearer);
    let mut lines = server.connect();
    lines.send(format!(
        "POST /v1/transfers HTTP/1.1\r\nhost: t\r\nauthorization: {bearer}\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
    ));
    send_line(&mut lines, "0");
    assert!(lines.receive_head().starts_with("HTTP/1.1 200"));
    let first: Value = serde_json::from_slice(&lines.next_chunk().unwrap()).unwrap();
    assert_eq!(first["outcome"], "committed");
    let mut events = server.connect();
    events.send(format!(
        "GET /v1/topics/ledger/events?from=0 HTTP/1.1\r\nhost: t\r\nconnection: close\r\nauthorization: {bearer}\r\naccept: text/event-stream\r\n\r\n"
    ));
    assert!(events.receive_head().starts_with("HTTP/1.1 200"));
    assert!(events.next_chunk().is_some());
    revoke(&path);
    let began = Instant::now();
    let mut at = 0;
    let refused = loop {
        at += 1;
        send_line(&mut lines, &at.to_string());
        let answer: Value = serde_json::from_slice(&lines.next_chunk().unwrap()).unwrap();
        if answer["outcome"] != "committed" {
            break answer;
        }
        assert!(began.elapsed() < PATIENCE, "a revoked key goes on");
    };
    assert_eq!((&refused["key"], &refused["problem"]["code"]), (&json!(at.to_string()), &json!("unauthenticated")));
    let rest = lines.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it does not look like the end: {}", String::from_utf8_lossy(&rest));
    // It is looked at the key when there is something to tell.
    let other = Keys::change(&path, |keys| keys.add("other", "shop", Role::Write)).unwrap();
    let bearer = format!("Bearer {}", other.reveal());
    let began = Instant::now();
    while server
        .connect()
        .post("/v1/transfers", "last", &[("authorization", &bearer)], &transfer("world", "a", 1))
        .status
        != 201
    {
        assert!(began.elapsed() < PATIENCE, "a new key is not known");
    }
    let told = events.rest();
    assert!(told.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&told));
}

#[test]
fn a_key_that_is_revoked_ends_its_grpc_stream() {
    let (server, path, bearer) = guarded(|_| {});
    open_guarded(&server, &bearer);
    let address = server.address();
    server.runtime().block_on(async {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let mut asked = Request::new(ReceiverStream::new(receiver));
        asked.metadata_mut().insert("authorization", bearer.parse().unwrap());
        sender.send(FramesIn { frames: vec![frame_of(0, 1)] }).await.unwrap();
        let mut answers = TertiumClient::new(channel).transfer_stream(asked).await.unwrap().into_inner();
        assert!(answers.message().await.unwrap().is_some());
        revoke(&path);
        let began = Instant::now();
        let mut at = 0;
        let status = loop {
            at += 1;
            // Once the stream has ended nobody takes it.
            let _ = sender.send(FramesIn { frames: vec![frame_of(at, 1)] }).await;
            match answers.message().await {
                Ok(answer) => assert!(answer.is_some(), "an end that says nothing"),
                Err(status) => break status,
            }
            assert!(began.elapsed() < PATIENCE, "a revoked key goes on");
        };
        assert_eq!(status.metadata().get("tertium-code").unwrap(), "unauthenticated");
    });
}

#[test]
fn a_key_that_is_revoked_ends_its_grpc_stream_of_events() {
    let (server, path, bearer) = guarded(|_| {});
    open_guarded(&server, &bearer);
    let address = server.address();
    let mut pages = server.runtime().block_on(async {
        let mut client = TopicsClient::new(connect(address).await);
        let asked = || Request::new(FollowEventsRequest { topic: "ledger".to_owned(), from: 0 });
        let nobody = client.follow_events(asked()).await.unwrap_err();
        assert_eq!(code(&nobody), "unauthenticated");
        let mut asked = asked();
        asked.metadata_mut().insert("authorization", bearer.parse().unwrap());
        let mut pages = client.follow_events(asked).await.unwrap().into_inner();
        assert!(pages.message().await.unwrap().is_some());
        pages
    });
    revoke(&path);
    let other = Keys::change(&path, |keys| keys.add("other", "shop", Role::Write)).unwrap();
    let bearer = format!("Bearer {}", other.reveal());
    // It is looked at the key when there is something to tell.
    let began = Instant::now();
    let moved = transfer("world", "a", 1);
    while server.connect().post("/v1/transfers", "last", &[("authorization", &bearer)], &moved).status != 201 {
        assert!(began.elapsed() < PATIENCE, "a new key is not known");
    }
    let status = server.runtime().block_on(async {
        let ended = async {
            while pages.message().await?.is_some() {}
            Ok::<_, tonic::Status>(())
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("it ends").unwrap_err()
    });
    assert_eq!(code(&status), "unauthenticated");
}

#[test]
fn a_message_of_many_empty_items_is_not_even_decoded() {
    let server = Server::start();
    let address = server.address();
    server.runtime().block_on(async {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let mut client = TertiumClient::new(channel);
        let code = |status: tonic::Status| status.metadata().get("tertium-code").unwrap().to_str().unwrap().to_owned();
        let batch = |items: usize| BatchRequest {
            idempotency_key: "k".to_owned(),
            atomic: false,
            items: vec![TransferRequest::default(); items],
        };
        assert_eq!(code(client.batch(batch(machine::BATCH_ITEMS_MAX + 1)).await.unwrap_err()), "invalid-request");
        assert_eq!(code(client.batch(batch(200_000)).await.unwrap_err()), "payload-too-large");
        let frames = FramesIn { frames: vec![Default::default(); 200_000] };
        let mut answers = client.transfer_stream(tokio_stream::once(frames)).await.unwrap().into_inner();
        assert_eq!(code(answers.message().await.unwrap_err()), "payload-too-large");
    });
}

#[test]
fn a_grpc_message_that_does_not_come_is_not_waited_for() {
    let server = Server::with(|config| config.limits.body_idle_timeout = Duration::from_millis(300));
    let address = server.address();
    server.runtime().block_on(async {
        use http_body_util::{BodyExt, StreamBody};
        use hyper_util::rt::{TokioExecutor, TokioIo};
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        // A prefix that promises more than comes, twice; and a whole message that is late. The client here has no clock of
        // its own, which would be ahead of the server's word.
        let (cut, whole) = (&b"\0\0\0\0\x09abc"[..], &b"\0\0\0\0\0"[..]);
        for (timeout, body, expect, status) in [
            ("10S", cut, "invalid-request", "3"),
            ("100m", cut, "deadline-exceeded", "4"),
            ("0m", whole, "deadline-exceeded", "4"),
        ] {
            let first = Ok::<_, std::convert::Infallible>(hyper::body::Frame::data(bytes::Bytes::from_static(body)));
            let never = futures_util::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
            let request = http::Request::post(format!("http://{address}/tertium.v1.Tertium/Transfer"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("grpc-timeout", timeout)
                .body(BodyExt::boxed(StreamBody::new(never)))
                .unwrap();
            let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
            let told = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!((told("tertium-code"), told("grpc-status")), (Some(expect), Some(status)), "{answer:?}");
        }
    });
}

#[test]
fn a_body_that_does_not_come_in_time_is_late() {
    let server = Server::start();
    server.open(&["a"]);
    let headers = [("content-type", "application/json"), ("idempotency-key", "late"), ("x-request-deadline", "200ms")];
    let whole = request("POST", "/v1/transfers", &headers, transfer("world", "a", 5).as_bytes());
    let mut client = server.connect();
    let began = Instant::now();
    client.send(&whole[..whole.len() - 1]);
    let answer = client.receive();
    assert_eq!((answer.status, answer.code().as_str(), answer.outcome()), (504, "deadline-exceeded", "refused"));
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(server.get("/v1/operations/late").code(), "operation-unknown");
}

/// HTTP/2 clients that leave no room for an answer, or room for one byte of it.
#[test]
fn an_answer_that_nobody_takes_is_not_kept() {
    for window in [0u8, 1] {
        let server = Server::with(|config| {
            config.limits.write_timeout = Duration::from_millis(500);
            config.limits.keep_alive_timeout = Duration::from_secs(3_600);
        });
        let mut client = server.connect();
        let began = Instant::now();
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, section 6.5.2).
        client.send([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, window]);
        // `GET /readyz`, as HPACK has it.
        let head = b"\x82\x86\x04\x07/readyz\x01\x01t";
        client.send([0, 0, head.len() as u8, 1, 5, 0, 0, 0, 1]);
        client.send(head);
        // Ends when the server closes the connection; the kit's patience is the bound.
        client.rest();
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(500), "window {window}: {took:?}");
    }
}
