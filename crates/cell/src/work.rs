//! Effects on their way to the outbox, with what is needed to perform them.
//!
//! If this stops halfway, an effect that was not handed over, or handed over and lost, is found again by the next
//! leader's claim: the machine knows what is open.

use machine::{Archive, Ask, Body, Effect, Phase, Record, SagaRecord};

use crate::cell::Cell;
use crate::fault::CellFault;

/// Takes effects on. Called on the cell's thread: it must not block.
pub type OutboxOf = Box<dyn FnMut(Work) + Send>;

/// One effect to perform. What comes of it is submitted as a command without a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// A durable call is to be tried: `machine::Op::Tried` says what came of it.
    Try {
        /// The call.
        call: u64,
        /// Which attempt.
        attempt: u32,
        /// What is to be asked.
        phase: Phase,
        /// How long the attempt may take from when the work was handed over, in microseconds.
        remaining_us: u64,
        /// The record that accepted the call: `machine::Record`, encoded.
        accepted: Vec<u8>,
    },
    /// What a step of a run asks for is to be computed: `machine::SagaOp::Step` says what it is.
    Evaluate(Box<Evaluation>),
    /// There is, or may be, something to deliver for a subscription: `Query::Deliveries` says what. What came of it is
    /// reported as `machine::TopicOp::Delivered`.
    Deliver {
        /// The subscription's number.
        subscription: u64,
    },
    /// Another leads: all that was handed over before is to be dropped at once, as if the process had ended. What is being performed is
    /// broken off, and what came of it is told to nobody.
    Abandon,
}

/// What is to be computed of a run, and from what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evaluation {
    /// The run.
    pub run: u64,
    /// Which step, counted from 0.
    pub step: u32,
    /// Which attempt.
    pub attempt: u32,
    /// What is to be computed.
    pub ask: Ask,
    /// The record that started the run: `machine::Record`, encoded. It holds the run's input.
    pub started: Vec<u8>,
    /// Of its definition's record, the ordinal: the same definition each time.
    pub definition: u64,
    /// The record of its definition, likewise encoded.
    pub defined: Vec<u8>,
    /// What the steps gave that the definition names there.
    pub outputs: Vec<StepOutput>,
}

/// What a step gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepOutput {
    /// Which step, counted from 0.
    pub step: u32,
    /// The ordinal of the record that holds it.
    pub ordinal: u64,
    /// That record: `machine::Record`, encoded.
    pub record: Vec<u8>,
}

impl<W, R> Cell<W, R> {
    /// Keeps the effects of the entry just applied for the outbox.
    pub(crate) fn note_effects(&mut self, effects: &[Effect]) -> Result<(), CellFault> {
        for effect in effects {
            let (call, attempt, phase, until) = match *effect {
                Effect::Try { call, attempt, phase, until } => (call, attempt, phase, until),
                Effect::Deliver { subscription } => {
                    self.work.push(Work::Deliver { subscription });
                    continue;
                }
                Effect::Evaluate { run, step, attempt, ask, .. } => {
                    self.note_evaluation(run, step, attempt, ask)?;
                    continue;
                }
            };
            let accepted = self.read_record(call)?;
            // The same clock stamped the entry, so what is left is what it said.
            let remaining_us = until.micros().saturating_sub(self.machine.stamp().micros());
            self.work.push(Work::Try { call, attempt, phase, remaining_us, accepted });
        }
        Ok(())
    }

    /// What a step refers to is read now: a run that ends in the same entry needs nothing any more.
    fn note_evaluation(&mut self, run: u64, step: u32, attempt: u32, ask: Ask) -> Result<(), CellFault> {
        if self.machine.run(run).is_none() {
            return Ok(());
        }
        let started = self.read_record(run)?;
        let Body::Saga(SagaRecord::Started { definition, .. }) = Record::decode(&started)?.body else {
            return Err(machine::Corrupt("a run that no record started").into());
        };
        let defined = self.read_record(definition)?;
        let outputs = self.machine.run_outputs(run, step, ask).into_iter();
        let outputs =
            outputs.map(|(step, ordinal)| Ok(StepOutput { step, ordinal, record: self.read_record(ordinal)? }));
        let outputs = outputs.collect::<Result<_, CellFault>>()?;
        let evaluation = Evaluation { run, step, attempt, ask, started, definition, defined, outputs };
        self.work.push(Work::Evaluate(Box::new(evaluation)));
        Ok(())
    }

    fn read_record(&self, ordinal: u64) -> Result<Vec<u8>, CellFault> {
        let mut record = Vec::new();
        self.archive.read(ordinal, &mut |bytes| record.extend_from_slice(bytes))?;
        Ok(record)
    }

    /// What is to be done outside, in order. Only a leader's outbox does it.
    pub fn take_work(&mut self) -> std::vec::Drain<'_, Work> {
        self.work.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use machine::{Op, Plan, PlannedStep, Reads, SagaOp, StepFound, StepKind, StepReport};

    use super::*;
    use crate::options::Options;
    use crate::testing::{World, command, order};

    const STEPS: u32 = 30;

    /// Runs a saga of transfers, one after the other. Gives how many outputs were handed over on the way, and their bytes.
    fn handed_over(reads: Option<Reads>) -> (usize, usize) {
        let mut world = World::new(Options::default());
        world.open_account("a", "");
        world.write(command(
            "fund",
            &Op::OpenAccount(machine::OpenAccount { id: "b", unit: "u", floor: None, metadata: "" }),
        ));
        let step = |number: u32| PlannedStep {
            id: format!("s{number}"),
            kind: StepKind::Transfer,
            after: number.checked_sub(1).into_iter().collect(),
            timeout_ms: 10_000,
            attempts_max: 1,
            pivot: false,
            compensation: None,
        };
        let mut plan = Vec::new();
        let steps = (0..STEPS).map(step).collect();
        Plan { deadline_ms: 60_000, has_output: true, steps, reads }.encode(&mut plan);
        world.write(command("define", &Op::Saga(SagaOp::Define { name: "s", plan: &plan, document: "{}" })));
        let start = SagaOp::Start { saga: "s", input: "{}", delay_ms: 0, deadline_ms: None };
        world.submit(command("start", &Op::Saga(start)));
        world.turn();
        let (mut outputs, mut bytes) = (0, 0);
        let mut transfer = Vec::new();
        Op::Transfer(order("a", "b")).encode(&mut transfer);
        loop {
            let next = world.cell.take_work().next();
            let Some(Work::Evaluate(work)) = next else { break };
            outputs += work.outputs.len();
            bytes += work.outputs.iter().map(|output| output.record.len()).sum::<usize>();
            let Evaluation { run, step, attempt, ask, .. } = *work;
            let found = if ask == Ask::Output { StepFound::Output("{}") } else { StepFound::Do(&transfer) };
            world.submit(command("", &Op::Saga(SagaOp::Step(StepReport { run, step, attempt, ask, found }))));
            world.turn();
        }
        assert_eq!(world.cell.machine().runs_len(), 0, "it is done");
        (outputs, bytes)
    }

    #[test]
    fn only_the_outputs_that_are_named_are_handed_over() {
        let before = |number: u32| number.checked_sub(1).into_iter().collect::<Vec<_>>();
        let steps = (0..STEPS).map(|number| (before(number), Vec::new())).collect();
        let (named, named_bytes) = handed_over(Some(Reads { steps, output: vec![STEPS - 1] }));
        let (all, all_bytes) = handed_over(None);
        assert_eq!((named, all), (30, 30 * 31 / 2), "one each, where it was the number of steps squared");
        let each = named_bytes / named;
        assert!(named_bytes < 31 * each && all_bytes > 15 * named_bytes - 15 * each, "{named_bytes} of {all_bytes}");
    }
}
