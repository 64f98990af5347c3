//! The gateway: sockets, TLS, limits against slow and greedy clients, and who is calling; it knows no routes.
//!
//! A connection costs one task and no timer: its state is a handful of atomics which one watch task looks over four times
//! a second, so that a request pays nothing for the limits it stays within.

mod body;
mod clock;
mod connection;
mod keyring;
mod keys;
mod limits;
mod listen;
mod room;
mod tls;
mod token;

pub use body::{Body, BodyError, BoxError, Collected, collect, data_at_hand, discard, next_data};
pub use clock::now_us;
pub use connection::{Guard, Seen};
pub use keyring::{Caller, KeyRing};
pub use keys::{Key, Keys, KeysError, Role};
pub use limits::{BUFFER_BYTES_MAX, Limits};
pub use listen::{Exchange, Handler, Listener, Stop};
pub use room::{BodyRoom, Held};
pub use tls::{TlsError, TlsServer};
pub use token::{TOKEN_PREFIX, Token, TokenHash};
