//! Sagas and open runs as they may be looked at.

use words::{Stamp, TransferId};

use crate::machine::Machine;

use super::run::{RunState, Slot, Why};

/// A saga: the newest definition of its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SagaView<'m> {
    /// Its name.
    pub name: &'m str,
    /// The how manieth definition of that name, from 1.
    pub version: u64,
    /// The record that holds it.
    pub ordinal: u64,
}

/// A run that has not ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunView<'m> {
    /// Its number: the ordinal of the record that started it, which says what was asked.
    pub run: u64,
    /// What strangers call it.
    pub id: TransferId,
    /// Of which saga.
    pub saga: &'m str,
    /// The record that defined it.
    pub definition: u64,
    /// Where it is.
    pub state: RunState,
    /// Why it goes back, if it does.
    pub why: Option<Why>,
    /// When it was started.
    pub started: Stamp,
    /// Until when it may go forward.
    pub deadline: Stamp,
    /// The newest record about it; each leads to the one before.
    pub newest: u64,
    /// Its steps, in the order of its definition.
    pub steps: Vec<StepView<'m>>,
}

/// A step of an open run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepView<'m> {
    /// Its id.
    pub id: &'m str,
    /// Where it is, in a word.
    pub state: &'static str,
    /// How many attempts were begun.
    pub attempt: u32,
    /// The record that holds what it gave; 0 for none yet.
    pub record: u64,
}

/// What strangers call a run: unique among all cells, and in the order of their starts (RFC 9562, UUIDv7).
pub fn run_id(machine: &Machine, started: Stamp, run: u64) -> TransferId {
    TransferId::new(machine.cell_tag, started.millis(), run)
}

impl Machine {
    /// The saga of that name.
    pub fn saga(&self, name: &str) -> Option<SagaView<'_>> {
        let (ordinal, definition) = self.sagas.newest(name)?;
        Some(SagaView { name: &definition.name, version: definition.version, ordinal })
    }

    /// Up to `limit` sagas, in the order of their names, after that one.
    pub fn sagas(&self, after: &str, limit: usize) -> Vec<SagaView<'_>> {
        self.sagas.names_after(after).take(limit).filter_map(|(name, _)| self.saga(name)).collect()
    }

    /// How many runs are open.
    pub fn runs_len(&self) -> u64 {
        self.sagas.runs_len() as u64
    }

    /// The open run of that number.
    pub fn run(&self, run: u64) -> Option<RunView<'_>> {
        let open = self.sagas.run(run)?;
        let saga = self.sagas.definition(open.definition)?;
        let steps = saga.plan.steps.iter().zip(&open.steps).map(|(step, slot)| StepView {
            id: &step.id,
            state: slot.state.as_str(),
            attempt: slot.attempt,
            record: slot.record,
        });
        Some(RunView {
            run,
            id: run_id(self, open.started, run),
            saga: &saga.name,
            definition: open.definition,
            state: open.state(),
            why: open.why,
            started: open.started,
            deadline: open.deadline,
            newest: open.newest,
            steps: steps.collect(),
        })
    }

    /// Up to `limit` open runs in that state, oldest first, after that one.
    pub fn runs(&self, state: RunState, after: u64, limit: usize) -> Vec<RunView<'_>> {
        self.sagas.in_state(state, after).take(limit).filter_map(|number| self.run(number)).collect()
    }

    /// What the expressions of an open run may refer to: its steps that are done, and the record that holds what each gave.
    pub fn run_outputs(&self, run: u64) -> Vec<(u32, u64)> {
        let open = self.sagas.run(run);
        let steps = open.into_iter().flat_map(|open| &open.steps).zip(0_u32..);
        steps.filter(|(slot, _)| Slot::has_output(slot)).map(|(slot, step)| (step, slot.record)).collect()
    }
}
