//! Sagas and runs: defining, starting, looking at them, and changing what is to become of them.

use std::sync::Arc;

use cell::{Found, Query, ReadError, ReadReply, RunFound, SagaFound, SagaQuery, Standing};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use machine::{Body, Plan, Record, SagaRecord};
use outbox::check_url;
use saga::{Definition, DefinitionError, Fault};
use wire::headers::{DefinitionMedia, definition_media};
use wire::path::{id_of_segment, run_of_segment};
use wire::query::{DefinitionQuery, NamesQuery, OperationQuery, RunsIn, RunsQuery};
use wire::request::{self, ControlVerb};
use wire::saga::{Made, Run, RunSummary, SagaSummary, write_definition, write_run, write_runs, write_sagas};
use wire::{Code, Problem};
use words::TransferId;

use super::judge::Judge;
use super::reads::{Fresh, answer, problem_of_read};
use super::writes::{Judged, decide, decide_judged, json_only};
use crate::call::{Call, Payload, bytes_of};
use crate::respond::{Answered, internal};
use crate::route::SagaRoute;

/// From how many bytes on a definition is read where that holds up nobody else.
const LARGE_BYTES: usize = 16 << 10;

/// Answers a write.
///
/// # Errors
/// The problem to answer instead.
pub(super) async fn write(
    call: &mut Call,
    route: SagaRoute<'_>,
    head: &Parts,
    body: &mut Payload,
) -> Result<Answered, Problem> {
    match route {
        SagaRoute::Define(segment) => define(call, &id_of_segment("name", segment)?, head, body).await,
        SagaRoute::Start(segment) => start(call, &id_of_segment("name", segment)?, head, body).await,
        SagaRoute::Control(segment, verb) => control(call, run_of_segment(segment)?, verb, head, body).await,
        SagaRoute::ControlMany(verb) => {
            json_only(head, body)?;
            decide(call, head, body, |body, who, key| request::parse_control_many(verb, body, who, key)).await
        }
        _ => Err(internal("a route that is no write")),
    }
}

async fn define(call: &Call, name: &str, head: &Parts, body: &mut Payload) -> Result<Answered, Problem> {
    let media = definition_media(bytes_of(&head.headers, &CONTENT_TYPE))?;
    decide_judged(call, head, body, |body, who, key| {
        let read = || read_definition(name, media, body);
        let definition = if body.len() < LARGE_BYTES { read() } else { tokio::task::block_in_place(read) }?;
        let if_new = judge_calls(call, &definition)?;
        let document = definition.document().to_string();
        Ok(Judged { command: request::define(name, definition.plan(), &document, who, key), if_new })
    })
    .await
}

/// The definition in a body, if there is nothing wrong with it; else everything that is.
fn read_definition(name: &str, media: DefinitionMedia, body: &[u8]) -> Result<Definition, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Problem::field(Code::InvalidRequest, "body", format_args!("is UTF-8: {error}")))?;
    let read = match media {
        DefinitionMedia::Json => saga::from_json(text),
        DefinitionMedia::Yaml => saga::from_yaml(text),
    };
    let definition = read.map_err(|error| problem_of_document("definition", &error))?;
    if definition.name != name {
        let what = format!("is `{}` here, and `{name}` in the path", definition.name);
        let detail = format!("definition: /name: {what}");
        return Err(Problem::new(Code::InvalidRequest, detail).with_errors([("/name".to_owned(), what)]));
    }
    Ok(definition)
}

/// What this server's settings have against the addresses and secrets that are written down; addresses that are computed
/// are judged then.
fn judge_calls(call: &Call, definition: &Definition) -> Result<Option<Problem>, Problem> {
    let mut against = None;
    for (at, url) in definition.fixed_urls() {
        let within = |problem: Problem| {
            let what = problem.detail.strip_prefix(&format!("{at}: ")).unwrap_or(&problem.detail).to_owned();
            problem.with_errors([(at.clone(), what)])
        };
        let url = check_url(&url).map_err(|error| within(Problem::field(Code::InvalidRequest, &at, error)))?;
        let mut judge = Judge::new(call);
        judge.address(&at, &url);
        against = against.or(judge.against.map(within));
    }
    for (at, name) in definition.secrets() {
        let mut judge = Judge::new(call);
        judge.call_secret(&at, &name);
        against = against.or(judge.against);
    }
    Ok(against)
}

/// Everything that is wrong with a document, told at once.
fn problem_of_document(what: &str, error: &DefinitionError) -> Problem {
    let count = error.problems.len();
    let first = error.problems.first().map(ToString::to_string).unwrap_or_default();
    let detail = match count {
        1 => format!("{what}: {first}"),
        _ => format!("{what}: {count} things are wrong, the first: {first}"),
    };
    let errors = error.problems.iter().map(|problem| (problem.at.clone(), problem.fault.to_string()));
    let problem = Problem::new(Code::InvalidRequest, detail).with_errors(errors);
    match error.problems.first().map(|problem| &problem.fault) {
        Some(Fault::Syntax { line, column, .. }) => problem.with_line_and_column(*line, *column),
        _ => problem,
    }
}

async fn start(call: &Call, name: &str, head: &Parts, body: &mut Payload) -> Result<Answered, Problem> {
    json_only(head, body)?;
    let definition = newest(call, name, call.deadline_us(&head.headers)?).await?;
    decide_judged(call, head, body, |body, who, key| {
        let mut if_new = None;
        let command = request::parse_run(name, body, who, key, |input| {
            if let Some(definition) = &definition {
                let input = serde_json::from_str(input).map_err(internal)?;
                // What was started once is answered as it was, whatever has become of its saga since.
                if_new = definition.check_input(&input).err().map(|error| problem_of_document("input", &error));
            }
            Ok(())
        })?;
        Ok(Judged { command, if_new })
    })
    .await
}

/// The newest definition of a saga; without one it is the machine's to say so.
async fn newest(call: &Call, name: &str, deadline_us: u64) -> Result<Option<Arc<Definition>>, Problem> {
    let query = Query::Sagas(SagaQuery::Definition { name: name.to_owned(), version: None });
    let reply = call.app.read(cell::Level::Linearizable, deadline_us, query).await?;
    match reply.found {
        Ok(Found::Sagas(SagaFound::Definition(record))) => {
            call.app.definitions.parsed(&record).map(Some).map_err(internal)
        }
        Ok(_) => Err(internal("another kind of thing was found")),
        Err(ReadError::SagaNotFound) => Ok(None),
        Err(error) => Err(problem_of_read(call, error, name)),
    }
}

async fn control(
    call: &Call,
    id: TransferId,
    verb: ControlVerb,
    head: &Parts,
    body: &mut Payload,
) -> Result<Answered, Problem> {
    json_only(head, body)?;
    let no_run = || Problem::new(Code::RunNotFound, format!("There is no run {id}."));
    let tag = TransferId::cell_tag(call.app.cell.cell());
    let run = id.ordinal(tag).ok_or_else(no_run)?;
    // The steps have their names in the definition that the run follows.
    let plan = match verb {
        ControlVerb::Restart => Some(plan_of(call, id, call.deadline_us(&head.headers)?).await?),
        _ => None,
    };
    decide(call, head, body, |body, who, key| {
        request::parse_control(run, verb, body, who, key, |step| {
            let unknown = || Problem::new(Code::StepNotFound, format!("The run {id} has no step {step}."));
            plan.as_ref().and_then(|plan| plan.step(step)).ok_or_else(unknown)
        })
    })
    .await
}

async fn plan_of(call: &Call, id: TransferId, deadline_us: u64) -> Result<Plan, Problem> {
    let query = Query::Sagas(SagaQuery::Run { id, wait_until_us: None });
    let reply = call.app.read(cell::Level::Linearizable, deadline_us, query).await?;
    match reply.found {
        Ok(Found::Sagas(SagaFound::Run(run))) => plan_in(&run.definition).map_err(internal),
        Ok(_) => Err(internal("another kind of thing was found")),
        Err(error) => Err(problem_of_read(call, error, &id.to_string())),
    }
}

fn plan_in(definition: &[u8]) -> Result<Plan, machine::Corrupt> {
    match Record::decode(definition)?.body {
        Body::Saga(SagaRecord::Defined { plan, .. }) => Plan::decode(plan),
        _ => Err(machine::Corrupt("a definition that is none")),
    }
}

/// Answers a read.
///
/// # Errors
/// The problem to answer instead.
pub(super) async fn read(call: &Call, route: SagaRoute<'_>, head: &Parts) -> Result<Answered, Problem> {
    let query = head.uri.query().unwrap_or("");
    match route {
        SagaRoute::List => {
            let NamesQuery { limit, after } = NamesQuery::parse(query)?;
            let reply = ask(call, &head.headers, SagaQuery::Sagas { after, limit }).await?;
            answer_found(call, reply, "", |found| {
                let SagaFound::Sagas(sagas) = found else { return None };
                let next = sagas.last().filter(|_| sagas.len() == limit).map(|saga| &*saga.name);
                let shown = sagas.iter().map(|saga| SagaSummary {
                    name: &saga.name,
                    version: saga.version,
                    steps: saga.steps,
                    runs: saga.runs,
                });
                let mut out = Vec::with_capacity(1_024);
                write_sagas(&mut out, shown, next);
                Some(out)
            })
        }
        SagaRoute::Read(segment) => {
            let name = id_of_segment("name", segment)?;
            let DefinitionQuery { version } = DefinitionQuery::parse(query)?;
            let about = version.map_or_else(|| name.clone(), |version| format!("{name} of version {version}"));
            let reply = ask(call, &head.headers, SagaQuery::Definition { name, version }).await?;
            answer_found(call, reply, &about, |found| {
                let SagaFound::Definition(record) = found else { return None };
                let mut out = Vec::with_capacity(record.len());
                write_definition(&mut out, &Record::decode(&record).ok()?).then_some(out)
            })
        }
        SagaRoute::Runs => runs(call, &RunsQuery::parse(query)?, head).await,
        SagaRoute::Run(segment) => {
            let id = run_of_segment(segment)?;
            let OperationQuery { wait_ms } = OperationQuery::parse(query)?;
            let wait_until_us = (wait_ms > 0).then(|| call.app.cell.now_us() + wait_ms * 1_000);
            let reply = ask(call, &head.headers, SagaQuery::Run { id, wait_until_us }).await?;
            answer_found(call, reply, &id.to_string(), |found| {
                let SagaFound::Run(run) = found else { return None };
                render(&run)
            })
        }
        _ => Err(internal("a route that is no read")),
    }
}

async fn runs(call: &Call, asked: &RunsQuery, head: &Parts) -> Result<Answered, Problem> {
    let (limit, saga) = (asked.limit, asked.saga.clone());
    let query = match asked.state {
        RunsIn::Open(state) => SagaQuery::OpenRuns { state, saga, after: asked.at.unwrap_or(0), limit },
        RunsIn::Ended(end) => SagaQuery::EndedRuns { end, saga, before: asked.at, limit },
    };
    let reply = ask(call, &head.headers, query).await?;
    answer_found(call, reply, "", |found| {
        let SagaFound::Runs { items, next } = found else { return None };
        let next = next.map(|at| asked.cursor(at));
        let mut out = Vec::with_capacity(64 + items.len() * 300);
        write_runs(&mut out, items.iter().map(summary_of), next.as_deref());
        Some(out)
    })
}

fn summary_of(summary: &cell::RunSummary) -> RunSummary<'_> {
    RunSummary {
        id: summary.id,
        saga: &summary.saga,
        version: summary.version,
        state: match summary.standing {
            Standing::Open(state) => state.as_str(),
            Standing::Ended(end) => end.as_str(),
        },
        why: summary.why,
        failed: summary.failed.as_deref().unwrap_or_default(),
        started: summary.started,
        deadline: summary.deadline,
        ended: summary.ended,
    }
}

/// A run as it is told; `None` where a record cannot be read.
fn render(run: &RunFound) -> Option<Vec<u8>> {
    let plan = plan_in(&run.definition).ok()?;
    let records: Vec<Record<'_>> =
        run.records.iter().map(|record| Record::decode(record).ok()).collect::<Option<_>>()?;
    let made = run.made.iter().map(|made| {
        made.as_ref().map(|made| match made {
            cell::Made::Transfer(id) => Made::Transfer(*id),
            cell::Made::Call(key) => Made::Call(key),
            cell::Made::Event { topic, offset } => Made::Event(topic, *offset),
            cell::Made::Run(id) => Made::Run(*id),
        })
    });
    let steps: Vec<_> = run.steps.iter().copied().zip(made).collect();
    let shown = Run {
        summary: summary_of(&run.summary),
        started: Record::decode(&run.started).ok()?,
        plan: &plan,
        ended: run.ended.as_ref().map(|record| Record::decode(record)).transpose().ok()?,
        parent: run.parent,
        steps: &steps,
        records: &records,
        is_cut: run.is_cut,
    };
    let mut out = Vec::with_capacity(1_024 + records.len() * 128);
    write_run(&mut out, &shown).then_some(out)
}

async fn ask(call: &Call, headers: &HeaderMap, query: SagaQuery) -> Result<ReadReply, Problem> {
    let fresh = Fresh::of(call, headers)?;
    call.app.read(fresh.level, fresh.deadline_us, Query::Sagas(query)).await
}

fn answer_found(
    call: &Call,
    reply: ReadReply,
    about: &str,
    render: impl FnOnce(SagaFound) -> Option<Vec<u8>>,
) -> Result<Answered, Problem> {
    answer(call, reply, about, |found| {
        let rendered = match found {
            Found::Sagas(found) => render(found),
            _ => None,
        };
        rendered.ok_or_else(|| internal("another kind of thing was found"))
    })
}
