//! Bodies: what comes in, collected under a limit; what goes out, in one piece or as a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::connection::Guard;
use crate::room::{BodyRoom, Held};

/// Whatever a streamed body can fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub struct Body {
    kind: Kind,
    // Until it is dropped the request counts as in flight.
    guard: Option<Guard>,
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
    /// The client let go, or broke the framing.
    Broken(hyper::Error),
}

impl Body {
    /// A body in one piece.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Kind::Full(bytes.into()), guard: None }
    }

    /// No body.
    pub const fn empty() -> Self {
        Self { kind: Kind::Full(Bytes::new()), guard: None }
    }

    /// A body that comes piece by piece.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self { kind: Kind::Stream(Box::pin(body.map_err(Into::into))), guard: None }
    }

    /// Keeps the request in flight until this body was handed over.
    pub(crate) fn guarded(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Stream(body) => Poll::Ready(ready!(body.as_mut().poll_frame(cx))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(body) => body.size_hint(),
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

impl std::ops::Deref for Collected {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// All of a body in one piece, without a copy if it came in one.
///
/// No timer is set unless the body is really waited for, and it takes room only as it comes.
///
/// # Errors
/// [`BodyError`].
pub async fn collect(
    body: &mut Incoming,
    bytes_max: usize,
    room: &BodyRoom,
    idle: Duration,
) -> Result<Collected, BodyError> {
    let mut held = room.begin();
    let bytes = collect_into(body, bytes_max, &mut held, idle).await?;
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
            Self::Broken(_) => f.write_str("the body ended before it was complete"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken(error) => Some(error),
            Self::TooLarge { .. } | Self::NoRoom | Self::Idle => None,
        }
    }
}
