//! Bodies: what comes in, collected under a limit; what goes out, in one piece or as a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use crate::connection::Guard;
use crate::room::{BodyRoom, Held};

/// Whatever a streamed body can fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub struct Body {
    kind: Kind,
    // Until it is dropped the request counts as in flight.
    guard: Option<Guard>,
    // What is still to be handed over of a frame.
    rest: Bytes,
}

enum Kind {
    Full(Bytes),
    Stream(Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>),
}

/// Why a body could not be collected.
#[derive(Debug)]
pub enum BodyError {
    /// More than the limit.
    TooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// More than all bodies together may take at the moment.
    NoRoom,
    /// Nothing came for too long.
    Idle,
    /// It had not come whole when nobody waited any more.
    Late,
    /// The client let go, or broke the framing.
    Broken(hyper::Error),
}

impl Body {
    /// A body in one piece.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Full(bytes.into()), guard: None, rest: Bytes::new() }
    }

    /// No body.
    pub const fn empty() -> Self {
        Self { kind: Kind::Full(Bytes::new()), guard: None, rest: Bytes::new() }
    }

    /// A body that comes piece by piece.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self { kind: Kind::Stream(Box::pin(body.map_err(Into::into))), guard: None, rest: Bytes::new() }
    }

    /// Keeps the request in flight until this body was handed over, and notes how long the client leaves no room for it.
    pub(crate) fn guarded(mut self, mut guard: Guard) -> Self {
        if !self.is_end_stream() {
            guard.owe();
        }
        self.guard = Some(guard);
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(guard) = this.guard.as_mut().filter(|guard| guard.is_multiplexed()) else {
            return this.kind.poll(cx);
        };
        // It is asked for more only once there was room for what it gave.
        guard.settle();
        if this.rest.is_empty() {
            match ready!(this.kind.poll(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) if !data.is_empty() => this.rest = data,
                Some(Ok(Ok(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        guard.owe();
        let piece = this.rest.split_to(piece_of(this.rest.len()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.kind.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact((bytes.len() + self.rest.len()) as u64),
            Kind::Stream(body) if self.rest.is_empty() => body.size_hint(),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

/// The most that is handed over at once where the client has to make room for it: so much must it take within its time.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// How much of what is left goes next. HTTP/2 sends a piece off as soon as the client leaves room for one byte of it, and
/// keeps the others: that the last byte goes for itself says that the client took all before it.
fn piece_of(left: usize) -> usize {
    if left > PIECE_BYTES_MAX { PIECE_BYTES_MAX } else { left.saturating_sub(1).max(1) }
}

impl Kind {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Full(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

/// The whole of a body. It takes its room until it is dropped.
#[derive(Debug)]
pub struct Collected {
    bytes: Bytes,
    _held: Held,
}

impl Collected {
    /// A body that did not come through a socket of its own, under the same bounds.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`], [`BodyError::NoRoom`].
    pub fn whole(bytes: Bytes, bytes_max: usize, room: &BodyRoom) -> Result<Self, BodyError> {
        if bytes.len() > bytes_max {
            return Err(BodyError::TooLarge { max: bytes_max });
        }
        let mut held = room.begin();
        if held.grow(bytes.len()) { Ok(Self { bytes, _held: held }) } else { Err(BodyError::NoRoom) }
    }
}

impl std::ops::Deref for Collected {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// All of a body in one piece, without a copy if it came in one.
///
/// No timer is set unless the body is really waited for, which ends at `until`, and it takes room only as it comes.
///
/// # Errors
/// [`BodyError`].
pub async fn collect(
    body: &mut Incoming,
    bytes_max: usize,
    room: &BodyRoom,
    idle: Duration,
    until: Instant,
) -> Result<Collected, BodyError> {
    let mut held = room.begin();
    let collected = tokio::time::timeout_at(until, collect_into(body, bytes_max, &mut held, idle)).await;
    let bytes = collected.unwrap_or(Err(BodyError::Late))?;
    Ok(Collected { bytes, _held: held })
}

async fn collect_into(
    body: &mut Incoming,
    bytes_max: usize,
    held: &mut Held,
    idle: Duration,
) -> Result<Bytes, BodyError> {
    let hint = body.size_hint();
    if hint.lower() > bytes_max as u64 {
        return Err(BodyError::TooLarge { max: bytes_max });
    }
    let Some(mut first) = next_data(body, idle).await? else { return Ok(Bytes::new()) };
    if hint.exact() == Some(first.len() as u64) {
        return if held.grow(first.len()) { Ok(first) } else { Err(BodyError::NoRoom) };
    }
    let mut all = BytesMut::with_capacity(usize::try_from(hint.lower()).unwrap_or(0).max(first.len()));
    loop {
        if all.len() + first.len() > bytes_max {
            return Err(BodyError::TooLarge { max: bytes_max });
        }
        if !held.grow(first.len()) {
            return Err(BodyError::NoRoom);
        }
        all.extend_from_slice(&first);
        match next_data(body, idle).await? {
            Some(next) => first = next,
            None => return Ok(all.freeze()),
        }
    }
}

/// Reads and forgets what is left of a body, so that a client still sending gets to read the answer. Gives up after
/// `bytes_max` or `patience`.
pub async fn discard(mut body: Incoming, bytes_max: usize, patience: Duration) {
    let all = async {
        let mut bytes = 0;
        while let Ok(Some(data)) = next_data(&mut body, patience).await {
            bytes += data.len();
            if bytes > bytes_max {
                return;
            }
        }
    };
    // A client that goes on sending after that has only itself to blame.
    let _ = tokio::time::timeout(patience, all).await;
}

/// The next part of a body; `None` at its end. No timer is set if the part is there already.
///
/// # Errors
/// [`BodyError`].
pub async fn next_data(body: &mut Incoming, idle: Duration) -> Result<Option<Bytes>, BodyError> {
    match data_at_hand(body).await {
        Poll::Ready(data) => data,
        Poll::Pending => tokio::time::timeout(idle, std::future::poll_fn(|cx| poll_data(body, cx)))
            .await
            .unwrap_or(Err(BodyError::Idle)),
    }
}

/// The next part of a body if it is there already.
pub async fn data_at_hand(body: &mut Incoming) -> Poll<Result<Option<Bytes>, BodyError>> {
    std::future::poll_fn(|cx| Poll::Ready(poll_data(body, cx))).await
}

fn poll_data(body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
    loop {
        return Poll::Ready(match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => Ok(None),
            Some(Err(error)) => Err(BodyError::Broken(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Ok(Some(data)),
                // Trailers of a request say nothing here.
                Err(_) => continue,
            },
        });
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { max } => write!(f, "the body has more than {max} bytes"),
            Self::NoRoom => f.write_str("there is no room for the body at the moment"),
            Self::Idle => f.write_str("the rest of the body did not come"),
            Self::Late => f.write_str("the body had not come whole before the deadline"),
            Self::Broken(_) => f.write_str("the body ended before it was complete"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken(error) => Some(error),
            Self::TooLarge { .. } | Self::NoRoom | Self::Idle | Self::Late => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_with_one_byte() {
        for (left, expect) in [
            (1, vec![1]),
            (2, vec![1, 1]),
            (10, vec![9, 1]),
            (PIECE_BYTES_MAX, vec![PIECE_BYTES_MAX - 1, 1]),
            (PIECE_BYTES_MAX + 1, vec![PIECE_BYTES_MAX, 1]),
            (2 * PIECE_BYTES_MAX + 7, vec![PIECE_BYTES_MAX, PIECE_BYTES_MAX, 6, 1]),
        ] {
            let (mut left, mut pieces) = (left, Vec::new());
            while left > 0 {
                pieces.push(piece_of(left));
                left -= piece_of(left);
            }
            assert_eq!(pieces, expect);
        }
    }
}
