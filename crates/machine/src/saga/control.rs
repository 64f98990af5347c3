//! `POST /v1/runs/{id}/cancel`, `pause`, `resume` and `restart`, for one run and for many.
//!
//! | | delayed, running | paused | compensating | escalated | done, compensated |
//! |---|---|---|---|---|---|
//! | cancel | goes back, if it may | goes back, if it may | goes back already | refused | refused |
//! | pause | paused | paused already | refused | refused | refused |
//! | resume | goes on already | goes on | refused | refused | refused |
//! | restart | refused | refused | refused | goes on from the step | refused |

use std::sync::Arc;

use words::Stamp;

use crate::apply::ApplyError;
use crate::archive::{Archive, Fault};
use crate::books::{Marks, damaged};
use crate::codec::{Corrupt, Reader};
use crate::inbox::By;
use crate::ledger::{Denial, Stop};
use crate::record::{Body, Record};
use crate::refusal::Code;
use crate::turn::Turn;

use super::advance::{advance, go_on, read, write_under_key};
use super::next::can_turn_back;
use super::order::Control;
use super::plan::Plan;
use super::record::{RunEnd, SagaRecord};
use super::run::{Run, RunState, Slot, Stage, Why};
use super::runs::Definition;
use super::view::run_id;

/// The most runs that one command controls.
const RUNS_MAX: u64 = 1_000;

/// Which runs are meant.
pub(super) struct Filter<'a> {
    pub(super) saga: &'a str,
    pub(super) state: Option<RunState>,
    pub(super) after: u64,
    pub(super) limit: u64,
}

/// Controls one run. Gives the record of it, which stands under the control's own key.
pub(super) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    number: u64,
    control: Control,
) -> Result<u64, Stop<'a>> {
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    if let Control::Restart { step } = control {
        let (previous, started) = restart(turn, number, step)?;
        let id = run_id(turn.machine, started, number);
        let body = SagaRecord::Controlled { run: number, id, previous, control };
        let ordinal = turn.write(by, Body::Saga(body), marks);
        advance(turn, number)?;
        return Ok(ordinal);
    }
    let Some(mut run) = turn.machine.sagas.run(number).cloned() else {
        let code = if started(turn, number)?.is_some() { Code::RunState } else { Code::RunNotFound };
        return Err(denied(code, number).into());
    };
    change(&mut run, control).map_err(|code| denied(code, number))?;
    let id = run_id(turn.machine, run.started, number);
    let body = SagaRecord::Controlled { run: number, id, previous: run.newest, control };
    run.newest = turn.write(by, Body::Saga(body), marks);
    let ordinal = run.newest;
    go_on(turn, number, run)?;
    Ok(ordinal)
}

/// Controls those of the runs that can be controlled so.
pub(super) fn decide_many<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    control: Control,
    filter: &Filter<'a>,
) -> Result<u64, Stop<'a>> {
    if matches!(control, Control::Restart { .. }) {
        return Err(denied(Code::RunState, 0).into());
    }
    let limit = usize::try_from(filter.limit.min(RUNS_MAX)).unwrap_or(usize::MAX);
    let sagas = &turn.machine.sagas;
    let states = [RunState::Delayed, RunState::Running, RunState::Paused, RunState::Compensating];
    let wanted = states.into_iter().filter(|state| filter.state.is_none_or(|wanted| wanted == *state));
    let is_meant = |number: &u64| {
        let definition = sagas.run(*number).and_then(|run| sagas.definition(run.definition));
        filter.saga.is_empty() || definition.is_some_and(|definition| *definition.name == *filter.saga)
    };
    // The oldest of each state, and of these the oldest; one more than is wanted tells whether there are more.
    let mut meant: Vec<u64> = wanted
        .flat_map(|state| sagas.in_state(state, filter.after).filter(is_meant).take(limit.saturating_add(1)))
        .collect();
    meant.sort_unstable();
    let next = if meant.len() > limit { meant.get(limit.saturating_sub(1)).copied().unwrap_or(0) } else { 0 };
    meant.truncate(limit);
    let mut count = 0;
    for number in meant {
        let Some(mut run) = turn.machine.sagas.run(number).cloned() else { continue };
        if change(&mut run, control).is_err() {
            continue;
        }
        let id = run_id(turn.machine, run.started, number);
        let body = SagaRecord::Controlled { run: number, id, previous: run.newest, control };
        run.newest = turn.write_unnamed(Body::Saga(body));
        go_on(turn, number, run)?;
        count += 1;
    }
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    Ok(turn.write(by, Body::Saga(SagaRecord::ControlledMany { control, count, next }), marks))
}

/// A nested run is not wanted any more. One that cannot go back goes on, and its end is told all the same.
pub(super) fn cancel_nested<A: Archive>(turn: &mut Turn<'_, A>, number: u64) -> Result<(), ApplyError> {
    let Some(mut run) = turn.machine.sagas.run(number).cloned() else { return Ok(()) };
    match change(&mut run, Control::Cancel) {
        Ok(()) => go_on(turn, number, run),
        Err(_) => Ok(()),
    }
}

fn change(run: &mut Run, control: Control) -> Result<(), Code> {
    let is_forward = matches!(run.stage, Stage::Delayed { .. } | Stage::Forward);
    match control {
        Control::Cancel if run.stage == Stage::Backward => {}
        Control::Cancel if !is_forward => return Err(Code::RunState),
        Control::Cancel if !can_turn_back(run) => return Err(Code::RunPastPivot),
        Control::Cancel => {
            run.why.get_or_insert(Why::Cancelled);
            run.paused = false;
        }
        Control::Pause | Control::Resume if !is_forward => return Err(Code::RunState),
        Control::Pause => run.paused = !run.expired,
        Control::Resume => {
            run.paused = false;
        }
        Control::Restart { .. } => return Err(Code::RunState),
    }
    Ok(())
}

/// Takes an escalated run up again. Gives the record that says so, under the run's own key, and when the run was started.
fn restart<'a, A: Archive>(turn: &mut Turn<'_, A>, number: u64, step: u32) -> Result<(u64, Stamp), Stop<'a>> {
    if turn.machine.sagas.run(number).is_some() {
        return Err(denied(Code::RunState, number).into());
    }
    let Some((principal, key)) = started(turn, number)? else {
        return Err(denied(Code::RunNotFound, number).into());
    };
    let name = turn.machine.names.operation(&principal, &key);
    let newest = turn.machine.books.find(turn.archive, name, &principal, &key)?;
    let (newest, _) = newest.ok_or_else(|| denied(Code::RunNotFound, number))?;
    let ended = read(turn, newest)?;
    let Body::Saga(SagaRecord::Ended { run, end: RunEnd::Escalated, state, .. }) =
        Record::decode(&ended).map_err(damaged)?.body
    else {
        return Err(denied(Code::RunState, number).into());
    };
    if run != number {
        return Err(denied(Code::RunState, number).into());
    }
    let mut run = revive(turn, state)?;
    if step as usize >= run.steps.len() {
        return Err(denied(Code::StepNotFound, number).into());
    }
    if run.parent.is_some() || run.stage == Stage::Backward {
        // Its parent has gone on without it; and what was undone in part is not done again in part.
        return Err(denied(Code::RunState, number).into());
    }
    let depends = run.plan.dependents(step as usize);
    for (at, slot) in run.steps.iter_mut().enumerate() {
        if at == step as usize || depends[at] {
            *slot = Slot { attempt: slot.attempt, ..Slot::NEW };
        }
    }
    run.stage = Stage::Forward;
    run.why = None;
    run.expired = false;
    run.paused = false;
    run.deadline = turn.stamp.plus_ms(run.plan.deadline_ms);
    let body = SagaRecord::Restarted { run: number, previous: newest, step, deadline: run.deadline };
    run.newest = write_under_key(turn, number, Body::Saga(body))?;
    let (previous, started) = (run.newest, run.started);
    turn.machine.sagas.set(number, run);
    Ok((previous, started))
}

/// A run from the bytes of its end, with its definition in use again.
fn revive<A: Archive>(turn: &mut Turn<'_, A>, state: &[u8]) -> Result<Run, ApplyError> {
    let number = Reader::new(state).u64()?;
    if turn.machine.sagas.definition(number).is_none() {
        let bytes = read(turn, number)?;
        let Body::Saga(SagaRecord::Defined { name, version, plan, .. }) = Record::decode(&bytes).map_err(damaged)?.body
        else {
            return Err(Fault("a run's definition is no definition".to_owned()).into());
        };
        let plan = Arc::new(Plan::decode(plan)?);
        turn.machine.sagas.recall(number, Definition { name: name.into(), version, plan, runs: 0 });
    }
    let plan_of = |number| {
        let definition = turn.machine.sagas.definition(number).map(|definition| Arc::clone(&definition.plan));
        definition.ok_or(Corrupt("a run of a saga that is not"))
    };
    Ok(Run::decode(&mut Reader::new(state), plan_of)?)
}

/// Whose run it is, and the key it was started with; `None` if that number is no run.
fn started<A: Archive>(turn: &Turn<'_, A>, number: u64) -> Result<Option<(String, String)>, ApplyError> {
    if number >= turn.machine.books.next_ordinal {
        return Ok(None);
    }
    let bytes = read(turn, number)?;
    let record = Record::decode(&bytes).map_err(damaged)?;
    let is_run = matches!(record.body, Body::Saga(SagaRecord::Started { .. }));
    Ok(is_run.then(|| (record.principal.to_owned(), record.key.to_owned())))
}

fn denied(code: Code, run: u64) -> Denial<'static> {
    Denial { had: run.into(), ..Denial::of_text(code, "") }
}
