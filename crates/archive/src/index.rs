//! A sealed index: hashes and ordinals, sorted, with a filter where most of what is asked for is absent.
//!
//! ```text
//! file   = block* filter table footer
//! block  = checksum:u64 count:u32 { hash:u64 ordinal:u32 [steps:u8] }*count zeros, 4096 bytes in all
//! filter = words; none in an index of touches
//! table  = the first hash of each block, as words
//! footer = magic first end entries blocks filter_words filter_checksum table_checksum 0.. checksum
//! ```
//!
//! Ordinals count from the index's first. `names` holds each name of each record. `touched` holds for each account its
//! newest record here and as many before it that no two are more than [`STEPS_MAX`](crate::STEPS_MAX) steps apart in the
//! account's history; `steps` is that distance from the entry before.

use std::ops::ControlFlow;

use disk::Disk;

use crate::DIRECTORY;
use crate::error::ArchiveError;
use crate::filter::Filter;
use crate::stream::{FOOTER_WORDS, Source, Writer, block_checksum, half_at, word_at};

pub(crate) const BLOCK_BYTES: usize = 4096;
const HEADER_BYTES: usize = 12;

/// What an index is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Names,
    Touched,
}

impl Kind {
    const fn magic(self) -> u64 {
        match self {
            Self::Names => u64::from_le_bytes(*b"TERTNAM\x01"),
            Self::Touched => u64::from_le_bytes(*b"TERTTOU\x01"),
        }
    }

    const fn entry_bytes(self) -> usize {
        match self {
            Self::Names => 12,
            Self::Touched => 13,
        }
    }

    const fn entries_per_block(self) -> usize {
        (BLOCK_BYTES - HEADER_BYTES) / self.entry_bytes()
    }

    /// The name of the index over the records `first..end`.
    pub(crate) fn file_name(self, first: u64, end: u64) -> String {
        let extension = match self {
            Self::Names => "names",
            Self::Touched => "touched",
        };
        format!("{DIRECTORY}/{first:020}-{end:020}.{extension}")
    }
}

/// One entry; the derived order is that of the index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Entry {
    pub(crate) hash: u64,
    pub(crate) ordinal: u64,
    pub(crate) steps: u8,
}

/// An index, open for reading.
#[derive(Debug)]
pub(crate) struct Index {
    source: Source,
    kind: Kind,
    first: u64,
    end: u64,
    entries: u64,
    filter: Filter,
    table: Vec<u64>,
}

/// An index that is being written; entries come in order.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    writer: Writer,
    kind: Kind,
    first: u64,
    end: u64,
    entries: u64,
    filter: Filter,
    table: Vec<u64>,
    block: Vec<u8>,
}

impl IndexWriter {
    /// For at most so many entries.
    pub(crate) fn create(
        disk: &dyn Disk,
        kind: Kind,
        first: u64,
        end: u64,
        entries: u64,
    ) -> Result<Self, ArchiveError> {
        let names = if kind == Kind::Names { entries } else { 0 };
        Ok(Self {
            writer: Writer::create(disk, kind.file_name(first, end))?,
            kind,
            first,
            end,
            entries: 0,
            filter: Filter::with_room_for(names),
            table: Vec::new(),
            block: Vec::with_capacity(BLOCK_BYTES),
        })
    }

    pub(crate) fn put(&mut self, entry: Entry) -> Result<(), ArchiveError> {
        if self.block.is_empty() {
            self.block.resize(HEADER_BYTES, 0);
            self.table.push(entry.hash);
        }
        self.block.extend_from_slice(&entry.hash.to_le_bytes());
        self.block.extend_from_slice(&((entry.ordinal - self.first) as u32).to_le_bytes());
        match self.kind {
            Kind::Names => self.filter.insert(entry.hash),
            Kind::Touched => self.block.push(entry.steps),
        }
        self.entries += 1;
        if self.block.len() + self.kind.entry_bytes() > BLOCK_BYTES {
            self.put_block()?;
        }
        Ok(())
    }

    /// Ends the file; its content is durable after it, its name is not.
    pub(crate) fn finish(mut self) -> Result<Index, ArchiveError> {
        if !self.block.is_empty() {
            self.put_block()?;
        }
        let filter_checksum = self.writer.put_words(self.filter.words())?;
        let table_checksum = self.writer.put_words(self.table.iter().copied())?;
        let mut footer = [0; FOOTER_WORDS];
        footer[..8].copy_from_slice(&[
            self.kind.magic(),
            self.first,
            self.end,
            self.entries,
            self.table.len() as u64,
            self.filter.bytes() as u64 / 8,
            filter_checksum,
            table_checksum,
        ]);
        let (name, file) = self.writer.finish(footer)?;
        let source = Source::check(name, file, self.kind.magic())?;
        let Self { kind, first, end, entries, filter, mut table, .. } = self;
        table.shrink_to_fit();
        Ok(Index { source, kind, first, end, entries, filter, table })
    }

    fn put_block(&mut self) -> Result<(), ArchiveError> {
        let count = (self.block.len() - HEADER_BYTES) / self.kind.entry_bytes();
        self.block.resize(BLOCK_BYTES, 0);
        self.block[8..HEADER_BYTES].copy_from_slice(&(count as u32).to_le_bytes());
        let checksum = block_checksum(&self.block[8..], self.writer.salt(), self.writer.offset());
        self.block[..8].copy_from_slice(&checksum.to_le_bytes());
        self.writer.put(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

impl Index {
    pub(crate) fn open(disk: &dyn Disk, kind: Kind, first: u64, end: u64) -> Result<Self, ArchiveError> {
        let source = Source::open(disk, kind.file_name(first, end), kind.magic())?;
        let [_, first, end, entries, blocks, filter_words, filter_checksum, table_checksum, ..] = source.footer;
        let filter_offset = blocks * BLOCK_BYTES as u64;
        let filter = Filter::from_words(&source.words(filter_offset, filter_words, filter_checksum)?);
        let table = source.words(filter_offset + filter_words * 8, blocks, table_checksum)?;
        Ok(Self { source, kind, first, end, entries, filter, table })
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    pub(crate) const fn entries(&self) -> u64 {
        self.entries
    }

    pub(crate) const fn blocks(&self) -> usize {
        self.table.len()
    }

    pub(crate) const fn memory_bytes(&self) -> usize {
        self.filter.bytes() + self.table.len() * 8
    }

    #[inline]
    pub(crate) fn may_have(&self, hash: u64) -> bool {
        self.filter.may_have(hash)
    }

    /// Hands the entries of a hash to `visit`, newest first, until it breaks.
    pub(crate) fn each_of<B>(
        &self,
        hash: u64,
        mut visit: impl FnMut(Entry) -> Result<ControlFlow<B>, ArchiveError>,
    ) -> Result<Option<B>, ArchiveError> {
        let mut block = [0; BLOCK_BYTES];
        let mut place = self.table.partition_point(|first| *first <= hash);
        while place > 0 {
            place -= 1;
            self.blocks_into(place, &mut block)?;
            let count = self.count_in(place, &block)?;
            let mut at = partition_point(count, |at| self.hash_at(&block, at) <= hash);
            while at > 0 {
                at -= 1;
                let entry = self.entry_at(&block, at);
                if entry.hash != hash {
                    return Ok(None);
                }
                if let ControlFlow::Break(found) = visit(entry)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The newest entry of a hash at or before an ordinal, and the oldest after it.
    pub(crate) fn around(&self, hash: u64, ordinal: u64) -> Result<(Option<u64>, Option<u64>), ArchiveError> {
        let mut block = [0; BLOCK_BYTES];
        // Blocks that begin with the hash are told apart by their first ordinal, which only they themselves know.
        let mut low = self.table.partition_point(|first| *first < hash);
        let mut high = self.table.partition_point(|first| *first <= hash);
        let mut after = None;
        while low < high {
            let middle = usize::midpoint(low, high);
            self.blocks_into(middle, &mut block)?;
            let first = self.entry_at(&block, 0).ordinal;
            if first <= ordinal {
                low = middle + 1;
            } else {
                high = middle;
                after = Some(first);
            }
        }
        let Some(place) = low.checked_sub(1) else { return Ok((None, after)) };
        self.blocks_into(place, &mut block)?;
        let count = self.count_in(place, &block)?;
        let split = partition_point(count, |at| {
            let entry = self.entry_at(&block, at);
            (entry.hash, entry.ordinal) <= (hash, ordinal)
        });
        let ordinal_at =
            |at: usize| Some(self.entry_at(&block, at)).filter(|entry| entry.hash == hash).map(|entry| entry.ordinal);
        let at_or_before = split.checked_sub(1).and_then(ordinal_at);
        Ok((at_or_before, if split < count { ordinal_at(split) } else { after }))
    }

    /// Reads and checks as many blocks as fit the buffer, which is a whole number of them.
    pub(crate) fn blocks_into(&self, place: usize, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        let start = place as u64 * BLOCK_BYTES as u64;
        self.source.read_into(start, bytes)?;
        for (block, offset) in bytes.chunks_exact(BLOCK_BYTES).zip((start..).step_by(BLOCK_BYTES)) {
            if word_at(block, 0) != block_checksum(&block[8..], self.source.salt(), offset) {
                return Err(self.source.corrupt(offset, "the block does not match its checksum"));
            }
        }
        Ok(())
    }

    /// How many entries a block has.
    pub(crate) fn count_in(&self, place: usize, block: &[u8]) -> Result<usize, ArchiveError> {
        let count = half_at(block, 8) as usize;
        if count > self.kind.entries_per_block() {
            return Err(self.source.corrupt(place as u64 * BLOCK_BYTES as u64, "more entries than fit a block"));
        }
        Ok(count)
    }

    #[inline]
    pub(crate) fn entry_at(&self, block: &[u8], at: usize) -> Entry {
        let place = HEADER_BYTES + at * self.kind.entry_bytes();
        let steps = if self.kind == Kind::Touched { block[place + 12] } else { 1 };
        Entry { hash: word_at(block, place), ordinal: self.first + u64::from(half_at(block, place + 8)), steps }
    }

    fn hash_at(&self, block: &[u8], at: usize) -> u64 {
        word_at(block, HEADER_BYTES + at * self.kind.entry_bytes())
    }
}

/// How many of the first `len` places hold, where those that hold come first.
fn partition_point(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
