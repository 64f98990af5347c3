//! TLS by rustls: certificate and key from PEM files, HTTP/2 and HTTP/1.1 offered.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate and its key, ready to greet clients.
#[derive(Clone)]
pub struct TlsServer {
    pub(crate) acceptor: TlsAcceptor,
}

/// Why there is no TLS. Never holds anything out of the key file.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of the kind wanted.
    File {
        /// What it should hold.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not, in words.
        reason: String,
    },
    /// The two do not belong together, or are of no kind that is supported.
    Pair(rustls::Error),
}

impl TlsServer {
    /// Reads a certificate chain and the private key of its first certificate.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let fail = |what: &'static str, path: &Path| {
            let path = path.to_owned();
            move |error: PemError| TlsError::File { what, path, reason: reason(&error) }
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(fail("a certificate", certificate))?;
        if chain.is_empty() {
            return Err(fail("a certificate", certificate)(PemError::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(fail("a private key", key))?;
        let mut config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
                .map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

fn reason(error: &PemError) -> String {
    match error {
        PemError::Io(error) => error.to_string(),
        PemError::NoItemsFound => "there is none in it".to_owned(),
        // Other kinds quote what they stumbled over, and that may be part of a key.
        _ => "it is not PEM".to_owned(),
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer")
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { what, path, reason } => write!(f, "cannot read {what} from {}: {reason}", path.display()),
            Self::Pair(_) => f.write_str("the certificate and the private key cannot be used together"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Pair(error) => Some(error),
            Self::File { .. } => None,
        }
    }
}
