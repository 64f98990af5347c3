//! Sagas: steps that are done in their order, and undone in the reverse one if the run cannot be finished.
//!
//! A run's state changes in the entries that change everything else: a ledger step is decided in the entry that says what
//! it asks for, the end of a call is noted in its run in the entry that ends it. Which step is next is decided by [`next`],
//! as a value; what a step asks for is computed outside ([`Effect::Evaluate`](crate::Effect::Evaluate)) and comes back as a
//! command.
//!
//! If this stops halfway: a run is open until its end is in the log. What was being computed is asked for again by the next
//! leader's claim; calls, timers and nested runs are open by themselves.
//!
//! Every state has a bound: what is computed, a step's time-out; a call, its own; a timer, its end; a nested run, the step's
//! time-out, after which it is cancelled; a retry, the time-out; a pause, the run's deadline; a compensation, its time-out,
//! after which there is a person, and the run ends as escalated.

mod advance;
pub(crate) mod control;
pub(crate) mod define;
pub(crate) mod due;
pub(crate) mod ended;
mod escalated;
mod next;
mod order;
mod plan;
mod publish;
mod record;
mod restart;
mod run;
mod runs;
pub(crate) mod start;
pub(crate) mod step;
mod view;

pub(crate) use ended::Notice;
pub(crate) use escalated::encode as encode_escalated;
pub(crate) use runs::{Sagas, encode_run};

pub use advance::COMPENSATION_SUFFIX;
pub use order::{Control, RUN_MS_MAX, SagaOp, StepEvent, StepFound, StepReport};
pub use plan::{PLAN_STEPS_MAX, Plan, PlannedCompensation, PlannedStep, Reads, StepKind};
pub use record::{RunEnd, SagaRecord, StepEvent as StepOutcome};
pub use run::{RunState, Why};
pub use view::{RunPage, RunView, SagaView, StepView, StepWait, ended_steps, run_id};

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::inbox::By;
use crate::ledger::Stop;
use crate::turn::Turn;

/// Decides a command about sagas that has a key. Gives the record, and whether its end is still to come.
pub(crate) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    op: &SagaOp<'a>,
) -> Result<(u64, bool), Stop<'a>> {
    match *op {
        SagaOp::Define { name, plan, document } => Ok((define::decide(turn, by, name, plan, document)?, false)),
        SagaOp::Start { saga, input, delay_ms, deadline_ms } => {
            let asked = start::Asked { saga, input, delay_ms, deadline_ms, parent: None, depth: 0 };
            Ok((start::start(turn, by, &asked)?, true))
        }
        SagaOp::Control { run, control } => Ok((control::decide(turn, by, run, control)?, false)),
        SagaOp::ControlMany { control, saga, state, after, limit } => {
            let filter = control::Filter { saga, state, after, limit };
            Ok((control::decide_many(turn, by, control, &filter)?, false))
        }
        SagaOp::RestartMany { saga, from, before, limit } => {
            let page = control::RestartPage { saga, from, before, limit };
            Ok((control::restart_many(turn, by, &page)?, false))
        }
        SagaOp::Step(_) => unreachable!("decided before, under no key"),
    }
}

/// Tells runs what came of their calls and of the runs nested in them, until nobody has anything to tell.
pub(crate) fn notify<A: Archive>(turn: &mut Turn<'_, A>) -> Result<(), ApplyError> {
    // One notice may give rise to others, of runs further out or further in: there are few, as nesting is bounded.
    while let Some(notice) = turn.scratch.notices.pop() {
        ended::take(turn, notice)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
