//! What strangers see: JSON, protobuf, packed frames, headers and one table of codes for them all, as pure functions.
//!
//! Bytes come in and become encoded commands for the machine; the machine's records come back and become bytes. Nothing
//! here does I/O, waits or reads a clock, no parser panics whatever it is given, and the same record always gives the
//! same answer.

pub mod answer;
pub mod call;
pub mod codes;
pub mod cursor;
pub mod event;
pub mod frames;
pub mod grpc;
pub mod headers;
pub mod instant;
pub mod json;
pub mod lease;
pub mod node;
pub mod openapi;
pub mod path;
pub mod problem;
pub mod proto;
pub mod query;
pub mod remedy;
pub mod request;
pub mod saga;
pub mod sse;
pub mod topic;
pub mod trace;
pub mod view;
pub mod webhook;

pub use answer::{Answer, Item, ItemVerdict, answer_of};
pub use codes::Code;
pub use problem::Problem;
