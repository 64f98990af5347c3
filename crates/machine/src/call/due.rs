//! What time alone moves on: the next attempt, the way out, the end of an attempt that nobody reported.

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::effect::{Effect, Phase};
use crate::record::{Body, CallEnd, CallTried};
use crate::saga::Notice;
use crate::topic::TOPIC_ESCALATIONS;
use crate::topic::publish::publish_built_in;
use crate::turn::Turn;

use super::open::{OpenCall, State};
use super::order::{Finding, Tried};
use super::{end, next, tried};

/// How long one attempt may take at settling what is uncertain, in milliseconds.
const ATTEMPT_MS: u64 = 10_000;

/// `call` wakes.
pub(crate) fn wake<A: Archive>(turn: &mut Turn<'_, A>, call: u64) -> Result<(), ApplyError> {
    let open = turn.machine.calls.get(call).expect("what wakes is open");
    match open.state {
        State::Trying { .. } => tried::lost(turn, call, open),
        // Nothing new is done after the deadline, and nothing was done before it.
        State::Waiting { .. } if open.phase == Phase::Call && open.deadline <= turn.stamp => {
            let evidence = "its deadline passed before it could be tried again";
            let tried = Tried { finding: Finding::NotDone, evidence, ..nothing_tried(call, open) };
            end::end(turn, open, CallEnd::NotDone, &tried)
        }
        State::Waiting { .. } if is_past_bound(turn, open) => take_way_out(turn, call, open),
        State::Waiting { .. } => {
            try_again(turn, call, open);
            Ok(())
        }
        State::Escalated => unreachable!("a person is not woken"),
    }
}

/// To undo it is tried at least once, however late that is: what it finds then decides.
fn is_past_bound<A: Archive>(turn: &Turn<'_, A>, open: OpenCall) -> bool {
    open.phase != Phase::Compensate && open.bound().is_some_and(|bound| bound <= turn.stamp)
}

/// What is told of an attempt that was not made.
const fn nothing_tried(call: u64, open: OpenCall) -> Tried<'static> {
    Tried {
        call,
        attempt: open.attempt,
        finding: Finding::Uncertain,
        evidence: "",
        tries: 0,
        status: 0,
        content_type: "",
        body: b"",
        is_cut: false,
        retry_after_ms: 0,
    }
}

fn try_again<A: Archive>(turn: &mut Turn<'_, A>, call: u64, open: OpenCall) {
    let until = match open.phase {
        Phase::Call => open.deadline,
        Phase::Resend | Phase::Probe | Phase::Compensate => turn.stamp.plus_ms(ATTEMPT_MS),
    };
    let attempt = open.attempt.saturating_add(1);
    turn.machine.calls.set(call, OpenCall { state: State::Trying { until }, attempt, ..open });
    turn.scratch.effects.push(Effect::Try { call, attempt, phase: open.phase, until });
}

fn take_way_out<A: Archive>(turn: &mut Turn<'_, A>, call: u64, open: OpenCall) -> Result<(), ApplyError> {
    let evidence = "it was uncertain for as long as it may be";
    match next::way_out(open, turn.stamp) {
        next::Next::End(how) => {
            let tried = Tried { evidence, ..nothing_tried(call, open) };
            end::end(turn, open, how, &tried)
        }
        next::Next::Open(then) => {
            let body = CallTried {
                call,
                previous: open.newest,
                phase: open.phase,
                attempt: open.attempt,
                tries: 0,
                finding: Finding::Uncertain,
                status: 0,
                escalated: then.state == State::Escalated,
                evidence,
            };
            let newest = turn.write_unnamed(Body::CallTried(body));
            if body.escalated {
                publish_built_in(turn, TOPIC_ESCALATIONS, newest);
            }
            turn.machine.calls.set(call, OpenCall { newest, ..then });
            if let (State::Escalated, Some(owner)) = (then.state, open.owner) {
                turn.scratch.notices.push(Notice::CallEscalated { owner, call });
            }
            Ok(())
        }
    }
}
