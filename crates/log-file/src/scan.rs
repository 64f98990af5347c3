//! Reading a segment frame by frame, and telling a torn tail from damage.
//!
//! Appends go one by one, each synced before the next is written, so a crash can tear the last frame only. Where a frame
//! is not whole, the blocks after it decide: a whole frame there means that the damaged one had been synced.

use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, Kind, chain};
use crate::segment::{RESTORE, SegmentHeader, segment_name};
use crate::{BLOCK_BYTES, DIR};
use disk::{Disk, File, Mode};
use log::LogError;
use words::{CellName, Position};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// How much is read at a time.
const WINDOW_BYTES: u64 = 1 << 20;

/// A place between two frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// Where the next frame begins, in bytes.
    pub(crate) offset: u64,
    /// The position and the chain's digest before it.
    pub(crate) tail: Position,
    pub(crate) digest: u64,
}

/// What lies at a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// A whole frame.
    Frame(FrameHeader),
    /// Nothing that was ever acknowledged. `torn_bytes` of a frame that was not finished, where that can be told.
    End { torn_bytes: u64 },
}

#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: Box<dyn File>,
    name: String,
    file_bytes: u64,
    header: SegmentHeader,
    seed: u64,
    place: Place,
    window: Vec<u8>,
    window_at: u64,
}

impl SegmentReader {
    /// Opens the segment that begins with an index, at its first frame.
    pub(crate) fn open(disk: &dyn Disk, first: u64, cell: Option<&CellName>) -> Result<Self, LogError> {
        let name = segment_name(first);
        let failed = |e| LogError::io(format!("opening {name}"), e);
        let file = disk.open(&name, Mode::Read).map_err(failed)?;
        let file_bytes = file.len().map_err(failed)?;
        let mut block = vec![0; BLOCK_BYTES];
        let read = file.read_at(&mut block, 0).map_err(|e| LogError::io(format!("reading {name}"), e))?;
        let header = SegmentHeader::decode(&block[..read], &name, cell)?;
        let place = Place { offset: BLOCK, tail: header.before, digest: header.digest };
        Ok(Self { file, name, file_bytes, seed: header.seed(), header, place, window: Vec::new(), window_at: 0 })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Goes back to a place it was at.
    pub(crate) fn rewind(&mut self, place: Place) {
        self.place = place;
    }

    /// Reads the next frame anew from the file.
    pub(crate) fn forget(&mut self) {
        self.window.clear();
    }

    /// The next frame, and past it. At the end of what is whole: proves that nothing acknowledged lies behind it.
    pub(crate) fn step(&mut self) -> Result<Step, LogError> {
        let found = self.frame()?;
        let Step::End { .. } = found else { return Ok(found) };
        let Some(later) = self.later_frame()? else {
            if self.place.offset == BLOCK {
                // A segment gets its name once its first frame is synced.
                return Err(self.corrupt("the segment's first frame is damaged".to_owned()));
            }
            return Ok(found);
        };
        // Under a running server the frame may have come since the window was read.
        self.forget();
        match self.frame()? {
            Step::End { .. } => Err(self.corrupt(format!(
                "the frame that should follow {} is damaged, yet a whole frame stands after it at offset {later}",
                self.place.tail
            ))),
            frame @ Step::Frame(_) => Ok(frame),
        }
    }

    /// The next frame, and past it, without a look at what lies behind an end.
    pub(crate) fn frame(&mut self) -> Result<Step, LogError> {
        let Place { offset, tail, digest } = self.place;
        let seed = self.seed;
        let Some(header) = FrameHeader::decode(self.bytes(offset, FRAME_HEADER_BYTES as u64)?, seed) else {
            return Ok(Step::End { torn_bytes: 0 });
        };
        let next = match header.kind {
            Kind::Entry => tail.index.wrapping_add(1),
            Kind::Mark | Kind::Seal => tail.index,
        };
        let epoch_fits = match header.kind {
            Kind::Entry => header.position.epoch >= tail.epoch,
            Kind::Mark | Kind::Seal => {
                header.position.epoch == tail.epoch && header.len == 0 && header.digest == digest
            }
        };
        let fits = header.frame_bytes() <= self.file_bytes.saturating_sub(offset);
        if header.position.index != next || !epoch_fits || !fits {
            let found = header.position;
            return Err(self.corrupt(format!("a frame of position {found} stands where one after {tail} should")));
        }
        let used = FRAME_HEADER_BYTES as u64 + header.len;
        let frame = self.bytes(offset, used)?;
        if frame.len() as u64 != used || (header.kind == Kind::Entry && chain(frame, digest) != header.digest) {
            return Ok(Step::End { torn_bytes: header.frame_bytes() });
        }
        self.place = Place { offset: offset + header.frame_bytes(), tail: header.position, digest: header.digest };
        Ok(Step::Frame(header))
    }

    /// The entry of the frame that was just read.
    pub(crate) fn entry(&mut self, header: &FrameHeader) -> Result<&[u8], LogError> {
        let start = self.place.offset - header.frame_bytes() + FRAME_HEADER_BYTES as u64;
        self.bytes(start, header.len)
    }

    /// The offset of a whole frame's header somewhere behind the place.
    fn later_frame(&mut self) -> Result<Option<u64>, LogError> {
        let (mut at, seed) = (self.place.offset + BLOCK, self.seed);
        while at < self.file_bytes {
            if FrameHeader::decode(self.bytes(at, BLOCK)?, seed).is_some() {
                return Ok(Some(at));
            }
            at += BLOCK;
        }
        Ok(None)
    }

    /// These bytes of the file; fewer where it ends.
    fn bytes(&mut self, at: u64, count: u64) -> Result<&[u8], LogError> {
        let count = count.min(self.file_bytes.saturating_sub(at));
        let window_end = self.window_at + self.window.len() as u64;
        if at < self.window_at || at + count > window_end {
            let wanted = count.max(WINDOW_BYTES).min(self.file_bytes.saturating_sub(at));
            self.window.resize(wanted as usize, 0);
            let read = self.file.read_at(&mut self.window, at);
            // A short read leaves no stale bytes behind.
            self.window.truncate(*read.as_ref().unwrap_or(&0));
            self.window_at = at;
            read.map_err(|e| LogError::io(format!("reading {} at offset {at}", self.name), e))?;
        }
        let start = ((at - self.window_at) as usize).min(self.window.len());
        let end = (start + count as usize).min(self.window.len());
        Ok(&self.window[start..end])
    }

    pub(crate) fn corrupt(&self, what: String) -> LogError {
        LogError::Corrupt { file: self.name.clone(), offset: self.place.offset, what, remedy: RESTORE }
    }
}

/// The first indexes of the segments that are there, ascending.
pub(crate) fn list_segments(disk: &dyn Disk) -> Result<Vec<u64>, LogError> {
    let files = disk.list(DIR).map_err(|e| LogError::io(format!("listing {DIR}"), e))?;
    Ok(files.iter().filter_map(|file| crate::segment::segment_first(file)).collect())
}

/// What a walk over segments has seen so far. Each segment must go on where the one before ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Walk {
    /// Where the last segment ended.
    pub(crate) place: Option<Place>,
    pub(crate) log_id: Option<u64>,
    pub(crate) entries: u64,
    pub(crate) torn_bytes: u64,
    /// The last frame and its offset.
    pub(crate) last: Option<(FrameHeader, u64)>,
    /// The last segment's first index and its length in bytes.
    pub(crate) last_first: u64,
    pub(crate) last_file_bytes: u64,
    pub(crate) last_seed: u64,
    pub(crate) sealed: bool,
}

/// Sees each whole frame: its file, offset, header and entry. Says whether to go on.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&str, u64, &FrameHeader, &[u8]) -> bool;

impl Walk {
    /// Checks that a segment goes on where the last ended, and reads it to its end. Says whether to go on.
    pub(crate) fn segment(
        &mut self,
        disk: &dyn Disk,
        first: u64,
        cell: Option<&CellName>,
        visit: Visit<'_>,
    ) -> Result<bool, LogError> {
        let mut reader = SegmentReader::open(disk, first, cell)?;
        self.follow(&reader)?;
        (self.torn_bytes, self.last_first, self.last_file_bytes) = (0, first, reader.file_bytes());
        self.last_seed = reader.header().seed();
        loop {
            let offset = reader.place().offset;
            match reader.step()? {
                Step::End { torn_bytes } => {
                    (self.torn_bytes, self.place) = (torn_bytes, Some(reader.place()));
                    return Ok(true);
                }
                Step::Frame(header) => {
                    if self.sealed {
                        return Err(reader.corrupt("a frame stands after the log was sealed".to_owned()));
                    }
                    self.entries += u64::from(header.kind == Kind::Entry);
                    self.sealed = header.kind == Kind::Seal;
                    self.last = Some((header, offset));
                    let name = reader.name().to_owned();
                    if !visit(&name, offset, &header, reader.entry(&header)?) {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Checks a segment's header alone.
    pub(crate) fn header(&mut self, disk: &dyn Disk, first: u64, cell: Option<&CellName>) -> Result<(), LogError> {
        self.follow(&SegmentReader::open(disk, first, cell)?)
    }

    /// Whether the newest entry is known to have been acknowledged.
    pub(crate) fn ends_marked(&self) -> bool {
        self.last.is_some_and(|(header, _)| header.kind != Kind::Entry)
    }

    fn follow(&mut self, reader: &SegmentReader) -> Result<(), LogError> {
        let header = reader.header();
        if *self.log_id.get_or_insert(header.log_id) != header.log_id {
            return Err(LogError::Foreign {
                file: reader.name().to_owned(),
                what: "it belongs to another log than the segment before it".to_owned(),
                remedy: RESTORE,
            });
        }
        match self.place {
            Some(place) if (place.tail, place.digest) != (header.before, header.digest) => Err(LogError::Corrupt {
                file: segment_name(self.last_first),
                offset: place.offset,
                what: format!(
                    "it ends after {}, but the next segment, {}, goes on after {}: frames are damaged, or a file is missing",
                    place.tail,
                    reader.name(),
                    header.before
                ),
                remedy: RESTORE,
            }),
            _ => Ok(()),
        }
    }
}
