//! Runs of sagas as they are judged: what the log says of each, step by step, and what it moved.

use std::collections::{BTreeMap, BTreeSet};

use machine::{
    Body, CallEnd, Event, Machine, Owner, Plan, Record, RunEnd, SagaRecord, StepKind, StepOutcome, TopicRecord, run_id,
};
use words::Stamp;

use crate::calls::{CallLog, CallsMade, When};

/// What comes after a step's key where the step is undone.
pub(crate) const UNDOES: &str = "/compensate";

/// What clients asked of runs, beside the log.
#[derive(Debug, Default)]
pub(crate) struct RunsAsked {
    /// The runs that somebody asked to be restarted.
    pub(crate) restarts: BTreeSet<u64>,
}

/// How the runs of a world came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunCounts {
    /// Runs started, nested ones included.
    pub started: u64,
    /// Of these, how many came to each end: done, compensated, escalated. One that was restarted counts for each.
    pub ends: [u64; 3],
    /// Steps done.
    pub done: u64,
    /// Steps undone.
    pub undone: u64,
    /// Restarts.
    pub restarts: u64,
}

/// What the log says of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
struct RunSeen {
    id: String,
    key: String,
    plan: Plan,
    starts: Stamp,
    steps: Vec<StepSeen>,
    end: Option<(When, RunEnd)>,
    /// A person said what became of one of its calls: then the receivers may know otherwise.
    is_decreed: bool,
}

/// What the log says of one of its steps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct StepSeen {
    standing: Standing,
    /// How often it made something in the ledger or a topic; and how often it was undone there.
    made: u32,
    unmade: u32,
    /// What it moved in all, undoing included: by account.
    moved: BTreeMap<String, i128>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Standing {
    #[default]
    Open,
    Done,
    Undone,
    Uncertain,
}

/// All runs of a log.
#[derive(Debug, Default)]
pub(crate) struct RunLog {
    plans: BTreeMap<u64, Plan>,
    runs: BTreeMap<u64, RunSeen>,
    by_id: BTreeMap<String, u64>,
    counts: RunCounts,
}

impl RunCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.started += other.started;
        self.done += other.done;
        self.undone += other.undone;
        self.restarts += other.restarts;
        for (sum, n) in self.ends.iter_mut().zip(other.ends) {
            *sum += n;
        }
    }
}

impl RunLog {
    /// Takes in what a record says of a run, and checks what must hold there.
    pub(crate) fn note(
        &mut self,
        ordinal: u64,
        when: When,
        record: &Record<'_>,
        machine: &Machine,
        asked: &RunsAsked,
    ) -> Result<(), String> {
        match record.body {
            Body::Saga(saga) => self.note_saga(ordinal, when, record, &saga, machine, asked),
            Body::Moved(moved) => {
                let Some((step, undoes)) = self.step_of(record.key) else { return Ok(()) };
                let units = moved.amount as i128;
                match (moved.event, undoes) {
                    (Event::Held | Event::Posted | Event::Captured, false) => step.made += 1,
                    _ => step.unmade += 1,
                }
                if matches!(moved.event, Event::Posted | Event::Captured | Event::Reversal) {
                    *step.moved.entry(moved.from.to_owned()).or_default() -= units;
                    *step.moved.entry(moved.to.to_owned()).or_default() += units;
                }
                let twice = step.made > 1 || step.unmade > 1;
                if twice { Err(format!("`{}` was done twice", record.key)) } else { Ok(()) }
            }
            Body::Topic(TopicRecord::Published { .. }) => {
                let Some((step, _)) = self.step_of(record.key) else { return Ok(()) };
                step.made += 1;
                if step.made > 1 { Err(format!("`{}` was told twice", record.key)) } else { Ok(()) }
            }
            Body::CallAccepted(call) => match call.owner {
                Some(owner) => self.note_call(owner, record.key),
                None => Ok(()),
            },
            Body::CallEnded(ended) if matches!(ended.end, CallEnd::DecreedCommitted | CallEnd::DecreedRefused) => {
                if let Some(run) = self.run_of(record.key) {
                    run.is_decreed = true;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn note_saga(
        &mut self,
        ordinal: u64,
        when: When,
        record: &Record<'_>,
        saga: &SagaRecord<'_>,
        machine: &Machine,
        asked: &RunsAsked,
    ) -> Result<(), String> {
        match *saga {
            SagaRecord::Defined { plan, .. } => {
                let plan = Plan::decode(plan).map_err(|error| error.to_string())?;
                self.plans.insert(ordinal, plan);
            }
            SagaRecord::Started { definition, starts, .. } => {
                let plan = self.plans.get(&definition).ok_or("a run of a saga that was never defined")?.clone();
                let id = run_id(machine, record.stamp, ordinal).to_string();
                self.by_id.insert(id.clone(), ordinal);
                let steps = vec![StepSeen::default(); plan.steps.len()];
                let key = record.key.to_owned();
                self.runs.insert(ordinal, RunSeen { id, key, plan, starts, steps, end: None, is_decreed: false });
                self.counts.started += 1;
            }
            SagaRecord::Stepped { run, step, event, .. } => {
                match event {
                    StepOutcome::Done => self.counts.done += 1,
                    StepOutcome::Undone => self.counts.undone += 1,
                    _ => {}
                }
                self.open(run)?.step(step as usize, event, when)?;
            }
            SagaRecord::Restarted { run, .. } => {
                let seen = self.runs.get_mut(&run).ok_or_else(|| format!("run {run} was never started"))?;
                if !asked.restarts.contains(&run) {
                    return Err(format!("{} goes on after its end, and nobody asked for it", seen.told()));
                }
                if !seen.end.take().is_some_and(|(_, end)| end == RunEnd::Escalated) {
                    return Err(format!("{} was restarted, and not escalated", seen.told()));
                }
                self.counts.restarts += 1;
            }
            SagaRecord::Ended { run, end, .. } => {
                self.counts.ends[end as usize - 1] += 1;
                let seen = self.open(run)?;
                if seen.key != record.key {
                    return Err(format!("the end of {} stands under another key: `{}`", seen.told(), record.key));
                }
                seen.check_end(end)?;
                seen.end = Some((when, end));
            }
            SagaRecord::Controlled { .. } | SagaRecord::ControlledMany { .. } => {}
        }
        Ok(())
    }

    /// A step's call is opened: to undo it only where it is certain that it was done.
    fn note_call(&mut self, owner: Owner, key: &str) -> Result<(), String> {
        let seen = self.open(owner.run)?;
        let step = seen.steps.get(owner.step as usize).ok_or("a call of a step that is not")?;
        match step.standing {
            Standing::Done if owner.compensates => Ok(()),
            Standing::Open | Standing::Uncertain if !owner.compensates => Ok(()),
            standing => Err(format!("`{key}` is called, and its step is {standing:?}")),
        }
    }

    fn open(&mut self, run: u64) -> Result<&mut RunSeen, String> {
        let seen = self.runs.get_mut(&run).ok_or_else(|| format!("run {run} was never started"))?;
        match seen.end {
            Some((when, end)) => {
                Err(format!("{} ended as {} in entry {} and goes on", seen.told(), end.as_str(), when.index))
            }
            None => Ok(seen),
        }
    }

    fn run_of(&mut self, key: &str) -> Option<&mut RunSeen> {
        let number = self.by_id.get(key.split_once('/')?.0)?;
        self.runs.get_mut(number)
    }

    /// The step that something was done for under a key, and whether it was to undo it.
    fn step_of(&mut self, key: &str) -> Option<(&mut StepSeen, bool)> {
        let (undone, undoes) = key.strip_suffix(UNDOES).map_or((key, false), |key| (key, true));
        let (_, step) = undone.split_once('/')?;
        let run = self.run_of(key)?;
        // Whatever else is under its name counts for the step, too.
        let id = step.split('/').next()?;
        let at = run.plan.step(id)?;
        Some((&mut run.steps[at as usize], undoes))
    }

    /// Whether a run was started under the key.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.runs.values().any(|seen| seen.key == key)
    }

    /// What was done outside, and whether every run ended.
    pub(crate) fn judge(&self, calls: &CallLog, made: &CallsMade) -> Result<(), String> {
        for seen in self.runs.values() {
            let Some((_, end)) = seen.end else { return Err(format!("{} never ended", seen.told())) };
            if end != RunEnd::Compensated || seen.is_decreed {
                continue;
            }
            let calls_of = seen.plan.steps.iter().filter(|step| step.kind == StepKind::Call);
            // What needs nothing to be undone may stand.
            let undone = calls_of.filter(|step| step.compensation.is_some_and(|undo| undo.kind == StepKind::Call));
            for step in undone {
                let key = format!("{}/{}", seen.id, step.id);
                if made.stands(&key) {
                    return Err(format!("{} is compensated, and `{key}` stands", seen.told()));
                }
            }
        }
        // What undoes a step was sent only because the log had said so before.
        for sent in made.sent.iter().filter(|sent| sent.operation.ends_with(UNDOES)) {
            if !calls.was_accepted_by(&sent.operation, sent.index) {
                return Err(format!("`{}` was sent at {} us, and nobody decided it", sent.operation, sent.time_us));
            }
        }
        Ok(())
    }

    pub(crate) const fn counts(&self) -> RunCounts {
        self.counts
    }
}

impl RunSeen {
    fn told(&self) -> String {
        format!("the run `{}` of `{}`", self.id, self.key)
    }

    fn step(&mut self, step: usize, event: StepOutcome, when: When) -> Result<(), String> {
        let told = self.told();
        let wrong =
            |what: &str| Err(format!("{told}: step {step} is {} in entry {}, {what}", event.as_str(), when.index));
        let Some(planned) = self.plan.steps.get(step) else { return wrong("and there is no such step") };
        let undoes = matches!(event, StepOutcome::Undone | StepOutcome::UndoRefused | StepOutcome::UndoFailed);
        let standing = self.steps[step].standing;
        if undoes {
            if standing != Standing::Done {
                return wrong("and was not done");
            }
            let depends = |other: &usize| self.depends(*other, step);
            let left = (0..self.steps.len()).filter(depends).find(|other| !self.is_settled(*other));
            if let Some(other) = left {
                return wrong(&format!("before step {other}, which waited for it"));
            }
        } else if matches!(standing, Standing::Done | Standing::Undone) {
            return wrong("and was done already");
        }
        if when.stamp < self.starts {
            return wrong("before its run was to start");
        }
        let before = planned.after.iter().all(|after| self.steps[*after as usize].standing == Standing::Done);
        if event == StepOutcome::Done && !before {
            return wrong("and what is before it is not");
        }
        let standing = &mut self.steps[step].standing;
        match event {
            StepOutcome::Done => *standing = Standing::Done,
            StepOutcome::Undone => *standing = Standing::Undone,
            StepOutcome::Failed => *standing = Standing::Open,
            StepOutcome::Uncertain => *standing = Standing::Uncertain,
            StepOutcome::Refused | StepOutcome::UndoRefused | StepOutcome::UndoFailed => {}
        }
        Ok(())
    }

    /// Whether `step` waits for `before`, directly or not.
    fn depends(&self, step: usize, before: usize) -> bool {
        let mut after = self.plan.steps[step].after.iter().map(|after| *after as usize);
        after.any(|after| after == before || self.depends(after, before))
    }

    /// Whether nothing of a step can stand any more that would need to be undone.
    fn is_settled(&self, step: usize) -> bool {
        match self.steps[step].standing {
            Standing::Open | Standing::Undone => true,
            Standing::Done => self.plan.steps[step].compensation.is_none(),
            Standing::Uncertain => false,
        }
    }

    /// What an end says of its steps, and what they moved.
    fn check_end(&self, end: RunEnd) -> Result<(), String> {
        let wrong = |what: String| Err(format!("{} ended as {}, {what}", self.told(), end.as_str()));
        for (at, (step, planned)) in self.steps.iter().zip(&self.plan.steps).enumerate() {
            let holds = match end {
                RunEnd::Done => step.standing == Standing::Done,
                RunEnd::Compensated => self.is_settled(at),
                RunEnd::Escalated => true,
            };
            if !holds {
                return wrong(format!("and step {at} is {:?}", step.standing));
            }
            let is_done = step.standing == Standing::Done;
            let has_moved = step.moved.values().any(|units| *units != 0);
            let expected = match planned.kind {
                StepKind::Transfer | StepKind::Capture => is_done == has_moved,
                StepKind::Hold => !has_moved,
                StepKind::Call | StepKind::Timer | StepKind::Saga => step.made == 0 && !has_moved,
                _ => true,
            };
            if !expected {
                return wrong(format!("step {at} is {:?}, and it moved {:?}", step.standing, step.moved));
            }
            let makes = matches!(planned.kind, StepKind::Transfer | StepKind::Hold | StepKind::Event);
            if makes && is_done && step.made != 1 {
                return wrong(format!("step {at} is done, and it was made {} times", step.made));
            }
        }
        Ok(())
    }
}
