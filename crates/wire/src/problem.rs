//! Errors as strangers see them: `application/problem+json` (RFC 9457), each member always in the same order.
//!
//! A problem made of a machine's refusal is part of an answer that is replayed byte for byte: its sentences are made of
//! what the record holds and of nothing else, and changing their wording changes what old keys replay.

use machine::Refusal;
use words::Outcome;

use crate::answer::Answer;
use crate::codes::Code;
use crate::json::{put_plain, put_str, put_u64};
use crate::path::operation_path;

/// The content type of every problem.
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// How much of a detail is sent, in bytes: it may repeat what a stranger sent.
const DETAIL_BYTES_MAX: usize = 512;
/// How much of a field's name or an item's key is sent, in bytes. No valid one is longer.
const NAME_BYTES_MAX: usize = 255;
/// How many errors of one document are listed.
const ERRORS_MAX: usize = 100;

/// One error, to be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Why.
    pub code: Code,
    /// One or two sentences for a person.
    pub detail: String,
    extra: Box<Extra>,
}

/// Members that only some problems have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Extra {
    operation: Option<String>,
    field: Option<String>,
    line_and_column: Option<(u64, u64)>,
    retry_after_ms: Option<u64>,
    item: Option<(u64, String)>,
    item_code: Option<Code>,
    allowed: Vec<&'static str>,
    could_have: Option<String>,
    /// JSON.
    call: Option<Vec<u8>>,
    /// JSON.
    run: Option<Vec<u8>>,
    /// Where, as a JSON pointer, and what.
    errors: Vec<(String, String)>,
}

impl Problem {
    /// A problem with a detail of its own; what is longer than 512 bytes is cut.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: cut(detail.into(), DETAIL_BYTES_MAX), extra: Box::default() }
    }

    /// A problem that says no more than its code does.
    pub fn of(code: Code) -> Self {
        Self::new(code, code.row().meaning)
    }

    /// A problem with one field, parameter or header: `<field>: <what>`.
    pub fn field(code: Code, field: &str, what: impl std::fmt::Display) -> Self {
        let mut problem = Self::new(code, format!("{field}: {what}"));
        problem.extra.field = Some(cut(field.to_owned(), NAME_BYTES_MAX));
        problem
    }

    /// A machine's refusal of the operation under `key`.
    pub fn of_refusal(refusal: &Refusal<'_>, key: &str) -> Self {
        Self::new(refusal.code.into(), sentence(refusal)).with_operation(key)
    }

    /// The atomic batch under `key`, refused because of one item.
    pub fn of_batch(item: u64, item_key: &str, refusal: &Refusal<'_>, key: &str) -> Self {
        let code = Code::from(refusal.code);
        let detail = format!("Item {item} ({item_key}) was refused with {code}: {}", sentence(refusal));
        let mut problem = Self::new(Code::BatchRefused, detail).with_operation(key);
        problem.extra.item = Some((item, item_key.to_owned()));
        problem.extra.item_code = Some(code);
        problem
    }

    /// The operation under `key` was barred by settle.
    pub fn of_barred(key: &str) -> Self {
        let refusal = Refusal { code: machine::Code::OperationBarred, about: key, had: 0, wanted: 0 };
        Self::of_refusal(&refusal, key)
    }

    /// Adds `operation`: where to ask for what became of the operation under `key`.
    #[must_use]
    pub fn with_operation(mut self, key: &str) -> Self {
        if !key.is_empty() {
            self.extra.operation = Some(operation_path(key));
        }
        self
    }

    /// Adds `retry_after_ms`.
    #[must_use]
    pub fn with_retry_after_ms(mut self, ms: u64) -> Self {
        self.extra.retry_after_ms = Some(ms);
        self
    }

    /// Adds `allowed`: the methods that a path takes.
    #[must_use]
    pub fn with_allowed(mut self, methods: &[&'static str]) -> Self {
        self.extra.allowed = methods.to_vec();
        self
    }

    /// Adds `could_have`: the consistency that could be had instead, in the form of the request's header.
    #[must_use]
    pub fn with_could_have(mut self, level: impl Into<String>) -> Self {
        self.extra.could_have = Some(level.into());
        self
    }

    /// Says that it is about a member of `parent`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.detail = format!("{parent}.{}", self.detail);
        self.extra.field = self.extra.field.map(|field| format!("{parent}.{field}"));
        self
    }

    /// Adds `call`: what became of a durable call, as JSON.
    #[must_use]
    pub(crate) fn with_call(mut self, json: Vec<u8>) -> Self {
        self.extra.call = Some(json);
        self
    }

    /// Adds `run`: what became of a run, as JSON.
    #[must_use]
    pub(crate) fn with_run(mut self, json: Vec<u8>) -> Self {
        self.extra.run = Some(json);
        self
    }

    /// Adds `errors`: everything that is wrong with a document, each with its JSON pointer (RFC 6901). The first hundred
    /// are listed.
    #[must_use]
    pub fn with_errors(mut self, errors: impl IntoIterator<Item = (String, String)>) -> Self {
        let errors = errors.into_iter().take(ERRORS_MAX);
        self.extra.errors = errors.map(|(at, what)| (cut(at, DETAIL_BYTES_MAX), cut(what, DETAIL_BYTES_MAX))).collect();
        self
    }

    /// Adds `line` and `column`, both from 1.
    #[must_use]
    pub fn with_line_and_column(mut self, line: usize, column: usize) -> Self {
        self.extra.line_and_column = Some((line as u64, column as u64));
        self
    }

    /// Says which item of the batch it is about.
    #[must_use]
    pub(crate) fn in_item(mut self, item: u64, key: &str) -> Self {
        let prefix = format!("items[{item}]");
        self.detail = format!("{prefix}.{}", self.detail);
        self.extra.field = self.extra.field.map(|field| format!("{prefix}.{field}"));
        self.extra.item = Some((item, cut(key.to_owned(), NAME_BYTES_MAX)));
        self
    }

    /// What became of the operation.
    pub const fn outcome(&self) -> Outcome {
        self.code.outcome()
    }

    /// The path of the operation, if it has one.
    pub fn operation(&self) -> Option<&str> {
        self.extra.operation.as_deref()
    }

    /// How long to wait before trying again, for `Retry-After`.
    pub const fn retry_after_ms(&self) -> Option<u64> {
        self.extra.retry_after_ms
    }

    /// The field, parameter or header it is about.
    pub fn field_name(&self) -> Option<&str> {
        self.extra.field.as_deref()
    }

    /// The item of the batch it is about, from 0, and that item's key.
    pub fn item(&self) -> Option<(u64, &str)> {
        self.extra.item.as_ref().map(|(item, key)| (*item, key.as_str()))
    }

    /// Why that item was refused.
    pub const fn item_code(&self) -> Option<Code> {
        self.extra.item_code
    }

    /// Appends the JSON.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let row = self.code.row();
        out.extend_from_slice(b"{\"type\":\"/errors/");
        out.extend_from_slice(row.text.as_bytes());
        out.extend_from_slice(b"\",\"title\":");
        put_str(out, row.title);
        out.extend_from_slice(b",\"status\":");
        put_u64(out, row.status.into());
        out.extend_from_slice(b",\"detail\":");
        put_str(out, &self.detail);
        out.extend_from_slice(b",\"code\":");
        put_plain(out, row.text);
        out.extend_from_slice(b",\"outcome\":");
        put_plain(out, row.outcome.as_str());
        self.extra.write_json(out);
        out.push(b'}');
    }

    /// The whole answer.
    pub fn answer(&self) -> Answer {
        let mut body = Vec::with_capacity(320);
        self.write_json(&mut body);
        Answer {
            status: self.code.status(),
            content_type: PROBLEM_TYPE,
            outcome: self.outcome(),
            code: Some(self.code),
            body,
        }
    }
}

impl Extra {
    fn write_json(&self, out: &mut Vec<u8>) {
        let text = |out: &mut Vec<u8>, name: &str, value: Option<&str>| {
            if let Some(value) = value {
                out.extend_from_slice(name.as_bytes());
                put_str(out, value);
            }
        };
        let number = |out: &mut Vec<u8>, name: &str, value: Option<u64>| {
            if let Some(value) = value {
                out.extend_from_slice(name.as_bytes());
                put_u64(out, value);
            }
        };
        text(out, ",\"operation\":", self.operation.as_deref());
        text(out, ",\"field\":", self.field.as_deref());
        number(out, ",\"line\":", self.line_and_column.map(|(line, _)| line));
        number(out, ",\"column\":", self.line_and_column.map(|(_, column)| column));
        number(out, ",\"retry_after_ms\":", self.retry_after_ms);
        number(out, ",\"item\":", self.item.as_ref().map(|(item, _)| *item));
        text(out, ",\"item_key\":", self.item.as_ref().map(|(_, key)| key.as_str()));
        text(out, ",\"item_code\":", self.item_code.map(Code::as_str));
        text(out, ",\"could_have\":", self.could_have.as_deref());
        if let Some(call) = &self.call {
            out.extend_from_slice(b",\"call\":");
            out.extend_from_slice(call);
        }
        if let Some(run) = &self.run {
            out.extend_from_slice(b",\"run\":");
            out.extend_from_slice(run);
        }
        for (at, (pointer, what)) in self.errors.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b",\"errors\":[" } else { b"," });
            out.extend_from_slice(b"{\"pointer\":");
            put_str(out, pointer);
            out.extend_from_slice(b",\"detail\":");
            put_str(out, what);
            out.push(b'}');
        }
        if !self.errors.is_empty() {
            out.push(b']');
        }
        if !self.allowed.is_empty() {
            out.extend_from_slice(b",\"allowed\":[");
            for (at, method) in self.allowed.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                put_plain(out, method);
            }
            out.push(b']');
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

/// At most `bytes_max` bytes of a text, and an ellipsis where there was more.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}

/// What a refusal means, in one sentence that is the same each time.
fn sentence(refusal: &Refusal<'_>) -> String {
    use machine::Code as C;
    let Refusal { code, about, had, wanted } = *refusal;
    match code {
        C::DeadlineExceeded => "The deadline passed before the operation's entry was appended.".to_owned(),
        C::KeyReused => "The key was first used with another request, which stays as it was.".to_owned(),
        C::OperationBarred => "The key was settled before its operation came, which now never will happen.".to_owned(),
        C::KeyExpired => "The key carries its own time, and that is longer ago than decided keys are kept.".to_owned(),
        C::AmountInvalid => "An amount is 1 to 2^127-1, and a hold lasts 1 ms to 366 days.".to_owned(),
        C::SameAccount => format!("From and to are the same account, {about}."),
        C::AccountNotFound => format!("There is no account {about}."),
        C::AccountExists => format!("The account {about} exists already."),
        C::TransferNotFound => format!("There is no transfer {about}."),
        C::UnitMismatch => format!("Account {about} counts another unit than the other account."),
        C::HoldClosed => format!("Transfer {about} is not held."),
        C::ExceedsHold => format!("Transfer {about} holds {had}, and {wanted} was asked for."),
        C::ExceedsPosted => format!("Transfer {about} has {had} left to reverse, and {wanted} was asked for."),
        C::Overflow => format!("The balance of account {about} would leave the range of -(2^127-1) to 2^127-1."),
        C::InsufficientFunds => {
            format!("Account {about} has {had} available, and taking {wanted} would leave less than its floor.")
        }
        C::BatchRefused => "An item of the atomic batch was refused, and so all of it.".to_owned(),
        C::TopicReserved => format!("The topic {about} is the server's own."),
        C::TooMany => format!("There are {had} topics or subscriptions already, and {about} would be one more."),
        C::SubscriptionNotFound => format!("There is no subscription {about}."),
        C::DeadLetterNotFound => format!("Subscription {about} has no dead letter at offset {wanted}."),
        C::SagaNotFound => format!("There is no saga {about}."),
        C::TooManySagas => format!("There are {had} sagas already, and {about} would be one more."),
        C::RunNotFound => "There is no such run.".to_owned(),
        C::RunState => "The run is in no state for this.".to_owned(),
        C::RunPastPivot => "The run is past its pivot and goes only forward.".to_owned(),
        C::StepNotFound => "The run has no such step.".to_owned(),
        C::RunTooDeep => format!("A run of {about} would be nested too deep."),
        C::NotUncertain => format!("The call {had} is not uncertain."),
        C::LeaseCapacity => {
            format!("The lease {about} has room for {had} while it is in use, and {wanted} was asked for.")
        }
        C::TooManyLeases => {
            format!("{had} hold leases or wait for one, or wait for {about}, already: that is the most.")
        }
        C::LeaseLost if had > 0 => {
            format!("The lease {about} is not held under token {wanted}; the newest it is held under is {had}.")
        }
        C::LeaseLost => format!("The lease {about} is not held under token {wanted}."),
        C::LeaseHeld => {
            format!("The lease {about} is held by {had}; the first of them expires in {wanted} ms if not renewed.")
        }
        C::CallUnderWay => format!("An attempt at the call {had} is under way, for {wanted} ms more at most."),
    }
}

#[cfg(test)]
mod tests;
