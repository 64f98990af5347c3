//! Sagas and their runs as strangers see them.

use machine::{Body, Control, Plan, Record, RunEnd, SagaRecord, StepKind, StepView, StepWait, Why};
use words::{Stamp, TransferId};

use crate::answer::{Answer, STATUS_CREATED, STATUS_OK, committed, pending};
use crate::codes::Code;
use crate::instant::put_instant;
use crate::json::{put_json_or_null, put_plain, put_str_or_null, put_u64};
use crate::path::{operation_path, run_path};
use crate::problem::Problem;

/// Renders what was decided about a saga or a run. A record that no caller has asked for has no answer of its own and
/// gives `internal`.
pub(crate) fn answer_of(record: &SagaRecord<'_>, key: &str) -> Answer {
    let mut out = Vec::with_capacity(256);
    match *record {
        SagaRecord::Defined { name, version, .. } => {
            out.extend_from_slice(b"{\"name\":");
            put_plain(&mut out, name);
            put_number(&mut out, b",\"version\":", version);
            out.push(b'}');
            committed(if version == 1 { STATUS_CREATED } else { STATUS_OK }, out)
        }
        SagaRecord::Started { .. } | SagaRecord::Restarted { .. } => pending(key),
        SagaRecord::Ended { id, end, why, output, .. } => {
            write_end(&mut out, id, end, why, output);
            let code = match end {
                RunEnd::Done => return committed(STATUS_OK, out),
                RunEnd::Compensated => Code::RunCompensated,
                RunEnd::Escalated => Code::RunEscalated,
            };
            Problem::of(code).with_operation(key).with_run(out).answer()
        }
        SagaRecord::Controlled { id, control, .. } => {
            put_id(&mut out, b"{\"id\":", id);
            out.extend_from_slice(b",\"control\":");
            put_plain(&mut out, control.as_str());
            out.push(b'}');
            committed(STATUS_OK, out)
        }
        SagaRecord::ControlledMany { control, count, next } => {
            out.extend_from_slice(b"{\"control\":");
            put_plain(&mut out, control.as_str());
            put_number(&mut out, b",\"count\":", count);
            out.extend_from_slice(b",\"next\":");
            match next {
                0 => out.extend_from_slice(b"null"),
                next => put_plain(&mut out, &next.to_string()),
            }
            out.push(b'}');
            committed(STATUS_OK, out)
        }
        SagaRecord::Stepped { .. } => Problem::of(Code::Internal).answer(),
    }
}

/// What became of a run: `{"id":..,"path":..,"state":..,"why":..,"output":..}`.
fn write_end(out: &mut Vec<u8>, id: TransferId, end: RunEnd, why: Option<Why>, output: &str) {
    put_id(out, b"{\"id\":", id);
    out.extend_from_slice(b",\"path\":");
    put_plain(out, &run_path(id));
    out.extend_from_slice(b",\"state\":");
    put_plain(out, end.as_str());
    out.extend_from_slice(b",\"why\":");
    put_str_or_null(out, why.map_or("", Why::as_str));
    out.extend_from_slice(b",\"output\":");
    put_json_or_null(out, output);
    out.push(b'}');
}

/// `202`: a run was accepted and has not ended: where to ask for it, and for its operation.
pub fn run_pending(id: TransferId, key: &str) -> Answer {
    let mut body = Vec::with_capacity(160);
    put_id(&mut body, b"{\"id\":", id);
    body.extend_from_slice(b",\"path\":");
    put_plain(&mut body, &run_path(id));
    body.extend_from_slice(b",\"operation\":");
    put_plain(&mut body, &operation_path(key));
    body.push(b'}');
    Answer { body, ..pending(key) }
}

/// A saga, in few words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SagaSummary<'a> {
    /// Its name.
    pub name: &'a str,
    /// The newest definition of it.
    pub version: u64,
    /// How many steps that has.
    pub steps: usize,
    /// How many open runs follow it.
    pub runs: u64,
}

/// Appends a page of sagas; `next` is the name to begin after, `None` at the end.
pub fn write_sagas<'a>(out: &mut Vec<u8>, sagas: impl IntoIterator<Item = SagaSummary<'a>>, next: Option<&str>) {
    out.extend_from_slice(b"{\"items\":[");
    for (at, saga) in sagas.into_iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"name\":" } else { b",{\"name\":" });
        put_plain(out, saga.name);
        put_number(out, b",\"version\":", saga.version);
        put_number(out, b",\"steps\":", saga.steps as u64);
        put_number(out, b",\"open_runs\":", saga.runs);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"next\":");
    match next {
        Some(next) => put_plain(out, next),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// Appends a definition: `{"name":..,"version":..,"defined_at":..,"definition":{..}}`; nothing, and `false`, if the record
/// is none.
pub fn write_definition(out: &mut Vec<u8>, record: &Record<'_>) -> bool {
    let Body::Saga(SagaRecord::Defined { name, version, document, .. }) = record.body else { return false };
    out.extend_from_slice(b"{\"name\":");
    put_plain(out, name);
    put_number(out, b",\"version\":", version);
    out.extend_from_slice(b",\"defined_at\":");
    put_instant(out, record.stamp);
    out.extend_from_slice(b",\"definition\":");
    out.extend_from_slice(document.as_bytes());
    out.push(b'}');
    true
}

/// A run, in few words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunSummary<'a> {
    /// What strangers call it.
    pub id: TransferId,
    /// Of which saga.
    pub saga: &'a str,
    /// Which definition of it.
    pub version: u64,
    /// Where it is, or how it ended.
    pub state: &'a str,
    /// Why it goes back, or was not done.
    pub why: Option<Why>,
    /// The step that failed, if that is why; else empty.
    pub failed: &'a str,
    /// When it was started.
    pub started: Stamp,
    /// Until when it may go forward; `None` of one that has ended.
    pub deadline: Option<Stamp>,
    /// When it ended.
    pub ended: Option<Stamp>,
}

/// Appends a page of runs.
pub fn write_runs<'a>(out: &mut Vec<u8>, runs: impl IntoIterator<Item = RunSummary<'a>>, next: Option<&str>) {
    out.extend_from_slice(b"{\"items\":[");
    for (at, run) in runs.into_iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{" } else { b",{" });
        write_summary(out, &run);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"next\":");
    match next {
        Some(next) => put_plain(out, next),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

fn write_summary(out: &mut Vec<u8>, run: &RunSummary<'_>) {
    put_id(out, b"\"id\":", run.id);
    out.extend_from_slice(b",\"saga\":");
    put_plain(out, run.saga);
    put_number(out, b",\"version\":", run.version);
    out.extend_from_slice(b",\"state\":");
    put_plain(out, run.state);
    out.extend_from_slice(b",\"why\":");
    put_str_or_null(out, run.why.map_or("", Why::as_str));
    out.extend_from_slice(b",\"failed_step\":");
    put_str_or_null(out, run.failed);
    out.extend_from_slice(b",\"started_at\":");
    put_instant(out, run.started);
    put_maybe_instant(out, b",\"deadline_at\":", run.deadline);
    put_maybe_instant(out, b",\"ended_at\":", run.ended);
}

/// A run, with everything that is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// In few words.
    pub summary: RunSummary<'a>,
    /// The record that started it.
    pub started: Record<'a>,
    /// What it follows.
    pub plan: &'a Plan,
    /// The record of its end.
    pub ended: Option<Record<'a>>,
    /// The run whose step it is.
    pub parent: Option<TransferId>,
    /// Its steps, in the order of the plan, each with what it made.
    pub steps: &'a [(StepView, Option<Made<'a>>)],
    /// The newest records about it, oldest first.
    pub records: &'a [Record<'a>],
    /// Whether there are older ones.
    pub is_cut: bool,
}

/// What a step made, or what is under way for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Made<'a> {
    /// A transfer.
    Transfer(TransferId),
    /// A durable call: the key of its operation.
    Call(&'a str),
    /// An event: where, and at which offset.
    Event(&'a str, u64),
    /// A run of another saga.
    Run(TransferId),
}

/// Appends a run; nothing, and `false`, if the record that started it is none.
pub fn write_run(out: &mut Vec<u8>, run: &Run<'_>) -> bool {
    let Body::Saga(SagaRecord::Started { input, starts, .. }) = run.started.body else { return false };
    out.push(b'{');
    write_summary(out, &run.summary);
    out.extend_from_slice(b",\"owner\":");
    put_str_or_null(out, run.started.principal);
    out.extend_from_slice(b",\"operation\":");
    put_plain(out, &operation_path(run.started.key));
    out.extend_from_slice(b",\"parent\":");
    match run.parent {
        Some(parent) => put_plain(out, &parent.to_string()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"starts_at\":");
    put_instant(out, starts);
    out.extend_from_slice(b",\"input\":");
    put_json_or_null(out, input);
    out.extend_from_slice(b",\"output\":");
    match run.ended.map(|record| record.body) {
        Some(Body::Saga(SagaRecord::Ended { output, .. })) => put_json_or_null(out, output),
        _ => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"steps\":[");
    for (at, planned) in run.plan.steps.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let step = run.steps.get(at).copied();
        out.extend_from_slice(b"{\"id\":");
        put_plain(out, &planned.id);
        out.extend_from_slice(b",\"kind\":");
        put_plain(out, planned.kind.as_str());
        let key = format!("{}/{}", run.summary.id, planned.id);
        write_step(out, planned.kind, &key, step);
        write_tried(out, at, run.records);
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"controls\":[");
    write_controls(out, run);
    out.extend_from_slice(if run.is_cut { b"],\"is_cut\":true}" } else { b"],\"is_cut\":false}" });
    true
}

fn write_step(out: &mut Vec<u8>, kind: StepKind, key: &str, step: Option<(StepView, Option<Made<'_>>)>) {
    let (state, attempts) = step.map_or(("pending", 0), |(step, _)| (step.state, step.attempt));
    out.extend_from_slice(b",\"state\":");
    put_plain(out, state);
    put_number(out, b",\"attempts\":", attempts.into());
    let due = step.and_then(|(step, _)| match step.waits {
        Some(StepWait::Until(due)) => Some(due),
        _ => None,
    });
    put_maybe_instant(out, b",\"next_at\":", due);
    out.extend_from_slice(b",\"made\":");
    // A call has its key whatever became of it: refused, or uncertain, it gave the run nothing.
    let is_begun = kind == StepKind::Call && attempts > 0;
    match step.and_then(|(_, made)| made).or(is_begun.then_some(Made::Call(key))) {
        None => out.extend_from_slice(b"null"),
        Some(Made::Transfer(id)) => {
            put_id(out, b"{\"transfer\":", id);
            out.push(b'}');
        }
        Some(Made::Call(key)) => {
            out.extend_from_slice(b"{\"operation\":");
            put_plain(out, &operation_path(key));
            out.push(b'}');
        }
        Some(Made::Event(topic, offset)) => {
            out.extend_from_slice(b"{\"topic\":");
            put_plain(out, topic);
            put_number(out, b",\"offset\":", offset);
            out.push(b'}');
        }
        Some(Made::Run(id)) => {
            put_id(out, b"{\"run\":", id);
            out.push(b'}');
        }
    }
}

/// The attempts at one step that have ended.
fn write_tried(out: &mut Vec<u8>, step: usize, records: &[Record<'_>]) {
    out.extend_from_slice(b",\"tried\":[");
    let mut is_first = true;
    for record in records {
        let Body::Saga(SagaRecord::Stepped { step: of, attempt, event, evidence, .. }) = record.body else { continue };
        if of as usize != step {
            continue;
        }
        out.extend_from_slice(if is_first { b"{\"at\":" } else { b",{\"at\":" });
        is_first = false;
        put_instant(out, record.stamp);
        put_number(out, b",\"attempt\":", attempt.into());
        out.extend_from_slice(b",\"outcome\":");
        put_plain(out, event.as_str());
        out.extend_from_slice(b",\"evidence\":");
        put_str_or_null(out, evidence);
        out.push(b'}');
    }
    out.push(b']');
}

/// What was asked of the run, and by whom.
fn write_controls(out: &mut Vec<u8>, run: &Run<'_>) {
    let asked = run.records.iter().enumerate().filter_map(|(at, record)| match record.body {
        Body::Saga(SagaRecord::Controlled { control, .. }) => Some((record, control, record.principal)),
        // The record of whoever asked for it comes behind this one, which stands under the run's own key. Logs of earlier
        // versions do not have it there.
        Body::Saga(SagaRecord::Restarted { step, .. }) if !is_told(&run.records[at + 1..]) => {
            Some((record, Control::Restart { step }, ""))
        }
        _ => None,
    });
    for (at, (record, control, by)) in asked.enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"at\":" } else { b",{\"at\":" });
        put_instant(out, record.stamp);
        out.extend_from_slice(b",\"control\":");
        put_plain(out, control.as_str());
        let step = if let Control::Restart { step } = control { run.plan.steps.get(step as usize) } else { None };
        out.extend_from_slice(b",\"from\":");
        put_str_or_null(out, step.map_or("", |step| &step.id));
        out.extend_from_slice(b",\"by\":");
        put_str_or_null(out, by);
        out.push(b'}');
    }
}

/// Whether a restart, behind which these records are, is told by one of them: by the first that is about a control.
fn is_told(behind: &[Record<'_>]) -> bool {
    let first = behind.iter().find_map(|record| match record.body {
        Body::Saga(SagaRecord::Restarted { .. }) => Some(false),
        Body::Saga(SagaRecord::Controlled { control, .. }) => Some(matches!(control, Control::Restart { .. })),
        _ => None,
    });
    first == Some(true)
}

fn put_id(out: &mut Vec<u8>, name: &[u8], id: TransferId) {
    out.extend_from_slice(name);
    out.push(b'"');
    out.extend_from_slice(&id.to_ascii());
    out.push(b'"');
}

fn put_number(out: &mut Vec<u8>, name: &[u8], n: u64) {
    out.extend_from_slice(name);
    put_u64(out, n);
}

fn put_maybe_instant(out: &mut Vec<u8>, name: &[u8], stamp: Option<Stamp>) {
    out.extend_from_slice(name);
    match stamp {
        Some(stamp) => put_instant(out, stamp),
        None => out.extend_from_slice(b"null"),
    }
}
