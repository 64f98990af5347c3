//! A tower layer for axum that does all of it for a whole handler.
//!
//! Around a handler of writes, it reads the whole (bounded) body, opens a transaction, enters the call's key in it, hands
//! the transaction to the handler ([`Tx`]), keeps the handler's answer beside what the handler wrote, commits, and
//! answers. A repeated call gets that answer byte for byte, with `Idempotency-Replayed: true`. Reads (GET, HEAD, OPTIONS,
//! TRACE) pass untouched.
//!
//! What the handler answers decides what is kept, and what the caller may conclude:
//!
//! | answer | kept | the caller may conclude |
//! |---|---|---|
//! | 2xx | what the handler wrote, and the answer | committed |
//! | 4xx but 425 | the answer; what the handler wrote is rolled back | refused, for good |
//! | 425 | nothing | somebody is at it: ask again with the same key |
//! | all others, a panic, the deadline | nothing: this attempt did nothing | nothing: ask again with the same key, or probe |
//! | 504 `outcome-unknown`: the commit was not answered | nobody knows | nothing: the same |
//! | none | nobody knows | nothing: the same |
//!
//! A 5xx is no refusal although it was rolled back: another copy of the call may be on its way, and nothing was written
//! that would stop it. Who needs certainty [probes](InboxLayer::probes).
//!
//! An event (it has `Tertium-Subscription`) is kept only where the handler answers 2xx; one that was seen gets 204.
//! A compensation (it has `Tertium-Compensates`) reaches the handler only if its step had an effect, with the step's
//! answer in the extension [`StepAnswer`]; else 204 is its answer, and kept. Of a step that is not here it depends on what
//! `Tertium-Compensates-Outcome` says: `committed` reaches the handler without the step's answer, `resolved` is refused with
//! 409 `step-unknown`, kept as well.

mod database;
#[cfg(feature = "postgres")]
mod postgres;
mod reply;
mod request;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service};

pub use database::{Database, Ended, Fate, Guard, StepAnswer, Tx};
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, PostgresOpen};
#[cfg(feature = "sqlite")]
pub use sqlite::{Sqlite, SqliteOpen};

use crate::{Error, Key, Settled};
use database::{Begun, Call};
use reply::{Kept, Problem};

/// The largest body of a request that is read, in bytes: 1 MiB.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// The largest body of an answer that is kept, in bytes: 1 MiB. A larger one counts as a failure of the handler.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The layer. It is cheap to clone.
#[derive(Clone)]
pub struct InboxLayer<D> {
    shared: Arc<Shared<D>>,
}

struct Shared<D> {
    database: D,
    scope: fn(&Parts) -> String,
}

impl<D: Database> InboxLayer<D> {
    /// A layer over this database. `scope` finds the principal whose keys they are; two principals can use the same key
    /// for different calls.
    pub fn new(database: D, scope: fn(&Parts) -> String) -> Self {
        Self { shared: Arc::new(Shared { database, scope }) }
    }

    /// What answers a probe, to be mounted at a path with one parameter, the key: the call's answer if it has one; else it
    /// is barred, and 409 `operation-barred` says so; 425 while it is in flight.
    pub fn probes<S>(&self) -> MethodRouter<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let shared = self.shared.clone();
        get(move |parts: Parts, Path(key): Path<String>| async move { shared.probe(&parts, &key).await })
    }
}

impl<S, D: Clone> Layer<S> for InboxLayer<D> {
    type Service = InboxService<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        InboxService { inner, shared: self.shared.clone() }
    }
}

/// A handler with the layer around it.
#[derive(Clone)]
pub struct InboxService<S, D> {
    inner: S,
    shared: Arc<Shared<D>>,
}

/// A handler as axum makes them.
trait Handler: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static {}

impl<S> Handler for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S: Handler, D: Database> Service<Request> for InboxService<S, D>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::poll_ready(&mut self.inner, context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that was polled is ready; its clone need not be.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        if request.method().is_safe() {
            return Box::pin(inner.call(request));
        }
        let shared = self.shared.clone();
        // A task of its own: a caller who hangs up does not stop halfway what others may be waiting for.
        let task = tokio::spawn(async move { shared.answer(inner, request).await });
        Box::pin(async move { Ok(task.await.unwrap_or_else(|_| Problem::Failed.response())) })
    }
}

impl<D: Database> Shared<D> {
    async fn answer<S: Handler>(&self, inner: S, request: Request) -> Response {
        self.run(inner, request).await.unwrap_or_else(Problem::response)
    }

    async fn run<S: Handler>(&self, inner: S, request: Request) -> Result<Response, Problem> {
        let (mut parts, body) = request.into_parts();
        let request::Asked { call, remaining } = request::read(&parts.headers)?;
        let until = Instant::now() + remaining;
        if remaining.is_zero() {
            return Err(Problem::DeadlineExceeded);
        }
        let body = timeout_at(until, read_request(body)).await.map_err(|_| Problem::DeadlineExceeded)??;
        let fingerprint = request::fingerprint(&parts, &body);
        let scope = (self.scope)(&parts);
        let wait = request::wait(until.saturating_duration_since(Instant::now()));
        let begun = timeout_at(until, self.database.begin(&scope, &call, fingerprint, wait)).await;
        let (open, ticket) = match begun.map_err(|_| Problem::InFlight)?? {
            Begun::Run { open, ticket, step } => {
                if let Some(step) = step {
                    parts.extensions.insert(StepAnswer(step));
                }
                (open, ticket)
            }
            Begun::Told(told) => return reply::told(told),
        };
        let tx = Tx::new(open);
        parts.extensions.insert(tx.clone());
        let request = Request::from_parts(parts, Body::from(body));
        let (parts, body) = run_handler(inner, request, until).await?.into_parts();
        let body = timeout_at(until, read_answer(body)).await.map_err(|_| Problem::DeadlineExceeded)??;
        // The handler is done; a task it left behind finds the transaction ended.
        let open = tx.end().ok_or(Problem::Failed)?;
        let kept = reply::kept(parts.status, matches!(call, Call::Event { .. }));
        if kept == Kept::Nothing {
            self.database.abandon(open).await;
        } else {
            let answer = reply::answer(&parts, &body);
            self.database.conclude(open, &scope, ticket, &answer).await.map_err(Problem::of_fate)?;
        }
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    async fn probe(&self, parts: &Parts, key: &str) -> Response {
        let settled = async {
            let key = Key::new(key).map_err(|_| Problem::KeyInvalid)?;
            let remaining = request::remaining(&parts.headers)?;
            let (scope, until) = ((self.scope)(parts), Instant::now() + remaining);
            let probe = self.database.probe(&scope, &key, request::wait(remaining));
            match timeout_at(until, probe).await.map_err(|_| Problem::InFlight)?.map_err(Problem::of_fate)? {
                Settled::Answered(answer) => reply::replayed(&answer),
                Settled::Barred => Err(Problem::Barred),
            }
        };
        settled.await.unwrap_or_else(Problem::response)
    }
}

/// In a task of its own, so that its panic is not ours: the transaction is rolled back and the caller is told.
async fn run_handler<S: Handler>(mut inner: S, request: Request, until: Instant) -> Result<Response, Problem> {
    let mut task = tokio::spawn(async move { inner.call(request).await });
    match timeout_at(until, &mut task).await {
        Ok(Ok(Ok(response))) => Ok(response),
        Ok(Err(_)) => Err(Problem::Failed),
        Err(_) => {
            // What it holds of the transaction goes with it, and with that the transaction.
            task.abort();
            Err(Problem::DeadlineExceeded)
        }
    }
}

async fn read_request(body: Body) -> Result<Bytes, Problem> {
    match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::BodyTooLarge),
        Err(_) => Err(Problem::BodyBroken),
    }
}

async fn read_answer(body: Body) -> Result<Bytes, Problem> {
    match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(_) => Err(Problem::Failed),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::InFlight => Self::InFlight,
            Error::OutOfRange(_) => Self::HeaderInvalid,
            Error::Connection(_) => Self::Unavailable,
            _ => Self::Failed,
        }
    }
}

impl Problem {
    fn of_fate(fate: Fate) -> Self {
        match fate {
            Fate::Nothing(error) => error.into(),
            Fate::Unknown(_) => Self::OutcomeUnknown,
        }
    }
}
