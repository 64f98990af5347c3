//! A segment's name and its first block: whose it is and which one, known and durable before anything is appended to it.
//!
//! The header, little-endian, in a block of zeros: magic (8 bytes), version (u32), length of the cell's name (u32), the
//! name (32), the log's id (u64), the segment's number (u64), checksum of all before (u64).

use crate::{BLOCK_BYTES, DIR};
use log::LogError;
use words::{CELL_BYTES_MAX, CellName};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"TERTLOG\0";
/// The version of everything in the directory.
pub(crate) const VERSION: u32 = 2;
const NAME_AT: usize = 16;
const NUMBERS_AT: usize = NAME_AT + CELL_BYTES_MAX;
const CHECKSUM_AT: usize = NUMBERS_AT + 16;

// The header fits into the block that it has for itself.
const _: () = assert!(CHECKSUM_AT + 8 <= BLOCK_BYTES);

pub(crate) const RESTORE: &str = "restore the data directory from a backup and keep the damaged one aside; \
    `tertium log dump` shows the entries before the damage";

/// What a segment says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) cell: CellName,
    /// Drawn when the log was created, so that nobody can guess the seeds of its checksums.
    pub(crate) log_id: u64,
    /// Its place in the row of segments, from 1; no two of a log ever share one.
    pub(crate) number: u64,
}

impl SegmentHeader {
    /// The seed of its frames' checksums: no two segments share one, so that none takes another's frames for its own.
    pub(crate) fn seed(&self) -> u64 {
        let mut bytes = [0; 16];
        for (place, word) in bytes.chunks_exact_mut(8).zip([self.log_id, self.number]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        xxh3_64(&bytes)
    }

    pub(crate) fn encode(&self, out: &mut [u8]) {
        let name = self.cell.as_str().as_bytes();
        out.fill(0);
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(name.len() as u32).to_le_bytes());
        out[NAME_AT..NAME_AT + name.len()].copy_from_slice(name);
        for (place, number) in out[NUMBERS_AT..CHECKSUM_AT].chunks_exact_mut(8).zip([self.log_id, self.number]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = xxh3_64(&out[..CHECKSUM_AT]);
        out[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads a segment's header and checks it against its name and, where known, the cell it must be of.
    pub(crate) fn decode(bytes: &[u8], name: &str, number: u64, cell: Option<&CellName>) -> Result<Self, LogError> {
        let corrupt = |offset: usize, what: &str| LogError::Corrupt {
            file: name.to_owned(),
            offset: offset as u64,
            what: what.to_owned(),
            remedy: RESTORE,
        };
        let word =
            |at: usize| bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u64::from_le_bytes(*b)).unwrap_or(0);
        if bytes.get(..8) != Some(MAGIC) {
            return Err(corrupt(0, "this is no log segment, or its first bytes are damaged"));
        }
        let version = word(8) as u32;
        let whole = bytes.len() >= CHECKSUM_AT + 8 && word(CHECKSUM_AT) == xxh3_64(&bytes[..CHECKSUM_AT]);
        // Another version may keep its checksum elsewhere, so the version is looked at first; a damaged one is told apart
        // by the checksum that still matches once the version is put back.
        if !whole && (version == VERSION || whole_as_this_version(bytes)) {
            return Err(corrupt(8, "the header's checksum does not match"));
        }
        if version != VERSION {
            return Err(LogError::Foreign {
                file: name.to_owned(),
                what: format!("the log has version {version}, this program reads version {VERSION}"),
                remedy: "use the version of the program that wrote it",
            });
        }
        let len = (word(8) >> 32) as usize;
        let text = bytes.get(NAME_AT..NAME_AT + len.min(CELL_BYTES_MAX)).and_then(|b| std::str::from_utf8(b).ok());
        let found = text.and_then(|text| CellName::new(text).ok()).ok_or_else(|| corrupt(NAME_AT, "no cell's name"))?;
        if cell.is_some_and(|cell| *cell != found) {
            return Err(LogError::Foreign {
                file: name.to_owned(),
                what: format!("it is the log of cell `{found}`, not of `{}`", cell.map_or("", |cell| cell.as_str())),
                remedy: "give each cell a data directory of its own, or correct the cell's name",
            });
        }
        if word(NUMBERS_AT + 8) != number {
            return Err(corrupt(NUMBERS_AT + 8, "the header's number is not the one in the file's name"));
        }
        Ok(Self { cell: found, log_id: word(NUMBERS_AT), number })
    }
}

fn whole_as_this_version(bytes: &[u8]) -> bool {
    let Some(mut head) = bytes.first_chunk::<{ CHECKSUM_AT + 8 }>().copied() else { return false };
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let (covered, checksum) = head.split_at(CHECKSUM_AT);
    xxh3_64(covered).to_le_bytes() == checksum
}

/// The name of the segment with a number. The names' order is the numbers'.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{DIR}/{PREFIX}{number:0DIGITS$}{SUFFIX}")
}

/// The number in a file's name, where it is a segment.
///
/// # Errors
/// [`LogError::Foreign`] where it ends like a segment, but is named in another way.
pub(crate) fn segment_number(file: &str) -> Result<Option<u64>, LogError> {
    let Some(stem) = file.strip_suffix(SUFFIX) else { return Ok(None) };
    let digits = stem.strip_prefix(PREFIX).filter(|digits| digits.len() == DIGITS);
    let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).map(Some).ok_or_else(|| LogError::Foreign {
        file: format!("{DIR}/{file}"),
        what: "this program names its segments `segment-`, 12 digits, `.seg`".to_owned(),
        remedy: "use the version of the program that wrote it, or another data directory",
    })
}

const PREFIX: &str = "segment-";
const SUFFIX: &str = ".seg";
const DIGITS: usize = 12;

/// The chain's digest before the first entry.
pub(crate) const CHAIN_START: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> (SegmentHeader, Vec<u8>, String) {
        let cell = CellName::new("main").expect("name");
        let header = SegmentHeader { cell, log_id: 77, number: 42 };
        let mut bytes = vec![1; BLOCK_BYTES];
        header.encode(&mut bytes);
        (header, bytes, segment_name(42))
    }

    #[test]
    fn round_trip() {
        let (header, bytes, name) = header();
        assert_eq!(name, "log/segment-000000000042.seg");
        assert_eq!(SegmentHeader::decode(&bytes, &name, 42, Some(&header.cell)).expect("valid"), header);
    }

    #[test]
    fn names() {
        for (file, expected) in [
            ("segment-000000000042.seg", Some(Some(42))),
            ("spare-00000001.spare", Some(None)),
            ("segment-42.seg", None),
            ("segment-00000000004x.seg", None),
            ("00000000000000000042.seg", None),
        ] {
            let found = segment_number(file);
            assert!(found.is_ok() || matches!(found, Err(LogError::Foreign { .. })), "{file}");
            assert_eq!(found.ok(), expected, "{file}");
        }
    }

    #[test]
    fn each_flipped_bit_is_corruption() {
        let (_, bytes, name) = header();
        for bit in 0..(CHECKSUM_AT + 8) * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = SegmentHeader::decode(&bytes, &name, 42, None).expect_err("damaged");
            assert!(matches!(error, LogError::Corrupt { .. }), "bit {bit}: {error}");
        }
    }

    #[test]
    fn another_version_and_another_cell_are_told_apart_from_damage() {
        let (header, mut bytes, name) = header();
        let other = CellName::new("other").expect("name");
        let error = SegmentHeader::decode(&bytes, &name, 42, Some(&other)).expect_err("another cell");
        assert!(matches!(&error, LogError::Foreign { what, .. } if what.contains("`main`")), "{error}");

        bytes[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
        let checksum = xxh3_64(&bytes[..CHECKSUM_AT]).to_le_bytes();
        bytes[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&checksum);
        let error = SegmentHeader::decode(&bytes, &name, 42, Some(&header.cell)).expect_err("another version");
        assert!(matches!(&error, LogError::Foreign { what, .. } if what.contains("version 3")), "{error}");

        let (_, bytes, _) = self::header();
        assert!(SegmentHeader::decode(&bytes, &segment_name(43), 43, None).is_err(), "a renamed segment");
    }
}
