//! What decides: values in, values out, an explicit `now`, and nothing that waits.

pub mod backoff;
pub mod balance;
pub mod breaker;
pub mod budget;
pub(crate) mod clock;
pub mod hop;
pub mod phi;
pub mod sign;
pub mod verdict;
