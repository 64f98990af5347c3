//! The inbox for a service's own database: a call is known by its key in the very transaction that holds its effects.
//!
//! A caller that heard nothing sends its call again, with the same idempotency key. A service is safe from that if the
//! record of the key and the effects of the call are one transaction: then they cannot disagree, since there is nothing
//! between them. [`postgres`] (tokio-postgres) and [`sqlite`] (rusqlite) do it in the same tables, with the same
//! statements and the same decisions; the SQL is in `docs/inbox-sql.md` for services in other languages, and
//! `layer` (feature `axum`) does it for a whole handler.
//!
//! ```no_run
//! use std::time::Duration;
//! use inbox_sql::{Answer, Arrival, Entry, Fingerprint, Key, sqlite};
//!
//! # fn pay(tx: &rusqlite::Connection) -> rusqlite::Result<()> { Ok(()) }
//! # fn example(mut connection: rusqlite::Connection) -> Result<Answer, Box<dyn std::error::Error>> {
//! let inbox = sqlite::Inbox::new("shop");
//! let arrival = Arrival::new(Key::new("order-17/pay")?, Fingerprint::of(b"POST /pay {\"amount\":5}"));
//!
//! let tx = sqlite::begin(&mut connection, Duration::from_millis(850))?;
//! let answer = match inbox.enter(&tx, &arrival)? {
//!     Entry::First(ticket) => {
//!         pay(&tx)?;
//!         let answer = Answer::new(201, "paid");
//!         inbox.finish(&tx, ticket, &answer)?;
//!         answer
//!     }
//!     Entry::Again(first) => first,
//!     Entry::Barred => Answer::new(409, "this call was given up; it will never run"),
//!     Entry::Reused => Answer::new(422, "this key belongs to another request"),
//!     Entry::Stale(highest) => Answer::new(409, format!("token {highest} has been seen")),
//! };
//! tx.commit()?;
//! # Ok(answer)
//! # }
//! ```
//!
//! # What may be relied on
//!
//! - One key, one run: whoever comes while the first is at work waits for it, within the time given at the beginning of
//!   the transaction, and then has its answer ([`Entry::Again`]) or, had it been rolled back, its place.
//! - A transaction that entered a key commits only with an answer. The row of an unanswered key refers to a row that
//!   cannot exist, by a foreign key that is checked at commit: a dropped [`Ticket`] makes the *commit* fail, in every
//!   language, and not the caller's luck.
//! - Who asks, decides: a [probe](Settled) and a compensation take the place of a step that never ran, and bar it.
//! - A call with an older fencing token than one seen is not run; the check is in the same transaction.
//!
//! What is kept is kept for a window ([`Collection`]); a call that is repeated after it runs again. The window has to be
//! longer than the longest retry and the retention of the broker together.

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!("an inbox is in a database: choose the feature `postgres`, `sqlite` or both");

mod answer;
mod arrival;
mod decide;
mod error;
#[cfg(feature = "axum")]
pub mod layer;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod schema;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use answer::{Answer, HeaderError};
pub use arrival::{Arrival, Collected, Collection, Compensation, Entry, Event, Fence, Settled, Step, Ticket};
pub use error::Error;
pub use words::{Fingerprint, Key, KeyError};
