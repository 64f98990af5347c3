//! The client and how it is made.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, Uri};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::judge::text;
use crate::retry::{Budget, RetryOptions};
use crate::secret::ApiKey;
use crate::transport::{Lost, Request, Response, Transport};

/// A client of one server. Clones share its connections, its retry budget and its session.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    options: Options,
    budget: Budget,
    /// The last session token; `None` until the server gave one.
    session: Mutex<Option<words::Session>>,
}

/// What applies to each call that does not say otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) deadline: Duration,
    pub(crate) settle_within: Duration,
    pub(crate) retry: RetryOptions,
}

/// How a client is to be.
///
/// ```
/// use std::time::Duration;
/// use tertium_client::{ApiKey, Client, RetryOptions};
///
/// let client = Client::builder("https://ledger.example:7700")
///     .api_key(ApiKey::new("tert_s3cret")?)
///     .deadline(Duration::from_secs(2))
///     .settle_within(Duration::from_millis(500))
///     .retry(RetryOptions { retries_max: 5, ..RetryOptions::default() })
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct ClientBuilder {
    server: String,
    api_key: Option<ApiKey>,
    ca_pem: Option<Vec<u8>>,
    idle_connections_max: usize,
    options: Options,
}

/// Why there is no client.
#[derive(Debug)]
pub enum BuildError {
    /// The server is not `http://host[:port]` or `https://host[:port]`.
    Server {
        /// What it is instead.
        given: String,
    },
    /// An API key would cross the network readable by anyone on the way.
    KeyInTheClear,
    /// The certificates to trust cannot be used.
    Certificates(String),
}

/// What is kept of the time for the answer's way back: one part in so many, and at most so many milliseconds.
const WAY_BACK_PART: u64 = 20;
const WAY_BACK_MS_MAX: u64 = 100;

impl Client {
    /// A client with the defaults, for `http://host:port` or `https://host:port`. No connection is made yet.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn new(server: &str) -> Result<Self, BuildError> {
        Self::builder(server).build()
    }

    /// A client to be described further.
    pub fn builder(server: &str) -> ClientBuilder {
        ClientBuilder {
            server: server.to_owned(),
            api_key: None,
            ca_pem: None,
            idle_connections_max: 256,
            options: Options {
                deadline: Duration::from_millis(words::DEADLINE_DEFAULT_MS),
                settle_within: Duration::from_secs(2),
                retry: RetryOptions::default(),
            },
        }
    }

    /// What this client has seen, as an opaque token: hand it to another process, which passes it to
    /// [`Client::observe`], and it will read what this one wrote. `None` before the first answer.
    pub fn session(&self) -> Option<String> {
        self.lock_session().as_ref().map(ToString::to_string)
    }

    /// Takes over what another client has seen. What this client has seen itself stays seen.
    ///
    /// # Errors
    /// [`words::SessionError`] where the token is none.
    pub fn observe(&self, token: &str) -> Result<(), words::SessionError> {
        let seen = words::Session::parse(token)?;
        match &mut *self.lock_session() {
            Some(session) => session.merge(&seen),
            none => *none = Some(seen),
        }
        Ok(())
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Waits before another attempt, as long as the server asked for and the backoff besides. Says whether there is to be
    /// one: not after the most there may be, not past `until`, and not without a share of the budget.
    pub(crate) async fn pause(&self, attempts: u32, at_least: Duration, until: Instant) -> bool {
        let retry = self.options().retry;
        let pause = at_least + retry.pause(attempts);
        let too_late = Instant::now() + pause >= until;
        if attempts > retry.retries_max || too_late || !self.budget().take(Instant::now()) {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    /// One attempt: tells the server what remains of the time and what was seen, and takes note of what it says.
    pub(crate) async fn exchange(&self, mut request: Request, until: Instant) -> Result<Response, Lost> {
        let remaining_ms = until.saturating_duration_since(Instant::now()).as_millis();
        let remaining_ms = u64::try_from(remaining_ms).unwrap_or(u64::MAX).min(words::DEADLINE_MS_MAX);
        if remaining_ms == 0 {
            return Err(Lost::Late);
        }
        // What the server says at the end of its time is to arrive within ours.
        let told_ms = remaining_ms - (remaining_ms / WAY_BACK_PART).min(WAY_BACK_MS_MAX);
        request.headers.insert("x-request-deadline", value(&format!("{told_ms}ms")));
        if let Some(token) = self.session() {
            request.headers.insert("tertium-session", value(&token));
        }
        let response = self.inner.transport.send(request, until).await?;
        if let Some(token) = text(&response.headers, "tertium-session") {
            // A token this build cannot read is of a newer server; without it reads are merely less fresh than they
            // could be, and `linearizable` ones are not affected.
            let _ = self.observe(token);
        }
        Ok(response)
    }

    fn lock_session(&self) -> std::sync::MutexGuard<'_, Option<words::Session>> {
        // A session is replaced whole or merged position by position, each of them true.
        self.inner.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("numbers, cell names and punctuation are visible ASCII")
}

impl ClientBuilder {
    /// Proves who is calling. Over plain `http` only to this machine.
    pub fn api_key(mut self, key: ApiKey) -> Self {
        self.api_key = Some(key);
        self
    }

    /// How long each call waits, all attempts together, unless it says otherwise. Default 10 s, at most 1 h.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options.deadline = deadline;
        self
    }

    /// How much longer than its deadline a write waits for a definite answer. Default 2 s; zero: it does not settle.
    pub fn settle_within(mut self, allowance: Duration) -> Self {
        self.options.settle_within = allowance;
        self
    }

    /// How to try again.
    pub fn retry(mut self, retry: RetryOptions) -> Self {
        self.options.retry = retry;
        self
    }

    /// Trust these certificate authorities (PEM) and no others. Default: those of the operating system.
    pub fn trust_only(mut self, ca_pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(ca_pem.into());
        self
    }

    /// How many idle connections are kept, each for 60 s. Default 256.
    pub fn idle_connections_max(mut self, connections: usize) -> Self {
        self.idle_connections_max = connections;
        self
    }

    /// The client.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<Client, BuildError> {
        let (base, is_private) = check_server(&self.server)?;
        if self.api_key.is_some() && !is_private {
            return Err(BuildError::KeyInTheClear);
        }
        let tls = tls_config(base.starts_with("https:"), self.ca_pem.as_deref())?;
        let api_key = self.api_key.as_ref().map(ApiKey::header);
        Ok(Client {
            inner: Arc::new(Inner {
                transport: Transport::new(base, tls, api_key, self.idle_connections_max),
                options: self.options,
                budget: Budget::new(&self.options.retry, Instant::now()),
                session: Mutex::new(None),
            }),
        })
    }
}

/// The server without a slash at the end, and whether nobody on the way can read what is sent to it.
fn check_server(server: &str) -> Result<(String, bool), BuildError> {
    let wrong = || BuildError::Server { given: server.to_owned() };
    let base = server.strip_suffix('/').unwrap_or(server);
    let uri: Uri = base.parse().map_err(|_| wrong())?;
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return Err(wrong()) };
    let bare = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
    let anonymous = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if !bare || !anonymous || !matches!(scheme, "http" | "https") {
        return Err(wrong());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    Ok((base.to_owned(), scheme == "https" || is_loopback))
}

fn tls_config(is_needed: bool, ca_pem: Option<&[u8]>) -> Result<rustls::ClientConfig, BuildError> {
    let wrong = |error: String| BuildError::Certificates(error);
    let mut roots = rustls::RootCertStore::empty();
    match ca_pem {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| wrong(format!("not PEM: {error}")))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("there is no certificate in the PEM text".to_owned()));
            }
        }
        None if is_needed => {
            // Single certificates a system carries and rustls cannot read are left out; none at all is an error.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(wrong("the operating system has none; name them with `trust_only`".to_owned()));
            }
        }
        None => {}
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { given } => {
                write!(f, "a server is `http://host:port` or `https://host:port` without a path, not {given:?}")
            }
            Self::KeyInTheClear => f.write_str("an API key is sent over https, or over http to this machine only"),
            Self::Certificates(why) => write!(f, "the certificates to trust cannot be used: {why}"),
        }
    }
}

impl std::error::Error for BuildError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (server, base, is_private) in [
            ("http://127.0.0.1:7700", "http://127.0.0.1:7700", true),
            ("http://127.0.0.1:7700/", "http://127.0.0.1:7700", true),
            ("http://[::1]:7700", "http://[::1]:7700", true),
            ("http://localhost", "http://localhost", true),
            ("http://ledger.example", "http://ledger.example", false),
            ("https://ledger.example", "https://ledger.example", true),
        ] {
            assert_eq!(check_server(server).unwrap(), (base.to_owned(), is_private));
        }
        for bad in
            ["", "ledger.example:7700", "ftp://x", "http://", "http://x/path", "http://x?q", "http://u:p@x", "x y"]
        {
            assert!(matches!(check_server(bad), Err(BuildError::Server { .. })), "{bad:?}");
        }
    }

    #[test]
    fn no_key_in_the_clear() {
        let key = ApiKey::new("tert_s3cret").unwrap();
        let clear = Client::builder("http://ledger.example").api_key(key.clone()).build();
        assert!(matches!(clear, Err(BuildError::KeyInTheClear)));
        let local = Client::builder("http://127.0.0.1:1").api_key(key).build().unwrap();
        assert!(!format!("{local:?}").contains("s3cret"));
    }

    #[test]
    fn the_session_never_goes_back() {
        let client = Client::new("http://127.0.0.1:1").unwrap();
        assert_eq!(client.session(), None);
        client.observe("1.a:1:9").unwrap();
        client.observe("1.a:1:4,b:2:7").unwrap();
        assert_eq!(client.session().as_deref(), Some("1.a:1:9,b:2:7"));
        assert!(client.observe("garbage").is_err());
    }
}
