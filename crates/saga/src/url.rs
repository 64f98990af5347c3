//! URLs with expressions in them. What an expression gives stays where it stands: in a path it is one segment or a part of
//! one, in a query a part of one value, in the place of a host a host; it never begins another part of the URL.
//!
//! | an expression stands | what it gives |
//! |---|---|
//! | alone | is the URL |
//! | at the begin | is the begin of a URL, and may have a path, but neither a query nor a fragment |
//! | in the scheme, host or port | is letters, digits and `.-_:[]`; whether the host may be called is asked where the call is made |
//! | in a path | is percent-encoded, and its segment may not be empty, and nothing that a receiver may take for `.` or `..` |
//! | in a query, or behind `#` | is percent-encoded |
//!
//! Percent-encoded is every byte but letters, digits and `-._~` (RFC 3986, section 2.3). One segment it is to whoever splits a
//! path before decoding it. There are receivers, and proxies before them, that decode first, or twice, take `\` for `/`, or
//! cut off what follows a `;`: none of these may come upon a dot segment.

use serde_json::Value;

use crate::evaluate::take::wrong;
use crate::fault::EvaluationError;
use crate::run_expression::Budget;
use crate::template::{Piece, Template};

/// The URL in a scope.
pub(crate) fn fill(
    template: &Template,
    field: &str,
    scope: &Value,
    budget: &mut Budget,
) -> Result<Value, EvaluationError> {
    let Template::Text(pieces) = template else { return template.fill(scope, budget) };
    let mut url = String::new();
    // Where in a path something was put that nobody has written down.
    let mut put = Vec::new();
    for piece in pieces {
        let mut text = String::new();
        piece.spell(&mut text, scope, budget)?;
        let place = Place::behind(&url);
        match (piece, place) {
            (Piece::Plain(_), _) => url.push_str(&text),
            (Piece::Spelled(_), Place::Begin) => {
                url.push_str(check(field, text, BEGIN, |text| !text.contains(['?', '#', '\\']))?.as_str());
            }
            (Piece::Spelled(_), Place::Origin) => url.push_str(check(field, text, HOST, is_of_host)?.as_str()),
            (Piece::Spelled(_), Place::Path | Place::Query) => {
                if place == Place::Path {
                    put.push(url.len());
                }
                encode(&text, &mut url);
            }
        }
    }
    for at in put {
        check(field, segment(&url, at).to_owned(), SEGMENT, |segment| {
            !segment.is_empty() && !leads_elsewhere(segment)
        })?;
    }
    Ok(url.into())
}

const BEGIN: &str = "the begin of a URL, without `?`, `#` and `\\` in it";
const HOST: &str = "a host or a port where one stands: letters, digits and .-_:[]";
const SEGMENT: &str = "in each segment of its path at least one character, and no `.` or `..` however it is decoded";

/// How often a segment is looked at decoded: once as each receiver does, and twice more for those that do it again.
const DECODED_TIMES: usize = 3;

/// What part of a URL comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Nothing is there yet.
    Begin,
    /// The scheme, the host or the port.
    Origin,
    Path,
    /// The query or the fragment.
    Query,
}

impl Place {
    fn behind(url: &str) -> Self {
        let Some((_, rest)) = url.split_once("://") else {
            return if url.is_empty() { Self::Begin } else { Self::Origin };
        };
        match rest.find(['/', '?', '#']) {
            None => Self::Origin,
            Some(at) if rest[at..].contains(['?', '#']) => Self::Query,
            Some(_) => Self::Path,
        }
    }
}

fn check(
    field: &str,
    text: String,
    wanted: &'static str,
    is_right: impl FnOnce(&str) -> bool,
) -> Result<String, EvaluationError> {
    if is_right(&text) { Ok(text) } else { Err(wrong(field, wanted, &Value::String(text))) }
}

fn is_of_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// The segment of the path around a place in it.
fn segment(url: &str, at: usize) -> &str {
    let begin = url[..at].rfind('/').map_or(0, |slash| slash + 1);
    let end = url[at..].find(['/', '?', '#']).map_or(url.len(), |end| at + end);
    &url[begin..end]
}

/// Whether it means this directory or one above to anybody: as it is (WHATWG URL, "double-dot URL path segment"), or in a part of
/// it once it is decoded.
fn leads_elsewhere(segment: &str) -> bool {
    let mut bytes = segment.as_bytes().to_vec();
    for _ in 0..=DECODED_TIMES {
        let mut parts = bytes.split(|byte| matches!(byte, b'/' | b'\\'));
        if parts.any(|part| matches!(part.split(|byte| *byte == b';').next(), Some(b"." | b".."))) {
            return true;
        }
        bytes = decoded(&bytes);
    }
    false
}

/// Percent-decoded once; what is no encoding stays as it is.
fn decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let encoded = if byte == b'%' { digit(at + 1).zip(digit(at + 2)) } else { None };
        let (byte, length) = encoded.map_or((byte, 1), |(high, low)| ((high * 16 + low) as u8, 3));
        out.push(byte);
        at += length;
    }
    out
}

fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            out.extend(['%', HEX[usize::from(byte >> 4)].into(), HEX[usize::from(byte & 15)].into()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fields::Problems;

    fn filled(template: &str, value: &Value) -> Result<String, String> {
        let mut problems = Problems::default();
        let template = Template::read(&json!(template), "", &mut problems);
        problems.check().map_err(|error| error.to_string())?;
        let scope = json!({ "input": { "v": value, "host": "pay.example" } });
        let url = fill(&template, "url", &scope, &mut Budget::default()).map_err(|error| error.to_string())?;
        Ok(url.as_str().unwrap_or_default().to_owned())
    }

    #[track_caller]
    fn check(template: &str, value: &str, expected: &str) {
        assert_eq!(filled(template, &json!(value)).as_deref(), Ok(expected), "{template} with {value:?}");
    }

    #[track_caller]
    fn check_bad(template: &str, value: &str, wanted: &str) {
        let error = filled(template, &json!(value)).expect_err(value);
        assert!(error.contains(wanted), "{template} with {value:?}: {error}");
    }

    #[test]
    fn in_a_path() {
        let template = "http://h/a/${input.v}/b";
        check(template, "r-9", "http://h/a/r-9/b");
        check(template, "x/y", "http://h/a/x%2Fy/b");
        check(template, "x?y=1", "http://h/a/x%3Fy%3D1/b");
        check(template, "x#y", "http://h/a/x%23y/b");
        check(template, "x\r\nHost: evil", "http://h/a/x%0D%0AHost%3A%20evil/b");
        check(template, "@evil.example:80", "http://h/a/%40evil.example%3A80/b");
        check(template, "a\\b;c", "http://h/a/a%5Cb%3Bc/b");
        check(template, "{key}", "http://h/a/%7Bkey%7D/b");
        check(template, "zoë", "http://h/a/zo%C3%AB/b");
        check("http://h/a/v-${input.v}", ".", "http://h/a/v-.");
        check("http://h/a/v${input.v}", "", "http://h/a/v");
        check("https://${input.host}/${input.v}", "x/y", "https://pay.example/x%2Fy");
        check_bad("http://h/${input.v}${input.v}", ".", "in each segment");
        check_bad("http://h/.${input.v}", ".", "in each segment");
        check_bad("http://h/%2E${input.v}", ".", "in each segment");
        check_bad("http://h/a/${input.v}?q=1", "", "in each segment");
        assert_eq!(filled(template, &json!(7)).as_deref(), Ok("http://h/a/7/b"));
    }

    /// What is refused in a segment, and what is close to it and is not.
    #[test]
    fn dot_segments_however_they_are_decoded() {
        for value in [
            "",
            ".",
            "..",
            "../../admin",
            "x/../../admin",
            "x/..",
            "x/.",
            "./x",
            "..\\x",
            "x\\..",
            "%2e",
            "%2E%2e",
            ".%2e",
            "..%2F",
            "..%2fadmin",
            "..%5C",
            "x%5c..",
            "%2e%2e%2f",
            "%252e%252e",
            "..%252f",
            "x%252F..%252Fy",
            "..;x",
            "..;",
            ".;a=b",
            "..;/x",
            "x/..;y/z",
            "..%3Bx",
            "%2e%2e%3bx",
            "..%253b",
        ] {
            for template in ["http://h/a/${input.v}/b", "http://h/a/${input.v}", "http://h/${input.v}?q=1"] {
                check_bad(template, value, "in each segment");
            }
        }
        for (template, value) in [
            ("http://h/x%2F${input.v}", ".."),
            ("http://h/.${input.v}", "."),
            ("http://h/.${input.v}", ";x"),
            ("http://h/%2E${input.v}", "%2e"),
            ("http://h/%${input.v}", "2e"),
            ("http://h/${input.v}.", "x/"),
        ] {
            check_bad(template, value, "in each segment");
        }
        for (value, expected) in [
            ("...", "..."),
            ("..a", "..a"),
            ("a..", "a.."),
            ("a/b", "a%2Fb"),
            ("a;..", "a%3B.."),
            ("x.y/z.w", "x.y%2Fz.w"),
            ("%2", "%252"),
            ("%2e%2ea", "%252e%252ea"),
            ("100%", "100%25"),
            ("%25%32%65", "%2525%2532%2565x"),
        ] {
            let tail = if value == "%25%32%65" { "x" } else { "" };
            check("http://h/${input.v}", &format!("{value}{tail}"), &format!("http://h/{expected}"));
        }
    }

    #[test]
    fn in_a_query() {
        let template = "http://h/a?q=${input.v}&r=/";
        check(template, "x", "http://h/a?q=x&r=/");
        check(template, "x&admin=1", "http://h/a?q=x%26admin%3D1&r=/");
        check(template, "a b+c/..#d", "http://h/a?q=a%20b%2Bc%2F..%23d&r=/");
        check(template, "", "http://h/a?q=&r=/");
        check("http://h?q=${input.v}", "..", "http://h?q=..");
    }

    #[test]
    fn in_the_place_of_a_host() {
        check("http://${input.v}/a", "pay.example:8080", "http://pay.example:8080/a");
        check("http://127.0.0.1:${input.v}/a", "9001", "http://127.0.0.1:9001/a");
        check("http://${input.v}", "[::1]:80", "http://[::1]:80");
        let evil = ["evil/", "evil?", "evil#", "me@evil", "evil\\", "evil\r\n", "evil%2f", ""];
        for template in ["http://${input.v}/a", "http://pay.${input.v}", "http://pay.example:${input.v}/a"] {
            for value in evil {
                check_bad(template, value, "a host or a port");
            }
        }
        check_bad("http${input.v}://pay.example/a", "://evil/", "a host or a port");
    }

    #[test]
    fn at_the_begin() {
        let template = "${input.v}/a";
        check(template, "http://127.0.0.1:9001", "http://127.0.0.1:9001/a");
        check(template, "http://127.0.0.1:9001/shop", "http://127.0.0.1:9001/shop/a");
        for value in ["http://evil/?", "http://evil/#", "http://evil\\"] {
            check_bad(template, value, "the begin of a URL");
        }
        // Alone it is all of it.
        check("${input.v}", "http://127.0.0.1/a/b?c=d", "http://127.0.0.1/a/b?c=d");
    }

    /// The parts of a URL as any reader of RFC 3986 sees them.
    fn parts(url: &str) -> (String, Vec<String>, Option<String>) {
        let rest = url.strip_prefix("http://").expect("the scheme stays");
        assert!(!rest.contains('#'), "{url}");
        let (before, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
        let (host, path) = before.split_once('/').expect("the path stays");
        (host.to_owned(), path.split('/').map(str::to_owned).collect(), query.map(str::to_owned))
    }

    proptest! {
        #[test]
        fn no_value_changes_anything_but_its_own_place(value in any::<String>()) {
            let Ok(url) = filled("http://h/a/${input.v}/b?q=${input.v}&r=1", &json!(value)) else {
                prop_assert!(value.is_empty() || value.contains('.') || value.contains('%'), "{value:?}");
                return Ok(());
            };
            let (host, path, query) = parts(&url);
            prop_assert_eq!(host, "h");
            prop_assert_eq!((path.len(), path[0].as_str(), path[2].as_str()), (3, "a", "b"));
            let query = query.unwrap_or_default();
            prop_assert_eq!(query.split('&').count(), 2);
            let decoded = percent_decode(&path[1]);
            let first = format!("q={}", path[1]);
            prop_assert_eq!(query.split('&').next(), Some(first.as_str()));
            prop_assert_eq!(decoded, value);
        }
    }

    fn percent_decode(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            let digit = |byte: Option<u8>| char::from(byte.unwrap()).to_digit(16).unwrap() as u8;
            bytes.push(if byte == b'%' { digit(rest.next()) * 16 + digit(rest.next()) } else { byte });
        }
        String::from_utf8(bytes).unwrap()
    }
}
