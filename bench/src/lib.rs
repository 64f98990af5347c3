//! Measures the server against its figures and tortures the real thing: load, relay, kills, power cuts, retail replay.
//!
//! Everything here meets the server as a stranger does, through its sockets and its process, and knows the contract
//! only.

pub mod accidents;
pub mod call;
pub mod facts;
pub mod figures;
pub mod handler;
pub mod http;
pub mod load;
pub mod ndjson;
pub mod postgres;
pub mod probe;
pub mod process;
pub mod relay;
pub mod retail;
pub mod shop;
pub mod storm;
pub mod stream;
pub mod workload;
