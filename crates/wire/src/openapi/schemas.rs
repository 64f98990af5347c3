//! The shapes of bodies.

use machine::BATCH_ITEMS_MAX;
use serde_json::{Map, Value, json};
use words::{ID_BYTES_MAX, KEY_BYTES_MAX};

use super::reference;
use crate::codes::TABLE;
use crate::json::JSON_INTEGER_MAX;
use crate::request::{HOLD_MS_MAX, MEMO_BYTES_MAX, METADATA_BYTES_MAX, METADATA_DEPTH_MAX};

pub(super) fn schemas() -> Value {
    let codes: Vec<&str> = TABLE.iter().map(|row| row.text).collect();
    let mut schemas = json!({
        "Id": { "type": "string", "minLength": 1, "maxLength": ID_BYTES_MAX, "pattern": "^[A-Za-z0-9._:/-]+$" },
        "Key": { "type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX, "pattern": "^[!-~]+$" },
        "Amount": {
            "description": "A whole number of the unit's smallest part: an integer up to 2^53-1, above that, and \
                never below, a decimal string. At most 2^127-1.",
            "oneOf": [
                { "type": "integer", "minimum": 1, "maximum": JSON_INTEGER_MAX },
                { "type": "string", "pattern": "^[1-9][0-9]{15,38}$" },
            ],
        },
        "Balance": {
            "description": "As an amount, but of either sign, or zero.",
            "oneOf": [
                { "type": "integer", "minimum": -(JSON_INTEGER_MAX as i64), "maximum": JSON_INTEGER_MAX },
                { "type": "string", "pattern": "^-?[1-9][0-9]{15,38}$" },
            ],
        },
        "Metadata": {
            "type": ["object", "null"],
            "description": format!("A JSON object of your own: at most {METADATA_BYTES_MAX} bytes, nested at most \
                {METADATA_DEPTH_MAX} deep. Its members come back sorted."),
        },
        "Memo": { "type": ["string", "null"], "maxLength": MEMO_BYTES_MAX, "description": "A note for people, without control characters." },
        "Outcome": { "type": "string", "enum": ["committed", "refused", "uncertain"] },
        "Code": { "type": "string", "enum": codes },
        "Instant": { "type": "string", "format": "date-time", "description": "RFC 3339, UTC, six decimals." },
    });
    let objects = [
        ("AccountRequest", account_request()),
        ("TransferRequest", order(&[])),
        ("Item", order(&[("key", reference("schemas", "Key"))])),
        ("PartRequest", object(&[], &[("amount", reference("schemas", "Amount"))])),
        ("VoidRequest", object(&[], &[])),
        ("BatchRequest", batch_request()),
        ("Account", account()),
        ("Transfer", transfer(&[("balance_after", balances())])),
        ("HistoryLine", history_line()),
        ("AccountPage", page("Account")),
        ("HistoryPage", page("HistoryLine")),
        ("ItemAnswer", item_answer()),
        ("BatchAnswer", object(&[("items", array("ItemAnswer"))], &[])),
        ("Operation", operation()),
        ("Ready", ready()),
        ("Problem", problem()),
        ("Wrong", wrong()),
    ];
    let of_effects = super::topics::schemas().into_iter().chain(super::calls::schemas()).chain(super::sagas::schemas());
    let of_effects = of_effects.chain(super::leases::schemas()).chain(super::nodes::schemas());
    for (name, schema) in objects.into_iter().chain(of_effects) {
        schemas[name] = schema;
    }
    schemas
}

/// An object that has all of `required`, perhaps some of `optional`, and nothing else.
pub(super) fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        required.iter().chain(optional).map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

pub(super) fn array(of: &str) -> Value {
    json!({ "type": "array", "items": reference("schemas", of) })
}

pub(super) fn nullable(schema: Value) -> Value {
    json!({ "oneOf": [schema, { "type": "null" }] })
}

fn account_request() -> Value {
    let floor = json!({
        "description": "The lowest available a transfer may leave; null = none (the outside world).",
        "default": 0,
        "oneOf": [reference("schemas", "Balance"), { "type": "null" }],
    });
    object(
        &[("id", reference("schemas", "Id")), ("unit", reference("schemas", "Id"))],
        &[("floor", floor), ("metadata", reference("schemas", "Metadata"))],
    )
}

fn order(more: &[(&str, Value)]) -> Value {
    let hold_ms = json!({
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": HOLD_MS_MAX,
        "description": "Set the amount aside for this long instead of posting it.",
    });
    let required = [
        ("from", reference("schemas", "Id")),
        ("to", reference("schemas", "Id")),
        ("amount", reference("schemas", "Amount")),
    ];
    object(
        &[more, &required].concat(),
        &[("hold_ms", hold_ms), ("memo", reference("schemas", "Memo")), ("metadata", reference("schemas", "Metadata"))],
    )
}

fn batch_request() -> Value {
    let mut items = array("Item");
    items["minItems"] = json!(1);
    items["maxItems"] = json!(BATCH_ITEMS_MAX);
    object(&[("atomic", json!({ "type": "boolean", "description": "All or none." })), ("items", items)], &[])
}

fn account() -> Value {
    object(
        &[
            ("id", reference("schemas", "Id")),
            ("unit", reference("schemas", "Id")),
            ("floor", nullable(reference("schemas", "Balance"))),
            ("balance", reference("schemas", "Balance")),
            ("held", reference("schemas", "Balance")),
            ("available", reference("schemas", "Balance")),
            ("metadata", reference("schemas", "Metadata")),
            ("created_at", reference("schemas", "Instant")),
            ("version", json!({ "type": "integer", "minimum": 1 })),
        ],
        &[],
    )
}

fn transfer(more: &[(&str, Value)]) -> Value {
    let required = [
        ("id", json!({ "type": "string", "format": "uuid" })),
        ("from", reference("schemas", "Id")),
        ("to", reference("schemas", "Id")),
        ("unit", reference("schemas", "Id")),
        ("amount", reference("schemas", "Amount")),
        ("state", json!({ "type": "string", "enum": ["posted", "held", "voided", "expired"] })),
        ("memo", reference("schemas", "Memo")),
        ("metadata", reference("schemas", "Metadata")),
        ("created_at", reference("schemas", "Instant")),
    ];
    let reverses =
        json!({ "type": "string", "format": "uuid", "description": "The transfer that this one moves back." });
    object(&[&required, more].concat(), &[("hold_until", reference("schemas", "Instant")), ("reverses", reverses)])
}

fn balances() -> Value {
    object(&[("from", reference("schemas", "Balance")), ("to", reference("schemas", "Balance"))], &[])
}

fn history_line() -> Value {
    let event = json!({ "type": "string", "enum": ["posted", "held", "captured", "voided", "expired", "reversal"] });
    transfer(&[
        ("event", event),
        ("at", reference("schemas", "Instant")),
        ("balance_after", reference("schemas", "Balance")),
    ])
}

pub(super) fn page(of: &str) -> Value {
    let next = json!({ "type": ["string", "null"], "description": "The cursor of the next page; null at the end." });
    object(&[("items", array(of)), ("next", next)], &[])
}

fn item_answer() -> Value {
    object(
        &[
            ("key", nullable(reference("schemas", "Key"))),
            ("outcome", reference("schemas", "Outcome")),
            ("status", json!({ "type": "integer" })),
        ],
        &[("transfer", reference("schemas", "Transfer")), ("problem", reference("schemas", "Problem"))],
    )
}

fn operation() -> Value {
    let instant = || nullable(reference("schemas", "Instant"));
    object(
        &[
            ("key", reference("schemas", "Key")),
            ("outcome", reference("schemas", "Outcome")),
            ("status", json!({ "type": "integer", "description": "Of the first answer; 202 while there is none." })),
            ("body", json!({ "type": ["object", "null"], "description": "Of the first answer." })),
            ("position", json!({ "type": ["string", "null"] })),
            ("received_at", instant()),
            ("decided_at", instant()),
            ("expires_at", instant()),
            ("replays", json!({ "type": "integer", "minimum": 0 })),
            ("joins", json!({ "type": "integer", "minimum": 0 })),
        ],
        &[],
    )
}

fn ready() -> Value {
    object(
        &[
            ("ready", json!({ "type": "boolean" })),
            ("role", json!({ "type": "string" })),
            ("node", json!({ "type": "string" })),
            ("epoch", json!({ "type": "integer", "minimum": 0 })),
            ("leader", json!({ "type": ["string", "null"] })),
            ("position", json!({ "type": "string" })),
            ("lag_ms", json!({ "type": "integer", "minimum": 0 })),
            ("reason", json!({ "type": ["string", "null"] })),
        ],
        &[],
    )
}

/// One thing that is wrong with a document.
fn wrong() -> Value {
    let pointer = json!({ "type": "string", "description": "Where: a JSON pointer, empty for all of it." });
    object(&[("pointer", pointer), ("detail", json!({ "type": "string" }))], &[])
}

/// RFC 9457, with members of its own.
fn problem() -> Value {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "integer", "minimum": 0 });
    object(
        &[
            ("type", json!({ "type": "string", "description": "A path on this server that answers a remedy page." })),
            ("title", text()),
            ("status", json!({ "type": "integer" })),
            ("detail", text()),
            ("code", reference("schemas", "Code")),
            ("outcome", reference("schemas", "Outcome")),
        ],
        &[
            ("operation", json!({ "type": "string", "description": "The path at which to ask for the operation." })),
            ("field", json!({ "type": "string", "description": "The field, parameter or header it is about." })),
            ("line", number()),
            ("column", number()),
            ("retry_after_ms", number()),
            ("item", json!({ "type": "integer", "minimum": 0, "description": "Which item of the batch, from 0." })),
            ("item_key", text()),
            ("item_code", reference("schemas", "Code")),
            ("call", json!({ "description": "What became of a durable call.", "$ref": "#/components/schemas/Call" })),
            ("run", json!({ "description": "What became of a run.", "$ref": "#/components/schemas/RunEnd" })),
            ("errors", array("Wrong")),
            ("could_have", json!({ "type": "string", "description": "The consistency that could be had instead." })),
            ("allowed", json!({ "type": "array", "items": { "type": "string" } })),
        ],
    )
}
