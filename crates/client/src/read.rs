//! Reads: a level of freshness, a deadline, and how fresh the answer was.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::judge::{problem_of, retry_after, text};
use crate::outcome::Problem;
use crate::transport::{LATE, Lost, Request, Response};

/// How fresh a read must be. A level that cannot be met is refused, never quietly weakened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Consistency {
    /// Everything acknowledged before the read began.
    Linearizable,
    /// At least what this client has seen.
    Session,
    /// At most so many milliseconds old.
    BoundedMs(u64),
    /// Whatever is there.
    Eventual,
    /// Exactly as it stood at a position: `<cell>:<epoch>:<index>`.
    At(String),
}

/// What a read saw, and when that was.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen<T> {
    /// What was read.
    pub value: T,
    /// The state it was read from: `<cell>:<epoch>:<index>`.
    pub position: Option<String>,
    /// An upper bound on how old that state was, in milliseconds.
    pub staleness_ms: Option<u64>,
}

/// Why there is no answer to a read.
#[derive(Clone, PartialEq, Debug)]
pub enum ReadError {
    /// The server says why.
    Refused(Box<Problem>),
    /// No answer came: the server cannot be reached, or was silent until the deadline.
    Lost(String),
    /// An answer came that this client cannot read.
    Unreadable(String),
}

/// A read that was described and not sent yet. Awaiting it sends it.
#[derive(Debug)]
#[must_use = "a read is sent when it is awaited"]
pub struct Read<'c, T> {
    client: &'c Client,
    path: String,
    consistency: Option<Consistency>,
    deadline: Option<Duration>,
    answer: PhantomData<fn() -> T>,
}

impl<'c, T: DeserializeOwned + Send> Read<'c, T> {
    pub(crate) fn new(client: &'c Client, path: String) -> Self {
        Self { client, path, consistency: None, deadline: None, answer: PhantomData }
    }

    /// How fresh. Default: the server's, which is linearizable unless it was configured otherwise.
    pub fn consistency(mut self, level: Consistency) -> Self {
        self.consistency = Some(level);
        self
    }

    /// How long to wait, all attempts together. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    async fn send(self) -> Result<Seen<T>, ReadError> {
        let until = Instant::now() + self.deadline.unwrap_or(self.client.options().deadline);
        self.client.budget().first(Instant::now());
        let request = self.request()?;
        let (mut attempts, mut before) = (0, None);
        loop {
            attempts += 1;
            let (error, at_least) = match self.client.exchange(request.clone(), until).await {
                Err(Lost::Late) => return Err(before.unwrap_or_else(|| ReadError::Lost(LATE.to_owned()))),
                Ok(response) if response.status.is_success() => return seen(&response),
                Ok(response) => {
                    let error = ReadError::Refused(Box::new(problem_of(&response)));
                    if !matches!(response.status.as_u16(), 429 | 502 | 503) {
                        return Err(error);
                    }
                    (error, retry_after(&response.headers).unwrap_or_default())
                }
                Err(Lost::NotSent(reason) | Lost::Perhaps(reason)) => (ReadError::Lost(reason), Duration::ZERO),
            };
            if !self.client.pause(attempts, at_least, until).await {
                return Err(error);
            }
            before = Some(error);
        }
    }

    fn request(&self) -> Result<Request, ReadError> {
        let mut headers = HeaderMap::new();
        if let Some(level) = &self.consistency {
            let value = HeaderValue::from_str(&level.to_string()).map_err(|_| {
                let detail = "a position is `<cell>:<epoch>:<index>`";
                ReadError::Refused(Box::new(Problem::own("consistency-invalid", "Not a consistency level", detail)))
            })?;
            headers.insert("tertium-consistency", value);
        }
        Ok(Request { method: Method::GET, path: self.path.clone(), headers, body: Bytes::new() })
    }
}

impl<'c, T: DeserializeOwned + Send + 'c> IntoFuture for Read<'c, T> {
    type Output = Result<Seen<T>, ReadError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

fn seen<T: DeserializeOwned>(response: &Response) -> Result<Seen<T>, ReadError> {
    let value = serde_json::from_slice(&response.body).map_err(|error| ReadError::Unreadable(error.to_string()))?;
    Ok(Seen {
        value,
        position: text(&response.headers, "tertium-position").map(str::to_owned),
        staleness_ms: text(&response.headers, "tertium-staleness-ms").and_then(|text| text.parse().ok()),
    })
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable => f.write_str("linearizable"),
            Self::Session => f.write_str("session"),
            Self::BoundedMs(ms) => write!(f, "bounded={ms}"),
            Self::Eventual => f.write_str("eventual"),
            Self::At(position) => write!(f, "at={position}"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(problem) => problem.fmt(f),
            Self::Lost(reason) => write!(f, "no answer: {reason}"),
            Self::Unreadable(reason) => write!(f, "the answer cannot be read: {reason}"),
        }
    }
}

impl std::error::Error for ReadError {}
