//! The OpenAPI 3.1 document at `/openapi.json`, made of the same tables as the answers. Tests compare its schemas with
//! what the parsers take and the writers write.

mod calls;
mod leases;
mod nodes;
mod sagas;
mod schemas;
mod topics;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use words::DEADLINE_MS_MAX;

use crate::answer::JSON_TYPE;
use crate::codes::Code;
use crate::problem::PROBLEM_TYPE;
use crate::query::{LIMIT_DEFAULT, LIMIT_MAX};

/// The version of the contract.
pub const CONTRACT_VERSION: &str = "1";

/// The document, indented.
pub fn document() -> String {
    format!("{:#}", value())
}

fn value() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tertium",
            "version": CONTRACT_VERSION,
            "description": "A ledger that loses nothing and applies nothing twice. Every write names its one intended \
                effect by an idempotency key and ends in one of three outcomes: committed, refused or uncertain. The \
                same operations are served over gRPC (package tertium.v1).",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "api_key": [] }],
        "paths": paths(),
        "components": {
            "schemas": schemas::schemas(),
            "parameters": parameters(),
            "headers": headers(),
            "securitySchemes": { "api_key": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// What everything may be refused with.
const EVERYWHERE: [Code; 10] = [
    Code::InvalidRequest,
    Code::Unauthenticated,
    Code::Forbidden,
    Code::OriginNotAllowed,
    Code::MethodNotAllowed,
    Code::HeadersTooLarge,
    Code::TooManyRequests,
    Code::Overloaded,
    Code::Stopping,
    Code::Internal,
];

/// What every write may be refused with, and the two ways in which time can run out.
const WRITES: [Code; 15] = [
    Code::IdempotencyKeyMissing,
    Code::IdempotencyKeyInvalid,
    Code::MalformedJson,
    Code::DeadlineInvalid,
    Code::SessionInvalid,
    Code::PayloadTooLarge,
    Code::UnsupportedMediaType,
    Code::IdempotencyKeyReused,
    Code::OperationBarred,
    Code::KeyExpired,
    Code::DeadlineExceeded,
    Code::OutcomeUnknown,
    Code::StorageFull,
    Code::LogUnavailable,
    Code::NotLeader,
];

/// What every read may be refused with.
const READS: [Code; 5] = [
    Code::DeadlineInvalid,
    Code::SessionInvalid,
    Code::ConsistencyInvalid,
    Code::ConsistencyUnavailable,
    Code::DeadlineExceeded,
];

const WRITE_PARAMETERS: [&str; 4] = ["Idempotency-Key", "X-Request-Deadline", "Tertium-Session", "traceparent"];
/// Of writes that may go on long after they are accepted.
const SLOW_PARAMETERS: [&str; 1] = ["Prefer"];
/// Of writes whose trace goes on with what they start.
const TRACED_PARAMETERS: [&str; 2] = ["tracestate", "baggage"];
const READ_PARAMETERS: [&str; 4] = ["Tertium-Consistency", "Tertium-Session", "X-Request-Deadline", "traceparent"];

/// What moving money may be refused with.
const MOVES: [Code; 6] = [
    Code::AmountInvalid,
    Code::SameAccount,
    Code::AccountNotFound,
    Code::UnitMismatch,
    Code::Overflow,
    Code::InsufficientFunds,
];
const CAPTURES: [Code; 5] =
    [Code::AmountInvalid, Code::TransferNotFound, Code::HoldClosed, Code::ExceedsHold, Code::Overflow];
const REVERSES: [Code; 5] =
    [Code::AmountInvalid, Code::TransferNotFound, Code::ExceedsPosted, Code::Overflow, Code::InsufficientFunds];

fn paths() -> Value {
    let mut paths = json!({});
    let of_effects = topics::paths()
        .into_iter()
        .chain(calls::paths())
        .chain(sagas::paths())
        .chain(leases::paths())
        .chain(nodes::paths());
    let all = account_paths().into_iter().chain(transfer_paths()).chain(of_effects).chain(other_paths());
    for (method, path, operation) in all {
        paths[path][method] = operation;
    }
    paths
}

type Path = (&'static str, &'static str, Value);

fn account_paths() -> Vec<Path> {
    let opens = [Code::AmountInvalid, Code::AccountExists];
    let open = Operation::write("open_account", "Opens an account", "AccountRequest", 201, "Account", &opens);
    let list = Operation::read("list_accounts", "Accounts, a page at a time", "AccountPage", &[Code::CursorInvalid]);
    let get = "An account, now or as it stood at a position";
    let get = Operation::read("get_account", get, "Account", &[Code::AccountNotFound]);
    let reads = [Code::AccountNotFound, Code::CursorInvalid];
    let history = Operation::read("list_transfers", "An account's history, newest first", "HistoryPage", &reads);
    vec![
        ("post", "/v1/accounts", open.value()),
        ("get", "/v1/accounts", list.with(&["limit", "cursor", "unit"]).value()),
        ("get", "/v1/accounts/{id}", get.with(&["account_id"]).value()),
        ("get", "/v1/accounts/{id}/transfers", history.with(&["account_id", "limit", "cursor", "from", "to"]).value()),
    ]
}

fn transfer_paths() -> Vec<Path> {
    let transfer =
        Operation::write("transfer", "Moves money, or sets it aside", "TransferRequest", 201, "Transfer", &MOVES);
    let refusals = [Code::AmountInvalid, Code::BatchRefused];
    let batch = "Many transfers, each with its own key";
    let batch = Operation::write("batch", batch, "BatchRequest", 200, "BatchAnswer", &refusals);
    let capture = "Posts a held transfer, in whole or in part";
    let capture = Operation::write("capture", capture, "PartRequest", 200, "Transfer", &CAPTURES);
    let refusals = [Code::TransferNotFound, Code::HoldClosed];
    let void = Operation::write("void", "Releases a held transfer", "VoidRequest", 200, "Transfer", &refusals);
    let reverse = "Moves a posted transfer's money back";
    let reverse = Operation::write("reverse", reverse, "PartRequest", 201, "Transfer", &REVERSES);
    let get = Operation::read("get_transfer", "A transfer as it is now", "Transfer", &[Code::TransferNotFound]);
    vec![
        ("post", "/v1/transfers", transfer.with_ndjson()),
        ("post", "/v1/transfers/batch", batch.value()),
        ("get", "/v1/transfers/{id}", get.with(&["transfer_id"]).value()),
        ("post", "/v1/transfers/{id}/capture", capture.with(&["transfer_id"]).value()),
        ("post", "/v1/transfers/{id}/void", void.with(&["transfer_id"]).value()),
        ("post", "/v1/transfers/{id}/reverse", reverse.with(&["transfer_id"]).value()),
    ]
}

fn other_paths() -> Vec<Path> {
    let refusals = [Code::IdempotencyKeyInvalid, Code::OperationUnknown];
    let get = Operation::read("get_operation", "What became of an operation", "Operation", &refusals);
    let settle = "Makes an operation definite: returns its answer, or bars its key for good";
    // The one write without a key of its own: it names one.
    let settle = Operation {
        parameters: vec!["operation_key", "X-Request-Deadline", "Tertium-Session", "traceparent"],
        body: None,
        ..Operation::write("settle", settle, "", 200, "Operation", &[])
    };
    vec![
        ("get", "/v1/operations/{key}", get.with(&["operation_key", "wait_ms"]).value()),
        ("post", "/v1/operations/{key}/settle", settle.value()),
        ("get", "/healthz", plain("healthz", "Whether the process lives", JSON_TYPE)),
        ("get", "/readyz", ready()),
        ("get", "/metrics", plain("metrics", "Prometheus text, or OpenMetrics", "text/plain")),
        ("get", "/openapi.json", plain("openapi", "This document", JSON_TYPE)),
        ("get", "/errors/{code}", remedy()),
    ]
}

/// One method of one path.
struct Operation {
    id: &'static str,
    summary: &'static str,
    parameters: Vec<&'static str>,
    body: Option<&'static str>,
    status: u16,
    answer: &'static str,
    headers: &'static [&'static str],
    codes: Vec<Code>,
}

impl Operation {
    fn write(
        id: &'static str,
        summary: &'static str,
        body: &'static str,
        status: u16,
        answer: &'static str,
        codes: &[Code],
    ) -> Self {
        Self {
            id,
            summary,
            parameters: WRITE_PARAMETERS.to_vec(),
            body: Some(body),
            status,
            answer,
            headers: &[
                "Tertium-Outcome",
                "Tertium-Position",
                "Tertium-Session",
                "Idempotency-Replayed",
                "Idempotency-Joined",
            ],
            codes: [codes, &WRITES, &EVERYWHERE].concat(),
        }
    }

    fn read(id: &'static str, summary: &'static str, answer: &'static str, codes: &[Code]) -> Self {
        Self {
            id,
            summary,
            parameters: READ_PARAMETERS.to_vec(),
            body: None,
            status: 200,
            answer,
            headers: &["Tertium-Position", "Tertium-Session", "Tertium-Staleness-Ms", "Tertium-Served-By"],
            codes: [codes, &READS, &EVERYWHERE].concat(),
        }
    }

    /// With parameters of its own, which stand first.
    fn with(mut self, parameters: &[&'static str]) -> Self {
        self.parameters.splice(0..0, parameters.iter().copied());
        self
    }

    /// What it asks for may take longer than its caller waits.
    fn slow(mut self) -> Self {
        self.parameters.extend(SLOW_PARAMETERS);
        self
    }

    /// What it starts belongs to its trace.
    fn traced(mut self) -> Self {
        self.parameters.extend(TRACED_PARAMETERS);
        self
    }

    /// The same path also takes a stream of items.
    fn with_ndjson(self) -> Value {
        let mut value = self.value();
        value["description"] = json!(
            "With application/x-ndjson: a stream of items, one a line, answered line by line in order; each has its own key \
             and the request none."
        );
        value["requestBody"]["content"]["application/x-ndjson"] = json!({ "schema": reference("schemas", "Item") });
        value["responses"]["200"] = json!({
            "description": "The answers to a stream, one a line",
            "content": { "application/x-ndjson": { "schema": reference("schemas", "ItemAnswer") } },
        });
        value
    }

    fn value(&self) -> Value {
        let parameters: Vec<Value> = self.parameters.iter().map(|name| reference("parameters", name)).collect();
        let headers: Map<String, Value> =
            self.headers.iter().map(|name| ((*name).to_owned(), reference("headers", name))).collect();
        let mut responses = problems(&self.codes);
        let success = json!({
            "description": self.summary,
            "headers": headers,
            "content": { JSON_TYPE: { "schema": reference("schemas", self.answer) } },
        });
        responses.insert(self.status.to_string(), success);
        let mut value = json!({
            "operationId": self.id,
            "summary": self.summary,
            "parameters": parameters,
            "responses": responses,
        });
        if let Some(body) = self.body {
            value["requestBody"] =
                json!({ "required": true, "content": { JSON_TYPE: { "schema": reference("schemas", body) } } });
        }
        if self.parameters.contains(&SLOW_PARAMETERS[0]) {
            value["responses"]["202"] = json!({
                "description": "Accepted, and its end is still to come: the deadline passed, or Prefer: respond-async",
                "content": { JSON_TYPE: { "schema": reference("schemas", "Operation") } },
            });
        }
        value
    }
}

/// One response for each status, naming the codes that have it.
fn problems(codes: &[Code]) -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(code.as_str());
    }
    let response = |texts: Vec<&str>| {
        json!({
            "description": texts.join(", "),
            "content": { PROBLEM_TYPE: { "schema": reference("schemas", "Problem") } },
        })
    };
    by_status.into_iter().map(|(status, texts)| (status.to_string(), response(texts))).collect()
}

fn plain(id: &str, summary: &str, media: &str) -> Value {
    json!({
        "operationId": id,
        "summary": summary,
        "security": [{}],
        "responses": { "200": { "description": summary, "content": { media: {} } } },
    })
}

fn ready() -> Value {
    let response = |description: &str| {
        json!({
            "description": description,
            "content": { JSON_TYPE: { "schema": reference("schemas", "Ready") } },
        })
    };
    json!({
        "operationId": "readyz",
        "summary": "Whether the server can serve",
        "security": [{}],
        "responses": { "200": response("It can"), "503": response("It cannot") },
    })
}

fn remedy() -> Value {
    json!({
        "operationId": "remedy",
        "summary": "What a code means and what to do about it",
        "security": [{}],
        "parameters": [reference("parameters", "code")],
        "responses": {
            "200": { "description": "The page", "content": { "text/html": {}, "text/markdown": {} } },
            "404": problems(&[Code::NotFound])["404"],
        },
    })
}

fn parameters() -> Value {
    let text = || json!({ "type": "string" });
    let instant = || json!({ "type": "string", "format": "date-time" });
    let number = |min: u64, max: u64, default: u64| json!({ "type": "integer", "minimum": min, "maximum": max, "default": default });
    let limit = number(1, LIMIT_MAX as u64, LIMIT_DEFAULT as u64);
    let key = "Names the one intended effect: 1 to 255 visible ASCII characters, quoted or bare. Send the same key \
               with every attempt.";
    let deadline = "When the caller stops waiting: remaining time (250ms, 2s) or an RFC 3339 instant. Default 10s.";
    let consistency = "linearizable, session, bounded=<ms>, eventual or at=<position>.";
    let trace = "W3C trace context; a new trace is started where it is absent.";
    let parameters = [
        ("Idempotency-Key", "Idempotency-Key", "header", key, text()),
        ("X-Request-Deadline", "X-Request-Deadline", "header", deadline, text()),
        ("Tertium-Session", "Tertium-Session", "header", "What this client has seen: echo the last received.", text()),
        ("Tertium-Consistency", "Tertium-Consistency", "header", consistency, text()),
        ("Prefer", "Prefer", "header", "respond-async: do not wait for slow work.", text()),
        ("traceparent", "traceparent", "header", trace, text()),
        ("tracestate", "tracestate", "header", "W3C trace context; sent on with what the request starts.", text()),
        ("baggage", "baggage", "header", "W3C baggage; sent on with what the request starts.", text()),
        ("account_id", "id", "path", "The account.", reference("schemas", "Id")),
        ("uncertain_id", "id", "path", "The id in the list.", text()),
        ("transfer_id", "id", "path", "The transfer.", json!({ "type": "string", "format": "uuid" })),
        ("operation_key", "key", "path", "The operation's idempotency key.", reference("schemas", "Key")),
        ("code", "code", "path", "The code.", reference("schemas", "Code")),
        ("limit", "limit", "query", "Items per page.", limit),
        ("cursor", "cursor", "query", "The next of the last page.", text()),
        ("unit", "unit", "query", "Only accounts of this unit.", reference("schemas", "Id")),
        ("from", "from", "query", "Only what happened at this instant or later.", instant()),
        ("to", "to", "query", "Only what happened before this instant.", instant()),
        ("wait_ms", "wait_ms", "query", "How long to wait if there is none yet.", number(0, DEADLINE_MS_MAX, 0)),
    ];
    let one = |(component, name, place, description, schema): (&str, &str, &str, &str, Value)| {
        let is_required = place == "path" || name == "Idempotency-Key";
        let value = json!({
            "name": name,
            "in": place,
            "required": is_required,
            "description": description,
            "schema": schema,
        });
        (component.to_owned(), value)
    };
    let of_effects = topics::parameters()
        .into_iter()
        .chain(sagas::parameters())
        .chain(leases::parameters())
        .chain(nodes::parameters());
    parameters.into_iter().chain(of_effects).map(one).collect()
}

fn headers() -> Value {
    let header = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "Tertium-Outcome": header("committed, refused or uncertain."),
        "Tertium-Position": header("<cell>:<epoch>:<index> of the entry that decided it, or that was read at."),
        "Tertium-Session": header("What this client has seen now; opaque, to be echoed."),
        "Tertium-Staleness-Ms": header("How old the answer is at most, in milliseconds."),
        "Tertium-Served-By": header("The node that answered."),
        "Idempotency-Replayed": header("true: decided earlier; status and body are those of the first answer."),
        "Idempotency-Joined": header("true: another request with this key was in flight, and both got its answer."),
    })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

#[cfg(test)]
mod tests;
