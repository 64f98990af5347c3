//! What the whole stack costs over a bare hyper connection: the same calls to the same receiver on loopback, by the bare
//! connection, by a ready-made pool, by this crate's transport alone, and by the whole stack.
//!
//! `cargo run --release -p tertium-call --example layer_cost [calls]`. Everything runs on one thread, the receiver too, and
//! what is counted is that thread's processor time, which other work on the machine does not lengthen.

use std::time::Instant;

use bytes::Bytes;
use call::transport::Transport;
use call::{Call, Client, Settings, TransportSettings, Verdict};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

fn main() {
    let calls = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(50_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let address = receiver().await;
        // Alternating, so that neither has the warmer machine.
        for round in 1..=5 {
            let bare = bare(address, calls).await;
            let pool = pool(address, calls).await;
            let transport = transport(address, calls).await;
            let stack = stack(address, calls).await;
            println!(
                "round {round}: bare {bare:.2}, pool {pool:.2}, transport {transport:.2}, stack {stack:.2}; \
                 the stack adds {:.2} us per call",
                stack - bare
            );
        }
    });
}

async fn receiver() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async {
                let body = request.into_body().collect().await?.to_bytes();
                Ok::<_, hyper::Error>(Response::new(Full::new(body)))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

const BODY: &[u8] = br#"{"from":"alice","to":"bob","amount":100}"#;

async fn bare(address: std::net::SocketAddr, calls: u32) -> f64 {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    let begun = Clock::read();
    for number in 0..calls {
        sender.ready().await.expect("it is open");
        let mut request = request(address, number).map(Full::new);
        *request.uri_mut() = http::Uri::from_static("/effect");
        let answer = sender.send_request(request).await.expect("an answer");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, BODY);
    }
    begun.micros_each(calls)
}

async fn pool(address: std::net::SocketAddr, calls: u32) -> f64 {
    let pool = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let begun = Clock::read();
    for number in 0..calls {
        let answer = pool.request(request(address, number).map(Full::new)).await.expect("an answer");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body, BODY);
    }
    begun.micros_each(calls)
}

async fn transport(address: std::net::SocketAddr, calls: u32) -> f64 {
    let mut transport = Transport::plain(address, TransportSettings::default());
    let begun = Clock::read();
    for number in 0..calls {
        let answer = transport.call(request(address, number)).await.expect("an answer");
        assert_eq!(answer.body(), BODY);
    }
    begun.micros_each(calls)
}

fn request(address: std::net::SocketAddr, number: u32) -> Request<Bytes> {
    Request::post(format!("http://{address}/effect"))
        .header("host", address.to_string())
        .header("idempotency-key", format!("\"key-{number}\""))
        .header("content-type", "application/json")
        .body(Bytes::from_static(BODY))
        .expect("a request")
}

async fn stack(address: std::net::SocketAddr, calls: u32) -> f64 {
    let client = Client::new(Settings::default()).expect("default settings");
    let url: http::Uri = format!("http://{address}/effect").parse().expect("a URL");
    let begun = Clock::read();
    for number in 0..calls {
        let mut call = Call::new(Method::POST, url.clone());
        call.key = Some(words::Key::new(&format!("key-{number}")).expect("a key"));
        call.headers.insert("content-type", HeaderValue::from_static("application/json"));
        call.body = Bytes::from_static(BODY);
        let report = client.call(call).await;
        assert_eq!(report.verdict, Verdict::Committed);
        assert_eq!(report.answer.expect("an answer").body, BODY);
    }
    begun.micros_each(calls)
}

/// The thread's processor time where the system tells it, else the time of day.
enum Clock {
    Processor { ns: u64 },
    Wall(Instant),
}

impl Clock {
    fn read() -> Self {
        // The first number is the time spent on a processor, in nanoseconds (Documentation/scheduler/sched-stats.rst).
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        match text.split(' ').next().and_then(|first| first.parse().ok()) {
            Some(ns) => Self::Processor { ns },
            None => Self::Wall(Instant::now()),
        }
    }

    fn micros_each(self, calls: u32) -> f64 {
        let elapsed_us = match (self, Self::read()) {
            (Self::Processor { ns: before }, Self::Processor { ns: after }) => (after - before) as f64 / 1e3,
            (Self::Wall(before), _) => before.elapsed().as_secs_f64() * 1e6,
            (Self::Processor { .. }, Self::Wall(_)) => f64::NAN,
        };
        elapsed_us / f64::from(calls)
    }
}
