//! Strict reading: objects only from objects, borrowed texts, and errors that say where.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::error::Category;

use crate::codes::Code;
use crate::problem::Problem;

/// Reads one JSON text, all of `body`.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| not_utf8(body, error.valid_up_to()))?;
    serde_json::from_str(text).map_err(|error| explain::<T>(text, &error))
}

/// A JSON object; a derived struct alone would also take an array of its fields.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// A text that is borrowed from the body unless it holds escapes, inside an `Option` as well.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Says what is wrong and where. The body is read a second time for the path, which the fast way does not keep.
#[cold]
fn explain<'a, T: Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> Problem {
    // serde_json counts columns from 1, and says 0 of what is wrong before the first.
    let (line, column) = (error.line().max(1), error.column().max(1));
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = message.strip_suffix(&place).unwrap_or(&message);
    let path = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(text))
        .err()
        .map(|error| error.path().to_string())
        .filter(|path| path != ".");
    // serde_json calls this a matter of syntax; to the sender it is a number that is too large.
    let is_number = what == "number out of range";
    match error.classify() {
        Category::Data => {}
        _ if is_number => {}
        _ => {
            let detail = format!("Not JSON at line {line}, column {column}: {what}.");
            return Problem::new(Code::MalformedJson, detail).with_line_and_column(line, column);
        }
    }
    // A field that is missing or there twice is named by serde, and its path is that of the object around it.
    let named =
        ["missing field `", "duplicate field `"].iter().find_map(|start| what.strip_prefix(start)?.strip_suffix('`'));
    let field = match (path, named) {
        (None, None) => "body".to_owned(),
        (Some(path), None) => path,
        (None, Some(name)) => name.to_owned(),
        (Some(path), Some(name)) => format!("{path}.{name}"),
    };
    let is_amount = matches!(field.rsplit('.').next(), Some("amount" | "hold_ms" | "floor"));
    let code = if is_number && is_amount { Code::AmountInvalid } else { Code::InvalidRequest };
    Problem::field(code, &field, what).with_line_and_column(line, column)
}

#[cold]
fn not_utf8(body: &[u8], at: usize) -> Problem {
    let before = &body[..at];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
    let detail = format!("Not UTF-8 at line {line}, column {column}.");
    Problem::new(Code::MalformedJson, detail).with_line_and_column(line, column)
}
