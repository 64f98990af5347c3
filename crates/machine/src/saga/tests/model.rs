//! Whole runs under everything that may happen to them: outcomes of each kind, lost and doubled reports, new leaders,
//! controls, snapshots. Then the world heals, and what must hold of every run is read from the records.

use std::collections::BTreeMap;

use proptest::prelude::*;
use words::Stamp;

use super::world::Sagas;
use crate::call::Finding;
use crate::saga::*;
use crate::testing::cell;
use crate::{Body, Effect, Machine, Op, Record, Resolved, encode_head};

#[derive(Clone, Debug)]
enum Event {
    Start(u8),
    /// Brings back what the n-th effect asks for; the flag says whether it stays to be brought back again.
    Act(u8, bool),
    Fail(u8),
    Tried(u8, Finding, bool),
    Lose(u8),
    Control(u8, Control),
    Claim,
    Pass(u32),
    Snapshot,
    Resolve(u8, bool),
}

fn event() -> impl Strategy<Value = Event> {
    let finding = prop::sample::select(vec![
        Finding::Committed,
        Finding::Committed,
        Finding::Refused,
        Finding::NotDone,
        Finding::Uncertain,
        Finding::StillAtIt,
    ]);
    let control = prop_oneof![
        Just(Control::Cancel),
        Just(Control::Pause),
        Just(Control::Resume),
        (0..3_u32).prop_map(|step| Control::Restart { step }),
    ];
    prop_oneof![
        2 => any::<u8>().prop_map(Event::Start),
        12 => (any::<u8>(), prop::bool::weighted(0.1)).prop_map(|(at, again)| Event::Act(at, again)),
        2 => any::<u8>().prop_map(Event::Fail),
        8 => (any::<u8>(), finding, prop::bool::weighted(0.1)).prop_map(|(at, finding, again)| Event::Tried(at, finding, again)),
        1 => any::<u8>().prop_map(Event::Lose),
        2 => (any::<u8>(), control).prop_map(|(run, control)| Event::Control(run, control)),
        1 => Just(Event::Claim),
        3 => prop::sample::select(vec![10, 1_000, 60_000, 4_000_000, 100_000_000]).prop_map(Event::Pass),
        1 => Just(Event::Snapshot),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(at, committed)| Event::Resolve(at, committed)),
    ]
}

/// A step: how far back it waits for others, what it does, what undoes it, whether it is the pivot, its attempts.
type Drawn = (Vec<u8>, u8, u8, bool, bool, u32);

fn drawn() -> impl Strategy<Value = Drawn> {
    (prop::collection::vec(0..4_u8, 0..3), 0..9_u8, 0..6_u8, prop::bool::weighted(0.15), any::<bool>(), 1..4_u32)
}

fn plan(drawn: &[Drawn]) -> Plan {
    use StepKind::{Call, Capture, Event, Hold, Reverse, Saga, Timer, Transfer, Void};
    let kinds = [Call, Call, Transfer, Hold, Capture, Reverse, Event, Timer, Saga];
    let mut has_pivot = false;
    let steps = drawn.iter().enumerate().map(|(at, (back, kind, undo, pivot, after_pivot, attempts_max))| {
        let mut after: Vec<u32> =
            back.iter().filter_map(|back| at.checked_sub(usize::from(*back) + 1)).map(|at| at as u32).collect();
        after.sort_unstable();
        after.dedup();
        let kind = kinds[usize::from(*kind)];
        let undoes = match (kind, undo) {
            (_, 0) => None,
            (Hold, _) => Some(Void),
            (Transfer | Capture, 1..=3) => Some(Reverse),
            (_, 1 | 2) => Some(Call),
            (_, 3) => Some(Saga),
            (_, 4) => Some(Transfer),
            _ => None,
        };
        let compensation =
            undoes.map(|kind| PlannedCompensation { kind, timeout_ms: 3_600_000, after_pivot: *after_pivot });
        let pivot = *pivot && !has_pivot;
        has_pivot |= pivot;
        PlannedStep {
            id: format!("s{at}"),
            kind,
            after,
            timeout_ms: 30_000,
            attempts_max: *attempts_max,
            pivot,
            compensation,
        }
    });
    let steps = steps.collect();
    Plan { deadline_ms: 86_400_000, has_output: drawn.len() % 2 == 0, steps, reads: None }
}

const NAMES: [&str; 3] = ["one", "two", "three"];

/// The saga that a nested step of a run starts: one further on, so that there is an end to it; the last one's is not there.
fn inner(sagas: &Sagas, run: u64) -> &'static str {
    let name = sagas.world.machine.run(run).map_or("three", |run| run.saga);
    match name {
        "one" => "two",
        "two" => "three",
        _ => "nobody",
    }
}

fn at<T>(of: &[T], at: u8) -> Option<usize> {
    (!of.is_empty()).then(|| usize::from(at) % of.len())
}

fn step(sagas: &mut Sagas, event: &Event, number: usize) {
    let take = |sagas: &mut Sagas, which: u8, evaluates: bool, stays: bool| {
        let all: Vec<usize> = (0..sagas.outbox.len())
            .filter(|at| match sagas.outbox[*at] {
                Effect::Evaluate { .. } => evaluates,
                Effect::Try { .. } => !evaluates,
                Effect::Deliver { .. } => false,
            })
            .collect();
        let place = all[at(&all, which)?];
        if stays { Some(sagas.outbox[place]) } else { sagas.outbox.remove(place) }
    };
    match *event {
        Event::Start(which) => {
            let delay_ms = if which % 7 == 0 { 5_000 } else { 0 };
            sagas.start(&format!("start-{number}"), NAMES[usize::from(which) % 3], delay_ms);
        }
        Event::Act(which, stays) => {
            if let Some(effect) = take(sagas, which, true, stays) {
                act(sagas, effect);
            }
        }
        Event::Fail(which) => {
            if let Some(effect) = take(sagas, which, true, false) {
                sagas.report(effect, StepFound::Failed { evidence: "drawn" });
            }
        }
        Event::Tried(which, finding, stays) => {
            if let Some(effect) = take(sagas, which, false, stays) {
                sagas.tried(effect, finding);
            }
        }
        Event::Lose(which) => drop(take(sagas, which, which % 2 == 0, false)),
        Event::Control(which, control) => {
            let runs = started(sagas);
            if let Some(at) = at(&runs, which) {
                let op = SagaOp::Control { run: runs[at], control };
                sagas.command(&format!("control-{number}"), &op);
            }
        }
        Event::Claim => claim(sagas),
        Event::Pass(ms) => {
            sagas.world.stamp = sagas.world.stamp.plus_ms(ms.into());
            tick(sagas);
        }
        Event::Snapshot => snapshot(sagas),
        Event::Resolve(which, committed) => {
            let calls = sagas.world.machine.uncertain((Stamp::ZERO, 0), 100);
            if let Some(at) = at(&calls, which) {
                let resolved = Resolved { call: calls[at].call, committed, by: "ada", note: "asked" };
                let mut command = Vec::new();
                encode_head(&mut command, Stamp::MAX, "", &format!("resolve-{number}"));
                Op::Resolve(resolved).encode(&mut command);
                let said = sagas.world.entry(&[command]);
                sagas.note(said);
            }
        }
    }
}

fn act(sagas: &mut Sagas, effect: Effect) {
    let Effect::Evaluate { run, .. } = effect else { unreachable!("only what is computed is acted") };
    let saga = inner(sagas, run);
    sagas.act(effect, saga);
}

fn tick(sagas: &mut Sagas) {
    let said = sagas.world.line("tick");
    sagas.note(said);
}

fn claim(sagas: &mut Sagas) {
    sagas.world.epoch += 1;
    sagas.outbox.clear();
    let said = sagas.world.line(&format!("claim {}", sagas.world.epoch));
    sagas.note(said);
}

/// The machine is what its snapshot says.
fn snapshot(sagas: &mut Sagas) {
    let machine = &mut sagas.world.machine;
    machine.begin_snapshot();
    let mut chunks = Vec::new();
    loop {
        let mut chunk = Vec::new();
        let done = machine.snapshot_chunk(3, &mut chunk);
        chunks.push(chunk);
        if done {
            break;
        }
    }
    let restored = Machine::restore(&cell(), 1, chunks.iter().map(Vec::as_slice)).expect("it is whole");
    assert_eq!(restored.next_timer(), machine.next_timer());
    *machine = restored;
}

/// From here on everything that is tried is done, and time passes. Every run must come to its end.
fn heal(sagas: &mut Sagas) {
    claim(sagas);
    for _ in 0..20_000 {
        if let Some(effect) = sagas.outbox.pop_front() {
            match effect {
                Effect::Evaluate { .. } => act(sagas, effect),
                Effect::Try { .. } => drop(sagas.tried(effect, Finding::Committed)),
                Effect::Deliver { .. } => {}
            }
            continue;
        }
        if sagas.world.machine.runs_len() == 0 {
            return;
        }
        let due = sagas.world.machine.next_timer().expect("no open run is without a bound");
        sagas.world.stamp = sagas.world.stamp.max(due);
        tick(sagas);
        sagas.world.assert_sound();
    }
    panic!("a run does not end: {:?}", sagas.world.machine.runs(Some(RunState::Compensating), None, 0, 10));
}

fn started(sagas: &Sagas) -> Vec<u64> {
    let is_started = |ordinal: &u64| {
        sagas.world.record(*ordinal, |record| matches!(record.body, Body::Saga(SagaRecord::Started { .. })))
    };
    (0..sagas.world.machine.next_ordinal()).filter(is_started).collect()
}

/// What the records say of one run.
#[derive(Default, Debug)]
struct Told {
    plan: Option<Plan>,
    /// Each step's standing: `Some(true)` done, `Some(false)` undone.
    done: BTreeMap<u32, bool>,
    uncertain: BTreeMap<u32, bool>,
    end: Option<RunEnd>,
}

impl Told {
    fn take(&mut self, run: u64, record: &SagaRecord<'_>) {
        match *record {
            SagaRecord::Restarted { step, .. } => {
                assert_eq!(self.end.take(), Some(RunEnd::Escalated), "run {run} is restarted");
                let again = self.plan.as_ref().expect("it was started").dependents(step as usize);
                // What was done stays done: to be done again would be told as done twice.
                self.uncertain.retain(|other, _| *other != step && !again[*other as usize]);
            }
            SagaRecord::Stepped { step, event, .. } => self.step(run, step, event),
            SagaRecord::Ended { end, .. } => {
                assert_eq!(self.end.replace(end), None, "run {run} ends once");
                self.check_end(run, end);
            }
            _ => {}
        }
    }

    fn step(&mut self, run: u64, step: u32, event: StepOutcome) {
        assert_eq!(self.end, None, "run {run} has ended");
        let plan = self.plan.as_ref().expect("it was started");
        let planned = &plan.steps[step as usize];
        let depends = plan.dependents(step as usize);
        match event {
            StepOutcome::Done => {
                let before = planned.after.iter().all(|after| self.done.get(after) == Some(&true));
                assert!(before, "run {run} step {step} without what is before it");
                assert_ne!(self.done.insert(step, true), Some(true), "run {run} step {step} is done once");
                self.uncertain.remove(&step);
            }
            StepOutcome::Failed => drop(self.uncertain.remove(&step)),
            StepOutcome::Uncertain => drop(self.uncertain.insert(step, true)),
            StepOutcome::Undone | StepOutcome::UndoRefused | StepOutcome::UndoFailed => {
                assert_eq!(self.done.get(&step), Some(&true), "run {run} step {step} is undone, and was done");
                assert!(!self.uncertain.contains_key(&step), "run {run} step {step} is definite");
                for (other, depends) in depends.into_iter().enumerate() {
                    let other = other as u32;
                    let is_undone = self.done.get(&other) != Some(&true) || self.needs_nothing(other);
                    assert!(
                        !depends || (is_undone && !self.uncertain.contains_key(&other)),
                        "run {run}: {other} before {step}"
                    );
                }
                if event == StepOutcome::Undone {
                    self.done.insert(step, false);
                }
            }
            StepOutcome::Refused => {}
        }
    }

    fn needs_nothing(&self, step: u32) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.steps[step as usize].compensation.is_none())
    }

    fn check_end(&self, run: u64, end: RunEnd) {
        let plan = self.plan.as_ref().expect("it was started");
        let left = self.done.iter().filter(|(step, done)| **done && !self.needs_nothing(**step)).count();
        match end {
            RunEnd::Done => {
                assert!(self.uncertain.is_empty() && self.done.len() == plan.steps.len(), "run {run} is done")
            }
            RunEnd::Compensated => assert!(left == 0 && self.uncertain.is_empty(), "run {run} is undone: {self:?}"),
            RunEnd::Escalated => {}
        }
    }
}

/// Reads all records in their order.
fn check(sagas: &Sagas) {
    let mut plans: BTreeMap<u64, Plan> = BTreeMap::new();
    let mut runs: BTreeMap<u64, Told> = BTreeMap::new();
    for ordinal in 0..sagas.world.machine.next_ordinal() {
        let mut bytes = Vec::new();
        crate::Archive::read(&sagas.world.archive, ordinal, &mut |record| bytes.extend_from_slice(record)).unwrap();
        let Body::Saga(record) = Record::decode(&bytes).unwrap().body else { continue };
        match record {
            SagaRecord::Defined { plan, .. } => drop(plans.insert(ordinal, Plan::decode(plan).unwrap())),
            SagaRecord::Started { definition, .. } => {
                runs.insert(ordinal, Told { plan: plans.get(&definition).cloned(), ..Told::default() });
            }
            SagaRecord::Stepped { run, .. } | SagaRecord::Restarted { run, .. } | SagaRecord::Ended { run, .. } => {
                runs.get_mut(&run).expect("it was started").take(run, &record);
            }
            _ => {}
        }
    }
    for (run, told) in runs {
        assert!(told.end.is_some(), "run {run} has its end: {told:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_run_ends_and_nothing_is_half_done(
        plans in prop::collection::vec(prop::collection::vec(drawn(), 1..6), 3),
        events in prop::collection::vec(event(), 1..80),
    ) {
        let mut sagas = Sagas::new();
        for (name, drawn) in NAMES.iter().zip(&plans) {
            sagas.define(&format!("define-{name}"), name, &plan(drawn));
        }
        sagas.start("first", "one", 0);
        for (number, event) in events.iter().enumerate() {
            step(&mut sagas, event, number);
            sagas.world.assert_sound();
        }
        heal(&mut sagas);
        sagas.world.assert_sound();
        check(&sagas);
    }
}
