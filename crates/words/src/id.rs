//! Names of things: 1 to 128 characters of `A-Z a-z 0-9 . _ : / -`.

use std::fmt;

/// The longest id, in bytes (each character is one).
pub const ID_BYTES_MAX: usize = 128;

/// Why a text is no id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdError {
    /// No characters at all.
    Empty,
    /// More than [`ID_BYTES_MAX`].
    TooLong {
        /// How many bytes it has.
        bytes: usize,
    },
    /// A character outside the alphabet.
    Character {
        /// Its byte offset.
        at: usize,
    },
}

/// Checks that `text` is an id and hands it back.
///
/// # Errors
/// [`IdError`], naming the first thing that is wrong.
pub fn check_id(text: &str) -> Result<&str, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong { bytes: text.len() });
    }
    match text.bytes().position(|b| !ALLOWED[b as usize]) {
        Some(at) => Err(IdError::Character { at }),
        None => Ok(text),
    }
}

/// Which bytes an id may hold.
const ALLOWED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b':' | b'/' | b'-');
        byte += 1;
    }
    table
};

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "an id has at least 1 character"),
            Self::TooLong { bytes } => write!(f, "an id has at most {ID_BYTES_MAX} characters, this has {bytes}"),
            Self::Character { at } => {
                write!(f, "an id is made of A-Z a-z 0-9 . _ : / -, the character at offset {at} is not")
            }
        }
    }
}

impl std::error::Error for IdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        for good in ["a", "A.b_c:d/e-f", &"x".repeat(128)] {
            assert_eq!(check_id(good), Ok(good));
        }
        assert_eq!(check_id(""), Err(IdError::Empty));
        assert_eq!(check_id(&"x".repeat(129)), Err(IdError::TooLong { bytes: 129 }));
        for bad in [" ", "a b", "a\0", "é", "a%20", "a\n", "a\"", "a\u{202e}", "#"] {
            assert!(matches!(check_id(bad), Err(IdError::Character { .. })), "{bad:?}");
        }
    }
}
