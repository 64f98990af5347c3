//! The verdict on one attempt: committed, refused, still at it, certainly not done, or uncertain; always on evidence.
//!
//! The table stands in three functions: [`of_answer`] for what a handler's answer means, [`Evidence::verdict`] for what was
//! seen instead of an answer, and [`settle`] for what the last attempt says of those before it.

use std::fmt;
use std::io::ErrorKind;

use http::{HeaderMap, StatusCode};
use words::Outcome;

/// What became of an attempt, or of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It happened.
    Committed,
    /// The receiver decided against it.
    Refused,
    /// The receiver has it and is still at it (425): ask again with the same key.
    StillAtIt,
    /// It is certain that nothing was done.
    NotDone(Evidence),
    /// Nobody knows.
    Uncertain(Evidence),
}

impl Verdict {
    /// As one of the three outcomes. Certain not to have happened is a refusal: the same key may be tried again.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Committed => Outcome::Committed,
            Self::Refused | Self::NotDone(_) => Outcome::Refused,
            Self::StillAtIt | Self::Uncertain(_) => Outcome::Uncertain,
        }
    }

    /// Whether nobody knows yet.
    pub const fn is_open(&self) -> bool {
        matches!(self.outcome(), Outcome::Uncertain)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed => f.write_str("committed"),
            Self::Refused => f.write_str("refused"),
            Self::StillAtIt => f.write_str("still at it"),
            Self::NotDone(evidence) => write!(f, "not done: {evidence}"),
            Self::Uncertain(evidence) => write!(f, "uncertain: {evidence}"),
        }
    }
}

/// What was seen of one attempt. It is also the error of every layer here: what there is instead of a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// A response head came. Its body may not have come whole.
    Answered {
        /// The status.
        status: StatusCode,
        /// Why the body is not whole, if it is not.
        cut: Option<Cut>,
    },
    /// A peer declared to be trusted named the outcome itself, in `Tertium-Outcome`.
    PeerSaid {
        /// The status beside it.
        status: StatusCode,
        /// What it said.
        outcome: Outcome,
    },
    /// An answer over gRPC, with its `grpc-status`; `None` if it had none.
    GrpcStatus {
        /// The number.
        code: Option<u32>,
    },
    /// The deadline left no time for the attempt, which was not begun.
    DeadlinePassed,
    /// The bound on concurrent calls was reached.
    LimitReached,
    /// The breakers of all endpoints that could be asked are open.
    CircuitOpen,
    /// The request cannot be sent at all.
    RequestInvalid(&'static str),
    /// No address for the name.
    NameNotResolved(Box<str>),
    /// The address policy refused every address.
    AddressRefused(Box<str>),
    /// No connection.
    ConnectFailed(ErrorKind),
    /// No connection, or no TLS on it, before the deadline or the bound on connecting.
    ConnectTimedOut,
    /// No TLS on the connection, or not the protocol that was wanted.
    TlsFailed(Box<str>),
    /// The connection broke, and not one byte of the request had been written to it.
    NothingWritten,
    /// The connection was gone before it took the request, and handed it back.
    HandedBack,
    /// HTTP/2 `REFUSED_STREAM` (RFC 9113, section 8.7).
    StreamRefused,
    /// An HTTP/2 stream above the last one that `GOAWAY` names (RFC 9113, section 6.8).
    AboveGoaway,
    /// No answer before the deadline.
    TimedOut {
        /// Of this request.
        bytes_written: u64,
    },
    /// No answer before the deadline, over a connection that other calls use on: what had not left yet still might.
    TimedOutShared,
    /// Closed without an answer.
    Closed {
        /// Of this request; over HTTP/2 of all requests of the connection meanwhile.
        bytes_written: u64,
    },
    /// Broken without an answer: reset, or another error of the operating system.
    Broken {
        /// What it reported.
        kind: ErrorKind,
        /// As above.
        bytes_written: u64,
    },
    /// What came is not HTTP.
    Malformed {
        /// As above.
        bytes_written: u64,
    },
    /// The peer reset the HTTP/2 stream.
    StreamReset {
        /// The error code, RFC 9113, section 7.
        code: u32,
    },
    /// We stopped waiting: the caller went away, or another attempt was faster.
    Abandoned,
}

/// Why the body of an answer is not whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// It is larger than the limit.
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// It had not come whole at the deadline.
    TimedOut,
    /// The connection broke in the middle.
    BrokeOff,
}

impl Evidence {
    /// What it proves. The right column of the table of everything but answers.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::DeadlinePassed
            | Self::LimitReached
            | Self::CircuitOpen
            | Self::RequestInvalid(_)
            | Self::NameNotResolved(_)
            | Self::AddressRefused(_)
            | Self::ConnectFailed(_)
            | Self::ConnectTimedOut
            | Self::TlsFailed(_)
            | Self::NothingWritten
            | Self::HandedBack
            | Self::StreamRefused
            | Self::AboveGoaway
            | Self::TimedOut { bytes_written: 0 }
            | Self::Closed { bytes_written: 0 }
            | Self::Broken { bytes_written: 0, .. } => Verdict::NotDone(self),
            // A bare answer is judged by its table; without one nothing is known of it.
            Self::Answered { .. }
            | Self::PeerSaid { .. }
            | Self::GrpcStatus { .. }
            | Self::TimedOut { .. }
            | Self::TimedOutShared
            | Self::Closed { .. }
            | Self::Broken { .. }
            | Self::Malformed { .. }
            | Self::StreamReset { .. }
            | Self::Abandoned => Verdict::Uncertain(self),
        }
    }
}

/// What a destination declares its answers to mean, where the table leaves it open.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Meanings {
    /// Statuses that prove that nothing was done: some of 408, 429 and 5xx. Default none.
    pub not_done: NotDone,
    /// Whether `Tertium-Outcome` on its answers is believed. Default no.
    pub outcome_trusted: bool,
}

/// A set of the statuses that can be declared to mean *not done*: 408, 429 and 5xx.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NotDone(u128);

impl NotDone {
    /// The set of those.
    ///
    /// # Errors
    /// The first status that cannot be declared so.
    pub fn new(statuses: &[u16]) -> Result<Self, u16> {
        let mut bits = 0;
        for status in statuses {
            bits |= 1 << Self::bit(*status).ok_or(*status)?;
        }
        Ok(Self(bits))
    }

    /// Whether it is in the set.
    pub fn contains(self, status: StatusCode) -> bool {
        Self::bit(status.as_u16()).is_some_and(|bit| self.0 >> bit & 1 == 1)
    }

    fn bit(status: u16) -> Option<u32> {
        match status {
            408 => Some(0),
            429 => Some(1),
            500..=599 => Some(u32::from(status) - 498),
            _ => None,
        }
    }
}

/// What a handler's answer means: one table, the same everywhere.
pub fn of_answer(
    status: StatusCode,
    headers: &HeaderMap,
    trailers: Option<&HeaderMap>,
    cut: Option<Cut>,
    meanings: Meanings,
) -> Verdict {
    if meanings.outcome_trusted
        && let Some(outcome) = text(headers, "tertium-outcome").and_then(Outcome::parse)
    {
        let evidence = Evidence::PeerSaid { status, outcome };
        return match (outcome, status.as_u16()) {
            (Outcome::Committed, _) => Verdict::Committed,
            // Turned away before anything was decided; every other refusal is a decision.
            (Outcome::Refused, 408 | 429 | 500..) => Verdict::NotDone(evidence),
            (Outcome::Refused, _) => Verdict::Refused,
            (Outcome::Uncertain, 425) => Verdict::StillAtIt,
            (Outcome::Uncertain, _) => Verdict::Uncertain(evidence),
        };
    }
    if status.is_success() && text(headers, "content-type").is_some_and(|kind| kind.starts_with("application/grpc")) {
        return of_grpc(trailers.and_then(|t| text(t, "grpc-status")).or_else(|| text(headers, "grpc-status")));
    }
    let evidence = Evidence::Answered { status, cut };
    match status.as_u16() {
        200..=299 => Verdict::Committed,
        425 => Verdict::StillAtIt,
        _ if meanings.not_done.contains(status) => Verdict::NotDone(evidence),
        408 | 429 => Verdict::Uncertain(evidence),
        400..=499 => Verdict::Refused,
        _ => Verdict::Uncertain(evidence),
    }
}

/// gRPC has its own statuses inside a 200; those that its HTTP mapping tells as 4xx refuse.
fn of_grpc(status: Option<&str>) -> Verdict {
    let code = status.and_then(|text| text.parse().ok());
    match code {
        Some(0) => Verdict::Committed,
        // Invalid argument, not found, exists, permission denied, failed precondition, aborted, out of range,
        // unimplemented, unauthenticated.
        Some(3 | 5 | 6 | 7 | 9 | 10 | 11 | 12 | 16) => Verdict::Refused,
        _ => Verdict::Uncertain(Evidence::GrpcStatus { code }),
    }
}

/// What a call's verdict is after another attempt, given what was open before it.
///
/// Attempts after an open one carry the same key, so that the receiver's answer is the answer to all of them. Not so where
/// it is given before any handler looks at a key: then it speaks of this attempt alone, and the call stays open.
pub fn settle(open: Option<Verdict>, last: Verdict, status: Option<StatusCode>) -> Verdict {
    let Some(open) = open else { return last };
    match last {
        Verdict::NotDone(_) => open,
        Verdict::Refused if status.is_none_or(|status| OF_ONE_ATTEMPT.contains(&status.as_u16())) => open,
        settled => settled,
    }
}

/// Refusals at the door, and 409, which receivers also answer while the first request with that key is under way
/// (draft-ietf-httpapi-idempotency-key-header, section 2.7).
const OF_ONE_ATTEMPT: [u16; 8] = [401, 403, 407, 409, 413, 414, 421, 431];

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, cut: None } => write!(f, "answered {}", status.as_u16()),
            Self::Answered { status, cut: Some(cut) } => write!(f, "answered {}, {cut}", status.as_u16()),
            Self::PeerSaid { status, outcome } => write!(f, "the peer said {outcome} with {}", status.as_u16()),
            Self::GrpcStatus { code: Some(code) } => write!(f, "answered with gRPC status {code}"),
            Self::GrpcStatus { code: None } => f.write_str("answered without a gRPC status"),
            Self::DeadlinePassed => f.write_str("the deadline left no time for it"),
            Self::LimitReached => f.write_str("the bound on concurrent calls is reached"),
            Self::CircuitOpen => f.write_str("the circuit breaker is open"),
            Self::RequestInvalid(what) => write!(f, "the request cannot be sent: {what}"),
            Self::NameNotResolved(host) => write!(f, "no address for {host}"),
            Self::AddressRefused(what) => write!(f, "the address policy refused {what}"),
            Self::ConnectFailed(kind) => write!(f, "no connection: {kind}"),
            Self::ConnectTimedOut => f.write_str("no connection in time"),
            Self::TlsFailed(what) => write!(f, "no TLS: {what}"),
            Self::NothingWritten => f.write_str("the connection broke before a byte was written"),
            Self::HandedBack => f.write_str("the connection was gone and handed the request back"),
            Self::StreamRefused => f.write_str("the HTTP/2 stream was refused"),
            Self::AboveGoaway => f.write_str("the HTTP/2 stream is above the last one of GOAWAY"),
            Self::TimedOut { bytes_written } => write!(f, "no answer in time after {bytes_written} bytes were written"),
            Self::TimedOutShared => f.write_str("no answer in time over a shared connection"),
            Self::Closed { bytes_written } => write!(f, "closed after {bytes_written} bytes were written"),
            Self::Broken { kind, bytes_written } => write!(f, "{kind} after {bytes_written} bytes were written"),
            Self::Malformed { bytes_written } => {
                write!(f, "not an HTTP answer, after {bytes_written} bytes were written")
            }
            Self::StreamReset { code } => write!(f, "the HTTP/2 stream was reset with code {code}"),
            Self::Abandoned => f.write_str("given up while it was under way"),
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes_max } => write!(f, "with a body over {bytes_max} bytes"),
            Self::TimedOut => f.write_str("but the body did not come whole in time"),
            Self::BrokeOff => f.write_str("but the body broke off"),
        }
    }
}

impl std::error::Error for Evidence {}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn word(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Committed => "committed",
            Verdict::Refused => "refused",
            Verdict::StillAtIt => "still at it",
            Verdict::NotDone(_) => "not done",
            Verdict::Uncertain(_) => "uncertain",
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[track_caller]
    fn check(status: u16, undeclared: &str, declared: &str) {
        let judge = |meanings| {
            let status = StatusCode::from_u16(status).unwrap();
            word(&of_answer(status, &HeaderMap::new(), None, None, meanings))
        };
        let all: Vec<u16> = [408, 429].into_iter().chain(500..600).collect();
        let not_done = NotDone::new(&all).unwrap();
        assert_eq!(judge(Meanings::default()), undeclared, "{status}");
        assert_eq!(judge(Meanings { not_done, outcome_trusted: true }), declared, "{status}, declared");
    }

    #[test]
    fn every_status() {
        for status in 200..300 {
            check(status, "committed", "committed");
        }
        for status in (100..200).chain(300..400).chain(600..1000) {
            check(status, "uncertain", "uncertain");
        }
        for status in (400..500).filter(|s| ![408, 425, 429].contains(s)) {
            check(status, "refused", "refused");
        }
        check(425, "still at it", "still at it");
        for status in [408, 429].into_iter().chain(500..600) {
            check(status, "uncertain", "not done");
        }
    }

    #[test]
    fn only_some_statuses_can_be_declared() {
        assert_eq!(NotDone::new(&[503, 200]), Err(200));
        assert_eq!(NotDone::new(&[404]), Err(404));
        let set = NotDone::new(&[503]).unwrap();
        assert!(set.contains(StatusCode::SERVICE_UNAVAILABLE) && !set.contains(StatusCode::TOO_MANY_REQUESTS));
    }

    #[test]
    fn what_a_peer_says_counts_if_it_is_trusted() {
        for (status, said, trusted, untrusted) in [
            (503, "refused", "not done", "uncertain"),
            (504, "refused", "not done", "uncertain"),
            (429, "refused", "not done", "uncertain"),
            (422, "refused", "refused", "refused"),
            (504, "uncertain", "uncertain", "uncertain"),
            (409, "committed", "committed", "refused"),
            (200, "uncertain", "uncertain", "committed"),
            (500, "perhaps", "uncertain", "uncertain"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let headers = headers(&[("tertium-outcome", said)]);
            for (outcome_trusted, expected) in [(true, trusted), (false, untrusted)] {
                let meanings = Meanings { outcome_trusted, ..Meanings::default() };
                assert_eq!(word(&of_answer(status, &headers, None, None, meanings)), expected, "{status} {said}");
            }
        }
    }

    #[test]
    fn grpc_statuses() {
        let grpc = headers(&[("content-type", "application/grpc+proto")]);
        for (status, expected) in
            [("0", "committed"), ("9", "refused"), ("14", "uncertain"), ("2", "uncertain"), ("x", "uncertain")]
        {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            let judged = of_answer(StatusCode::OK, &grpc, Some(&trailers), None, Meanings::default());
            assert_eq!(word(&judged), expected, "{status}");
        }
        assert_eq!(word(&of_answer(StatusCode::OK, &grpc, None, None, Meanings::default())), "uncertain");
    }

    #[test]
    fn an_open_attempt_is_closed_only_by_an_answer_to_the_key() {
        let open = Verdict::Uncertain(Evidence::TimedOut { bytes_written: 9 });
        let not_done = Verdict::NotDone(Evidence::HandedBack);
        for (last, status, settled) in [
            (Verdict::Committed, Some(200), Verdict::Committed),
            (Verdict::Refused, Some(422), Verdict::Refused),
            (Verdict::Refused, Some(409), open.clone()),
            (Verdict::Refused, Some(401), open.clone()),
            (Verdict::StillAtIt, Some(425), Verdict::StillAtIt),
            (not_done.clone(), None, open.clone()),
        ] {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            assert_eq!(settle(Some(open.clone()), last.clone(), status), settled);
            assert_eq!(settle(None, last.clone(), status), last);
        }
    }
}
