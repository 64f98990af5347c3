//! Reads objects strictly: each field by name, nothing overlooked, and every problem noted before the first is told.

use serde_json::{Map, Value};

use crate::definition::Bounds;
use crate::fault::{DefinitionError, EvaluationError, Fault, Problem};
use crate::run_expression::a_type;
use crate::template::{Template, pointer};

/// What was found wrong so far.
#[derive(Default, Debug)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn push(&mut self, at: &str, fault: Fault) {
        self.0.push(Problem { at: at.to_owned(), fault });
    }

    /// Leaves out what the one who reads does not mind.
    pub(crate) fn forgive(&mut self, is_minded: impl Fn(&Fault) -> bool) {
        self.0.retain(|problem| is_minded(&problem.fault));
    }

    /// Nothing, or everything that is wrong.
    pub(crate) fn check(self) -> Result<(), DefinitionError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(DefinitionError { problems: self.0 }),
        }
    }
}

/// An object that has no other fields than those that are known.
pub(crate) struct Fields<'v> {
    pub(crate) at: String,
    fields: &'v Map<String, Value>,
}

impl<'v> Fields<'v> {
    pub(crate) fn read(
        value: &'v Value,
        at: &str,
        known: &'static [&'static str],
        problems: &mut Problems,
    ) -> Option<Self> {
        let fields = object(value, at, problems)?;
        for name in fields.keys().filter(|name| !known.contains(&name.as_str())) {
            problems.push(at, Fault::UnknownField { name: name.clone(), known });
        }
        Some(Self { at: at.to_owned(), fields })
    }

    pub(crate) fn at(&self, name: &str) -> String {
        pointer(&self.at, name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'v Value> {
        self.fields.get(name)
    }

    pub(crate) fn need(&self, name: &'static str, problems: &mut Problems) -> Option<&'v Value> {
        let found = self.get(name);
        if found.is_none() {
            problems.push(&self.at, Fault::MissingField { name });
        }
        found
    }

    pub(crate) fn text(&self, name: &str, problems: &mut Problems) -> Option<&'v str> {
        text(self.get(name)?, &self.at(name), problems)
    }

    pub(crate) fn need_id(&self, name: &'static str, problems: &mut Problems) -> Option<String> {
        let value = self.need(name, problems)?;
        id(value, &self.at(name), problems)
    }

    pub(crate) fn list(&self, name: &str, problems: &mut Problems) -> Option<&'v [Value]> {
        match self.get(name)? {
            Value::Array(items) => Some(items),
            other => {
                problems.push(&self.at(name), Fault::WrongType { wanted: "a list", found: a_type(other) });
                None
            }
        }
    }

    pub(crate) fn flag(&self, name: &str, problems: &mut Problems) -> bool {
        match self.get(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                problems.push(&self.at(name), Fault::WrongType { wanted: "a boolean", found: a_type(other) });
                false
            }
        }
    }

    pub(crate) fn number(&self, name: &str, bounds: Bounds, problems: &mut Problems) -> u64 {
        let Some(value) = self.get(name) else { return bounds.default };
        let fault = match value {
            Value::Number(number) => match number.as_u64() {
                Some(number) if (bounds.least..=bounds.most).contains(&number) => return number,
                _ => Fault::OutOfBounds { bounds, found: number.to_string() },
            },
            other => Fault::WrongType { wanted: "a whole number", found: a_type(other) },
        };
        problems.push(&self.at(name), fault);
        bounds.default
    }

    pub(crate) fn word<T: Copy>(
        &self,
        name: &str,
        words: &'static [&'static str],
        meanings: &[T],
        default: T,
        problems: &mut Problems,
    ) -> T {
        let Some(word) = self.text(name, problems) else { return default };
        match words.iter().position(|known| *known == word) {
            Some(at) => meanings[at],
            None => {
                problems.push(&self.at(name), Fault::UnknownWord { word: word.to_owned(), known: words });
                default
            }
        }
    }

    /// A template, and what must be true of it where that can be told now already.
    pub(crate) fn template<T>(
        &self,
        name: &str,
        check: impl FnOnce(&str, Value) -> Result<T, EvaluationError>,
        problems: &mut Problems,
    ) -> Option<Template> {
        let at = self.at(name);
        let template = Template::read(self.get(name)?, &at, problems);
        if let Some(fixed) = template.fixed()
            && let Err(error) = check(name, fixed.clone())
        {
            problems.push(&at, error.into());
        }
        Some(template)
    }

    pub(crate) fn need_template<T>(
        &self,
        name: &'static str,
        check: impl FnOnce(&str, Value) -> Result<T, EvaluationError>,
        problems: &mut Problems,
    ) -> Template {
        match self.need(name, problems) {
            None => Template::Fixed(Value::Null),
            Some(_) => self.template(name, check, problems).unwrap_or(Template::Fixed(Value::Null)),
        }
    }
}

pub(crate) fn object<'v>(value: &'v Value, at: &str, problems: &mut Problems) -> Option<&'v Map<String, Value>> {
    let found = value.as_object();
    if found.is_none() {
        problems.push(at, Fault::WrongType { wanted: "an object", found: a_type(value) });
    }
    found
}

pub(crate) fn text<'v>(value: &'v Value, at: &str, problems: &mut Problems) -> Option<&'v str> {
    let found = value.as_str();
    if found.is_none() {
        problems.push(at, Fault::WrongType { wanted: "a text", found: a_type(value) });
    }
    found
}

pub(crate) fn id(value: &Value, at: &str, problems: &mut Problems) -> Option<String> {
    let text = text(value, at, problems)?;
    match words::check_id(text) {
        Ok(id) => Some(id.to_owned()),
        Err(error) => {
            problems.push(at, Fault::NotAnId(error));
            None
        }
    }
}
