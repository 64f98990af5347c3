//! The paths and shapes of sagas and their runs.

use machine::RUN_MS_MAX;
use serde_json::{Value, json};

use super::schemas::{array, nullable, object, page};
use super::{Operation, Path, reference};
use crate::codes::Code;
use crate::query::{LIMIT_DEFAULT, LIMIT_MAX};

/// The content type of a definition in YAML (RFC 9512).
const YAML_TYPE: &str = "application/yaml";

pub(super) fn paths() -> Vec<Path> {
    let list = Operation::read("list_sagas", "Sagas, by name", "SagaPage", &[Code::CursorInvalid]);
    let get = Operation::read("get_saga", "A saga's definition", "SagaDefined", &[Code::SagaNotFound]);
    let put = "Defines a saga (201), or gives it a new definition (200); open runs keep theirs";
    let refusals = [Code::LimitReached, Code::DestinationNotAllowed];
    let put = Operation::write("put_saga", put, "SagaRequest", 201, "SagaVersion", &refusals);
    let mut put = put.with(&["saga"]).value();
    put["responses"]["200"] = put["responses"]["201"].clone();
    put["requestBody"]["content"][YAML_TYPE] = json!({ "schema": reference("schemas", "SagaRequest") });
    let start = "Starts a run of a saga and waits for its end, or else says where to ask for it";
    let ends = [Code::SagaNotFound, Code::RunCompensated, Code::RunEscalated];
    let start = Operation::write("start_run", start, "RunRequest", 200, "RunEnd", &ends).with(&["saga"]).slow();
    vec![
        ("get", "/v1/sagas", list.with(&["limit", "cursor"]).value()),
        ("get", "/v1/sagas/{name}", get.with(&["saga", "version"]).value()),
        ("put", "/v1/sagas/{name}", put),
        ("post", "/v1/sagas/{name}/runs", accepts(start.value())),
    ]
    .into_iter()
    .chain(run_paths())
    .collect()
}

fn run_paths() -> Vec<Path> {
    let list = "Open runs, oldest first; or those that ended in a state, newest end first";
    let list = Operation::read("list_runs", list, "RunPage", &[Code::CursorInvalid]);
    let get = "A run, with each step's attempts";
    let get = Operation::read("get_run", get, "Run", &[Code::RunNotFound]);
    let control = |id, what, body, codes: &[Code]| {
        let codes = [&[Code::RunNotFound, Code::RunState], codes].concat();
        Operation::write(id, what, body, 200, "RunControlled", &codes).with(&["run"]).value()
    };
    let many_of =
        |id, what, body| Operation::write(id, what, body, 200, "RunsControlled", &[Code::CursorInvalid]).value();
    let many = |id, what| many_of(id, what, "RunsRequest");
    let restarts = "Restarts the oldest escalated runs that are meant, each from a step or from wherever it stopped";
    let cancel = control("cancel_run", "Has a run undo what it did", "VoidRequest", &[Code::RunPastPivot]);
    let restart = "Has an escalated run go on from a step: that one and all that wait for it are done again";
    vec![
        ("get", "/v1/runs", list.with(&["run_state", "saga_filter", "limit", "cursor"]).value()),
        ("get", "/v1/runs/{id}", get.with(&["run", "wait_ms"]).value()),
        ("post", "/v1/runs/{id}/cancel", cancel),
        ("post", "/v1/runs/{id}/pause", control("pause_run", "Has a run begin no more steps", "VoidRequest", &[])),
        ("post", "/v1/runs/{id}/resume", control("resume_run", "Has a paused run go on", "VoidRequest", &[])),
        ("post", "/v1/runs/{id}/restart", control("restart_run", restart, "RestartRequest", &[Code::StepNotFound])),
        ("post", "/v1/runs/cancel", many("cancel_runs", "Cancels the oldest open runs that are meant")),
        ("post", "/v1/runs/pause", many("pause_runs", "Pauses the oldest open runs that are meant")),
        ("post", "/v1/runs/resume", many("resume_runs", "Resumes the oldest open runs that are meant")),
        ("post", "/v1/runs/restart", many_of("restart_runs", restarts, "RestartsRequest")),
    ]
}

/// What is said of a run that has not ended at the caller's deadline.
fn accepts(mut operation: Value) -> Value {
    operation["responses"]["202"] = json!({
        "description": "Started, and not ended yet; Location is the run's path",
        "content": { "application/json": { "schema": reference("schemas", "RunAccepted") } },
    });
    operation
}

pub(super) fn parameters() -> [(&'static str, &'static str, &'static str, &'static str, Value); 5] {
    let states = ["delayed", "running", "paused", "compensating", "done", "compensated", "escalated"];
    let version = json!({ "type": "integer", "minimum": 1 });
    [
        ("saga", "name", "path", "The saga.", reference("schemas", "Id")),
        ("saga_filter", "saga", "query", "Only runs of this saga.", reference("schemas", "Id")),
        ("version", "version", "query", "Which definition; the newest if absent.", version),
        ("run", "id", "path", "The run.", json!({ "type": "string", "format": "uuid" })),
        ("run_state", "state", "query", "Where they are; every open run if absent.", json!({ "enum": states })),
    ]
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("SagaRequest", saga_request()),
        ("SagaVersion", object(&[("name", reference("schemas", "Id")), ("version", number())], &[])),
        ("SagaDefined", saga_defined()),
        ("SagaSummary", saga_summary()),
        ("SagaPage", page("SagaSummary")),
        ("RunRequest", run_request()),
        ("RunAccepted", object(&[("id", id()), ("path", text()), ("operation", text())], &[])),
        ("RunEnd", run_end()),
        ("RunSummary", object(&summary(), &[])),
        ("RunPage", page("RunSummary")),
        ("Run", run()),
        ("RunStep", step()),
        ("StepTried", step_tried()),
        ("RunControl", run_control()),
        ("RestartRequest", object(&[("from", reference("schemas", "Id"))], &[])),
        ("RunControlled", object(&[("id", id()), ("control", verb())], &[])),
        ("RunsRequest", runs_request(&["delayed", "running", "paused", "compensating"], &[])),
        ("RestartsRequest", runs_request(&["escalated"], &[("from", reference("schemas", "Id"))])),
        (
            "RunsControlled",
            object(&[("control", verb()), ("count", number()), ("next", json!({ "type": ["string", "null"] }))], &[]),
        ),
    ]
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn id() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

fn instant() -> Value {
    reference("schemas", "Instant")
}

fn verb() -> Value {
    json!({ "enum": ["cancel", "pause", "resume", "restart"] })
}

fn why() -> Value {
    json!({ "enum": ["cancelled", "step_failed", "deadline", null] })
}

fn saga_request() -> Value {
    let description = "A definition: docs/sagas.md, and docs/schemas/saga.schema.json for all of its shape.";
    json!({ "type": "object", "description": description, "required": ["name", "steps"] })
}

fn saga_defined() -> Value {
    object(
        &[
            ("name", reference("schemas", "Id")),
            ("version", number()),
            ("defined_at", instant()),
            ("definition", reference("schemas", "SagaRequest")),
        ],
        &[],
    )
}

fn saga_summary() -> Value {
    let open = json!({ "type": "integer", "minimum": 0, "description": "Open runs of the newest definition." });
    object(
        &[("name", reference("schemas", "Id")), ("version", number()), ("steps", number()), ("open_runs", open)],
        &[],
    )
}

fn run_request() -> Value {
    let ms = |least: u64, what: &str| json!({ "type": "integer", "minimum": least, "maximum": RUN_MS_MAX, "description": what });
    object(
        &[],
        &[
            ("input", json!({ "description": "What the definition's `input` asks for. Default {}." })),
            ("delay_ms", ms(0, "How long to wait before the first step.")),
            ("deadline_ms", ms(1, "How long it may go forward, if not as long as its definition says.")),
        ],
    )
}

fn run_end() -> Value {
    let state = json!({ "enum": ["done", "compensated", "escalated"] });
    let output = json!({ "description": "What the definition's `output` gave; null without one." });
    object(&[("id", id()), ("path", text()), ("state", state), ("why", why()), ("output", output)], &[])
}

fn summary() -> Vec<(&'static str, Value)> {
    let states = ["delayed", "running", "paused", "compensating", "done", "compensated", "escalated"];
    vec![
        ("id", id()),
        ("saga", reference("schemas", "Id")),
        ("version", number()),
        ("state", json!({ "enum": states })),
        ("why", why()),
        ("failed_step", json!({ "type": ["string", "null"] })),
        ("started_at", instant()),
        ("deadline_at", nullable(instant())),
        ("ended_at", nullable(instant())),
    ]
}

fn run() -> Value {
    let mut members = summary();
    let cut = json!({ "type": "boolean", "description": "Whether only the newest attempts are told." });
    members.extend([
        ("owner", json!({ "type": ["string", "null"], "description": "Whose key it is." })),
        ("operation", text()),
        ("parent", json!({ "type": ["string", "null"], "description": "The run whose step it is." })),
        ("starts_at", instant()),
        ("input", json!({})),
        ("output", json!({})),
        ("steps", array("RunStep")),
        ("controls", array("RunControl")),
        ("is_cut", cut),
    ]);
    object(&members, &[])
}

fn step() -> Value {
    let states = [
        "pending",
        "running",
        "retrying",
        "done",
        "failed",
        "skipped",
        "compensating",
        "compensated",
        "uncertain",
        "escalated",
    ];
    let made = object(
        &[],
        &[("transfer", id()), ("operation", text()), ("topic", text()), ("offset", number()), ("run", id())],
    );
    object(
        &[
            ("id", reference("schemas", "Id")),
            ("kind", text()),
            ("state", json!({ "enum": states })),
            ("attempts", number()),
            ("next_at", nullable(instant())),
            ("made", nullable(made)),
            ("tried", array("StepTried")),
        ],
        &[],
    )
}

fn step_tried() -> Value {
    let evidence = json!({ "type": ["string", "null"] });
    object(&[("at", instant()), ("attempt", number()), ("outcome", text()), ("evidence", evidence)], &[])
}

fn run_control() -> Value {
    let maybe = || json!({ "type": ["string", "null"] });
    object(&[("at", instant()), ("control", verb()), ("from", maybe()), ("by", maybe())], &[])
}

fn runs_request(states: &[&str], more: &[(&'static str, Value)]) -> Value {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT });
    let cursor = json!({ "type": "string", "description": "The next of the last answer." });
    let fields = [
        ("saga", reference("schemas", "Id")),
        ("state", json!({ "enum": states })),
        ("limit", limit),
        ("cursor", cursor),
    ];
    let mut schema = object(&[], &[&fields, more].concat());
    schema["anyOf"] = json!([{ "required": ["saga"] }, { "required": ["state"] }]);
    schema
}
