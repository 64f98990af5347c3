//! Holding a lease: renewed in time, and never believed in for longer than the server can have granted it.
//!
//! The holder counts from before its request was sent, on the monotonic clock, and less than the lease lasts: see
//! [`Term`]. It takes no instant from the server, so no wall clock matters, neither here nor there. What is lost stays
//! lost: a renewal that comes too late does not bring it back.
//!
//! This protects while the process runs. One that is stopped between asking for the token and using it (a signal, a
//! debugger, a machine put to sleep, whose monotonic clock stands still meanwhile) cannot know how long it was stopped:
//! only a resource that checks the token can, and that is what the token is for.

mod term;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::client::Client;
use crate::lease::NewLease;
use crate::outcome::{NotCommitted, Outcome};

use term::{Term, usable};

/// Renewals begin when so much of the time to live has passed: a third.
const RENEW_PART: u32 = 3;
/// After a renewal of which nobody knows, the next is tried after so much of the time to live: a thirtieth.
const RETRY_PART: u32 = 30;

/// The lease is not held any more, or not certainly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaseLost;

/// A lease that is held: renewed in the background until it is released, dropped or lost.
///
/// ```no_run
/// use tertium_client::{Client, NewLease};
///
/// # async fn lead(token: u64) {}
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new("http://127.0.0.1:7700")?;
/// loop {
///     let Ok(lease) = client.hold_lease("reports/leader", &NewLease::new("host-a", 10_000)).await else { continue };
///     let token = lease.token()?;
///     tokio::select! {
///         () = lease.lost() => eprintln!("somebody else may lead from now on"),
///         () = lead(token) => return Ok(lease.release().await?),
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a lease that is dropped is released"]
pub struct HeldLease {
    name: String,
    token: u64,
    term: Arc<watch::Sender<Term>>,
    /// Ends the renewals when it is sent to, or dropped.
    stop: Option<oneshot::Sender<()>>,
    keeper: Option<JoinHandle<Result<(), NotCommitted>>>,
}

/// A wish to hold a lease. Awaiting it acquires it, waiting in line.
#[derive(Debug)]
#[must_use = "a lease is acquired when this is awaited"]
pub struct HoldLease<'c> {
    client: &'c Client,
    name: String,
    wish: NewLease,
    deadline: Duration,
    stop_within: Duration,
}

impl Client {
    /// Acquires a lease and keeps it.
    ///
    /// A wait that is given up keeps its place in line until its deadline; what is granted to it then lasts its time to
    /// live.
    pub fn hold_lease(&self, name: &str, wish: &NewLease) -> HoldLease<'_> {
        HoldLease {
            client: self,
            name: name.to_owned(),
            wish: wish.clone(),
            deadline: self.options().deadline,
            stop_within: Duration::ZERO,
        }
    }
}

impl<'c> HoldLease<'c> {
    /// How long to wait in line. Default: the client's deadline.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long the work takes to stop once it is told to: the lease counts as lost so much earlier. Default: none.
    pub fn stop_within(mut self, allowance: Duration) -> Self {
        self.stop_within = allowance;
        self
    }

    async fn hold(self) -> Result<HeldLease, NotCommitted> {
        let Self { client, name, wish, deadline, stop_within } = self;
        let sent = Instant::now();
        let granted = client.acquire_lease(&name, &wish).deadline(deadline).await.into_result()?;
        let server = Server { client: client.clone(), name: name.clone(), token: granted.token, ttl_ms: wish.ttl_ms };
        let ttl = Duration::from_millis(wish.ttl_ms);
        Ok(HeldLease::keep(name, granted.token, server, Span { sent, ttl, stop_within }).await)
    }
}

impl<'c> IntoFuture for HoldLease<'c> {
    type Output = Result<HeldLease, NotCommitted>;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Self::Output> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.hold())
    }
}

impl HeldLease {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fencing token, for as long as it may be used: send it with everything that is done under the lease.
    ///
    /// # Errors
    /// [`LeaseLost`], and from then on for ever.
    pub fn token(&self) -> Result<u64, LeaseLost> {
        if is_over(&self.term) { Err(LeaseLost) } else { Ok(self.token) }
    }

    /// Waits until the lease is lost: before it can have expired, by what the work needs to stop.
    pub async fn lost(&self) {
        let mut changes = self.term.subscribe();
        loop {
            let until = changes.borrow_and_update().until();
            if is_over(&self.term) {
                return;
            }
            tokio::select! {
                () = sleep_until(until) => {}
                // The sender lives as long as this lease.
                _ = changes.changed() => {}
            }
        }
    }

    /// Gives the lease back and waits for the answer. From the call on it is lost for this holder, whatever the answer.
    ///
    /// # Errors
    /// [`NotCommitted`]: it was lost before, or nobody knows; it then expires by itself.
    pub async fn release(mut self) -> Result<(), NotCommitted> {
        self.end();
        let Some(keeper) = self.keeper.take() else { return Ok(()) };
        // A keeper that panicked or was shut down with its runtime has released nothing: the lease expires by itself.
        keeper.await.unwrap_or(Ok(()))
    }

    /// Keeps a lease that was granted. Where much of its time has passed in line, it is renewed before anybody uses it: it
    /// was granted later than it was asked for, and nobody here knows how much later.
    async fn keep<S: Renews>(name: String, token: u64, server: S, span: Span) -> Self {
        let term = Arc::new(watch::Sender::new(Term::new(span.until())));
        let (stop, stopped) = oneshot::channel();
        let mut keeper = Keeper { server, term: Arc::clone(&term), span };
        if Instant::now() >= keeper.next_renewal() {
            keeper.begin_anew().await;
        }
        let keeper = tokio::spawn(keeper.run(stopped));
        Self { name, token, term, stop: Some(stop), keeper: Some(keeper) }
    }

    fn end(&mut self) {
        self.term.send_modify(Term::end);
        self.stop.take();
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        // The keeper notices, and releases in the background.
        self.end();
    }
}

/// Judges the lease now. What was once found lost is lost.
fn is_over(term: &watch::Sender<Term>) -> bool {
    let mut is_over = false;
    term.send_if_modified(|term| {
        let was_over = term.is_ended();
        is_over = term.is_over(Instant::now());
        is_over != was_over
    });
    is_over
}

/// What a lease lasts, counted from before it was asked for.
#[derive(Clone, Copy, Debug)]
struct Span {
    sent: Instant,
    ttl: Duration,
    stop_within: Duration,
}

impl Span {
    fn until(&self) -> Instant {
        self.sent + usable(self.ttl, self.stop_within)
    }
}

/// What came of a renewal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Renewal {
    Done,
    Lost,
    Unknown,
}

/// The server, as far as a keeper needs it.
trait Renews: Send + Sync + 'static {
    /// Renews the lease, giving up at `until`.
    fn renew(&self, until: Instant) -> impl Future<Output = Renewal> + Send;
    /// Gives the lease back.
    fn release(&self) -> impl Future<Output = Result<(), NotCommitted>> + Send;
}

struct Server {
    client: Client,
    name: String,
    token: u64,
    ttl_ms: u64,
}

impl Renews for Server {
    async fn renew(&self, until: Instant) -> Renewal {
        let deadline = until.saturating_duration_since(Instant::now());
        // What is uncertain is not settled: another renewal says more, and that this one comes late does no harm.
        let renewed = self.client.renew_lease(&self.name, self.token, self.ttl_ms);
        match renewed.deadline(deadline).settle_within(Duration::ZERO).await.outcome {
            Outcome::Committed(_) => Renewal::Done,
            Outcome::Refused(problem) if problem.code == "lease-lost" => Renewal::Lost,
            Outcome::Refused(_) | Outcome::Uncertain(_) => Renewal::Unknown,
        }
    }

    async fn release(&self) -> Result<(), NotCommitted> {
        self.client.release_lease(&self.name, self.token).await.into_result().map(|_| ())
    }
}

/// Renews a lease until it is lost or not wanted any more.
struct Keeper<S> {
    server: S,
    term: Arc<watch::Sender<Term>>,
    /// Of the newest request that was granted.
    span: Span,
}

impl<S: Renews> Keeper<S> {
    fn next_renewal(&self) -> Instant {
        self.span.sent + self.span.ttl / RENEW_PART
    }

    /// Before anybody has seen the lease: counts it anew, even where the time since it was asked for is longer than it lasts.
    async fn begin_anew(&mut self) {
        let span = Span { sent: Instant::now(), ..self.span };
        match self.server.renew(span.until()).await {
            Renewal::Done => {
                self.span = span;
                self.term.send_replace(Term::new(span.until()));
            }
            Renewal::Lost => self.term.send_modify(Term::end),
            Renewal::Unknown => {}
        }
    }

    /// Gives what came of the release.
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Result<(), NotCommitted> {
        tokio::select! {
            // Nothing is sent to it: it is dropped.
            _ = &mut stopped => {}
            () = self.renew() => {
                // Lost, as far as the holder goes; the server may still hold it for us, and the work may still be stopping. What is
                // left of it is given back when the holder says that nothing is done under it any more.
                let _ = (&mut stopped).await;
            }
        }
        self.server.release().await
    }

    /// Ends when the lease is lost.
    async fn renew(&mut self) {
        let mut next = self.next_renewal();
        while !is_over(&self.term) {
            let until = self.term.borrow().until();
            sleep_until(next.min(until)).await;
            let span = Span { sent: Instant::now(), ..self.span };
            if span.sent >= until {
                continue;
            }
            let give_up = until.min(span.sent + span.ttl / RENEW_PART);
            match timeout_at(give_up, self.server.renew(give_up)).await.unwrap_or(Renewal::Unknown) {
                Renewal::Done => {
                    self.span = span;
                    self.term.send_modify(|term| term.extend(Instant::now(), span.until()));
                    next = self.next_renewal();
                }
                Renewal::Lost => self.term.send_modify(Term::end),
                Renewal::Unknown => next = Instant::now() + span.ttl / RETRY_PART,
            }
        }
    }
}

impl fmt::Display for LeaseLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lease is lost: somebody else may hold it")
    }
}

impl std::error::Error for LeaseLost {}

#[cfg(test)]
mod tests;
