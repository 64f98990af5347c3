//! A sealed segment: records in the order of their ordinals, written once and never again.
//!
//! ```text
//! file   = block* table footer
//! block  = checksum:u64 count:u32 content_bytes:u32 { length:leb128 }*count { record }*count
//! table  = { first ordinal from the segment's first:u32, offset:u32 } for each block, as words
//! footer = magic first count blocks table_offset table_checksum 0.. checksum
//! ```
//!
//! The table stays in memory: a record costs one read of about 4 KiB.

use std::sync::Arc;

use disk::Disk;
use machine::codec::{Reader, put_u64};

use crate::DIRECTORY;
use crate::cache::BlockCache;
use crate::error::ArchiveError;
use crate::memtable::Memtable;
use crate::stream::{FOOTER_BYTES, FOOTER_WORDS, Source, Writer, block_checksum, half_at, word_at};

/// "TERTREC" and the version of the format.
const MAGIC: u64 = u64::from_le_bytes(*b"TERTREC\x01");

/// A block is closed by the record that reaches this many bytes.
const BLOCK_BYTES: usize = 4096;
const HEADER_BYTES: usize = 16;

/// Records `first..end`, open for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    source: Source,
    first: u64,
    count: u64,
    table: Vec<u64>,
    blocks_end: u64,
}

/// The name of the segment that begins with an ordinal.
pub(crate) fn file_name(first: u64) -> String {
    format!("{DIRECTORY}/{first:020}.rec")
}

impl Segment {
    /// Writes a memtable's records; they are durable after it, the file's name is not.
    pub(crate) fn write(disk: &dyn Disk, memtable: &Memtable) -> Result<Self, ArchiveError> {
        let mut writer = Writer::create(disk, file_name(memtable.first()))?;
        let (mut table, mut block) = (Vec::new(), Block::default());
        for (at, record) in memtable.records().enumerate() {
            if block.count == 0 {
                table.push((at as u64) << 32 | writer.offset());
            }
            block.add(record);
            if block.is_full() {
                block.put(&mut writer)?;
            }
        }
        if block.count > 0 {
            block.put(&mut writer)?;
        }
        let table_offset = writer.offset();
        let checksum = writer.put_words(table.iter().copied())?;
        let mut footer = [0; FOOTER_WORDS];
        footer[..6].copy_from_slice(&[
            MAGIC,
            memtable.first(),
            memtable.len() as u64,
            table.len() as u64,
            table_offset,
            checksum,
        ]);
        let (name, file) = writer.finish(footer)?;
        Self::load(Source::check(name, file, MAGIC)?)
    }

    pub(crate) fn open(disk: &dyn Disk, first: u64) -> Result<Self, ArchiveError> {
        Self::load(Source::open(disk, file_name(first), MAGIC)?)
    }

    fn load(source: Source) -> Result<Self, ArchiveError> {
        let [_, first, count, blocks, table_offset, checksum, ..] = source.footer;
        let table = source.words(table_offset, blocks, checksum)?;
        if table.is_empty() || count == 0 {
            return Err(source.corrupt(table_offset, "a segment without records"));
        }
        Ok(Self { source, first, count, table, blocks_end: table_offset })
    }

    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    pub(crate) const fn end(&self) -> u64 {
        self.first + self.count
    }

    pub(crate) const fn memory_bytes(&self) -> usize {
        self.table.len() * 8
    }

    /// How many bytes the file has.
    pub(crate) const fn file_bytes(&self) -> u64 {
        self.blocks_end + self.table.len() as u64 * 8 + FOOTER_BYTES
    }

    /// Visits the record of an ordinal, which is in this segment.
    pub(crate) fn read<T>(
        &self,
        ordinal: u64,
        cache: Option<&BlockCache>,
        visit: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, ArchiveError> {
        let at = ordinal - self.first;
        let place = self.table.partition_point(|word| word >> 32 <= at) - 1;
        let block = match cache {
            Some(cache) => cache.get_or((self.first, place), || self.block(place))?,
            None => Arc::new(self.block(place)?),
        };
        let nth = at - (self.table[place] >> 32);
        let mut record = None;
        self.each(place, &block, |n, bytes| {
            if n == nth {
                record = Some(bytes);
            }
            n < nth
        })?;
        record.map(visit).ok_or_else(|| self.source.corrupt(self.offset(place), "the block misses a record"))
    }

    /// Visits the records from an ordinal on, in order, until `visit` says no; says whether it never did.
    pub(crate) fn scan(&self, from: u64, visit: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<bool, ArchiveError> {
        let at = from.saturating_sub(self.first);
        let start = self.table.partition_point(|word| word >> 32 <= at).saturating_sub(1);
        for place in start..self.table.len() {
            let block = self.block(place)?;
            let first = self.first + (self.table[place] >> 32);
            let mut goes_on = true;
            self.each(place, &block, |n, bytes| {
                goes_on = first + n < from || visit(first + n, bytes);
                goes_on
            })?;
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Hands each record of a block to `visit`, until it says no.
    fn each<'b>(
        &self,
        place: usize,
        block: &'b [u8],
        mut visit: impl FnMut(u64, &'b [u8]) -> bool,
    ) -> Result<(), ArchiveError> {
        let bad = || self.source.corrupt(self.offset(place), "the block's lengths do not fit it");
        let count = half_at(block, 8);
        let content_bytes = half_at(block, 12) as usize;
        let start = block.len().checked_sub(content_bytes).filter(|start| *start >= HEADER_BYTES).ok_or_else(bad)?;
        let mut lengths = Reader::new(&block[HEADER_BYTES..start]);
        let mut rest = &block[start..];
        for n in 0..u64::from(count) {
            let length = lengths.u64().map_err(|_| bad())?;
            let (record, after) =
                usize::try_from(length).ok().and_then(|len| rest.split_at_checked(len)).ok_or_else(bad)?;
            if !visit(n, record) {
                return Ok(());
            }
            rest = after;
        }
        Ok(())
    }

    fn offset(&self, place: usize) -> u64 {
        self.table.get(place).map_or(self.blocks_end, |word| word & u64::from(u32::MAX))
    }

    fn block(&self, place: usize) -> Result<Vec<u8>, ArchiveError> {
        let offset = self.offset(place);
        let len = self.offset(place + 1).saturating_sub(offset) as usize;
        if len < HEADER_BYTES {
            return Err(self.source.corrupt(offset, "the table of blocks is not in order"));
        }
        let block = self.source.read(offset, len)?;
        if word_at(&block, 0) != block_checksum(&block[8..], self.source.salt(), offset) {
            return Err(self.source.corrupt(offset, "the block does not match its checksum"));
        }
        Ok(block)
    }
}

/// A block that is being filled.
#[derive(Debug, Default)]
struct Block {
    count: u32,
    lengths: Vec<u8>,
    content: Vec<u8>,
    bytes: Vec<u8>,
}

impl Block {
    fn add(&mut self, record: &[u8]) {
        self.count += 1;
        put_u64(&mut self.lengths, record.len() as u64);
        self.content.extend_from_slice(record);
    }

    fn is_full(&self) -> bool {
        HEADER_BYTES + self.lengths.len() + self.content.len() >= BLOCK_BYTES
    }

    fn put(&mut self, writer: &mut Writer) -> Result<(), ArchiveError> {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(&self.count.to_le_bytes());
        self.bytes.extend_from_slice(&(self.content.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&self.lengths);
        self.bytes.extend_from_slice(&self.content);
        let checksum = block_checksum(&self.bytes[8..], writer.salt(), writer.offset());
        self.bytes[..8].copy_from_slice(&checksum.to_le_bytes());
        writer.put(&self.bytes)?;
        self.count = 0;
        self.lengths.clear();
        self.content.clear();
        Ok(())
    }
}
