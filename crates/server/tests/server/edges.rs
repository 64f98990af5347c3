//! The gateway's edges: packets, slow clients, limits, TLS, API keys, HTTP/2, and the end of a server.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge::{Keys, Role};
use tertium_server::config::Config;

use crate::kit::{Client, Server, request, transfer};

#[test]
fn a_head_may_come_in_any_number_of_packets() {
    let server = Server::start();
    server.open(&["a"]);
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let whole = request("POST", "/v1/transfers", &headers, transfer("world", "a", 5).as_bytes());
    let mut client = server.connect();
    for byte in &whole {
        client.send([*byte]);
    }
    let first = client.receive();
    assert_eq!(first.status, 201, "{first:?}");
    // Two in one packet, and the second's head cut in two.
    let mut twice = whole.clone();
    twice.extend_from_slice(&whole);
    client.send(&twice[..whole.len() + 30]);
    assert_eq!(client.receive().body, first.body);
    client.send(&twice[whole.len() + 30..]);
    assert_eq!(client.receive().body, first.body);
}

#[test]
fn slow_clients_are_let_go() {
    let server = Server::with(|config| {
        config.limits.header_timeout = Duration::from_millis(300);
        config.limits.body_idle_timeout = Duration::from_millis(300);
        config.limits.keep_alive_timeout = Duration::from_millis(600);
    });
    let mut head = server.connect();
    head.send("GET /healthz HTTP/1.1\r\nhost:");
    let mut body = server.connect();
    body.send("POST /v1/transfers HTTP/1.1\r\nhost: t\r\nidempotency-key: k\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{");
    let mut idle = server.connect();
    assert_eq!(idle.request("GET", "/healthz", &[], "").status, 200);
    let began = Instant::now();
    assert!(head.try_receive().is_none(), "a head that does not end");
    let answer = body.receive();
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid-request"), "a body that does not come");
    assert!(idle.try_receive().is_none(), "a connection without requests");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = Server::with(|config| config.limits.connections_max = 2);
    let (mut first, mut second, mut third) = (server.connect(), server.connect(), server.connect());
    assert_eq!(first.request("GET", "/healthz", &[], "").status, 200);
    assert_eq!(second.request("GET", "/healthz", &[], "").status, 200);
    third.send("GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n");
    drop(first);
    assert_eq!(third.receive().status, 200);
}

fn secured(edit: impl FnOnce(&mut Config)) -> (Server, rustls::pki_types::CertificateDer<'static>, Vec<String>) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let mut tokens = Vec::new();
    let server = Server::with(|config| {
        std::fs::create_dir_all(&config.data).unwrap();
        let (pem, key) = (config.data.join("cert.pem"), config.data.join("key.pem"));
        std::fs::write(&pem, certified.cert.pem()).unwrap();
        std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
        config.tls_certificate = Some(pem);
        config.tls_key = Some(key);
        config.authentication = true;
        let mut keys = Keys::default();
        for (name, principal, role) in
            [("r", "alice", Role::Read), ("w", "alice", Role::Write), ("b", "bob", Role::Write)]
        {
            tokens.push(keys.add(name, principal, role).unwrap().reveal().to_owned());
        }
        keys.save(&config.keys_path()).unwrap();
        edit(config);
    });
    (server, certificate, tokens)
}

fn over_tls(
    server: &Server,
    certificate: &rustls::pki_types::CertificateDer<'static>,
) -> Client<rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let socket = std::net::TcpStream::connect(server.address()).unwrap();
    Client::over(rustls::StreamOwned::new(connection, socket))
}

#[test]
fn only_who_has_a_key_comes_in_and_only_as_far_as_it_goes() {
    let (server, certificate, tokens) = secured(|_| {});
    let mut client = over_tls(&server, &certificate);
    let bearer: Vec<String> = tokens.iter().map(|token| format!("Bearer {token}")).collect();
    let [read, write, bob] =
        [("authorization", bearer[0].as_str()), ("authorization", &bearer[1]), ("authorization", &bearer[2])];
    let account = r#"{"id":"world","unit":"GBP","floor":null}"#;
    for wrong in [None, Some("Bearer tert_wrong"), Some("Basic eDp5"), Some("Bearer")] {
        let headers: Vec<(&str, &str)> = wrong.into_iter().map(|wrong| ("authorization", wrong)).collect();
        let answer = client.post("/v1/accounts", "k", &headers, account);
        assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"), "{answer:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!format!("{answer:?}").contains("wrong"), "a token comes back: {answer:?}");
    }
    let answer = client.post("/v1/accounts", "k", &[read], account);
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    assert_eq!(client.post("/v1/accounts", "k", &[write], account).status, 201);
    assert_eq!(client.request("GET", "/v1/accounts/world", &[read], "").status, 200);
    assert_eq!(client.request("GET", "/metrics", &[], "").status, 401);
    assert_eq!(client.request("GET", "/healthz", &[], "").status, 200, "probes have no key");
    // Keys of operations belong to the principal.
    assert_eq!(client.request("GET", "/v1/operations/k", &[read], "").status, 200);
    assert_eq!(client.request("GET", "/v1/operations/k", &[bob], "").status, 404);
    let other = r#"{"id":"bobs","unit":"GBP"}"#;
    assert_eq!(client.post("/v1/accounts", "k", &[bob], other).status, 201, "another principal's key is another key");
}

#[test]
fn a_revoked_key_is_shut_out() {
    let mut path = std::path::PathBuf::new();
    let (server, certificate, tokens) = secured(|config| path = config.keys_path());
    let mut client = over_tls(&server, &certificate);
    let bearer = format!("Bearer {}", tokens[0]);
    let mut ask = || client.request("GET", "/v1/accounts", &[("authorization", &bearer)], "").status;
    assert_eq!(ask(), 200);
    let mut keys = Keys::load(&path).unwrap();
    keys.revoke("r").unwrap();
    keys.save(&path).unwrap();
    let began = Instant::now();
    while ask() == 200 {
        assert!(began.elapsed() < Duration::from_secs(20), "still let in");
    }
    assert_eq!(ask(), 401);
}

#[test]
fn plain_text_is_no_tls() {
    let (server, ..) = secured(|_| {});
    let mut client = server.connect();
    client.send("GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n");
    assert!(!client.rest().starts_with(b"HTTP"));
}

#[test]
fn http2_speaks_the_same() {
    let server = Server::start();
    server.open(&["a"]);
    let address = server.address();
    server.runtime().block_on(async move {
        use http_body_util::{BodyExt, Full};
        use hyper_util::rt::{TokioExecutor, TokioIo};
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let answers = (0..100).map(|at| {
            let mut sender = sender.clone();
            let request = http::Request::post(format!("http://{address}/v1/transfers"))
                .header("idempotency-key", format!("k{at}"))
                .header("content-type", "application/json")
                .body(Full::new(bytes::Bytes::from(transfer("world", "a", 1))))
                .unwrap();
            async move { sender.send_request(request).await.unwrap() }
        });
        for answer in futures_util::future::join_all(answers).await {
            assert_eq!(answer.status(), 201);
            assert_eq!(answer.headers()["tertium-outcome"], "committed");
            assert!(!answer.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
    });
    assert_eq!(server.balance("a"), 100);
}

/// In flight when the server is asked to stop: the answer still comes, idle connections close, new ones are not taken,
/// and everything acknowledged is there afterwards.
#[test]
fn an_orderly_end() {
    let mut server = Server::start();
    server.open(&["a"]);
    let mut idle = server.connect();
    assert_eq!(idle.request("GET", "/healthz", &[], "").status, 200);
    let mut busy = server.connect();
    let body = transfer("world", "a", 5);
    let headers = [("content-type", "application/json"), ("idempotency-key", "last"), ("expect", "100-continue")];
    let whole = request("POST", "/v1/transfers", &headers, body.as_bytes());
    let (head, body) = whole.split_at(whole.len() - body.len());
    busy.send(head);
    // Only now is it known to be in flight: a head that nobody has read yet is cut off with the idle connections.
    assert_eq!(busy.receive().status, 100, "its body is waited for");
    let (running, runtime) = server.take();
    let stopping = runtime.spawn(running.stop());
    assert!(idle.try_receive().is_none(), "idle connections are closed");
    busy.send(body);
    let answer = busy.receive();
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(busy.rest().is_empty());
    runtime.block_on(stopping).unwrap();
    let mut byte = [0];
    let refused = std::net::TcpStream::connect(server.address()).and_then(|mut socket| socket.read(&mut byte));
    assert!(refused.is_err() || refused.unwrap() == 0, "nobody listens any more");
    server.restart();
    assert_eq!(server.balance("a"), 5);
    assert_eq!(server.transfer("last", "world", "a", 5).body, answer.body);
}
