//! The client half of a network call as tower layers: deadline, retry, budget, breaker, balance, and a verdict on evidence.
//!
//! A call over a network ends in one of three ways: it happened, it did not, or nobody knows. This crate makes calls and
//! says which, with what it saw; it tries again only where that cannot do harm, and never so often that it becomes the
//! outage. [`Client`] is the whole stack; each layer in [`layer`] can be used alone; what decides is pure, in [`core`].
//!
//! ```
//! use std::time::Duration;
//! use call::{Call, Client, Settings};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let client = Client::new(Settings::default()).unwrap();
//! let mut call = Call::new(http::Method::POST, "http://127.0.0.1:1/pay".parse().unwrap());
//! call.key = Some(words::Key::new("order-17/pay").unwrap());
//! call.deadline = Duration::from_millis(300);
//! let report = client.call(call).await;
//! // Nobody listens there: certainly not done.
//! assert_eq!(report.verdict.outcome(), words::Outcome::Refused);
//! assert_eq!(report.verdict.to_string(), "not done: no connection: connection refused");
//! # });
//! ```
//!
//! A layer alone, around any service of `http` requests:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use bytes::Bytes;
//! use call::{Evidence, Terms, layer::deadline::Deadline};
//! use tower::ServiceExt;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let echo = tower::service_fn(|request: http::Request<Bytes>| async move {
//!     Ok::<_, Evidence>(http::Response::new(request.into_body()))
//! });
//! let service = Deadline::new(echo, Duration::from_millis(1));
//! let mut late = http::Request::new(Bytes::from("hello"));
//! late.extensions_mut().insert(Terms::new(Instant::now(), 0, false));
//! assert_eq!(service.clone().oneshot(late).await.unwrap_err(), Evidence::DeadlinePassed);
//! let answer = service.oneshot(http::Request::new(Bytes::from("hello"))).await.unwrap();
//! assert_eq!(answer.body(), "hello");
//! # });
//! ```

mod client;
pub mod core;
pub mod layer;
mod origin;
mod settings;
mod stack;
mod terms;
pub mod transport;
mod turn;

pub use client::{Answer, Call, Client, DestinationStatus, EndpointStatus, Report, USER_AGENT, key_value};
pub use core::backoff::Backoff;
pub use core::balance::RotationSettings;
pub use core::breaker::{BreakerSettings, BreakerState};
pub use core::budget::BudgetSettings;
pub use core::hop::{ATTEMPT, Hop};
pub use core::verdict::{Cut, Evidence, Meanings, NotDone, Verdict};
pub use layer::bulkhead::BulkheadSettings;
pub use layer::health::HealthSettings;
pub use origin::{Origin, destination_name};
pub use settings::{DestinationSettings, Settings, SettingsError};
pub use terms::{Attempt, RETRIES_MAX, Terms};
pub use transport::address::{AddressPolicy, AllowList, AllowListError, LoopbackOnly};
pub use transport::{Protocol, TransportSettings};
pub use turn::{ProcessTurns, Turn, Turns};
