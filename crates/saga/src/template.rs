//! Values with expressions in them. A text that is nothing but `${expression}` is the expression's value, whatever its
//! type; in a longer text the value is spelled out in its place. `$${` stands for the two characters themselves. Names of
//! fields are names, never expressions.

use serde_json::{Map, Value};

use crate::expression::{Expression, Reference};
use crate::fault::{EvaluationError, Fault};
use crate::fields::Problems;
use crate::run_expression::{Budget, a_type};
use crate::secret;

/// A value that may hold expressions.
#[derive(Clone, PartialEq, Debug)]
pub enum Template {
    /// It holds none.
    Fixed(Value),
    /// The value of an expression.
    Whole(Expression),
    /// A text with expressions in it.
    Text(Vec<Piece>),
    /// A list of which at least one item holds some.
    List(Vec<Self>),
    /// An object of which at least one field holds some.
    Object(Vec<(String, Self)>),
}

/// A piece of a text.
#[derive(Clone, PartialEq, Debug)]
pub enum Piece {
    /// As it is.
    Plain(String),
    /// What an expression gives, spelled out.
    Spelled(Expression),
}

impl Template {
    /// Reads a template; each expression that cannot be parsed is a problem of its own.
    pub(crate) fn read(value: &Value, at: &str, problems: &mut Problems) -> Self {
        match value {
            Value::String(text) => Self::of_text(read_text(text, |_| None), at, problems),
            Value::Array(items) => {
                let items: Vec<_> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| Self::read(item, &format!("{at}/{index}"), problems))
                    .collect();
                match items.iter().all(Self::is_fixed) {
                    true => Self::Fixed(Value::Array(items.into_iter().filter_map(Self::into_fixed).collect())),
                    false => Self::List(items),
                }
            }
            Value::Object(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, item)| (name.clone(), Self::read(item, &pointer(at, name), problems)))
                    .collect();
                match fields.iter().all(|(_, item)| item.is_fixed()) {
                    true => Self::Fixed(Value::Object(
                        fields.into_iter().filter_map(|(name, item)| Some((name, item.into_fixed()?))).collect(),
                    )),
                    false => Self::Object(fields),
                }
            }
            fixed => Self::Fixed(fixed.clone()),
        }
    }

    /// The same of the value of a header, which may name secrets.
    pub(crate) fn read_header(value: &Value, at: &str, problems: &mut Problems) -> Self {
        match value {
            Value::String(text) => Self::of_text(read_text(text, secret::length_at), at, problems),
            other => Self::read(other, at, problems),
        }
    }

    fn of_text(read: Result<Self, Fault>, at: &str, problems: &mut Problems) -> Self {
        read.unwrap_or_else(|fault| {
            problems.push(at, fault);
            Self::Fixed(Value::Null)
        })
    }

    /// The value in a scope.
    pub(crate) fn fill(&self, scope: &Value, budget: &mut Budget) -> Result<Value, EvaluationError> {
        Ok(match self {
            Self::Fixed(value) => budget.own(std::borrow::Cow::Borrowed(value))?,
            Self::Whole(expression) => {
                let value = budget.run(expression, scope)?;
                budget.own(value)?
            }
            Self::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    piece.spell(&mut text, scope, budget)?;
                }
                text.into()
            }
            Self::List(items) => {
                Value::Array(items.iter().map(|item| item.fill(scope, budget)).collect::<Result<_, _>>()?)
            }
            Self::Object(fields) => {
                let mut filled = Map::new();
                for (name, item) in fields {
                    budget.spend(32 + name.len())?;
                    filled.insert(name.clone(), item.fill(scope, budget)?);
                }
                filled.into()
            }
        })
    }

    /// The value, if it is the same in every scope.
    pub fn fixed(&self) -> Option<&Value> {
        match self {
            Self::Fixed(value) => Some(value),
            _ => None,
        }
    }

    /// What its expressions ask of their scope.
    pub(crate) fn references(&self, found: &mut Vec<Reference>) {
        match self {
            Self::Fixed(_) => {}
            Self::Whole(expression) => found.extend(expression.references()),
            Self::Text(pieces) => pieces.iter().for_each(|piece| match piece {
                Piece::Plain(_) => {}
                Piece::Spelled(expression) => found.extend(expression.references()),
            }),
            Self::List(items) => items.iter().for_each(|item| item.references(found)),
            Self::Object(fields) => fields.iter().for_each(|(_, item)| item.references(found)),
        }
    }

    const fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    fn into_fixed(self) -> Option<Value> {
        match self {
            Self::Fixed(value) => Some(value),
            _ => None,
        }
    }
}

impl Piece {
    pub(crate) fn spell(&self, out: &mut String, scope: &Value, budget: &mut Budget) -> Result<(), EvaluationError> {
        let before = out.len();
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Spelled(expression) => match &*budget.run(expression, scope)? {
                Value::String(text) => out.push_str(text),
                value @ (Value::Bool(_) | Value::Number(_)) => out.push_str(&value.to_string()),
                other => {
                    let by = "a text with an expression in it".to_owned();
                    let wanted = "a text, a number or a boolean";
                    return Err(EvaluationError::Type { by, wanted, found: a_type(other) });
                }
            },
        }
        budget.spend(out.len() - before)
    }
}

/// One step further down a JSON pointer (RFC 6901).
pub(crate) fn pointer(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// `kept` says how much of a text that begins with `${` stays as it is.
fn read_text(text: &str, kept: impl Fn(&str) -> Option<usize>) -> Result<Template, Fault> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            plain.push_str(&rest[..at]);
            plain.push('{');
            // What would be kept is broken in two, so that nobody who reads a piece finds it there.
            if kept(&rest[at..]).is_some() {
                pieces.push(Piece::Plain(std::mem::take(&mut plain)));
            }
            rest = &rest[at + 2..];
            continue;
        }
        if let Some(length) = kept(&rest[at..]) {
            plain.push_str(&rest[..at + length]);
            rest = &rest[at + length..];
            continue;
        }
        plain.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        let end = closing(inside).ok_or(Fault::Unclosed)?;
        if !plain.is_empty() {
            pieces.push(Piece::Plain(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Spelled(Expression::parse(inside[..end].trim())?));
        rest = &inside[end + 1..];
    }
    plain.push_str(rest);
    Ok(match pieces.pop() {
        None => Template::Fixed(plain.into()),
        Some(Piece::Spelled(only)) if pieces.is_empty() && plain.is_empty() => Template::Whole(only),
        Some(last) => {
            pieces.push(last);
            if !plain.is_empty() {
                pieces.push(Piece::Plain(plain));
            }
            Template::Text(pieces)
        }
    })
}

/// Where the `}` is that ends an expression: not one of its own braces, and not inside its quotes.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => drop(bytes.next()),
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"' | b'`') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth == 0 => return Some(at),
            (None, b'}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fill(value: &Value) -> Result<Value, String> {
        let mut problems = Problems::default();
        let template = Template::read(value, "", &mut problems);
        problems.check().map_err(|error| error.to_string())?;
        let scope = json!({"input": {"n": 7, "s": "x", "o": {"k": 1}}, "run": {"id": "r"}});
        template.fill(&scope, &mut Budget::default()).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(value: Value, expected: Value) {
        assert_eq!(fill(&value), Ok(expected), "{value}");
    }

    #[track_caller]
    fn check_bad(value: Value, expected: &str) {
        assert_eq!(fill(&value), Err(expected.to_owned()), "{value}");
    }

    #[test]
    fn forms() {
        check(json!("plain"), json!("plain"));
        check(json!("${input.n}"), json!(7));
        check(json!("${ input.o }"), json!({"k": 1}));
        check(json!("n=${input.n}, s=${input.s}!"), json!("n=7, s=x!"));
        check(json!("${input.n}${input.n}"), json!("77"));
        check(json!("$${input.n}"), json!("${input.n}"));
        check(json!("a$${b}${input.s}"), json!("a${b}x"));
        check(json!("$ {} }"), json!("$ {} }"));
        check(json!("${{a: input.n}}"), json!({"a": 7}));
        check(json!("${join('}', [input.s, '\\'}'])}"), json!("x}'}"));
        check(json!({"a": ["${input.n}", 1], "${x}": null}), json!({"a": [7, 1], "${x}": null}));
        check(json!("${input.missing}"), json!(null));
    }

    #[test]
    fn bad() {
        check_bad(json!("${input.n"), "`${` without its `}`; for the two characters themselves write `$${`");
        check_bad(
            json!({"a": ["${no(1)}", "${f(`1`)}"]}),
            "/a/0: not an expression: Unexpected nud token -- found Number(1), at character 4\n/a/1: there is no function `f`",
        );
        check_bad(
            json!("x${input.o}"),
            "a text with an expression in it takes a text, a number or a boolean, not an object",
        );
    }

    proptest! {
        #[test]
        fn texts_without_a_dollar_stay(text in "[^$]{0,40}") {
            prop_assert_eq!(fill(&json!(text)), Ok(json!(text)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[${}a'`\".]{0,30}") {
            let _ = fill(&json!(text));
        }
    }
}
