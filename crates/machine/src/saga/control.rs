//! `POST /v1/runs/{id}/cancel`, `pause`, `resume` and `restart`, for one run and for many.
//!
//! | | delayed, running | paused | compensating | escalated | done, compensated |
//! |---|---|---|---|---|---|
//! | cancel | goes back, if it may | goes back, if it may | goes back already | refused | refused |
//! | pause | paused | paused already | refused | refused | refused |
//! | resume | goes on already | goes on | refused | refused | refused |
//! | restart | refused | refused | refused | goes on from the step | refused |

use crate::apply::ApplyError;
use crate::archive::Archive;
use crate::books::Marks;
use crate::inbox::By;
use crate::ledger::{Denial, Stop};
use crate::record::Body;
use crate::refusal::Code;
use crate::turn::Turn;

use super::advance::{advance, go_on};
use super::next::can_turn_back;
use super::order::Control;
use super::record::SagaRecord;
use super::restart::{Place, restart, started};
use super::run::{Run, RunState, Stage, Why};
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
        let (previous, started) = restart(turn, number, Place::Step(step))?;
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
    let limit = usize::try_from(filter.limit.clamp(1, RUNS_MAX)).unwrap_or(usize::MAX);
    let sagas = &turn.machine.sagas;
    let states = [RunState::Delayed, RunState::Running, RunState::Paused, RunState::Compensating];
    let wanted = states.into_iter().filter(|state| filter.state.is_none_or(|wanted| wanted == *state));
    let is_meant = |number: &u64| {
        let definition = sagas.run(*number).and_then(|run| sagas.definition(run.definition));
        filter.saga.is_empty() || definition.is_some_and(|definition| *definition.name == *filter.saga)
    };
    // The oldest of each state, and of these the oldest; one more tells whether there are more.
    let mut meant: Vec<u64> =
        wanted.flat_map(|state| sagas.in_state(state, filter.after).filter(is_meant).take(limit + 1)).collect();
    meant.sort_unstable();
    let next = if meant.len() > limit { meant[limit - 1] } else { 0 };
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

/// Restarts those of the escalated runs that can go on from the step `from`; from wherever each stopped, if that is empty.
pub(super) fn restart_many<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    from: &str,
    filter: &Filter<'a>,
) -> Result<u64, Stop<'a>> {
    let limit = usize::try_from(filter.limit.clamp(1, RUNS_MAX)).unwrap_or(usize::MAX);
    let listed = turn.machine.sagas.escalated.after(filter.after, filter.saga);
    let mut meant: Vec<u64> = listed.take(limit + 1).collect();
    let next = if meant.len() > limit { meant[limit - 1] } else { 0 };
    meant.truncate(limit);
    let place = if from.is_empty() { Place::Everywhere } else { Place::Named(from) };
    let mut count = 0;
    // A nested run is younger than the one it is a step of, which waits for it if it goes on first.
    for number in meant.into_iter().rev() {
        match restart(turn, number, place) {
            Ok(_) => advance(turn, number)?,
            Err(Stop::Denied(_)) => continue,
            Err(broken) => return Err(broken),
        }
        count += 1;
    }
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    let control = Control::Restart { step: 0 };
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

pub(super) fn denied(code: Code, run: u64) -> Denial<'static> {
    Denial { had: run.into(), ..Denial::of_text(code, "") }
}
