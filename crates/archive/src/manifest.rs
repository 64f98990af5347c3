//! The one file that says which files count.
//!
//! ```text
//! MANIFEST = magic hash_seed forget_before segments names touched
//!            { first count }*segments { first end level }*names { first end level }*touched checksum    (words)
//! ```

use std::io;

use disk::{Disk, Mode, read_all};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::ArchiveError;
use crate::index::Kind;
use crate::stream::word_at;
use crate::{DIRECTORY, records};

/// "TERTMAN" and the version of the format.
const MAGIC: u64 = u64::from_le_bytes(*b"TERTMAN\x01");
const HEAD_WORDS: usize = 6;

pub(crate) const FILE: &str = "archive/MANIFEST";
const TEMPORARY: &str = "archive/MANIFEST.tmp";

/// What the archive consists of, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Manifest {
    pub(crate) hash_seed: u64,
    pub(crate) forget_before: u64,
    pub(crate) segments: Vec<SegmentRow>,
    pub(crate) names: Vec<IndexRow>,
    pub(crate) touched: Vec<IndexRow>,
}

/// A segment of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentRow {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// An index over the records `first..end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IndexRow {
    pub(crate) first: u64,
    pub(crate) end: u64,
    /// How often its entries were merged.
    pub(crate) level: u64,
}

impl Manifest {
    /// The one on the disk, if there is one.
    pub(crate) fn load(disk: &dyn Disk) -> Result<Option<Self>, ArchiveError> {
        let bytes = match read_all(disk, FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ArchiveError::io("read", FILE, error)),
        };
        let bad = |what| ArchiveError::corrupt(FILE, 0, what);
        let content = bytes.len().checked_sub(8).ok_or_else(|| bad("the file is too short"))?;
        if !bytes.len().is_multiple_of(8) || word_at(&bytes, content) != xxh3_64(&bytes[..content]) {
            return Err(bad("the manifest does not match its checksum"));
        }
        let words: Vec<u64> = bytes[..content].chunks_exact(8).map(|bytes| word_at(bytes, 0)).collect();
        Self::from_words(&words).map(Some).ok_or_else(|| bad("not a manifest of this version"))
    }

    fn from_words(words: &[u64]) -> Option<Self> {
        let (head, rows) = words.split_at_checked(HEAD_WORDS)?;
        let &[MAGIC, hash_seed, forget_before, segments, names, touched] = head else { return None };
        let words_of = |rows: u64, words: usize| usize::try_from(rows).ok()?.checked_mul(words);
        let (segments, rows) = rows.split_at_checked(words_of(segments, 2)?)?;
        let (names, touched_rows) = rows.split_at_checked(words_of(names, 3)?)?;
        if touched_rows.len() != words_of(touched, 3)? {
            return None;
        }
        let index_rows = |words: &[u64]| {
            words.chunks_exact(3).map(|row| IndexRow { first: row[0], end: row[1], level: row[2] }).collect()
        };
        Some(Self {
            hash_seed,
            forget_before,
            segments: segments.chunks_exact(2).map(|row| SegmentRow { first: row[0], count: row[1] }).collect(),
            names: index_rows(names),
            touched: index_rows(touched_rows),
        })
    }

    fn words(&self) -> Vec<u64> {
        let rows = [self.segments.len(), self.names.len(), self.touched.len()];
        let mut words = vec![MAGIC, self.hash_seed, self.forget_before];
        words.extend(rows.map(|rows| rows as u64));
        words.extend(self.segments.iter().flat_map(|row| [row.first, row.count]));
        words.extend(self.names.iter().chain(&self.touched).flat_map(|row| [row.first, row.end, row.level]));
        words
    }

    /// Makes this the manifest. Every file it names is durable before, name and content. A failure before the rename
    /// leaves the old one in force; after it nobody knows which is, and the archive must be opened again.
    pub(crate) fn publish(&self, disk: &dyn Disk) -> Result<(), ArchiveError> {
        let mut bytes: Vec<u8> = self.words().iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        match disk.remove(TEMPORARY) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ArchiveError::io("remove", TEMPORARY, error));
            }
            _ => {}
        }
        let file = disk.open(TEMPORARY, Mode::Create).map_err(|error| ArchiveError::writing(TEMPORARY, error))?;
        file.write_at(&bytes, 0).map_err(|error| ArchiveError::writing(TEMPORARY, error))?;
        file.sync().map_err(|error| ArchiveError::io("sync", TEMPORARY, error))?;
        disk.rename(TEMPORARY, FILE).map_err(|error| ArchiveError::io("replace", FILE, error))?;
        disk.sync_dir(DIRECTORY).map_err(|error| ArchiveError::io("sync", DIRECTORY, error))
    }

    pub(crate) const fn rows(&self, kind: Kind) -> &Vec<IndexRow> {
        match kind {
            Kind::Names => &self.names,
            Kind::Touched => &self.touched,
        }
    }

    pub(crate) const fn rows_mut(&mut self, kind: Kind) -> &mut Vec<IndexRow> {
        match kind {
            Kind::Names => &mut self.names,
            Kind::Touched => &mut self.touched,
        }
    }

    /// The ordinals below are sealed.
    pub(crate) fn end(&self) -> u64 {
        self.segments.last().map_or(0, |row| row.first + row.count)
    }

    /// The files that count.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = vec![FILE.to_owned()];
        files.extend(self.segments.iter().map(|row| records::file_name(row.first)));
        for kind in [Kind::Names, Kind::Touched] {
            files.extend(self.rows(kind).iter().map(|row| kind.file_name(row.first, row.end)));
        }
        files
    }

    /// Drops what is at or above an ordinal, which must be where a segment ends, and every index likewise. What comes again from
    /// there on was not forgotten yet.
    pub(crate) fn cut(&mut self, next_ordinal: u64) -> Result<(), ArchiveError> {
        self.forget_before = self.forget_before.min(next_ordinal);
        self.segments.retain(|row| row.first < next_ordinal);
        self.names.retain(|row| row.first < next_ordinal);
        self.touched.retain(|row| row.first < next_ordinal);
        let refuse = |what| Err(ArchiveError::Boundary { next_ordinal, what });
        if self.end() != next_ordinal {
            return refuse(format!("its sealed records end at {}", self.end()));
        }
        let straddles = |rows: &[IndexRow]| rows.last().is_some_and(|row| row.end != next_ordinal);
        if straddles(&self.names) || straddles(&self.touched) || self.touched.is_empty() && next_ordinal > 0 {
            return refuse("an index goes beyond it or ends before it".to_owned());
        }
        Ok(())
    }

    /// Checks that segments and indexes follow each other without a gap.
    pub(crate) fn check(&self) -> Result<(), ArchiveError> {
        let joined = self.segments.windows(2).all(|rows| rows[0].first + rows[0].count == rows[1].first)
            && self.segments.first().is_none_or(|row| row.first == 0)
            && [&self.names, &self.touched].iter().all(|rows| rows.windows(2).all(|rows| rows[0].end == rows[1].first));
        if joined { Ok(()) } else { Err(ArchiveError::corrupt(FILE, 0, "the manifest has a gap")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_loaded_and_a_flipped_bit_is_seen() {
        let disk = disk::SimDisk::new();
        disk.create_dir(DIRECTORY).expect("a directory");
        assert_eq!(Manifest::load(&disk).expect("no file"), None);
        let row = |first, end, level| IndexRow { first, end, level };
        let manifest = Manifest {
            hash_seed: 7,
            forget_before: 3,
            segments: vec![SegmentRow { first: 0, count: 5 }, SegmentRow { first: 5, count: 1 }],
            names: vec![row(0, 5, 1), row(5, 6, 0)],
            touched: vec![row(0, 6, 2)],
        };
        manifest.publish(&disk).expect("room");
        assert_eq!(Manifest::load(&disk).expect("a sound file").as_ref(), Some(&manifest));
        let bytes = read_all(&disk, FILE).expect("the file").len() as u64;
        for offset in 0..bytes {
            disk.flip_bit(FILE, offset, (offset % 8) as u8).expect("in the file");
            assert!(matches!(Manifest::load(&disk), Err(ArchiveError::Corrupt { .. })), "at {offset}");
            disk.flip_bit(FILE, offset, (offset % 8) as u8).expect("in the file");
        }
    }
}
