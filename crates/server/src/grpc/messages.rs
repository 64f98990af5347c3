//! Messages on their way in: each is looked at before it is decoded.
//!
//! Two bytes of a message can become an object of more than a hundred, so the number of a message's fields is bounded
//! before anything is made of them. And what waits for its end takes part in the bounds of all bodies: their idle time,
//! their room, and of a call that is no stream its deadline.

use bytes::{Bytes, BytesMut};
use edge::{BodyError, Held};
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::{Body, Frame, Incoming};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use wire::{Code, Problem};

use crate::call::Call;
use crate::route::RouteName;
use crate::routes::problem_of_body;

/// What stands before each message: whether it is compressed, and its length (gRPC over HTTP/2, "Requests").
const PREFIX_BYTES: usize = 5;

/// The most fields of a message: twice the items of a batch, so that a batch that is somewhat too large is told how large.
const FIELDS_MAX: usize = 2 * machine::BATCH_ITEMS_MAX;

/// The messages of a body, checked, one in each frame. `until` is when nobody waits any more.
pub(super) fn checked(
    call: Call,
    body: Incoming,
    until: Option<Instant>,
) -> impl Body<Data = Bytes, Error = Status> + Send + 'static {
    let held = call.app.bodies.begin();
    let messages = Messages { call, body, until, buffer: BytesMut::new(), held };
    StreamBody::new(stream::unfold(Some(messages), |messages| async move {
        let mut messages = messages?;
        match messages.next().await {
            Ok(message) => Some((Ok(Frame::data(message?)), Some(messages))),
            Err(problem) => Some((Err(messages.refuse(&problem)), None)),
        }
    }))
}

struct Messages {
    call: Call,
    body: Incoming,
    until: Option<Instant>,
    buffer: BytesMut,
    /// The room that the buffer takes, and the message before it until the next is asked for.
    held: Held,
}

impl Messages {
    /// The next message with its prefix; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        self.held = self.call.app.bodies.begin();
        self.hold(self.buffer.len())?;
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.more().await.map_err(|error| problem_of_body(&error, ""))? {
                Some(data) => {
                    self.hold(data.len())?;
                    self.buffer.extend_from_slice(&data);
                }
                // A message that is cut short is for the decoder to complain of.
                None => return Ok(Some(self.buffer.split().freeze()).filter(|rest| !rest.is_empty())),
            }
        }
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Problem> {
        self.held.grow(bytes).then_some(()).ok_or_else(|| problem_of_body(&BodyError::NoRoom, ""))
    }

    async fn more(&mut self) -> Result<Option<Bytes>, BodyError> {
        let next = edge::next_data(&mut self.body, self.call.app.limits.body_idle_timeout);
        match self.until {
            None => next.await,
            Some(until) => timeout_at(until, next).await.unwrap_or(Err(BodyError::Late)),
        }
    }

    /// The message at the front, once it is there whole.
    fn take(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(([compressed, length @ ..], _)) = self.buffer.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let (is_compressed, length) = (*compressed != 0, u32::from_be_bytes(*length) as usize);
        let max = self.call.app.streams.message_bytes_max;
        if length > max {
            let what = format!("A message has at most {max} bytes, this has {length}.");
            return Err(Problem::new(Code::PayloadTooLarge, what));
        }
        if self.buffer.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        let message = self.buffer.split_to(PREFIX_BYTES + length).freeze();
        // Compressed ones are not taken: the decoder says so.
        if !is_compressed {
            wire::grpc::check_fields(&message[PREFIX_BYTES..], FIELDS_MAX)?;
        }
        Ok(Some(message))
    }

    /// Of a stream the beginning was counted; other calls end here.
    fn refuse(&self, problem: &Problem) -> Status {
        if self.call.route != RouteName::TransferStream {
            self.call.count(problem.code.status(), Some(problem.outcome()), Some(problem.code));
        }
        wire::grpc::status(problem)
    }
}
