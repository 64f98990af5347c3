//! The client over TLS: to a server of the authority that it trusts, and to others, which must not get one byte of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::PrivatePkcs8KeyDer;
use tertium_client::{ApiKey, Client, NewTransfer, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const TRANSFER: &str = r#"{"id":"t1","from":"a","to":"b","unit":"GBP","amount":5,"state":"posted","memo":null,"metadata":{},
    "created_at":"2026-01-01T00:00:00.000000Z","balance_after":{"from":-5,"to":5}}"#;

/// A server that commits whatever it is asked to.
struct Server {
    url: String,
    /// The certificate that speaks for it, as PEM.
    certificate: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn named(name: &str) -> Self {
        let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, acceptor.clone(), Arc::clone(&counted)));
            }
        });
        Self { url, certificate: certified.cert.pem(), requests }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, requests: Arc<AtomicUsize>) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut bytes = Vec::new();
    // The body is the last thing in it, and ends like this.
    while !bytes.ends_with(b"}") {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    requests.fetch_add(1, Ordering::Relaxed);
    let text = format!(
        "HTTP/1.1 201 Created\r\ntertium-outcome: committed\r\ncontent-length: {}\r\n\r\n{TRANSFER}",
        TRANSFER.len()
    );
    // A client that went away is that test's business.
    drop(stream.write_all(text.as_bytes()).await);
}

/// Sends a transfer, trusting that certificate alone.
async fn sent(url: &str, trusted: &str) -> Outcome<tertium_client::Transfer> {
    let key = ApiKey::new("tert_secret").unwrap();
    let client =
        Client::builder(url).api_key(key).trust_only(trusted).deadline(Duration::from_secs(2)).build().unwrap();
    client.transfer(&NewTransfer::new("a", "b", 5)).await.outcome
}

#[tokio::test]
async fn a_server_of_the_trusted_authority_is_asked() {
    let server = Server::named("localhost").await;
    let outcome = sent(&server.url, &server.certificate).await;
    assert!(matches!(&outcome, Outcome::Committed(transfer) if transfer.id == "t1"), "{outcome:?}");
    assert_eq!(server.requests.load(Ordering::Relaxed), 1);
}

/// Neither is it asked, nor is anything uncertain: nothing was sent.
#[tokio::test]
async fn a_server_of_another_authority_or_name_gets_nothing() {
    let (server, other) = (Server::named("localhost").await, Server::named("localhost").await);
    let elsewhere = Server::named("elsewhere.example").await;
    for (what, server, trusted) in
        [("another authority", &server, &other.certificate), ("another name", &elsewhere, &elsewhere.certificate)]
    {
        let outcome = sent(&server.url, trusted).await;
        assert!(matches!(&outcome, Outcome::Refused(problem) if problem.code == "unreachable"), "{what}: {outcome:?}");
        assert_eq!(server.requests.load(Ordering::Relaxed), 0, "{what}");
    }
}
