//! One HTTP/1.1 connection that is driven by the call that uses it.
//!
//! No task of its own: the call's waker is the socket's, so that nothing is handed from task to task, and when the call
//! is dropped the connection is gone with it and no byte can leave later. An idle one is looked at before it is used again.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;

use super::counted::{Counted, Written};
use super::failure;
use super::read::Reading;
use crate::core::verdict::{Cut, Evidence};

/// The largest head of an answer, in bytes; also what is buffered of a body before somebody wants it.
const HEAD_BYTES_MAX: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    connection: http1::Connection<Counted, Full<Bytes>>,
    finished: bool,
    written: Written,
    pub(crate) idle_since: Duration,
}

impl Http1 {
    pub(crate) async fn start(io: Counted, written: Written) -> Result<Self, Evidence> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(io)
            .await
            .map_err(|error| failure::of_http1(&error, 0))?;
        Ok(Self { sender, connection, finished: false, written, idle_since: Duration::ZERO })
    }

    pub(crate) fn bytes_written(&self) -> u64 {
        self.written.bytes()
    }

    /// Looks at an idle connection: false if the peer closed it or said something unasked.
    pub(crate) fn is_usable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.finished && self.sender.is_ready()
    }

    /// Sends it and waits for the head of the answer. Cancelled by dropping, with the whole connection.
    pub(crate) async fn head(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Evidence> {
        let before = self.written.bytes();
        let Self { sender, connection, finished, written, .. } = self;
        let mut response = pin!(sender.try_send_request(request));
        let answer = poll_fn(|cx| {
            if !*finished {
                *finished = Pin::new(&mut *connection).poll(cx).is_ready();
            }
            match response.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if *finished => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        let answer = answer.await;
        let bytes_written = written.bytes() - before;
        match answer {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) if error.message().is_some() => Err(Evidence::HandedBack),
            Some(Err(error)) => Err(failure::of_http1(error.error(), bytes_written)),
            None if bytes_written == 0 => Err(Evidence::NothingWritten),
            None => Err(Evidence::Closed { bytes_written }),
        }
    }

    /// Reads on until the body is whole or cut.
    pub(crate) async fn body(&mut self, reading: &mut Reading) -> Option<Cut> {
        poll_fn(|cx| {
            if let Poll::Ready(cut) = reading.poll(cx) {
                return Poll::Ready(cut);
            }
            self.drive(cx);
            match reading.poll(cx) {
                Poll::Pending if self.finished => Poll::Ready(Some(Cut::BrokeOff)),
                polled => polled,
            }
        })
        .await
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.finished {
            self.finished = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
    }
}
