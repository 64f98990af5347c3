//! The id of a transfer: a UUIDv7 that is also the transfer's address, so that finding one needs no index.
//!
//! RFC 9562, section 5.7: 48 bits of milliseconds, the version, and 74 bits that are ours: 56 bits of ordinal (which
//! record of the cell it is) and 18 bits of tag. The tag is a hash of the two numbers and the cell's name; it tells an id
//! of this cell from one that was mistyped or belongs elsewhere. It hides nothing: ids are not secrets.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::position::CellName;

const ORDINAL_BITS: u32 = 56;
const TAG_BITS: u32 = 18;
// 12 bits of rand_a hold the ordinal's upper bits, the 62 of rand_b the rest and the tag.
const _: () = assert!(ORDINAL_BITS + TAG_BITS == 12 + 62);

/// Names one transfer for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TransferId(u128);

/// Why a text is no transfer id: it is not a UUIDv7 in canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransferIdError;

impl TransferId {
    /// The id of the transfer that is record `ordinal` of a cell, made at `millis` since 1970.
    ///
    /// `cell_tag` is [`TransferId::cell_tag`] of the cell's name. Asserts that both numbers fit (48 and 56 bits).
    pub fn new(cell_tag: u64, millis: u64, ordinal: u64) -> Self {
        assert!(millis >> 48 == 0, "milliseconds of the year 10889 and later do not fit a UUIDv7");
        assert!(ordinal >> ORDINAL_BITS == 0, "the ordinal does not fit 56 bits");
        let ours = u128::from(ordinal) << TAG_BITS | u128::from(tag(cell_tag, millis, ordinal));
        let rand_a = ours >> 62;
        let rand_b = ours & ((1 << 62) - 1);
        Self(u128::from(millis) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)
    }

    /// What stands for the cell in the tag of its ids.
    pub fn cell_tag(cell: &CellName) -> u64 {
        xxh3_64_with_seed(cell.as_str().as_bytes(), 0)
    }

    /// The ordinal in it, if the id is of the cell with that tag; `None` for every other UUIDv7.
    pub fn ordinal(self, cell_tag: u64) -> Option<u64> {
        let ours = (self.0 >> 64 & 0xfff) << 62 | self.0 & ((1 << 62) - 1);
        let ordinal = (ours >> TAG_BITS) as u64;
        let id_tag = (ours & ((1 << TAG_BITS) - 1)) as u64;
        (tag(cell_tag, self.millis(), ordinal) == id_tag).then_some(ordinal)
    }

    /// Milliseconds since 1970 at which the transfer was made.
    pub const fn millis(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// Big-endian, as a UUID's bytes.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Of a UUID's bytes.
    ///
    /// # Errors
    /// [`TransferIdError`] where version or variant is another.
    pub const fn from_bytes(bytes: [u8; 16]) -> Result<Self, TransferIdError> {
        let raw = u128::from_be_bytes(bytes);
        if raw >> 76 & 0xf != 0x7 || raw >> 62 & 0b11 != 0b10 {
            return Err(TransferIdError);
        }
        Ok(Self(raw))
    }

    /// Reads the canonical form: 36 characters, lower case, with hyphens.
    ///
    /// # Errors
    /// [`TransferIdError`].
    pub fn parse(text: &str) -> Result<Self, TransferIdError> {
        if text.len() != 36 {
            return Err(TransferIdError);
        }
        let mut raw = 0u128;
        for (i, byte) in text.bytes().enumerate() {
            if matches!(i, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return Err(TransferIdError);
                }
                continue;
            }
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return Err(TransferIdError),
            };
            raw = raw << 4 | u128::from(digit);
        }
        Self::from_bytes(raw.to_be_bytes())
    }

    /// The canonical form, as bytes of ASCII.
    pub fn to_ascii(self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in self.to_bytes().into_iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 0xf)];
            at += 2;
        }
        text
    }
}

fn tag(cell_tag: u64, millis: u64, ordinal: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&millis.to_le_bytes());
    bytes[8..].copy_from_slice(&ordinal.to_le_bytes());
    xxh3_64_with_seed(&bytes, cell_tag) & ((1 << TAG_BITS) - 1)
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_ascii();
        f.write_str(std::str::from_utf8(&text).expect("hexadecimal digits and hyphens are ASCII"))
    }
}

impl fmt::Display for TransferIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a transfer id is a UUIDv7 of 36 lower-case characters, as this server gave it")
    }
}

impl std::error::Error for TransferIdError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(millis in 0u64..1 << 48, ordinal in 0u64..1 << 56, cell_tag: u64) {
            let id = TransferId::new(cell_tag, millis, ordinal);
            prop_assert_eq!(id.ordinal(cell_tag), Some(ordinal));
            prop_assert_eq!(id.millis(), millis);
            prop_assert_eq!(TransferId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!(TransferId::from_bytes(id.to_bytes()), Ok(id));
            prop_assert_eq!(crate::key_time_ms(&id.to_string()), Some(millis));
        }

        #[test]
        fn sorted_as_made(millis in 0u64..1 << 47, ordinal in 0u64..1 << 55, later in 0u64..1000, more in 1u64..1000) {
            prop_assert!(TransferId::new(7, millis, ordinal) < TransferId::new(7, millis + later, ordinal + more));
        }
    }

    #[test]
    fn of_another_cell() {
        let ours = TransferId::cell_tag(&CellName::new("main").unwrap());
        let theirs = TransferId::cell_tag(&CellName::new("other").unwrap());
        let strays = (0..1_000).filter(|n| TransferId::new(theirs, 1, *n).ordinal(ours).is_some()).count();
        assert!(strays <= 2, "{strays} of 1,000 ids of another cell pass, 1 in 2^18 is expected");
    }

    #[test]
    fn garbage() {
        for bad in [
            "",
            "x",
            "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
            "017f22e2-79b0-4cc3-98c4-dc0c0c07398f",
            "017f22e2-79b0-7cc3-18c4-dc0c0c07398f",
            "017f22e2079b0-7cc3-98c4-dc0c0c07398f",
        ] {
            assert_eq!(TransferId::parse(bad), Err(TransferIdError), "{bad:?}");
        }
    }
}
