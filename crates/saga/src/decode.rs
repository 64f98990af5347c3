//! From one JSON value to a definition, noting everything that is wrong on the way.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::definition::{
    ATTEMPTS_MAX, Action, Bounds, CALL_ATTEMPTS_MAX, CALL_TIMEOUT_MS, COMPENSATION_TIMEOUT_MS, Call, Compensation,
    DEADLINE_MS, Definition, Doubt, Event, HOLD_MS, NESTED_TIMEOUT_MS, Nested, Order, Probe, STEPS_MAX, Step,
    TIMEOUT_MS, TIMER_MS, Timer, UNCERTAIN_MS,
};
use crate::evaluate::take;
use crate::fault::{DefinitionError, Fault};
use crate::fields::{Fields, Problems, id};
use crate::run_expression::a_type;
use crate::template::{Template, pointer};
use crate::{input, keep, link, plan, secret};

/// Where a document comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// From somebody who can still put it right.
    Author,
    /// From the log, which took it on: it is as right as it was then.
    Log,
}

/// Reads a definition.
pub(crate) fn definition(document: Value, from: Source) -> Result<Definition, DefinitionError> {
    let mut problems = Problems::default();
    let known = &["name", "description", "deadline_ms", "input", "steps", "output"];
    let Some(fields) = Fields::read(&document, "", known, &mut problems) else {
        return Err(problems.check().expect_err("that it is no object was noted"));
    };
    let name = fields.need_id("name", &mut problems).unwrap_or_default();
    let description = fields.text("description", &mut problems).unwrap_or_default().to_owned();
    let deadline_ms = fields.number("deadline_ms", DEADLINE_MS, &mut problems);
    let parameters = fields.get("input").and_then(|value| input::read(value, "/input", &mut problems));
    let mut decoder = Decoder { problems, steps: Vec::new(), waits: Vec::new() };
    if fields.need("steps", &mut decoder.problems).is_some() {
        decoder.list(&fields, "steps", true, &[]);
    }
    let Decoder { mut problems, mut steps, waits } = decoder;
    if steps.len() > STEPS_MAX {
        problems.push("/steps", Fault::TooManySteps { steps: steps.len() });
        return Err(problems.check().expect_err("that there are too many was noted"));
    }
    let output = fields.template("output", |_, value| Ok(value), &mut problems);
    link::link(&mut steps, &waits, output.as_ref(), &mut problems);
    if from == Source::Log {
        // Definitions from before headers could be kept may name them all the same: they give nothing, then as now.
        problems.forgive(|fault| !matches!(fault, Fault::HeaderNotKept { .. }));
    }
    problems.check()?;
    let plan = plan::of(deadline_ms, &steps, output.as_ref());
    Ok(Definition { name, description, deadline_ms, input: parameters, steps, output, document, plan })
}

/// A step that says itself what it waits for.
pub(crate) struct Waits {
    pub(crate) step: usize,
    /// The id, and where it stands.
    pub(crate) after: Vec<(String, String)>,
}

struct Decoder {
    problems: Problems,
    steps: Vec<Step>,
    waits: Vec<Waits>,
}

const STEP: &[&str] = &[
    "id",
    "call",
    "transfer",
    "hold",
    "capture",
    "void",
    "reverse",
    "event",
    "timer",
    "saga",
    "after",
    "timeout_ms",
    "attempts_max",
    "compensate",
    "pivot",
    "compensate_after_pivot",
];
const KINDS: &[&str] = &["call", "transfer", "hold", "capture", "void", "reverse", "event", "timer", "saga"];
const COMPENSATION: &[&str] = &["call", "transfer", "void", "reverse", "event", "saga", "timeout_ms"];
const COMPENSATION_KINDS: &[&str] = &["call", "transfer", "void", "reverse", "event", "saga"];
const METHODS: &[&str] = &["POST", "PUT", "PATCH", "DELETE"];
const OUTCOMES: &[&str] = &["committed", "refused", "uncertain"];

impl Decoder {
    /// Steps in a row, or beside each other. Gives those that whatever follows must wait for.
    fn list(&mut self, fields: &Fields<'_>, name: &str, in_a_row: bool, before: &[u32]) -> Vec<u32> {
        let at = fields.at(name);
        let Some(items) = fields.list(name, &mut self.problems) else { return before.to_vec() };
        if items.is_empty() {
            self.problems.push(&at, Fault::NoSteps);
        }
        let mut ends = if in_a_row || items.is_empty() { before.to_vec() } else { Vec::new() };
        for (index, item) in items.iter().enumerate() {
            let at = format!("{at}/{index}");
            if in_a_row {
                ends = self.item(item, &at, &ends);
            } else {
                ends.extend(self.item(item, &at, before));
            }
        }
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    fn item(&mut self, value: &Value, at: &str, before: &[u32]) -> Vec<u32> {
        for (name, in_a_row) in [("parallel", false), ("sequence", true)] {
            if value.get(name).is_some() {
                let known = if in_a_row { &["sequence"] } else { &["parallel"] };
                return match Fields::read(value, at, known, &mut self.problems) {
                    Some(fields) => self.list(&fields, name, in_a_row, before),
                    None => before.to_vec(),
                };
            }
        }
        let number = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        match Fields::read(value, at, STEP, &mut self.problems) {
            None => before.to_vec(),
            Some(fields) if self.step(&fields, before) => before.iter().copied().chain([number]).collect(),
            Some(_) => vec![number],
        }
    }

    /// Adds a step. Gives whether it says itself what it waits for.
    fn step(&mut self, fields: &Fields<'_>, before: &[u32]) -> bool {
        let id = fields.need_id("id", &mut self.problems).unwrap_or_default();
        let action = self.action(fields, KINDS, None);
        let (timeout, attempts) = match action {
            Some(Action::Call(_)) => (CALL_TIMEOUT_MS, CALL_ATTEMPTS_MAX),
            Some(Action::Saga(_)) => (NESTED_TIMEOUT_MS, ATTEMPTS_MAX),
            _ => (TIMEOUT_MS, ATTEMPTS_MAX),
        };
        let explicit = fields.list("after", &mut self.problems).map(|items| self.ids(items, &fields.at("after")));
        let is_explicit = explicit.is_some();
        if let Some(after) = explicit {
            self.waits.push(Waits { step: self.steps.len(), after });
        }
        let problems = &mut self.problems;
        let timeout_ms = fields.number("timeout_ms", timeout, problems);
        let attempts_max = fields.number("attempts_max", attempts, problems);
        let pivot = fields.flag("pivot", problems);
        let compensate_after_pivot = fields.flag("compensate_after_pivot", problems);
        if compensate_after_pivot && fields.get("compensate").is_none() {
            let fault = Fault::Needs { field: "compensate_after_pivot", needs: "`compensate`" };
            problems.push(&fields.at("compensate_after_pivot"), fault);
        }
        let compensation = self.compensation(fields, action.as_ref());
        self.steps.push(Step {
            id,
            // Without an action there is a problem, and the definition is not used.
            action: action.unwrap_or(Action::Void { of: String::new() }),
            // Beyond the most there may be, nobody asks what waits for what any more.
            after: if is_explicit || self.steps.len() >= STEPS_MAX { Vec::new() } else { before.to_vec() },
            timeout_ms,
            attempts_max: u32::try_from(attempts_max).expect("within its bounds"),
            pivot,
            compensation,
            compensate_after_pivot,
            at: fields.at.clone(),
        });
        is_explicit
    }

    fn ids(&mut self, items: &[Value], at: &str) -> Vec<(String, String)> {
        let places = items.iter().enumerate().map(|(index, item)| (item, format!("{at}/{index}")));
        places.filter_map(|(item, at)| Some((id(item, &at, &mut self.problems)?, at))).collect()
    }

    fn compensation(&mut self, step: &Fields<'_>, of: Option<&Action>) -> Option<Compensation> {
        let fields = Fields::read(step.get("compensate")?, &step.at("compensate"), COMPENSATION, &mut self.problems)?;
        let action = self.action(&fields, COMPENSATION_KINDS, of)?;
        Some(Compensation {
            action,
            timeout_ms: fields.number("timeout_ms", COMPENSATION_TIMEOUT_MS, &mut self.problems),
        })
    }

    /// The one thing that is done. `undoes` is the action that this one undoes, if it does.
    fn action(
        &mut self,
        fields: &Fields<'_>,
        kinds: &'static [&'static str],
        undoes: Option<&Action>,
    ) -> Option<Action> {
        let named: Vec<_> = kinds.iter().copied().filter(|kind| fields.get(kind).is_some()).collect();
        let &[kind] = named.as_slice() else {
            self.problems.push(&fields.at, Fault::NotOneKind { named, known: kinds });
            return None;
        };
        let (value, at) = (fields.get(kind)?, fields.at(kind));
        let problems = &mut self.problems;
        match (kind, undoes) {
            ("call", undoes) => call(value, &at, undoes.is_some(), problems).map(|call| Action::Call(Box::new(call))),
            ("transfer", _) => order(value, &at, false, problems).map(|order| Action::Transfer(Box::new(order))),
            ("hold", _) => order(value, &at, true, problems).map(|order| Action::Hold(Box::new(order))),
            ("event", _) => event(value, &at, problems).map(|event| Action::Event(Box::new(event))),
            ("timer", _) => timer(value, &at, problems).map(Action::Timer),
            ("saga", _) => nested(value, &at, problems).map(Action::Saga),
            ("void" | "reverse", Some(undone)) => of_itself(kind, value, &at, undone, problems),
            _ => of_another(kind, value, &at, problems),
        }
    }
}

/// `{"void": true}` and `{"reverse": true}`: of the step that they undo.
fn of_itself(kind: &str, value: &Value, at: &str, undone: &Action, problems: &mut Problems) -> Option<Action> {
    if *value != Value::Bool(true) {
        problems.push(at, Fault::WrongType { wanted: "true", found: a_type(value) });
        return None;
    }
    let fault = |field, needs| Fault::Needs { field, needs };
    match (kind, undone) {
        ("void", Action::Hold(_)) => Some(Action::Void { of: String::new() }),
        ("void", _) => {
            problems.push(at, fault("void", "a step that is a hold"));
            None
        }
        (_, Action::Transfer(_) | Action::Capture { .. }) => Some(Action::Reverse { of: String::new(), amount: None }),
        _ => {
            problems.push(at, fault("reverse", "a step that is a transfer or a capture"));
            None
        }
    }
}

fn of_another(kind: &str, value: &Value, at: &str, problems: &mut Problems) -> Option<Action> {
    let known: &[&str] = if kind == "void" { &["of"] } else { &["of", "amount"] };
    let fields = Fields::read(value, at, known, problems)?;
    let of = fields.need_id("of", problems);
    let amount = fields.template("amount", take::amount, problems);
    Some(match kind {
        "capture" => Action::Capture { of: of?, amount },
        "void" => Action::Void { of: of? },
        _ => Action::Reverse { of: of?, amount },
    })
}

fn order(value: &Value, at: &str, held: bool, problems: &mut Problems) -> Option<Order> {
    let known: &[&str] = match held {
        true => &["from", "to", "amount", "hold_ms", "memo", "metadata"],
        false => &["from", "to", "amount", "memo", "metadata"],
    };
    let fields = Fields::read(value, at, known, problems)?;
    let hold_ms = |problems: &mut _| {
        let given = fields.template("hold_ms", |name, value| take::duration(name, value, HOLD_MS), problems);
        given.unwrap_or_else(|| Template::Fixed(HOLD_MS.default.into()))
    };
    Some(Order {
        from: fields.need_template("from", take::id, problems),
        to: fields.need_template("to", take::id, problems),
        amount: fields.need_template("amount", take::amount, problems),
        hold_ms: held.then(|| hold_ms(problems)),
        memo: fields.template("memo", take::memo, problems),
        metadata: fields.template("metadata", take::metadata, problems),
    })
}

fn event(value: &Value, at: &str, problems: &mut Problems) -> Option<Event> {
    let fields = Fields::read(value, at, &["topic", "type", "subject", "key", "data"], problems)?;
    Some(Event {
        topic: fields.need_template("topic", take::id, problems),
        kind: fields.need_template("type", take::id, problems),
        subject: fields.template("subject", take::memo, problems),
        key: fields.template("key", take::memo, problems),
        data: fields.template("data", |_, value| Ok(value), problems),
    })
}

fn timer(value: &Value, at: &str, problems: &mut Problems) -> Option<Timer> {
    let fields = Fields::read(value, at, &["for_ms"], problems)?;
    let check = |name: &str, value| take::duration(name, value, TIMER_MS);
    Some(Timer { for_ms: fields.need_template("for_ms", check, problems) })
}

fn nested(value: &Value, at: &str, problems: &mut Problems) -> Option<Nested> {
    let fields = Fields::read(value, at, &["name", "input"], problems)?;
    let input = fields.template("input", |_, value| Ok(value), problems);
    Some(Nested { name: fields.need_id("name", problems)?, input })
}

const CALL: &[&str] =
    &["method", "url", "headers", "body", "on_uncertain", "probe", "persistent", "uncertain_ms_max", "keep"];

fn call(value: &Value, at: &str, undoes: bool, problems: &mut Problems) -> Option<Call> {
    let fields = Fields::read(value, at, CALL, problems)?;
    let probe = fields.get("probe").and_then(|value| probe(value, &fields.at("probe"), problems));
    let otherwise = if fields.get("probe").is_some() { Doubt::Probe } else { Doubt::Resend };
    let doubts = &[Doubt::Probe, Doubt::Resend, Doubt::Escalate];
    let doubt = fields.word("on_uncertain", &["probe", "resend", "escalate"], doubts, otherwise, problems);
    if doubt == Doubt::Probe && fields.get("probe").is_none() {
        problems.push(&fields.at("on_uncertain"), Fault::Needs { field: "on_uncertain", needs: "`probe`" });
    }
    let method = fields.word("method", METHODS, METHODS, "POST", problems).to_owned();
    let url = fields.need_template("url", take::url, problems);
    let headers = headers(&fields, &url, problems);
    Some(Call {
        method,
        url,
        headers,
        body: fields.template("body", take::body, problems),
        doubt,
        probe,
        persistent: fields.flag("persistent", problems),
        uncertain_ms_max: fields.number("uncertain_ms_max", UNCERTAIN_MS, problems),
        kept_headers: keep::read(&fields, undoes, problems),
    })
}

fn probe(value: &Value, at: &str, problems: &mut Problems) -> Option<Probe> {
    let fields = Fields::read(value, at, &["url", "headers", "status", "pointer", "values"], problems)?;
    let status = meanings(&fields, "status", problems);
    for word in status.keys().filter(|word| !is_status(word)) {
        let fault = Fault::WrongType { wanted: "an HTTP status", found: "another name" };
        problems.push(&pointer(&fields.at("status"), word), fault);
    }
    let place = fields.text("pointer", problems);
    if place.is_some_and(|place| !place.starts_with('/')) {
        let fault = Fault::WrongType { wanted: "a JSON pointer, which begins with /", found: "another text" };
        problems.push(&fields.at("pointer"), fault);
    }
    for (field, needs) in [("pointer", "values"), ("values", "pointer")] {
        if fields.get(field).is_some() && fields.get(needs).is_none() {
            let needs = if needs == "values" { "`values`" } else { "`pointer`" };
            problems.push(&fields.at(field), Fault::Needs { field, needs });
        }
    }
    let values = meanings(&fields, "values", problems);
    let url = fields.need_template("url", take::url, problems);
    let headers = headers(&fields, &url, problems);
    Some(Probe { url, headers, status, value: place.map(|place| (place.to_owned(), values)) })
}

/// What answers mean: names with the words of outcomes.
fn meanings(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> BTreeMap<String, String> {
    let at = fields.at(name);
    let given = fields.get(name).and_then(|value| crate::fields::object(value, &at, problems));
    let mut meanings = BTreeMap::new();
    for (answer, value) in given.into_iter().flatten() {
        let at = pointer(&at, answer);
        let Some(word) = crate::fields::text(value, &at, problems) else { continue };
        if !OUTCOMES.contains(&word) {
            problems.push(&at, Fault::UnknownWord { word: word.to_owned(), known: OUTCOMES });
        }
        meanings.insert(answer.clone(), word.to_owned());
    }
    meanings
}

fn is_status(text: &str) -> bool {
    text.len() == 3 && text.parse::<u16>().is_ok_and(|status| (100..600).contains(&status))
}

fn headers(fields: &Fields<'_>, url: &Template, problems: &mut Problems) -> Vec<(String, Template)> {
    let at = fields.at("headers");
    let given = fields.get("headers").and_then(|value| crate::fields::object(value, &at, problems));
    let mut headers = Vec::new();
    for (name, value) in given.into_iter().flatten() {
        let at = pointer(&at, name);
        let is_known = headers.iter().any(|(known, _): &(String, _)| known.eq_ignore_ascii_case(name));
        if is_known || !is_header(name) {
            problems.push(&at, Fault::Header { name: name.clone() });
        }
        let template = Template::read_header(value, &at, problems);
        if let Some(fixed) = template.fixed()
            && let Err(error) = take::header(name, fixed.clone())
        {
            problems.push(&at, error.into());
        }
        if !secret::named(&template).is_empty() && !secret::has_fixed_host(url) {
            let needs = "a URL whose host is written down: it goes to nobody else";
            problems.push(&at, Fault::Needs { field: "${secret:...}", needs });
        }
        headers.push((name.clone(), template));
    }
    headers
}

/// A field name (RFC 9110, section 5.1) that is not the server's own business.
fn is_header(name: &str) -> bool {
    const OURS: &[&str] = &[
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "idempotency-key",
        "x-request-deadline",
        "traceparent",
        "tracestate",
        "baggage",
        "grpc-timeout",
    ];
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let lower = name.to_ascii_lowercase();
    (1..=64).contains(&name.len())
        && name.bytes().all(is_token)
        && !OURS.contains(&lower.as_str())
        && (!lower.starts_with("tertium-") || lower == "tertium-fence")
        && !lower.starts_with("proxy-")
}

const _: () = {
    const fn is_within(bounds: Bounds) -> bool {
        bounds.least <= bounds.default && bounds.default <= bounds.most
    }
    let all = [
        ATTEMPTS_MAX,
        CALL_ATTEMPTS_MAX,
        CALL_TIMEOUT_MS,
        COMPENSATION_TIMEOUT_MS,
        DEADLINE_MS,
        HOLD_MS,
        NESTED_TIMEOUT_MS,
        TIMEOUT_MS,
        TIMER_MS,
        UNCERTAIN_MS,
    ];
    let mut at = 0;
    while at < all.len() {
        assert!(is_within(all[at]), "what is not given is within its bounds too");
        at += 1;
    }
};
