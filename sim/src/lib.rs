//! The simulator: the real machine, cell, log and archive over a simulated disk, clock, network, clients and receivers.
//!
//! One thread, one heap of events ordered by (time, sequence), one random stream per concern: the same seed gives the
//! same trace, byte for byte. Each seed draws which faults exist (after Groce et al., "Swarm Testing", 2012), lets them
//! act, then heals and requires that everything comes to a definite end.

mod calls;
mod canary;
mod check;
mod client;
mod courier;
mod definitions;
mod evaluate;
mod events;
mod faults;
mod hook;
mod leases;
mod node;
mod outbox;
mod planted;
mod receiver;
mod report;
mod runs;
mod trace;
mod witness;
mod world;

pub use calls::CallCounts;
pub use canary::Canary;
pub use events::EventCounts;
pub use faults::{Fault, FaultCounts};
pub use leases::LeaseCounts;
pub use report::{Outcome, Summary};
pub use runs::RunCounts;
pub use world::{Settings, run};
