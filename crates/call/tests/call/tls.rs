//! TLS: what was agreed on is spoken, and without an agreement nothing was done.

use std::sync::Arc;

use call::{Client, Evidence, Protocol, Settings, Verdict};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::crypto::ring::default_provider;
use tokio_rustls::TlsAcceptor;

use crate::receiver::{Receiver, effect, told};

struct Pair {
    server: rustls::ServerConfig,
    client: rustls::ClientConfig,
}

fn pair(alpn: &[&str]) -> Pair {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut server = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Pair { server, client }
}

/// Answers 200 with the version that was spoken.
async fn receiver(server: rustls::ServerConfig) -> Receiver {
    let acceptor = TlsAcceptor::from(Arc::new(server));
    Receiver::start(move |peer| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(peer.stream).await else { return };
            let seen = peer.seen;
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                seen.heads.lock().unwrap().push(String::new());
                let answer = http::Response::new(format!("{:?}", request.version()));
                async move { Ok::<_, std::convert::Infallible>(answer) }
            });
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await
}

async fn report(protocol: Protocol, client: rustls::ClientConfig, receiver: &Receiver) -> call::Report {
    let mut settings = Settings { tls: Some(Arc::new(client)), ..Settings::default() };
    settings.destination.transport.protocol = protocol;
    let mut call = effect(&format!("https://localhost:{}/effect", receiver.address.port()));
    call.deadline = std::time::Duration::from_secs(5);
    Client::new(settings).unwrap().call(call).await
}

#[tokio::test]
async fn what_was_agreed_on_is_spoken() {
    for (protocol, alpn, version) in [
        (Protocol::Http1, ["http/1.1"].as_slice(), "HTTP/1.1"),
        (Protocol::Http1, &[], "HTTP/1.1"),
        (Protocol::Http1, &["h2", "http/1.1"], "HTTP/1.1"),
        (Protocol::Http2, &["h2", "http/1.1"], "HTTP/2.0"),
    ] {
        let pair = pair(alpn);
        let receiver = receiver(pair.server).await;
        let report = report(protocol, pair.client, &receiver).await;
        assert_eq!(report.verdict, Verdict::Committed, "{protocol:?} {alpn:?}");
        assert_eq!(report.answer.unwrap().body, version);
    }
}

#[tokio::test]
async fn no_agreement_is_not_done() {
    for alpn in [["http/1.1"].as_slice(), &[]] {
        let pair = pair(alpn);
        let receiver = receiver(pair.server).await;
        let report = report(Protocol::Http2, pair.client, &receiver).await;
        assert!(matches!(report.verdict, Verdict::NotDone(Evidence::TlsFailed(_))), "{}", report.verdict);
        assert_eq!(receiver.executions(), 0);
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_not_done() {
    let receiver = receiver(pair(&["http/1.1"]).server).await;
    let report = report(Protocol::Http1, pair(&["http/1.1"]).client, &receiver).await;
    assert!(told(&report).starts_with("not done: no TLS: invalid peer certificate"), "{}", report.verdict);
    assert_eq!(receiver.executions(), 0);
}
