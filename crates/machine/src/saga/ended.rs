//! What a run's calls and nested runs came to, told to the run in the same entry.

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::call::Owner;
use crate::record::CallEnd;
use crate::turn::Turn;

use super::advance::{go_on, note};
use super::control;
use super::next::Outcome;
use super::record::RunEnd;
use super::run::{Busy, Slot, StepState};

/// Something that a run is to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// A call came to its end, in the record `ordinal`.
    CallEnded { owner: Owner, call: u64, how: CallEnd, ordinal: u64 },
    /// A call is uncertain, and a person has the next move.
    CallEscalated { owner: Owner, call: u64 },
    /// A nested run came to its end.
    RunEnded { owner: Owner, run: u64, how: RunEnd, ordinal: u64 },
    /// A nested run is not wanted any more.
    Cancel { run: u64 },
}

pub(super) fn take<A: Archive>(turn: &mut Turn<'_, A>, notice: Notice) -> Result<(), ApplyError> {
    let (owner, outcome, what, evidence) = match notice {
        Notice::Cancel { run } => return control::cancel_nested(turn, run),
        Notice::CallEnded { owner, how, ordinal, .. } => {
            (owner, call_outcome(how, owner.compensates), ordinal, how.as_str())
        }
        Notice::CallEscalated { owner, .. } => (owner, Outcome::Stuck, 0, "nobody knows whether the call was done"),
        Notice::RunEnded { owner, how, ordinal, .. } => (owner, run_outcome(how), ordinal, how.as_str()),
    };
    let Some(mut run) = turn.machine.sagas.run(owner.run).cloned() else { return Ok(()) };
    let step = owner.step as usize;
    if !run.steps.get(step).is_some_and(|slot| waits_for(slot, &notice)) {
        return Ok(());
    }
    note(turn, owner.run, &mut run, step, outcome, what, evidence);
    go_on(turn, owner.run, run)
}

/// Whether a step waits for what the notice is about: for that call, or that run, and no other. One that a person had the
/// move of is told, too: the person moved.
fn waits_for(slot: &Slot, notice: &Notice) -> bool {
    let (undoes, is_stuck) = match slot.state {
        StepState::Busy { undoes, at: Busy::Calling { .. } | Busy::Nested { .. } } => (undoes, false),
        StepState::Stuck { undoes, on } if on > 0 => (undoes, true),
        _ => return false,
    };
    match *notice {
        Notice::CallEnded { owner, call: ended, .. } | Notice::RunEnded { owner, run: ended, .. } => {
            ended == slot.waits_on() && undoes == owner.compensates
        }
        Notice::CallEscalated { owner, call } => !is_stuck && call == slot.waits_on() && undoes == owner.compensates,
        Notice::Cancel { .. } => false,
    }
}

/// | | committed, or said to be | refused, or said to be not done | not done |
/// |---|---|---|---|
/// | to do it | done | failed | failed |
/// | to undo it | done | a person | again |
const fn call_outcome(how: CallEnd, compensates: bool) -> Outcome {
    match how {
        CallEnd::Committed | CallEnd::DecreedCommitted => Outcome::Done,
        CallEnd::NotDone | CallEnd::DecreedRefused if compensates => Outcome::Refused,
        CallEnd::Refused | CallEnd::NotDone | CallEnd::DecreedRefused => Outcome::Failed,
        // A run's calls are not undone or given up by themselves; if one was, nobody knows.
        CallEnd::Compensated | CallEnd::Cancelled => Outcome::Stuck,
    }
}

const fn run_outcome(how: RunEnd) -> Outcome {
    match how {
        RunEnd::Done => Outcome::Done,
        RunEnd::Compensated => Outcome::Failed,
        RunEnd::Escalated => Outcome::Stuck,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_the_end_of_what_it_waits_for_and_of_nothing_else() {
        let until = words::Stamp::MAX;
        let calling = |undoes| StepState::Busy { undoes, at: Busy::Calling { call: 9 } };
        let nested = |undoes| StepState::Busy { undoes, at: Busy::Nested { run: 9, until } };
        let stuck = |undoes, on| StepState::Stuck { undoes, on };
        let owner = |compensates| Owner { run: 5, step: 0, compensates };
        let call = |of, call| Notice::CallEnded { owner: owner(of), call, how: CallEnd::Committed, ordinal: 99 };
        let run = |of, run| Notice::RunEnded { owner: owner(of), run, how: RunEnd::Done, ordinal: 99 };
        let escalated = |of, call| Notice::CallEscalated { owner: owner(of), call };
        for (state, notice, expected) in [
            (calling(false), call(false, 9), true),
            (calling(false), call(false, 8), false),
            (calling(false), call(true, 9), false),
            (calling(true), call(true, 9), true),
            (calling(false), escalated(false, 9), true),
            (calling(false), escalated(false, 8), false),
            (nested(false), run(false, 9), true),
            (nested(false), run(false, 8), false),
            (nested(true), run(false, 9), false),
            (stuck(false, 9), call(false, 9), true),
            (stuck(false, 9), call(false, 8), false),
            (stuck(true, 9), call(false, 9), false),
            (stuck(false, 9), run(false, 9), true),
            (stuck(false, 9), run(false, 8), false),
            (stuck(false, 9), escalated(false, 9), false),
            (stuck(true, 0), call(true, 9), false),
            (StepState::Done, call(false, 9), false),
            (StepState::Pending, run(false, 0), false),
        ] {
            assert_eq!(waits_for(&Slot { state, ..Slot::NEW }, &notice), expected, "{state:?} {notice:?}");
        }
    }
}
