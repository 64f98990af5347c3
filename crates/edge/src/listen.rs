//! The accept loop, the task of each connection, the watch over all of them, and the way to an orderly end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info, warn};

use crate::body::Body;
use crate::clock::now_us;
use crate::connection::{Guard, Order, Seen, Socket};
use crate::limits::{BUFFER_BYTES_MAX, Limits};
use crate::tls::TlsServer;

/// How often the watch looks over the connections; limits on waiting are kept to within this.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// Connections the kernel may hold for us before they are accepted.
const BACKLOG: u32 = 4_096;

/// What an HTTP/2 client may send ahead on one stream, in bytes: a packed frame of a bulk stream fits.
const HTTP2_STREAM_WINDOW: u32 = 1024 * 1024;

/// What an HTTP/2 client may send ahead on all its streams, in bytes.
const HTTP2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// What answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request. The future is dropped if the client goes away before the answer is there.
    fn answer(self, request: Request<Incoming>, exchange: Exchange) -> impl Future<Output = Response<Body>> + Send;
}

/// What the gateway knows of a request beyond its head.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// When its first byte came, on [`now_us`]'s clock.
    pub began_us: u64,
    /// Who sent it.
    pub peer: SocketAddr,
}

/// Asks a listener to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

/// A bound socket that is not served yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    limits: Limits,
    tls: Option<TlsServer>,
    stop: Stop,
}

impl Stop {
    /// No new connections, no new requests; what is in flight may finish.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether someone asked.
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until someone asks.
    pub async fn asked(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|stop| *stop).await;
    }
}

impl Listener {
    /// Binds `address`. Port 0 picks a free one.
    ///
    /// # Errors
    /// Where the system refuses, for one because the port is taken.
    pub fn bind(address: SocketAddr, limits: Limits, tls: Option<TlsServer>) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restarted server must not wait for the sockets of its predecessor.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { socket: socket.listen(BACKLOG)?, limits, tls, stop: Stop(watch::Sender::new(false)) })
    }

    /// Where it really listens.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The way to stop it.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Serves until it is stopped and what was in flight is finished, or the grace is over. Gives how many connections
    /// had to be cut.
    pub async fn serve<H: Handler>(self, handler: H) -> usize {
        let Self { socket, limits, tls, stop } = self;
        let connections =
            Arc::new(Connections { open: Mutex::default(), permits: Arc::new(Semaphore::new(limits.connections_max)) });
        let watch = tokio::spawn(watch_over(Arc::downgrade(&connections), limits.clone()));
        let shared = Arc::new(Shared { builder: builder(&limits), limits: limits.clone(), tls, handler });
        tokio::select! {
            () = stop.asked() => {}
            () = accept(&socket, &connections, &shared) => {}
        }
        drop(socket);
        connections.order_all(Order::Drain);
        let cut = connections.all_closed(limits.connections_max, limits.stop_grace).await;
        watch.abort();
        cut
    }
}

/// What all connections of a listener share.
struct Shared<H> {
    builder: auto::Builder<TokioExecutor>,
    limits: Limits,
    tls: Option<TlsServer>,
    handler: H,
}

struct Connections {
    open: Mutex<Vec<Weak<Seen>>>,
    permits: Arc<Semaphore>,
}

impl Connections {
    fn order_all(&self, order: Order) {
        for seen in self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
            seen.order(order);
        }
    }

    async fn all_closed(&self, connections_max: usize, grace: Duration) -> usize {
        let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
        if tokio::time::timeout(grace, self.permits.acquire_many(all)).await.is_ok() {
            return 0;
        }
        let cut = connections_max.saturating_sub(self.permits.available_permits());
        warn!(connections = cut, "connections cut: the grace for requests in flight is over");
        self.order_all(Order::Close);
        // Closing awaits nothing, so this ends as soon as the tasks have run once more.
        let _ = self.permits.acquire_many(all).await;
        cut
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Kept by the watch, which costs a request nothing.
        .header_read_timeout(None)
        // A client that has sent all it will may still read the answer.
        .half_close(true)
        .max_headers(limits.headers_max)
        .max_buf_size(limits.header_bytes_max.max(BUFFER_BYTES_MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams_max)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_frame_size(64 * 1024)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        // A peer that vanished without a word is found by pinging it.
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

async fn accept<H: Handler>(socket: &TcpListener, connections: &Connections, shared: &Arc<Shared<H>>) {
    loop {
        let Ok(permit) = Arc::clone(&connections.permits).acquire_owned().await else { return };
        let (stream, peer) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: trying again at once would only burn the processor.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let seen = Seen::new(&shared.limits);
        connections.open.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&seen));
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            connection(stream, peer, seen, &shared).await;
            drop(permit);
        });
    }
}

async fn connection<H: Handler>(stream: TcpStream, peer: SocketAddr, seen: Arc<Seen>, shared: &Shared<H>) {
    // Answers are written whole, so there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    let socket = match &shared.tls {
        None => Socket::plain(stream, Arc::clone(&seen)),
        Some(tls) => {
            let greeting = tokio::time::timeout(shared.limits.header_timeout, tls.acceptor.accept(stream));
            let ordered = std::future::poll_fn(|cx| match seen.poll_order(cx) {
                Order::Serve => Poll::Pending,
                Order::Drain | Order::Close => Poll::Ready(()),
            });
            tokio::select! {
                greeted = greeting => match greeted {
                    Ok(Ok(stream)) => Socket::tls(stream, Arc::clone(&seen)),
                    Ok(Err(error)) => return debug!(%peer, %error, "TLS handshake failed"),
                    Err(_) => return debug!(%peer, "TLS handshake took too long"),
                },
                () = ordered => return,
            }
        }
    };
    let calls = service_fn(|request: Request<Incoming>| {
        let (began_us, guard) = seen.begin();
        let answer = shared.handler.clone().answer(request, Exchange { began_us, peer });
        Answering { answer, guard: Some(guard) }
    });
    let mut served = std::pin::pin!(shared.builder.serve_connection(TokioIo::new(socket), calls));
    let mut draining = false;
    let ended = std::future::poll_fn(|cx| {
        match seen.poll_order(cx) {
            Order::Serve => {}
            Order::Close => return Poll::Ready(Ok(())),
            Order::Drain => {
                if !std::mem::replace(&mut draining, true) {
                    served.as_mut().graceful_shutdown();
                }
            }
        }
        served.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        debug!(%peer, %error, "connection ended early");
    }
}

pin_project_lite::pin_project! {
    /// Keeps the request counted as in flight until its answer's body takes that over.
    struct Answering<F> {
        #[pin]
        answer: F,
        guard: Option<Guard>,
    }
}

impl<F: Future<Output = Response<Body>>> Future for Answering<F> {
    type Output = Result<Response<Body>, std::convert::Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.answer.poll(cx).map(|response| {
            Ok(match this.guard.take() {
                Some(guard) => response.map(|body| body.guarded(guard)),
                None => response,
            })
        })
    }
}

async fn watch_over(connections: Weak<Connections>, limits: Limits) {
    let mut ticks = tokio::time::interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(connections) = connections.upgrade() else { return };
        let now = now_us();
        connections.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|seen| {
            let Some(seen) = seen.upgrade() else { return false };
            match seen.judge(now, &limits) {
                Order::Serve => {}
                order => {
                    tell(order);
                    seen.order(order);
                }
            }
            true
        });
    }
}

fn tell(order: Order) {
    match order {
        Order::Close => info!("a connection was too slow and is closed"),
        Order::Drain | Order::Serve => debug!("an idle connection is closed"),
    }
}
