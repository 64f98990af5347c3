//! Compares the `.proto` files with the OpenAPI document: neither protocol offers what the other does not, and a message
//! has the members of its JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::methods::METHODS;
use crate::proto::tests::SOURCES;

/// Messages that hold a whole JSON object as a text.
const OPAQUE: [&str; 1] = ["Event"];
/// Methods of which a part of the message is the body.
const TEXT_BODIES: [&str; 2] = ["Sagas/PutSaga", "Topics/Publish"];
/// Methods that answer without end, and so have fewer parameters than the route whose events they give.
const STREAMS: [&str; 1] = ["Topics/FollowEvents"];

/// A field: its name, its type, and whether it may be absent, which a list or a text of JSON always may.
struct Field {
    name: String,
    of: String,
    may_be_absent: bool,
}

/// What the `.proto` files say.
#[derive(Default)]
struct Files {
    /// `<service>/<method>` to the messages that ask and answer.
    methods: BTreeMap<String, (String, String)>,
    messages: BTreeMap<String, Vec<Field>>,
}

impl Files {
    fn read() -> Self {
        let mut files = Self::default();
        let mut block = String::new();
        for line in SOURCES.iter().flat_map(|source| source.lines()).map(str::trim) {
            let words: Vec<&str> = line.split([' ', '(', ')', ';']).filter(|word| !word.is_empty()).collect();
            match words.as_slice() {
                ["service" | "message", name, "{"] => block = (*name).to_owned(),
                ["rpc", method, asks @ .., "returns", answers]
                | ["rpc", method, asks @ .., "returns", "stream", answers] => {
                    let asks = asks.last().unwrap();
                    let methods = &mut files.methods;
                    methods.insert(format!("{block}/{method}"), ((*asks).to_owned(), (*answers).to_owned()));
                }
                [kind @ .., of, name, "=", _] if !line.starts_with("//") && !name.contains(char::is_uppercase) => {
                    let is_text = name.ends_with("_json");
                    let field = Field {
                        name: name.trim_end_matches("_json").to_owned(),
                        of: (*of).to_owned(),
                        may_be_absent: is_text || !kind.is_empty() || of.contains(char::is_uppercase),
                    };
                    files.messages.entry(block.clone()).or_default().push(field);
                }
                _ => {}
            }
        }
        files
    }

    fn fields(&self, message: &str) -> &[Field] {
        self.messages.get(message).map_or(&[], Vec::as_slice)
    }
}

fn document() -> Value {
    serde_json::from_str(&crate::openapi::document()).unwrap()
}

#[test]
fn every_route_is_a_method() {
    let routes: BTreeSet<(String, String)> = document()["paths"]
        .as_object()
        .unwrap()
        .iter()
        // Who leads is the business of whoever runs the nodes, as is whether they are ready.
        .filter(|(path, _)| path.starts_with("/v1/") && !path.starts_with("/v1/nodes"))
        .flat_map(|(path, verbs)| {
            verbs.as_object().unwrap().keys().map(|verb| (verb.to_ascii_uppercase(), path.clone()))
        })
        .collect();
    let methods: BTreeSet<(String, String)> =
        METHODS.iter().map(|method| (method.verb.to_owned(), method.path.to_owned())).collect();
    assert_eq!(methods, routes);
}

#[test]
fn every_method_is_in_the_table() {
    let written: Vec<String> = Files::read().methods.into_keys().collect();
    let mut listed: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
    listed.sort_unstable();
    assert_eq!(written, listed);
}

/// The messages of the ledger have other members, since protobuf has no integers of their size.
#[test]
fn messages_have_the_members_of_their_json() {
    let (files, document) = (Files::read(), document());
    for method in METHODS.iter().filter(|method| method.service() != "Tertium" && !STREAMS.contains(&method.name)) {
        let (asks, answers) = &files.methods[method.name];
        let operation = &document["paths"][method.path][method.verb.to_ascii_lowercase()];
        let mut asked: BTreeSet<String> = files.fields(asks).iter().map(|field| field.name.clone()).collect();
        for parameter in operation["parameters"].as_array().unwrap() {
            let parameter = resolve(&document, parameter);
            if parameter["in"] != "header" {
                let name = parameter["name"].as_str().unwrap();
                assert!(asked.remove(name), "{asks} has {name}");
            }
        }
        assert_eq!(asked.remove("idempotency_key"), method.is_write(), "{asks} has a key if it writes");
        if !TEXT_BODIES.contains(&method.name) {
            let body = resolve(&document, &operation["requestBody"]["content"]["application/json"]["schema"]);
            assert_eq!(asked, names(body), "{asks}");
            for field in files.fields(asks) {
                if files.messages.contains_key(&field.of) {
                    compare(&files, &document, &field.of, &body["properties"][&field.name], false);
                }
            }
        }
        let success =
            ["200", "201"].into_iter().map(|status| &operation["responses"][status]).find(|it| it.is_object());
        let schema = &success.unwrap()["content"]["application/json"]["schema"];
        // What may only be accepted answers either.
        let is_slow = operation["responses"]["202"].is_object();
        let answers = if is_slow { &files.fields(answers)[0].of } else { answers };
        compare(&files, &document, answers, schema, true);
    }
}

fn compare(files: &Files, document: &Value, message: &str, schema: &Value, is_answer: bool) {
    if OPAQUE.contains(&message) {
        return;
    }
    let schema = resolve(document, schema);
    let fields = files.fields(message);
    let found: BTreeSet<String> = fields.iter().map(|field| field.name.clone()).collect();
    assert_eq!(found, names(schema), "{message}");
    for field in fields {
        let property = &schema["properties"][&field.name];
        let is_free = !is_answer || field.may_be_absent || !may_be_null(document, property);
        assert!(is_free, "{message}.{} may be null", field.name);
        if files.messages.contains_key(&field.of) {
            compare(files, document, &field.of, property, is_answer);
        }
    }
}

/// The schema of an object that is meant: by name, as an item, or as what may also be null.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(path) = schema["$ref"].as_str() {
        return resolve(document, document.pointer(path.trim_start_matches('#')).unwrap());
    }
    if schema["items"].is_object() {
        return resolve(document, &schema["items"]);
    }
    match schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        Some(all) if schema["properties"].is_null() => resolve(document, &all[0]),
        _ => schema,
    }
}

fn names(schema: &Value) -> BTreeSet<String> {
    schema["properties"].as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default()
}

fn may_be_null(document: &Value, schema: &Value) -> bool {
    match schema["$ref"].as_str() {
        Some(path) => may_be_null(document, document.pointer(path.trim_start_matches('#')).unwrap()),
        None => schema.to_string().contains("null"),
    }
}
