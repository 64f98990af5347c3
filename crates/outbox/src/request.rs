//! The requests of durable calls: what may be asked for, and how it is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use call::Call;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::Deserialize;
use words::{KEY_BYTES_MAX, Key};

use crate::secrets::CallSecrets;

/// Headers that the server sets itself, or that belong to the connection.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "grpc-timeout",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-deadline",
];

/// Why a request cannot be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestError {
    /// There is none.
    Absent,
    /// It is not a URL of http or https with a host, without credentials and without a fragment.
    Url(&'static str),
    /// It is not a method that has an effect.
    Method(String),
    /// A header is not one, or is the server's own.
    Header(String),
    /// There is no secret of that name.
    Secret(String),
    /// The key cannot be sent.
    Key,
    /// It is not of the form that was accepted.
    Form(String),
}

/// How to undo a call.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compensation {
    /// The method.
    #[serde(default = "post")]
    pub method: String,
    /// Where to.
    pub url: String,
    /// Canonical JSON, name to value, or empty.
    #[serde(default)]
    pub headers: String,
    /// As it is sent.
    #[serde(default)]
    pub body: String,
}

fn post() -> String {
    "POST".to_owned()
}

impl Compensation {
    /// Reads the canonical form.
    ///
    /// # Errors
    /// [`RequestError::Form`].
    pub fn parse(json: &str) -> Result<Self, RequestError> {
        if json.is_empty() {
            return Err(RequestError::Absent);
        }
        serde_json::from_str(json).map_err(|error| RequestError::Form(error.to_string()))
    }
}

/// Checks a URL that the server is asked to call.
///
/// # Errors
/// [`RequestError::Url`].
pub fn check_url(url: &str) -> Result<Uri, RequestError> {
    // What `Uri` would drop must not get lost unseen.
    if url.contains('#') {
        return Err(RequestError::Url("a URL to call has no fragment"));
    }
    let uri: Uri = url.parse().map_err(|_| RequestError::Url("not a URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(RequestError::Url("a URL to call begins with http:// or https://"));
    }
    let authority = uri.authority().ok_or(RequestError::Url("a URL to call names a host"))?;
    if authority.as_str().contains('@') {
        return Err(RequestError::Url("a URL to call holds no credentials: put them into a header"));
    }
    if authority.host().is_empty() {
        return Err(RequestError::Url("a URL to call names a host"));
    }
    Ok(uri)
}

/// What stands in the value of a header for the secret of a name, up to a closing brace.
const SECRET: &str = "${secret:";

/// Checks the headers of a call that may name no secrets: canonical JSON, name to value, or empty.
///
/// # Errors
/// [`RequestError::Header`].
pub fn check_headers(json: &str) -> Result<(), RequestError> {
    let may_not = || RequestError::Header("secrets may not be named here".to_owned());
    secrets_in(json)?.is_empty().then_some(()).ok_or_else(may_not)
}

/// Checks the headers of a call that may name secrets, and gives their names. Whose they are is for the caller to ask.
///
/// # Errors
/// [`RequestError::Header`].
pub fn secrets_in(json: &str) -> Result<BTreeSet<String>, RequestError> {
    let mut names = BTreeSet::new();
    headers_of(json, |name| {
        names.insert(name.to_owned());
        Some(Box::default())
    })?;
    Ok(names)
}

/// Under which lease something is done: the caller knows it, and the server does not.
const FENCE: &str = "tertium-fence";

/// The headers, with what `find` has for the secrets that are named in them.
fn headers_of(json: &str, mut find: impl FnMut(&str) -> Option<Box<str>>) -> Result<HeaderMap, RequestError> {
    let mut headers = HeaderMap::new();
    if json.is_empty() {
        return Ok(headers);
    }
    let named: BTreeMap<String, String> =
        serde_json::from_str(json).map_err(|_| RequestError::Header("headers are names with texts".to_owned()))?;
    for (name, value) in named {
        let lower = name.to_ascii_lowercase();
        if OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with("tertium-") && lower != FENCE {
            return Err(RequestError::Header(format!("`{lower}` is set by the server")));
        }
        let name = HeaderName::try_from(&lower).map_err(|_| RequestError::Header(format!("`{lower}` is no name")))?;
        let has_secrets = value.contains(SECRET);
        let value = if has_secrets { filled(&value, &mut find)? } else { value };
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| RequestError::Header(format!("the value of `{lower}` is none that a header can have")))?;
        value.set_sensitive(has_secrets);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The value with each `${secret:name}` replaced by what `find` has under that name.
fn filled(value: &str, find: &mut impl FnMut(&str) -> Option<Box<str>>) -> Result<String, RequestError> {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once(SECRET) {
        let form = || RequestError::Header("a secret is named as `${secret:name}`".to_owned());
        let (name, behind) = after.split_once('}').ok_or_else(form)?;
        words::check_id(name).map_err(|_| form())?;
        let secret = find(name).ok_or_else(|| RequestError::Secret(name.to_owned()))?;
        out.push_str(before);
        out.push_str(&secret);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// The request as the call layers take it.
pub(crate) fn call_of(
    method: &str,
    url: &str,
    headers: &str,
    body: &[u8],
    secrets: Option<&CallSecrets>,
) -> Result<Call, RequestError> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| RequestError::Method(method.to_owned()))?;
    let mut call = Call::new(method, check_url(url)?);
    call.headers = headers_of(headers, |name| secrets?.find(name))?;
    call.body = Bytes::copy_from_slice(body);
    Ok(call)
}

/// The key of the compensation of what has `key`: the same each time.
pub(crate) fn compensation_key(key: &str) -> Key {
    const SUFFIX: &str = "/compensate";
    // A long key gives up its end: its head and its length still tell it from the others of its kind.
    let cut = key.len().min(KEY_BYTES_MAX - SUFFIX.len() - 4);
    let mark = if cut < key.len() { format!("~{:03}", key.len()) } else { String::new() };
    Key::new(&format!("{}{mark}{SUFFIX}", &key[..cut])).expect("made of a key, and no longer than one may be")
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no such request was declared"),
            Self::Url(what) => f.write_str(what),
            Self::Method(method) => write!(f, "`{method}` is not a method to call with"),
            Self::Header(what) | Self::Form(what) => f.write_str(what),
            Self::Secret(name) => write!(f, "there is no secret called `{name}` on this server"),
            Self::Key => f.write_str("the key cannot be sent in a header"),
        }
    }
}

impl std::error::Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for url in ["http://127.0.0.1:1/", "https://pay.example/a?b=c", "http://[::1]:80/x"] {
            assert!(check_url(url).is_ok(), "{url}");
        }
        for (url, what) in [
            ("ftp://a/", "http://"),
            ("file:///etc/passwd", "URL"),
            ("gopher://a/", "http://"),
            ("http://169.254.169.254@a/", "credentials"),
            ("/a", "http://"),
            ("http:///a", "URL"),
            ("http://a:b@c/", "credentials"),
            ("http://a@c/", "credentials"),
            ("http://a/#b", "fragment"),
            ("http://a b/", "URL"),
            ("", "URL"),
        ] {
            let error = check_url(url).expect_err(url).to_string();
            assert!(error.contains(what), "{url}: {error}");
        }
    }

    #[test]
    fn headers() {
        let none = |_: &str| None;
        assert_eq!(headers_of("", none).unwrap().len(), 0);
        assert_eq!(headers_of(r#"{"Authorization":"Bearer x","X-A":"b"}"#, none).unwrap()["authorization"], "Bearer x");
        assert_eq!(headers_of(r#"{"Tertium-Fence":"a;token=7"}"#, none).unwrap()[FENCE], "a;token=7");
        for json in [
            r#"{"Host":"a"}"#,
            r#"{"idempotency-key":"a"}"#,
            r#"{"Tertium-Attempt":"1"}"#,
            r#"{"a b":"c"}"#,
            r#"{"a":"b\nc"}"#,
            r#"{"a":"${secret:b"}"#,
            r#"{"a":"${secret:}"}"#,
            r#"{"a":"${secret:b c}"}"#,
            "[]",
        ] {
            assert!(check_headers(json).is_err(), "{json}");
        }
    }

    #[test]
    fn secrets_are_named_and_filled_in_when_a_call_is_made() {
        let json = r#"{"authorization":"Bearer ${secret:shop/pay}","x-a":"${secret:a}-${secret:b}","x-b":"${other}"}"#;
        let names = secrets_in(json).unwrap();
        assert!(check_headers(json).is_err() && check_headers(r#"{"x-b":"${other}"}"#).is_ok());
        assert_eq!(names.iter().collect::<Vec<_>>(), ["a", "b", "shop/pay"]);
        let headers = headers_of(json, |name| Some(format!("<{name}>").into())).unwrap();
        assert_eq!(headers["authorization"], "Bearer <shop/pay>");
        assert_eq!((&headers["x-a"], &headers["x-b"]), (&"<a>-<b>".parse().unwrap(), &"${other}".parse().unwrap()));
        assert!(!format!("{headers:?}").contains("<shop/pay>"), "{headers:?}");
        let missing = headers_of(json, |name| (name != "b").then(Box::default));
        assert_eq!(missing, Err(RequestError::Secret("b".to_owned())));
    }

    #[test]
    fn a_compensation_has_a_key_of_its_own() {
        assert_eq!(compensation_key("k").as_str(), "k/compensate");
        let long = "k".repeat(KEY_BYTES_MAX);
        assert!(compensation_key(&long).as_str().ends_with("~255/compensate"));
        assert_ne!(compensation_key(&long), compensation_key(&long[1..]));
    }
}
