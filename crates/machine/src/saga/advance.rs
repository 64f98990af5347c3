//! Moves a run on, as far as it goes in this entry.

use words::{Fingerprint, Stamp};

use crate::apply::{ApplyError, Ended};
use crate::archive::Archive;
use crate::books::{Marks, damaged};
use crate::call::Owner;
use crate::effect::{Ask, Effect};
use crate::inbox::By;
use crate::record::{Body, Record};
use crate::topic::TOPIC_ESCALATIONS;
use crate::topic::publish::publish_built_in;
use crate::turn::Turn;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ended::Notice;
use super::next::{self, Move, Outcome};
use super::record::{RunEnd, SagaRecord, StepEvent};
use super::restart;
use super::run::{Busy, Run, Slot, Stage, StepState, Why};
use super::view::run_id;

/// How long the outbox has to compute what a step asks for before it is asked again, in milliseconds.
pub(super) const EVALUATION_MS: u64 = 10_000;
/// The shortest and the longest backoff's upper end, in milliseconds.
const BACKOFF_MS: (u64, u64) = (50, 600_000);

/// Moves on the run of that number, if it is open.
pub(super) fn advance<A: Archive>(turn: &mut Turn<'_, A>, number: u64) -> Result<(), ApplyError> {
    match turn.machine.sagas.run(number).cloned() {
        Some(run) => go_on(turn, number, run),
        None => Ok(()),
    }
}

/// Moves on a run that was changed, and keeps it if it is still open.
pub(super) fn go_on<A: Archive>(turn: &mut Turn<'_, A>, number: u64, mut run: Run) -> Result<(), ApplyError> {
    while let Some(next) = next::next(&run, turn.stamp) {
        match next {
            Move::Begin { step } => begin(turn, number, &mut run, step, false),
            Move::Undo { step } => undo(turn, number, &mut run, step),
            Move::TurnBack => turn_back(turn, &mut run),
            Move::GoOn => try_failed_again(turn, number, &mut run),
            Move::Close => close(turn, number, &mut run),
            Move::End(how) => return end(turn, number, run, how, ""),
        }
    }
    turn.machine.sagas.set(number, run);
    Ok(())
}

/// Has it computed what a step asks for, to be done or to be undone.
fn begin<A: Archive>(turn: &mut Turn<'_, A>, number: u64, run: &mut Run, step: usize, undoes: bool) {
    let planned = &run.plan.steps[step];
    let timeout_ms = if undoes { planned.compensation.map_or(0, |c| c.timeout_ms) } else { planned.timeout_ms };
    let slot = &mut run.steps[step];
    let is_again = matches!(slot.state, StepState::Busy { .. });
    if !is_again {
        slot.until = turn.stamp.plus_ms(timeout_ms);
    }
    slot.attempt = slot.attempt.saturating_add(1);
    ask(turn, number, slot, step, undoes);
}

/// Asks for what a step's current attempt needs, be it for the first time or again.
pub(super) fn ask<A: Archive>(turn: &mut Turn<'_, A>, number: u64, slot: &mut Slot, step: usize, undoes: bool) {
    let window = turn.stamp.plus_ms(EVALUATION_MS);
    // Past its time only what undoes is still asked for: see `due`.
    let until = if slot.until > turn.stamp { window.min(slot.until) } else { window };
    slot.state = StepState::Busy { undoes, at: Busy::Evaluating { until } };
    let ask = if undoes { Ask::Compensate } else { Ask::Act };
    let step = u32::try_from(step).expect("a plan has few steps");
    turn.scratch.effects.push(Effect::Evaluate { run: number, step, attempt: slot.attempt, ask, until });
}

/// Has it computed what a run gives whose steps are all done, for the first time or again.
pub(super) fn close<A: Archive>(turn: &mut Turn<'_, A>, number: u64, run: &mut Run) {
    let until = turn.stamp.plus_ms(EVALUATION_MS);
    run.stage = Stage::Closing { until };
    turn.scratch.effects.push(Effect::Evaluate { run: number, step: 0, attempt: 0, ask: Ask::Output, until });
}

fn undo<A: Archive>(turn: &mut Turn<'_, A>, number: u64, run: &mut Run, step: usize) {
    match run.plan.steps[step].compensation {
        Some(_) => begin(turn, number, run, step, true),
        // Nothing needs to be done for it.
        None => run.steps[step].state = StepState::Undone,
    }
}

/// From here on nothing new is done. What is under way outside comes to its own end first.
fn turn_back<A: Archive>(turn: &mut Turn<'_, A>, run: &mut Run) {
    run.stage = Stage::Backward;
    run.paused = false;
    for slot in &mut run.steps {
        match slot.state {
            StepState::Pending => slot.state = StepState::Skipped,
            StepState::Busy { at: Busy::Evaluating { .. } | Busy::Waiting { .. } | Busy::Retrying { .. }, .. } => {
                slot.state = StepState::Skipped;
            }
            StepState::Busy { undoes, at: Busy::Nested { run, .. } } => {
                slot.state = StepState::Busy { undoes, at: Busy::Nested { run, until: Stamp::MAX } };
                turn.scratch.notices.push(Notice::Cancel { run });
            }
            _ => {}
        }
    }
}

/// Beyond the pivot what failed is tried again, until the run's time is up.
fn try_failed_again<A: Archive>(turn: &mut Turn<'_, A>, number: u64, run: &mut Run) {
    run.why = None;
    let deadline = run.deadline;
    for (step, slot) in run.steps.iter_mut().enumerate() {
        if slot.state == StepState::Failed {
            let due = turn.stamp.plus_ms(backoff_ms(number, step, slot.attempt)).min(deadline);
            slot.state = StepState::Busy { undoes: false, at: Busy::Retrying { due } };
            slot.until = deadline;
        }
    }
}

/// Notes what came of a step's attempt. The run is to be moved on after it.
pub(super) fn note<A: Archive>(
    turn: &mut Turn<'_, A>,
    number: u64,
    run: &mut Run,
    step: usize,
    outcome: Outcome,
    what: u64,
    evidence: &str,
) {
    let planned = &run.plan.steps[step];
    let slot = &mut run.steps[step];
    let undoes = matches!(slot.state, StepState::Busy { undoes: true, .. } | StepState::Stuck { undoes: true, .. });
    let due = turn.stamp.plus_ms(backoff_ms(number, step, slot.attempt));
    let may_retry = due < slot.until && (undoes || slot.attempt < planned.attempts_max || slot.until == run.deadline);
    slot.state = next::after(undoes, outcome, may_retry, due, slot.waits_on());
    let event = match slot.state {
        StepState::Done => {
            run.ended += 1;
            slot.order = run.ended;
            StepEvent::Done
        }
        StepState::Undone => StepEvent::Undone,
        StepState::Failed => {
            let step = u32::try_from(step).expect("a plan has few steps");
            run.why.get_or_insert(Why::Failed { step });
            StepEvent::Failed
        }
        StepState::Stuck { undoes: false, .. } => StepEvent::Uncertain,
        StepState::Stuck { undoes: true, .. } => StepEvent::UndoFailed,
        _ if undoes => StepEvent::UndoRefused,
        _ => StepEvent::Refused,
    };
    let step = u32::try_from(step).expect("a plan has few steps");
    let body =
        SagaRecord::Stepped { run: number, previous: run.newest, step, attempt: slot.attempt, event, what, evidence };
    run.newest = turn.write_unnamed(Body::Saga(body));
    if slot.state == StepState::Done {
        slot.record = if what == 0 { run.newest } else { what };
    }
}

/// Ends a run: whoever waits for it is answered, and the run it is a step of is told.
pub(super) fn end<A: Archive>(
    turn: &mut Turn<'_, A>,
    number: u64,
    run: Run,
    how: RunEnd,
    output: &str,
) -> Result<(), ApplyError> {
    let mut state = Vec::new();
    run.encode(&mut state);
    let why = run.why.filter(|_| how != RunEnd::Done);
    let id = run_id(turn.machine, run.started, number);
    let body = SagaRecord::Ended { run: number, id, previous: run.newest, end: how, why, output, state: &state };
    let ordinal = write_under_key(turn, number, Body::Saga(body))?;
    if how == RunEnd::Escalated {
        publish_built_in(turn, TOPIC_ESCALATIONS, ordinal);
    }
    let saga = turn.machine.sagas.definition(run.definition).map(|definition| definition.name.clone());
    turn.machine.sagas.close(number);
    if let (RunEnd::Escalated, true, Some(saga)) = (how, restart::can_go_on(&run), saga) {
        turn.machine.sagas.escalated.add(number, saga);
    }
    turn.scratch.ended.push(Ended { began: number, ordinal, uncertain_us: 0 });
    if let Some(owner) = run.parent {
        turn.scratch.notices.push(Notice::RunEnded { owner, run: number, how, ordinal });
    }
    Ok(())
}

/// Writes a record under the key that a run was started with.
pub(super) fn write_under_key<A: Archive>(
    turn: &mut Turn<'_, A>,
    number: u64,
    body: Body<'_>,
) -> Result<u64, ApplyError> {
    let started = read(turn, number)?;
    let record = Record::decode(&started).map_err(damaged)?;
    let by = By {
        principal: record.principal,
        key: record.key,
        name: turn.machine.names.operation(record.principal, record.key),
        fingerprint: record.fingerprint,
        waited_us: 0,
    };
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    Ok(turn.write(&by, body, marks))
}

/// The bytes of a record.
pub(super) fn read<A: Archive>(turn: &Turn<'_, A>, ordinal: u64) -> Result<Vec<u8>, ApplyError> {
    let mut bytes = Vec::new();
    turn.archive.read(ordinal, &mut |record| bytes.extend_from_slice(record))?;
    Ok(bytes)
}

/// What the key of a compensation has after the key of the step that it undoes.
pub const COMPENSATION_SUFFIX: &str = "/compensate";

/// The name under which a step does something: `<run>/<step>`, to undo it with `/compensate` after it. The same for all
/// attempts.
pub(super) struct StepKey {
    principal: String,
    key: String,
}

impl StepKey {
    pub(super) fn of<A: Archive>(turn: &Turn<'_, A>, run: &Run, owner: Owner) -> Result<Self, ApplyError> {
        let started = read(turn, owner.run)?;
        let principal = Record::decode(&started).map_err(damaged)?.principal.to_owned();
        let id = run_id(turn.machine, run.started, owner.run);
        let step = &run.plan.steps[owner.step as usize].id;
        let key = format!("{id}/{step}{}", if owner.compensates { COMPENSATION_SUFFIX } else { "" });
        Ok(Self { principal, key })
    }

    pub(super) fn by<A: Archive>(&self, turn: &Turn<'_, A>) -> By<'_> {
        By {
            principal: &self.principal,
            key: &self.key,
            name: turn.machine.names.operation(&self.principal, &self.key),
            fingerprint: Fingerprint::from_bytes([0; 16]),
            waited_us: 0,
        }
    }
}

/// Full jitter under an exponential bound. Drawn from the run's number, so that every replica draws the same.
fn backoff_ms(run: u64, step: usize, attempt: u32) -> u64 {
    let (first, most) = BACKOFF_MS;
    let bound = first.saturating_mul(1 << attempt.min(20)).min(most);
    1 + xxh3_64_with_seed(&run.to_le_bytes(), (step as u64) << 32 | u64::from(attempt)) % bound
}
