//! The rows of the codes that have to do with effects: what the server does outside.

use words::Outcome;

use super::table::grpc;
use super::{Code, EXIT_REFUSED, Retry, Row};

/// In the order of their numbers.
pub(super) const ROWS: [Row; 7] = [
    Row {
        code: Code::CallRefused,
        text: "call-refused",
        status: 422,
        grpc: grpc::FAILED_PRECONDITION,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The receiver refused the call",
        meaning: "The receiver answered that it does not do what it was asked for. `call` says what it answered.",
        remedy: "Correct what the receiver objects to, and make the call under a new key.",
    },
    Row {
        code: Code::CallNotDone,
        text: "call-not-done",
        status: 502,
        grpc: grpc::UNAVAILABLE,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The call was not done",
        meaning: "It is certain that the receiver did nothing: `call` says why (it could not be reached, it did not take the \
                 request, or it said so when it was asked).",
        remedy: "See that the receiver can be reached, and make the call under a new key.",
    },
    Row {
        code: Code::CallCompensated,
        text: "call-compensated",
        status: 409,
        grpc: grpc::ABORTED,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The call was undone",
        meaning: "Nobody knew whether the receiver had done it, and the declared compensation settled that: whatever was done \
                 is undone, and what was not done is barred.",
        remedy: "Make the call under a new key if it is still wanted.",
    },
    Row {
        code: Code::CallCancelled,
        text: "call-cancelled",
        status: 409,
        grpc: grpc::ABORTED,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The call counts as not done",
        meaning: "The call was uncertain for as long as it may be, and its caller declared that it then counts as not done. \
                 This is assumed, not known.",
        remedy: "Make sure that what the receiver may have done lapses by itself; make the call under a new key.",
    },
    Row {
        code: Code::NotUncertain,
        text: "not-uncertain",
        status: 409,
        grpc: grpc::FAILED_PRECONDITION,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The call is not uncertain",
        meaning: "There is no uncertain call of that id: it has come to a definite end, or there never was one.",
        remedy: "List what is uncertain, or ask for the operation under its key.",
    },
    Row {
        code: Code::DestinationNotAllowed,
        text: "destination-not-allowed",
        status: 403,
        grpc: grpc::PERMISSION_DENIED,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::Corrected,
        title: "The server does not call there",
        meaning: "The URL does not lead to a destination that this server may call: only those on its list, by http or https, \
                 without credentials in the URL.",
        remedy: "Have the destination added to `calls_allow` in the configuration of the server.",
    },
    Row {
        code: Code::CallUnderWay,
        text: "call-under-way",
        status: 409,
        grpc: grpc::FAILED_PRECONDITION,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "An attempt at the call is under way",
        meaning: "The call is uncertain, and the server is asking the receiver at this moment. What comes of that may be the \
                 opposite of what a person says, so nobody can end the call by hand until it is known.",
        remedy: "Wait until the attempt has ended, which takes no longer than the answer says; if the call is still uncertain, \
                 say so again under a new key.",
    },
];
