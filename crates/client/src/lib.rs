//! The Rust client: every write ends in one of three outcomes, every retry carries the same key, the session is kept.
//!
//! A call that crosses a network happened, did not happen, or nobody knows yet. [`Outcome`] says which, and there is no
//! fourth. What this client does so that the third is rare:
//!
//! - Each write has one idempotency key, the caller's or a UUIDv7 made before the first attempt, and every attempt
//!   carries it: however often the request is sent, there is one effect.
//! - It tries again after a lost connection, a 503 or a 429, with full jitter and never sooner than `Retry-After`, at
//!   most three times and under a [budget](RetryOptions), so that retries cannot bury a server in trouble.
//! - The deadline spans all attempts. Each tells the server what remains of it, so that nobody works for a caller who
//!   has left.
//! - When time runs out and nobody knows, it *settles*: the operation's answer comes back if there is one, else its
//!   key is barred for good, and then it certainly did not happen.
//!
//! ```no_run
//! use tertium_client::{Client, NewAccount, NewTransfer, Outcome};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:7700")?;
//! client.open_account(&NewAccount::new("world", "GBP").without_floor()).await.into_result()?;
//! client.open_account(&NewAccount::new("alice", "GBP")).await.into_result()?;
//!
//! let answer = client.transfer(&NewTransfer::new("world", "alice", 2_500)).key("salary/2026-11/alice").await;
//! match answer.outcome {
//!     Outcome::Committed(transfer) => println!("{} moved, once", transfer.amount),
//!     Outcome::Refused(problem) => println!("certainly not: {problem}"),
//!     Outcome::Uncertain(uncertain) => println!("nobody knows yet: ask {}", uncertain.operation),
//! }
//! # Ok(())
//! # }
//! ```

mod call;
mod client;
mod event;
mod holder;
mod judge;
mod lease;
mod ledger;
mod node;
mod number;
mod outcome;
mod read;
mod retry;
mod saga;
mod secret;
mod settle;
mod transport;
mod uncertain;

pub use call::Write;
pub use client::{BuildError, Client, ClientBuilder};
pub use event::{
    DeadLetter, DeadLetterPage, EventPage, NewEvent, Published, Retention, Subscription, SubscriptionChanged,
    SubscriptionSettings, Topic, TopicKept,
};
pub use holder::{HeldLease, HoldLease, LeaseLost};
pub use lease::{Lease, LeaseGranted, LeaseHolder, LeasePage, LeaseReleased, LeaseRenewed, NewLease};
pub use ledger::{
    Account, Accounts, BalanceAfter, Batch, BatchItem, BatchResult, History, ItemResult, Movement, NewAccount,
    NewTransfer, Operation, Page, Readiness, Transfer,
};
pub use node::{Node, NodePage, NodePromoted};
pub use outcome::{Answer, NotCommitted, Outcome, Problem, Uncertain, Wrong};
pub use read::{Consistency, Read, ReadError, Seen};
pub use retry::RetryOptions;
pub use saga::{
    DefinitionLanguage, NewRun, Run, RunAccepted, RunControl, RunControlled, RunEnd, RunFilter, RunStep,
    RunsControlled, SagaDefined, SagaPage, SagaSummary, SagaVersion,
};
pub use secret::{ApiKey, ApiKeyError};
pub use settle::Settle;
pub use uncertain::{Resolved, UncertainCall, UncertainPage};
