//! Settling: the end of uncertainty. What was decided stays, what was not is barred.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde::de::DeserializeOwned;

use crate::call::{bare, operation_path};
use crate::client::Client;
use crate::judge::{Again, Judged, judge};
use crate::ledger::Operation;
use crate::outcome::{Answer, Outcome, Problem};
use crate::read::ReadError;
use crate::transport::{LATE, Lost, Request};

/// A request to settle that was described and not sent yet. Awaiting it sends it.
#[derive(Debug)]
#[must_use = "nothing is settled before this is awaited"]
pub struct Settle<'c> {
    pub(crate) client: &'c Client,
    pub(crate) key: String,
    pub(crate) deadline: Duration,
}

impl<'c> Settle<'c> {
    /// How long to wait, all attempts together. Default: the client's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Settling is idempotent by nature: it is sent again after any loss, with no key but the one it names.
    async fn send(self) -> Result<Operation, ReadError> {
        let until = Instant::now() + self.deadline;
        self.client.budget().first(Instant::now());
        let (mut attempts, mut before) = (0, None);
        loop {
            attempts += 1;
            let sent = self.client.exchange(self.request(), until).await;
            if matches!(sent, Err(Lost::Late)) {
                return Err(before.unwrap_or_else(|| ReadError::Lost(LATE.to_owned())));
            }
            // The outcome in the head is the operation's: whatever it is, the settling is done.
            if let Ok(response) = &sent
                && response.status.is_success()
            {
                return serde_json::from_slice(&response.body)
                    .map_err(|error| ReadError::Unreadable(error.to_string()));
            }
            // Whoever could not be asked has refused nothing.
            if let Err(Lost::NotSent(reason)) = sent {
                if !self.client.pause(attempts, Duration::ZERO, until).await {
                    return Err(ReadError::Lost(reason));
                }
                before = Some(ReadError::Lost(reason));
                continue;
            }
            let (error, again) = match judge(sent) {
                Judged::Committed(_) => {
                    (ReadError::Unreadable("it is called committed, and failed".to_owned()), Again::Never)
                }
                Judged::Refused(problem, _) => (ReadError::Refused(Box::new(problem)), Again::Never),
                Judged::TurnedAway { problem, again } => (ReadError::Refused(Box::new(problem)), again),
                Judged::Unknown { reason, again } => (ReadError::Lost(reason), again),
            };
            let Again::After(at_least) = again else { return Err(error) };
            if !self.client.pause(attempts, at_least, until).await {
                return Err(error);
            }
            before = Some(error);
        }
    }

    fn request(&self) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let path = format!("{}/settle", operation_path(&self.key));
        Request { method: Method::POST, path, headers, body: Bytes::from_static(b"{}") }
    }
}

impl<'c> IntoFuture for Settle<'c> {
    type Output = Result<Operation, ReadError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Settles on behalf of a write, and gives its answer if that made it definite.
pub(crate) async fn settle_quietly<T: DeserializeOwned>(
    client: &Client,
    key: &str,
    allowance: Duration,
) -> Option<Answer<T>> {
    let operation = client.settle(key).deadline(allowance).await.ok()?;
    let outcome = match operation.outcome.as_str() {
        "committed" => Outcome::Committed(serde_json::from_value(operation.body).ok()?),
        "refused" => Outcome::Refused(problem_of(&operation)),
        _ => return None,
    };
    Some(Answer { settled: true, replayed: true, position: operation.position, ..bare(outcome) })
}

/// The first answer of a refused operation. A barred one may have no body: it never had an answer.
fn problem_of(operation: &Operation) -> Problem {
    match serde_json::from_value::<Problem>(operation.body.clone()) {
        Ok(problem) if !problem.code.is_empty() => problem,
        _ => {
            let code = operation.code.as_deref().unwrap_or("operation-barred");
            let mut problem =
                Problem::own(code, "The operation was settled before it happened", "it never will happen");
            problem.status = operation.status;
            problem
        }
    }
}
