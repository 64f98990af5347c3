//! What time alone moves on: the next attempt, the way out, the end of an attempt that nobody reported.

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::effect::{Effect, Phase};
use crate::record::CallEnd;
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
            let tried = Tried { finding: Finding::NotDone, evidence, ..Tried::unmade(call, open.attempt) };
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
    let tried = Tried { evidence, ..Tried::unmade(call, open.attempt) };
    tried::follow(turn, open, next::way_out(open, turn.stamp), &tried)
}
