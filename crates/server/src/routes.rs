//! What each route does.

mod calls;
mod follow;
mod judge;
mod leases;
mod operations;
mod pages;
mod reads;
mod sagas;
mod stream;
mod topics;
mod writes;

pub(crate) use follow::{Begun, Follower, LAST_EVENT_ID};
pub(crate) use operations::with_operation;
pub(crate) use reads::read;
pub(crate) use reads::{Fresh, no_transfer, problem_of_read, view_of};
pub(crate) use writes::{collect, problem_of_body, write};
