//! The paths and shapes of nodes.

use serde_json::{Value, json};

use super::schemas::{nullable, object, page};
use super::{EVERYWHERE, Operation, Path, reference};
use crate::codes::Code;

pub(super) fn paths() -> Vec<Path> {
    let list = "The nodes of the cell, as they were last heard of";
    let list = Operation {
        parameters: Vec::new(),
        headers: &[],
        codes: EVERYWHERE.to_vec(),
        ..Operation::read("list_nodes", list, "NodePage", &[])
    };
    let promote = "Asks a node to lead: by the leader the lead is handed over; a node that is asked itself claims it";
    // It asks for what is so or is not, whoever asks: it needs no key.
    let promote = Operation {
        parameters: vec!["node", "X-Request-Deadline", "traceparent"],
        body: None,
        headers: &["Tertium-Outcome"],
        codes: [
            &[Code::NotLeader, Code::DeadlineInvalid, Code::DeadlineExceeded, Code::OutcomeUnknown],
            &EVERYWHERE[..],
        ]
        .concat(),
        ..Operation::write("promote_node", promote, "", 200, "NodePromoted", &[])
    };
    vec![("get", "/v1/nodes", list.value()), ("post", "/v1/nodes/{node}/promote", promote.value())]
}

pub(super) fn parameters() -> [(&'static str, &'static str, &'static str, &'static str, Value); 1] {
    [("node", "node", "path", "The node.", reference("schemas", "Id"))]
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let id = || reference("schemas", "Id");
    let text = || json!({ "type": "string" });
    let ago = json!({ "type": "integer", "minimum": 0, "description": "How long ago it said this, in milliseconds." });
    let node = [
        ("node", id()),
        ("role", json!({ "enum": ["leader", "follower"] })),
        ("position", text()),
        ("advertise", nullable(text())),
        ("region", nullable(text())),
        ("seen_ms_ago", ago),
    ];
    let state = json!({ "enum": ["asked", "leads"], "description": "asked: it claims as soon as it can." });
    vec![
        ("Node", object(&node, &[])),
        ("NodePage", page("Node")),
        ("NodePromoted", object(&[("node", id()), ("state", state)], &[])),
    ]
}
