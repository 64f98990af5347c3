//! One endpoint: its connections, and what is known of each request's fate when one of them breaks.
//!
//! A pool of our own, since the verdict needs two facts that a finished pool keeps to itself: whether the request was
//! handed back, and how many of its bytes were written before the connection broke.

pub mod address;
pub(crate) mod connect;
pub(crate) mod counted;
mod failure;
mod http1;
mod http2;
pub mod read;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use tokio::time::Sleep;

use crate::core::clock;
use crate::core::verdict::{Cut, Evidence};
use crate::terms::Terms;
use connect::Tls;
use http1::Http1;
use http2::Http2;
use read::Reading;

/// What is spoken to an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: agreed on in TLS, known beforehand without it.
    Http2,
}

impl Protocol {
    pub(crate) const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// How an endpoint is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransportSettings {
    /// What is spoken. Default HTTP/1.1.
    pub protocol: Protocol,
    /// The largest body of an answer that is read. Default 1 MiB.
    pub body_bytes_max: u64,
    /// A connection idle for longer is not used again: its peer may be closing it this moment. Default 5 s.
    pub idle: Duration,
    /// How many idle HTTP/1.1 connections are kept. Default 256.
    pub idle_connections_max: usize,
    /// How long connecting may take, TLS included, within the deadline. Default 5 s.
    pub connect: Duration,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            protocol: Protocol::Http1,
            body_bytes_max: 1 << 20,
            idle: Duration::from_secs(5),
            idle_connections_max: 256,
            connect: Duration::from_secs(5),
        }
    }
}

/// The innermost service: sends a request to one address, until the deadline in its [`Terms`].
#[derive(Clone, Debug)]
pub struct Transport {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    tls: Option<Tls>,
    settings: TransportSettings,
    idle: Mutex<Idle>,
    shared: tokio::sync::Mutex<Option<Http2>>,
    connections_made: AtomicU64,
}

/// How much of an answer's body is read, among the extensions of its request.
#[derive(Clone, Copy, Debug)]
struct AnswerBytesMax(u64);

#[derive(Default, Debug)]
struct Idle {
    /// The one used last at the back.
    connections: VecDeque<Http1>,
    /// A task looks after the old ones.
    swept: bool,
}

/// A future of a layer.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Evidence>> + Send>>;

impl Transport {
    pub(crate) fn new(address: SocketAddr, tls: Option<Tls>, settings: TransportSettings) -> Self {
        let inner = Inner {
            address,
            tls,
            settings,
            idle: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
            connections_made: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Connects in clear text to that address.
    pub fn plain(address: SocketAddr, settings: TransportSettings) -> Self {
        Self::new(address, None, settings)
    }

    /// How many connections have been made.
    pub fn connections_made(&self) -> u64 {
        self.inner.connections_made.load(Ordering::Relaxed)
    }
}

impl tower::Service<Request<Bytes>> for Transport {
    type Response = Response<Bytes>;
    type Error = Evidence;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Evidence>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Answering {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { inner.call(request).await })
    }
}

impl Inner {
    async fn call(self: &Arc<Self>, request: Request<Bytes>) -> Result<Response<Bytes>, Evidence> {
        let Terms { until, answer_bytes_max, .. } = Terms::of(&request);
        let mut request = self.wire_form(request)?;
        request.extensions_mut().insert(AnswerBytesMax(answer_bytes_max.min(self.settings.body_bytes_max)));
        let mut sleep = std::pin::pin!(tokio::time::sleep_until(until.into()));
        match self.settings.protocol {
            Protocol::Http1 => self.call_http1(request, until, sleep.as_mut()).await,
            Protocol::Http2 => self.call_http2(request, until, sleep.as_mut()).await,
        }
    }

    async fn call_http1(
        self: &Arc<Self>,
        request: Request<Full<Bytes>>,
        until: Instant,
        mut sleep: Pin<&mut Sleep>,
    ) -> Result<Response<Bytes>, Evidence> {
        if let Some(mut connection) = self.take_idle() {
            match self.exchange_http1(&mut connection, request.clone(), sleep.as_mut()).await {
                // The peer has closed it since. Nothing of the request has left, so a new one may have it.
                Err(Evidence::HandedBack | Evidence::NothingWritten) => {}
                done => return self.put_back(connection, done),
            }
        }
        let (io, written) = self.connect(until).await?;
        let mut connection = Http1::start(io, written).await?;
        let done = self.exchange_http1(&mut connection, request, sleep).await;
        self.put_back(connection, done)
    }

    async fn exchange_http1(
        &self,
        connection: &mut Http1,
        request: Request<Full<Bytes>>,
        mut sleep: Pin<&mut Sleep>,
    ) -> Result<Response<Bytes>, Evidence> {
        let answer_bytes_max = self.answer_bytes_max(&request);
        let before = connection.bytes_written();
        let answer = match by(sleep.as_mut(), connection.head(request)).await {
            Some(answer) => answer?,
            None => return Err(Evidence::TimedOut { bytes_written: connection.bytes_written() - before }),
        };
        let (head, incoming) = answer.into_parts();
        let mut reading = Reading::new(incoming, answer_bytes_max);
        let cut = by(sleep, connection.body(&mut reading)).await.unwrap_or(Some(Cut::TimedOut));
        Ok(reading.finish(head, cut))
    }

    async fn call_http2(
        &self,
        request: Request<Full<Bytes>>,
        until: Instant,
        mut sleep: Pin<&mut Sleep>,
    ) -> Result<Response<Bytes>, Evidence> {
        let (mut connection, reused) = self.shared_http2(until).await?;
        if !reused {
            return self.exchange_http2(&mut connection, request, sleep).await;
        }
        let spare = request.clone();
        match self.exchange_http2(&mut connection, request, sleep.as_mut()).await {
            Err(Evidence::HandedBack | Evidence::NothingWritten) => {
                let (mut connection, _) = self.shared_http2(until).await?;
                self.exchange_http2(&mut connection, spare, sleep).await
            }
            done => done,
        }
    }

    async fn exchange_http2(
        &self,
        connection: &mut Http2,
        request: Request<Full<Bytes>>,
        mut sleep: Pin<&mut Sleep>,
    ) -> Result<Response<Bytes>, Evidence> {
        let answer_bytes_max = self.answer_bytes_max(&request);
        let answer = match by(sleep.as_mut(), connection.head(request)).await {
            Some(answer) => answer?,
            None => return Err(Evidence::TimedOutShared),
        };
        let (head, incoming) = answer.into_parts();
        let mut reading = Reading::new(incoming, answer_bytes_max);
        let cut = by(sleep, poll_fn(|cx| reading.poll(cx))).await.unwrap_or(Some(Cut::TimedOut));
        Ok(reading.finish(head, cut))
    }

    /// How much of the body of an answer to this request is read.
    fn answer_bytes_max(&self, request: &Request<Full<Bytes>>) -> u64 {
        request.extensions().get().map_or(self.settings.body_bytes_max, |AnswerBytesMax(bytes_max)| *bytes_max)
    }

    /// The connection all share, and whether it was there already.
    async fn shared_http2(&self, until: Instant) -> Result<(Http2, bool), Evidence> {
        let locked = tokio::time::timeout_at(until.into(), self.shared.lock()).await;
        let mut shared = locked.map_err(|_| Evidence::ConnectTimedOut)?;
        if let Some(connection) = shared.as_ref().filter(|connection| connection.is_usable()) {
            return Ok((connection.clone(), true));
        }
        let (io, written) = self.connect(until).await?;
        let connection = Http2::start(io, written).await?;
        *shared = Some(connection.clone());
        Ok((connection, false))
    }

    async fn connect(&self, until: Instant) -> Result<(counted::Counted, counted::Written), Evidence> {
        let until = until.min(Instant::now() + self.settings.connect);
        let connecting = connect::connect(self.address, self.tls.as_ref(), self.settings.protocol);
        self.connections_made.fetch_add(1, Ordering::Relaxed);
        tokio::time::timeout_at(until.into(), connecting).await.unwrap_or(Err(Evidence::ConnectTimedOut))
    }

    /// The one used last, so that the others can grow old.
    fn take_idle(&self) -> Option<Http1> {
        let now = clock::now();
        loop {
            let mut connection = self.idle().connections.pop_back()?;
            let is_old = now.saturating_sub(connection.idle_since) > self.settings.idle;
            if !is_old && connection.is_usable() {
                return Some(connection);
            }
        }
    }

    fn put_back(
        self: &Arc<Self>,
        mut connection: Http1,
        done: Result<Response<Bytes>, Evidence>,
    ) -> Result<Response<Bytes>, Evidence> {
        let whole = done.as_ref().is_ok_and(|answer| answer.extensions().get::<Cut>().is_none());
        if whole && connection.is_usable() {
            connection.idle_since = clock::now();
            let mut idle = self.idle();
            if idle.connections.len() < self.settings.idle_connections_max {
                idle.connections.push_back(connection);
                if !std::mem::replace(&mut idle.swept, true) {
                    tokio::spawn(sweep(Arc::downgrade(self), self.settings.idle.max(SWEEP_MIN)));
                }
            }
        }
        done
    }

    /// Closes those that are too old. False if none is left to look after.
    fn close_old(&self) -> bool {
        let now = clock::now();
        let mut idle = self.idle();
        let is_old = |c: &&Http1| now.saturating_sub(c.idle_since) > self.settings.idle;
        let old = idle.connections.iter().take_while(is_old).count();
        let old: Vec<_> = idle.connections.drain(..old).collect();
        idle.swept = !idle.connections.is_empty();
        let swept = idle.swept;
        // Closing takes system calls: not under the lock.
        drop(idle);
        drop(old);
        swept
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// HTTP/1.1 wants the path alone, and the host in a header; HTTP/2 wants both in the URI.
    fn wire_form(&self, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, Evidence> {
        let (mut head, body) = request.into_parts();
        head.extensions = http::Extensions::new();
        for name in FRAMING {
            head.headers.remove(name);
        }
        if self.settings.protocol == Protocol::Http1 {
            if !head.headers.contains_key(header::HOST) {
                let authority = head.uri.authority().ok_or(Evidence::RequestInvalid("the URL names no host"))?;
                let host = HeaderValue::from_str(authority.as_str())
                    .map_err(|_| Evidence::RequestInvalid("the host is no header value"))?;
                head.headers.insert(header::HOST, host);
            }
            let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
            head.uri = Uri::from(path);
            head.version = http::Version::HTTP_11;
        } else {
            head.version = http::Version::HTTP_2;
        }
        Ok(Request::from_parts(head, Full::new(body)))
    }
}

/// What frames a message is ours to say: with another's word for it, two requests could be read where one was sent.
const FRAMING: [header::HeaderName; 5] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE, header::EXPECT];

/// An endpoint that nobody calls any more keeps no sockets for that.
async fn sweep(inner: Weak<Inner>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if !inner.upgrade().is_some_and(|inner| inner.close_old()) {
            return;
        }
    }
}

/// A setting of nothing must not make a loop of it.
const SWEEP_MIN: Duration = Duration::from_millis(50);

/// What it comes to, unless the time is up first.
async fn by<T>(mut sleep: Pin<&mut Sleep>, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
    })
    .await
}
