//! The outbox of one life of the server: what is being performed, on behalf of which attempt.
//!
//! It keeps nothing: what it was performing when its process died is found again by the next leader's claim.

use std::collections::BTreeMap;
use std::time::Duration;

use call::BudgetSettings;
use call::core::budget::{Budget, Token};
use cell::Evaluation;
use machine::{Body, Finding, Op, Phase, Record, Tried, encode_head};
use words::Stamp;

use crate::canary::Canary;
use crate::courier::Courier;
use crate::receiver::Said;

/// The floors of later attempts in any 10 s, at each receiver and at all: lower than the product's, so that few calls reach
/// them.
pub(crate) const AGAIN_FLOOR: u32 = 4;
pub(crate) const AGAIN_FLOOR_ALL: u32 = 8;

/// An attempt under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Attempt {
    pub(crate) call: u64,
    pub(crate) attempt: u32,
    pub(crate) phase: Phase,
    /// The operation's key, which each request for it carries.
    pub(crate) key: String,
    pub(crate) receiver: usize,
    /// Requests sent so far.
    pub(crate) tries: u32,
    pub(crate) tries_max: u32,
    pub(crate) can_compensate: bool,
    /// Whether it does a step of a run: past its pivot the run asks again, whatever is refused.
    pub(crate) is_step: bool,
    /// The request that is waited for; `None` between two tries.
    pub(crate) waits_for: Option<u64>,
    /// When the budget granted the next try, if it is not the first.
    pub(crate) retry_granted_us: Option<u64>,
    /// The next try is the first one of a later attempt, which had its turn.
    pub(crate) is_in_turn: bool,
}

/// The turn that a later attempt had.
#[derive(Debug)]
struct Turn {
    token: Token,
    /// The request it was taken for.
    request: u64,
}

/// A result on its way into the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    pub(crate) command: Vec<u8>,
    /// The subscription whose deliveries it tells of.
    pub(crate) confirms: Option<u64>,
}

/// What is done after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// The attempt is over.
    Over(Finding),
    /// It certainly did nothing, and is tried again in so many microseconds.
    Again { in_us: u64 },
}

/// What is being performed in one life of the server.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) attempts: BTreeMap<u64, Attempt>,
    /// Results on their way into the log, by the write that carries each.
    pub(crate) reports: BTreeMap<u64, Report>,
    /// Steps that are being computed.
    pub(crate) evaluations: BTreeMap<u64, Box<Evaluation>>,
    /// Who delivers for each subscription.
    pub(crate) couriers: BTreeMap<u64, Courier>,
    budgets: Vec<Budget>,
    process: Budget,
    /// By the attempt that had it.
    turns: BTreeMap<u64, Turn>,
}

impl Outbox {
    pub(crate) fn new(receivers: usize) -> Self {
        let budget = |floor_again| Budget::new(BudgetSettings { floor_again, ..BudgetSettings::default() });
        Self {
            attempts: BTreeMap::new(),
            reports: BTreeMap::new(),
            evaluations: BTreeMap::new(),
            couriers: BTreeMap::new(),
            budgets: (0..receivers).map(|_| budget(AGAIN_FLOOR)).collect(),
            process: budget(AGAIN_FLOOR_ALL),
            turns: BTreeMap::new(),
        }
    }

    /// A first try begins.
    pub(crate) fn first(&self, receiver: usize, time_us: u64) {
        let now = Duration::from_micros(time_us);
        self.budgets[receiver].first(now);
        self.process.first(now);
    }

    /// Takes a turn for a later attempt, whose first request is to be `request`, if there is room.
    pub(crate) fn take_turn(&mut self, id: u64, receiver: usize, request: u64, time_us: u64) -> bool {
        let token = self.budgets[receiver].withdraw_again(&self.process, Duration::from_micros(time_us));
        let is_taken = token.is_some();
        self.turns.extend(token.map(|token| (id, Turn { token, request })));
        is_taken
    }

    /// An attempt is over: its turn, if it had one, comes back if the finding settles what it was about. Gives the request
    /// that then counts as if it had not been made.
    pub(crate) fn end_turn(&mut self, id: u64, attempt: &Attempt, finding: Finding) -> Option<u64> {
        let Turn { token, request } = self.turns.remove(&id)?;
        let settles = finding == Finding::Committed || finding == Finding::Refused && !attempt.is_step;
        if !settles {
            return None;
        }
        self.budgets[attempt.receiver].give_back(&self.process, token);
        Some(request)
    }

    /// What an answer to the newest try means, and what follows.
    pub(crate) fn hear(&mut self, id: u64, said: Said, time_us: u64, jitter: u64, canary: Option<Canary>) -> Heard {
        let attempt = self.attempts.get_mut(&id).expect("the world looked");
        attempt.waits_for = None;
        let finding = finding(attempt.phase, said, canary);
        if finding != Finding::NotDone || attempt.tries >= attempt.tries_max {
            return Heard::Over(finding);
        }
        let now = Duration::from_micros(time_us);
        let granted = self.budgets[attempt.receiver].withdraw(&self.process, now);
        if !granted && canary != Some(Canary::BudgetNotWithdrawn) {
            return Heard::Over(finding);
        }
        attempt.retry_granted_us = Some(time_us);
        let bound_us = ((1 << attempt.tries.min(6)) - 1) * 25_000;
        Heard::Again { in_us: 1 + jitter % bound_us }
    }
}

impl Report {
    /// Of what concerns no subscription.
    pub(crate) const fn of(command: Vec<u8>) -> Self {
        Self { command, confirms: None }
    }
}

impl Attempt {
    /// What the work names, and its accepted record says.
    pub(crate) fn of(call: u64, attempt: u32, phase: Phase, accepted: &[u8]) -> Self {
        let record = Record::decode(accepted).expect("the cell read it from its archive");
        let Body::CallAccepted(body) = record.body else { unreachable!("a call begins with its acceptance") };
        let receiver = body.order.url.rsplit('-').next().and_then(|n| n.parse().ok());
        Self {
            call,
            attempt,
            phase,
            key: record.key.to_owned(),
            receiver: receiver.expect("clients call receivers by their number"),
            tries: 0,
            tries_max: body.order.tries_max,
            can_compensate: !body.order.compensation.is_empty(),
            is_step: body.owner.is_some_and(|owner| !owner.compensates),
            waits_for: None,
            retry_granted_us: None,
            is_in_turn: false,
        }
    }

    /// The command that tells what came of it.
    pub(crate) fn report(&self, finding: Finding, retry_after_ms: u64) -> Vec<u8> {
        let mut command = Vec::new();
        encode_head(&mut command, Stamp::ZERO, "", "");
        let status = match finding {
            Finding::Committed => 200,
            Finding::Refused => 409,
            Finding::NotDone => 503,
            Finding::StillAtIt => 425,
            Finding::Uncertain | Finding::Unasked => 0,
        };
        Op::Tried(Tried {
            headers: "",
            call: self.call,
            attempt: self.attempt,
            finding,
            evidence: finding.as_str(),
            tries: self.tries,
            status,
            content_type: "text/plain",
            body: self.key.as_bytes(),
            is_cut: false,
            retry_after_ms,
        })
        .encode(&mut command);
        command
    }
}

/// What an answer means, by what was asked.
fn finding(phase: Phase, said: Said, canary: Option<Canary>) -> Finding {
    match said {
        Said::Done => Finding::Committed,
        Said::Refused | Said::Barred => Finding::Refused,
        // To a probe it is no answer: what was sent may still arrive.
        Said::Unknown if canary == Some(Canary::UnknownIsNotDone) => Finding::Refused,
        Said::Unknown if phase == Phase::Probe => Finding::Uncertain,
        Said::Unknown => Finding::Refused,
        Said::StillAtIt => Finding::StillAtIt,
        Said::Shed | Said::Down => Finding::NotDone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_says_nothing_to_a_probe() {
        assert_eq!(finding(Phase::Probe, Said::Unknown, None), Finding::Uncertain);
        assert_eq!(finding(Phase::Probe, Said::Barred, None), Finding::Refused);
        assert_eq!(finding(Phase::Call, Said::Down, None), Finding::NotDone);
    }
}
