//! A segment's name and its first block.
//!
//! The header, little-endian, in a block of zeros: magic (8 bytes), version (u32), length of the cell's name (u32), the
//! name (32), the log's id (u64), first index (u64), epoch and digest before it (u64 each), checksum of all before (u64).

use crate::{BLOCK_BYTES, DIR};
use log::LogError;
use words::{CELL_BYTES_MAX, CellName, Position};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"TERTLOG\0";
/// The version of everything in the directory.
pub(crate) const VERSION: u32 = 1;
const NAME_AT: usize = 16;
const NUMBERS_AT: usize = NAME_AT + CELL_BYTES_MAX;
const CHECKSUM_AT: usize = NUMBERS_AT + 32;

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
    /// The position before the segment's first entry, and the chain's digest there.
    pub(crate) before: Position,
    pub(crate) digest: u64,
}

impl SegmentHeader {
    pub(crate) fn first(&self) -> u64 {
        self.before.index + 1
    }

    /// The seed of its frames' checksums: no two segments share one, so that none takes another's frames for its own.
    pub(crate) fn seed(&self) -> u64 {
        let mut bytes = [0; 32];
        let words = [self.log_id, self.before.epoch, self.before.index, self.digest];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
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
        let numbers = [self.log_id, self.before.index, self.before.epoch, self.digest];
        for (place, number) in out[NUMBERS_AT..CHECKSUM_AT].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = xxh3_64(&out[..CHECKSUM_AT]);
        out[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads a segment's header and checks it against its name and, where known, the cell it must be of.
    pub(crate) fn decode(bytes: &[u8], name: &str, cell: Option<&CellName>) -> Result<Self, LogError> {
        let corrupt = |offset: usize, what: &str| LogError::Corrupt {
            file: name.to_owned(),
            offset: offset as u64,
            what: what.to_owned(),
            remedy: RESTORE,
        };
        let number =
            |at: usize| bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u64::from_le_bytes(*b)).unwrap_or(0);
        if bytes.get(..8) != Some(MAGIC) {
            return Err(corrupt(0, "this is no log segment, or its first bytes are damaged"));
        }
        let version = number(8) as u32;
        let whole = bytes.len() >= CHECKSUM_AT + 8 && number(CHECKSUM_AT) == xxh3_64(&bytes[..CHECKSUM_AT]);
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
        let len = (number(8) >> 32) as usize;
        let text = bytes.get(NAME_AT..NAME_AT + len.min(CELL_BYTES_MAX)).and_then(|b| std::str::from_utf8(b).ok());
        let found = text.and_then(|text| CellName::new(text).ok()).ok_or_else(|| corrupt(NAME_AT, "no cell's name"))?;
        if cell.is_some_and(|cell| *cell != found) {
            return Err(LogError::Foreign {
                file: name.to_owned(),
                what: format!("it is the log of cell `{found}`, not of `{}`", cell.map_or("", |cell| cell.as_str())),
                remedy: "give each cell a data directory of its own, or correct the cell's name",
            });
        }
        let before = Position { index: number(NUMBERS_AT + 8), epoch: number(NUMBERS_AT + 16) };
        if before.index.checked_add(1).map(segment_name).as_deref() != Some(name) {
            return Err(corrupt(NUMBERS_AT + 8, "the header's first index is not the one in the file's name"));
        }
        Ok(Self { cell: found, log_id: number(NUMBERS_AT), before, digest: number(NUMBERS_AT + 24) })
    }
}

fn whole_as_this_version(bytes: &[u8]) -> bool {
    let Some(mut head) = bytes.first_chunk::<{ CHECKSUM_AT + 8 }>().copied() else { return false };
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let (covered, checksum) = head.split_at(CHECKSUM_AT);
    xxh3_64(covered).to_le_bytes() == checksum
}

/// The name of the segment that begins with an index.
pub(crate) fn segment_name(first: u64) -> String {
    format!("{DIR}/{first:020}.seg")
}

/// The first index in a segment's name, where the file is a segment.
pub(crate) fn segment_first(file: &str) -> Option<u64> {
    let digits = file.strip_suffix(".seg").filter(|digits| digits.len() == 20)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The chain's digest before the first entry.
pub(crate) const CHAIN_START: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> (SegmentHeader, Vec<u8>, String) {
        let cell = CellName::new("main").expect("name");
        let header = SegmentHeader { cell, log_id: 77, before: Position { epoch: 3, index: 41 }, digest: 99 };
        let mut bytes = vec![1; BLOCK_BYTES];
        header.encode(&mut bytes);
        (header, bytes, segment_name(42))
    }

    #[test]
    fn round_trip() {
        let (header, bytes, name) = header();
        assert_eq!(name, "log/00000000000000000042.seg");
        assert_eq!(segment_first("00000000000000000042.seg"), Some(42));
        assert_eq!(segment_first("42.seg"), None);
        assert_eq!(SegmentHeader::decode(&bytes, &name, Some(&header.cell)).expect("valid"), header);
    }

    #[test]
    fn each_flipped_bit_is_corruption() {
        let (_, bytes, name) = header();
        for bit in 0..(CHECKSUM_AT + 8) * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = SegmentHeader::decode(&bytes, &name, None).expect_err("damaged");
            assert!(matches!(error, LogError::Corrupt { .. }), "bit {bit}: {error}");
        }
    }

    #[test]
    fn another_version_and_another_cell_are_told_apart_from_damage() {
        let (header, mut bytes, name) = header();
        let other = CellName::new("other").expect("name");
        let error = SegmentHeader::decode(&bytes, &name, Some(&other)).expect_err("another cell");
        assert!(matches!(&error, LogError::Foreign { what, .. } if what.contains("`main`")), "{error}");

        bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
        let checksum = xxh3_64(&bytes[..CHECKSUM_AT]).to_le_bytes();
        bytes[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&checksum);
        let error = SegmentHeader::decode(&bytes, &name, Some(&header.cell)).expect_err("another version");
        assert!(matches!(&error, LogError::Foreign { what, .. } if what.contains("version 2")), "{error}");

        let (_, bytes, _) = self::header();
        assert!(SegmentHeader::decode(&bytes, &segment_name(43), None).is_err(), "a renamed segment");
    }
}
