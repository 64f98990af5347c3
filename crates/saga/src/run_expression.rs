//! Evaluates expressions within bounds: so many steps, so many bytes, and then it stops with an error.
//!
//! What differs from JMESPath: the functions are our own and few; numbers that are integers are compared exactly, and
//! orders hold for decimal strings of integers too, since large amounts are such strings. Nothing is ever drawn, read from
//! a clock or taken in the order of a hash.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::expression::{Comparison, Expression, Function, Node};
use crate::fault::EvaluationError;
use crate::number;

/// The most steps that the expressions of one step, together, may take.
pub const EVALUATION_STEPS_MAX: u32 = 100_000;

/// The most bytes that the expressions of one step, together, may make.
pub const EVALUATION_BYTES_MAX: usize = 1024 * 1024;

type Evaluated<'v> = Result<Cow<'v, Value>, EvaluationError>;

/// What may still be spent.
#[derive(Debug)]
pub(crate) struct Budget {
    steps: u32,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: EVALUATION_STEPS_MAX, bytes: EVALUATION_BYTES_MAX }
    }
}

impl Budget {
    /// The value of an expression in a scope.
    pub(crate) fn run<'v>(&mut self, expression: &'v Expression, scope: &'v Value) -> Evaluated<'v> {
        self.eval(&expression.node, scope)
    }

    /// Pays for bytes that are made.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), EvaluationError> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(EvaluationError::TooLarge)?;
        Ok(())
    }

    /// A value of its own, paid for.
    pub(crate) fn own(&mut self, value: Cow<'_, Value>) -> Result<Value, EvaluationError> {
        match value {
            Cow::Owned(value) => Ok(value),
            Cow::Borrowed(value) => {
                self.charge(value)?;
                Ok(value.clone())
            }
        }
    }

    fn charge(&mut self, value: &Value) -> Result<(), EvaluationError> {
        self.step()?;
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => self.spend(16),
            Value::String(text) => self.spend(24 + text.len()),
            Value::Array(items) => {
                self.spend(24)?;
                items.iter().try_for_each(|item| self.charge(item))
            }
            Value::Object(fields) => {
                self.spend(32)?;
                fields.iter().try_for_each(|(name, item)| {
                    self.spend(32 + name.len())?;
                    self.charge(item)
                })
            }
        }
    }

    fn step(&mut self) -> Result<(), EvaluationError> {
        self.steps = self.steps.checked_sub(1).ok_or(EvaluationError::TooLong)?;
        Ok(())
    }

    fn eval<'v>(&mut self, node: &'v Node, at: &'v Value) -> Evaluated<'v> {
        self.step()?;
        Ok(match node {
            Node::Current => Cow::Borrowed(at),
            Node::Literal(value) => Cow::Borrowed(value),
            Node::Field(name) => at.get(name).map_or(NULL, Cow::Borrowed),
            Node::Index(index) => item(at, *index).map_or(NULL, Cow::Borrowed),
            Node::Slice { start, stop, step } => self.slice(at, *start, *stop, *step)?,
            Node::Then(first, second) => {
                let first = self.eval(first, at)?;
                self.on(second, first)?
            }
            Node::If(condition, then) => match holds(&*self.eval(condition, at)?) {
                true => self.eval(then, at)?,
                false => NULL,
            },
            Node::Compare(comparison, left, right) => {
                let (left, right) = (self.eval(left, at)?, self.eval(right, at)?);
                Cow::Owned(self.compare(*comparison, &left, &right)?)
            }
            Node::And(left, right) => match self.eval(left, at)? {
                left if holds(&left) => self.eval(right, at)?,
                left => left,
            },
            Node::Or(left, right) => match self.eval(left, at)? {
                left if holds(&left) => left,
                _ => self.eval(right, at)?,
            },
            Node::Not(inner) => Cow::Owned(Value::Bool(!holds(&*self.eval(inner, at)?))),
            Node::Call(function, arguments) if *function != Function::Map => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.eval(argument, at)?);
                }
                self.call(*function, values)?
            }
            _ => self.gather(node, at)?,
        })
    }

    /// The nodes that make lists and objects.
    fn gather<'v>(&mut self, node: &'v Node, at: &'v Value) -> Evaluated<'v> {
        Ok(match node {
            Node::Each(first, second) => {
                let items = self.eval(first, at)?;
                self.each(second, &items)?
            }
            Node::Values(inner) => match &*self.eval(inner, at)? {
                Value::Object(fields) => self.list(fields.values())?,
                _ => NULL,
            },
            Node::Flatten(inner) => match &*self.eval(inner, at)? {
                Value::Array(items) => self.list(items.iter().flat_map(|item| match item {
                    Value::Array(inner) => inner.as_slice(),
                    other => std::slice::from_ref(other),
                }))?,
                _ => NULL,
            },
            Node::List(_) | Node::Hash(_) if at.is_null() => NULL,
            Node::List(nodes) => {
                let mut items = Vec::new();
                for node in nodes {
                    let item = self.eval(node, at)?;
                    items.push(self.own(item)?);
                    self.spend(24)?;
                }
                Cow::Owned(Value::Array(items))
            }
            Node::Hash(nodes) => {
                let mut fields = Map::new();
                for (name, node) in nodes {
                    let item = self.eval(node, at)?;
                    self.spend(32 + name.len())?;
                    fields.insert(name.clone(), self.own(item)?);
                }
                Cow::Owned(Value::Object(fields))
            }
            Node::Call(Function::Map, arguments) => {
                let [Node::Lazy(body), list] = arguments.as_slice() else {
                    unreachable!("a map is parsed with these arguments only")
                };
                let list = self.eval(list, at)?;
                let Value::Array(items) = &*list else { return Err(wrong(Function::Map, "a list", &list)) };
                let mut mapped = Vec::new();
                for item in items {
                    let value = self.eval(body, item)?;
                    mapped.push(self.own(value)?);
                    self.spend(24)?;
                }
                Cow::Owned(Value::Array(mapped))
            }
            _ => unreachable!("the others are evaluated where they are met, and `&` by its function"),
        })
    }

    fn on<'v>(&mut self, node: &'v Node, at: Cow<'v, Value>) -> Evaluated<'v> {
        match at {
            Cow::Borrowed(at) => self.eval(node, at),
            Cow::Owned(at) => {
                let value = self.eval(node, &at)?;
                self.own(value).map(Cow::Owned)
            }
        }
    }

    /// `node` on each item that is there; what gives null is left out.
    fn each<'v>(&mut self, node: &Node, items: &Value) -> Evaluated<'v> {
        let Value::Array(items) = items else { return Ok(NULL) };
        let mut projected = Vec::new();
        for item in items {
            let value = self.eval(node, item)?;
            if !value.is_null() {
                projected.push(self.own(value)?);
                self.spend(24)?;
            }
        }
        Ok(Cow::Owned(Value::Array(projected)))
    }

    fn list<'i, 'v>(&mut self, items: impl Iterator<Item = &'i Value>) -> Evaluated<'v> {
        let mut list = Vec::new();
        for item in items {
            list.push(self.own(Cow::Borrowed(item))?);
            self.spend(24)?;
        }
        Ok(Cow::Owned(Value::Array(list)))
    }

    fn slice<'v>(&mut self, at: &Value, start: Option<i32>, stop: Option<i32>, step: i32) -> Evaluated<'v> {
        let Value::Array(items) = at else { return Ok(NULL) };
        let len = i64::try_from(items.len()).expect("a list in memory fits 63 bits");
        let step = i64::from(step);
        // From the end if negative; kept within what can be reached in the direction of the step.
        let (least, most) = if step > 0 { (0, len) } else { (-1, len - 1) };
        let place = |at: i32| {
            let at = i64::from(at);
            (if at < 0 { at + len } else { at }).clamp(least, most)
        };
        let mut at = start.map_or(if step > 0 { least } else { most }, place);
        let stop = stop.map_or(if step > 0 { most } else { least }, place);
        let mut places = Vec::new();
        while if step > 0 { at < stop } else { at > stop } {
            self.step()?;
            places.push(usize::try_from(at).expect("between its bounds"));
            at += step;
        }
        self.list(places.into_iter().map(|place| &items[place]))
    }

    fn compare(&mut self, comparison: Comparison, left: &Value, right: &Value) -> Result<Value, EvaluationError> {
        let is = |found: &[Ordering], order: Option<Ordering>| {
            order.map_or(Value::Null, |order| Value::Bool(found.contains(&order)))
        };
        let order = || order(left, right);
        Ok(match comparison {
            Comparison::Equal => Value::Bool(self.equal(left, right)?),
            Comparison::NotEqual => Value::Bool(!self.equal(left, right)?),
            Comparison::Less => is(&[Ordering::Less], order()),
            Comparison::LessOrEqual => is(&[Ordering::Less, Ordering::Equal], order()),
            Comparison::Greater => is(&[Ordering::Greater], order()),
            Comparison::GreaterOrEqual => is(&[Ordering::Greater, Ordering::Equal], order()),
        })
    }

    fn equal(&mut self, left: &Value, right: &Value) -> Result<bool, EvaluationError> {
        self.step()?;
        Ok(match (left, right) {
            (Value::Number(_), Value::Number(_)) => order(left, right) == Some(Ordering::Equal),
            (Value::Array(left), Value::Array(right)) => {
                left.len() == right.len() && self.all_equal(left.iter().zip(right))?
            }
            (Value::Object(left), Value::Object(right)) => {
                left.len() == right.len()
                    && left.keys().all(|name| right.contains_key(name))
                    && self.all_equal(left.iter().filter_map(|(name, value)| Some((value, right.get(name)?))))?
            }
            _ => left == right,
        })
    }

    fn all_equal<'i>(&mut self, pairs: impl Iterator<Item = (&'i Value, &'i Value)>) -> Result<bool, EvaluationError> {
        for (left, right) in pairs {
            if !self.equal(left, right)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn call<'v>(&mut self, function: Function, arguments: Vec<Cow<'v, Value>>) -> Evaluated<'v> {
        let first = &*arguments[0];
        let made = match function {
            Function::Length => match first {
                Value::String(text) => text.chars().count().into(),
                Value::Array(items) => items.len().into(),
                Value::Object(fields) => fields.len().into(),
                other => return Err(wrong(function, "a text, a list or an object", other)),
            },
            Function::Contains => match (first, &*arguments[1]) {
                (Value::String(text), Value::String(part)) => text.contains(part.as_str()).into(),
                (Value::Array(items), part) => {
                    let mut found = false;
                    for item in items {
                        found = found || self.equal(item, part)?;
                    }
                    found.into()
                }
                (other, _) => return Err(wrong(function, "a text or a list, and what it may contain", other)),
            },
            Function::StartsWith => text(function, first)?.starts_with(text(function, &arguments[1])?).into(),
            Function::EndsWith => text(function, first)?.ends_with(text(function, &arguments[1])?).into(),
            Function::Join => self.join(text(function, first)?, &arguments[1])?,
            Function::Keys => {
                let names = object(function, first)?.keys();
                let mut keys = Vec::new();
                for name in names {
                    self.step()?;
                    self.spend(48 + name.len())?;
                    keys.push(Value::from(name.as_str()));
                }
                keys.into()
            }
            Function::Values => return self.list(object(function, first)?.values()),
            Function::Merge => {
                let mut merged = Map::new();
                for argument in &arguments {
                    for (name, value) in object(function, argument)? {
                        self.spend(32 + name.len())?;
                        merged.insert(name.clone(), self.own(Cow::Borrowed(value))?);
                    }
                }
                merged.into()
            }
            Function::NotNull => return Ok(arguments.into_iter().find(|argument| !argument.is_null()).unwrap_or(NULL)),
            Function::ToString => match first {
                Value::String(_) => self.own(Cow::Borrowed(first))?,
                other => {
                    // Its text is about as long as what it is charged for; escapes make it up to six times as long.
                    self.charge(other)?;
                    let text = other.to_string();
                    self.spend(text.len())?;
                    text.into()
                }
            },
            Function::Type => type_name(first).into(),
            _ => self.calculate(function, &arguments)?,
        };
        Ok(Cow::Owned(made))
    }

    /// The functions of integers.
    fn calculate(&mut self, function: Function, arguments: &[Cow<'_, Value>]) -> Result<Value, EvaluationError> {
        let first = &*arguments[0];
        Ok(match function {
            Function::Add => integers(function, arguments, i128::checked_add)?,
            Function::Subtract => integers(function, arguments, i128::checked_sub)?,
            Function::Multiply => integers(function, arguments, i128::checked_mul)?,
            Function::Divide if number::integer(&arguments[1]) == Some(0) => {
                return Err(EvaluationError::DivisionByZero);
            }
            Function::Divide => integers(function, arguments, i128::checked_div)?,
            Function::Sum => {
                let mut sum = 0_i128;
                for item in integer_list(function, first)? {
                    self.step()?;
                    sum = sum.checked_add(item?).ok_or_else(|| overflow(function))?;
                }
                number::json(sum)
            }
            Function::Min => integer_list(function, first)?
                .try_fold(None, |least, item| Ok(Some(least.unwrap_or(i128::MAX).min(item?))))?
                .map_or(Value::Null, number::json),
            Function::Max => integer_list(function, first)?
                .try_fold(None, |most, item| Ok(Some(most.unwrap_or(i128::MIN).max(item?))))?
                .map_or(Value::Null, number::json),
            _ => unreachable!("{} is no function of integers", function.name()),
        })
    }

    fn join(&mut self, between: &str, list: &Value) -> Result<Value, EvaluationError> {
        let Value::Array(items) = list else { return Err(wrong(Function::Join, "a text and a list of texts", list)) };
        let mut joined = String::new();
        for (at, item) in items.iter().enumerate() {
            let item = text(Function::Join, item)?;
            self.step()?;
            self.spend(between.len() + item.len())?;
            if at > 0 {
                joined.push_str(between);
            }
            joined.push_str(item);
        }
        Ok(joined.into())
    }
}

const NULL: Cow<'static, Value> = Cow::Owned(Value::Null);

/// The item at an index; a negative one counts from the end.
fn item(at: &Value, index: i32) -> Option<&Value> {
    let items = at.as_array()?;
    let back = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 { items.get(items.len().checked_sub(back)?) } else { items.get(back) }
}

/// JMESPath's truth: everything but null, false, and what is empty.
fn holds(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// Integers exactly, other numbers as doubles; nothing else has an order.
fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (number::integer(left), number::integer(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn integers(
    function: Function,
    arguments: &[Cow<'_, Value>],
    of: fn(i128, i128) -> Option<i128>,
) -> Result<Value, EvaluationError> {
    let integer =
        |at: usize| number::integer(&arguments[at]).ok_or_else(|| wrong(function, "two integers", &arguments[at]));
    let (left, right) = (integer(0)?, integer(1)?);
    of(left, right).map(number::json).ok_or_else(|| overflow(function))
}

fn integer_list(
    function: Function,
    list: &Value,
) -> Result<impl Iterator<Item = Result<i128, EvaluationError>>, EvaluationError> {
    let Value::Array(items) = list else { return Err(wrong(function, "a list of integers", list)) };
    Ok(items.iter().map(move |item| number::integer(item).ok_or_else(|| wrong(function, "a list of integers", item))))
}

fn text(function: Function, value: &Value) -> Result<&str, EvaluationError> {
    value.as_str().ok_or_else(|| wrong(function, "texts", value))
}

fn object(function: Function, value: &Value) -> Result<&Map<String, Value>, EvaluationError> {
    value.as_object().ok_or_else(|| wrong(function, "objects", value))
}

fn wrong(function: Function, wanted: &'static str, found: &Value) -> EvaluationError {
    EvaluationError::Type { by: format!("`{}`", function.name()), wanted, found: a_type(found) }
}

fn overflow(function: Function) -> EvaluationError {
    EvaluationError::Overflow { by: format!("`{}`", function.name()) }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What a value is, with its article.
pub(crate) fn a_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
