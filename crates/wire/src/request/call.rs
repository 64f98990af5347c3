//! `POST /v1/calls` and what ends a call by hand.

use machine::{CALL_MS_BOUNDS, CallOrder, Doubt, Op, Resolved, UNCERTAIN_MS_BOUNDS, WayOut};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use words::DEADLINE_DEFAULT_MS;

use super::metadata::{Bounds, canonical_json};
use super::object::{Object, Text, read};
use super::{Problem, checked_memo, command};
use crate::codes::Code;
use crate::json::put_str;

/// The longest URL of a call, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// The largest body of a call, in bytes.
pub const CALL_BODY_BYTES_MAX: usize = 256 << 10;
/// How deeply the body of a call may be nested.
const BODY_DEPTH_MAX: usize = 32;
/// All headers of a call together, in bytes.
const HEADERS_BYTES_MAX: usize = 8 << 10;
/// How long a call may stay uncertain if its caller does not say: 1 day.
const UNCERTAIN_MS_DEFAULT: u64 = 24 * 60 * 60 * 1_000;
/// A method is a token of RFC 9110; those that change something are of few letters.
const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];
/// At most so many tries in a row: the first, and three more.
const TRIES_MAX: u64 = 4;

/// The command of `POST /v1/calls`. Whether the server may call there is for the server to say, which is given the URLs.
///
/// # Errors
/// A problem of one of the form codes; nothing is remembered of it.
pub fn parse_call(
    body: &[u8],
    principal: &str,
    key: &str,
    mut check: impl FnMut(&str, Asked<'_>) -> Result<(), Problem>,
) -> Result<Vec<u8>, Problem> {
    let Object(asked): Object<CallIn<'_>> = read(body)?;
    let request = asked.request()?;
    check("", Asked::Request { url: &request.url, headers: &request.headers })?;
    let probe = asked.probe.map(|probe| probe.0.canonical()).transpose()?.unwrap_or_default();
    if !probe.is_empty() {
        check("probe", Asked::Probe(&probe))?;
    }
    let compensation = match asked.compensate {
        None => String::new(),
        Some(Object(asked)) => {
            let request = asked.request().map_err(|problem| problem.within("compensate"))?;
            check("compensate", Asked::Request { url: &request.url, headers: &request.headers })?;
            request.canonical()
        }
    };
    let doubt =
        asked.on_uncertain.map_or(if probe.is_empty() { Doubt::Escalate } else { Doubt::Probe }, DoubtIn::doubt);
    let way_out = asked.way_out.map_or(WayOut::Escalate, WayOutIn::way_out);
    check_declared(doubt, way_out, &probe, &compensation)?;
    let Object(retry) = asked.retry.unwrap_or(Object(RetryIn { tries_max: None, until_deadline: false }));
    let order = CallOrder {
        keep: "",
        method: &request.method,
        url: &request.url,
        headers: &request.headers,
        body: &request.body,
        deadline_ms: between("deadline_ms", asked.deadline_ms.unwrap_or(DEADLINE_DEFAULT_MS), CALL_MS_BOUNDS)?,
        tries_max: between("retry.tries_max", retry.tries_max.unwrap_or(TRIES_MAX), (1, TRIES_MAX))? as u32,
        persistent: retry.until_deadline,
        doubt,
        probe: &probe,
        compensation: &compensation,
        uncertain_ms_max: between(
            "uncertain_ms_max",
            asked.uncertain_ms_max.unwrap_or(UNCERTAIN_MS_DEFAULT),
            UNCERTAIN_MS_BOUNDS,
        )?,
        way_out,
    };
    Ok(command(principal, key, &Op::Call(order), body.len() + probe.len() + compensation.len()))
}

/// What a call asks the server to send.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// A request.
    Request {
        /// Where to.
        url: &'a str,
        /// Canonical JSON, name to value, or empty.
        headers: &'a str,
    },
    /// A probe: canonical JSON.
    Probe(&'a str),
}

/// The command of `POST /v1/uncertain/{id}/resolve`, `id` being the one in the path, decoded.
///
/// # Errors
/// As [`parse_call`].
pub fn parse_resolve(id: &str, body: &[u8], principal: &str, key: &str) -> Result<Vec<u8>, Problem> {
    let call = id.parse().ok().filter(|_| id.bytes().all(|byte| byte.is_ascii_digit()));
    let call = call.ok_or_else(|| Problem::field(Code::InvalidRequest, "id", "is a number, as the list gives it"))?;
    let Object(ResolveIn { outcome, by, note }) = read(body)?;
    let (by, note) = (checked_text("by", &by.0)?, checked_text("note", &note.0)?);
    let resolved = Resolved { call, committed: matches!(outcome, DecreeIn::Committed), by, note };
    Ok(command(principal, key, &Op::Resolve(resolved), body.len()))
}

fn checked_text<'a>(field: &str, text: &'a str) -> Result<&'a str, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::field(Code::InvalidRequest, field, "must say something: it is kept with the decision"));
    }
    checked_memo(text).map_err(|problem| Problem::field(problem.code, field, "is one line of at most 1024 bytes"))
}

fn between(field: &str, n: u64, (min, max): (u64, u64)) -> Result<u64, Problem> {
    if (min..=max).contains(&n) {
        return Ok(n);
    }
    Err(Problem::field(Code::InvalidRequest, field, format_args!("is from {min} to {max}, this is {n}")))
}

/// What is declared for the case of doubt needs what it uses.
fn check_declared(doubt: Doubt, way_out: WayOut, probe: &str, compensation: &str) -> Result<(), Problem> {
    let missing = |field, what| Err(Problem::field(Code::InvalidRequest, field, what));
    if doubt == Doubt::Probe && probe.is_empty() {
        return missing("on_uncertain", "`probe` needs a `probe`: how to ask what became of it");
    }
    if doubt == Doubt::Compensate && compensation.is_empty() {
        return missing("on_uncertain", "`compensate` needs a `compensate`: how to undo it");
    }
    if way_out == WayOut::Compensate && compensation.is_empty() {
        return missing("way_out", "`compensate` needs a `compensate`: how to undo it");
    }
    Ok(())
}

/// A request as it will be sent.
struct Request {
    method: String,
    url: String,
    headers: String,
    body: Vec<u8>,
}

impl Request {
    fn of(
        method: Option<&Text<'_>>,
        url: &Text<'_>,
        headers: Option<&Texts>,
        body: Option<&RawValue>,
    ) -> Result<Self, Problem> {
        let method = method.map_or("POST", |Text(method)| method);
        if !METHODS.contains(&method) {
            return Err(Problem::field(Code::InvalidRequest, "method", "is POST, PUT, PATCH or DELETE"));
        }
        if url.0.len() > URL_BYTES_MAX {
            let what = format!("a URL has at most {URL_BYTES_MAX} bytes, this has {}", url.0.len());
            return Err(Problem::field(Code::InvalidRequest, "url", what));
        }
        let named = headers.map_or(Ok(BTreeMap::new()), Texts::as_headers)?;
        let (body, content_type) = body_of(body, named.get("content-type").copied())?;
        let mut headers = named;
        if let Some(content_type) = content_type {
            headers.insert("content-type".to_owned(), content_type);
        }
        let headers = canonical_headers(&headers)?;
        Ok(Self { method: method.to_owned(), url: url.0.to_string(), headers, body })
    }

    fn canonical(&self) -> String {
        let mut out = Vec::with_capacity(64 + self.url.len() + self.headers.len() + self.body.len());
        // What is sent with a compensation is a text: it was JSON, or a string.
        let body = String::from_utf8_lossy(&self.body);
        for (name, value) in [
            ("{\"method\":", &*self.method),
            (",\"url\":", &self.url),
            (",\"headers\":", &self.headers),
            (",\"body\":", &body),
        ] {
            out.extend_from_slice(name.as_bytes());
            put_str(&mut out, value);
        }
        out.push(b'}');
        String::from_utf8(out).expect("made of strings")
    }
}

/// JSON is sent as JSON; with another content type the body is a string, and sent as it is.
fn body_of<'a>(raw: Option<&RawValue>, content_type: Option<&str>) -> Result<(Vec<u8>, Option<&'a str>), Problem> {
    let Some(raw) = raw else { return Ok((Vec::new(), None)) };
    let is_json = content_type.is_none_or(|kind| kind.to_ascii_lowercase().contains("json"));
    let body = if is_json {
        let bounds = Bounds { bytes_max: CALL_BODY_BYTES_MAX, depth_max: BODY_DEPTH_MAX };
        canonical_json("body", raw.get(), bounds)?.into_bytes()
    } else {
        let text: String = serde_json::from_str(raw.get()).map_err(|_| {
            Problem::field(Code::InvalidRequest, "body", "is a string where the content type is not JSON")
        })?;
        text.into_bytes()
    };
    if body.len() > CALL_BODY_BYTES_MAX {
        let what = format!("has at most {CALL_BODY_BYTES_MAX} bytes, this has {}", body.len());
        return Err(Problem::field(Code::PayloadTooLarge, "body", what));
    }
    Ok((body, (content_type.is_none()).then_some("application/json")))
}

fn canonical_headers(headers: &BTreeMap<String, &str>) -> Result<String, Problem> {
    if headers.is_empty() {
        return Ok(String::new());
    }
    let mut out = vec![b'{'];
    for (at, (name, value)) in headers.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put_str(&mut out, name);
        out.push(b':');
        put_str(&mut out, value);
    }
    out.push(b'}');
    if out.len() > HEADERS_BYTES_MAX {
        let what = format!("have at most {HEADERS_BYTES_MAX} bytes together");
        return Err(Problem::field(Code::InvalidRequest, "headers", what));
    }
    Ok(String::from_utf8(out).expect("made of strings"))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CallIn<'a> {
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    url: Text<'a>,
    #[serde(default)]
    headers: Option<Texts>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(default)]
    deadline_ms: Option<u64>,
    #[serde(default)]
    retry: Option<Object<RetryIn>>,
    #[serde(borrow, default)]
    probe: Option<Object<ProbeIn<'a>>>,
    #[serde(default)]
    on_uncertain: Option<DoubtIn>,
    #[serde(borrow, default)]
    compensate: Option<Object<RequestIn<'a>>>,
    #[serde(default)]
    uncertain_ms_max: Option<u64>,
    #[serde(default)]
    way_out: Option<WayOutIn>,
}

impl CallIn<'_> {
    fn request(&self) -> Result<Request, Problem> {
        Request::of(self.method.as_ref(), &self.url, self.headers.as_ref(), self.body)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestIn<'a> {
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    url: Text<'a>,
    #[serde(default)]
    headers: Option<Texts>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

impl RequestIn<'_> {
    fn request(&self) -> Result<Request, Problem> {
        Request::of(self.method.as_ref(), &self.url, self.headers.as_ref(), self.body)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryIn {
    #[serde(default)]
    tries_max: Option<u64>,
    #[serde(default)]
    until_deadline: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbeIn<'a> {
    #[serde(borrow)]
    url: Text<'a>,
    #[serde(default)]
    headers: Option<Texts>,
    #[serde(default)]
    status: Texts,
    #[serde(borrow, default)]
    pointer: Option<Text<'a>>,
    #[serde(default)]
    values: Texts,
}

impl ProbeIn<'_> {
    /// The form that the outbox reads.
    fn canonical(&self) -> Result<String, Problem> {
        let within = |problem: Problem| problem.within("probe");
        let named = self.headers.as_ref().map_or(Ok(BTreeMap::new()), Texts::as_headers).map_err(within)?;
        let headers = canonical_headers(&named).map_err(within)?;
        let pointer = self.pointer.as_ref().map_or("", |Text(pointer)| pointer);
        let probe = serde_json::json!({
            "url": self.url.0,
            "headers": headers,
            "status": self.status.0,
            "pointer": pointer,
            "values": self.values.0,
        });
        Ok(probe.to_string())
    }
}

/// Names with texts, each once: which of two is meant is nobody's guess.
#[derive(Default)]
struct Texts(BTreeMap<String, String>);

impl Texts {
    /// As headers, whose names are the same in either case.
    fn as_headers(&self) -> Result<BTreeMap<String, &str>, Problem> {
        let mut headers = BTreeMap::new();
        for (name, value) in &self.0 {
            if headers.insert(name.to_ascii_lowercase(), value.as_str()).is_some() {
                return Err(Problem::field(Code::InvalidRequest, "headers", format_args!("`{name}` is there twice")));
            }
        }
        Ok(headers)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        let mut texts = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if texts.contains_key(&name) {
                return Err(A::Error::custom(format_args!("`{name}` is there twice")));
            }
            texts.insert(name, value);
        }
        Ok(Texts(texts))
    }
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum DoubtIn {
    Probe,
    Resend,
    Compensate,
    Escalate,
}

impl DoubtIn {
    const fn doubt(self) -> Doubt {
        match self {
            Self::Probe => Doubt::Probe,
            Self::Resend => Doubt::Resend,
            Self::Compensate => Doubt::Compensate,
            Self::Escalate => Doubt::Escalate,
        }
    }
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum WayOutIn {
    Escalate,
    Compensate,
    Cancel,
}

impl WayOutIn {
    const fn way_out(self) -> WayOut {
        match self {
            Self::Escalate => WayOut::Escalate,
            Self::Compensate => WayOut::Compensate,
            Self::Cancel => WayOut::Cancel,
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolveIn<'a> {
    outcome: DecreeIn,
    #[serde(borrow)]
    by: Text<'a>,
    #[serde(borrow)]
    note: Text<'a>,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum DecreeIn {
    Committed,
    Refused,
}

#[cfg(test)]
mod tests;
