//! Durable calls: requests to strangers, made by the server, each with a definite end.
//!
//! A call is accepted by one entry, tried outside, and what came of each attempt comes back as an entry. Here is decided
//! what that means and what is done next. A call that may or may not have been done is *uncertain*: it is listed, asked
//! after, and has a bound after which the way out is taken that its caller declared.
//!
//! If this stops halfway: an accepted call is open until its end is in the log. Whoever leads next finds in its claim that
//! the performer is lost, and goes on from there as from any attempt without an answer.

pub(crate) mod accept;
pub(crate) mod again;
pub(crate) mod due;
pub(crate) mod end;
mod next;
mod open;
pub(crate) mod order;
pub(crate) mod resolve;
pub(crate) mod tried;
mod view;

pub use open::Owner;
pub(crate) use open::{Calls, OpenCall, decode_owner, encode_owner};
pub use order::{CALL_MS_BOUNDS, CallOrder, Doubt, Finding, Resolved, Tried, UNCERTAIN_MS_BOUNDS, Undoes, WayOut};
pub use view::CallView;

#[cfg(test)]
mod tests;
