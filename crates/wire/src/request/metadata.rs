//! JSON of the sender's own (metadata, the data of events), kept in one canonical form so that equal values are equal bytes.
//!
//! Members sorted by code point, no white space, numbers in serde_json's shortest form. Integers beyond +-(2^53-1) are
//! refused rather than rounded. In the spirit of RFC 8785, whose sorting by UTF-16 units and whose number format of
//! ECMAScript it does not copy: the form is only ever compared here.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::codes::Code;
use crate::json::{JSON_INTEGER_MAX, put_str};
use crate::problem::Problem;

/// The largest metadata in canonical form, in bytes.
pub const METADATA_BYTES_MAX: usize = 4_096;

/// How deeply metadata may be nested, itself included.
pub const METADATA_DEPTH_MAX: usize = 8;

/// How large a JSON value may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In canonical form, in bytes.
    pub(super) bytes_max: usize,
    /// How deeply it may be nested, itself included.
    pub(super) depth_max: usize,
}

/// The canonical form of a JSON object.
///
/// # Errors
/// A problem that names the field `metadata`.
pub fn canonical_metadata(json: &str) -> Result<String, Problem> {
    let bounds = Bounds { bytes_max: METADATA_BYTES_MAX, depth_max: METADATA_DEPTH_MAX };
    let canonical = canonical_json("metadata", json, bounds)?;
    if !canonical.starts_with('{') {
        return Err(Problem::field(Code::InvalidRequest, "metadata", "is a JSON object"));
    }
    Ok(canonical)
}

/// The canonical form of any JSON value.
///
/// # Errors
/// A problem that names `field`.
pub(super) fn canonical_json(field: &str, json: &str, bounds: Bounds) -> Result<String, Problem> {
    let wrong = |what: &dyn fmt::Display| Problem::field(Code::InvalidRequest, field, what);
    check_integers(json).map_err(|what| wrong(&what))?;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = Seed { depth_left: bounds.depth_max, depth_max: bounds.depth_max }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| wrong(&error))?;
    let mut out = Vec::with_capacity(json.len());
    value.write(&mut out);
    if out.len() > bounds.bytes_max {
        let what = format!("has at most {} bytes in canonical form, this has {}", bounds.bytes_max, out.len());
        return Err(wrong(&what));
    }
    Ok(String::from_utf8(out).expect("made of strings and ASCII"))
}

/// Integers that do not fit 64 bits would arrive as doubles, already rounded: they are looked at as text.
fn check_integers(json: &str) -> Result<(), &'static str> {
    let bytes = json.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let len = bytes[at..].iter().take_while(|byte| is_part(byte)).count();
                let digits = json[at..at + len].trim_start_matches('-');
                let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
                if is_integer && digits.parse().map_or(true, |n: u64| n > JSON_INTEGER_MAX) {
                    return Err("an integer is between -(2^53 - 1) and 2^53 - 1; larger ones go into a string");
                }
                at += len;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

/// A value, read but not written yet: an object's members must be known before they can be sorted.
enum Json<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Double(f64),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl Json<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Integer(n) => out.extend_from_slice(itoa::Buffer::new().format(*n).as_bytes()),
            Self::Double(n) => out.extend_from_slice(
                serde_json::Number::from_f64(*n).expect("serde_json reads no infinity").to_string().as_bytes(),
            ),
            Self::Text(text) => put_str(out, text),
            Self::Array(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    put_str(out, name);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Reads a value that may be nested so deeply.
#[derive(Clone, Copy)]
struct Seed {
    depth_left: usize,
    depth_max: usize,
}

impl Seed {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1);
        let depth_left =
            depth_left.ok_or_else(|| E::custom(format_args!("is nested at most {} deep", self.depth_max)))?;
        Ok(Self { depth_left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Json<'de>, E> {
        i64::try_from(n).map(Json::Integer).map_err(|_| E::custom("an integer is too large"))
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(n))
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<Json<'de>, E> {
        Ok(Json::Double(n))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let inside = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let inside = self.deeper()?;
        let mut members: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        // A name that is no string is a syntax error of its own, so the seed gives nothing else here.
        while let Some(name) = map.next_key_seed(inside)? {
            let Json::Text(name) = name else { return Err(A::Error::custom("a name is a string")) };
            members.push((name, map.next_value_seed(inside)?));
        }
        // UTF-8 sorts as its code points do.
        members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(A::Error::custom(format_args!("duplicate field `{}`", pair[0].0)));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms() {
        for (json, canonical) in [
            ("{}", "{}"),
            (r#" { "b" : 1 , "a" : [ true , false , null ] } "#, r#"{"a":[true,false,null],"b":1}"#),
            (r#"{"é":1,"e":2,"\u0065f":3,"😀":4,"ﬀ":5}"#, r#"{"e":2,"ef":3,"é":1,"ﬀ":5,"😀":4}"#),
            (r#"{"a":1.0,"b":1e2,"c":2.50,"d":-0.0,"e":1e-7}"#, r#"{"a":1.0,"b":100.0,"c":2.5,"d":-0.0,"e":1e-7}"#),
            (r#"{"a":9007199254740991,"b":-9007199254740991}"#, r#"{"a":9007199254740991,"b":-9007199254740991}"#),
            (r#"{"a":"\/\u0041\n"}"#, r#"{"a":"/A\n"}"#),
            (r#"{"a":{"b":{"c":{"d":{"e":{"f":{"g":[1]}}}}}}}"#, r#"{"a":{"b":{"c":{"d":{"e":{"f":{"g":[1]}}}}}}}"#),
            (r#"{"a":"-99999999999999999999"}"#, r#"{"a":"-99999999999999999999"}"#),
        ] {
            assert_eq!(canonical_metadata(json).as_deref(), Ok(canonical), "{json}");
        }
    }

    #[test]
    fn refused() {
        let large = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
        assert_eq!(canonical_metadata(&large(METADATA_BYTES_MAX)).map(|json| json.len()), Ok(METADATA_BYTES_MAX));
        for bad in [
            "",
            "[]",
            "null",
            "{} {}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":-9007199254740992}"#,
            r#"{"a":[100000000000000000000]}"#,
            r#"{"a":1e999}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":[]}}}}}}}}"#,
            &large(METADATA_BYTES_MAX + 1),
        ] {
            let problem = canonical_metadata(bad).expect_err(bad);
            assert_eq!((problem.code, problem.field_name()), (Code::InvalidRequest, Some("metadata")), "{bad}");
        }
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            (-(1i64 << 53) + 1..1i64 << 53).prop_map(|value| value.to_string()),
            any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| {
                serde_json::Number::from_f64(value).map(|number| number.to_string()).unwrap_or_default()
            }),
            "\\PC{0,6}".prop_map(|text| serde_json::to_string(&text).unwrap_or_default()),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..4).prop_map(|members| {
                    let members: Vec<String> =
                        members.iter().rev().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        /// The canonical form means what was sent, and is its own canonical form.
        #[test]
        fn keeps_the_meaning(value in value()) {
            let json = format!("{{\"value\":{value}}}");
            let canonical = canonical_metadata(&json).unwrap();
            let meaning = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
            prop_assert_eq!(meaning(&canonical), meaning(&json));
            prop_assert_eq!(canonical_metadata(&canonical), Ok(canonical));
        }

        #[test]
        fn any_text_is_read_or_refused(any in "\\PC{0,60}", near in "[{}\\[\\]\":,a\\\\u0-9.eE+-]{0,40}") {
            for text in [any, near] {
                let _ = canonical_metadata(&text);
            }
        }
    }
}
