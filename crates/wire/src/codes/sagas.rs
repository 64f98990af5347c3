//! The codes of sagas and runs.

use words::Outcome;

use super::table::grpc;
use super::{Code, EXIT_REFUSED, Retry, Row};

/// The codes after those of topics, in the order of their numbers.
pub(super) const ROWS: [Row; 5] = [
    Row {
        code: Code::SagaNotFound,
        text: "saga-not-found",
        status: 404,
        grpc: grpc::NOT_FOUND,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "There is no such saga",
        meaning: "No saga of this name is defined.",
        remedy: "Check the name, or define the saga first.",
    },
    Row {
        code: Code::RunNotFound,
        text: "run-not-found",
        status: 404,
        grpc: grpc::NOT_FOUND,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "There is no such run",
        meaning: "No run was ever started under this id.",
        remedy: "Check the id: it is in the answer to the run's start.",
    },
    Row {
        code: Code::RunState,
        text: "run-not-possible",
        status: 409,
        grpc: grpc::FAILED_PRECONDITION,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The run is in no state for this",
        meaning: "A run that has ended cannot be cancelled, paused or resumed, one that goes back cannot be paused, and \
                  only one that was escalated on its way forward can be restarted.",
        remedy: "Read the run, and do what its state allows.",
    },
    Row {
        code: Code::RunPastPivot,
        text: "run-past-pivot",
        status: 409,
        grpc: grpc::FAILED_PRECONDITION,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The run goes only forward",
        meaning: "The run's pivot is done, and not all that is done may be undone after it.",
        remedy: "Let the run go on: it tries again what fails, until its deadline. To be able to undo a step even then, \
                 say so in its definition with `compensate_after_pivot`.",
    },
    Row {
        code: Code::StepNotFound,
        text: "step-not-found",
        status: 404,
        grpc: grpc::NOT_FOUND,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "There is no such step",
        meaning: "The run's saga, as it was defined when the run started, has no step of this name.",
        remedy: "Read the run: it lists its steps.",
    },
];
