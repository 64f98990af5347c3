//! Durable calls, and what is uncertain of them.

use machine::{CALL_MS_BOUNDS, UNCERTAIN_MS_BOUNDS};
use serde_json::{Value, json};

use super::schemas::{array, nullable, object, page};
use super::{Operation, Path, reference};
use crate::codes::Code;

pub(super) fn paths() -> Vec<Path> {
    let ends =
        [Code::CallRefused, Code::CallNotDone, Code::CallCompensated, Code::CallCancelled, Code::DestinationNotAllowed];
    let call = "Has a receiver called, until that has a definite end";
    let call = Operation::write("call", call, "CallRequest", 200, "Call", &ends);
    let list = "The calls of which nobody knows whether they were done, oldest first";
    let list = Operation::read("list_uncertain", list, "UncertainPage", &[Code::CursorInvalid]);
    let resolve = "Says what became of an uncertain call, by hand; needs the role admin where there are keys";
    let refused = [Code::NotUncertain, Code::CallUnderWay];
    let resolve = Operation::write("resolve", resolve, "ResolveRequest", 200, "Resolved", &refused);
    vec![
        ("post", "/v1/calls", call.slow().traced().value()),
        ("get", "/v1/uncertain", list.with(&["limit", "cursor"]).value()),
        ("post", "/v1/uncertain/{id}/resolve", resolve.with(&["uncertain_id"]).value()),
    ]
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("CallRequest", call_request()),
        ("Probe", probe()),
        ("Compensation", request(&[])),
        ("Retry", retry()),
        ("Call", call()),
        ("Response", response()),
        ("Uncertain", uncertain()),
        ("Tried", tried()),
        ("UncertainPage", page("Uncertain")),
        ("ResolveRequest", resolve_request()),
        ("Resolved", object(&[("id", text()), ("outcome", reference("schemas", "Outcome"))], &[])),
    ]
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn texts(description: &str) -> Value {
    json!({ "type": "object", "additionalProperties": { "type": "string" }, "description": description })
}

/// The members of every request that the server makes for somebody.
fn request(more: &[(&str, Value)]) -> Value {
    let url = json!({ "type": "string", "format": "uri", "description": "http or https, without credentials." });
    let method = json!({ "type": "string", "enum": ["POST", "PUT", "PATCH", "DELETE"], "default": "POST" });
    let body = json!({ "description": "Sent as JSON; with another Content-Type a string, sent as it is." });
    let headers = texts(
        "Besides those that the server sets: Host, Idempotency-Key, X-Request-Deadline, Tertium-* but for Tertium-Fence.",
    );
    object(&[("url", url)], &[more, &[("method", method), ("headers", headers), ("body", body)]].concat())
}

fn call_request() -> Value {
    let (deadline_min, deadline_max) = CALL_MS_BOUNDS;
    let (uncertain_min, uncertain_max) = UNCERTAIN_MS_BOUNDS;
    let deadline = json!({
        "type": "integer", "minimum": deadline_min, "maximum": deadline_max,
        "description": "How long it may be tried. Default 10,000.",
    });
    let doubt = json!({
        "type": "string", "enum": ["probe", "resend", "compensate", "escalate"],
        "description": "What to do when nobody knows whether it was done. Default: probe if there is one, else escalate.",
    });
    let uncertain = json!({
        "type": "integer", "minimum": uncertain_min, "maximum": uncertain_max,
        "description": "How long it may stay uncertain. Default one day.",
    });
    let way_out = json!({
        "type": "string", "enum": ["escalate", "compensate", "cancel"], "default": "escalate",
        "description": "What to do after that. cancel: it counts as not done, because what was done lapses by itself.",
    });
    request(&[
        ("deadline_ms", deadline),
        ("retry", reference("schemas", "Retry")),
        ("probe", reference("schemas", "Probe")),
        ("on_uncertain", doubt),
        ("compensate", reference("schemas", "Compensation")),
        ("uncertain_ms_max", uncertain),
        ("way_out", way_out),
    ])
}

fn retry() -> Value {
    let tries = json!({
        "type": "integer", "minimum": 1, "maximum": 4, "default": 4,
        "description": "Tries in a row, while it is certain that nothing was done or the receiver is keyed.",
    });
    let persist = json!({
        "type": "boolean", "default": false,
        "description": "Try again until the deadline, as long as it is certain that nothing was done.",
    });
    object(&[], &[("tries_max", tries), ("until_deadline", persist)])
}

fn probe() -> Value {
    let url = json!({ "type": "string", "description": "Asked with GET; {key} in it stands for the operation's key." });
    let pointer = json!({ "type": "string", "description": "Where in a JSON answer the state stands (RFC 6901)." });
    object(
        &[("url", url)],
        &[
            ("headers", texts("Sent with the question.")),
            ("status", texts("What a status means: committed, refused or uncertain.")),
            ("pointer", pointer),
            ("values", texts("What the value there means, likewise.")),
        ],
    )
}

fn call() -> Value {
    let ends =
        ["committed", "refused", "not_done", "compensated", "cancelled", "resolved_committed", "resolved_refused"];
    object(
        &[
            ("id", text()),
            ("end", json!({ "type": "string", "enum": ends })),
            ("evidence", text()),
            ("attempts", number()),
            ("tries", number()),
            ("uncertain_ms", number()),
            ("response", nullable(reference("schemas", "Response"))),
        ],
        &[("resolved_by", text())],
    )
}

fn response() -> Value {
    object(
        &[
            ("status", number()),
            ("content_type", json!({ "type": ["string", "null"] })),
            ("is_cut", json!({ "type": "boolean", "description": "Whether only the first 64 KiB were kept." })),
        ],
        &[
            ("body", json!({ "description": "JSON as it is, other text as a string." })),
            ("body_base64", text()),
            (
                "headers",
                json!({
                    "type": "object", "additionalProperties": text(),
                    "description": "Of a step of a run: the headers that its definition keeps, by their names.",
                }),
            ),
        ],
    )
}

fn uncertain() -> Value {
    let instant = || reference("schemas", "Instant");
    let maybe = || nullable(reference("schemas", "Instant"));
    object(
        &[
            ("id", text()),
            ("kind", json!({ "type": "string", "enum": ["call"] })),
            ("owner", json!({ "type": ["string", "null"], "description": "Whose key it is." })),
            ("key", reference("schemas", "Key")),
            ("method", text()),
            ("url", text()),
            ("uncertain_since", instant()),
            ("age_ms", number()),
            ("escalated", json!({ "type": "boolean", "description": "Whether a person has the next move." })),
            ("next", json!({ "type": "string", "enum": ["call", "resend", "probe", "compensate", "person"] })),
            ("next_attempt_at", maybe()),
            ("bound_at", maybe()),
            ("way_out", text()),
            ("tries", number()),
            ("tried", array("Tried")),
        ],
        &[],
    )
}

fn tried() -> Value {
    object(
        &[
            ("at", reference("schemas", "Instant")),
            ("attempt", number()),
            ("asked_to", text()),
            ("found", text()),
            ("status", json!({ "type": ["integer", "null"] })),
            ("evidence", text()),
        ],
        &[],
    )
}

fn resolve_request() -> Value {
    let outcome = json!({ "type": "string", "enum": ["committed", "refused"] });
    let by = json!({ "type": "string", "description": "Who says so." });
    let note = json!({ "type": "string", "description": "How they know." });
    object(&[("outcome", outcome), ("by", by), ("note", note)], &[])
}
