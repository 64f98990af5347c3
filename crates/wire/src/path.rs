//! Ids and keys in paths, percent-encoded (RFC 3986, section 2.1).

use words::{Key, TransferId, check_id};

use crate::codes::Code;
use crate::problem::Problem;

/// The id in a path segment.
///
/// # Errors
/// A problem that names `name` where the segment is not percent-encoded or holds no id.
pub fn id_of_segment(name: &str, segment: &str) -> Result<String, Problem> {
    let text = decode(name, segment)?;
    match check_id(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Problem::field(Code::InvalidRequest, name, error)),
    }
}

/// The idempotency key in a path segment.
///
/// # Errors
/// A problem where the segment is not percent-encoded or holds no key.
pub fn key_of_segment(segment: &str) -> Result<Key, Problem> {
    let text = decode("key", segment)?;
    Key::new(&text).map_err(|error| Problem::field(Code::IdempotencyKeyInvalid, "key", error))
}

/// Where to ask for the operation under `key`.
pub fn operation_path(key: &str) -> String {
    let mut path = String::with_capacity("/v1/operations/".len() + key.len());
    path.push_str("/v1/operations/");
    encode(key, &mut path);
    path
}

/// The path of an account.
pub fn account_path(id: &str) -> String {
    let mut path = "/v1/accounts/".to_owned();
    encode(id, &mut path);
    path
}

/// The path of a run.
pub fn run_path(id: TransferId) -> String {
    format!("/v1/runs/{id}")
}

/// The run of the id in a path segment.
///
/// # Errors
/// `run-not-found` for what can be no run's id.
pub fn run_of_segment(segment: &str) -> Result<TransferId, Problem> {
    let text = decode("id", segment)?;
    TransferId::parse(&text).map_err(|_| Problem::new(Code::RunNotFound, format!("There is no run {text}.")))
}

/// Appends `text` with everything but RFC 3986's unreserved characters percent-encoded.
pub fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 0xf)]));
        }
    }
}

/// Takes percent-encoding away.
pub(crate) fn decode(name: &str, segment: &str) -> Result<String, Problem> {
    let wrong = |what| Problem::field(Code::InvalidRequest, name, what);
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(wrong("a percent sign is followed by two hexadecimal digits"));
        };
        bytes.push((high << 4 | low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| wrong("percent-encoded bytes are UTF-8"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(id in "[A-Za-z0-9._:/-]{1,128}", key in "[!-~]{1,255}") {
            let mut segment = String::new();
            encode(&id, &mut segment);
            prop_assert!(!segment.contains('/'));
            prop_assert_eq!(id_of_segment("id", &segment), Ok(id));
            let path = operation_path(&key);
            let segment = path.strip_prefix("/v1/operations/").unwrap();
            prop_assert_eq!(key_of_segment(segment).map(|key| key.as_str().to_owned()), Ok(key));
        }

        #[test]
        fn any_segment_is_read_or_refused(segment in "\\PC{0,40}", percent in "[%0-9a-fA-Fxé]{0,20}") {
            for segment in [segment, percent] {
                let _ = (id_of_segment("id", &segment), key_of_segment(&segment));
            }
        }
    }

    #[test]
    fn illegal_ids() {
        for bad in ["", "%", "%2", "%zz", "a%20b", "a b", "%ff", "%00", "%C3%A9", &"x".repeat(129)] {
            let problem = id_of_segment("id", bad).expect_err(bad);
            assert_eq!((problem.code, problem.field_name()), (Code::InvalidRequest, Some("id")), "{bad:?}");
        }
        assert_eq!(id_of_segment("id", "a%2fb").as_deref(), Ok("a/b"));
    }
}
