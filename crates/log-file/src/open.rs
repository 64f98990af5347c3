//! The start: what is there, whether it is whole, and where it ends.

use crate::log_file::Active;
use crate::pool::NamedSegments;
use crate::pool::Pool;
use crate::scan::{Begun, Survey, Walk, survey};
use crate::segment::{CHAIN_START, segment_name};
use crate::{BLOCK_BYTES, DIR, LogFile, SEGMENT_BYTES_DEFAULT};
use disk::{Disk, Mode, read_exact_at};
use log::LogError;
use std::collections::VecDeque;
use std::sync::Arc;
use words::{CellName, Position};

/// How a log file is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The cell whose log it is; another's is refused.
    pub cell: CellName,
    /// A random number that nobody can guess, taken where the log is new: it seeds the checksums, so that no client can
    /// put into an entry what looks like a frame.
    pub log_id: u64,
    /// The length of new segments in bytes; 64 MiB. A multiple of 4 KiB and at least three of them. Bounds the largest
    /// entry.
    pub segment_bytes: u64,
    /// How many unused segments are kept for reuse at most; 8. One more than trimmed at a time saves all prewriting.
    pub spares_max: usize,
    /// How much room must be left on the disk after a new segment, in bytes; 64 MiB.
    pub reserve_bytes: u64,
    /// Segments wholly before this index are not read at the start, only their beginnings; 0 for all. For the one who has a
    /// checkpoint.
    pub verify_from: u64,
    /// How many bytes of the newest entries stay readable whatever is trimmed, to the length of a segment; 0.
    pub keep_bytes: u64,
}

/// What the start found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// How many segments were begun.
    pub segments: usize,
    /// How many entries they hold.
    pub entries: u64,
    /// The first index that is readable.
    pub first: u64,
    /// The position of the newest entry.
    pub tail: Position,
    /// The chain's digest there.
    pub digest: u64,
    /// Whether the log was sealed.
    pub sealed: bool,
    /// An append that was not finished, and so never acknowledged, and was cut off.
    pub cut: Option<Cut>,
}

/// What was cut off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The file.
    pub file: String,
    /// Where in it the frame began, in bytes.
    pub offset: u64,
    /// The length of the frame in bytes.
    pub bytes: u64,
}

impl LogOptions {
    /// The default for a cell.
    pub fn new(cell: CellName, log_id: u64) -> Self {
        Self {
            cell,
            log_id,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            spares_max: 8,
            reserve_bytes: 64 << 20,
            verify_from: 0,
            keep_bytes: 0,
        }
    }
}

impl LogFile {
    /// Opens the log on a disk, or creates it. Reads and verifies what is there, cuts a torn tail, and makes the newest
    /// entry durable again: a process that was killed between a write and its sync leaves one that only looks so.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Foreign`], [`LogError::Io`].
    ///
    /// # Panics
    /// Where the options' segment length is no multiple of a block or shorter than three.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<(Self, Recovered), LogError> {
        let blocks = options.segment_bytes / BLOCK_BYTES as u64;
        assert!(
            blocks >= 3 && options.segment_bytes.is_multiple_of(BLOCK_BYTES as u64),
            "a segment has whole blocks, and at least three"
        );
        disk.create_dir(DIR).map_err(|e| LogError::io(format!("creating {DIR}"), e))?;
        let Survey { begun, waiting, log_id, damage } = survey(disk.as_ref(), Some(&options.cell))?;
        let (walk, skipped) = walk(disk.as_ref(), &begun, &options)?;
        damage.map_or(Ok(()), Err)?;
        let active = match begun.last() {
            Some(last) => Some(reopen(disk.as_ref(), last.number, &walk)?),
            None => None,
        };
        // A rename into the directory may not be durable either.
        disk.sync_dir(DIR).map_err(|e| LogError::io(format!("syncing {DIR}"), e))?;
        let named = NamedSegments { last_begun: begun.last().map_or(0, |last| last.number), waiting };
        let pool = Pool::open(Arc::clone(&disk), &options, log_id.unwrap_or(options.log_id), &named)
            .map_err(|e| LogError::io("taking over spare segments", e))?;
        let (tail, digest) = walk.place.map_or((Position::START, CHAIN_START), |place| (place.tail, place.digest));
        let cut = walk.place.filter(|_| walk.torn_bytes > 0).map(|place| Cut {
            file: segment_name(walk.last_number),
            offset: place.offset,
            bytes: walk.torn_bytes,
        });
        let recovered = Recovered {
            segments: begun.len(),
            entries: skipped + walk.entries,
            first: begun.first().map_or(1, |segment| segment.first),
            tail,
            digest,
            sealed: walk.sealed,
            cut,
        };
        let log = Self::assemble(disk, options, pool, VecDeque::from(begun), active, &recovered, walk.marked);
        Ok((log, recovered))
    }
}

/// Reads the segments but those before `verify_from`. Says also how many entries those hold.
fn walk(disk: &dyn Disk, begun: &[Begun], options: &LogOptions) -> Result<(Walk, u64), LogError> {
    let start = begun.iter().rposition(|segment| segment.first <= options.verify_from).unwrap_or(0);
    let (skipped, rest) = begun.split_at(start);
    let mut walk = Walk::default();
    for segment in rest {
        walk.segment(disk, segment.number, Some(&options.cell), &mut |_, _, _, _| true)?;
    }
    let entries = match (skipped.first(), rest.first()) {
        (Some(skipped), Some(rest)) => rest.first.saturating_sub(skipped.first),
        _ => 0,
    };
    Ok((walk, entries))
}

/// Opens the last segment for appending: cuts what is torn and writes the last frame once more.
fn reopen(disk: &dyn Disk, number: u64, walk: &Walk) -> Result<Active, LogError> {
    let name = segment_name(number);
    let failed = |e| LogError::io(format!("reopening {name}"), e);
    let place = walk.place.ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))?;
    let file = disk.open(&name, Mode::ReadWrite).map_err(failed)?;
    if walk.torn_bytes > 0 {
        file.write_at(&[0; BLOCK_BYTES], place.offset).map_err(failed)?;
    }
    if let Some((header, offset)) = walk.last {
        let mut frame = vec![0; header.frame_bytes() as usize];
        read_exact_at(file.as_ref(), &mut frame, offset).map_err(failed)?;
        file.write_at(&frame, offset).map_err(failed)?;
    }
    file.sync().map_err(failed)?;
    let seed = walk.last_seed;
    let file = disk.open(&name, Mode::Direct).map_err(failed)?;
    Ok(Active { file, file_bytes: walk.last_file_bytes, offset: place.offset, seed })
}
