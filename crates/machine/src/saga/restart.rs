//! `POST /v1/runs/{id}/restart`: an escalated run goes on, from the step a person says; and the same for many.
//!
//! What was done stays done: the run knows what each of its steps did, however long ago that was, and whether anybody still
//! remembers its key. The step and those that wait for it begin anew if they were not done. Of a step that a person has the
//! move of, it is first asked what became of it:
//!
//! | it waited for | which is | then the step |
//! |---|---|---|
//! | a call | still uncertain | waits for it again; the receiver is asked once more, under the same key |
//! | a call | ended as done, or said to be | is done |
//! | a call | ended otherwise | begins anew |
//! | a nested run | under way again | waits for it |
//! | a nested run | done | is done |
//! | a nested run | compensated | begins anew |
//! | a nested run | escalated | is in the way: the nested run comes first |

use std::sync::Arc;

use crate::apply::ApplyError;
use crate::archive::{Archive, Fault};
use crate::books::damaged;
use crate::call::{Owner, again};
use crate::codec::Reader;
use crate::ledger::Stop;
use crate::record::{Body, CallEnd, Record};
use crate::refusal::Code;
use crate::turn::Turn;

use super::advance::{StepKey, note, read, write_under_key};
use super::control::denied;
use super::next::Outcome;
use super::plan::{Plan, StepKind};
use super::record::{RunEnd, SagaRecord};
use super::run::{Busy, Run, Slot, Stage, StepState};
use super::runs::Definition;

/// Where an escalated run goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// At the step of that number.
    Step(u32),
    /// At the step of that name.
    Named(&'a str),
    /// Wherever it stopped: at each step that was not done.
    Everywhere,
}

/// Whether a run that ends as escalated can be restarted: what was undone in part is not done again in part.
pub(super) fn can_go_on(run: &Run) -> bool {
    run.stage != Stage::Backward
}

/// Takes an escalated run up again: a record under the run's own key says so. Gives the step it goes on from.
pub(super) fn restart<'a, A: Archive>(turn: &mut Turn<'_, A>, number: u64, place: Place<'_>) -> Result<u32, Stop<'a>> {
    if turn.machine.sagas.run(number).is_some() {
        return Err(denied(Code::RunState, number).into());
    }
    if started(turn, number)?.is_none() {
        return Err(denied(Code::RunNotFound, number).into());
    }
    let Some((previous, mut run)) = escalated(turn, number)? else {
        return Err(denied(Code::RunState, number).into());
    };
    let (step, anew) = anew(&run, place).ok_or_else(|| denied(Code::StepNotFound, number))?;
    // Who has gone on without it does not wait for it.
    if !can_go_on(&run) || !is_waited_for(turn, number, &run)? {
        return Err(denied(Code::RunState, number).into());
    }
    let mut steps = Vec::new();
    for at in anew {
        let becomes = becomes(turn, number, &run, at)?.ok_or_else(|| denied(Code::RunState, number))?;
        steps.push((at, becomes));
    }
    // Nothing is refused any more.
    run.stage = Stage::Forward;
    run.why = None;
    run.expired = false;
    run.paused = false;
    run.deadline = turn.stamp.plus_ms(run.plan.deadline_ms);
    let body = SagaRecord::Restarted { run: number, previous, step, deadline: run.deadline };
    run.newest = write_under_key(turn, number, Body::Saga(body))?;
    for (at, becomes) in steps {
        begin_anew(turn, number, &mut run, at, becomes);
    }
    if turn.machine.sagas.definition(run.definition).is_none() {
        let definition = definition(turn, run.definition)?;
        turn.machine.sagas.recall(run.definition, definition);
    }
    turn.machine.sagas.set(number, run);
    Ok(step)
}

/// The step to go on from, and all that are to be done if they were not; `None` if there is no such step.
fn anew(run: &Run, place: Place<'_>) -> Option<(u32, Vec<usize>)> {
    let all = 0..run.steps.len();
    let step = match place {
        Place::Step(step) => step as usize,
        Place::Named(name) => run.plan.steps.iter().position(|step| step.id == name)?,
        Place::Everywhere => {
            let first = run.steps.iter().position(|slot| slot.state != StepState::Done)?;
            return Some((u32::try_from(first).ok()?, all.collect()));
        }
    };
    all.contains(&step).then_some(())?;
    let depends = run.plan.dependents(step);
    Some((u32::try_from(step).ok()?, all.filter(|at| *at == step || depends[*at]).collect()))
}

/// What becomes of a step of a run that is restarted.
enum Becomes {
    /// It is done, and stays so.
    Done,
    /// It turns out to have been done, in that record.
    FoundDone(u64),
    /// It waits again for what it waited for.
    Busy(Busy),
    /// It begins anew.
    New,
}

/// What becomes of a step that is to be done if it was not; `None` if something is in the way.
fn becomes<A: Archive>(turn: &Turn<'_, A>, number: u64, run: &Run, step: usize) -> Result<Option<Becomes>, ApplyError> {
    let planned = &run.plan.steps[step];
    let (is_nested, on) = match run.steps[step].state {
        StepState::Done => return Ok(Some(Becomes::Done)),
        StepState::Stuck { undoes: false, on } => (planned.kind == StepKind::Saga, on),
        _ => return Ok(Some(Becomes::New)),
    };
    let ended = match is_nested {
        true if turn.machine.sagas.run(on).is_some() => {
            let until = turn.stamp.plus_ms(planned.timeout_ms);
            return Ok(Some(Becomes::Busy(Busy::Nested { run: on, until })));
        }
        true => nested_end(turn, on)?,
        false if turn.machine.calls.get(on).is_some() => return Ok(Some(Becomes::Busy(Busy::Calling { call: on }))),
        false => call_end(turn, number, run, step, on)?,
    };
    Ok(ended.map(|(record, is_done)| if is_done { Becomes::FoundDone(record) } else { Becomes::New }))
}

fn begin_anew<A: Archive>(turn: &mut Turn<'_, A>, number: u64, run: &mut Run, step: usize, becomes: Becomes) {
    let slot = &mut run.steps[step];
    match becomes {
        Becomes::Done => {}
        Becomes::FoundDone(record) => note(turn, number, run, step, Outcome::Done, record, "it turned out to be done"),
        Becomes::Busy(at) => {
            if let Busy::Calling { call } = at {
                again::try_again(turn, call);
            }
            slot.state = StepState::Busy { undoes: false, at };
            slot.until = turn.stamp.plus_ms(run.plan.steps[step].timeout_ms);
        }
        Becomes::New => *slot = Slot { attempt: slot.attempt, ..Slot::NEW },
    }
}

/// The record of a call's end, and whether it was done; `None` if nobody knows any more.
fn call_end<A: Archive>(
    turn: &Turn<'_, A>,
    number: u64,
    run: &Run,
    step: usize,
    call: u64,
) -> Result<Option<(u64, bool)>, ApplyError> {
    let step = u32::try_from(step).expect("a plan has few steps");
    let key = StepKey::of(turn, run, Owner { run: number, step, compensates: false })?;
    let by = key.by(turn);
    let Some((newest, _)) = turn.machine.books.find(turn.archive, by.name, by.principal, by.key)? else {
        return Ok(None);
    };
    let bytes = read(turn, newest)?;
    Ok(match Record::decode(&bytes).map_err(damaged)?.body {
        Body::CallEnded(ended) if ended.call == call => {
            Some((newest, matches!(ended.end, CallEnd::Committed | CallEnd::DecreedCommitted)))
        }
        _ => None,
    })
}

/// The record of a nested run's end, and whether it was done; `None` if something of it is left to a person.
fn nested_end<A: Archive>(turn: &Turn<'_, A>, nested: u64) -> Result<Option<(u64, bool)>, ApplyError> {
    let Some((newest, bytes)) = newest(turn, nested)? else { return Ok(None) };
    Ok(match Record::decode(&bytes).map_err(damaged)?.body {
        Body::Saga(SagaRecord::Ended { run, end, .. }) if run == nested && end != RunEnd::Escalated => {
            Some((newest, end == RunEnd::Done))
        }
        _ => None,
    })
}

/// Whether a run's end would be taken by whoever waits for it: by anybody, if it is no step of another run.
fn is_waited_for<A: Archive>(turn: &Turn<'_, A>, number: u64, run: &Run) -> Result<bool, ApplyError> {
    let Some(Owner { run: outer, step, .. }) = run.parent else { return Ok(true) };
    let outer = match turn.machine.sagas.run(outer) {
        Some(open) => Some(open.clone()),
        None => escalated(turn, outer)?.map(|(_, run)| run),
    };
    Ok(outer.is_some_and(|outer| {
        let stuck = StepState::Stuck { undoes: false, on: number };
        outer.stage != Stage::Backward && outer.steps.get(step as usize).is_some_and(|slot| slot.state == stuck)
    }))
}

/// The record of a run's end and the run as it was then, if it was escalated.
fn escalated<A: Archive>(turn: &Turn<'_, A>, number: u64) -> Result<Option<(u64, Run)>, ApplyError> {
    let Some((newest, bytes)) = newest(turn, number)? else { return Ok(None) };
    match Record::decode(&bytes).map_err(damaged)?.body {
        Body::Saga(SagaRecord::Ended { run, end: RunEnd::Escalated, state, .. }) if run == number => {
            Ok(Some((newest, revive(turn, state)?)))
        }
        _ => Ok(None),
    }
}

/// The newest record under the key that a run was started with.
fn newest<A: Archive>(turn: &Turn<'_, A>, number: u64) -> Result<Option<(u64, Vec<u8>)>, ApplyError> {
    let Some((principal, key)) = started(turn, number)? else { return Ok(None) };
    let name = turn.machine.names.operation(&principal, &key);
    let Some((newest, _)) = turn.machine.books.find(turn.archive, name, &principal, &key)? else { return Ok(None) };
    Ok(Some((newest, read(turn, newest)?)))
}

/// A run from the bytes of its end.
fn revive<A: Archive>(turn: &Turn<'_, A>, state: &[u8]) -> Result<Run, ApplyError> {
    let definition = definition(turn, Reader::new(state).u64()?)?;
    Ok(Run::decode(&mut Reader::new(state), |_| Ok(definition.plan))?)
}

/// The definition of that number, whether it is still in use or not.
fn definition<A: Archive>(turn: &Turn<'_, A>, number: u64) -> Result<Definition, ApplyError> {
    if let Some(definition) = turn.machine.sagas.definition(number) {
        return Ok(definition.clone());
    }
    let bytes = read(turn, number)?;
    let Body::Saga(SagaRecord::Defined { name, version, plan, .. }) = Record::decode(&bytes).map_err(damaged)?.body
    else {
        return Err(Fault("a run's definition is no definition".to_owned()).into());
    };
    Ok(Definition { name: name.into(), version, plan: Arc::new(Plan::decode(plan)?), runs: 0 })
}

/// Whose run it is, and the key it was started with; `None` if that number is no run.
pub(super) fn started<A: Archive>(turn: &Turn<'_, A>, number: u64) -> Result<Option<(String, String)>, ApplyError> {
    if number >= turn.machine.books.next_ordinal {
        return Ok(None);
    }
    let bytes = read(turn, number)?;
    let record = Record::decode(&bytes).map_err(damaged)?;
    let is_run = matches!(record.body, Body::Saga(SagaRecord::Started { .. }));
    Ok(is_run.then(|| (record.principal.to_owned(), record.key.to_owned())))
}
