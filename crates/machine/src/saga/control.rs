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

/// Some of the escalated runs: those before the one of that number, newest first; 0 = from the newest on.
pub(super) struct RestartPage<'a> {
    pub(super) saga: &'a str,
    /// The step they go on from; empty = wherever each stopped.
    pub(super) from: &'a str,
    pub(super) before: u64,
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
        let step = restart(turn, number, Place::Step(step))?;
        return Ok(restarted(turn, by, number, step, marks)?);
    }
    let Some(mut run) = turn.machine.sagas.run(number).cloned() else {
        let code = if started(turn, number)?.is_some() { Code::RunState } else { Code::RunNotFound };
        return Err(denied(code, number).into());
    };
    change(&mut run, control).map_err(|code| denied(code, number))?;
    note(turn, by, number, &mut run, control, marks);
    let ordinal = run.newest;
    go_on(turn, number, run)?;
    Ok(ordinal)
}

/// Notes in a run's own records what was asked of it, and who asked.
fn note<A: Archive>(turn: &mut Turn<'_, A>, by: &By<'_>, number: u64, run: &mut Run, control: Control, marks: Marks) {
    let id = run_id(turn.machine, run.started, number);
    let body = SagaRecord::Controlled { run: number, id, previous: run.newest, control };
    run.newest = turn.write(by, Body::Saga(body), marks);
}

/// The same of a run that is restarted, which then goes on. Gives the record.
fn restarted<A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'_>,
    number: u64,
    step: u32,
    marks: Marks,
) -> Result<u64, ApplyError> {
    let mut run = turn.machine.sagas.run(number).expect("it was restarted").clone();
    note(turn, by, number, &mut run, Control::Restart { step }, marks);
    let ordinal = run.newest;
    turn.machine.sagas.set(number, run);
    advance(turn, number)?;
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
        note(turn, &of_many(by), number, &mut run, control, Marks::default());
        go_on(turn, number, run)?;
        count += 1;
    }
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    Ok(turn.write(by, Body::Saga(SagaRecord::ControlledMany { control, count, next }), marks))
}

/// Restarts those of a page that can go on. A nested run is younger than the one it is a step of, which can only go on behind
/// it: so the newest come first, on a page and from page to page.
pub(super) fn restart_many<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    page: &RestartPage<'a>,
) -> Result<u64, Stop<'a>> {
    let limit = usize::try_from(page.limit.clamp(1, RUNS_MAX)).unwrap_or(usize::MAX);
    let before = if page.before == 0 { u64::MAX } else { page.before };
    let mut meant: Vec<u64> = turn.machine.sagas.escalated.before(before, page.saga).take(limit + 1).collect();
    let next = if meant.len() > limit { meant[limit - 1] } else { 0 };
    meant.truncate(limit);
    let place = if page.from.is_empty() { Place::Everywhere } else { Place::Named(page.from) };
    let mut count = 0;
    for number in meant {
        match restart(turn, number, place) {
            Ok(step) => {
                restarted(turn, &of_many(by), number, step, Marks::default())?;
            }
            Err(Stop::Denied(_)) => continue,
            Err(broken) => return Err(broken),
        }
        count += 1;
    }
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    let control = Control::Restart { step: 0 };
    Ok(turn.write(by, Body::Saga(SagaRecord::ControlledMany { control, count, next }), marks))
}

/// Who asked for what was asked of many: each run's record tells it, and none of them stands under the key.
fn of_many<'a>(by: &By<'a>) -> By<'a> {
    By { principal: by.principal, ..By::NOBODY }
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
