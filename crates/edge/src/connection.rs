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
    /// Since when the connection is asked to end.
    draining_since_us: AtomicU64,
    /// How many answers of HTTP/2 have waited to be sent on since each of the latest turns, see [`Seen::turn_at`].
    owed: [AtomicU32; TURNS],
    turn_us: u64,
    /// Requests whose answer is not completely handed over.
    in_flight: AtomicU32,
    /// HTTP/2: bytes come in also between requests.
    multiplexed: AtomicBool,
    order: AtomicU8,
    waker: AtomicWaker,
}

/// For how many turns it is counted since when answers wait.
const TURNS: usize = 8;
/// How many turns the time is cut into that an answer may wait.
const TURNS_PER_TIMEOUT: u64 = 2;

// An answer is given up after one turn more than it may wait, long before its place is counted for another turn.
const _: () = assert!(TURNS as u64 > 2 * (TURNS_PER_TIMEOUT + 1));

/// Holds a request in flight until its answer was handed over.
#[derive(Debug)]
pub struct Guard {
    seen: Arc<Seen>,
    /// In which place of [`Seen::owed`] its answer is counted, if it waits to be sent on.
    owed: Option<usize>,
}

impl Seen {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let turn = limits.write_timeout / u32::try_from(TURNS_PER_TIMEOUT).expect("a few");
        let turn_us = u64::try_from(turn.as_micros()).unwrap_or(u64::MAX).max(1);
        let seen = Self { turn_us, ..Self::default() };
        seen.idle_since_us.store(now_us(), Relaxed);
        Arc::new(seen)
    }

    /// The turn that is on at `now`.
    const fn turn_at(&self, now: u64) -> u64 {
        now / self.turn_us
    }

    /// Whether an answer waits for longer than it may: since a turn that was over before the last [`TURNS_PER_TIMEOUT`].
    fn is_owing_too_long(&self, now: u64) -> bool {
        let turn = self.turn_at(now);
        let late = TURNS_PER_TIMEOUT + 1..TURNS as u64;
        late.filter_map(|turns| turn.checked_sub(turns)).any(|turn| self.owed[place_of(turn)].load(Relaxed) > 0)
    }

    /// A head is complete: gives when its first byte came, and counts the request until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> (u64, Guard) {
        self.in_flight.fetch_add(1, Relaxed);
        let began_us = match self.head_since_us.swap(0, Relaxed) {
            0 => now_us(),
            since => since,
        };
        (began_us, Guard { seen: Arc::clone(self), owed: None })
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
        let idle = self.in_flight.load(Relaxed) == 0 && self.head_since_us.load(Relaxed) == 0;
        if over(self.blocked_since_us.load(Relaxed), limits.write_timeout)
            || over(self.head_since_us.load(Relaxed), limits.header_timeout)
            || self.is_owing_too_long(now)
            // All was handed over, and what is left is not taken.
            || idle && over(self.draining_since_us.load(Relaxed), limits.write_timeout)
        {
            return Order::Close;
        }
        if idle && over(self.idle_since_us.load(Relaxed), limits.keep_alive_timeout) {
            return Order::Drain;
        }
        Order::Serve
    }

    /// Tells the connection's task; an order is never taken back.
    pub(crate) fn order(&self, order: Order) {
        if self.order.fetch_max(order as u8, SeqCst) < order as u8 {
            self.draining_since_us.store(now_us(), Relaxed);
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

const fn place_of(turn: u64) -> usize {
    // The remainder is below TURNS.
    (turn % TURNS as u64) as usize
}

impl Guard {
    /// Whether what is sent may wait in the connection without the socket knowing it: a stream of HTTP/2 has a window of
    /// its own, which a client may keep shut.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.seen.multiplexed.load(Relaxed)
    }

    /// From now on the client owes it to make room for what is to be sent next.
    pub(crate) fn owe(&mut self) {
        if self.owed.is_none() && self.is_multiplexed() {
            let place = place_of(self.seen.turn_at(now_us()));
            self.seen.owed[place].fetch_add(1, Relaxed);
            self.owed = Some(place);
        }
    }

    /// There is room.
    pub(crate) fn settle(&mut self) {
        if let Some(place) = self.owed.take() {
            self.seen.owed[place].fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.settle();
        if self.seen.in_flight.fetch_sub(1, Relaxed) == 1 {
            self.seen.idle_since_us.store(now_us(), Relaxed);
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

    /// What the watch says of a connection in each phase, before and after the limit of that phase. The limits are so far apart
    /// that however long this test is held up makes no difference.
    #[test]
    fn each_phase_has_its_limit() {
        let limits = Limits {
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            keep_alive_timeout: Duration::from_secs(40),
            ..Limits::default()
        };
        let check = |prepare: &dyn Fn(&Arc<Seen>) -> Option<Guard>, after_s: u64, expect: Order| {
            let seen = Seen::new(&limits);
            let guard = prepare(&seen);
            assert_eq!(seen.judge(now_us() + after_s * 1_000_000, &limits), expect, "after {after_s} s");
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
        let owing = |seen: &Arc<Seen>| {
            seen.multiplexed.store(true, Relaxed);
            let (_, mut guard) = seen.begin();
            guard.owe();
            Some(guard)
        };
        check(&owing, 15, Order::Serve);
        check(&owing, 31, Order::Close);
        check(&owing, 65, Order::Close);
        let settled = |seen: &Arc<Seen>| {
            let mut guard = owing(seen)?;
            guard.settle();
            Some(guard)
        };
        check(&settled, 31, Order::Serve);
        let draining = |seen: &Arc<Seen>| {
            seen.order(Order::Drain);
            None
        };
        check(&draining, 15, Order::Serve);
        check(&draining, 25, Order::Close);
        let draining_in_flight = |seen: &Arc<Seen>| {
            seen.order(Order::Drain);
            in_flight(seen)
        };
        check(&draining_in_flight, 1_000, Order::Serve);
    }

    #[test]
    fn a_request_began_with_its_first_byte() {
        let seen = Seen::new(&Limits::default());
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
