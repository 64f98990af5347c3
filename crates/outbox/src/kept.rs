//! What is kept of an answer's headers: those that were asked for by name, each within a bound. Nothing else of them is written
//! down anywhere.

use http::HeaderMap;
use serde_json::{Map, Value};

/// The most bytes of one header's value; one that is longer counts as absent.
const VALUE_BYTES_MAX: usize = 1_024;

/// The headers of these names, which have a comma between two: canonical JSON, or nothing where none is asked for. Several of
/// one name are one with commas between them (RFC 9110, section 5.3); what is no visible ASCII counts as absent.
pub(crate) fn headers(names: &str, answer: &HeaderMap) -> String {
    if names.is_empty() {
        return String::new();
    }
    let mut kept = Map::new();
    for name in names.split(',') {
        let values: Option<Vec<_>> = answer.get_all(name).iter().map(|value| value.to_str().ok()).collect();
        let value = values.filter(|values| !values.is_empty()).map(|values| values.join(", "));
        if let Some(value) = value.filter(|value| value.len() <= VALUE_BYTES_MAX) {
            kept.insert(name.to_owned(), Value::String(value));
        }
    }
    Value::Object(kept).to_string()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn what_is_asked_for_and_fits() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let given: [(&'static str, &[u8]); 7] = [
            ("location", b"/r/7"),
            ("etag", b"\"a\""),
            ("link", b"</1>"),
            ("link", b"</2>"),
            ("x-long", long.as_bytes()),
            ("x-odd", b"\xff"),
            ("server", b"s"),
        ];
        let mut answer = HeaderMap::new();
        for (name, value) in given {
            answer.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        for (names, expected) in [
            ("", ""),
            ("location", r#"{"location":"/r/7"}"#),
            ("link,etag,location", r#"{"etag":"\"a\"","link":"</1>, </2>","location":"/r/7"}"#),
            ("x-long,x-odd,nothing", "{}"),
        ] {
            assert_eq!(headers(names, &answer), expected, "{names}");
        }
    }
}
