//! What a connection is doing, kept where the watch task can see it, and the socket that keeps it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::clock::now_us;
use crate::limits::Limits;

/// What the connection's task is told to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Order {
    /// Go on.
    Serve = 0,
    /// Answer what is in flight, take nothing new.
    Drain = 1,
    /// Let go at once.
    Close = 2,
}

/// What a connection was seen doing. All instants are [`now_us`], 0 = not.
#[derive(Debug, Default)]
pub struct Seen {
    /// When the first byte of a request came of which no head is complete yet.
    head_since_us: AtomicU64,
    /// Since when nothing is in flight.
    idle_since_us: AtomicU64,
    /// Since when the client takes nothing of what is sent.
    blocked_since_us: AtomicU64,
    /// Requests whose answer is not completely handed over.
    in_flight: AtomicU32,
    /// HTTP/2: bytes come in also between requests.
    multiplexed: AtomicBool,
    order: AtomicU8,
    waker: AtomicWaker,
}

/// Holds a request in flight until its answer was handed over.
#[derive(Debug)]
pub struct Guard(Arc<Seen>);

impl Seen {
    pub(crate) fn new() -> Arc<Self> {
        let seen = Self::default();
        seen.idle_since_us.store(now_us(), Relaxed);
        Arc::new(seen)
    }

    /// A head is complete: gives when its first byte came, and counts the request until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> (u64, Guard) {
        self.in_flight.fetch_add(1, Relaxed);
        let began_us = match self.head_since_us.swap(0, Relaxed) {
            0 => now_us(),
            since => since,
        };
        (began_us, Guard(Arc::clone(self)))
    }

    fn received(&self) {
        if self.head_since_us.load(Relaxed) == 0 && self.in_flight.load(Relaxed) == 0 && !self.multiplexed.load(Relaxed)
        {
            self.head_since_us.store(now_us(), Relaxed);
        }
    }

    fn blocked(&self, blocked: bool) {
        let since = self.blocked_since_us.load(Relaxed);
        if blocked != (since != 0) {
            self.blocked_since_us.store(if blocked { now_us() } else { 0 }, Relaxed);
        }
    }

    /// What a connection like this deserves at `now`.
    pub(crate) fn judge(&self, now: u64, limits: &Limits) -> Order {
        let over = |since: u64, limit: std::time::Duration| {
            since != 0 && u128::from(now.saturating_sub(since)) > limit.as_micros()
        };
        if over(self.blocked_since_us.load(Relaxed), limits.write_timeout)
            || over(self.head_since_us.load(Relaxed), limits.header_timeout)
        {
            return Order::Close;
        }
        let idle = self.in_flight.load(Relaxed) == 0 && self.head_since_us.load(Relaxed) == 0;
        if idle && over(self.idle_since_us.load(Relaxed), limits.keep_alive_timeout) {
            return Order::Drain;
        }
        Order::Serve
    }

    /// Tells the connection's task; an order is never taken back.
    pub(crate) fn order(&self, order: Order) {
        if self.order.fetch_max(order as u8, SeqCst) < order as u8 {
            self.waker.wake();
        }
    }

    /// The order that stands, and a promise to wake the task at the next.
    pub(crate) fn poll_order(&self, cx: &Context<'_>) -> Order {
        self.waker.register(cx.waker());
        match self.order.load(SeqCst) {
            0 => Order::Serve,
            1 => Order::Drain,
            _ => Order::Close,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Relaxed) == 1 {
            self.0.idle_since_us.store(now_us(), Relaxed);
        }
    }
}

/// A socket, with or without TLS, that notes what passes.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    seen: Arc<Seen>,
    fresh: bool,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    pub(crate) fn plain(stream: TcpStream, seen: Arc<Seen>) -> Self {
        Self { stream: Stream::Plain(stream), seen, fresh: true }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>, seen: Arc<Seen>) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), seen, fresh: true }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        let bytes = &buf.filled()[before..];
        if self.fresh {
            self.fresh = false;
            self.seen.multiplexed.store(bytes.starts_with(b"PRI * HTTP/2"), Relaxed);
        }
        if !bytes.is_empty() {
            self.seen.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.seen.blocked(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.seen.blocked(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        if flushed.is_pending() {
            self.seen.blocked(true);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What the watch says of a connection in each phase, before and after the limit of that phase.
    #[test]
    fn each_phase_has_its_limit() {
        let limits = Limits {
            header_timeout: Duration::from_millis(10),
            write_timeout: Duration::from_millis(20),
            keep_alive_timeout: Duration::from_millis(40),
            ..Limits::default()
        };
        let check = |prepare: &dyn Fn(&Arc<Seen>) -> Option<Guard>, after_ms: u64, expect: Order| {
            let seen = Seen::new();
            let guard = prepare(&seen);
            assert_eq!(seen.judge(now_us() + after_ms * 1_000, &limits), expect, "after {after_ms} ms");
            drop(guard);
        };
        let idle = |_: &Arc<Seen>| None;
        check(&idle, 30, Order::Serve);
        check(&idle, 50, Order::Drain);
        let head = |seen: &Arc<Seen>| {
            seen.received();
            None
        };
        check(&head, 5, Order::Serve);
        check(&head, 15, Order::Close);
        let in_flight = |seen: &Arc<Seen>| {
            seen.received();
            Some(seen.begin().1)
        };
        check(&in_flight, 1_000, Order::Serve);
        let blocked = |seen: &Arc<Seen>| {
            let guard = in_flight(seen);
            seen.blocked(true);
            guard
        };
        check(&blocked, 15, Order::Serve);
        check(&blocked, 25, Order::Close);
        let frames_between_requests = |seen: &Arc<Seen>| {
            seen.multiplexed.store(true, Relaxed);
            seen.received();
            None
        };
        check(&frames_between_requests, 15, Order::Serve);
    }

    #[test]
    fn a_request_began_with_its_first_byte() {
        let seen = Seen::new();
        seen.received();
        let first = seen.head_since_us.load(Relaxed);
        seen.received();
        let (began, guard) = seen.begin();
        assert_eq!(began, first);
        seen.received();
        assert_eq!(seen.head_since_us.load(Relaxed), 0, "bytes of a body are no head");
        drop(guard);
        assert_eq!(seen.in_flight.load(Relaxed), 0);
    }
}
