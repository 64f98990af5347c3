//! The whole as one thing to hold: a call goes in, a report comes out.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use tower::Service;
use words::Key;

use crate::core::breaker::BreakerState;
use crate::core::budget::Budget;
use crate::core::clock;
use crate::core::verdict::{Cut, Evidence, Verdict};
use crate::layer::retry::IDEMPOTENCY_KEY;
use crate::origin::Origin;
use crate::settings::{Settings, SettingsError};
use crate::stack::Destination;
use crate::terms::{Attempt, Terms};
use crate::turn::{ProcessTurns, Turn};

/// One call to make.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Absolute, `http` or `https`.
    pub url: Uri,
    /// Sent as they are, besides those that the layers own. A `Tertium-Attempt` that came in with the work this call is
    /// part of belongs among them: then this hop does not retry what an outer one is retrying.
    pub headers: HeaderMap,
    /// Whole.
    pub body: Bytes,
    /// Names the effect; sent as `Idempotency-Key`, the same on each attempt. Without one nothing is sent twice unless
    /// it is certain that nothing was done.
    pub key: Option<Key>,
    /// How long anyone waits, over all attempts; an hour at most. Inherited where there is one to inherit:
    /// [`layer::deadline::inherited`](crate::layer::deadline::inherited).
    pub deadline: Duration,
    /// Attempts beyond the first, 3 at most.
    pub retries_max: u32,
    /// Whether it changes nothing: only then may it be hedged.
    pub read: bool,
    /// The largest body of an answer that is read, where the destination's own bound is not lower. Default no bound.
    pub answer_bytes_max: u64,
}

impl Call {
    /// That request, with a deadline of 10 s, 3 retries, no key and no body.
    pub fn new(method: Method, url: Uri) -> Self {
        Self {
            read: method.is_safe(),
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            key: None,
            deadline: Duration::from_millis(words::DEADLINE_DEFAULT_MS),
            retries_max: crate::terms::RETRIES_MAX,
            answer_bytes_max: u64::MAX,
        }
    }
}

/// What became of a call.
#[derive(Clone, Debug)]
pub struct Report {
    /// Of the whole call.
    pub verdict: Verdict,
    /// The answer that the verdict rests on, if there was one.
    pub answer: Option<Answer>,
    /// Each attempt, in the order they ended. Empty if none was begun.
    pub attempts: Vec<Attempt>,
}

/// What the receiver answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// As much of the body as came, within the limit.
    pub body: Bytes,
    /// Why the body is not whole, if it is not.
    pub cut: Option<Cut>,
}

/// Makes calls. Clones share everything; one for each process, so that its budget is the process's.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    tls: Arc<rustls::ClientConfig>,
    turns: Arc<ProcessTurns>,
    /// By `host:port`, apart for clear text and TLS.
    known: RwLock<[HashMap<Box<str>, Arc<Destination>>; 2]>,
}

/// The user agent of requests that name none.
pub const USER_AGENT: &str = concat!("tertium/", env!("CARGO_PKG_VERSION"));

/// What is known of one destination, for metrics.
#[derive(Clone, PartialEq, Debug)]
pub struct DestinationStatus {
    /// `http://host:port`.
    pub destination: String,
    /// Calls made.
    pub requests: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Second attempts at slow reads.
    pub hedges: u64,
    /// Retries that the budget refused.
    pub budget_refusals: u64,
    /// Attempts under way.
    pub under_way: usize,
    /// Its endpoints.
    pub endpoints: Vec<EndpointStatus>,
}

/// What is known of one endpoint.
#[derive(Clone, PartialEq, Debug)]
pub struct EndpointStatus {
    /// Its breaker.
    pub breaker: BreakerState,
    /// Connections made to it so far.
    pub connections_made: u64,
    /// Rotation, suspicion, latency.
    pub rotation: crate::layer::balance::EndpointStatus,
}

impl Client {
    /// Reads the system's trust roots unless the settings bring TLS of their own.
    ///
    /// # Errors
    /// All settings that cannot be, at once.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let tls = match &settings.tls {
            Some(tls) => Arc::clone(tls),
            None => Arc::new(system_tls()?),
        };
        let turns = Arc::new(ProcessTurns::new(Arc::new(Budget::new(settings.budget))));
        Ok(Self { shared: Arc::new(Shared { settings, tls, turns, known: RwLock::default() }) })
    }

    /// Makes the call. Ends by its deadline, whatever the receiver does. Dropped before, the call is given up, and what
    /// became of it is as uncertain as after a time-out.
    pub async fn call(&self, call: Call) -> Report {
        self.make(call, false).await
    }

    /// Waits for a turn of a later attempt at what was tried before, or of a question what became of it, at most so long;
    /// `None` if none came. `asked` says how often it had one before: who was asked least goes first.
    ///
    /// # Errors
    /// What keeps the destination from being asked at all.
    pub async fn turn(&self, url: &Uri, asked: u32, wait: Duration) -> Result<Option<Turn>, Evidence> {
        let destination = self.destination(url)?;
        let turn = destination.turns.take(asked, wait).await;
        destination.retry.counted(turn.is_some());
        Ok(turn)
    }

    /// Makes that later attempt, likewise. [`Turn::give_back`] if what it found settles what it was about.
    pub async fn call_in_turn(&self, call: Call, _: &Turn) -> Report {
        self.make(call, true).await
    }

    async fn make(&self, call: Call, again: bool) -> Report {
        let starting = Terms::starting(Instant::now(), call.deadline, call.retries_max, call.read);
        let terms = Terms { again, answer_bytes_max: call.answer_bytes_max, ..starting };
        let result = match self.destination(&call.url) {
            Ok(destination) => {
                let request = request_of(call, terms.clone());
                let mut stack = destination.stack.clone();
                stack.call(request).await
            }
            Err(evidence) => Err(evidence),
        };
        let (attempts, verdict) = terms.take();
        match result {
            Ok(response) => {
                let cut = response.extensions().get().copied();
                let (head, body) = response.into_parts();
                let evidence = Evidence::Answered { status: head.status, cut };
                let answer = Answer { status: head.status, headers: head.headers, body, cut };
                let verdict = verdict.unwrap_or_else(|| evidence.verdict());
                Report { verdict, answer: Some(answer), attempts }
            }
            Err(evidence) => Report { verdict: verdict.unwrap_or_else(|| evidence.verdict()), answer: None, attempts },
        }
    }

    /// What is known of each destination, for metrics.
    pub fn status(&self) -> Vec<DestinationStatus> {
        let known = self.shared.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = known
            .iter()
            .zip(["http", "https"])
            .flat_map(|(known, scheme)| known.iter().map(move |(name, one)| status(format!("{scheme}://{name}"), one)))
            .collect();
        all.sort_by(|a, b| a.destination.cmp(&b.destination));
        all
    }

    fn destination(&self, url: &Uri) -> Result<Arc<Destination>, Evidence> {
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let secure = usize::from(url.scheme_str() == Some("https"));
        let now_ms = clock::now().as_millis() as u64;
        if url.scheme_str() == Some(["http", "https"][secure])
            && let Some(found) = self.known(secure, authority, now_ms)
        {
            return Ok(found);
        }
        // Under one name, however URLs write it: the counts of a destination must not be had twice.
        let origin = Origin::of(url)?;
        let authority = origin.authority();
        if let Some(found) = self.known(secure, &authority, now_ms) {
            return Ok(found);
        }
        let made = Destination::new(&origin, &self.shared.settings, &self.shared.tls, &self.shared.turns)?;
        made.used_ms.store(now_ms, Ordering::Relaxed);
        let mut known = self.shared.known.write().unwrap_or_else(PoisonError::into_inner);
        if known[0].len() + known[1].len() >= self.shared.settings.destinations_max {
            forget_one(&mut known);
        }
        // Another call may have been quicker.
        Ok(Arc::clone(known[secure].entry(authority.into_boxed_str()).or_insert_with(|| Arc::new(made))))
    }

    fn known(&self, secure: usize, authority: &str, now_ms: u64) -> Option<Arc<Destination>> {
        let known = self.shared.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = known[secure].get(authority)?;
        found.used_ms.store(now_ms, Ordering::Relaxed);
        Some(Arc::clone(found))
    }
}

fn request_of(call: Call, terms: Terms) -> Request<Bytes> {
    let mut request = Request::new(call.body);
    *request.method_mut() = call.method;
    *request.uri_mut() = call.url;
    *request.headers_mut() = call.headers;
    request.extensions_mut().insert(terms);
    let headers = request.headers_mut();
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    if let Some(key) = call.key {
        headers.insert(IDEMPOTENCY_KEY, key_value(&key));
    }
    request
}

/// A key as the value of a header: a structured-field string (RFC 9651, section 3.3.3).
pub fn key_value(key: &Key) -> HeaderValue {
    let mut quoted = String::with_capacity(key.as_str().len() + 2);
    quoted.push('"');
    for character in key.as_str().chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    HeaderValue::try_from(quoted).expect("a key is visible ASCII")
}

fn forget_one(known: &mut [HashMap<Box<str>, Arc<Destination>>; 2]) {
    let all = known.iter().enumerate().flat_map(|(secure, known)| known.iter().map(move |(name, d)| (secure, name, d)));
    let oldest = all.min_by_key(|(.., destination)| destination.used_ms.load(Ordering::Relaxed));
    if let Some((secure, name)) = oldest.map(|(secure, name, _)| (secure, name.clone())) {
        known[secure].remove(&name);
    }
}

fn status(name: String, destination: &Destination) -> DestinationStatus {
    let counters = &destination.retry.counters;
    let endpoints = destination.balance.endpoints();
    let rotation = destination.balance.status();
    DestinationStatus {
        destination: name,
        requests: counters.requests.load(Ordering::Relaxed),
        retries: counters.retries.load(Ordering::Relaxed),
        hedges: destination.hedge.hedges.load(Ordering::Relaxed),
        budget_refusals: counters.budget_refusals.load(Ordering::Relaxed),
        under_way: destination.bulkhead.under_way(),
        endpoints: endpoints
            .iter()
            .zip(rotation)
            .map(|(endpoint, rotation)| EndpointStatus {
                breaker: endpoint.service().state(),
                connections_made: endpoint.service().inner().connections_made(),
                rotation,
            })
            .collect(),
    }
}

fn system_tls() -> Result<rustls::ClientConfig, SettingsError> {
    let mut roots = rustls::RootCertStore::empty();
    // A machine without roots can still make calls in clear text; TLS then fails by itself, and says why.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsError { problems: vec![format!("tls: {error}")] })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
