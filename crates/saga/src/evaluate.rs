//! What a step of a run asks for, computed from the run's input and the outputs of the steps before it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::definition::{Action, Call, Definition, Doubt, HOLD_MS, Order, TIMER_MS};
use crate::fault::EvaluationError;
use crate::run_expression::Budget;
use crate::secret;
use crate::template::Template;
use crate::url;

pub(crate) mod take;

/// What expressions see: `input`, `steps.<id>` (the outputs of steps that are done) and `run` (its `id` and `saga`).
#[derive(Clone, PartialEq, Debug)]
pub struct Context {
    scope: Value,
}

/// What is to be computed of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// What it does.
    Act,
    /// What undoes it.
    Compensate,
}

/// What a step asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum StepInput {
    /// A transfer, posted or held.
    Transfer(TransferInput),
    /// Posts what is held.
    Capture {
        /// The id of the transfer.
        transfer: String,
        /// How much, in the unit's smallest part; all if absent.
        amount: Option<u128>,
    },
    /// Releases what is held.
    Void {
        /// The id of the transfer.
        transfer: String,
    },
    /// Moves back what was posted.
    Reverse {
        /// The id of the transfer.
        transfer: String,
        /// How much; all that is left if absent.
        amount: Option<u128>,
    },
    /// A durable call.
    Call(Box<CallInput>),
    /// An event.
    Publish(Box<EventInput>),
    /// A wait.
    Wait {
        /// For how many milliseconds.
        ms: u64,
    },
    /// A run of another saga.
    StartRun(RunInput),
}

/// A transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransferInput {
    /// The account it is taken from.
    pub from: String,
    /// The account it goes to.
    pub to: String,
    /// How much: 1 to 2^127 - 1, in the unit's smallest part.
    pub amount: u128,
    /// For how many milliseconds it is held; `None` = it is posted at once.
    pub hold_ms: Option<u64>,
    /// A note, or empty.
    pub memo: String,
    /// A JSON object, or empty.
    pub metadata: String,
}

/// A durable call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallInput {
    /// The HTTP method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// Headers besides those that the server sets.
    pub headers: Vec<(String, String)>,
    /// The body: JSON, or empty.
    pub body: String,
    /// What to do while nobody knows whether it was done.
    pub doubt: Doubt,
    /// What to ask, for [`Doubt::Probe`].
    pub probe: Option<ProbeInput>,
    /// Whether to try again, until the time-out, what is certain not to have been done.
    pub persistent: bool,
    /// How long it may stay uncertain until a person is told, in milliseconds.
    pub uncertain_ms_max: u64,
    /// The headers of its answer that are kept, in lower case.
    pub kept_headers: Vec<String>,
}

/// A question that changes nothing: a GET.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeInput {
    /// The URL; `{key}` in it stands for the call's idempotency key.
    pub url: String,
    /// Headers besides those that the server sets.
    pub headers: Vec<(String, String)>,
    /// What an HTTP status means, by the words of an outcome.
    pub status: BTreeMap<String, String>,
    /// Where in a JSON answer the state stands, and what the values there mean.
    pub value: Option<(String, BTreeMap<String, String>)>,
}

/// An event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventInput {
    /// Where it is published.
    pub topic: String,
    /// Its type.
    pub kind: String,
    /// What it is about, or empty.
    pub subject: String,
    /// What orders it, or empty.
    pub key: String,
    /// JSON, or empty.
    pub data: String,
}

/// A run of another saga.
#[derive(Clone, PartialEq, Debug)]
pub struct RunInput {
    /// The saga's name.
    pub name: String,
    /// Its input.
    pub input: Value,
}

/// What step number `step` asks for.
///
/// # Errors
/// [`EvaluationError`]: nothing was done, and nothing would be different if it were tried again with the same context.
pub fn evaluate(
    definition: &Definition,
    step: usize,
    phase: Phase,
    context: &Context,
) -> Result<StepInput, EvaluationError> {
    let step = definition.steps.get(step).ok_or(EvaluationError::NoSuchStep)?;
    let mut filler = Filler { scope: &context.scope, itself: &step.id, budget: Budget::default() };
    match (phase, &step.compensation) {
        (Phase::Act, _) => filler.action(&step.action),
        (Phase::Compensate, Some(compensation)) => filler.action(&compensation.action),
        (Phase::Compensate, None) => Err(EvaluationError::NoSuchStep),
    }
}

/// What a done run gives, as its definition says; `null` if it says nothing.
///
/// # Errors
/// [`EvaluationError`].
pub fn evaluate_output(definition: &Definition, context: &Context) -> Result<Value, EvaluationError> {
    match &definition.output {
        Some(output) => output.fill(&context.scope, &mut Budget::default()),
        None => Ok(Value::Null),
    }
}

impl Context {
    /// The context of the run `run` of `saga`: its input, and the outputs of its steps by their ids.
    pub fn new(run: &str, saga: &str, input: Value, outputs: Map<String, Value>) -> Self {
        let mut scope = Map::new();
        scope.insert("input".to_owned(), input);
        scope.insert("steps".to_owned(), outputs.into());
        scope.insert("run".to_owned(), json!({ "id": run, "saga": saga }));
        Self { scope: scope.into() }
    }
}

struct Filler<'c> {
    scope: &'c Value,
    /// The id of the step.
    itself: &'c str,
    budget: Budget,
}

impl Filler<'_> {
    fn action(&mut self, action: &Action) -> Result<StepInput, EvaluationError> {
        Ok(match action {
            Action::Transfer(order) | Action::Hold(order) => StepInput::Transfer(self.order(order)?),
            Action::Capture { of, amount } => {
                StepInput::Capture { transfer: self.transfer(of)?, amount: self.maybe("amount", amount, take::amount)? }
            }
            Action::Void { of } => StepInput::Void { transfer: self.transfer(of)? },
            Action::Reverse { of, amount } => {
                StepInput::Reverse { transfer: self.transfer(of)?, amount: self.maybe("amount", amount, take::amount)? }
            }
            Action::Call(call) => StepInput::Call(Box::new(self.call(call)?)),
            Action::Event(event) => StepInput::Publish(Box::new(EventInput {
                topic: self.fill("topic", &event.topic, take::id)?,
                kind: self.fill("type", &event.kind, take::id)?,
                subject: self.maybe("subject", &event.subject, take::memo)?.unwrap_or_default(),
                key: self.maybe("key", &event.key, take::memo)?.unwrap_or_default(),
                data: self.maybe("data", &event.data, take::body)?.unwrap_or_default(),
            })),
            Action::Timer(timer) => {
                let check = |field: &str, value| take::duration(field, value, TIMER_MS);
                StepInput::Wait { ms: self.fill("for_ms", &timer.for_ms, check)? }
            }
            Action::Saga(nested) => {
                let input = self.maybe("input", &nested.input, |_, value| Ok(value))?;
                StepInput::StartRun(RunInput { name: nested.name.clone(), input: input.unwrap_or(Value::Null) })
            }
        })
    }

    fn order(&mut self, order: &Order) -> Result<TransferInput, EvaluationError> {
        let hold = |field: &str, value| take::duration(field, value, HOLD_MS);
        Ok(TransferInput {
            from: self.fill("from", &order.from, take::id)?,
            to: self.fill("to", &order.to, take::id)?,
            amount: self.fill("amount", &order.amount, take::amount)?,
            hold_ms: self.maybe("hold_ms", &order.hold_ms, hold)?,
            memo: self.maybe("memo", &order.memo, take::memo)?.unwrap_or_default(),
            metadata: self.maybe("metadata", &order.metadata, take::metadata)?.unwrap_or_default(),
        })
    }

    fn call(&mut self, call: &Call) -> Result<CallInput, EvaluationError> {
        let probe = match &call.probe {
            None => None,
            Some(probe) => Some(ProbeInput {
                url: self.url("probe.url", &probe.url)?,
                headers: self.headers(&probe.headers)?,
                status: probe.status.clone(),
                value: probe.value.clone(),
            }),
        };
        Ok(CallInput {
            method: call.method.clone(),
            url: self.url("url", &call.url)?,
            headers: self.headers(&call.headers)?,
            body: self.maybe("body", &call.body, take::body)?.unwrap_or_default(),
            doubt: call.doubt,
            probe,
            persistent: call.persistent,
            uncertain_ms_max: call.uncertain_ms_max,
            kept_headers: call.kept_headers.clone(),
        })
    }

    fn url(&mut self, field: &str, template: &Template) -> Result<String, EvaluationError> {
        take::url(field, url::fill(template, field, self.scope, &mut self.budget)?)
    }

    fn headers(&mut self, headers: &[(String, Template)]) -> Result<Vec<(String, String)>, EvaluationError> {
        let mut filled = Vec::with_capacity(headers.len());
        for (name, template) in headers {
            let value = self.fill(name, template, take::header)?;
            secret::check(name, template, &value)?;
            filled.push((name.clone(), value));
        }
        Ok(filled)
    }

    /// The id of the transfer that a step made; an empty `of` is the step itself.
    fn transfer(&self, of: &str) -> Result<String, EvaluationError> {
        let of = if of.is_empty() { self.itself } else { of };
        let id = self.scope["steps"].get(of).and_then(|output| output.get("id")).cloned().unwrap_or_default();
        take::id(&format!("steps.{of}.id"), id)
    }

    fn maybe<T>(
        &mut self,
        field: &str,
        template: &Option<Template>,
        take: impl FnOnce(&str, Value) -> Result<T, EvaluationError>,
    ) -> Result<Option<T>, EvaluationError> {
        template.as_ref().map(|template| self.fill(field, template, take)).transpose()
    }

    fn fill<T>(
        &mut self,
        field: &str,
        template: &Template,
        take: impl FnOnce(&str, Value) -> Result<T, EvaluationError>,
    ) -> Result<T, EvaluationError> {
        take(field, template.fill(self.scope, &mut self.budget)?)
    }
}

#[cfg(test)]
mod tests;
