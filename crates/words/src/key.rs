//! The idempotency key: names one intended effect of one principal.

use std::fmt;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// An idempotency key: 1 to 255 visible ASCII characters (0x21 to 0x7e).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key(Box<str>);

/// Why a text is no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// No characters at all.
    Empty,
    /// More than [`KEY_BYTES_MAX`].
    TooLong {
        /// How many bytes it has.
        bytes: usize,
    },
    /// A character that is not visible ASCII.
    Character {
        /// Its byte offset.
        at: usize,
    },
}

impl Key {
    /// The key of that text, without quotes.
    ///
    /// # Errors
    /// [`KeyError`], naming the first thing that is wrong.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        check_key(text).map(|text| Self(text.into()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks that `text` is a key and hands it back.
///
/// # Errors
/// [`KeyError`], naming the first thing that is wrong.
pub fn check_key(text: &str) -> Result<&str, KeyError> {
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    if text.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong { bytes: text.len() });
    }
    match text.bytes().position(|b| !b.is_ascii_graphic()) {
        Some(at) => Err(KeyError::Character { at }),
        None => Ok(text),
    }
}

/// The instant, in milliseconds since 1970, that a key carries in itself: a UUIDv7 (RFC 9562, section 5.7) or a ULID.
///
/// Only the canonical forms count: 36 characters with hyphens and version 7, or 26 characters of Crockford's base 32.
/// A 26-character key that happens to be base 32 is read as a ULID only if its time lies between 2010 and 2100, so that
/// an order number is not taken for a date.
pub fn key_time_ms(key: &str) -> Option<u64> {
    match key.len() {
        36 => uuid_v7_ms(key.as_bytes()),
        26 => ulid_ms(key.as_bytes()),
        _ => None,
    }
}

fn uuid_v7_ms(text: &[u8]) -> Option<u64> {
    let mut ms = 0u64;
    for (i, &byte) in text.iter().enumerate() {
        if matches!(i, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = (byte as char).to_digit(16)?;
        if i < 13 {
            ms = ms << 4 | u64::from(digit);
        }
    }
    let variant_is_rfc = matches!(text[19], b'8' | b'9' | b'a' | b'b' | b'A' | b'B');
    (text[14] == b'7' && variant_is_rfc).then_some(ms)
}

fn ulid_ms(text: &[u8]) -> Option<u64> {
    const YEAR_2010_MS: u64 = 1_262_304_000_000;
    const YEAR_2100_MS: u64 = 4_102_444_800_000;
    let mut ms = 0u64;
    for (i, byte) in text.iter().enumerate() {
        let digit = CROCKFORD.iter().position(|c| *c == byte.to_ascii_uppercase())?;
        if i < 10 {
            ms = ms << 5 | digit as u64;
        }
    }
    (YEAR_2010_MS..YEAR_2100_MS).contains(&ms).then_some(ms)
}

/// The digits of a ULID, in order: no I, L, O, U.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a key has at least 1 character"),
            Self::TooLong { bytes } => write!(f, "a key has at most {KEY_BYTES_MAX} characters, this has {bytes}"),
            Self::Character { at } => {
                write!(f, "a key is made of visible ASCII characters, the one at offset {at} is not")
            }
        }
    }
}

impl std::error::Error for KeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert_eq!(check_key("order-17/pay"), Ok("order-17/pay"));
        assert_eq!(check_key(""), Err(KeyError::Empty));
        assert_eq!(check_key(&"k".repeat(255)).map(str::len), Ok(255));
        assert_eq!(check_key(&"k".repeat(256)), Err(KeyError::TooLong { bytes: 256 }));
        for bad in ["a b", "tab\t", "é", "\u{7f}"] {
            assert!(matches!(check_key(bad), Err(KeyError::Character { .. })), "{bad:?}");
        }
    }

    #[test]
    fn time_in_the_key() {
        // RFC 9562, appendix A.6: 2022-02-22T19:22:22Z.
        assert_eq!(key_time_ms("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), Some(0x017F_22E2_79B0));
        assert_eq!(key_time_ms("017F22E2-79B0-4CC3-98C4-DC0C0C07398F"), None, "version 4 carries no time");
        assert_eq!(key_time_ms("01ARZ3NDEKTSV4RRFFQ69G5FAV"), Some(1_469_922_850_259));
        assert_eq!(key_time_ms("00000000000000000000000001"), None, "an order number, not a ULID");
        assert_eq!(key_time_ms("order-1"), None);
        assert_eq!(key_time_ms("é7F22E2-79B0-7CC3-98C4-DC0C0C07398F"), None);
    }
}
