//! How a receiver is asked what became of a call, and what its answer means.
//!
//! The meaning is declared: by a value in a JSON answer, or by the status. What is not declared is known only where the
//! receiver's own tables cannot mean anything else: 2xx says that it was done, 410 that it was not and never will be. A
//! plain 404 says nothing: the call may still be on its way. Nor does a 409, which receivers also answer while the call is
//! under way (draft-ietf-httpapi-idempotency-key-header, section 2.7).

use std::collections::BTreeMap;
use std::fmt;

use machine::Finding;
use serde::Deserialize;
use serde_json::Value;

use crate::request::{RequestError, check_headers, check_url, secrets_in};

/// A probe as it was declared.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Where to ask; `{key}` in it stands for the operation's key, percent-encoded.
    url: String,
    /// Canonical JSON, name to value, or empty.
    #[serde(default)]
    pub(crate) headers: String,
    /// What a status means: `"404": "refused"`.
    #[serde(default)]
    status: BTreeMap<String, Meaning>,
    /// Where in a JSON answer the state stands: a JSON pointer (RFC 6901), or empty.
    #[serde(default)]
    pointer: String,
    /// What the value there means: `"paid": "committed"`.
    #[serde(default)]
    values: BTreeMap<String, Meaning>,
}

/// One of the three outcomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Meaning {
    Committed,
    Refused,
    Uncertain,
}

/// Why a probe is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeError {
    /// What is wrong, for a person.
    pub what: String,
}

impl Probe {
    /// Reads the canonical form of a declaration that may name no secrets, and checks it.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub fn parse(json: &str) -> Result<Self, ProbeError> {
        let probe = Self::parse_with_secrets(json)?;
        check_headers(&probe.headers).map_err(|error| ProbeError { what: format!("probe.headers: {error}") })?;
        Ok(probe)
    }

    /// The same for one that may name secrets in its headers. Whose they are is for the caller to ask.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub fn parse_with_secrets(json: &str) -> Result<Self, ProbeError> {
        let wrong = |what: String| ProbeError { what };
        if json.is_empty() {
            return Err(wrong(RequestError::Absent.to_string()));
        }
        let probe: Self = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
        check_url(&probe.url_for("key")).map_err(|error| wrong(format!("probe.url: {error}")))?;
        secrets_in(&probe.headers).map_err(|error| wrong(format!("probe.headers: {error}")))?;
        if let Some(status) = probe.status.keys().find(|status| !is_status(status)) {
            return Err(wrong(format!("probe.status: `{status}` is no HTTP status")));
        }
        if !probe.pointer.is_empty() && !probe.pointer.starts_with('/') {
            return Err(wrong("probe.pointer: a JSON pointer begins with /".to_owned()));
        }
        if probe.pointer.is_empty() != probe.values.is_empty() {
            return Err(wrong(
                "probe.values says what the values at probe.pointer mean: set both, or neither".to_owned(),
            ));
        }
        Ok(probe)
    }

    /// Where to ask about `key`.
    ///
    /// # Errors
    /// [`RequestError::Url`]; never of a probe that was parsed, for a key that is one.
    pub fn url_of(&self, key: &str) -> Result<http::Uri, RequestError> {
        check_url(&self.url_for(key))
    }

    pub(crate) fn url_for(&self, key: &str) -> String {
        self.url.replace("{key}", &percent_encoded(key))
    }

    /// The headers it is asked with: canonical JSON, name to value, or empty.
    pub fn headers(&self) -> &str {
        &self.headers
    }

    /// What an answer means.
    pub(crate) fn finding(&self, status: u16, body: &[u8]) -> Finding {
        if let Some(meaning) = self.meaning_of_body(body) {
            return meaning.finding();
        }
        match self.status.get(&status.to_string()) {
            Some(meaning) => meaning.finding(),
            // With a declared value, a 2xx without one says nothing.
            None if !self.pointer.is_empty() => Finding::Uncertain,
            None => match status {
                200..=299 => Finding::Committed,
                410 => Finding::Refused,
                425 => Finding::StillAtIt,
                _ => Finding::Uncertain,
            },
        }
    }

    fn meaning_of_body(&self, body: &[u8]) -> Option<Meaning> {
        if self.pointer.is_empty() {
            return None;
        }
        let json: Value = serde_json::from_slice(body).ok()?;
        let value = json.pointer(&self.pointer)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.values.get(&text).copied()
    }
}

impl Meaning {
    const fn finding(self) -> Finding {
        match self {
            Self::Committed => Finding::Committed,
            Self::Refused => Finding::Refused,
            Self::Uncertain => Finding::Uncertain,
        }
    }
}

fn is_status(text: &str) -> bool {
    text.len() == 3 && text.parse::<u16>().is_ok_and(|status| (100..600).contains(&status))
}

/// Everything but what RFC 3986 calls unreserved.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for ProbeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_mean() {
        let bare = r#"{"url":"http://a/{key}"}"#;
        let of_inbox = r#"{"url":"http://a/{key}","status":{"409":"refused"}}"#;
        let by_status = r#"{"url":"http://a/{key}","status":{"404":"refused","200":"uncertain"}}"#;
        let by_value = r#"{"url":"http://a/{key}","pointer":"/state","values":{"paid":"committed","void":"refused","3":"uncertain"}}"#;
        for (probe, status, body, finding) in [
            (bare, 200, "", Finding::Committed),
            (bare, 404, "", Finding::Uncertain),
            (bare, 409, "", Finding::Uncertain),
            (of_inbox, 409, "", Finding::Refused),
            (bare, 410, "", Finding::Refused),
            (bare, 425, "", Finding::StillAtIt),
            (bare, 500, "", Finding::Uncertain),
            (by_status, 404, "", Finding::Refused),
            (by_status, 200, "", Finding::Uncertain),
            (by_status, 410, "", Finding::Refused),
            (by_value, 200, r#"{"state":"paid"}"#, Finding::Committed),
            (by_value, 500, r#"{"state":"void"}"#, Finding::Refused),
            (by_value, 200, r#"{"state":3}"#, Finding::Uncertain),
            (by_value, 200, r#"{"state":"other"}"#, Finding::Uncertain),
            (by_value, 200, "not json", Finding::Uncertain),
        ] {
            assert_eq!(
                Probe::parse(probe).unwrap().finding(status, body.as_bytes()),
                finding,
                "{probe} {status} {body}"
            );
        }
    }

    #[test]
    fn a_key_is_encoded() {
        let probe = Probe::parse(r#"{"url":"http://a/ops/{key}?k={key}"}"#).unwrap();
        assert_eq!(probe.url_for("a/b?c"), "http://a/ops/a%2Fb%3Fc?k=a%2Fb%3Fc");
    }

    #[test]
    fn what_is_no_probe() {
        for json in [
            "",
            "{}",
            r#"{"url":"ftp://a/"}"#,
            r#"{"url":"http://a/","status":{"20":"committed"}}"#,
            r#"{"url":"http://a/","status":{"200":"done"}}"#,
            r#"{"url":"http://a/","pointer":"state","values":{"a":"committed"}}"#,
            r#"{"url":"http://a/","pointer":"/state"}"#,
            r#"{"url":"http://a/","also":1}"#,
            r#"{"url":"http://a/","headers":"{\"host\":\"b\"}"}"#,
            r#"{"url":"http://a/","headers":"{\"a\":\"${secret:b}\"}"}"#,
        ] {
            assert!(Probe::parse(json).is_err(), "{json}");
        }
    }
}
