//! The code of requests that a web page may have made somebody's browser send.

use words::Outcome;

use super::table::grpc;
use super::{Code, EXIT_REFUSED, Retry, Row};

/// In the order of their numbers.
pub(super) const ROWS: [Row; 1] = [Row {
    code: Code::OriginNotAllowed,
    text: "origin-not-allowed",
    status: 403,
    grpc: grpc::PERMISSION_DENIED,
    outcome: Outcome::Refused,
    exit: EXIT_REFUSED,
    retry: Retry::Corrected,
    title: "The request may come from a web page",
    meaning: "This server asks nobody who they are, so it answers only what is sent to it by a name of this machine: `Host` \
             is `localhost` or a loopback address, and neither `Origin` nor `Sec-Fetch-Site` is that of a page from elsewhere.",
    remedy: "Send the request to `localhost` or `127.0.0.1`, or name the host in the setting `hosts`. Pages of other \
             origins need a service of their own in between, or a server with `authentication` on.",
}];
