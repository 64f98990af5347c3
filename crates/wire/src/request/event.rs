//! `POST /v1/topics/{t}/events`: one event, several, or CloudEvents 1.0 in structured or batched JSON.
//!
//! A short form for whoever has only something to say, and the standard's for whoever has events already: what came in
//! as a CloudEvent leaves with the same attributes. The names that are this server's to give (`tertium...`) are refused.

use std::borrow::Cow;
use std::fmt;

use machine::{MESSAGES_PER_PUBLISH_MAX, Message, MessagesEncoder};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use words::check_key;

use super::metadata::{Bounds, canonical_json};
use super::object::{Object, Text, read};
use crate::codes::Code;
use crate::json::put_str;
use crate::problem::Problem;

/// The largest data of one event, in bytes of canonical JSON (of base64, where it is binary). CloudEvents asks every hop
/// to carry events of 64 KiB (version 1.0.2, "Size Limits").
pub const EVENT_DATA_BYTES_MAX: usize = 64 * 1_024;

/// How deeply the data of an event may be nested, itself included.
pub const EVENT_DEPTH_MAX: usize = 32;

/// The longest `id`, `source`, `type`, `subject` or extension, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// The longest name of an extension, in characters, as the standard advises.
const NAME_BYTES_MAX: usize = 20;
/// The most members of a CloudEvent.
const MEMBERS_MAX: usize = 64;
/// What the names of this server's own extensions begin with.
const OWN_NAMES: &str = "tertium";

/// Which form a body has: its content type says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventForm {
    /// `application/json`: `{type, key?, subject?, time?, data?}`, or `{events: [...]}` of them.
    Short,
    /// `application/cloudevents+json`: one event.
    Structured,
    /// `application/cloudevents-batch+json`: an array of them.
    Batched,
}

impl EventForm {
    /// The form of a content type; `None` for every other. Parameters (`charset=utf-8`) are passed over.
    pub fn of_content_type(value: &str) -> Option<Self> {
        let essence = value.split(';').next().unwrap_or_default().trim();
        [
            ("application/json", Self::Short),
            ("application/cloudevents+json", Self::Structured),
            ("application/cloudevents-batch+json", Self::Batched),
        ]
        .into_iter()
        .find_map(|(name, form)| essence.eq_ignore_ascii_case(name).then_some(form))
    }
}

/// The events of a body, in canonical form and in their order: at least one, at most [`MESSAGES_PER_PUBLISH_MAX`].
///
/// # Errors
/// A problem of one of the form codes; nothing is remembered of it.
pub fn parse_events(form: EventForm, body: &[u8]) -> Result<MessagesEncoder, Problem> {
    let events = match form {
        EventForm::Short => {
            let Object(BodyIn { events, kind, key, subject, time, data }) = read(body)?;
            match (events, kind) {
                (Some(events), None) if key.is_none() && subject.is_none() && time.is_none() && data.is_none() => {
                    events
                }
                (Some(_), _) => {
                    let what = "stands alone: what an event says goes into the event";
                    return Err(Problem::field(Code::InvalidRequest, "events", what));
                }
                (None, None) => return Err(Problem::field(Code::InvalidRequest, "type", "missing field `type`")),
                (None, Some(kind)) => {
                    let event = ShortIn { kind, key, subject, time, data };
                    EventsIn::one(|messages| event.encode(messages))
                }
            }
        }
        EventForm::Structured => {
            let members: MembersIn<'_> = read(body)?;
            EventsIn::one(|messages| members.encode(messages))
        }
        EventForm::Batched => read::<BatchedIn>(body)?.0,
    };
    events.finish(form)
}

/// What was understood so far. The first problem with what an event means is kept and the rest is only read, because a
/// body that is not JSON is that first of all.
#[derive(Default)]
struct EventsIn {
    messages: MessagesEncoder,
    count: usize,
    problem: Option<(usize, Problem)>,
}

impl EventsIn {
    fn one(encode: impl FnOnce(&mut MessagesEncoder) -> Result<(), Problem>) -> Self {
        let mut events = Self::default();
        let result = encode(&mut events.messages);
        events.push(result);
        events
    }

    fn push(&mut self, result: Result<(), Problem>) {
        if let (Err(problem), None) = (result, &self.problem) {
            self.problem = Some((self.count, problem));
        }
        self.count += 1;
    }

    fn is_open(&self) -> bool {
        self.problem.is_none() && self.count < MESSAGES_PER_PUBLISH_MAX
    }

    fn finish(self, form: EventForm) -> Result<MessagesEncoder, Problem> {
        let wrong = |what: &dyn fmt::Display| Err(Problem::field(Code::InvalidRequest, "events", what));
        match self.problem {
            Some((_, problem)) if form == EventForm::Structured || self.count == 1 => Err(problem),
            Some((at, problem)) => Err(of_event(at, &problem)),
            None if self.count == 0 => wrong(&"at least 1 event is published"),
            None if self.count > MESSAGES_PER_PUBLISH_MAX => wrong(&TooMany { count: self.count }),
            None => Ok(self.messages),
        }
    }

    fn read<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
        mut seq: A,
        encode: impl Fn(T, &mut MessagesEncoder) -> Result<(), Problem>,
    ) -> Result<Self, A::Error> {
        let mut events = Self::default();
        while let Some(event) = seq.next_element()? {
            let result = if events.is_open() { encode(event, &mut events.messages) } else { Ok(()) };
            events.push(result);
            if events.count > 16 * MESSAGES_PER_PUBLISH_MAX {
                return Err(A::Error::custom(TooMany { count: events.count }));
            }
        }
        Ok(events)
    }
}

/// The same problem, with the event named in which it is.
fn of_event(at: usize, problem: &Problem) -> Problem {
    let field = problem.field_name().unwrap_or_default();
    let what = problem.detail.strip_prefix(field).and_then(|rest| rest.strip_prefix(": "));
    Problem::field(problem.code, &format!("events[{at}].{field}"), what.unwrap_or(&problem.detail))
}

struct TooMany {
    count: usize,
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MESSAGES_PER_PUBLISH_MAX} events are published together, this has {}", self.count)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyIn<'a> {
    #[serde(default)]
    events: Option<EventsIn>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, default)]
    subject: Option<Text<'a>>,
    #[serde(borrow, default)]
    time: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShortIn<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, default)]
    subject: Option<Text<'a>>,
    #[serde(borrow, default)]
    time: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl ShortIn<'_> {
    fn encode(&self, messages: &mut MessagesEncoder) -> Result<(), Problem> {
        let text = |text: &Option<Text<'_>>| text.as_ref().map(|Text(text)| text.clone().into_owned());
        let time = text(&self.time).map(|time| checked_time(&time)).transpose()?.unwrap_or_default();
        messages.push(&Message {
            kind: checked_visible("type", &self.kind.0)?,
            key: checked_key("key", self.key.as_ref().map(|Text(key)| key.as_ref()))?,
            subject: self.subject.as_ref().map_or(Ok(""), |Text(subject)| checked_text("subject", subject))?,
            time: &time,
            data: &self.data.map(|raw| canonical_data(raw.get())).transpose()?.unwrap_or_default(),
            ..Message::default()
        });
        Ok(())
    }
}

impl<'de> Deserialize<'de> for EventsIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Events;
        impl<'de> Visitor<'de> for Events {
            type Value = EventsIn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<EventsIn, A::Error> {
                EventsIn::read(seq, |Object(event): Object<ShortIn<'de>>, messages| event.encode(messages))
            }
        }
        deserializer.deserialize_seq(Events)
    }
}

/// An array of CloudEvents.
struct BatchedIn(EventsIn);

impl<'de> Deserialize<'de> for BatchedIn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Events;
        impl<'de> Visitor<'de> for Events {
            type Value = BatchedIn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<BatchedIn, A::Error> {
                EventsIn::read(seq, |event: MembersIn<'de>, messages| event.encode(messages)).map(BatchedIn)
            }
        }
        deserializer.deserialize_seq(Events)
    }
}

/// The members of a CloudEvent, sorted by name. `null` stands for a member that is not there (JSON Event Format, 2.2).
struct MembersIn<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for MembersIn<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = MembersIn<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MembersIn<'de>, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if members.len() == MEMBERS_MAX {
                        return Err(A::Error::custom(format_args!("an event has at most {MEMBERS_MAX} members")));
                    }
                    match members.binary_search_by(|(other, _)| other.cmp(&name)) {
                        Ok(_) => return Err(A::Error::custom(format_args!("duplicate field `{name}`"))),
                        Err(at) => members.insert(at, (name, value)),
                    }
                }
                members.retain(|(_, value)| value.get() != "null");
                Ok(MembersIn(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl MembersIn<'_> {
    fn encode(&self, messages: &mut MessagesEncoder) -> Result<(), Problem> {
        let required = |name: &str| {
            let missing = || Problem::field(Code::InvalidRequest, name, format_args!("missing field `{name}`"));
            self.text(name)?.ok_or_else(missing)
        };
        let version = required("specversion")?;
        if version != "1.0" {
            return Err(Problem::field(Code::InvalidRequest, "specversion", "this server speaks CloudEvents 1.0"));
        }
        let (id, source, kind) = (required("id")?, required("source")?, required("type")?);
        let (key, subject, time) = (self.text("partitionkey")?, self.text("subject")?, self.text("time")?);
        let data = self.get("data").map(canonical_data).transpose()?;
        if data.is_some() && self.get("data_base64").is_some() {
            return Err(Problem::field(
                Code::InvalidRequest,
                "data_base64",
                "an event has one of data and data_base64",
            ));
        }
        messages.push(&Message {
            kind: checked_visible("type", &kind)?,
            key: checked_key("partitionkey", key.as_deref())?,
            id: checked_text("id", &id)?,
            source: checked_visible("source", &source)?,
            subject: subject.as_deref().map_or(Ok(""), |subject| checked_text("subject", subject))?,
            time: &time.as_deref().map(checked_time).transpose()?.unwrap_or_default(),
            attributes: &self.attributes()?,
            data: &data.unwrap_or_default(),
        });
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(other, _)| other.as_ref().cmp(name)).ok()?;
        Some(self.0[at].1.get())
    }

    fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        self.get(name).map(|json| text_of(name, json)).transpose()
    }

    /// All members that [`Message`] has no place for, as one object; empty if there are none.
    fn attributes(&self) -> Result<String, Problem> {
        const PLACED: [&str; 8] = ["data", "id", "partitionkey", "source", "specversion", "subject", "time", "type"];
        let mut out = Vec::new();
        for (name, value) in self.0.iter().filter(|(name, _)| !PLACED.contains(&name.as_ref())) {
            out.push(if out.is_empty() { b'{' } else { b',' });
            put_str(&mut out, name);
            out.push(b':');
            match name.as_ref() {
                "data_base64" => put_str(&mut out, &checked_base64(value.get())?),
                "datacontenttype" | "dataschema" => {
                    put_str(&mut out, checked_visible(name, &text_of(name, value.get())?)?);
                }
                _ => put_extension(&mut out, name, value.get())?,
            }
        }
        if !out.is_empty() {
            out.push(b'}');
        }
        Ok(String::from_utf8(out).expect("made of strings and ASCII"))
    }
}

/// Appends the value of an extension attribute: a text, a Boolean, or an integer of 32 bits ("Type System").
fn put_extension(out: &mut Vec<u8>, name: &str, json: &str) -> Result<(), Problem> {
    let wrong = |what: &dyn fmt::Display| Err(Problem::field(Code::InvalidRequest, name, what));
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return wrong(&"the name of an extension is made of a-z and 0-9");
    }
    if name.len() > NAME_BYTES_MAX {
        return wrong(&format_args!("the name of an extension has at most {NAME_BYTES_MAX} characters"));
    }
    if name.starts_with(OWN_NAMES) {
        return wrong(&"this name is the server's to give");
    }
    match json.as_bytes() {
        [b'"', ..] => put_str(out, checked_text(name, &text_of(name, json)?)?),
        b"true" | b"false" => out.extend_from_slice(json.as_bytes()),
        _ => match json.parse::<i32>() {
            Ok(n) => out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes()),
            Err(_) => return wrong(&"an extension is a string, a Boolean, or an integer of 32 bits"),
        },
    }
    Ok(())
}

fn text_of(name: &str, json: &str) -> Result<String, Problem> {
    serde_json::from_str(json).map_err(|_| Problem::field(Code::InvalidRequest, name, "is a string"))
}

fn checked_base64(json: &str) -> Result<String, Problem> {
    use base64::Engine as _;
    let wrong = |what: &dyn fmt::Display| Problem::field(Code::InvalidRequest, "data_base64", what);
    let text = text_of("data_base64", json)?;
    if text.len() > EVENT_DATA_BYTES_MAX {
        return Err(wrong(&format_args!("has at most {EVENT_DATA_BYTES_MAX} characters, this has {}", text.len())));
    }
    let is_base64 = base64::engine::general_purpose::STANDARD.decode(&text).is_ok();
    if is_base64 { Ok(text) } else { Err(wrong(&"is base64 (RFC 4648, section 4)")) }
}

fn canonical_data(json: &str) -> Result<String, Problem> {
    canonical_json("data", json, Bounds { bytes_max: EVENT_DATA_BYTES_MAX, depth_max: EVENT_DEPTH_MAX })
}

fn checked_key<'a>(field: &str, key: Option<&'a str>) -> Result<&'a str, Problem> {
    key.map_or(Ok(""), |key| check_key(key).map_err(|error| Problem::field(Code::InvalidRequest, field, error)))
}

/// A text that may go into a header as it is.
fn checked_visible<'a>(field: &str, text: &'a str) -> Result<&'a str, Problem> {
    match check_length(field, text)?.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text),
        false => Err(Problem::field(Code::InvalidRequest, field, "is made of visible ASCII characters")),
    }
}

fn checked_text<'a>(field: &str, text: &'a str) -> Result<&'a str, Problem> {
    match check_length(field, text)?.chars().any(char::is_control) {
        false => Ok(text),
        true => Err(Problem::field(Code::InvalidRequest, field, "has no control characters")),
    }
}

fn check_length<'a>(field: &str, text: &'a str) -> Result<&'a str, Problem> {
    if (1..=TEXT_BYTES_MAX).contains(&text.len()) {
        return Ok(text);
    }
    let what = format!("has 1 to {TEXT_BYTES_MAX} bytes, this has {}", text.len());
    Err(Problem::field(Code::InvalidRequest, field, what))
}

/// The same instant in UTC, with as many decimals as it needs.
fn checked_time(text: &str) -> Result<String, Problem> {
    let wrong = || Problem::field(Code::InvalidRequest, "time", "is an instant like 2026-01-31T12:00:00Z (RFC 3339)");
    // RFC 9557 adds annotations in brackets, which CloudEvents does not know.
    if text.len() > 64 || text.contains('[') {
        return Err(wrong());
    }
    text.parse::<jiff::Timestamp>().map(|instant| instant.to_string()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests;
