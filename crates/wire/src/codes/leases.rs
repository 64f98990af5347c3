//! The rows of the codes of leases.

use words::Outcome;

use super::table::grpc;
use super::{Code, EXIT_REFUSED, Retry, Row};

/// In the order of their numbers.
pub(super) const ROWS: [Row; 3] = [
    Row {
        code: Code::LeaseHeld,
        text: "lease-held",
        status: 409,
        grpc: grpc::ABORTED,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The lease is held",
        meaning: "As many hold the lease as may, and none of them made room for as long as the caller waited in line: until \
                 shortly before the request's deadline, or for `wait_ms`.",
        remedy: "Ask again under a new key, with a longer deadline if that is worth waiting for. The answer says when the \
                 first holder's time is over, unless it is renewed.",
    },
    Row {
        code: Code::LeaseLost,
        text: "lease-lost",
        status: 409,
        grpc: grpc::FAILED_PRECONDITION,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The lease is not held under this token",
        meaning: "The token was in force once, or never: its time is over, or it was released. Somebody else may hold the \
                 lease.",
        remedy: "Stop at once whatever the lease was held for, and acquire it anew if it is still wanted. The token that \
                 comes with that is a greater one.",
    },
    Row {
        code: Code::LeaseCapacity,
        text: "lease-capacity-mismatch",
        status: 409,
        grpc: grpc::FAILED_PRECONDITION,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The lease has another capacity",
        meaning: "The lease is in use, and whoever used it first said that another number may hold it at a time. It keeps \
                 that number until nobody holds it or waits for it.",
        remedy: "Let all who use the lease ask for the same `capacity`; without one it is 1.",
    },
];
