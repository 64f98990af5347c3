//! How a write ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The three outcomes. There is never a fourth, and never a guess.
#[derive(Clone, PartialEq, Debug)]
#[must_use = "only the outcome tells whether it happened"]
pub enum Outcome<T> {
    /// It happened, once. This is its answer.
    Committed(T),
    /// It certainly did not happen.
    Refused(Problem),
    /// Nobody knows yet, and settling it could not be done in time either.
    Uncertain(Uncertain),
}

/// What is known of an operation that nobody knows the end of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uncertain {
    /// Where to ask: `GET` this path of the server, or `POST` to `<path>/settle` to make it definite.
    pub operation: String,
    /// What was seen last: a lost connection, silence.
    pub reason: String,
    /// Whether the server may have had any request of this call. If not, this call did nothing, and what an earlier one did
    /// under the same key is as unknown as before: send it again with that key.
    pub sent: bool,
}

/// An outcome with what belongs to it.
#[derive(Clone, PartialEq, Debug)]
#[must_use = "only the outcome tells whether it happened"]
pub struct Answer<T> {
    /// How it ended.
    pub outcome: Outcome<T>,
    /// The operation's key: the one given, or the one that was made.
    pub key: String,
    /// It was decided by an earlier request, of this call or of another one, and this is the first answer again.
    pub replayed: bool,
    /// Another request with the same key was in flight, and this is its answer.
    pub joined: bool,
    /// Time had run out, and settling made it definite.
    pub settled: bool,
    /// The log entry that decided it: `<cell>:<epoch>:<index>`.
    pub position: Option<String>,
    /// How many requests were sent, those of the settling not counted.
    pub attempts: u32,
}

/// Why something did not happen: RFC 9457 problem details, as the server sent them.
///
/// Two codes are this client's own, where no server ever spoke: `unreachable` (no request left this machine whole, and its
/// key was made for this call, so that nobody else can have used it) and `invalid-request` (what was asked for cannot be
/// written down).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The remedy page: a path on the server.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// A short name for people.
    pub title: String,
    /// The HTTP status; 0 where no server spoke.
    pub status: u16,
    /// What was wrong with this request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The reason, stable: one of the server's table.
    pub code: String,
    /// `refused` or `uncertain`.
    pub outcome: String,
    /// Where to ask for the operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Of a refused batch: which item refused it, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u64>,
    /// Of a refused batch: that item's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_key: Option<String>,
    /// Of a refused batch: that item's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_code: Option<String>,
    /// Of a run that was not done: how it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Box<serde_json::Value>>,
    /// Of a document: everything that is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Wrong>,
}

/// One thing that is wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Wrong {
    /// Where: a JSON pointer (RFC 6901), empty for all of it.
    pub pointer: String,
    /// What.
    pub detail: String,
}

/// A write that did not commit, as an error.
#[derive(Clone, PartialEq, Debug)]
pub enum NotCommitted {
    /// It certainly did not happen.
    Refused(Box<Problem>),
    /// Nobody knows yet. Treating this like a refusal loses money or moves it twice.
    Uncertain(Uncertain),
}

impl<T> Outcome<T> {
    /// The word for it.
    pub fn word(&self) -> words::Outcome {
        match self {
            Self::Committed(_) => words::Outcome::Committed,
            Self::Refused(_) => words::Outcome::Refused,
            Self::Uncertain(_) => words::Outcome::Uncertain,
        }
    }

    /// The answer, where it committed.
    ///
    /// # Errors
    /// The other two outcomes.
    pub fn into_result(self) -> Result<T, NotCommitted> {
        match self {
            Self::Committed(answer) => Ok(answer),
            Self::Refused(problem) => Err(NotCommitted::Refused(Box::new(problem))),
            Self::Uncertain(uncertain) => Err(NotCommitted::Uncertain(uncertain)),
        }
    }
}

impl<T> Answer<T> {
    /// The answer, where it committed.
    ///
    /// # Errors
    /// The other two outcomes.
    pub fn into_result(self) -> Result<T, NotCommitted> {
        self.outcome.into_result()
    }
}

impl Problem {
    /// A problem that no server has named.
    pub(crate) fn own(code: &str, title: &str, detail: impl fmt::Display) -> Self {
        Self {
            title: title.to_owned(),
            detail: detail.to_string(),
            code: code.to_owned(),
            outcome: words::Outcome::Refused.as_str().to_owned(),
            ..Self::default()
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code)?;
        f.write_str(if self.detail.is_empty() { &self.title } else { &self.detail })
    }
}

impl fmt::Display for NotCommitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(problem) => write!(f, "refused, {problem}"),
            Self::Uncertain(uncertain) => {
                write!(f, "uncertain ({}), ask {}", uncertain.reason, uncertain.operation)
            }
        }
    }
}

impl std::error::Error for NotCommitted {}
