//! What a run does next, told as a value: one move at a time, until there is none.
//!
//! Forward, in this order:
//!
//! | all done | to go back | pivot | time | then |
//! |---|---|---|---|---|
//! | yes | any | any | any | it ends as done |
//! | no | yes | under way, or a person has it | any | wait; escalated once nothing is under way |
//! | no | yes | not done, or all that is done may be undone after it | any | turn back |
//! | no | yes | done | left | go on: what failed is tried again |
//! | no | yes | done | up | wait; escalated once nothing is under way |
//! | no | no | any | any | begin what waits for nothing, unless paused; escalated if nothing can move |
//!
//! Backward, one step at a time: of the done ones the one that was done last, unless something that waited for it may still
//! happen or may have happened. Then the run is compensated, or escalated if anything is left.

use words::Stamp;

use super::record::RunEnd;
use super::run::{Busy, Run, Slot, Stage, StepState};

/// What a run does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Move {
    Begin { step: usize },
    Undo { step: usize },
    TurnBack,
    GoOn,
    Close,
    End(RunEnd),
}

pub(crate) fn next(run: &Run, now: Stamp) -> Option<Move> {
    match run.stage {
        Stage::Delayed { .. } if run.why.is_some() => Some(Move::TurnBack),
        Stage::Delayed { .. } | Stage::Closing { .. } => None,
        Stage::Forward => forward(run, now),
        Stage::Backward => backward(run, now),
    }
}

/// Whether nothing that is done would have to stay.
pub(crate) fn can_turn_back(run: &Run) -> bool {
    let mut done = run.plan.steps.iter().zip(&run.steps).filter(|(_, slot)| slot.state == StepState::Done);
    let pivot_done = done.clone().any(|(step, _)| step.pivot);
    !pivot_done
        || done.all(|(step, _)| match step.compensation {
            Some(compensation) => compensation.after_pivot,
            None => !step.pivot,
        })
}

fn forward(run: &Run, now: Stamp) -> Option<Move> {
    let is = |slot: &Slot, state| slot.state == state;
    if run.steps.iter().all(|slot| is(slot, StepState::Done)) {
        return Some(if run.plan.has_output { Move::Close } else { Move::End(RunEnd::Done) });
    }
    let in_flight = run.steps.iter().any(Slot::is_in_flight);
    let escalate = || Some(Move::End(RunEnd::Escalated)).filter(|_| !in_flight);
    if run.why.is_some() {
        let pivot = run.plan.steps.iter().zip(&run.steps).find(|(step, _)| step.pivot).map(|(_, slot)| slot);
        let pivot_open = pivot.is_some_and(|slot| {
            // What is only being computed has done nothing yet.
            let computed = matches!(slot.state, StepState::Busy { at: Busy::Evaluating { .. }, .. });
            (slot.is_in_flight() && !computed) || matches!(slot.state, StepState::Stuck { .. })
        });
        return match (pivot_open, can_turn_back(run), run.expired) {
            (true, ..) => escalate(),
            (false, true, _) => Some(Move::TurnBack),
            (false, false, false) => Some(Move::GoOn),
            (false, false, true) => escalate(),
        };
    }
    if run.paused {
        return None;
    }
    let begins = run.plan.steps.iter().zip(&run.steps).position(|(step, slot)| match slot.state {
        StepState::Pending => step.after.iter().all(|after| is(&run.steps[*after as usize], StepState::Done)),
        StepState::Busy { undoes: false, at: Busy::Retrying { due } } => due <= now,
        _ => false,
    });
    let waits = run.steps.iter().any(|slot| matches!(slot.state, StepState::Busy { .. }));
    match begins {
        Some(step) => Some(Move::Begin { step }),
        None if waits => None,
        None => escalate(),
    }
}

fn backward(run: &Run, now: Stamp) -> Option<Move> {
    let undoing = run.steps.iter().position(|slot| matches!(slot.state, StepState::Busy { undoes: true, .. }));
    if let Some(step) = undoing {
        let due = matches!(run.steps[step].state, StepState::Busy { at: Busy::Retrying { due }, .. } if due <= now);
        return due.then_some(Move::Undo { step });
    }
    let mut done: Vec<usize> = (0..run.steps.len()).filter(|at| run.steps[*at].state == StepState::Done).collect();
    done.sort_by_key(|at| std::cmp::Reverse(run.steps[*at].order));
    let may_undo = |step: &usize| {
        let dependents = run.plan.dependents(*step);
        run.steps.iter().zip(dependents).all(|(slot, depends)| !depends || is_settled(slot))
    };
    if let Some(step) = done.iter().copied().find(may_undo) {
        return Some(Move::Undo { step });
    }
    if run.steps.iter().any(Slot::is_in_flight) {
        return None;
    }
    let is_left = |slot: &Slot| matches!(slot.state, StepState::Stuck { .. } | StepState::Done);
    let end = if run.steps.iter().any(is_left) { RunEnd::Escalated } else { RunEnd::Compensated };
    Some(Move::End(end))
}

/// Whether a step did not happen and never will, or was undone.
const fn is_settled(slot: &Slot) -> bool {
    matches!(slot.state, StepState::Failed | StepState::Skipped | StepState::Undone)
}

/// What came of an attempt at a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Done,
    /// Refused: it may be otherwise later.
    Refused,
    /// Definitely not, however often it is tried.
    Failed,
    /// A person has the next move.
    Stuck,
}

/// Where an attempt leaves its step, which waited for the call or the run `on`.
///
/// | | done | refused | failed | stuck |
/// |---|---|---|---|---|
/// | to do it | done | again, while there are attempts and time; then failed | failed | uncertain |
/// | to undo it | undone | again, while there is time; then a person | a person | a person |
pub(crate) fn after(undoes: bool, outcome: Outcome, may_retry: bool, due: Stamp, on: u64) -> StepState {
    match (undoes, outcome) {
        (false, Outcome::Done) => StepState::Done,
        (true, Outcome::Done) => StepState::Undone,
        (_, Outcome::Refused) if may_retry => StepState::Busy { undoes, at: Busy::Retrying { due } },
        (false, Outcome::Refused | Outcome::Failed) => StepState::Failed,
        (false, Outcome::Stuck) => StepState::Stuck { undoes, on },
        (true, Outcome::Refused | Outcome::Failed | Outcome::Stuck) => StepState::Stuck { undoes, on },
    }
}
