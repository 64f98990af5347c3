//! Where a list goes on. Opaque to strangers, versioned, and good only for the list that gave it.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use crate::codes::Code;
use crate::problem::Problem;

const VERSION: u8 = 1;
/// version, list, where, check.
const BYTES: usize = 1 + 1 + 8 + 4;

/// Which list a cursor belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum List {
    /// `GET /v1/accounts`; its scope is the `unit` asked for, or empty.
    Accounts = 1,
    /// `GET /v1/accounts/{id}/transfers`; its scope is the account's id.
    Transfers = 2,
    /// `GET /v1/uncertain`; its scope is the number of the last call, its place the stamp since when that is uncertain.
    Uncertain = 3,
    /// `GET /v1/runs` and the many at once below it; its scope is the state and the saga asked for, with a space between.
    Runs = 4,
}

/// A place in a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    list: List,
    check: u32,
    at: u64,
}

impl Cursor {
    /// The place `at` of a list; what the number means is the list's own matter.
    pub fn new(list: List, scope: &str, at: u64) -> Self {
        Self { list, check: check(list, scope, at), at }
    }

    /// The place that `text` stands for in this list.
    ///
    /// # Errors
    /// `cursor-invalid` for everything this server has not given out for this list.
    pub fn parse(list: List, scope: &str, text: &str) -> Result<u64, Problem> {
        let bytes = from_hex(text).ok_or_else(|| Problem::of(Code::CursorInvalid))?;
        let [version, kind, at0, at1, at2, at3, at4, at5, at6, at7, ..] = bytes;
        let at = u64::from_be_bytes([at0, at1, at2, at3, at4, at5, at6, at7]);
        let expected = Self::new(list, scope, at);
        if version != VERSION || kind != list as u8 || bytes != expected.bytes() {
            return Err(Problem::of(Code::CursorInvalid));
        }
        Ok(at)
    }

    fn bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1] = self.list as u8;
        bytes[2..10].copy_from_slice(&self.at.to_be_bytes());
        bytes[10..].copy_from_slice(&self.check.to_be_bytes());
        bytes
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Tells a cursor of this list from a mistyped one and from one of another list. It protects nothing: a cursor gives no
/// access that the list itself does not give.
fn check(list: List, scope: &str, at: u64) -> u32 {
    let mut bytes = Vec::with_capacity(9 + scope.len());
    bytes.push(list as u8);
    bytes.extend_from_slice(&at.to_be_bytes());
    bytes.extend_from_slice(scope.as_bytes());
    xxh3_64(&bytes) as u32
}

/// Lower case only, so that each cursor has one spelling.
fn from_hex(text: &str) -> Option<[u8; BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * BYTES {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(at: u64, scope in "[a-z]{0,8}", other in "[A-Z]{1,8}") {
            let text = Cursor::new(List::Transfers, &scope, at).to_string();
            prop_assert_eq!(Cursor::parse(List::Transfers, &scope, &text), Ok(at));
            prop_assert!(Cursor::parse(List::Transfers, &other, &text).is_err(), "another account's");
            prop_assert!(Cursor::parse(List::Accounts, &scope, &text).is_err(), "another list's");
        }

        #[test]
        fn garbage(text in "\\PC{0,40}", hex in "[0-9a-f]{28}") {
            for text in [text, hex] {
                prop_assert_eq!(Cursor::parse(List::Accounts, "", &text).unwrap_err().code, Code::CursorInvalid);
            }
        }
    }
}
