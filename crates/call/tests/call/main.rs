//! The whole stack against real sockets that misbehave, with executions counted at the receiver.

mod answers;
mod certain;
mod http2;
mod receiver;
mod spread;
mod storm;
mod tls;
mod tries;
mod uncertain;
