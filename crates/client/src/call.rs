//! One write from its first attempt to its outcome.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::judge::{Again, Judged, flag, judge, text};
use crate::outcome::{Answer, Outcome, Problem, Uncertain};
use crate::transport::{Lost, Request, Response, segment};

/// A write that was described and not sent yet. Awaiting it sends it; what is not awaited never happens.
#[derive(Debug)]
#[must_use = "a write is sent when it is awaited"]
pub struct Write<'c, T> {
    client: &'c Client,
    method: Method,
    path: String,
    content_type: &'static str,
    body: Result<Bytes, String>,
    /// Whether that it is accepted, durably, is all that is waited for.
    is_accepted_enough: bool,
    key: Option<String>,
    deadline: Option<Duration>,
    settle: Option<Duration>,
    answer: PhantomData<fn() -> T>,
}

impl<'c, T: DeserializeOwned + Send> Write<'c, T> {
    pub(crate) fn new(client: &'c Client, path: String, body: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(body).map(Bytes::from).map_err(|error| error.to_string());
        Self { body, ..Self::raw(client, Method::POST, path, "application/json", Bytes::new()) }
    }

    pub(crate) fn put(client: &'c Client, path: String, body: &impl serde::Serialize) -> Self {
        Self { method: Method::PUT, ..Self::new(client, path, body) }
    }

    pub(crate) fn delete(client: &'c Client, path: String) -> Self {
        Self { method: Method::DELETE, ..Self::new(client, path, &serde_json::Map::new()) }
    }

    /// A write whose body is written already.
    pub(crate) fn raw(
        client: &'c Client,
        method: Method,
        path: String,
        content_type: &'static str,
        body: Bytes,
    ) -> Self {
        Self {
            client,
            method,
            path,
            content_type,
            body: Ok(body),
            is_accepted_enough: false,
            key: None,
            deadline: None,
            settle: None,
            answer: PhantomData,
        }
    }

    /// Does not wait for the end of slow work: that it is accepted is the answer.
    pub(crate) fn accepted(mut self) -> Self {
        self.is_accepted_enough = true;
        self
    }

    /// The idempotency key: 1 to 255 visible ASCII characters that name this one intended effect. Store it before the
    /// first attempt if the effect has to survive this process. Without it a UUIDv7 is made, and [`Answer::key`] tells
    /// which.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How long to wait, all attempts together. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How much longer to wait for an uncertain operation to be settled. Zero: do not settle. Default: the client's.
    pub fn settle_within(mut self, allowance: Duration) -> Self {
        self.settle = Some(allowance);
        self
    }

    /// Sends it, as often as is needed and allowed.
    async fn send(self) -> Answer<T> {
        let key = self.key.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        let mut progress = Progress { attempts: 0, is_heard: false, unknown: None, turned_away: None };
        let until = Instant::now() + self.deadline.unwrap_or(self.client.options().deadline);
        let decided = match self.request(&key) {
            Ok(request) => self.attempts(&request, until, &mut progress).await,
            Err(problem) => {
                return Answer { key, ..bare(Outcome::Refused(*problem)) };
            }
        };
        let mut answer = match decided {
            Some(answer) => answer,
            None => match progress.unknown {
                Some(reason) => self.settle_or_give_up(&key, reason).await,
                None => self.turned_away(&key, progress.is_heard, progress.turned_away),
            },
        };
        answer.key = key;
        answer.attempts = progress.attempts;
        answer
    }

    /// Until something definite is known, or trying again is no use or not allowed.
    async fn attempts(&self, request: &Request, until: Instant, progress: &mut Progress) -> Option<Answer<T>> {
        while Instant::now() < until {
            progress.attempts += 1;
            if progress.attempts == 1 {
                self.client.budget().first(Instant::now());
            }
            let sent = self.client.exchange(request.clone(), until).await;
            progress.is_heard |= !matches!(sent, Err(Lost::NotSent(_) | Lost::Late));
            if matches!(sent, Err(Lost::Late)) && progress.turned_away.is_some() {
                return None;
            }
            if let Ok(response) = &sent
                && self.is_accepted_enough
                && response.status == StatusCode::ACCEPTED
                && let Ok(answer) = serde_json::from_slice(&response.body)
            {
                let answered = answer_of(Outcome::Committed(answer), response);
                return Some(answered);
            }
            let again = match judge(sent) {
                Judged::Committed(response) => match serde_json::from_slice(&response.body) {
                    Ok(answer) => return Some(answer_of(Outcome::Committed(answer), &response)),
                    Err(error) => {
                        progress.unknown = Some(format!("it committed, and its answer cannot be read: {error}"));
                        Again::Never
                    }
                },
                Judged::Refused(problem, response) => return Some(answer_of(Outcome::Refused(problem), &response)),
                Judged::TurnedAway { problem, again } => {
                    progress.turned_away = Some(problem);
                    again
                }
                Judged::Unknown { reason, again } => {
                    progress.unknown = Some(reason);
                    again
                }
            };
            let Again::After(at_least) = again else { return None };
            if !self.client.pause(progress.attempts, at_least, until).await {
                return None;
            }
        }
        None
    }

    /// No attempt did anything. Where none was even heard, that is an answer only for a key that was made for this call:
    /// under a key of the caller's own an earlier call may have done it.
    fn turned_away(&self, key: &str, is_heard: bool, problem: Option<Problem>) -> Answer<T> {
        let problem = problem.unwrap_or_else(|| {
            Problem::own("deadline-exceeded", "The deadline has passed", "it passed before the first attempt")
        });
        if is_heard || self.key.is_none() {
            return bare(Outcome::Refused(problem));
        }
        let reason = format!("nothing was sent, and whether it happened earlier is not known ({problem})");
        bare(Outcome::Uncertain(Uncertain { operation: operation_path(key), reason, sent: false }))
    }

    async fn settle_or_give_up(&self, key: &str, reason: String) -> Answer<T> {
        let allowance = self.settle.unwrap_or(self.client.options().settle_within);
        if !allowance.is_zero()
            && let Some(settled) = crate::settle::settle_quietly(self.client, key, allowance).await
        {
            return settled;
        }
        bare(Outcome::Uncertain(Uncertain { operation: operation_path(key), reason, sent: true }))
    }

    fn request(&self, key: &str) -> Result<Request, Box<Problem>> {
        words::check_key(key).map_err(|error| {
            Box::new(Problem::own("idempotency-key-invalid", "The idempotency key is not one", error))
        })?;
        let body = self.body.clone().map_err(|error| {
            Box::new(Problem::own("invalid-request", "The request cannot be written as JSON", error))
        })?;
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", key_header(key));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if self.is_accepted_enough {
            headers.insert("prefer", HeaderValue::from_static("respond-async"));
        }
        Ok(Request { method: self.method.clone(), path: self.path.clone(), headers, body })
    }
}

impl<'c, T: DeserializeOwned + Send + 'c> IntoFuture for Write<'c, T> {
    type Output = Answer<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer<T>> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// What the attempts so far have left behind.
struct Progress {
    attempts: u32,
    /// Whether the server may have had one of them.
    is_heard: bool,
    /// Why nobody knows: set by the first attempt that may have happened, and then only something definite ends it.
    unknown: Option<String>,
    turned_away: Option<Problem>,
}

fn answer_of<T>(outcome: Outcome<T>, response: &Response) -> Answer<T> {
    Answer {
        replayed: flag(&response.headers, "idempotency-replayed"),
        joined: flag(&response.headers, "idempotency-joined"),
        position: text(&response.headers, "tertium-position").map(str::to_owned),
        ..bare(outcome)
    }
}

/// An answer of which only the outcome is known.
pub(crate) fn bare<T>(outcome: Outcome<T>) -> Answer<T> {
    Answer { outcome, key: String::new(), replayed: false, joined: false, settled: false, position: None, attempts: 0 }
}

/// Where to ask for the operation of that key.
pub(crate) fn operation_path(key: &str) -> String {
    format!("/v1/operations/{}", segment(key))
}

/// A key as a header: bare where that cannot be misread, else as a structured-field string (RFC 8941, section 3.3.3).
fn key_header(key: &str) -> HeaderValue {
    let text = if key.contains(['"', '\\']) {
        format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        key.to_owned()
    };
    HeaderValue::from_str(&text).expect("a key is visible ASCII, which check_key has made sure of")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_headers() {
        for (key, header) in [("order-17", "order-17"), (r#"a"b"#, r#""a\"b""#), (r"a\b", r#""a\\b""#)] {
            assert_eq!(key_header(key).to_str().unwrap(), header);
        }
    }
}
