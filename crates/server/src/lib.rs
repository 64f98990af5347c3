//! Wiring and configuration: routes, gRPC, metrics and logs put together into a process that starts, serves and stops.

mod app;
mod call;
pub mod config;
mod grpc;
mod log;
mod logs;
mod metrics;
mod nodes;
mod origin;
mod respond;
mod route;
mod routes;
mod run;
mod trace;

pub use crate::log::{LOG_ID_FILE, open_log};
pub use run::{RunError, Running, run, start, start_on};
