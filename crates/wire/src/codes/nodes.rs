//! The codes of a cell whose log is not on its own machine.

use words::Outcome;

use super::table::grpc;
use super::{Code, EXIT_REFUSED, Retry, Row};

/// In the order of their numbers.
pub(super) const ROWS: [Row; 2] = [
    Row {
        code: Code::LogUnavailable,
        text: "log-unavailable",
        status: 503,
        grpc: grpc::UNAVAILABLE,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::Later,
        title: "The log could not be reached",
        meaning: "The connection to the log broke while the operation was appended. Since then the log was asked, and it is certain \
             that the operation is not in it and never will be.",
        remedy: "Send it again under the same key. If this comes often, look after the connection to the log and the log's server.",
    },
    Row {
        code: Code::NotLeader,
        text: "not-leader",
        status: 503,
        grpc: grpc::UNAVAILABLE,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::Later,
        title: "The node does not lead its cell",
        meaning: "Writes are decided by the node that leads the cell. This one follows, and could not pass the request on: nobody leads at \
             the moment, the leader is not reached, or the request is of a kind that is not passed on. Nothing happened.",
        remedy: "Send it again under the same key after a moment, here or to the leader that the detail names. `tertium nodes` shows who \
             leads.",
    },
];
