//! Sagas and runs as they may be looked at.

use std::sync::Arc;

use words::{Stamp, TransferId};

use crate::archive::{Archive, Fault};
use crate::books::{damaged, find_decision};
use crate::call::Owner;
use crate::codec::{Corrupt, Reader};
use crate::effect::Ask;
use crate::machine::Machine;
use crate::record::{Body, Record};

use super::plan::Plan;
use super::record::SagaRecord;
use super::run::{Busy, Run, RunState, Slot, Stage, StepState, Why};

/// The most runs that are looked at for one page.
const PAGE_RUNS_MAX: usize = 10_000;

/// A saga: the newest definition of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SagaView<'m> {
    /// Its name.
    pub name: &'m str,
    /// The how manieth definition of that name, from 1.
    pub version: u64,
    /// The record that holds it.
    pub ordinal: u64,
    /// How many steps it has.
    pub steps: usize,
    /// How many open runs have this definition.
    pub runs: u64,
}

/// A run that has not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunView<'m> {
    /// Its number: the ordinal of the record that started it, which says what was asked.
    pub run: u64,
    /// What strangers call it.
    pub id: TransferId,
    /// Of which saga.
    pub saga: &'m str,
    /// Which definition of it.
    pub version: u64,
    /// The record that defined it.
    pub definition: u64,
    /// Where it is.
    pub state: RunState,
    /// Why it goes back, if it does.
    pub why: Option<Why>,
    /// The step that failed, if that is why.
    pub failed: Option<&'m str>,
    /// When it was started.
    pub started: Stamp,
    /// Until when it may go forward.
    pub deadline: Stamp,
    /// Whose step it is.
    pub parent: Option<Owner>,
    /// The newest record about it; each leads to the one before.
    pub newest: u64,
}

/// Some open runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunPage<'m> {
    /// Oldest first.
    pub items: Vec<RunView<'m>>,
    /// The run after which the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// How far a step is, or was when its run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepView {
    /// Where it is, in a word.
    pub state: &'static str,
    /// How many attempts were begun, its compensation's among them.
    pub attempt: u32,
    /// The record that holds what it gave; 0 for none yet.
    pub record: u64,
    /// What it waits for.
    pub waits: Option<StepWait>,
}

/// What a step under way waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepWait {
    /// What it asks for to be computed.
    Evaluation,
    /// A call's end.
    Call {
        /// The record that accepted it.
        call: u64,
    },
    /// Another run's end.
    Run {
        /// That run's number.
        run: u64,
    },
    /// That time.
    Until(Stamp),
}

/// What strangers call a run: unique among all cells, and in the order of their starts (RFC 9562, UUIDv7).
pub fn run_id(machine: &Machine, started: Stamp, run: u64) -> TransferId {
    TransferId::new(machine.cell_tag, started.millis(), run)
}

/// How far the steps of an ended run were, from the bytes that its end holds and the plan it followed.
///
/// # Errors
/// [`Corrupt`].
pub fn ended_steps(state: &[u8], plan: &Plan) -> Result<Vec<StepView>, Corrupt> {
    let run = Run::decode(&mut Reader::new(state), |_| Ok(Arc::new(plan.clone())))?;
    Ok(run.steps.iter().map(StepView::of).collect())
}

impl Machine {
    /// The saga of that name.
    pub fn saga(&self, name: &str) -> Option<SagaView<'_>> {
        let (ordinal, definition) = self.sagas.newest(name)?;
        let (version, steps) = (definition.version, definition.plan.steps.len());
        Some(SagaView { name: &definition.name, version, ordinal, steps, runs: definition.runs })
    }

    /// Up to `limit` sagas, in the order of their names, after that one.
    pub fn sagas(&self, after: &str, limit: usize) -> Vec<SagaView<'_>> {
        self.sagas.names_after(after).take(limit).filter_map(|(name, _)| self.saga(name)).collect()
    }

    /// How many runs are open.
    pub fn runs_len(&self) -> u64 {
        self.sagas.runs_len() as u64
    }

    /// How many escalated runs are kept in mind to be restarted.
    pub fn restartable_len(&self) -> u64 {
        self.sagas.escalated.len() as u64
    }

    /// The number of the run of that id; `None` if no run of this cell can have it.
    pub fn run_number(&self, id: TransferId) -> Option<u64> {
        id.ordinal(self.cell_tag).filter(|run| *run < self.books.next_ordinal)
    }

    /// The open run of that number.
    pub fn run(&self, run: u64) -> Option<RunView<'_>> {
        let open = self.sagas.run(run)?;
        let saga = self.sagas.definition(open.definition)?;
        let failed = match open.why {
            Some(Why::Failed { step }) => saga.plan.steps.get(step as usize).map(|step| step.id.as_str()),
            _ => None,
        };
        Some(RunView {
            run,
            id: run_id(self, open.started, run),
            saga: &saga.name,
            version: saga.version,
            definition: open.definition,
            state: open.state(),
            why: open.why,
            failed,
            started: open.started,
            deadline: open.deadline,
            parent: open.parent,
            newest: open.newest,
        })
    }

    /// The steps of an open run, in the order of its definition.
    pub fn run_steps(&self, run: u64) -> Vec<StepView> {
        self.sagas.run(run).into_iter().flat_map(|open| &open.steps).map(StepView::of).collect()
    }

    /// Up to `limit` open runs, oldest first, after that one: all, or only those in a state and of a saga. A page may be
    /// short, or empty, and still have a next one.
    pub fn runs(&self, state: Option<RunState>, saga: Option<&str>, after: u64, limit: usize) -> RunPage<'_> {
        let states = RunState::ALL.into_iter().filter(|each| state.is_none_or(|wanted| wanted == *each));
        let mut lists: Vec<_> = states.map(|state| self.sagas.in_state(state, after).peekable()).collect();
        let (mut items, mut last) = (Vec::new(), after);
        for _ in 0..PAGE_RUNS_MAX {
            let first = lists.iter_mut().filter_map(|list| Some((*list.peek()?, list))).min_by_key(|(run, _)| *run);
            let Some((run, list)) = first else { return RunPage { items, next: None } };
            if items.len() == limit {
                break;
            }
            list.next();
            last = run;
            let view = self.run(run).filter(|view| saga.is_none_or(|saga| view.saga == saga));
            items.extend(view);
        }
        RunPage { items, next: Some(last) }
    }

    /// The record of a run's end, if it has one and that is still found.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn run_end<A: Archive>(&self, run: u64, archive: &A) -> Result<Option<u64>, Fault> {
        let mut key = Ok(None);
        archive.read(run, &mut |bytes| {
            key = Record::decode(bytes).map(|record| match record.body {
                Body::Saga(SagaRecord::Started { .. }) => Some((record.principal.to_owned(), record.key.to_owned())),
                _ => None,
            });
        })?;
        let Some((principal, key)) = key.map_err(damaged)? else { return Ok(None) };
        let found = find_decision(archive, self.names.operation(&principal, &key), &principal, &key)?;
        let Some((ordinal, _)) = found else { return Ok(None) };
        // Long after its end its key may have been used for something else.
        let mut is_end = false;
        archive.read(ordinal, &mut |bytes| {
            let body = Record::decode(bytes).map(|record| record.body);
            is_end = matches!(body, Ok(Body::Saga(SagaRecord::Ended { run: of, .. })) if of == run);
        })?;
        Ok(is_end.then_some(ordinal))
    }

    /// What is being computed of open runs: the run, the step (0 for what the run gives), the attempt, and what is asked.
    /// Whoever begins to perform begins with it.
    pub fn open_evaluations(&self) -> Vec<(u64, u32, u32, Ask)> {
        let mut open = Vec::new();
        for (number, run) in self.sagas.runs() {
            if matches!(run.stage, Stage::Closing { .. }) {
                open.push((number, 0, 0, Ask::Output));
            }
            for (slot, step) in run.steps.iter().zip(0..) {
                if let StepState::Busy { undoes, at: Busy::Evaluating { .. } } = slot.state {
                    let ask = if undoes { Ask::Compensate } else { Ask::Act };
                    open.push((number, step, slot.attempt, ask));
                }
            }
        }
        open
    }

    /// What is needed to compute what is asked of a step of an open run, or of the run: of the steps that are done those that
    /// the definition names there, and the record that holds what each gave.
    pub fn run_outputs(&self, run: u64, step: u32, ask: Ask) -> Vec<(u32, u64)> {
        let Some(open) = self.sagas.run(run) else { return Vec::new() };
        let steps = open.steps.iter().zip(0_u32..).filter(|(slot, _)| Slot::has_output(slot));
        steps.filter(|(_, of)| open.plan.reads(step, ask, *of)).map(|(slot, of)| (of, slot.record)).collect()
    }
}

impl StepView {
    const fn of(slot: &Slot) -> Self {
        let waits = match slot.state {
            StepState::Busy { at, .. } => Some(match at {
                Busy::Evaluating { .. } => StepWait::Evaluation,
                Busy::Calling { call } => StepWait::Call { call },
                Busy::Waiting { due } | Busy::Retrying { due } => StepWait::Until(due),
                Busy::Nested { run, .. } => StepWait::Run { run },
            }),
            _ => None,
        };
        Self { state: slot.state.as_str(), attempt: slot.attempt, record: slot.record, waits }
    }
}
