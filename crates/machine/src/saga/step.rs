//! What a step asks for, brought back by the outbox: decided here, in the entry that changes the run.

use crate::apply::{ApplyError, Verdict};
use crate::archive::Archive;
use crate::call::{CALL_MS_BOUNDS, Doubt, Owner, UNCERTAIN_MS_BOUNDS, WayOut, accept};
use crate::command::Op;
use crate::effect::Ask;
use crate::inbox::{By, decided};
use crate::ledger::{Denial, Stop, capture, reverse, transfer, void};
use crate::refusal::Code;
use crate::turn::Turn;

use super::advance::{StepKey, end, go_on, note};
use super::next::Outcome;
use super::order::{RUN_MS_MAX, StepFound, StepReport, step_op};
use super::plan::StepKind;
use super::record::RunEnd;
use super::run::{Busy, Run, Stage, StepState};
use super::start::{self, Asked, RUN_DEPTH_MAX};

/// Takes the answer in. One of an attempt that is not under way any more changes nothing.
pub(crate) fn take<A: Archive>(turn: &mut Turn<'_, A>, report: &StepReport<'_>) -> Result<Verdict, ApplyError> {
    let Some(run) = turn.machine.sagas.run(report.run).cloned() else { return Ok(Verdict::Ignored) };
    if report.ask == Ask::Output {
        return take_output(turn, report, run);
    }
    let undoes = report.ask == Ask::Compensate;
    let is_current = run.steps.get(report.step as usize).is_some_and(|slot| {
        let evaluating =
            matches!(slot.state, StepState::Busy { undoes: u, at: Busy::Evaluating { .. } } if u == undoes);
        evaluating && slot.attempt == report.attempt
    });
    if !is_current {
        return Ok(Verdict::Ignored);
    }
    act(turn, report, run, undoes)?;
    Ok(Verdict::Noted)
}

fn take_output<A: Archive>(turn: &mut Turn<'_, A>, report: &StepReport<'_>, run: Run) -> Result<Verdict, ApplyError> {
    if !matches!(run.stage, Stage::Closing { .. }) {
        return Ok(Verdict::Ignored);
    }
    // What was done is done, whether it can be told or not.
    let output = if let StepFound::Output(json) = report.found { json } else { "" };
    end(turn, report.run, run, RunEnd::Done, output)?;
    Ok(Verdict::Noted)
}

fn act<A: Archive>(
    turn: &mut Turn<'_, A>,
    report: &StepReport<'_>,
    mut run: Run,
    undoes: bool,
) -> Result<(), ApplyError> {
    let step = report.step as usize;
    let owner = Owner { run: report.run, step: report.step, compensates: undoes };
    let key = StepKey::of(turn, &run, owner)?;
    let by = key.by(turn);
    let busy = |at| StepState::Busy { undoes, at };
    let planned = &run.plan.steps[step];
    let kind = if undoes { planned.compensation.map(|compensation| compensation.kind) } else { Some(planned.kind) };
    if !fits(kind, &report.found) {
        note(turn, report.run, &mut run, step, Outcome::Failed, 0, "what came is not what the step does");
        return go_on(turn, report.run, run);
    }
    match report.found {
        StepFound::Do(bytes) => match step_op(bytes)? {
            Op::Call(mut order) => {
                // The step's time is the call's, and calls undo nothing by themselves here: that is the run's.
                let left_ms = run.steps[step].until.millis().saturating_sub(turn.stamp.millis());
                order.deadline_ms = order.deadline_ms.min(left_ms).clamp(CALL_MS_BOUNDS.0, CALL_MS_BOUNDS.1);
                order.uncertain_ms_max = order.uncertain_ms_max.clamp(UNCERTAIN_MS_BOUNDS.0, UNCERTAIN_MS_BOUNDS.1);
                order.way_out = WayOut::Escalate;
                if order.doubt == Doubt::Compensate {
                    order.doubt = Doubt::Escalate;
                }
                let call = accept::accept(turn, &by, &order, Some(owner));
                run.steps[step].state = busy(Busy::Calling { call });
            }
            op => {
                let found = operate(turn, &by, &op);
                settle(turn, report.run, &mut run, step, found)?;
            }
        },
        StepFound::Publish(event) => {
            let found = super::publish::publish(turn, &by, &event);
            settle(turn, report.run, &mut run, step, found)?;
        }
        StepFound::Wait { ms } => {
            run.steps[step].state = busy(Busy::Waiting { due: turn.stamp.plus_ms(ms.min(RUN_MS_MAX)) });
        }
        StepFound::Start { saga, input } => {
            let depth = run.depth.saturating_add(1);
            let asked = Asked { saga, input, delay_ms: 0, deadline_ms: None, parent: Some(owner), depth };
            let found = if depth > RUN_DEPTH_MAX {
                Err(Denial::of_text(Code::RunTooDeep, saga).into())
            } else {
                start::start(turn, &by, &asked)
            };
            match found {
                Ok(nested) => {
                    let until = run.steps[step].until;
                    run.steps[step].state = busy(Busy::Nested { run: nested, until });
                }
                Err(stop) => settle(turn, report.run, &mut run, step, Err(stop))?,
            }
        }
        StepFound::Failed { evidence } => {
            note(turn, report.run, &mut run, step, Outcome::Failed, 0, evidence);
        }
        StepFound::Output(_) => unreachable!("it does not fit a step"),
    }
    go_on(turn, report.run, run)
}

/// Whether what came is what the step does.
fn fits(kind: Option<StepKind>, found: &StepFound<'_>) -> bool {
    let (Some(kind), StepFound::Do(bytes)) = (kind, found) else {
        return matches!(
            (kind, found),
            (_, StepFound::Failed { .. })
                | (Some(StepKind::Event), StepFound::Publish(_))
                | (Some(StepKind::Timer), StepFound::Wait { .. })
                | (Some(StepKind::Saga), StepFound::Start { .. })
        );
    };
    match step_op(bytes) {
        Ok(Op::Transfer(order)) => match order.hold_ms {
            Some(_) => kind == StepKind::Hold,
            None => kind == StepKind::Transfer,
        },
        Ok(Op::Capture { .. }) => kind == StepKind::Capture,
        Ok(Op::Void { .. }) => kind == StepKind::Void,
        Ok(Op::Reverse { .. }) => kind == StepKind::Reverse,
        Ok(Op::Call(_)) => kind == StepKind::Call,
        _ => false,
    }
}

/// Decides a ledger step. A refusal is not remembered under its key: the next attempt has the same.
fn operate<'a, A: Archive>(turn: &mut Turn<'_, A>, by: &By<'a>, op: &Op<'a>) -> Result<u64, Stop<'a>> {
    if let Some(found) = already(turn, by)? {
        return found;
    }
    match *op {
        Op::Transfer(ref order) => transfer::decide(turn, by, order),
        Op::Capture { transfer, amount } => capture::decide(turn, by, transfer, amount),
        Op::Void { transfer } => void::decide(turn, by, transfer),
        Op::Reverse { transfer, amount } => reverse::decide(turn, by, transfer, amount),
        _ => unreachable!("it fits a ledger step"),
    }
}

/// What a step did already under its key: a run that was restarted does nothing twice.
pub(super) fn already<'a, A: Archive>(
    turn: &Turn<'_, A>,
    by: &By<'a>,
) -> Result<Option<Result<u64, Stop<'a>>>, ApplyError> {
    let Some((ordinal, decision)) = decided(turn, by)? else { return Ok(None) };
    // Only steps have no fingerprint: anything else under this key was made up by somebody.
    let is_own = decision.fingerprint == by.fingerprint && !decision.is_barred;
    Ok(Some(if is_own { Ok(ordinal) } else { Err(Denial::of_text(Code::KeyReused, by.key).into()) }))
}

/// Notes what was decided of a step.
fn settle<A: Archive>(
    turn: &mut Turn<'_, A>,
    number: u64,
    run: &mut Run,
    step: usize,
    found: Result<u64, Stop<'_>>,
) -> Result<(), ApplyError> {
    let denial = match found {
        Ok(ordinal) => {
            note(turn, number, run, step, Outcome::Done, ordinal, "");
            return Ok(());
        }
        Err(Stop::Broken(error)) => return Err(error),
        Err(Stop::Denied(denial)) => denial,
    };
    let undoes = matches!(run.steps[step].state, StepState::Busy { undoes: true, .. });
    let nothing_left = match denial.code {
        // It was captured or expired, or moved back already: there is nothing that this would undo.
        Code::HoldClosed => true,
        Code::ExceedsPosted => denial.had == 0,
        _ => false,
    };
    let evidence = denial.spell(&turn.machine.accounts, |refusal| {
        format!("{:?} {} had {} wanted {}", refusal.code, refusal.about, refusal.had, refusal.wanted)
    });
    let outcome = if undoes && nothing_left { Outcome::Done } else { Outcome::Refused };
    note(turn, number, run, step, outcome, 0, &evidence);
    Ok(())
}
