//! Reads of sagas and of their runs: what is open, and what is told of a run that has ended.

use machine::{
    Archive, Body, CallEnded, Fault, Plan, Record, RunEnd, RunState, RunView, SagaRecord, StepView, StepWait,
    TopicRecord, Why, ended_steps, run_id,
};
use words::{Stamp, TransferId};

use crate::api::ReadError;
use crate::cell::Cell;
use crate::fault::CellFault;

/// The most records that are told of one run, the newest.
const RUN_RECORDS_MAX: usize = 1_000;
/// The most bytes of them.
const RUN_BYTES_MAX: usize = 1 << 20;
/// How many definitions are looked at to find an old one.
const VERSIONS_MAX: u64 = 1_000;
/// The most records that are looked at for one page of ended runs.
const SCAN_RECORDS_MAX: u64 = 1_024;

/// What is asked of sagas and runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SagaQuery {
    /// The sagas, by name.
    Sagas {
        /// Begin after this name.
        after: String,
        /// At most this many.
        limit: usize,
    },
    /// A definition.
    Definition {
        /// The saga's name.
        name: String,
        /// Which; the newest if it is not said.
        version: Option<u64>,
    },
    /// A run.
    Run {
        /// What strangers call it.
        id: TransferId,
        /// Wait for its end until this instant of the cell's monotonic clock; `None` = do not wait.
        wait_until_us: Option<u64>,
    },
    /// Open runs, oldest first.
    OpenRuns {
        /// Only those in this state.
        state: Option<RunState>,
        /// Only those of this saga.
        saga: Option<String>,
        /// Begin after the run of this number.
        after: u64,
        /// At most this many.
        limit: usize,
    },
    /// Ended runs, newest end first.
    EndedRuns {
        /// Only those that ended so, and were not restarted since.
        end: RunEnd,
        /// Only those of this saga.
        saga: Option<String>,
        /// Begin before this record; `None` = at the newest.
        before: Option<u64>,
        /// At most this many.
        limit: usize,
    },
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SagaFound {
    /// Sagas.
    Sagas(Vec<SagaSummary>),
    /// The record of a definition: `machine::Record`, encoded.
    Definition(Vec<u8>),
    /// A run.
    Run(Box<RunFound>),
    /// Runs.
    Runs {
        /// In the order that was asked for.
        items: Vec<RunSummary>,
        /// Where the next page begins: as `after` or `before` of the query.
        next: Option<u64>,
    },
}

/// A saga, in few words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SagaSummary {
    /// Its name.
    pub name: String,
    /// The newest definition of it.
    pub version: u64,
    /// How many steps that has.
    pub steps: usize,
    /// How many open runs follow it.
    pub runs: u64,
}

/// A run, in few words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunSummary {
    /// What strangers call it.
    pub id: TransferId,
    /// Of which saga.
    pub saga: String,
    /// Which definition of it.
    pub version: u64,
    /// Where it is.
    pub standing: Standing,
    /// Why it goes back, or was not done.
    pub why: Option<Why>,
    /// The step that failed, if that is why.
    pub failed: Option<String>,
    /// When it was started.
    pub started: Stamp,
    /// Until when it may go forward; `None` of one that has ended.
    pub deadline: Option<Stamp>,
    /// When it ended.
    pub ended: Option<Stamp>,
}

/// Where a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is open.
    Open(RunState),
    /// It has ended.
    Ended(RunEnd),
}

/// A run, with everything that is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunFound {
    /// In few words.
    pub summary: RunSummary,
    /// The record that started it: `machine::Record`, encoded.
    pub started: Vec<u8>,
    /// The record of its definition, likewise.
    pub definition: Vec<u8>,
    /// The record of its end, likewise.
    pub ended: Option<Vec<u8>>,
    /// The run whose step it is.
    pub parent: Option<TransferId>,
    /// Its steps, in the order of its definition.
    pub steps: Vec<StepView>,
    /// Of each step what it made, or what is under way for it.
    pub made: Vec<Option<Made>>,
    /// The newest records of it, oldest first, likewise encoded: attempts that ended, and what was asked of it.
    pub records: Vec<Vec<u8>>,
    /// Whether there are older ones.
    pub is_cut: bool,
}

/// What a step made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Made {
    /// A transfer.
    Transfer(TransferId),
    /// A durable call: the key of its operation.
    Call(String),
    /// An event.
    Event {
        /// Where it was published.
        topic: String,
        /// At which offset.
        offset: u64,
    },
    /// A run of another saga.
    Run(TransferId),
}

impl SagaQuery {
    /// Until when to wait for the end of which run.
    pub(crate) const fn waits(&self) -> Option<(TransferId, u64)> {
        match self {
            Self::Run { id, wait_until_us: Some(until_us) } => Some((*id, *until_us)),
            _ => None,
        }
    }
}

impl<W, R> Cell<W, R> {
    pub(crate) fn find_in_sagas(&self, query: &SagaQuery) -> Result<Result<SagaFound, ReadError>, CellFault> {
        Ok(match query {
            SagaQuery::Sagas { after, limit } => Ok(SagaFound::Sagas(self.sagas(after, *limit))),
            SagaQuery::Definition { name, version } => match self.definition(name, *version)? {
                Some(record) => Ok(SagaFound::Definition(record)),
                None => Err(ReadError::SagaNotFound),
            },
            SagaQuery::Run { id, .. } => match self.find_run(*id)? {
                Some(run) => Ok(SagaFound::Run(Box::new(run))),
                None => Err(ReadError::RunNotFound),
            },
            SagaQuery::OpenRuns { state, saga, after, limit } => {
                let page = self.machine.runs(*state, saga.as_deref(), *after, *limit);
                Ok(SagaFound::Runs { items: page.items.iter().map(summary_of).collect(), next: page.next })
            }
            SagaQuery::EndedRuns { end, saga, before, limit } => {
                let (items, next) = self.ended_runs(*end, saga.as_deref(), *before, *limit)?;
                Ok(SagaFound::Runs { items, next })
            }
        })
    }

    /// The number of that run, if it is open.
    pub(crate) fn open_run(&self, id: TransferId) -> Option<u64> {
        self.machine.run_number(id).filter(|run| self.machine.run(*run).is_some())
    }

    /// What strangers call the run that is pending under a record; `None` if that is no run.
    pub(crate) fn run_pending(&self, began: u64) -> Option<TransferId> {
        let mut found = None;
        // What cannot be read is found out where it matters: here the answer only gets poorer.
        let _ = self.archive.read(began, &mut |bytes| {
            found = Record::decode(bytes).ok().and_then(|record| match record.body {
                Body::Saga(SagaRecord::Started { .. }) => Some(Ok(run_id(&self.machine, record.stamp, began))),
                Body::Saga(SagaRecord::Restarted { run, .. }) => Some(Err(run)),
                _ => None,
            });
        });
        match found? {
            Ok(id) => Some(id),
            Err(run) => self.machine.run(run).map(|view| view.id),
        }
    }

    fn sagas(&self, after: &str, limit: usize) -> Vec<SagaSummary> {
        let views = self.machine.sagas(after, limit);
        let summaries = views.iter().map(|view| SagaSummary {
            name: view.name.to_owned(),
            version: view.version,
            steps: view.steps,
            runs: view.runs,
        });
        summaries.collect()
    }

    /// The record of a definition. Each leads to the one before.
    fn definition(&self, name: &str, version: Option<u64>) -> Result<Option<Vec<u8>>, CellFault> {
        let Some(newest) = self.machine.saga(name) else { return Ok(None) };
        let back = newest.version.saturating_sub(version.unwrap_or(newest.version));
        if version == Some(0) || version > Some(newest.version) || back > VERSIONS_MAX {
            return Ok(None);
        }
        let mut record = self.record(newest.ordinal)?;
        for _ in 0..back {
            let Body::Saga(SagaRecord::Defined { previous, .. }) = Record::decode(&record)?.body else {
                return Err(machine::Corrupt("a definition that is none").into());
            };
            record = self.record(previous)?;
        }
        Ok(Some(record))
    }

    fn find_run(&self, id: TransferId) -> Result<Option<RunFound>, CellFault> {
        let Some(number) = self.machine.run_number(id) else { return Ok(None) };
        let started = self.record(number)?;
        let Body::Saga(SagaRecord::Started { definition, parent, .. }) = Record::decode(&started)?.body else {
            return Ok(None);
        };
        let definition = self.record(definition)?;
        let parent = parent.map(|owner| self.id_of_run(owner.run)).transpose()?;
        let (summary, ended, steps, newest) = match self.machine.run(number) {
            Some(view) => (summary_of(&view), None, self.machine.run_steps(number), view.newest),
            None => {
                // Long after its end its key may stand for something else, and then nobody knows its end any more.
                let Some(ordinal) = self.machine.run_end(number, &self.archive)? else { return Ok(None) };
                let end = self.record(ordinal)?;
                let record = Record::decode(&end)?;
                let summary = self.summary_of_end(&record, &definition)?;
                let Body::Saga(SagaRecord::Ended { state, previous, .. }) = record.body else { return Ok(None) };
                let steps = ended_steps(state, &plan_of(&definition)?)?;
                (summary, Some(end), steps, previous)
            }
        };
        let made = steps.iter().map(|step| self.made(step)).collect::<Result<_, _>>()?;
        let (records, is_cut) = self.records_of_run(number, newest)?;
        Ok(Some(RunFound { summary, started, definition, ended, parent, steps, made, records, is_cut }))
    }

    /// The records about a run, from that one back.
    fn records_of_run(&self, run: u64, newest: u64) -> Result<(Vec<Vec<u8>>, bool), CellFault> {
        let (mut records, mut bytes, mut at) = (Vec::new(), 0, newest);
        while at != run {
            let record = self.record(at)?;
            bytes += record.len();
            if records.len() == RUN_RECORDS_MAX || bytes > RUN_BYTES_MAX {
                records.reverse();
                return Ok((records, true));
            }
            let Body::Saga(saga) = Record::decode(&record)?.body else {
                return Err(machine::Corrupt("a run that leads to something else").into());
            };
            at = saga.previous().ok_or(machine::Corrupt("a run without a beginning"))?;
            // What an end says is told of the run itself; of one before a restart, that it was escalated is known by that.
            if !matches!(saga, SagaRecord::Ended { .. }) {
                records.push(record);
            }
        }
        records.reverse();
        Ok((records, false))
    }

    fn made(&self, step: &StepView) -> Result<Option<Made>, CellFault> {
        let ordinal = match step.waits {
            Some(StepWait::Call { call }) => call,
            Some(StepWait::Run { run }) => run,
            _ => step.record,
        };
        if ordinal == 0 {
            return Ok(None);
        }
        let record = self.record(ordinal)?;
        let record = Record::decode(&record)?;
        Ok(match record.body {
            Body::Moved(moved) => Some(Made::Transfer(moved.transfer)),
            Body::CallAccepted(_) | Body::CallEnded(CallEnded { .. }) => Some(Made::Call(record.key.to_owned())),
            Body::Topic(TopicRecord::Published { topic, .. }) => {
                Some(Made::Event { topic: topic.to_owned(), offset: ordinal })
            }
            Body::Saga(SagaRecord::Started { .. }) => Some(Made::Run(run_id(&self.machine, record.stamp, ordinal))),
            Body::Saga(SagaRecord::Ended { id, .. }) => Some(Made::Run(id)),
            _ => None,
        })
    }

    /// Looks at records from the newest back: there is no list of ended runs, which would grow without bound.
    fn ended_runs(
        &self,
        end: RunEnd,
        saga: Option<&str>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<RunSummary>, Option<u64>), CellFault> {
        let mut items = Vec::new();
        let first = before.unwrap_or(u64::MAX).min(self.archive.next_ordinal());
        let mut at = first;
        while at > 0 && items.len() < limit && first - at < SCAN_RECORDS_MAX {
            at -= 1;
            let mut found = None;
            self.archive.read(at, &mut |bytes| {
                found = Record::decode(bytes).ok().and_then(|record| match record.body {
                    Body::Saga(SagaRecord::Ended { run, end: how, .. }) if how == end => Some((run, bytes.to_vec())),
                    _ => None,
                });
            })?;
            let Some((run, ended)) = found else { continue };
            // One that was restarted is open, or has another end.
            if self.machine.run(run).is_some() || self.machine.run_end(run, &self.archive)? != Some(at) {
                continue;
            }
            let started = self.record(run)?;
            let Body::Saga(SagaRecord::Started { saga: of, definition, .. }) = Record::decode(&started)?.body else {
                continue;
            };
            if saga.is_none_or(|saga| saga == of) {
                let definition = self.record(definition)?;
                items.push(self.summary_of_end(&Record::decode(&ended)?, &definition)?);
            }
        }
        Ok((items, (at > 0).then_some(at)))
    }

    fn summary_of_end(&self, record: &Record<'_>, definition: &[u8]) -> Result<RunSummary, CellFault> {
        let none = machine::Corrupt("an end of a run that is none");
        let Body::Saga(SagaRecord::Ended { run, id, end, why, .. }) = record.body else { return Err(none.into()) };
        let Body::Saga(SagaRecord::Defined { name, version, .. }) = Record::decode(definition)?.body else {
            return Err(none.into());
        };
        let mut started = Stamp::ZERO;
        self.archive.read(run, &mut |bytes| {
            started = Record::decode(bytes).map_or(Stamp::ZERO, |record| record.stamp);
        })?;
        let failed = match why {
            Some(Why::Failed { step }) => plan_of(definition)?.steps.into_iter().nth(step as usize).map(|step| step.id),
            _ => None,
        };
        Ok(RunSummary {
            id,
            saga: name.to_owned(),
            version,
            standing: Standing::Ended(end),
            why,
            failed,
            started,
            deadline: None,
            ended: Some(record.stamp),
        })
    }

    fn id_of_run(&self, run: u64) -> Result<TransferId, Fault> {
        let mut stamp = Stamp::ZERO;
        self.archive.read(run, &mut |bytes| {
            stamp = Record::decode(bytes).map_or(Stamp::ZERO, |record| record.stamp);
        })?;
        Ok(run_id(&self.machine, stamp, run))
    }

    fn record(&self, ordinal: u64) -> Result<Vec<u8>, Fault> {
        let mut record = Vec::new();
        self.archive.read(ordinal, &mut |bytes| record.extend_from_slice(bytes))?;
        Ok(record)
    }
}

fn plan_of(definition: &[u8]) -> Result<Plan, machine::Corrupt> {
    match Record::decode(definition)?.body {
        Body::Saga(SagaRecord::Defined { plan, .. }) => Plan::decode(plan),
        _ => Err(machine::Corrupt("a definition that is none")),
    }
}

fn summary_of(view: &RunView<'_>) -> RunSummary {
    RunSummary {
        id: view.id,
        saga: view.saga.to_owned(),
        version: view.version,
        standing: Standing::Open(view.state),
        why: view.why,
        failed: view.failed.map(str::to_owned),
        started: view.started,
        deadline: Some(view.deadline),
        ended: None,
    }
}
