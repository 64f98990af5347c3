//! A message becomes the request that HTTP would have brought, and the answer's JSON a message.
//!
//! There is one reading of each request and one rendering of each answer: JSON's. A message is only another way to write
//! the body's members, the path's and the query's, under the same names, so that what is checked, what a request's
//! fingerprint is taken over and what is answered cannot differ between the two protocols. The ledger has messages that are read by hand
//! beside these, because bulk work goes through them.

use std::collections::BTreeMap;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use words::Key;

use super::key_given;
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
    fn body(&self) -> Result<Option<(&str, &str)>, Problem> {
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
    pub content_type: String,
    /// The body; empty of a read.
    pub body: Vec<u8>,
}

/// Writes a message as the request that HTTP would have brought; `keys` are the idempotency keys in its metadata.
///
/// # Errors
/// `malformed-json` for a field that is no JSON text, `invalid-request` for an empty field that stands in the path,
/// `idempotency-key-missing`, `idempotency-key-invalid`.
pub fn form<'a, Q: Question>(
    method: &Method,
    message: &Q,
    keys: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Form, Problem> {
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
        return Ok(Form { target, key: None, content_type: JSON_TYPE.to_owned(), body: Vec::new() });
    }
    let key = members.remove("idempotency_key").map_or_else(String::new, plain);
    let key = Some(key_given(&key, keys)?);
    let (body, content_type) = match message.body()? {
        Some((text, "")) => (text.as_bytes().to_vec(), JSON_TYPE),
        Some((text, content_type)) => (text.as_bytes().to_vec(), content_type),
        None => (serde_json::to_vec(&members).map_err(|_| Problem::of(Code::Internal))?, JSON_TYPE),
    };
    Ok(Form { target, key, content_type: content_type.to_owned(), body })
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

impl Question for proto::PutSagaRequest {
    type Answer = proto::SagaVersion;

    fn body(&self) -> Result<Option<(&str, &str)>, Problem> {
        Ok(Some((&self.definition, &self.content_type)))
    }
}

impl Question for proto::PublishRequest {
    type Answer = proto::Published;

    fn body(&self) -> Result<Option<(&str, &str)>, Problem> {
        match (self.body.is_empty(), self.events.is_empty()) {
            (true, _) => Ok(None),
            (false, true) => Ok(Some((&self.body, &self.content_type))),
            (false, false) => Err(Problem::field(Code::InvalidRequest, "body", "is not given together with events")),
        }
    }
}

/// An event is told whole, beside what everybody looks at.
impl<'de> Deserialize<'de> for proto::Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let event = Box::<RawValue>::deserialize(deserializer)?;
        let Head { kind, offset } = serde_json::from_str(event.get()).map_err(D::Error::custom)?;
        let offset = offset.parse().map_err(D::Error::custom)?;
        Ok(Self { offset, r#type: kind, event_json: event.get().to_owned() })
    }
}

/// What everybody looks at of an event.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "tertiumoffset")]
    offset: String,
}

plain! {
    MakeCallRequest -> MakeCallResponse,
    ListUncertainRequest -> UncertainPage,
    ResolveRequest -> Resolved,
    ListTopicsRequest -> TopicPage,
    PutTopicRequest -> TopicKept,
    ListEventsRequest -> EventPage,
    FollowEventsRequest -> EventPage,
    ListSubscriptionsRequest -> SubscriptionPage,
    GetSubscriptionRequest -> Subscription,
    PutSubscriptionRequest -> SubscriptionSet,
    DeleteSubscriptionRequest -> SubscriptionNamed,
    FetchEventsRequest -> EventPage,
    AcknowledgeRequest -> Acknowledged,
    ListDeadLettersRequest -> DeadLetterPage,
    ReplayDeadLettersRequest -> DeadLettersReplayed,
    DropDeadLettersRequest -> DeadLettersDropped,
    ListSagasRequest -> SagaPage,
    GetSagaRequest -> SagaDefined,
    StartRunRequest -> StartRunResponse,
    ListRunsRequest -> RunPage,
    GetRunRequest -> Run,
    ControlRunRequest -> RunControlled,
    RestartRunRequest -> RunControlled,
    ControlRunsRequest -> RunsControlled,
    RestartRunsRequest -> RunsControlled,
    AcquireLeaseRequest -> AcquireLeaseResponse,
    RenewLeaseRequest -> LeaseRenewed,
    ReleaseLeaseRequest -> LeaseReleased,
    GetLeaseRequest -> Lease,
    ListLeasesRequest -> LeasePage,
}

told! {
    UncertainPage,
    Resolved,
    TopicPage,
    TopicKept,
    Published,
    EventPage,
    SubscriptionPage,
    Subscription,
    SubscriptionSet,
    SubscriptionNamed,
    Acknowledged,
    DeadLetterPage,
    DeadLettersReplayed,
    DeadLettersDropped,
    SagaPage,
    SagaDefined,
    SagaVersion,
    RunPage,
    Run,
    RunControlled,
    RunsControlled,
    LeaseRenewed,
    LeaseReleased,
    Lease,
    LeasePage,
}

told_later! {
    MakeCallResponse: make_call_response::Ended,
    StartRunResponse: start_run_response::Ended,
    AcquireLeaseResponse: acquire_lease_response::Granted,
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::super::METHODS;
    use super::*;
    use crate::path::id_of_segment;

    fn method(name: &str) -> &'static Method {
        METHODS.iter().find(|method| method.name == name).unwrap()
    }

    fn check<Q: Question>(name: &str, message: &Q, expected: &Expect) {
        let told = match form(method(name), message, []) {
            Ok(Form { target, key, content_type, body }) => {
                let key = key.as_ref().map_or("-", Key::as_str);
                format!("{target} {key} {content_type} {}", String::from_utf8(body).unwrap())
            }
            Err(problem) => problem.to_string(),
        };
        expected.assert_eq(&told);
    }

    #[test]
    fn requests() {
        let list = proto::ListLeasesRequest { limit: 5, cursor: "a/b c".to_owned() };
        check("Leases/ListLeases", &list, &expect!["/v1/leases?cursor=a%2Fb%20c&limit=5 - application/json "]);
        let list = proto::ListLeasesRequest::default();
        check("Leases/ListLeases", &list, &expect!["/v1/leases - application/json "]);
        let acquire = proto::AcquireLeaseRequest {
            idempotency_key: "\"k\"".to_owned(),
            name: "a/../b".to_owned(),
            owner: "ann".to_owned(),
            ttl_ms: 5,
            wait_ms: Some(0),
            metadata_json: "{ \"n\": 1.50 }".to_owned(),
            ..Default::default()
        };
        check(
            "Leases/AcquireLease",
            &acquire,
            &expect![[
                r#"/v1/leases/a%2F..%2Fb/acquire "k" application/json {"metadata":{ "n": 1.50 },"owner":"ann","ttl_ms":5,"wait_ms":0}"#
            ]],
        );
        let put = proto::PutSubscriptionRequest {
            idempotency_key: "k".to_owned(),
            name: "s".to_owned(),
            topics: vec!["a".to_owned()],
            start: "12".to_owned(),
            ..Default::default()
        };
        check(
            "Subscriptions/PutSubscription",
            &put,
            &expect![[r#"/v1/subscriptions/s k application/json {"start":12,"topics":["a"]}"#]],
        );
        let put = proto::PutSubscriptionRequest { start: "now".to_owned(), topics: Vec::new(), ..put };
        check(
            "Subscriptions/PutSubscription",
            &put,
            &expect![[r#"/v1/subscriptions/s k application/json {"start":"now"}"#]],
        );
        let delete = proto::DeleteSubscriptionRequest { idempotency_key: "k".to_owned(), name: "s".to_owned() };
        check("Subscriptions/DeleteSubscription", &delete, &expect!["/v1/subscriptions/s k application/json {}"]);
        let saga = proto::PutSagaRequest {
            idempotency_key: "k".to_owned(),
            name: "s".to_owned(),
            definition: "name: s".to_owned(),
            content_type: "application/yaml".to_owned(),
        };
        check("Sagas/PutSaga", &saga, &expect!["/v1/sagas/s k application/yaml name: s"]);
    }

    #[test]
    fn what_is_no_request() {
        let retry = Some(proto::CallRetry { tries_max: Some(0), until_deadline: false });
        let probe = proto::CallCompensation { body_json: "[1,".to_owned(), ..Default::default() };
        let call = proto::MakeCallRequest { retry, compensate: Some(probe), ..Default::default() };
        check(
            "Calls/MakeCall",
            &call,
            &expect!["malformed-json: compensate: EOF while parsing a value at line 1 column 3"],
        );
        let call = proto::MakeCallRequest { compensate: None, ..call };
        check(
            "Calls/MakeCall",
            &call,
            &expect![
                "idempotency-key-missing: Every write names its one intended effect by an `Idempotency-Key` header, and this one has none."
            ],
        );
        check("Leases/GetLease", &proto::GetLeaseRequest::default(), &expect!["invalid-request: name: is missing"]);
    }

    #[test]
    fn events_are_told_whole() {
        let json = br#"{"items":[{"type":"x","tertiumoffset":"7","data": 1.0}],"next_offset":8,"end":true}"#;
        let page = proto::EventPage::of(200, json).unwrap();
        assert_eq!((page.next_offset, page.end, page.items[0].offset), (8, true, 7));
        assert_eq!(page.items[0].event_json, r#"{"type":"x","tertiumoffset":"7","data": 1.0}"#);
        assert!(proto::EventPage::of(200, br#"{"items":[{"type":"x"}]}"#).is_err());
    }

    proptest! {
        /// Whatever a message holds, it is a request or a problem, and a name comes out as it went in.
        #[test]
        fn any_message(name in "\\PC{0,20}", owner in "\\PC{0,20}", json in "\\PC{0,10}", key in "[!-~]{1,20}") {
            let message = proto::AcquireLeaseRequest {
                idempotency_key: key.clone(),
                name: name.clone(),
                owner,
                metadata_json: json,
                ..Default::default()
            };
            let Ok(form) = form(method("Leases/AcquireLease"), &message, []) else { return Ok(()) };
            prop_assert_eq!(form.key.as_ref().map(Key::as_str), Some(&*key));
            let segment = form.target.split('/').nth(3).unwrap();
            let id = id_of_segment("name", segment);
            prop_assert!(id.as_ref().map_or(words::check_id(&name).is_err(), |id| *id == name));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&form.body).is_ok());
        }
    }
}
