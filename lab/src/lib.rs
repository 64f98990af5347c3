//! The lab: PostgreSQL with two standbys and three nodes, each on a machine of its own that is none, to be broken on purpose.
//!
//! Each host is a network namespace on this machine. All of them hang on one bridge, in a namespace too, so that nothing of the
//! machine's own network is touched, and nothing is left of it when the lab ends.

pub mod certificates;
pub mod command;
pub mod database;
pub mod host;
pub mod lab;
pub mod network;
pub mod node;

pub use command::{Command, CommandError, HELP};
pub use host::Host;
pub use lab::{Lab, Options};
