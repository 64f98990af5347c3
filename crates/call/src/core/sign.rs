//! What the end of a call says about the endpoint's health, which is another question than what became of the call.

use http::{Response, StatusCode};

use super::verdict::{Cut, Evidence};

/// What a breaker and a balancer learn from one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// It answered as it should, a refusal included.
    Good,
    /// It asked for less: 429. A failure in the ratio, but no failure in a row.
    Throttled,
    /// It failed.
    Bad,
    /// Nothing: the attempt never left, by our own decision, or was given up.
    None,
}

/// Of whatever came of an attempt.
pub fn of<B>(result: &Result<Response<B>, Evidence>) -> Sign {
    match result {
        Err(evidence) => of_evidence(evidence),
        Ok(answer) => match answer.extensions().get() {
            Some(Cut::TimedOut | Cut::BrokeOff) => Sign::Bad,
            Some(Cut::TooLarge { .. }) | None => of_status(answer.status()),
        },
    }
}

/// Of a status.
pub fn of_status(status: StatusCode) -> Sign {
    match status.as_u16() {
        429 => Sign::Throttled,
        500.. => Sign::Bad,
        _ => Sign::Good,
    }
}

/// Of what was seen instead of an answer.
pub fn of_evidence(evidence: &Evidence) -> Sign {
    match evidence {
        Evidence::Answered { status, .. } => of_status(*status),
        Evidence::PeerSaid { status, .. } => of_status(*status),
        Evidence::GrpcStatus { .. } => Sign::Good,
        Evidence::DeadlinePassed
        | Evidence::LimitReached
        | Evidence::CircuitOpen
        | Evidence::RequestInvalid(_)
        | Evidence::NameNotResolved(_)
        | Evidence::AddressRefused(_)
        | Evidence::Abandoned => Sign::None,
        Evidence::ConnectFailed(_)
        | Evidence::ConnectTimedOut
        | Evidence::TlsFailed(_)
        | Evidence::NothingWritten
        | Evidence::HandedBack
        | Evidence::StreamRefused
        | Evidence::AboveGoaway
        | Evidence::TimedOut { .. }
        | Evidence::TimedOutShared
        | Evidence::Closed { .. }
        | Evidence::Broken { .. }
        | Evidence::Malformed { .. }
        | Evidence::StreamReset { .. } => Sign::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        for (status, sign) in [
            (200, Sign::Good),
            (302, Sign::Good),
            (404, Sign::Good),
            (409, Sign::Good),
            (429, Sign::Throttled),
            (500, Sign::Bad),
            (503, Sign::Bad),
            (599, Sign::Bad),
        ] {
            assert_eq!(of_status(StatusCode::from_u16(status).unwrap()), sign, "{status}");
        }
    }

    #[test]
    fn our_own_rejections_never_count() {
        for evidence in [Evidence::DeadlinePassed, Evidence::LimitReached, Evidence::CircuitOpen] {
            assert_eq!(of_evidence(&evidence), Sign::None, "{evidence}");
        }
    }
}
