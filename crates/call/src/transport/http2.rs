//! One HTTP/2 connection that all calls to an endpoint share, driven by a task of its own.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::counted::{Counted, Written};
use super::failure;
use crate::core::verdict::Evidence;

/// A peer that is silent for this long, and then for as long again after a ping, is gone.
const PING_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    written: Written,
}

impl Http2 {
    pub(crate) async fn start(io: Counted, written: Written) -> Result<Self, Evidence> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL)
            .handshake(io)
            .await
            // Nothing but the preface has been written.
            .map_err(|_| Evidence::NothingWritten)?;
        tokio::spawn(connection);
        Ok(Self { sender, written })
    }

    pub(crate) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(crate) async fn head(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Evidence> {
        // Never handed over: the connection ended while it was waited for.
        self.sender.ready().await.map_err(|_| Evidence::HandedBack)?;
        let before = self.written.bytes();
        let bodiless = request.body().is_end_stream();
        self.sender.try_send_request(request).await.map_err(|error| match error.message() {
            Some(_) => Evidence::HandedBack,
            None => failure::of_http2(error.error(), self.written.bytes() - before, bodiless),
        })
    }
}
