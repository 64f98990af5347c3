//! Reading a segment frame by frame, and telling a torn tail from damage.
//!
//! Appends go one by one, each synced before the next is written, so a crash can tear the last frame only. Where a frame
//! is not whole, the blocks after it decide: a whole frame there means that the damaged one had been synced. The first frame
//! of a segment is no exception: what tells a segment that waits for it from a damaged one is the same look behind it.

use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, Kind, chain};
use crate::segment::{CHAIN_START, RESTORE, SegmentHeader, segment_name, segment_number};
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
    /// The header of its first frame, where one was begun.
    begins: Option<FrameHeader>,
    place: Place,
    window: Vec<u8>,
    window_at: u64,
}

impl SegmentReader {
    /// Opens the segment with a number, at its first frame.
    pub(crate) fn open(disk: &dyn Disk, number: u64, cell: Option<&CellName>) -> Result<Self, LogError> {
        let name = segment_name(number);
        let failed = |e| LogError::io(format!("opening {name}"), e);
        let file = disk.open(&name, Mode::Read).map_err(failed)?;
        let file_bytes = file.len().map_err(failed)?;
        let mut head = vec![0; 2 * BLOCK_BYTES];
        let read = file.read_at(&mut head, 0).map_err(|e| LogError::io(format!("reading {name}"), e))?;
        let (block, rest) = head[..read].split_at(read.min(BLOCK_BYTES));
        let header = SegmentHeader::decode(block, &name, number, cell)?;
        let seed = header.seed();
        let begins = FrameHeader::decode(rest, seed);
        let (tail, digest) = begins.map_or((Position::START, CHAIN_START), |frame| (frame.before, frame.digest_before));
        let place = Place { offset: BLOCK, tail, digest };
        Ok(Self { file, name, file_bytes, header, seed, begins, place, window: Vec::new(), window_at: 0 })
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

    /// The index of its first entry, there or still to come; none where no frame was begun.
    pub(crate) fn first(&self) -> Option<u64> {
        self.begins.map(|frame| frame.before.index.saturating_add(1))
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
        let Some(later) = self.later_frame()? else { return Ok(found) };
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
        let follows = (header.before, header.digest_before) == (tail, digest);
        let epoch_fits = match header.kind {
            Kind::Entry => header.position.epoch >= tail.epoch,
            Kind::Mark | Kind::Seal => {
                header.position.epoch == tail.epoch && header.len == 0 && header.digest == digest
            }
        };
        let fits = header.frame_bytes() <= self.file_bytes.saturating_sub(offset);
        if !follows || !epoch_fits || !fits {
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

struct Files {
    /// The segments, ascending.
    numbers: Vec<u64>,
    /// A file that is no segment of this program's and looks like one.
    foreign: Option<LogError>,
}

fn list_files(disk: &dyn Disk) -> Result<Files, LogError> {
    let mut found = Files { numbers: Vec::new(), foreign: None };
    for file in disk.list(DIR).map_err(|e| LogError::io(format!("listing {DIR}"), e))? {
        match segment_number(&file) {
            Ok(number) => found.numbers.extend(number),
            Err(error) => found.foreign = Some(error),
        }
    }
    Ok(found)
}

/// The number of the oldest segment that is there.
pub(crate) fn oldest_segment(disk: &dyn Disk) -> Result<Option<u64>, LogError> {
    Ok(list_files(disk)?.numbers.first().copied())
}

/// A segment that was begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Begun {
    pub(crate) number: u64,
    /// The index of its first entry, there or still to come.
    pub(crate) first: u64,
}

/// Which segments there are, ascending: those that were begun, then those that wait to be.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) begun: Vec<Begun>,
    pub(crate) waiting: Vec<u64>,
    /// The log's id, in whatever segment there is.
    pub(crate) log_id: Option<u64>,
    /// What is wrong with the segment after these. What comes after that one is left out.
    pub(crate) damage: Option<LogError>,
}

/// Looks at the beginning of each segment, the newest first: under a running server a segment before one that was begun is
/// complete.
///
/// A segment has its header before it has its name, so a header that is not whole is damage. One without a first frame waits
/// for it only where no frame stands in it or in a segment after it.
///
/// # Errors
/// Only where the directory cannot be listed; all else is the survey's damage.
pub(crate) fn survey(disk: &dyn Disk, cell: Option<&CellName>) -> Result<Survey, LogError> {
    let files = list_files(disk)?;
    let mut survey = Survey { damage: files.foreign, ..Survey::default() };
    let mut after = None;
    for &number in files.numbers.iter().rev() {
        if after.is_some_and(|after| after != number + 1) {
            survey.cut(missing(number + 1));
        }
        after = Some(number);
        if let Err(error) = survey.look(disk, number, cell) {
            survey.cut(error);
        }
    }
    // The newest entry is never trimmed, so where nothing was begun, nothing ever was.
    if let Some(first) = after.filter(|first| *first != 1 && survey.begun.is_empty() && survey.damage.is_none()) {
        survey.cut(missing(first - 1));
    }
    survey.begun.reverse();
    survey.waiting.reverse();
    Ok(survey)
}

impl Survey {
    /// Takes in the segment before those it has.
    fn look(&mut self, disk: &dyn Disk, number: u64, cell: Option<&CellName>) -> Result<(), LogError> {
        let mut reader = SegmentReader::open(disk, number, cell)?;
        if let Some(log_id) = self.log_id.replace(reader.header().log_id)
            && log_id != reader.header().log_id
        {
            self.cut(LogError::Foreign {
                file: segment_name(number + 1),
                what: "it belongs to another log than the segment before it".to_owned(),
                remedy: RESTORE,
            });
        }
        match reader.first() {
            Some(first) => self.begun.push(Begun { number, first }),
            None if self.begun.is_empty() => {
                if let Some(later) = reader.later_frame()? {
                    return Err(reader.corrupt(format!(
                        "the segment's first frame is damaged, yet a whole frame stands after it at offset {later}"
                    )));
                }
                self.waiting.push(number);
            }
            None => {
                let what = "the segment's first frame is damaged, yet the next segment was begun";
                return Err(reader.corrupt(what.to_owned()));
            }
        }
        Ok(())
    }

    /// Leaves out what it has: it comes after damage.
    fn cut(&mut self, damage: LogError) {
        self.begun.clear();
        self.waiting.clear();
        self.damage = Some(damage);
    }
}

fn missing(number: u64) -> LogError {
    let what = "the file is missing, though there are segments before or after it".to_owned();
    LogError::Corrupt { file: segment_name(number), offset: 0, what, remedy: RESTORE }
}

/// What a walk over segments has seen so far. Each segment must go on where the one before ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Walk {
    /// Where the last segment ended.
    pub(crate) place: Option<Place>,
    pub(crate) entries: u64,
    pub(crate) torn_bytes: u64,
    /// The last segment's last frame and its offset.
    pub(crate) last: Option<(FrameHeader, u64)>,
    /// The last segment's number and its length in bytes.
    pub(crate) last_number: u64,
    pub(crate) last_file_bytes: u64,
    pub(crate) last_seed: u64,
    /// The newest entry is known to have been acknowledged.
    pub(crate) marked: bool,
    pub(crate) sealed: bool,
}

/// Sees each whole frame: its file, offset, header and entry. Says whether to go on.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&str, u64, &FrameHeader, &[u8]) -> bool;

impl Walk {
    /// Checks that a segment goes on where the last ended, and reads it to its end. Says whether to go on.
    pub(crate) fn segment(
        &mut self,
        disk: &dyn Disk,
        number: u64,
        cell: Option<&CellName>,
        visit: Visit<'_>,
    ) -> Result<bool, LogError> {
        let mut reader = SegmentReader::open(disk, number, cell)?;
        self.follow(&reader)?;
        (self.torn_bytes, self.last, self.last_number) = (0, None, number);
        (self.last_file_bytes, self.last_seed) = (reader.file_bytes(), reader.header().seed());
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
                    self.marked = header.kind != Kind::Entry;
                    let name = reader.name().to_owned();
                    if !visit(&name, offset, &header, reader.entry(&header)?) {
                        return Ok(false);
                    }
                }
            }
        }
    }

    fn follow(&mut self, reader: &SegmentReader) -> Result<(), LogError> {
        let before = reader.place();
        match self.place {
            Some(place) if (place.tail, place.digest) != (before.tail, before.digest) => Err(LogError::Corrupt {
                file: segment_name(self.last_number),
                offset: place.offset,
                what: format!(
                    "it ends after {}, but the next segment, {}, goes on after {}: frames are damaged",
                    place.tail,
                    reader.name(),
                    before.tail
                ),
                remedy: RESTORE,
            }),
            _ => Ok(()),
        }
    }
}
