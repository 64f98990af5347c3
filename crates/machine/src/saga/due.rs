//! What time alone moves on in a run: a delayed start, what is waited for, what took too long.

use std::collections::BTreeSet;

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::effect::Effect;
use crate::turn::Turn;

use super::advance::{ask, close, end, go_on, note};
use super::ended::Notice;
use super::next::Outcome;
use super::record::RunEnd;
use super::run::{Busy, Run, Stage, StepState, Why};

use words::Stamp;

/// `number` wakes.
pub(crate) fn wake<A: Archive>(turn: &mut Turn<'_, A>, number: u64) -> Result<(), ApplyError> {
    let mut run = turn.machine.sagas.run(number).expect("what wakes is open").clone();
    match run.stage {
        Stage::Delayed { until } if until <= turn.stamp && !run.paused => run.stage = Stage::Forward,
        // Whoever was to compute what it gives may have been away: they have until its deadline, and one window at least.
        Stage::Closing { until } if until <= turn.stamp && until < run.deadline => close(turn, number, &mut run),
        Stage::Closing { until } if until <= turn.stamp => return end(turn, number, run, RunEnd::Done, ""),
        _ => {}
    }
    for step in 0..run.steps.len() {
        wake_step(turn, number, &mut run, step);
    }
    if run.deadline <= turn.stamp && !run.expired {
        expire(&mut run);
    }
    go_on(turn, number, run)
}

fn wake_step<A: Archive>(turn: &mut Turn<'_, A>, number: u64, run: &mut Run, step: usize) {
    let slot = &mut run.steps[step];
    let StepState::Busy { undoes, at } = slot.state else { return };
    match at {
        Busy::Evaluating { until } if until <= turn.stamp => {
            // Whoever was to compute what undoes a step may have been away all that time: they are asked once more beyond it.
            let is_asked_enough = !undoes || until > slot.until;
            if slot.until <= turn.stamp && is_asked_enough {
                let outcome = if undoes { Outcome::Stuck } else { Outcome::Failed };
                note(turn, number, run, step, outcome, 0, "it was not begun in time");
            } else {
                ask(turn, number, slot, step, undoes);
            }
        }
        Busy::Waiting { due } if due <= turn.stamp => note(turn, number, run, step, Outcome::Done, 0, ""),
        Busy::Nested { run: nested, until } if until <= turn.stamp => {
            slot.state = StepState::Busy { undoes, at: Busy::Nested { run: nested, until: Stamp::MAX } };
            turn.scratch.notices.push(Notice::Cancel { run: nested });
        }
        // What is to be tried again is begun where everything is begun.
        _ => {}
    }
}

/// The run's time is up: it goes back if it can, and ends if it cannot.
fn expire(run: &mut Run) {
    run.expired = true;
    if matches!(run.stage, Stage::Forward | Stage::Delayed { .. }) {
        run.paused = false;
        run.why.get_or_insert(Why::Deadline);
    }
}

/// A new leader begins: what the one before was computing is asked for again.
pub(crate) fn performers_lost<A: Archive>(turn: &mut Turn<'_, A>) {
    // What this entry asked for, the new leader was asked.
    let asked: BTreeSet<(u64, u32)> = turn.scratch.effects.iter().filter_map(asked_of).collect();
    let evaluates = |run: &Run| {
        let asks = |state| matches!(state, StepState::Busy { at: Busy::Evaluating { .. }, .. });
        matches!(run.stage, Stage::Closing { .. }) || run.steps.iter().any(|slot| asks(slot.state))
    };
    let lost = turn.machine.sagas.runs().filter(|(_, run)| evaluates(run)).map(|(number, _)| number);
    for number in lost.collect::<Vec<_>>() {
        let mut run = turn.machine.sagas.run(number).expect("it is open").clone();
        if matches!(run.stage, Stage::Closing { .. }) && !asked.contains(&(number, 0)) {
            close(turn, number, &mut run);
        }
        for (slot, step) in run.steps.iter_mut().zip(0_u32..).filter(|(_, step)| !asked.contains(&(number, *step))) {
            if let StepState::Busy { undoes, at: Busy::Evaluating { .. } } = slot.state {
                ask(turn, number, slot, step as usize, undoes);
            }
        }
        turn.machine.sagas.set(number, run);
    }
}

/// The run and the step that an effect asks about, if it does; 0 for what the run gives, when no step is asked about.
fn asked_of(effect: &Effect) -> Option<(u64, u32)> {
    match *effect {
        Effect::Evaluate { run, step, .. } => Some((run, step)),
        _ => None,
    }
}
