//! What a run's input must be: a field with its type each, so that a bad one is refused before anything was done.

use serde_json::Value;

use crate::evaluate::take;
use crate::fault::{DefinitionError, Fault};
use crate::fields::{Fields, Problems, object};
use crate::number;
use crate::run_expression::a_type;
use crate::template::pointer;

/// One field of a run's input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Whether it may be absent.
    pub optional: bool,
}

/// The type of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Whatever it is.
    Any,
    /// A text.
    String,
    /// An id: 1 to 128 characters of `A-Z a-z 0-9 . _ : / -`.
    Id,
    /// A whole number, or a decimal string of one.
    Integer,
    /// An amount: 1 to 2^127 - 1, above 2^53 - 1 as a decimal string.
    Amount,
    /// A boolean.
    Boolean,
    /// An object.
    Object,
    /// A list.
    Array,
}

const WORDS: &[&str] = &["any", "string", "id", "integer", "amount", "boolean", "object", "array"];
const KINDS: &[Kind] =
    &[Kind::Any, Kind::String, Kind::Id, Kind::Integer, Kind::Amount, Kind::Boolean, Kind::Object, Kind::Array];
const _: () = assert!(WORDS.len() == KINDS.len(), "each type has its word");

pub(crate) fn read(value: &Value, at: &str, problems: &mut Problems) -> Option<Vec<Parameter>> {
    let mut parameters = Vec::new();
    for (name, value) in object(value, at, problems)? {
        let at = pointer(at, name);
        if let Some(fields) = Fields::read(value, &at, &["type", "optional"], problems) {
            fields.need("type", problems);
            let kind = fields.word("type", WORDS, KINDS, Kind::Any, problems);
            parameters.push(Parameter { name: name.clone(), kind, optional: fields.flag("optional", problems) });
        }
    }
    Some(parameters)
}

pub(crate) fn check(parameters: &[Parameter], value: &Value) -> Result<(), DefinitionError> {
    let mut problems = Problems::default();
    if let Some(fields) = object(value, "", &mut problems) {
        for parameter in parameters {
            match fields.get(&parameter.name) {
                None if parameter.optional => {}
                Some(value) if parameter.kind.holds(value) => {}
                found => {
                    let found = found.map_or("missing", a_type);
                    let fault = Fault::WrongType { wanted: parameter.kind.wanted(), found };
                    problems.push(&pointer("", &parameter.name), fault);
                }
            }
        }
        for name in fields.keys().filter(|name| !parameters.iter().any(|known| known.name == **name)) {
            problems.push("", Fault::UnknownInput { name: name.clone() });
        }
    }
    problems.check()
}

impl Kind {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::String => value.is_string(),
            Self::Id => value.as_str().is_some_and(|text| words::check_id(text).is_ok()),
            Self::Integer => number::integer(value).is_some(),
            Self::Amount => take::amount("", value.clone()).is_ok(),
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
        }
    }

    const fn wanted(self) -> &'static str {
        match self {
            Self::Any => "there",
            Self::String => "a text",
            Self::Id => "an id",
            Self::Integer => "a whole number",
            Self::Amount => take::AN_AMOUNT,
            Self::Boolean => "a boolean",
            Self::Object => "an object",
            Self::Array => "a list",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_text(value: Value, expected: &str) {
        let declared = json!({
            "who": {"type": "id"}, "total": {"type": "amount"}, "note": {"type": "string", "optional": true},
            "n": {"type": "integer"}, "any": {"type": "any"},
        });
        let mut problems = Problems::default();
        let parameters = read(&declared, "", &mut problems).expect("an object");
        problems.check().expect("it is right");
        let found = check(&parameters, &value).map_err(|error| error.to_string());
        assert_eq!(found.err().unwrap_or_default(), expected, "{value}");
    }

    #[test]
    fn inputs() {
        check_text(json!({"who": "ada", "total": 1, "n": -1, "any": null}), "");
        check_text(json!({"who": "ada", "total": "9007199254740993", "note": "x", "n": "7", "any": []}), "");
        check_text(
            json!({"who": "a b", "total": 1.5, "note": 1, "any": 0, "more": 1}),
            "/n: must be a whole number, is missing\n\
             /note: must be a text, is a number\n\
             /total: must be an amount: a whole number from 1, above 2^53 - 1 as a decimal string, is a number with a fraction\n\
             /who: must be an id, is a text\n\
             there is no input `more`",
        );
        check_text(json!([]), "must be an object, is a list");
    }
}
