//! Reading an answer's body: bounded in bytes and in time, and what came is kept.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use hyper::body::{Body, Incoming};

use crate::core::verdict::Cut;

/// The trailers of an answer, among its extensions.
#[derive(Clone, Debug)]
pub struct Trailers(pub HeaderMap);

#[derive(Debug)]
pub(crate) struct Reading {
    incoming: Incoming,
    first: Bytes,
    more: BytesMut,
    trailers: Option<HeaderMap>,
    bytes_max: u64,
}

impl Reading {
    pub(crate) fn new(incoming: Incoming, bytes_max: u64) -> Self {
        Self { incoming, first: Bytes::new(), more: BytesMut::new(), trailers: None, bytes_max }
    }

    /// Ready when the body is whole, or will never be.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Cut>> {
        while !self.incoming.is_end_stream() {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => break,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Cut::BrokeOff)),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.len() as u64 > self.room() => {
                        let room = self.room() as usize;
                        self.keep(data.slice(..room));
                        return Poll::Ready(Some(Cut::TooLarge { bytes_max: self.bytes_max }));
                    }
                    Ok(data) => self.keep(data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
        Poll::Ready(None)
    }

    /// The answer as far as it came.
    pub(crate) fn finish(self, head: http::response::Parts, cut: Option<Cut>) -> Response<Bytes> {
        let body = if self.more.is_empty() { self.first } else { self.more.freeze() };
        let mut response = Response::from_parts(head, body);
        if let Some(cut) = cut {
            response.extensions_mut().insert(cut);
        }
        if let Some(trailers) = self.trailers {
            response.extensions_mut().insert(Trailers(trailers));
        }
        response
    }

    fn room(&self) -> u64 {
        self.bytes_max - (self.first.len().max(self.more.len())) as u64
    }

    /// A body in one piece, as most are, is not copied.
    fn keep(&mut self, data: Bytes) {
        if self.first.is_empty() && self.more.is_empty() {
            self.first = data;
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.first);
        }
        self.more.extend_from_slice(&data);
    }
}
