//! The published JSON Schema and the parser agree: on what is right, and on what is wrong as far as a schema can tell.
//!
//! A whole validator would add 27 crates to the tests, so the few keywords that the schema uses are checked here, after
//! JSON Schema 2020-12; a keyword that is not known fails the test.

use serde_json::{Value, json};

const SCHEMA: &str = include_str!("../../../docs/schemas/saga.schema.json");
const EXAMPLE: &str = include_str!("../../../docs/examples/checkout.saga.yaml");

#[track_caller]
fn check(change: impl FnOnce(&mut Value), schema_can_tell: bool) {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let mut document = base();
    change(&mut document);
    assert!(saga::Definition::of_document(document.clone()).is_err(), "the parser takes {document}");
    assert_eq!(!holds(&schema, &schema, &document), schema_can_tell, "the schema on {document}");
}

fn base() -> Value {
    json!({"name": "x", "steps": [
        {"id": "h", "hold": {"from": "a", "to": "b", "amount": 1}},
        {"id": "c", "call": {"url": "http://h/"}, "compensate": {"event": {"topic": "t", "type": "t"}}},
    ]})
}

#[test]
fn what_is_right_is_right_to_both() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let example = saga::from_yaml(EXAMPLE).expect("the example is right");
    let mut more = base();
    more["steps"][0]["hold"]["amount"] = json!("170141183460469231731687303715884105727");
    more["steps"][0]["hold"]["metadata"] = json!({"any": [1, 2]});
    more["steps"][1]["call"]["headers"] = json!({"X-Number": 7});
    more["steps"][1]["call"]["keep"] = json!({"headers": ["location", "x-a"]});
    more["output"] = json!(null);
    for document in [example.document(), &base(), &more] {
        assert!(saga::Definition::of_document(document.clone()).is_ok(), "the parser refuses {document}");
        assert!(holds(&schema, &schema, document), "the schema refuses {document}");
    }
}

#[test]
fn what_is_wrong_is_wrong_to_both() {
    check(|d| *d = json!([]), true);
    check(|d| drop(d.as_object_mut().expect("an object").remove("name")), true);
    check(|d| d["nmae"] = json!("x"), true);
    check(|d| d["name"] = json!("a b"), true);
    check(|d| d["deadline_ms"] = json!(0), true);
    check(|d| d["deadline_ms"] = json!(31_622_400_001_u64), true);
    check(|d| d["deadline_ms"] = json!("1"), true);
    check(|d| d["steps"] = json!([]), true);
    check(|d| d["steps"] = json!([7]), true);
    check(|d| d["steps"] = json!([{"parallel": []}]), true);
    check(|d| d["steps"] = json!([{"id": "a"}]), true);
    check(|d| d["input"] = json!({"a": {"type": "float"}}), true);
    check(|d| d["input"] = json!({"a": {}}), true);
    check(|d| d["steps"][0]["id"] = json!(""), true);
    check(|d| d["steps"][0]["timer"] = json!({"for_ms": 1}), true);
    check(|d| d["steps"][0]["hold"]["amount"] = json!(0), true);
    check(|d| d["steps"][0]["hold"]["amount"] = json!(1.5), true);
    check(|d| d["steps"][0]["hold"]["amount"] = json!("1e3"), true);
    check(|d| d["steps"][0]["hold"]["from"] = json!(""), true);
    check(|d| d["steps"][0]["hold"]["hold_ms"] = json!(0), true);
    check(|d| d["steps"][0]["hold"]["memmo"] = json!("x"), true);
    check(|d| d["steps"][0]["timeout_ms"] = json!(0), true);
    check(|d| d["steps"][0]["attempts_max"] = json!(101), true);
    check(|d| d["steps"][0]["pivot"] = json!("yes"), true);
    check(|d| d["steps"][0]["compensate_after_pivot"] = json!(true), true);
    check(|d| d["steps"][0]["compensate"] = json!({"void": false}), true);
    check(|d| d["steps"][0]["compensate"] = json!({}), true);
    check(|d| d["steps"][1]["call"] = json!({}), true);
    check(|d| d["steps"][1]["call"]["url"] = json!("ftp://h/"), true);
    check(|d| d["steps"][1]["call"]["method"] = json!("FETCH"), true);
    check(|d| d["steps"][1]["call"]["headers"] = json!({"x y": "b"}), true);
    check(|d| d["steps"][1]["call"]["on_uncertain"] = json!("hope"), true);
    for keep in [json!([]), json!({}), json!({"headers": []}), json!({"headers": ["Location"]}), json!({"body": true})]
    {
        check(|d| d["steps"][1]["call"]["keep"] = keep, true);
    }
    check(|d| d["steps"][1]["call"]["keep"] = json!({"headers": vec!["a"; 17]}), true);
    check(|d| d["steps"][1]["call"]["probe"] = json!({"method": "DELETE", "url": "http://h/"}), true);
    check(|d| d["steps"][1]["call"]["probe"] = json!({"url": "http://h/", "status": {"4": "refused"}}), true);
    check(|d| d["steps"][1]["call"]["probe"] = json!({"url": "http://h/", "status": {"404": "gone"}}), true);
    check(|d| d["steps"][1]["call"]["probe"] = json!({"url": "http://h/", "pointer": "/state"}), true);
    check(|d| d["steps"][1]["compensate"]["hold"] = json!({"from": "a", "to": "b", "amount": 1}), true);
}

/// What needs more than a shape to be seen.
#[test]
fn what_only_the_parser_can_tell() {
    check(|d| d["steps"][1]["id"] = json!("h"), false);
    check(|d| d["steps"][0]["after"] = json!(["c"]), false);
    check(|d| d["steps"][0]["after"] = json!(["nobody"]), false);
    check(|d| d["steps"][0]["hold"]["from"] = json!("${steps.c.body.id}"), false);
    check(|d| d["steps"][0]["hold"]["from"] = json!("${"), false);
    check(|d| d["steps"][0]["compensate"] = json!({"reverse": true}), false);
    check(|d| d["steps"][1]["call"]["headers"] = json!({"Idempotency-Key": "x"}), false);
    check(|d| d["steps"][1]["call"]["on_uncertain"] = json!("probe"), false);
    check(|d| d["steps"][1]["call"]["keep"] = json!({"headers": ["set-cookie"]}), false);
    check(|d| d["steps"][1]["call"]["keep"] = json!({"headers": ["etag", "etag"]}), false);
    check(|d| d["steps"][1]["timeout_ms"] = json!(86_400_001), false);
    check(|d| d["steps"][1]["attempts_max"] = json!(5), false);
}

fn holds(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(keywords) = schema.as_object() else { return schema == &Value::Bool(true) };
    let property = |name: &str| schema.get("properties").and_then(|properties| properties.get(name));
    keywords.iter().all(|(keyword, wanted)| match keyword.as_str() {
        "$schema" | "$id" | "$defs" | "title" | "description" | "default" => true,
        "$ref" => {
            let name = wanted.as_str().and_then(|text| text.strip_prefix("#/$defs/")).expect("a definition of its own");
            holds(root, root["$defs"].get(name).expect(name), value)
        }
        "type" => match wanted {
            Value::Array(any) => any.iter().any(|wanted| is_type(wanted, value)),
            one => is_type(one, value),
        },
        "const" => value == wanted,
        "enum" => wanted.as_array().expect("a list").contains(value),
        "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().expect("a number")),
        "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().expect("a number")),
        "minLength" => {
            value.as_str().is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().expect("a number"))
        }
        "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= wanted.as_u64().expect("a number")),
        "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().expect("a number")),
        "pattern" => value.as_str().is_none_or(|text| matches(wanted.as_str().expect("a text"), text)),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| holds(root, wanted, item))),
        "required" => value.as_object().is_none_or(|fields| names(wanted).all(|name| fields.contains_key(name))),
        "dependentRequired" => value.as_object().is_none_or(|fields| {
            wanted.as_object().expect("an object").iter().all(|(name, needs)| {
                !fields.contains_key(name) || names(needs).all(|needed| fields.contains_key(needed))
            })
        }),
        "properties" => wanted
            .as_object()
            .expect("an object")
            .iter()
            .all(|(name, wanted)| value.get(name).is_none_or(|value| holds(root, wanted, value))),
        "additionalProperties" => value.as_object().is_none_or(|fields| {
            fields.iter().all(|(name, value)| property(name).is_some() || holds(root, wanted, value))
        }),
        "propertyNames" => value
            .as_object()
            .is_none_or(|fields| fields.keys().all(|name| holds(root, wanted, &Value::from(name.as_str())))),
        "oneOf" => wanted.as_array().expect("a list").iter().filter(|wanted| holds(root, wanted, value)).count() == 1,
        unknown => panic!("the schema uses `{unknown}`, which is not checked here"),
    })
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().expect("a list").iter().map(|name| name.as_str().expect("a text"))
}

fn is_type(wanted: &Value, value: &Value) -> bool {
    match wanted.as_str().expect("a text") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        unknown => panic!("the schema uses the type `{unknown}`"),
    }
}

/// The few patterns there are: alternatives of a class repeated between `^` and `$`, or a plain piece of text.
fn matches(pattern: &str, text: &str) -> bool {
    let id = |text: &str| words::check_id(text).is_ok();
    let decimal = |text: &str, digits: usize| {
        !text.starts_with('0') && (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let has_expression = text.contains("${");
    match pattern {
        "^[A-Za-z0-9._:/-]{1,128}$" => id(text),
        r"^[A-Za-z0-9._:/-]{1,128}$|\$\{" => id(text) || has_expression,
        r"^[1-9][0-9]{0,38}$|\$\{" => decimal(text, 39) || has_expression,
        r"^[1-9][0-9]{0,10}$|\$\{" => decimal(text, 11) || has_expression,
        r"^https?://[!-~]|\$\{" => {
            let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            has_expression || rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_graphic()))
        }
        "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$" => {
            (1..=64).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+.^_`|~-".contains(&byte))
        }
        "^[!#$%&'*+.^_`|~0-9a-z-]{1,64}$" => {
            (1..=64).contains(&text.len())
                && text.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+.^_`|~-".contains(&byte)
                })
        }
        "^[1-5][0-9]{2}$" => {
            text.len() == 3
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (b'1'..=b'5').contains(&text.as_bytes()[0])
        }
        "^/" => text.starts_with('/'),
        unknown => panic!("the schema uses the pattern `{unknown}`, which is not checked here"),
    }
}
