//! The codes of topics and subscriptions.

use words::Outcome;

use super::table::grpc;
use super::{Code, EXIT_REFUSED, Retry, Row};

/// The codes after those of the ledger, in the order of their numbers.
pub(super) const ROWS: [Row; 5] = [
    Row {
        code: Code::TopicNotFound,
        text: "topic-not-found",
        status: 404,
        grpc: grpc::NOT_FOUND,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::Later,
        title: "There is no such topic",
        meaning: "Nothing was ever published in a topic of this name.",
        remedy: "Check the name. A topic begins with the first event that is published in it.",
    },
    Row {
        code: Code::TopicReserved,
        text: "topic-reserved",
        status: 403,
        grpc: grpc::PERMISSION_DENIED,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "The topic is the server's own",
        meaning: "The topic `ledger` and all whose names begin with `tertium.` are published by the server alone.",
        remedy: "Publish in a topic of another name.",
    },
    Row {
        code: Code::LimitReached,
        text: "limit-reached",
        status: 409,
        grpc: grpc::RESOURCE_EXHAUSTED,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "There are as many as there may be",
        meaning: "A cell has a most of topics, subscriptions and sagas, and this would be one more.",
        remedy: "Use one that is there, or remove a subscription that nobody needs. What differs between events of one \
                 kind belongs into their key or their subject rather than into the name of a topic.",
    },
    Row {
        code: Code::SubscriptionNotFound,
        text: "subscription-not-found",
        status: 404,
        grpc: grpc::NOT_FOUND,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "There is no such subscription",
        meaning: "There is no subscription of this name, or it was removed.",
        remedy: "Check the name, or make the subscription first.",
    },
    Row {
        code: Code::DeadLetterNotFound,
        text: "dead-letter-not-found",
        status: 404,
        grpc: grpc::NOT_FOUND,
        outcome: Outcome::Refused,
        exit: EXIT_REFUSED,
        retry: Retry::NewKey,
        title: "There is no such dead letter",
        meaning: "The event at this offset was not given up for the subscription, or a person has dealt with it since.",
        remedy: "List the subscription's dead letters, and name one of them.",
    },
];
