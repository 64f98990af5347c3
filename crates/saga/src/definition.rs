//! A saga, as its author wrote it: steps, what each waits for, what undoes it, and bounds on all of it.

use std::collections::BTreeMap;

use machine::Plan;
use serde_json::Value;

use crate::input::{self, Parameter};
use crate::template::Template;
use crate::{DefinitionError, decode, secret};

/// The most steps of one saga.
pub const STEPS_MAX: usize = machine::PLAN_STEPS_MAX;

/// A number's bounds, both included, and what it is if it is not given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The least it may be.
    pub least: u64,
    /// The most it may be.
    pub most: u64,
    /// What it is if it is not given.
    pub default: u64,
}

const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600 * SECOND_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How long a run may go forward, in milliseconds: 7 days unless said otherwise.
pub const DEADLINE_MS: Bounds = Bounds { least: 1, most: 366 * DAY_MS, default: 7 * DAY_MS };
/// How long a step may take until it has its end, in milliseconds; of a nested saga a day unless said otherwise.
pub const TIMEOUT_MS: Bounds = Bounds { least: 1, most: 366 * DAY_MS, default: 30 * SECOND_MS };
/// The same of a step that is a call: as long as a call may have.
pub const CALL_TIMEOUT_MS: Bounds = Bounds { least: 1, most: DAY_MS, default: 30 * SECOND_MS };
/// How long a nested saga may take, in milliseconds.
pub(crate) const NESTED_TIMEOUT_MS: Bounds = Bounds { default: DAY_MS, ..TIMEOUT_MS };
/// How long a compensation is tried until a person is told, in milliseconds.
pub(crate) const COMPENSATION_TIMEOUT_MS: Bounds = Bounds { least: 1, most: 30 * DAY_MS, default: DAY_MS };
/// How long a timer may run, in milliseconds.
pub const TIMER_MS: Bounds = Bounds { least: 1, most: 366 * DAY_MS, default: SECOND_MS };
/// How long a hold may last, in milliseconds.
pub(crate) const HOLD_MS: Bounds = Bounds { least: 1, most: 366 * DAY_MS, default: HOUR_MS };
/// How long a call may stay uncertain until a person is told, in milliseconds.
pub(crate) const UNCERTAIN_MS: Bounds = Bounds { least: SECOND_MS, most: 30 * DAY_MS, default: HOUR_MS };
/// How often a step may be tried before it has failed; a call 3 times unless said otherwise, everything else once.
pub const ATTEMPTS_MAX: Bounds = Bounds { least: 1, most: 100, default: 1 };
/// The same of a call: how many requests it may send in a row.
pub(crate) const CALL_ATTEMPTS_MAX: Bounds = Bounds { least: 1, most: 4, default: 3 };

/// A saga that can be run.
#[derive(Clone, PartialEq, Debug)]
pub struct Definition {
    /// What it is called.
    pub name: String,
    /// For people.
    pub description: String,
    /// How long a run may go forward, in milliseconds from its start.
    pub deadline_ms: u64,
    /// What a run's input must be; `None` = anything.
    pub input: Option<Vec<Parameter>>,
    /// The steps, in the order of the text.
    pub steps: Vec<Step>,
    /// What a done run gives; nothing if it is not said.
    pub output: Option<Template>,
    pub(crate) document: Value,
    pub(crate) plan: Plan,
}

/// One step.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// What it is called.
    pub id: String,
    /// What it does.
    pub action: Action,
    /// The steps that must be done before it, counted from 0.
    pub after: Vec<u32>,
    /// How long it may take until it has its end, in milliseconds.
    pub timeout_ms: u64,
    /// How often it may be tried before it has failed.
    pub attempts_max: u32,
    /// Whether the run goes only forward from here.
    pub pivot: bool,
    /// What undoes it; `None` = nothing needs to be done.
    pub compensation: Option<Compensation>,
    /// Whether it may be undone after the pivot.
    pub compensate_after_pivot: bool,
    /// Where it stands in the document.
    pub(crate) at: String,
}

/// What undoes a step.
#[derive(Clone, PartialEq, Debug)]
pub struct Compensation {
    /// What it does. [`Action::Void`] and [`Action::Reverse`] are of the step itself.
    pub action: Action,
    /// How long it is tried until a person is told, in milliseconds.
    pub timeout_ms: u64,
}

/// What a step does.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// A durable call.
    Call(Box<Call>),
    /// A posted transfer.
    Transfer(Box<Order>),
    /// A held transfer.
    Hold(Box<Order>),
    /// Posts what a step holds.
    Capture {
        /// The step.
        of: String,
        /// How much; all if it is not said.
        amount: Option<Template>,
    },
    /// Releases what a step holds.
    Void {
        /// The step.
        of: String,
    },
    /// Moves back what a step posted.
    Reverse {
        /// The step.
        of: String,
        /// How much; all if it is not said.
        amount: Option<Template>,
    },
    /// An event.
    Event(Box<Event>),
    /// Waits.
    Timer(Timer),
    /// Another saga, as a run of its own.
    Saga(Nested),
}

/// A durable call. Each of its attempts carries the same idempotency key.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// The HTTP method.
    pub method: String,
    /// The URL, http or https.
    pub url: Template,
    /// Headers besides those that the server sets.
    pub headers: Vec<(String, Template)>,
    /// The body: JSON, or none.
    pub body: Option<Template>,
    /// What to do while nobody knows whether it was done.
    pub doubt: Doubt,
    /// What to ask, for [`Doubt::Probe`].
    pub probe: Option<Probe>,
    /// Whether to try again, until the time-out, what is certain not to have been done.
    pub persistent: bool,
    /// How long it may stay uncertain until a person is told, in milliseconds.
    pub uncertain_ms_max: u64,
    /// The headers of its answer that later steps can name, in lower case.
    pub kept_headers: Vec<String>,
}

/// What to do while nobody knows whether a call was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// Ask.
    Probe,
    /// Send it again, under the same key.
    Resend,
    /// Tell a person.
    Escalate,
}

/// A question that changes nothing: a GET.
#[derive(Clone, PartialEq, Debug)]
pub struct Probe {
    /// The URL; `{key}` in it stands for the call's idempotency key.
    pub url: Template,
    /// Headers besides those that the server sets.
    pub headers: Vec<(String, Template)>,
    /// What an HTTP status means, by the words of an outcome.
    pub status: BTreeMap<String, String>,
    /// Where in a JSON answer the state stands (RFC 6901), and what the values there mean.
    pub value: Option<(String, BTreeMap<String, String>)>,
}

/// A transfer, posted or held.
#[derive(Clone, PartialEq, Debug)]
pub struct Order {
    /// The account it is taken from.
    pub from: Template,
    /// The account it goes to.
    pub to: Template,
    /// How much.
    pub amount: Template,
    /// For how long it is held, if it is.
    pub hold_ms: Option<Template>,
    /// A note.
    pub memo: Option<Template>,
    /// An object.
    pub metadata: Option<Template>,
}

/// An event.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Where it is published.
    pub topic: Template,
    /// Its type.
    pub kind: Template,
    /// What it is about.
    pub subject: Option<Template>,
    /// What orders it: events of one key are delivered in order.
    pub key: Option<Template>,
    /// Its data.
    pub data: Option<Template>,
}

/// A wait.
#[derive(Clone, PartialEq, Debug)]
pub struct Timer {
    /// For how many milliseconds.
    pub for_ms: Template,
}

/// Another saga.
#[derive(Clone, PartialEq, Debug)]
pub struct Nested {
    /// Its name.
    pub name: String,
    /// Its input.
    pub input: Option<Template>,
}

impl Doubt {
    /// The word for it in a definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Resend => "resend",
            Self::Escalate => "escalate",
        }
    }
}

impl Definition {
    /// The definition as JSON: what it was read from, and what it can be read from again.
    pub const fn document(&self) -> &Value {
        &self.document
    }

    /// Reads [`Definition::document`] again.
    ///
    /// # Errors
    /// [`DefinitionError`].
    pub fn of_document(document: Value) -> Result<Self, DefinitionError> {
        decode::definition(document, decode::Source::Author)
    }

    /// Reads the document of a definition that was accepted before, maybe by a build that asked less of one: its runs go on.
    ///
    /// # Errors
    /// [`DefinitionError`].
    pub fn of_accepted(document: Value) -> Result<Self, DefinitionError> {
        decode::definition(document, decode::Source::Log)
    }

    /// What the machine needs to know of it.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Checks a run's input.
    ///
    /// # Errors
    /// [`DefinitionError`], with everything that is wrong.
    pub fn check_input(&self, value: &Value) -> Result<(), DefinitionError> {
        self.input.as_deref().map_or(Ok(()), |parameters| input::check(parameters, value))
    }

    /// The URLs that are written down whole, each with the JSON pointer (RFC 6901) to it: where the saga will call, whatever
    /// its input.
    pub fn fixed_urls(&self) -> Vec<(String, String)> {
        let mut urls = Vec::new();
        for step in &self.steps {
            let undoes = step.compensation.iter().map(|compensation| ("/compensate/call", &compensation.action));
            for (place, action) in [("/call", &step.action)].into_iter().chain(undoes) {
                let Action::Call(call) = action else { continue };
                let probed = call.probe.iter().map(|probe| ("/probe/url", &probe.url));
                for (field, url) in [("/url", &call.url)].into_iter().chain(probed) {
                    if let Some(Value::String(text)) = url.fixed() {
                        urls.push((format!("{}{place}{field}", step.at), text.replace("{key}", "key")));
                    }
                }
            }
        }
        urls
    }

    /// The secrets that its calls name, each with the JSON pointer (RFC 6901) to the headers it stands in.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let mut secrets = Vec::new();
        for step in &self.steps {
            let undoes = step.compensation.iter().map(|compensation| ("/compensate/call", &compensation.action));
            for (place, action) in [("/call", &step.action)].into_iter().chain(undoes) {
                let Action::Call(call) = action else { continue };
                let probed = call.probe.iter().map(|probe| ("/probe/headers", &probe.headers));
                for (field, headers) in [("/headers", &call.headers)].into_iter().chain(probed) {
                    let names = headers.iter().flat_map(|(_, value)| secret::named(value));
                    secrets.extend(names.map(|name| (format!("{}{place}{field}", step.at), name.to_owned())));
                }
            }
        }
        secrets
    }

    /// The number of a step.
    pub fn step(&self, id: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.id == id)
    }
}

impl Action {
    /// The word for it in a definition.
    pub const fn word(&self) -> &'static str {
        self.kind().as_str()
    }

    /// All templates of it.
    pub(crate) fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Call(call) => {
                let probe = call
                    .probe
                    .iter()
                    .flat_map(|probe| std::iter::once(&probe.url).chain(probe.headers.iter().map(|(_, value)| value)));
                std::iter::once(&call.url)
                    .chain(call.headers.iter().map(|(_, value)| value))
                    .chain(&call.body)
                    .chain(probe)
                    .collect()
            }
            Self::Transfer(order) | Self::Hold(order) => [&order.from, &order.to, &order.amount]
                .into_iter()
                .chain(&order.hold_ms)
                .chain(&order.memo)
                .chain(&order.metadata)
                .collect(),
            Self::Capture { amount, .. } | Self::Reverse { amount, .. } => amount.iter().collect(),
            Self::Void { .. } => Vec::new(),
            Self::Event(event) => [&event.topic, &event.kind]
                .into_iter()
                .chain(&event.subject)
                .chain(&event.key)
                .chain(&event.data)
                .collect(),
            Self::Timer(timer) => vec![&timer.for_ms],
            Self::Saga(nested) => nested.input.iter().collect(),
        }
    }
}
