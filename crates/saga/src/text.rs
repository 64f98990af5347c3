//! From text to a definition: JSON or YAML, within bounds, nothing overlooked and nothing taken twice.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::decode;
use crate::definition::Definition;
use crate::fault::{DefinitionError, Fault};
use crate::yaml;

/// The most bytes a definition may have.
pub const DEFINITION_BYTES_MAX: usize = 256 * 1024;

/// How deep a definition may be nested.
pub const DEFINITION_DEPTH_MAX: usize = 48;

/// Reads a definition from JSON.
///
/// # Errors
/// [`DefinitionError`], with everything that is wrong.
pub fn from_json(text: &str) -> Result<Definition, DefinitionError> {
    check_bytes(text)?;
    let Strict(document) = serde_json::from_str(text).map_err(|error| DefinitionError::one("", syntax(&error)))?;
    decode::definition(document, decode::Source::Author)
}

/// Reads a definition from YAML 1.2: one document, without anchors, aliases, tags and keys that are not texts.
///
/// # Errors
/// [`DefinitionError`], with everything that is wrong.
pub fn from_yaml(text: &str) -> Result<Definition, DefinitionError> {
    check_bytes(text)?;
    let document = yaml::read(text).map_err(|fault| DefinitionError::one("", fault))?;
    decode::definition(document, decode::Source::Author)
}

fn check_bytes(text: &str) -> Result<(), DefinitionError> {
    match text.len() {
        bytes if bytes > DEFINITION_BYTES_MAX => Err(DefinitionError::one("", Fault::TooLarge { bytes })),
        _ => Ok(()),
    }
}

fn syntax(error: &serde_json::Error) -> Fault {
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    let what = message.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&message);
    if what == DEPTH {
        return Fault::TooDeep;
    }
    Fault::Syntax { line: line.max(1), column: column.max(1), what: what.to_owned() }
}

const DEPTH: &str = "nested too deep";

/// A JSON value in which no name stands twice, nested no deeper than it may be.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictVisitor { depth: 0 }.deserialize(deserializer).map(Self)
    }
}

#[derive(Clone, Copy)]
struct StrictVisitor {
    depth: usize,
}

impl StrictVisitor {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= DEFINITION_DEPTH_MAX {
            return Err(E::custom(DEPTH));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for StrictVisitor {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format_args!("`{name}` stands twice in one object")));
            }
            let value = map.next_value_seed(inside)?;
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}
