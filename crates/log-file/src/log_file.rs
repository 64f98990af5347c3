//! The running log: append, read, trim, mark, seal.

use crate::frame::{AlignedBlock, FRAME_HEADER_BYTES, FrameBuffer, FrameHeader, Kind};
use crate::pool::{Pool, Preparer, is_full};
use crate::scan::{Begun, SegmentReader, Step};
use crate::segment::segment_name;
use crate::{BLOCK_BYTES, LogOptions, Recovered};
use disk::{Disk, File, read_exact_at};
use log::{Append, Capabilities, Durability, ENTRY_BYTES_MAX, Log, LogError, Rejected, Stored, Upkeep};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use words::{CellName, Position};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A log on prewritten files. One writer; its disk must belong to this process.
#[derive(Debug)]
pub struct LogFile {
    disk: Arc<dyn Disk>,
    cell: CellName,
    entry_bytes_max: usize,
    /// So many bytes of the newest entries are not trimmed.
    keep_bytes: u64,
    pool: Arc<Pool>,
    /// The segments that were begun, ascending; the last one is the active one.
    segments: VecDeque<Begun>,
    active: Option<Active>,
    tail: Position,
    digest: u64,
    sealed: bool,
    /// The newest entry has a mark after it, or there is none.
    marked: bool,
    buffer: FrameBuffer,
    /// Where the last read ended.
    reader: Option<SegmentReader>,
}

/// The segment that appends go to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) file: Box<dyn File>,
    pub(crate) file_bytes: u64,
    pub(crate) offset: u64,
    pub(crate) seed: u64,
}

/// Why a frame was not written.
enum Refused {
    /// Nothing was changed.
    Full,
    /// Nobody knows what is durable.
    Fatal(LogError),
}

impl Log for LogFile {
    fn append(&mut self, after: Position, epoch: u64, entry: &[u8]) -> Append {
        if let Err(error) = self.pool.check_fatal() {
            return Append::Unknown(error);
        }
        if self.sealed {
            return Append::Rejected(Rejected::Sealed);
        }
        if after != self.tail || epoch < self.tail.epoch {
            return Append::Conflict { tail: self.tail };
        }
        if entry.len() > self.entry_bytes_max {
            return Append::Rejected(Rejected::TooLarge { max: self.entry_bytes_max });
        }
        let position = Position { epoch, index: self.tail.index + 1 };
        match self.write(Kind::Entry, position, entry) {
            Ok(()) => Append::Ok(position),
            Err(Refused::Full) => Append::Rejected(Rejected::Full),
            Err(Refused::Fatal(error)) => Append::Unknown(error),
        }
    }

    fn read(&mut self, from: u64, max_bytes: usize) -> Result<Vec<Stored>, LogError> {
        self.pool.check_fatal()?;
        let next = self.tail.index + 1;
        if from > next {
            return Err(LogError::Beyond { next });
        }
        if from < self.first() {
            return Err(LogError::Trimmed { first: self.first() });
        }
        let (mut found, mut bytes) = (Vec::new(), 0);
        for index in from..next {
            let mut reader = self.reader_at(index)?;
            let before = reader.place();
            let stored = read_entry(&mut reader, index)?;
            bytes += stored.entry.len();
            let fits = found.is_empty() || bytes <= max_bytes;
            if !fits {
                reader.rewind(before);
            }
            self.reader = Some(reader);
            if !fits {
                break;
            }
            found.push(stored);
        }
        Ok(found)
    }

    fn tail(&mut self) -> Result<Position, LogError> {
        self.pool.check_fatal()?;
        Ok(self.tail)
    }

    fn trim(&mut self, upto: u64) -> Result<(), LogError> {
        self.pool.check_fatal()?;
        // A segment ends before the next one's first index; the active one stays.
        while self.segments.get(1).is_some_and(|next| next.first - 1 <= upto) && self.keeps_enough_without_oldest() {
            if let Some(gone) = self.segments.pop_front() {
                self.reader.take_if(|reader| reader.header().number == gone.number);
                self.pool.retire(segment_name(gone.number));
            }
        }
        Ok(())
    }

    fn first(&self) -> u64 {
        self.segments.front().map_or(1, |segment| segment.first)
    }

    fn seal(&mut self) -> Result<Position, LogError> {
        self.pool.check_fatal()?;
        if !self.sealed {
            self.write_bare(Kind::Seal)?;
            self.sealed = true;
        }
        Ok(self.tail)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditional: true,
            dense: true,
            durability: Durability::OneNode,
            entry_bytes_max: self.entry_bytes_max,
            shared: false,
        }
    }

    fn has_room(&mut self) -> Result<(), Rejected> {
        match (self.sealed, self.pool.has_room()) {
            (true, _) => Err(Rejected::Sealed),
            (false, false) => Err(Rejected::Full),
            (false, true) => Ok(()),
        }
    }

    /// Appends a small frame that says that the newest entry was acknowledged, so that damage to it is told from a torn
    /// tail. Where there is one already, nothing is written. [`LogError::Full`] where it would need a segment and there is
    /// no room.
    fn mark(&mut self) -> Result<(), LogError> {
        self.pool.check_fatal()?;
        if self.marked || self.sealed {
            return Ok(());
        }
        self.write_bare(Kind::Mark)
    }

    fn upkeep(&self) -> Option<Box<dyn Upkeep>> {
        Some(Box::new(self.preparer()))
    }
}

impl LogFile {
    /// The handle that prepares segments; call it on a thread of its own. Without it appends prepare their segments
    /// themselves, which is correct and slow.
    pub fn preparer(&self) -> Preparer {
        Preparer { pool: Arc::clone(&self.pool) }
    }

    /// The chain's digest at the tail.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The length of all segments in bytes, the active one counted as far as it is written. A measure of how much a
    /// restart reads.
    pub fn written_bytes(&self) -> u64 {
        let active = self.active.as_ref().map_or(0, |active| active.offset);
        active + self.segments.len().saturating_sub(1) as u64 * self.pool.segment_bytes()
    }

    fn keeps_enough_without_oldest(&self) -> bool {
        self.written_bytes().saturating_sub(self.pool.segment_bytes()) >= self.keep_bytes
    }

    pub(crate) fn assemble(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        pool: Arc<Pool>,
        segments: VecDeque<Begun>,
        active: Option<Active>,
        recovered: &Recovered,
        marked: bool,
    ) -> Self {
        let room = pool.segment_bytes() - BLOCK - FRAME_HEADER_BYTES as u64;
        Self {
            disk,
            cell: options.cell,
            keep_bytes: options.keep_bytes,
            entry_bytes_max: ENTRY_BYTES_MAX.min(usize::try_from(room).unwrap_or(usize::MAX)),
            pool,
            marked: marked || segments.is_empty(),
            segments,
            active,
            tail: recovered.tail,
            digest: recovered.digest,
            sealed: recovered.sealed,
            buffer: FrameBuffer::default(),
            reader: None,
        }
    }

    fn write_bare(&mut self, kind: Kind) -> Result<(), LogError> {
        self.write(kind, self.tail, &[]).map_err(|refused| match refused {
            Refused::Full => LogError::Full,
            Refused::Fatal(error) => error,
        })
    }

    /// Makes one frame durable: one write and one sync, into the next segment where the active one has no room for it.
    fn write(&mut self, kind: Kind, position: Position, entry: &[u8]) -> Result<(), Refused> {
        let digest = self.buffer.fill(kind, position, entry, (self.tail, self.digest));
        let frame_bytes = self.buffer.frame_bytes();
        if self.active.as_ref().is_none_or(|active| active.offset + frame_bytes > active.file_bytes) {
            self.turn()?;
        }
        let active = self.active.as_mut().expect("where there was none, the log has turned to one");
        let written = active.file.write_at(self.buffer.frame(active.seed), active.offset);
        if let Err(error) = written {
            return Err(refuse(&self.pool, active, &error));
        }
        // A sync that failed is fatal whatever it says: the frame may stand there whole.
        if let Err(error) = active.file.sync() {
            return Err(Refused::Fatal(self.pool.fail(format!("syncing an append failed: {error}"))));
        }
        active.offset += frame_bytes;
        (self.tail, self.digest, self.marked) = (position, digest, kind != Kind::Entry);
        Ok(())
    }

    /// Goes on to the next segment, for good: even where its first frame meets a full disk, none may follow in the one before.
    fn turn(&mut self) -> Result<(), Refused> {
        let named = self.pool.take().map_err(|error| match error {
            LogError::Full => Refused::Full,
            error => Refused::Fatal(error),
        })?;
        self.segments.push_back(Begun { number: named.header.number, first: self.tail.index + 1 });
        let seed = named.header.seed();
        self.active = Some(Active { file: named.file, file_bytes: self.pool.segment_bytes(), offset: BLOCK, seed });
        Ok(())
    }

    /// A reader whose next entry has that index, which is in the log.
    fn reader_at(&mut self, index: u64) -> Result<SegmentReader, LogError> {
        let at = self.segments.partition_point(|segment| segment.first <= index);
        let number = self.segments.get(at.wrapping_sub(1)).map_or(0, |segment| segment.number);
        let reader =
            self.reader.take().filter(|reader| reader.header().number == number && reader.place().tail.index < index);
        let mut reader = match reader {
            Some(reader) => reader,
            None => SegmentReader::open(self.disk.as_ref(), number, Some(&self.cell))?,
        };
        while reader.place().tail.index + 1 < index {
            read_frame(&mut reader)?;
        }
        Ok(reader)
    }
}

/// On file systems that copy on write even a prewritten block can meet a full disk, and the system says so too where the frame
/// is written and only what belongs to it is not. That it is not there is said only where it is proved: its first block holds
/// none, or holds zeros durably. Otherwise nobody knows, and the log stops.
fn refuse(pool: &Pool, active: &Active, error: &io::Error) -> Refused {
    if !is_full(error) {
        return Refused::Fatal(pool.fail(format!("appending failed: {error}")));
    }
    match take_back(active) {
        Ok(()) => {
            pool.set_full();
            Refused::Full
        }
        Err(why) => {
            let what = format!("appending failed: {error}; what was written of it could not be taken back: {why}");
            Refused::Fatal(pool.fail(what))
        }
    }
}

/// Makes sure that no frame stands where the next one goes.
fn take_back(active: &Active) -> io::Result<()> {
    let mut block = AlignedBlock::default();
    read_exact_at(active.file.as_ref(), block.bytes(), active.offset)?;
    if FrameHeader::decode(block.bytes(), active.seed).is_none() {
        return Ok(());
    }
    block.bytes().fill(0);
    active.file.write_at(block.bytes(), active.offset)?;
    active.file.sync()
}

/// The next frame, which was acknowledged and so must be whole.
fn read_frame(reader: &mut SegmentReader) -> Result<FrameHeader, LogError> {
    if let Step::Frame(header) = reader.frame()? {
        return Ok(header);
    }
    // It may have been appended since the reader last looked.
    reader.forget();
    match reader.frame()? {
        Step::Frame(header) => Ok(header),
        Step::End { .. } => {
            Err(reader.corrupt(format!("the frame that should follow {} is damaged", reader.place().tail)))
        }
    }
}

fn read_entry(reader: &mut SegmentReader, index: u64) -> Result<Stored, LogError> {
    loop {
        let header = read_frame(reader)?;
        if header.kind == Kind::Entry {
            debug_assert_eq!(header.position.index, index, "a reader is where it should be");
            let entry = reader.entry(&header)?.to_vec();
            return Ok(Stored { position: header.position, entry, digest: header.digest });
        }
    }
}

// A frame of the largest entry fits into a segment of the default length.
const _: () = assert!(ENTRY_BYTES_MAX as u64 + 2 * BLOCK <= crate::SEGMENT_BYTES_DEFAULT);
