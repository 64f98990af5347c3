//! The paths and shapes of topics and subscriptions.

use machine::{MESSAGES_PER_PUBLISH_MAX, PAUSE_AFTER_MS_BOUNDS, RETENTION_MS_BOUNDS, SETTING_TEXTS_MAX};
use serde_json::{Value, json};

use super::schemas::{array, nullable, object, page};
use super::{Operation, Path, reference};
use crate::codes::Code;
use crate::event::{EVENT_TYPE, EVENTS_TYPE};
use crate::request::{EVENT_DATA_BYTES_MAX, PAUSE_AFTER_MS_DEFAULT};
use crate::sse::STREAM_TYPE;

pub(super) fn paths() -> Vec<Path> {
    topic_paths().into_iter().chain(subscription_paths()).chain(letter_paths()).collect()
}

fn topic_paths() -> Vec<Path> {
    let makes = [Code::TopicReserved, Code::LimitReached];
    let list = Operation::read("list_topics", "Topics, by name", "TopicPage", &[Code::CursorInvalid]);
    let keep = Operation::write("put_topic", "Says how much a topic keeps", "TopicRequest", 200, "TopicKept", &makes);
    let publish = "Publishes events, all of them or none";
    let publish = Operation::write("publish", publish, "PublishRequest", 201, "Published", &makes);
    let events = "A topic's events in order, by pages or as a stream of server-sent events";
    let events = Operation::read("list_events", events, "EventPage", &[Code::TopicNotFound]);
    let mut publish = publish.with(&["topic"]).value();
    publish["requestBody"]["content"][EVENT_TYPE] = json!({ "schema": reference("schemas", "CloudEvent") });
    publish["requestBody"]["content"][EVENTS_TYPE] = json!({ "schema": array("CloudEvent") });
    let mut events = events.with(&["topic", "from_offset", "limit", "wait_ms", "Last-Event-ID"]).value();
    events["responses"]["200"]["content"][STREAM_TYPE] = json!({ "schema": { "type": "string" } });
    vec![
        ("get", "/v1/topics", list.with(&["limit", "cursor"]).value()),
        ("put", "/v1/topics/{topic}", keep.with(&["topic"]).value()),
        ("get", "/v1/topics/{topic}/events", events),
        ("post", "/v1/topics/{topic}/events", publish),
    ]
}

fn subscription_paths() -> Vec<Path> {
    let unknown = [Code::SubscriptionNotFound];
    let list = "Subscriptions, by name";
    let list = Operation::read("list_subscriptions", list, "SubscriptionPage", &[Code::CursorInvalid]);
    let get = Operation::read("get_subscription", "A subscription as it is now", "Subscription", &unknown);
    let put = "Makes a subscription (201), or gives the one of that name other settings (200)";
    let put =
        Operation::write("put_subscription", put, "SubscriptionRequest", 201, "SubscriptionSet", &[Code::LimitReached]);
    let mut put = put.with(&["subscription"]).value();
    put["responses"]["200"] = put["responses"]["201"].clone();
    let delete = "Removes a subscription, and what it has not delivered";
    let delete = Operation {
        body: None,
        ..Operation::write("delete_subscription", delete, "", 200, "SubscriptionNamed", &unknown)
    };
    let fetch = "What the consumer of a subscription is to do next";
    let fetch = Operation::read("fetch", fetch, "EventPage", &unknown);
    let ack = "The consumer has done everything up to an offset";
    let ack = Operation::write("acknowledge", ack, "AckRequest", 200, "Acknowledged", &unknown);
    vec![
        ("get", "/v1/subscriptions", list.with(&["limit", "cursor"]).value()),
        ("get", "/v1/subscriptions/{name}", get.with(&["subscription"]).value()),
        ("put", "/v1/subscriptions/{name}", put),
        ("delete", "/v1/subscriptions/{name}", delete.with(&["subscription"]).value()),
        (
            "get",
            "/v1/subscriptions/{name}/events",
            fetch.with(&["subscription", "from_offset", "limit", "wait_ms"]).value(),
        ),
        ("post", "/v1/subscriptions/{name}/ack", ack.with(&["subscription"]).value()),
    ]
}

fn letter_paths() -> Vec<Path> {
    let refusals = [Code::SubscriptionNotFound, Code::DeadLetterNotFound];
    let list = "Events that were given up, by offset";
    let list = Operation::read("list_dead_letters", list, "DeadLetterPage", &[Code::SubscriptionNotFound]);
    let replay = "Delivers dead letters again";
    let replay = Operation::write("replay_dead_letters", replay, "LettersRequest", 200, "LettersReplayed", &refusals);
    let drop = "Forgets dead letters";
    let drop = Operation::write("drop_dead_letters", drop, "LettersRequest", 200, "LettersDropped", &refusals);
    let letters = "/v1/subscriptions/{name}/dead-letters";
    vec![
        ("get", letters, list.with(&["subscription", "limit", "cursor"]).value()),
        ("post", "/v1/subscriptions/{name}/dead-letters/replay", replay.with(&["subscription"]).value()),
        ("post", "/v1/subscriptions/{name}/dead-letters/drop", drop.with(&["subscription"]).value()),
    ]
}

/// Component, name, place, description and schema of each parameter.
pub(super) fn parameters() -> [(&'static str, &'static str, &'static str, &'static str, Value); 4] {
    let id = || reference("schemas", "Id");
    [
        ("topic", "topic", "path", "The topic.", id()),
        ("subscription", "name", "path", "The subscription.", id()),
        ("from_offset", "from", "query", "The offset to begin at: the next_offset of the last page.", offset()),
        ("Last-Event-ID", "Last-Event-ID", "header", "Where a stream goes on: after this event.", offset()),
    ]
}

pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let name = || reference("schemas", "Id");
    let named = |more: &[(&'static str, Value)]| object(&[&[("name", name())], more].concat(), &[]);
    vec![
        ("Event", event(&[], &[("key", reference("schemas", "Key"))])),
        ("PublishRequest", publish_request()),
        (
            "Published",
            object(
                &[("topic", name()), ("first_offset", offset()), ("last_offset", offset()), ("count", count())],
                &[],
            ),
        ),
        ("CloudEvent", cloud_event()),
        ("EventPage", event_page()),
        ("TopicRequest", object(&[("retention_ms", retention_ms())], &[("bytes_max", nullable(count()))])),
        (
            "TopicKept",
            object(&[("topic", name()), ("retention_ms", retention_ms()), ("bytes_max", nullable(count()))], &[]),
        ),
        ("Topic", topic()),
        ("TopicPage", page("Topic")),
        ("SubscriptionRequest", subscription_request()),
        ("SubscriptionSet", subscription(&[])),
        ("Subscription", subscription(&standing())),
        ("SubscriptionPage", page("Subscription")),
        ("SubscriptionNamed", named(&[])),
        ("AckRequest", object(&[("offset", offset())], &[])),
        ("Acknowledged", named(&[("next_offset", offset())])),
        ("LettersRequest", object(&[], &[("offset", offset())])),
        ("LettersReplayed", named(&[("replayed", count())])),
        ("LettersDropped", named(&[("dropped", count())])),
        ("DeadLetter", dead_letter()),
        ("DeadLetterPage", page("DeadLetter")),
    ]
}

fn offset() -> Value {
    json!({ "type": "integer", "minimum": 0, "description": "Offsets of a cell's events grow, with gaps." })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn retention_ms() -> Value {
    json!({ "type": "integer", "minimum": RETENTION_MS_BOUNDS.0, "maximum": RETENTION_MS_BOUNDS.1 })
}

fn event(required: &[(&'static str, Value)], more: &[(&'static str, Value)]) -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    let data = json!({ "description": format!("JSON of your own, at most {EVENT_DATA_BYTES_MAX} bytes.") });
    let optional = [("subject", text()), ("time", json!({ "type": "string", "format": "date-time" })), ("data", data)];
    object(&[&[("type", text())], required].concat(), &[&optional, more].concat())
}

/// One event, or `events`.
fn publish_request() -> Value {
    let mut events = array("Event");
    events["minItems"] = json!(1);
    events["maxItems"] = json!(MESSAGES_PER_PUBLISH_MAX);
    let mut schema = event(&[], &[("key", reference("schemas", "Key")), ("events", events)]);
    schema["required"] = json!([]);
    schema["oneOf"] = json!([{ "required": ["type"] }, { "required": ["events"] }]);
    schema
}

/// CloudEvents 1.0, JSON Event Format.
fn cloud_event() -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    let mut schema = event(
        &[("specversion", json!({ "const": "1.0" })), ("id", text()), ("source", text())],
        &[
            ("partitionkey", reference("schemas", "Key")),
            ("datacontenttype", text()),
            ("dataschema", text()),
            ("data_base64", json!({ "type": "string", "contentEncoding": "base64" })),
            ("tertiumtopic", json!({ "type": "string", "readOnly": true })),
            ("tertiumoffset", json!({ "type": "string", "readOnly": true })),
        ],
    );
    // Extensions of the publisher's own.
    schema["additionalProperties"] = json!({ "type": ["string", "boolean", "integer"] });
    schema
}

fn event_page() -> Value {
    let end = json!({ "type": "boolean", "description": "Whether there was nothing more yet." });
    object(&[("items", array("CloudEvent")), ("next_offset", offset()), ("end", end)], &[])
}

fn topic() -> Value {
    object(
        &[
            ("name", reference("schemas", "Id")),
            ("retention_ms", retention_ms()),
            ("bytes_max", nullable(count())),
            ("events", count()),
            ("bytes", count()),
            ("first_offset", offset()),
        ],
        &[],
    )
}

fn settings() -> [(&'static str, Value); 6] {
    let texts =
        |of: Value, min: usize| json!({ "type": "array", "items": of, "minItems": min, "maxItems": SETTING_TEXTS_MAX });
    let pause = json!({
        "type": "integer",
        "minimum": PAUSE_AFTER_MS_BOUNDS.0,
        "maximum": PAUSE_AFTER_MS_BOUNDS.1,
        "default": PAUSE_AFTER_MS_DEFAULT,
        "description": "How long nothing may succeed before the subscription is paused.",
    });
    let url = json!({
        "type": ["string", "null"],
        "format": "uri",
        "description": "Where events are sent, signed after Standard Webhooks; null: they are fetched and acknowledged.",
    });
    let mut secrets = texts(reference("schemas", "Id"), 0);
    secrets["description"] = json!("The names of the secrets that sign deliveries; the server's settings hold them.");
    [
        ("topics", texts(reference("schemas", "Id"), 1)),
        ("types", texts(json!({ "type": "string", "description": "The beginning of a type." }), 0)),
        ("url", url),
        ("secrets", secrets),
        ("pause_after_ms", pause),
        ("paused", json!({ "type": "boolean", "default": false })),
    ]
}

fn subscription_request() -> Value {
    let start = json!({
        "description": "Where it begins; one that is changed goes on where it is unless this is given.",
        "oneOf": [{ "enum": ["beginning", "now"] }, offset()],
    });
    let [topics, optional @ ..] = settings();
    object(&[topics], &[optional.as_slice(), &[("start", start)]].concat())
}

fn subscription(more: &[(&'static str, Value)]) -> Value {
    let head = [("name", reference("schemas", "Id")), ("number", count()), ("generation", count())];
    object(&[&head, settings().as_slice(), &[("next_offset", offset())], more].concat(), &[])
}

fn standing() -> [(&'static str, Value); 7] {
    let resting = json!({ "enum": ["asked", "failing", "gone", "dead_letters_full", null] });
    [
        ("resting", resting),
        ("failing_since", nullable(reference("schemas", "Instant"))),
        ("parked", count()),
        ("dead_letters", count()),
        ("delivered", count()),
        ("forgotten", count()),
        ("records_behind", count()),
    ]
}

fn dead_letter() -> Value {
    object(
        &[
            ("offset", offset()),
            ("attempts", count()),
            (
                "status",
                json!({ "type": "integer", "description": "The receiver's last HTTP status; 0 without an answer." }),
            ),
            ("evidence", json!({ "type": "string" })),
            ("at", reference("schemas", "Instant")),
            ("event", nullable(reference("schemas", "CloudEvent"))),
        ],
        &[],
    )
}
