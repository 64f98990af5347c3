//! What a step asks for, brought back by the outbox: decided here, in the entry that changes the run.

use crate::apply::{ApplyError, Verdict};
use crate::archive::Archive;
use crate::books::damaged;
use crate::call::{CALL_MS_BOUNDS, CallOrder, Doubt, Owner, UNCERTAIN_MS_BOUNDS, Undoes, WayOut, accept};
use crate::command::Op;
use crate::effect::Ask;
use crate::inbox::{By, decided};
use crate::ledger::{Denial, Stop, capture, reverse, transfer, void};
use crate::record::{Body, CallEnd, Record};
use crate::refusal::Code;
use crate::turn::Turn;

use super::advance::{EVALUATION_MS, StepKey, end, go_on, note, read};
use super::next::Outcome;
use super::order::{RUN_MS_MAX, StepFound, StepReport, step_op};
use super::plan::StepKind;
use super::record::RunEnd;
use super::run::{Busy, Run, Stage, StepState};
use super::start::{self, Asked, RUN_DEPTH_MAX};

use words::Stamp;

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
    let planned = &run.plan.steps[step];
    let kind = if undoes { planned.compensation.map(|compensation| compensation.kind) } else { Some(planned.kind) };
    if !fits(kind, &report.found) {
        note(turn, report.run, &mut run, step, Outcome::Failed, 0, "what came is not what the step does");
        return go_on(turn, report.run, run);
    }
    // What undoes a step has time for one attempt, however late it is.
    let least_ms = if undoes { EVALUATION_MS } else { 0 };
    let until = run.steps[step].until.max(turn.stamp.plus_ms(least_ms));
    let found = match report.found {
        StepFound::Do(bytes) => match step_op(bytes)? {
            Op::Call(order) => {
                let undone = if undoes { undone(turn, &run, step)? } else { Undoes::Nothing };
                call(turn, &by, order, (owner, undone), until).map(|call| Begun::Busy(Busy::Calling { call }))
            }
            op => {
                let found = operate(turn, &by, &op);
                let found = if undoes { nothing_to_undo(turn, &op, found)? } else { found };
                found.map(Begun::Done)
            }
        },
        StepFound::Publish(event) => super::publish::publish(turn, &by, &event).map(Begun::Done),
        StepFound::Wait { ms } => {
            let due = turn.stamp.plus_ms(ms.min(RUN_MS_MAX));
            Ok(Begun::Busy(Busy::Waiting { due }))
        }
        StepFound::Start { saga, input } => {
            let depth = run.depth.saturating_add(1);
            let asked = Asked { saga, input, delay_ms: 0, deadline_ms: None, parent: Some(owner), depth };
            nest(turn, &by, &asked).map(|run| Begun::Busy(Busy::Nested { run, until }))
        }
        StepFound::Failed { evidence } => {
            note(turn, report.run, &mut run, step, Outcome::Failed, 0, evidence);
            return go_on(turn, report.run, run);
        }
        StepFound::Output(_) => unreachable!("it does not fit a step"),
    };
    match found {
        Ok(Begun::Busy(at)) => run.steps[step].state = StepState::Busy { undoes, at },
        Ok(Begun::Done(ordinal)) => note(turn, report.run, &mut run, step, Outcome::Done, ordinal, ""),
        Err(Stop::Denied(denial)) => {
            let evidence = denial.spell(&turn.machine.accounts, |refusal| {
                format!("{:?} {} had {} wanted {}", refusal.code, refusal.about, refusal.had, refusal.wanted)
            });
            note(turn, report.run, &mut run, step, Outcome::Refused, 0, &evidence);
        }
        Err(Stop::Broken(error)) => return Err(error),
    }
    go_on(turn, report.run, run)
}

/// What came of what a step asked for, in the entry that brought it.
enum Begun {
    /// It is done, in that record.
    Done(u64),
    /// It goes on.
    Busy(Busy),
}

/// Opens the call of a step. The step's time is the call's; and calls undo nothing by themselves here: that is the run's.
fn call<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    mut order: CallOrder<'_>,
    (owner, undoes): (Owner, Undoes),
    until: Stamp,
) -> Result<u64, Stop<'a>> {
    check_unused(turn, by)?;
    let left_ms = until.millis().saturating_sub(turn.stamp.millis());
    order.deadline_ms = order.deadline_ms.min(left_ms).clamp(CALL_MS_BOUNDS.0, CALL_MS_BOUNDS.1);
    order.uncertain_ms_max = order.uncertain_ms_max.clamp(UNCERTAIN_MS_BOUNDS.0, UNCERTAIN_MS_BOUNDS.1);
    order.way_out = WayOut::Escalate;
    if order.doubt == Doubt::Compensate {
        order.doubt = Doubt::Escalate;
    }
    let attempt = attempted(turn, by)?.saturating_add(1);
    Ok(accept::accept(turn, by, &order, Some(owner), undoes, attempt))
}

/// How often the receiver was asked under this key before: by a call that ended without doing what the step wants done.
fn attempted<A: Archive>(turn: &Turn<'_, A>, by: &By<'_>) -> Result<u32, ApplyError> {
    // Also what was decided before the retention began: to call again is no first attempt, however late it is.
    let Some((newest, _)) = turn.machine.books.find(turn.archive, by.name, by.principal, by.key)? else { return Ok(0) };
    let bytes = read(turn, newest)?;
    Ok(match Record::decode(&bytes).map_err(damaged)?.body {
        Body::CallEnded(ended) => ended.attempt,
        _ => 0,
    })
}

/// What is known of the step that is to be undone, if it was a call. That a person says it was done does not keep it from
/// arriving late.
fn undone<A: Archive>(turn: &Turn<'_, A>, run: &Run, step: usize) -> Result<Undoes, ApplyError> {
    if run.plan.steps[step].kind != StepKind::Call {
        return Ok(Undoes::Nothing);
    }
    let bytes = read(turn, run.steps[step].record)?;
    let ended = Record::decode(&bytes).map_err(damaged)?.body;
    let is_done = matches!(ended, Body::CallEnded(ended) if ended.end == CallEnd::Committed);
    Ok(if is_done { Undoes::Done } else { Undoes::Resolved })
}

/// Starts the run of a step.
fn nest<'a, A: Archive>(turn: &mut Turn<'_, A>, by: &By<'a>, asked: &Asked<'a>) -> Result<u64, Stop<'a>> {
    check_unused(turn, by)?;
    if asked.depth > RUN_DEPTH_MAX {
        return Err(Denial::of_text(Code::RunTooDeep, asked.saga).into());
    }
    start::start(turn, by, asked)
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
    check_unused(turn, by)?;
    match *op {
        Op::Transfer(ref order) => transfer::decide(turn, by, order),
        Op::Capture { transfer, amount } => capture::decide(turn, by, transfer, amount),
        Op::Void { transfer } => void::decide(turn, by, transfer),
        Op::Reverse { transfer, amount } => reverse::decide(turn, by, transfer, amount),
        _ => unreachable!("it fits a ledger step"),
    }
}

/// Refuses a step's key that somebody has used for something else. Whether the step was done is not asked here: keys are
/// forgotten, and its run knows.
pub(super) fn check_unused<'a, A: Archive>(turn: &Turn<'_, A>, by: &By<'a>) -> Result<(), Stop<'a>> {
    let Some((_, decision)) = decided(turn, by)? else { return Ok(()) };
    // Only steps have no fingerprint, and a step may come back to what it did before and was not done.
    let is_own = decision.fingerprint == by.fingerprint && !decision.is_barred;
    if is_own { Ok(()) } else { Err(Denial::of_text(Code::KeyReused, by.key).into()) }
}

/// Counts as done what cannot be undone because nothing of it stands: a hold that expired, or was captured and moved back;
/// a transfer that was moved back already. Gives 0 for its record.
fn nothing_to_undo<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    op: &Op<'a>,
    found: Result<u64, Stop<'a>>,
) -> Result<Result<u64, Stop<'a>>, ApplyError> {
    let (Op::Void { transfer } | Op::Reverse { transfer, .. }, Err(Stop::Denied(denial))) = (op, &found) else {
        return Ok(found);
    };
    let is_closed = matches!(denial.code, Code::HoldClosed | Code::ExceedsPosted);
    let stands = reverse::left(turn, *transfer)?.is_none_or(|left| left.units > 0);
    Ok(if is_closed && !stands { Ok(0) } else { found })
}
