//! The definitions that are in use and the runs that have not ended, with what finds them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use words::Stamp;

use crate::codec::{Corrupt, Reader, put_bytes, put_u64};
use crate::shelf::Shelf;

use super::escalated::Escalated;
use super::plan::Plan;
use super::run::{Run, RunState};

/// A definition: the newest of its name, or one that open runs still have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Definition {
    pub(crate) name: Box<str>,
    pub(crate) version: u64,
    pub(crate) plan: Arc<Plan>,
    /// How many open runs have it.
    pub(crate) runs: u64,
}

/// All sagas and runs of a cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sagas {
    definitions: Shelf<Definition>,
    newest: BTreeMap<Box<str>, u64>,
    runs: Shelf<Run>,
    wakes: BTreeSet<(Stamp, u64)>,
    states: BTreeSet<(RunState, u64)>,
    pub(super) escalated: Escalated,
}

impl Sagas {
    /// The newest definition of that name.
    pub(crate) fn newest(&self, name: &str) -> Option<(u64, &Definition)> {
        let number = *self.newest.get(name)?;
        Some((number, self.definitions.get(number)?))
    }

    pub(crate) fn definition(&self, number: u64) -> Option<&Definition> {
        self.definitions.get(number)
    }

    /// The names after `after`, in their order.
    pub(crate) fn names_after<'s>(&'s self, after: &str) -> impl Iterator<Item = (&'s str, u64)> + 's {
        use std::ops::Bound::{Excluded, Unbounded};
        self.newest.range::<str, _>((Excluded(after), Unbounded)).map(|(name, number)| (&**name, *number))
    }

    pub(crate) fn definitions_len(&self) -> usize {
        self.newest.len()
    }

    /// Adds a definition, the newest of its name.
    pub(crate) fn define(&mut self, number: u64, definition: Definition) {
        let before = self.newest.insert(definition.name.clone(), number);
        self.definitions.insert(number, definition);
        self.forget(before);
    }

    /// Takes an old definition up again, for a run that goes on with it.
    pub(crate) fn recall(&mut self, number: u64, definition: Definition) {
        self.definitions.insert(number, definition);
    }

    /// Forgets a definition that is not the newest of its name and that no run has.
    fn forget(&mut self, number: Option<u64>) {
        let Some(number) = number else { return };
        let Some(definition) = self.definitions.get(number) else { return };
        if definition.runs == 0 && self.newest.get(&definition.name) != Some(&number) {
            self.definitions.remove(number);
        }
    }

    fn count_run(&mut self, number: u64, change: i64) {
        let Some(definition) = self.definitions.get(number).cloned() else { return };
        let runs = definition.runs.saturating_add_signed(change);
        self.definitions.insert(number, Definition { runs, ..definition });
        self.forget(Some(number));
    }

    pub(crate) fn runs_len(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn run(&self, number: u64) -> Option<&Run> {
        self.runs.get(number)
    }

    /// Opens a run, or changes one.
    pub(crate) fn set(&mut self, number: u64, run: Run) {
        let (wakes, state, definition) = (run.wakes(), run.state(), run.definition);
        let before = self.runs.insert(number, run);
        if before.is_none() {
            self.escalated.remove(number);
            self.count_run(definition, 1);
        }
        self.unlist(number, before.as_ref());
        self.wakes.extend(wakes.map(|at| (at, number)));
        self.states.insert((state, number));
    }

    pub(crate) fn close(&mut self, number: u64) {
        let before = self.runs.remove(number);
        self.unlist(number, before.as_ref());
        if let Some(run) = before {
            self.count_run(run.definition, -1);
        }
    }

    fn unlist(&mut self, number: u64, before: Option<&Run>) {
        let Some(before) = before else { return };
        if let Some(at) = before.wakes() {
            self.wakes.remove(&(at, number));
        }
        self.states.remove(&(before.state(), number));
    }

    /// Each run that was escalated and can go on, with the name of its saga.
    pub(crate) fn escalated(&self) -> impl Iterator<Item = (u64, &str)> + '_ {
        self.escalated.iter()
    }

    /// What time moves on first: when, and which.
    pub(crate) fn first_due(&self) -> Option<(Stamp, u64)> {
        self.wakes.first().copied()
    }

    /// The runs in a state after that one, oldest first.
    pub(crate) fn in_state(&self, state: RunState, after: u64) -> impl Iterator<Item = u64> + '_ {
        use std::ops::Bound::{Excluded, Included};
        let range = (Excluded((state, after)), Included((state, u64::MAX)));
        self.states.range(range).map(|(_, number)| *number)
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = (u64, &Run)> + '_ {
        self.runs.iter()
    }

    pub(crate) fn definitions(&self) -> impl Iterator<Item = (u64, &Definition)> + '_ {
        self.definitions.iter()
    }

    pub(crate) fn freeze(&mut self) {
        self.definitions.freeze();
        self.runs.freeze();
        self.escalated.freeze();
    }

    pub(crate) fn thaw(&mut self) {
        self.definitions.thaw();
        self.runs.thaw();
        self.escalated.thaw();
    }

    /// The next definition of a snapshot, encoded.
    pub(crate) fn take_definition(&mut self, out: &mut Vec<u8>) -> bool {
        let taken = self.definitions.take_frozen();
        taken.map(|(number, definition)| definition.encode(number, out)).is_some()
    }

    /// The next run of a snapshot, encoded.
    pub(crate) fn take_run(&mut self, out: &mut Vec<u8>) -> bool {
        let taken = self.runs.take_frozen();
        taken.map(|(number, run)| encode_run(number, &run, out)).is_some()
    }

    /// The next escalated run of a snapshot, encoded.
    pub(crate) fn take_escalated(&mut self, out: &mut Vec<u8>) -> bool {
        self.escalated.take(out)
    }

    pub(crate) fn restore_escalated(&mut self, r: &mut Reader<'_>) -> Result<(), Corrupt> {
        self.escalated.restore(r)
    }

    /// Reads a definition of a snapshot. All of them come before the first run.
    pub(crate) fn restore_definition(&mut self, r: &mut Reader<'_>) -> Result<(), Corrupt> {
        let (number, name, version) = (r.u64()?, Box::from(r.str()?), r.u64()?);
        let plan = Arc::new(Plan::decode(r.bytes()?)?);
        // Of one name the newest is the one with the largest number.
        let newest = self.newest.entry(Box::clone(&name)).or_insert(number);
        *newest = (*newest).max(number);
        // Counted again as the runs come.
        self.definitions.insert(number, Definition { name, version, plan, runs: 0 });
        Ok(())
    }

    pub(crate) fn restore_run(&mut self, r: &mut Reader<'_>) -> Result<(), Corrupt> {
        let number = r.u64()?;
        let plan_of = |definition| {
            let found = self.definitions.get(definition).map(|definition| Arc::clone(&definition.plan));
            found.ok_or(Corrupt("a run of a saga that is not"))
        };
        let run = Run::decode(r, plan_of)?;
        self.set(number, run);
        Ok(())
    }
}

impl Definition {
    pub(crate) fn encode(&self, number: u64, out: &mut Vec<u8>) {
        put_u64(out, number);
        put_bytes(out, self.name.as_bytes());
        put_u64(out, self.version);
        let mut plan = Vec::new();
        self.plan.encode(&mut plan);
        put_bytes(out, &plan);
    }
}

pub(crate) fn encode_run(number: u64, run: &Run, out: &mut Vec<u8>) {
    put_u64(out, number);
    run.encode(out);
}
