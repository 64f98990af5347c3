//! Many indexes into one, a bounded piece at a time and in bounded memory (but for the new filter, which stays).

use std::sync::Arc;

use disk::Disk;

use crate::STEPS_MAX;
use crate::error::ArchiveError;
use crate::index::{BLOCK_BYTES, Entry, Index, IndexWriter, Kind};

/// How many blocks of an index are read at once.
const BLOCKS_PER_READ: usize = 16;

/// A merge under way. The inputs are neighbours, oldest first.
#[derive(Debug)]
pub(crate) struct Merge {
    cursors: Vec<Cursor>,
    writer: IndexWriter,
    kind: Kind,
    /// Names of records below this are left out.
    forget_before: u64,
    /// The last entry of an account, which the next may make unnecessary.
    held_back: Option<Entry>,
}

/// How far a merge came.
#[derive(Debug)]
pub(crate) enum Step {
    More(Box<Merge>),
    Complete(Arc<Index>),
}

impl Merge {
    pub(crate) fn begin(disk: &dyn Disk, inputs: &[Arc<Index>], forget_before: u64) -> Result<Self, ArchiveError> {
        let (oldest, newest) = (&inputs[0], &inputs[inputs.len() - 1]);
        let kind = oldest.kind();
        let entries = inputs.iter().map(|index| index.entries()).sum();
        let writer = IndexWriter::create(disk, kind, oldest.first(), newest.end(), entries)?;
        let cursors = inputs.iter().map(|index| Cursor::new(Arc::clone(index))).collect::<Result<_, _>>()?;
        Ok(Self { cursors, writer, kind, forget_before, held_back: None })
    }

    /// Goes on for so many entries.
    pub(crate) fn step(mut self: Box<Self>, entries: usize) -> Result<Step, ArchiveError> {
        for _ in 0..entries {
            let Some(entry) = self.next()? else {
                if let Some(last) = self.held_back.take() {
                    self.writer.put(last)?;
                }
                return Ok(Step::Complete(Arc::new(self.writer.finish()?)));
            };
            match self.kind {
                Kind::Names if entry.ordinal < self.forget_before => {}
                Kind::Names => self.writer.put(entry)?,
                Kind::Touched => self.thin_out(entry)?,
            }
        }
        Ok(Step::More(self))
    }

    /// The smallest of the cursors' entries. A scan over eight heads beats a heap of them.
    fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut smallest: Option<(usize, Entry)> = None;
        for (at, cursor) in self.cursors.iter().enumerate() {
            if let Some(head) = cursor.head
                && smallest.is_none_or(|(_, entry)| (head.hash, head.ordinal) < (entry.hash, entry.ordinal))
            {
                smallest = Some((at, head));
            }
        }
        let Some((at, entry)) = smallest else { return Ok(None) };
        self.cursors[at].advance()?;
        Ok(Some(entry))
    }

    /// Leaves an entry out where the next of the same account is near enough to those before it.
    fn thin_out(&mut self, entry: Entry) -> Result<(), ArchiveError> {
        let mut entry = entry;
        if let Some(before) = self.held_back {
            let steps = before.steps.saturating_add(entry.steps);
            if before.hash == entry.hash && steps <= STEPS_MAX {
                entry.steps = steps;
            } else {
                self.writer.put(before)?;
            }
        }
        self.held_back = Some(entry);
        Ok(())
    }
}

/// Reads an index from front to back.
#[derive(Debug)]
struct Cursor {
    index: Arc<Index>,
    head: Option<Entry>,
    bytes: Vec<u8>,
    /// The block that `bytes` begins with.
    place: usize,
    /// Which of the blocks in `bytes`, how many entries it has, and which is next.
    block: usize,
    count: usize,
    at: usize,
}

impl Cursor {
    fn new(index: Arc<Index>) -> Result<Self, ArchiveError> {
        let mut cursor = Self { index, head: None, bytes: Vec::new(), place: 0, block: 0, count: 0, at: 0 };
        cursor.advance()?;
        Ok(cursor)
    }

    fn advance(&mut self) -> Result<(), ArchiveError> {
        while self.at == self.count {
            if !self.next_block()? {
                self.head = None;
                return Ok(());
            }
        }
        let block = &self.bytes[self.block * BLOCK_BYTES..][..BLOCK_BYTES];
        self.head = Some(self.index.entry_at(block, self.at));
        self.at += 1;
        Ok(())
    }

    fn next_block(&mut self) -> Result<bool, ArchiveError> {
        let loaded = self.bytes.len() / BLOCK_BYTES;
        self.block += 1;
        if self.block >= loaded {
            self.place += loaded;
            self.block = 0;
            let blocks = (self.index.blocks() - self.place).min(BLOCKS_PER_READ);
            self.bytes.resize(blocks * BLOCK_BYTES, 0);
            if blocks == 0 {
                return Ok(false);
            }
            self.index.blocks_into(self.place, &mut self.bytes)?;
        }
        let block = &self.bytes[self.block * BLOCK_BYTES..][..BLOCK_BYTES];
        self.count = self.index.count_in(self.place + self.block, block)?;
        self.at = 0;
        Ok(true)
    }
}
