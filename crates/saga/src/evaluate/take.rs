//! What a field of a step can be: one check each, for values that are written down and for values that are computed.

use serde_json::Value;
use words::{AMOUNT_MAX, check_id};

use crate::definition::Bounds;
use crate::fault::EvaluationError;
use crate::number;
use crate::run_expression::a_type;

pub(crate) const AN_AMOUNT: &str = "an amount: a whole number from 1, above 2^53 - 1 as a decimal string";

/// The most bytes of a URL.
const URL_BYTES_MAX: usize = 2_048;
/// The most bytes of a header's value.
const HEADER_BYTES_MAX: usize = 4_096;
/// The most bytes of a body, or of an event's data.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// The most bytes of a note; as for transfers that are made without a saga.
const MEMO_BYTES_MAX: usize = 1_024;
/// The most bytes of metadata; likewise.
const METADATA_BYTES_MAX: usize = 4_096;

type Taken<T> = Result<T, EvaluationError>;

pub(crate) fn amount(field: &str, value: Value) -> Taken<u128> {
    let units = number::integer(&value).and_then(|units| u128::try_from(units).ok());
    match units {
        Some(units) if (1..=AMOUNT_MAX).contains(&units) => Ok(units),
        _ => Err(wrong(field, AN_AMOUNT, &value)),
    }
}

pub(crate) fn duration(field: &str, value: Value, bounds: Bounds) -> Taken<u64> {
    let ms = number::integer(&value).and_then(|ms| u64::try_from(ms).ok());
    match ms {
        Some(ms) if (bounds.least..=bounds.most).contains(&ms) => Ok(ms),
        _ => Err(wrong(field, "1 to 31622400000 milliseconds (366 days)", &value)),
    }
}

pub(crate) fn id(field: &str, value: Value) -> Taken<String> {
    match value {
        Value::String(text) if check_id(&text).is_ok() => Ok(text),
        other => Err(wrong(field, "an id: 1 to 128 characters of A-Z a-z 0-9 . _ : / -", &other)),
    }
}

pub(crate) fn memo(field: &str, value: Value) -> Taken<String> {
    match value {
        Value::String(text) if text.len() <= MEMO_BYTES_MAX => Ok(text),
        Value::Null => Ok(String::new()),
        other => Err(wrong(field, "a text of at most 1024 bytes", &other)),
    }
}

pub(crate) fn metadata(field: &str, value: Value) -> Taken<String> {
    let text = value.to_string();
    match value {
        Value::Object(_) if text.len() <= METADATA_BYTES_MAX => Ok(text),
        Value::Null => Ok(String::new()),
        other => Err(wrong(field, "an object of at most 4096 bytes", &other)),
    }
}

pub(crate) fn body(field: &str, value: Value) -> Taken<String> {
    let text = value.to_string();
    if text.len() > BODY_BYTES_MAX {
        return Err(wrong(field, "at most 262144 bytes of JSON", &value));
    }
    Ok(text)
}

/// Visible ASCII after `http://` or `https://`, with a host (RFC 3986). Whether the host may be called is decided where
/// the call is made.
pub(crate) fn url(field: &str, value: Value) -> Taken<String> {
    let host = |text: &str| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
        Some(rest.split(['/', '?', '#']).next().unwrap_or(rest).to_owned())
    };
    match value {
        Value::String(text)
            if text.len() <= URL_BYTES_MAX
                && text.bytes().all(|byte| byte.is_ascii_graphic())
                && host(&text).is_some_and(|host| !host.is_empty() && !host.contains('@')) =>
        {
            Ok(text)
        }
        other => Err(wrong(field, "a URL with http or https, a host, no user, and at most 2048 bytes", &other)),
    }
}

/// A field value without line ends (RFC 9110, section 5.5).
pub(crate) fn header(field: &str, value: Value) -> Taken<String> {
    let text = match value {
        Value::String(text) => text,
        number @ Value::Number(_) => number.to_string(),
        other => return Err(wrong(field, "a text", &other)),
    };
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if is_plain && text.len() <= HEADER_BYTES_MAX && text.trim() == text {
        return Ok(text);
    }
    Err(wrong(field, "visible ASCII of at most 4096 bytes", &Value::String(text)))
}

pub(crate) fn wrong(field: &str, wanted: &'static str, value: &Value) -> EvaluationError {
    const SHOWN: usize = 40;
    let found = match value {
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => a_type(value).to_owned(),
        _ => {
            let text = value.to_string();
            let shown: String = text.chars().take(SHOWN).collect();
            if shown.len() < text.len() { format!("{shown}...") } else { shown }
        }
    };
    EvaluationError::Field { field: field.to_owned(), wanted, found }
}
