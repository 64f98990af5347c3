//! YAML as far as it is data: the parser's events built into one JSON value.
//!
//! Anchors, aliases, tags and merge keys are refused, so that a text is as large as it looks and means the same to
//! everybody. Plain scalars are what YAML 1.2's core schema says (section 10.3.2): `no` is a text.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::{Map, Number, Value};

use crate::fault::Fault;
use crate::text::DEFINITION_DEPTH_MAX;

/// Reads one document, all of `text`.
pub(crate) fn read(text: &str) -> Result<Value, Fault> {
    let mut open: Vec<Open> = Vec::new();
    let mut document = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| scan(&error))?;
        let value = match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
            Event::DocumentStart(_) if document.is_some() => return Err(syntax(&span, "a second document")),
            Event::DocumentStart(_) => continue,
            Event::Alias(_) => return Err(syntax(&span, "an alias: write out what it stands for")),
            Event::Scalar(_, _, anchor, ref tag)
            | Event::SequenceStart(anchor, ref tag)
            | Event::MappingStart(anchor, ref tag)
                if anchor != 0 || tag.is_some() =>
            {
                return Err(syntax(&span, "anchors and tags are not read"));
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEFINITION_DEPTH_MAX => {
                return Err(Fault::TooDeep);
            }
            Event::SequenceStart(..) => {
                open.push(Open::Sequence(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Mapping(Map::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::Sequence(items)) => Value::Array(items),
                Some(Open::Mapping(fields, _)) => Value::Object(fields),
                None => return Err(syntax(&span, "an end without a begin")),
            },
            Event::Scalar(text, style, ..) => scalar(&text, style, &span)?,
        };
        match open.last_mut() {
            None => document = Some(value),
            Some(Open::Sequence(items)) => items.push(value),
            Some(Open::Mapping(fields, name)) => place(fields, name, value, &span)?,
        }
    }
    document.ok_or_else(|| Fault::Syntax { line: 1, column: 1, what: "there is nothing".to_owned() })
}

/// What was begun and not ended.
enum Open {
    Sequence(Vec<Value>),
    /// With the name whose value comes next.
    Mapping(Map<String, Value>, Option<String>),
}

fn place(fields: &mut Map<String, Value>, name: &mut Option<String>, value: Value, span: &Span) -> Result<(), Fault> {
    match (name.take(), value) {
        (Some(name), value) => {
            fields.insert(name, value);
            Ok(())
        }
        (None, Value::String(key)) if fields.contains_key(&key) => {
            Err(syntax(span, &format!("`{key}` stands twice in one mapping")))
        }
        (None, Value::String(key)) => {
            *name = Some(key);
            Ok(())
        }
        (None, _) => Err(syntax(span, "a key that is not a text: put it in quotes")),
    }
}

fn scalar(text: &str, style: ScalarStyle, span: &Span) -> Result<Value, Fault> {
    if style != ScalarStyle::Plain {
        return Ok(text.into());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(true.into()),
        "false" | "False" | "FALSE" => return Ok(false.into()),
        "<<" => return Err(syntax(span, "merge keys are not read")),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_integer {
        let signed = text.strip_prefix('+').unwrap_or(text);
        let small = signed.parse::<i64>().map(Value::from).or_else(|_| signed.parse::<u64>().map(Value::from));
        return small.map_err(|_| syntax(span, "an integer beyond 64 bits: put it in quotes"));
    }
    let radix = [("0x", 16), ("0o", 8)].iter().find_map(|(prefix, radix)| Some((text.strip_prefix(prefix)?, *radix)));
    if let Some((digits, radix)) = radix
        && !digits.is_empty()
        && digits.chars().all(|digit| digit.is_digit(radix))
    {
        return u64::from_str_radix(digits, radix)
            .map(Value::from)
            .map_err(|_| syntax(span, "an integer beyond 64 bits: put it in quotes"));
    }
    let could_be_double = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    if could_be_double && let Ok(double) = text.parse::<f64>() {
        return Number::from_f64(double).map(Value::Number).ok_or_else(|| syntax(span, "a number too large to keep"));
    }
    Ok(text.into())
}

fn syntax(span: &Span, what: &str) -> Fault {
    Fault::Syntax { line: span.start.line(), column: span.start.col() + 1, what: what.to_owned() }
}

fn scan(error: &ScanError) -> Fault {
    if error.info() == "recursion limit exceeded" {
        return Fault::TooDeep;
    }
    let marker = error.marker();
    Fault::Syntax { line: marker.line(), column: marker.col() + 1, what: error.info().to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Value) {
        assert_eq!(read(text), Ok(expected), "{text}");
    }

    #[track_caller]
    fn check_bad(text: &str, expected: &str) {
        let fault = read(text).expect_err(text);
        assert_eq!(fault.to_string(), expected, "{text}");
    }

    #[test]
    fn data() {
        check(
            "a: 1\nb: [x, no, 'yes', \"1\", null, ~, -2, +3, 0x1f, 0o17, 1.5, 1e2, true, False]",
            json!({
                "a": 1,
                "b": ["x", "no", "yes", "1", null, null, -2, 3, 31, 15, 1.5, 100.0, true, false],
            }),
        );
        check("a: |\n  two\n  lines\nb: >\n  one\n  line\n", json!({"a": "two\nlines\n", "b": "one line\n"}));
        check("{\"json\": [1, {\"too\": null}]}", json!({"json": [1, {"too": null}]}));
        check(
            "- 1.2.3\n- 2026-11-21\n- e\n- .\n- '18446744073709551616'",
            json!(["1.2.3", "2026-11-21", "e", ".", "18446744073709551616"]),
        );
        check("a:\n  b:\n", json!({"a": {"b": null}}));
    }

    #[test]
    fn what_is_not_read() {
        check_bad("", "line 1, column 1: there is nothing");
        check_bad("a: &x 1\nb: *x", "line 1, column 4: anchors and tags are not read");
        check_bad("a: !!int 1", "line 1, column 4: anchors and tags are not read");
        check_bad("a: 1\na: 2", "line 2, column 1: `a` stands twice in one mapping");
        check_bad("<<: {a: 1}", "line 1, column 1: merge keys are not read");
        check_bad("1: a", "line 1, column 1: a key that is not a text: put it in quotes");
        check_bad("[a]: b", "line 1, column 3: a key that is not a text: put it in quotes");
        check_bad("a: 18446744073709551616", "line 1, column 4: an integer beyond 64 bits: put it in quotes");
        check_bad("--- 1\n--- 2", "line 2, column 1: a second document");
        assert!(read("a: [1").is_err());
        assert!(read("a: 1e999").is_err());
    }

    #[test]
    fn depth_is_bounded_before_the_stack_is() {
        for open in ["[", "{a: ", "- "] {
            assert_eq!(read(&open.repeat(50_000)), Err(Fault::TooDeep), "{open}");
        }
    }

    proptest! {
        #[test]
        fn json_is_read_alike(value in json_values()) {
            prop_assert_eq!(read(&value.to_string()), Ok(value));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-c:\\-\\[\\]{},#&*!|> \n'\"0-9]{0,60}") {
            let _ = read(&text);
        }
    }

    fn json_values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map("[a-z_]{1,8}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }
}
