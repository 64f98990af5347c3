//! The codes of runs that have ended, other than as done.

use words::Outcome;

use super::table::grpc;
use super::{Code, EXIT_REFUSED, EXIT_UNCERTAIN, Retry, Row};

/// The codes after those of effects, in the order of their numbers.
pub(super) const ROWS: [Row; 2] = [
    Row {
        code: Code::RunCompensated,
        text: "run-compensated",
        status: 409,
        grpc: grpc::ABORTED,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The run was undone",
        meaning: "The run could not be finished, and all that it had done is undone. `run` says why, and its path says what \
                 became of each step.",
        remedy: "Read the run, correct what failed, and start another under a new key.",
    },
    Row {
        code: Code::RunEscalated,
        text: "run-escalated",
        status: 409,
        grpc: grpc::UNKNOWN,
        outcome: Outcome::Uncertain,
        exit: EXIT_UNCERTAIN,
        retry: Retry::OnlySameKey,
        title: "A person has the run's next move",
        meaning: "The run ended before it was done, and not everything that it did is undone: a step is uncertain, cannot be \
                 undone, or lies past the pivot. `run` says why, and its path says how each step stands.",
        remedy: "Read the run, settle what it lists as uncertain or escalated, and restart it from a step where it goes \
                 forward. Its end after a restart is found under the same key.",
    },
];
