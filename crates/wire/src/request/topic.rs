//! What is asked of topics and subscriptions.

use std::fmt;

use machine::{
    Op, PAUSE_AFTER_MS_BOUNDS, RETENTION_MS_BOUNDS, SETTING_TEXTS_MAX, Settings, Start, Texts, TopicOp, TopicRetention,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{EventForm, parse_events};
use super::object::{Object, Text, read};
use super::{NothingIn, checked_id, command, or_empty_object};
use crate::codes::Code;
use crate::json::JSON_INTEGER_MAX;
use crate::problem::Problem;
use crate::webhook::SECRET_PREFIX;

/// The longest address or type prefix, in bytes.
const TEXT_BYTES_MAX: usize = 2_048;

/// How long nothing may succeed before a subscription is paused, where it does not say: 3 days.
pub const PAUSE_AFTER_MS_DEFAULT: u64 = 3 * 24 * 60 * 60 * 1_000;

/// The command of `POST /v1/topics/{topic}/events`.
///
/// # Errors
/// A problem of one of the form codes; nothing is remembered of it.
pub fn parse_publish(
    topic: &str,
    form: EventForm,
    body: &[u8],
    principal: &str,
    key: &str,
) -> Result<Vec<u8>, Problem> {
    let events = parse_events(form, body)?;
    let op = TopicOp::Publish { topic, messages: events.messages() };
    Ok(command(principal, key, &Op::Topic(op), body.len()))
}

/// The command of `PUT /v1/topics/{topic}`.
///
/// # Errors
/// As [`parse_publish`].
pub fn parse_topic(topic: &str, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let Object(TopicIn { retention_ms, bytes_max }) = read(body)?;
    check_bounds("retention_ms", retention_ms, RETENTION_MS_BOUNDS)?;
    check_bounds("bytes_max", bytes_max.unwrap_or(0), (0, JSON_INTEGER_MAX))?;
    let retention = TopicRetention { ms: retention_ms, bytes_max };
    Ok(command(principal, key, &Op::Topic(TopicOp::Keep { topic, retention }), 0))
}

/// The command of `PUT /v1/subscriptions/{name}`.
///
/// # Errors
/// As [`parse_publish`].
pub fn parse_subscription(
    name: &str,
    body: &[u8],
    principal: &str,
    key: &str,
    check: impl FnOnce(&Settings<'_>) -> Result<(), Problem>,
) -> Result<Vec<u8>, Problem> {
    let Object(asked): Object<SubscriptionIn<'_>> = read(body)?;
    if asked.topics.is_empty() {
        return Err(Problem::field(Code::InvalidRequest, "topics", "a subscription is of at least 1 topic"));
    }
    let topics = texts("topics", &asked.topics, checked_id)?;
    let types = texts("types", &asked.types, checked_prefix)?;
    let secrets = texts("secrets", &asked.secrets, checked_secret_name)?;
    let url = asked.url.as_ref().map_or(Ok(""), |Text(url)| checked_url(url))?;
    let pause_after_ms = asked.pause_after_ms.unwrap_or(PAUSE_AFTER_MS_DEFAULT);
    check_bounds("pause_after_ms", pause_after_ms, PAUSE_AFTER_MS_BOUNDS)?;
    let settings = Settings {
        topics: Texts::new(&topics),
        prefixes: Texts::new(&types),
        url,
        secrets: Texts::new(&secrets),
        pause_after_ms,
        paused: asked.paused,
    };
    let start = asked.start.map(|raw| start_of(raw.get())).transpose()?;
    check(&settings)?;
    Ok(command(principal, key, &Op::Topic(TopicOp::Subscribe { name, settings, start }), body.len()))
}

/// The command of `DELETE /v1/subscriptions/{name}`.
///
/// # Errors
/// As [`parse_publish`].
pub fn parse_unsubscribe(name: &str, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let Object(NothingIn {}) = read(or_empty_object(body))?;
    Ok(command(principal, key, &Op::Topic(TopicOp::Unsubscribe { name }), 0))
}

/// The command of `POST /v1/subscriptions/{name}/ack`.
///
/// # Errors
/// As [`parse_publish`].
pub fn parse_acknowledgement(name: &str, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let Object(OffsetIn { offset }) = read(body)?;
    Ok(command(principal, key, &Op::Topic(TopicOp::Acknowledge { name, offset }), 0))
}

/// The command of `POST /v1/subscriptions/{name}/dead-letters/replay`, or `.../drop`.
///
/// # Errors
/// As [`parse_publish`].
pub fn parse_letters(name: &str, replay: bool, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let Object(LettersIn { offset }) = read(or_empty_object(body))?;
    Ok(command(principal, key, &Op::Topic(TopicOp::Letters { name, offset, replay }), 0))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicIn {
    retention_ms: u64,
    #[serde(default)]
    bytes_max: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscriptionIn<'a> {
    #[serde(borrow)]
    topics: Vec<Text<'a>>,
    #[serde(borrow, default)]
    types: Vec<Text<'a>>,
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
    #[serde(borrow, default)]
    secrets: Vec<Text<'a>>,
    #[serde(default)]
    pause_after_ms: Option<u64>,
    #[serde(default)]
    paused: bool,
    #[serde(borrow, default)]
    start: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OffsetIn {
    offset: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LettersIn {
    #[serde(default)]
    offset: Option<u64>,
}

/// A list of texts, each checked, in the machine's bytes.
fn texts(
    field: &str,
    all: &[Text<'_>],
    check: impl for<'t> Fn(&str, &'t str) -> Result<&'t str, Problem>,
) -> Result<Vec<u8>, Problem> {
    if all.len() > SETTING_TEXTS_MAX {
        let what = format!("has at most {SETTING_TEXTS_MAX} items, this has {}", all.len());
        return Err(Problem::field(Code::InvalidRequest, field, what));
    }
    let mut out = Vec::new();
    for (at, Text(text)) in all.iter().enumerate() {
        if all[..at].iter().any(|Text(other)| other == text) {
            return Err(Problem::field(Code::InvalidRequest, field, format_args!("{text} is there twice")));
        }
        Texts::push(&mut out, check(field, text)?);
    }
    Ok(out)
}

fn checked_prefix<'a>(field: &str, text: &'a str) -> Result<&'a str, Problem> {
    let is_good = (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let what = "the beginning of a type is 1 to 2048 visible ASCII characters";
    if is_good { Ok(text) } else { Err(Problem::field(Code::InvalidRequest, field, what)) }
}

/// The name of a secret, and not, by mistake, the secret: what is asked goes into the log.
fn checked_secret_name<'a>(field: &str, text: &'a str) -> Result<&'a str, Problem> {
    if text.starts_with(SECRET_PREFIX) {
        let what = "holds the names of secrets, never secrets: this one is to be replaced";
        return Err(Problem::field(Code::InvalidRequest, field, what));
    }
    checked_id(field, text)
}

/// An address that events may be sent to, as far as its form says; whether this server may reach it is decided when it does.
fn checked_url(url: &str) -> Result<&str, Problem> {
    let wrong = |what: &dyn fmt::Display| Err(Problem::field(Code::InvalidRequest, "url", what));
    if url.len() > TEXT_BYTES_MAX || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong(&format_args!("has at most {TEXT_BYTES_MAX} visible ASCII characters"));
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match authority {
        Some("") | None => wrong(&"is an http or https address"),
        Some(authority) if authority.contains('@') => wrong(&"holds no user and no password"),
        Some(_) if url.contains('#') => wrong(&"has no fragment"),
        Some(_) => Ok(url),
    }
}

/// `"beginning"`, `"now"`, or an offset.
fn start_of(json: &str) -> Result<Start, Problem> {
    match json {
        r#""beginning""# => Ok(Start::Beginning),
        r#""now""# => Ok(Start::Now),
        _ => json
            .parse()
            .map(Start::Offset)
            .map_err(|_| Problem::field(Code::InvalidRequest, "start", "is \"beginning\", \"now\" or an offset")),
    }
}

fn check_bounds(field: &str, value: u64, (min, max): (u64, u64)) -> Result<(), Problem> {
    match (min..=max).contains(&value) {
        true => Ok(()),
        false => Err(Problem::field(Code::InvalidRequest, field, format_args!("is {min} to {max}"))),
    }
}

#[cfg(test)]
mod tests {
    use machine::Command;

    use super::*;

    type Parser = fn(&[u8]) -> Result<Vec<u8>, Problem>;

    /// Checks what a body is understood as, as the machine prints it.
    #[track_caller]
    fn check(parser: Parser, body: &str, see: impl Fn(&TopicOp<'_>) -> bool) {
        let bytes = parser(body.as_bytes()).unwrap_or_else(|problem| panic!("{body}: {problem}"));
        let decoded = Command::decode(&bytes).expect("what wire encodes, the machine decodes");
        assert_eq!((decoded.principal, decoded.key), ("p", "k"));
        let Op::Topic(op) = decoded.op else { panic!("{body} is of a topic") };
        assert!(see(&op), "{body}: {op:?}");
    }

    #[track_caller]
    fn check_refused(parser: Parser, body: &str, field: &str) {
        let problem = parser(body.as_bytes()).expect_err(body);
        assert_eq!((problem.code, problem.field_name()), (Code::InvalidRequest, Some(field)), "{body}: {problem}");
    }

    const SUBSCRIPTION: Parser = |body| parse_subscription("s", body, "p", "k", |_| Ok(()));
    const TOPIC: Parser = |body| parse_topic("t", body, "p", "k");
    const ACK: Parser = |body| parse_acknowledgement("s", body, "p", "k");
    const REPLAY: Parser = |body| parse_letters("s", true, body, "p", "k");

    #[test]
    fn subscriptions() {
        check(SUBSCRIPTION, r#"{"topics":["ledger"]}"#, |op| {
            matches!(op, TopicOp::Subscribe { name: "s", settings, start: None } if
                settings.topics.iter().eq(["ledger"]) && settings.prefixes.is_empty() && !settings.is_push()
                && settings.secrets.is_empty() && settings.pause_after_ms == PAUSE_AFTER_MS_DEFAULT && !settings.paused)
        });
        let whole = r#"{"topics":["a","b"],"types":["x."],"url":"https://r:1/p?q","secrets":["one","two"],
            "pause_after_ms":60000,"paused":true,"start":"beginning"}"#;
        check(SUBSCRIPTION, whole, |op| {
            matches!(op, TopicOp::Subscribe { settings, start: Some(Start::Beginning), .. } if
                settings.topics.iter().eq(["a", "b"]) && settings.wants("x.y") && !settings.wants("y.x")
                && settings.url == "https://r:1/p?q" && settings.secrets.iter().eq(["one", "two"])
                && settings.pause_after_ms == 60_000 && settings.paused)
        });
        let starts = |start: &str| format!(r#"{{"topics":["a"],"start":{start}}}"#);
        check(SUBSCRIPTION, &starts("7"), |op| matches!(op, TopicOp::Subscribe { start: Some(Start::Offset(7)), .. }));
        check(SUBSCRIPTION, &starts("\"now\""), |op| matches!(op, TopicOp::Subscribe { start: Some(Start::Now), .. }));
        for (body, field) in [
            (r#"{}"#.to_owned(), "topics"),
            (r#"{"topics":[]}"#.to_owned(), "topics"),
            (r#"{"topics":["a b"]}"#.to_owned(), "topics"),
            (r#"{"topics":["a","a"]}"#.to_owned(), "topics"),
            (format!(r#"{{"topics":["{}"]}}"#, ["a"; 17].join("\",\"b")), "topics"),
            (r#"{"topics":["a"],"types":[""]}"#.to_owned(), "types"),
            (r#"{"topics":["a"],"url":"ftp://r/"}"#.to_owned(), "url"),
            (r#"{"topics":["a"],"url":"http://"}"#.to_owned(), "url"),
            (r#"{"topics":["a"],"url":"http://me:pw@r/"}"#.to_owned(), "url"),
            (r#"{"topics":["a"],"url":"http://r/#f"}"#.to_owned(), "url"),
            (r#"{"topics":["a"],"url":"http://r/ x"}"#.to_owned(), "url"),
            (r#"{"topics":["a"],"secrets":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}"#.to_owned(), "secrets"),
            (r#"{"topics":["a"],"secrets":["a b"]}"#.to_owned(), "secrets"),
            (r#"{"topics":["a"],"pause_after_ms":1}"#.to_owned(), "pause_after_ms"),
            (r#"{"topics":["a"],"pause_after_ms":9999999999999}"#.to_owned(), "pause_after_ms"),
            (r#"{"topics":["a"],"name":"s"}"#.to_owned(), "name"),
            (starts("\"later\""), "start"),
            (starts("-1"), "start"),
            (starts("1.0"), "start"),
        ] {
            check_refused(SUBSCRIPTION, &body, field);
        }
    }

    #[test]
    fn the_rest() {
        check(TOPIC, r#"{"retention_ms":60000}"#, |op| {
            matches!(op, TopicOp::Keep { topic: "t", retention: TopicRetention { ms: 60_000, bytes_max: None } })
        });
        check(TOPIC, r#"{"bytes_max":0,"retention_ms":60000}"#, |op| {
            matches!(op, TopicOp::Keep { retention: TopicRetention { bytes_max: Some(0), .. }, .. })
        });
        check_refused(TOPIC, r#"{"retention_ms":1}"#, "retention_ms");
        check_refused(TOPIC, r#"{}"#, "retention_ms");
        check(ACK, r#"{"offset":5}"#, |op| matches!(op, TopicOp::Acknowledge { name: "s", offset: 5 }));
        check_refused(ACK, r#"{}"#, "offset");
        check(REPLAY, "", |op| matches!(op, TopicOp::Letters { name: "s", offset: None, replay: true }));
        check(REPLAY, r#"{"offset":5}"#, |op| matches!(op, TopicOp::Letters { offset: Some(5), replay: true, .. }));
        check(
            |body| parse_letters("s", false, body, "p", "k"),
            "",
            |op| matches!(op, TopicOp::Letters { replay: false, .. }),
        );
        check(|body| parse_unsubscribe("s", body, "p", "k"), "", |op| matches!(op, TopicOp::Unsubscribe { name: "s" }));
        check(
            |body| parse_publish("t", EventForm::Short, body, "p", "k"),
            r#"{"type":"x"}"#,
            |op| matches!(op, TopicOp::Publish { topic: "t", messages } if messages.len() == 1),
        );
    }
}
