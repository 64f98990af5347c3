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

/// Whether a step waits for what the notice is about. One that a person had the move of is told, too: the person moved.
fn waits_for(slot: &Slot, notice: &Notice) -> bool {
    match (slot.state, *notice) {
        (
            StepState::Busy { undoes, at: Busy::Calling { call: waited } },
            Notice::CallEnded { owner, call, .. } | Notice::CallEscalated { owner, call },
        ) => waited == call && undoes == owner.compensates,
        (StepState::Stuck { undoes }, Notice::CallEnded { owner, .. }) => undoes == owner.compensates,
        (StepState::Busy { undoes, at: Busy::Nested { run: waited, .. } }, Notice::RunEnded { owner, run, .. }) => {
            waited == run && undoes == owner.compensates
        }
        _ => false,
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
