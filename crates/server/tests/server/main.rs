//! The contract, checked through a real socket: each test has a server, a directory and a port of its own.

mod bad_input;
mod calls;
mod contract;
mod edges;
mod grpc;
mod grpc_calls;
mod grpc_leases;
mod grpc_sagas;
mod grpc_topics;
mod guard;
mod kit;
mod leases;
mod ledger;
mod pages;
mod reads;
mod saga_calls;
mod saga_input;
mod sagas;
mod secrets;
mod streams;
mod topics;
mod trouble;
mod webhooks;
