//! A new connection to one address that has been checked, with TLS where the URL says so.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Protocol;
use super::counted::{Counted, Stream, Written};
use crate::core::verdict::Evidence;

/// TLS towards one host.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// # Errors
    /// What of the host is no name that a certificate could have.
    pub(crate) fn new(config: &rustls::ClientConfig, host: &str, protocol: Protocol) -> Result<Self, Evidence> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| Evidence::RequestInvalid("the host is no name that a certificate could have"))?;
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.alpn().to_vec()];
        // No early data: what it carries can be replayed, and would be written before there is a connection.
        config.enable_early_data = false;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(crate) async fn connect(
    address: SocketAddr,
    tls: Option<&Tls>,
    protocol: Protocol,
) -> Result<(Counted, Written), Evidence> {
    let tcp = TcpStream::connect(address).await.map_err(|error| Evidence::ConnectFailed(error.kind()))?;
    // Only costs latency if it fails.
    let _ = tcp.set_nodelay(true);
    let Some(tls) = tls else { return Ok(Counted::new(Stream::Plain(TokioIo::new(tcp)))) };
    let failed = |what: String| Evidence::TlsFailed(what.into());
    let stream = tls.connector.connect(tls.name.clone(), tcp).await.map_err(|error| failed(error.to_string()))?;
    let agreed = stream.get_ref().1.alpn_protocol();
    // HTTP/1.1 is what a peer that knows no ALPN speaks; HTTP/2 has to be agreed on (RFC 9113, section 3.2).
    if agreed != Some(protocol.alpn()) && !(agreed.is_none() && protocol == Protocol::Http1) {
        return Err(failed(format!("the peer did not agree to {}", String::from_utf8_lossy(protocol.alpn()))));
    }
    Ok(Counted::new(Stream::Tls(Box::new(TokioIo::new(stream)))))
}
