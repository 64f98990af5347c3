//! A message becomes the request that HTTP would have brought, and the answer's JSON a message.
//!
//! There is one reading of each request and one rendering of each answer: JSON's. A message is only another way to write
//! the body's members, the path's and the query's, under the same names, so that what is checked, what a request's
//! fingerprint is taken over and what is answered cannot differ between the two protocols. The ledger has messages that are read by hand
//! beside these, because bulk work goes through them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use words::Key;

use super::key_of;
use super::methods::Method;
use crate::answer::JSON_TYPE;
use crate::codes::Code;
use crate::path::encode;
use crate::problem::Problem;
use crate::proto;

/// A message that asks for something.
pub trait Question: Serialize {
    /// The message that answers.
    type Answer: Told;

    /// The body and its content type, where it is a text of its own and not made of the message's members.
    ///
    /// # Errors
    /// A problem where the message names none, or several.
    fn body(&self) -> Result<Option<(&str, &'static str)>, Problem> {
        Ok(None)
    }
}

/// A message that answers.
pub trait Told: Sized {
    /// The message of HTTP's status and JSON.
    ///
    /// # Errors
    /// What is wrong with the JSON, which is of our own making.
    fn of(status: u16, json: &[u8]) -> Result<Self, serde_json::Error>;
}

/// What HTTP would have brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Form {
    /// The path, percent-encoded, and the query.
    pub target: String,
    /// Of a write, its idempotency key.
    pub key: Option<Key>,
    /// The content type of the body.
    pub content_type: &'static str,
    /// The body; empty of a read.
    pub body: Vec<u8>,
}

/// Writes a message as the request that HTTP would have brought.
///
/// # Errors
/// `malformed-json` for a field that is no JSON text, `invalid-request` for an empty field that stands in the path,
/// `idempotency-key-missing`, `idempotency-key-invalid`.
pub fn form<Q: Question>(method: &Method, message: &Q) -> Result<Form, Problem> {
    let json = serde_json::to_string(message).map_err(|_| not_json(message))?;
    // It was written just now: an object, whose names are plain.
    let mut members: BTreeMap<&str, &RawValue> =
        serde_json::from_str(&json).map_err(|_| Problem::of(Code::Internal))?;
    let mut target = String::with_capacity(64);
    for segment in method.path.split('/').skip(1) {
        target.push('/');
        match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => {
                let value = members.remove(name);
                let value = value.ok_or_else(|| Problem::field(Code::InvalidRequest, name, "is missing"))?;
                encode(&plain(value), &mut target);
            }
            None => target.push_str(segment),
        }
    }
    if !method.is_write() {
        for (at, (name, value)) in members.into_iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            encode(&plain(value), &mut target);
        }
        return Ok(Form { target, key: None, content_type: JSON_TYPE, body: Vec::new() });
    }
    let key = members.remove("idempotency_key").map_or_else(String::new, plain);
    let key = Some(key_of(&key)?);
    let (body, content_type) = match message.body()? {
        Some((text, content_type)) => (text.as_bytes().to_vec(), content_type),
        None => (serde_json::to_vec(&members).map_err(|_| Problem::of(Code::Internal))?, JSON_TYPE),
    };
    Ok(Form { target, key, content_type, body })
}

/// A member as it stands in a path or a query: texts without their quotes.
fn plain(value: &RawValue) -> String {
    serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

/// Which field is no JSON text, and why. The message is written a second time for the path, which the fast way does not keep.
#[cold]
fn not_json<Q: Question>(message: &Q) -> Problem {
    let mut sink = Vec::new();
    let error = serde_path_to_error::serialize(message, &mut serde_json::Serializer::new(&mut sink)).err();
    let field = error.as_ref().map(|error| error.path().to_string());
    let what = error.map_or_else(|| "is no JSON".to_owned(), |error| error.into_inner().to_string());
    Problem::field(Code::MalformedJson, field.as_deref().unwrap_or("body"), what)
}

/// What asks and what answers, where both are plain.
macro_rules! plain {
    ($($question:ident -> $answer:ident,)*) => {
        $(impl Question for proto::$question {
            type Answer = proto::$answer;
        })*
    };
}

/// Answers whose JSON has their members.
macro_rules! told {
    ($($answer:ident,)*) => {
        $(impl Told for proto::$answer {
            fn of(_status: u16, json: &[u8]) -> Result<Self, serde_json::Error> {
                serde_json::from_slice(json)
            }
        })*
    };
}

/// Answers of slow work: its end, or that it was accepted.
macro_rules! told_later {
    ($($answer:ident: $module:ident::$ended:ident,)*) => {
        $(impl Told for proto::$answer {
            fn of(status: u16, json: &[u8]) -> Result<Self, serde_json::Error> {
                use proto::$module::Answer;
                let answer = match status {
                    ACCEPTED => Answer::Accepted(serde_json::from_slice(json)?),
                    _ => Answer::$ended(serde_json::from_slice(json)?),
                };
                Ok(Self { answer: Some(answer) })
            }
        })*
    };
}

/// HTTP's status of what was accepted and has not ended.
const ACCEPTED: u16 = 202;

plain! {
    AcquireLeaseRequest -> AcquireLeaseResponse,
    RenewLeaseRequest -> LeaseRenewed,
    ReleaseLeaseRequest -> LeaseReleased,
    GetLeaseRequest -> Lease,
    ListLeasesRequest -> LeasePage,
}

told! {
    LeaseRenewed,
    LeaseReleased,
    Lease,
    LeasePage,
}

told_later! {
    AcquireLeaseResponse: acquire_lease_response::Granted,
}
