//! The start of a cell: newest checkpoint, then the tail of the log.
//!
//! If this stops halfway it has changed nothing that the next start needs: it reads, drops archived records that the log
//! holds anyway, and removes temporary files.

use std::fmt;
use std::io;
use std::sync::Arc;

use archive::{ArchiveError, DiskArchive};
use disk::Disk;
use log::{Log, LogError};
use machine::Machine;
use words::Position;

use crate::cell::Cell;
use crate::checkpoint::{CheckpointError, CheckpointHead, Loaded, list_checkpoints, load_checkpoint};
use crate::clock::Now;
use crate::fault::CellFault;
use crate::options::Options;

/// How many bytes of log are read at a time.
const READ_BYTES: usize = 8 << 20;

/// How far a start has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// Entries applied so far, counted from the checkpoint.
    pub applied: u64,
    /// Entries to apply in all.
    pub entries: u64,
    /// Where the checkpoint stood; 0 without one.
    pub checkpoint_index: u64,
}

/// Why a cell cannot start.
#[derive(Debug)]
pub enum RecoverError {
    /// The disk failed.
    Io(io::Error),
    /// No checkpoint can be used, and the log no longer reaches back to its beginning.
    NoCheckpoint {
        /// The first entry the log still has.
        log_first: u64,
        /// What is wrong with the newest checkpoint.
        newest: Option<CheckpointError>,
    },
    /// A checkpoint's content is not a machine's state, though its checksums are right.
    BadState(String),
    /// The log ends before the checkpoint.
    LogBehind {
        /// The checkpoint's index.
        checkpoint: u64,
        /// The log's last index.
        tail: u64,
    },
    /// At the checkpoint's index the log has another entry.
    OtherHistory {
        /// The checkpoint's position.
        checkpoint: Position,
        /// The entry there is.
        found: Position,
    },
    /// The log has a gap after the checkpoint.
    LogGap {
        /// The first entry needed.
        needed: u64,
        /// The first entry there is.
        first: u64,
    },
    /// The log failed.
    Log(LogError),
    /// The archive failed.
    Archive(ArchiveError),
    /// An entry could not be applied.
    Cell(CellFault),
}

/// Opens the archive and brings the machine to the end of the log. `hash_seed` is used where there is no archive yet.
///
/// # Errors
/// [`RecoverError`]; nothing was lost, and the text says what to do.
pub fn recover<W, R>(
    disk: &Arc<dyn Disk>,
    log: &mut dyn Log,
    options: Options,
    hash_seed: u64,
    now: Now,
    progress: &mut dyn FnMut(Recovery),
) -> Result<Cell<W, R>, RecoverError> {
    let found = newest_checkpoint(&**disk, log, &options)?;
    let next_ordinal = found.as_ref().map_or(0, |(loaded, _)| loaded.head.next_ordinal);
    let archive_options = archive::Options {
        hash_seed_if_new: hash_seed,
        memtable_records: options.memtable_records_max,
        ..archive::Options::default()
    };
    // The oldest may still be needed, should the newest be found damaged the next time.
    let floor = found.as_ref().and_then(|(_, heads)| heads.first()).map_or(0, |head| head.next_ordinal);
    let archive = DiskArchive::open_above(Arc::clone(disk), floor, next_ordinal, archive_options);
    let archive = archive.map_err(RecoverError::Archive)?;
    let (machine, heads) = match found {
        Some((loaded, heads)) => {
            let chunks = loaded.chunks.iter().map(Vec::as_slice);
            let machine = Machine::restore(&options.cell, archive.hash_seed(), chunks)
                .map_err(|error| RecoverError::BadState(error.to_string()))?;
            (machine, heads)
        }
        None => (Machine::new(&options.cell, archive.hash_seed()), Vec::new()),
    };
    let mut cell = Cell::new(options, machine, archive, now);
    cell.set_durable_checkpoints(heads);
    replay(&mut cell, log, progress)?;
    // The epoch and the clock continue after what was replayed.
    cell.resume(now);
    Ok(cell)
}

/// The newest checkpoint that can be used, and the heads of all that can.
#[allow(clippy::type_complexity, reason = "a checkpoint and its rivals, used once")]
fn newest_checkpoint(
    disk: &dyn Disk,
    log: &dyn Log,
    options: &Options,
) -> Result<Option<(Loaded, Vec<CheckpointHead>)>, RecoverError> {
    let mut newest_error = None;
    let mut newest: Option<(Loaded, Vec<CheckpointHead>)> = None;
    for name in list_checkpoints(disk).map_err(RecoverError::Io)?.iter().rev() {
        match load_checkpoint(disk, name, &options.cell) {
            Ok(loaded) => match &mut newest {
                None => {
                    let head = loaded.head;
                    newest = Some((loaded, vec![head]));
                }
                Some((_, heads)) => heads.insert(0, loaded.head),
            },
            Err(error @ CheckpointError::OtherCell { .. }) => {
                return Err(RecoverError::NoCheckpoint { log_first: log.first(), newest: Some(error) });
            }
            Err(error) => newest_error = newest_error.or(Some(error)),
        }
    }
    if newest.is_none() && log.first() > 1 {
        return Err(RecoverError::NoCheckpoint { log_first: log.first(), newest: newest_error });
    }
    Ok(newest)
}

fn replay<W, R>(
    cell: &mut Cell<W, R>,
    log: &mut dyn Log,
    progress: &mut dyn FnMut(Recovery),
) -> Result<(), RecoverError> {
    let checkpoint = cell.machine().position().index;
    let tail = log.tail().map_err(RecoverError::Log)?.index;
    if tail < checkpoint {
        return Err(RecoverError::LogBehind { checkpoint, tail });
    }
    if tail > checkpoint && log.first() > checkpoint + 1 {
        return Err(RecoverError::LogGap { needed: checkpoint + 1, first: log.first() });
    }
    if cell.options.log_is_shared && (log.first()..=tail).contains(&checkpoint) {
        let found = log.read(checkpoint, 1).map_err(RecoverError::Log)?.first().map(|stored| stored.position);
        let checkpoint = cell.machine().position();
        if let Some(found) = found.filter(|found| *found != checkpoint) {
            return Err(RecoverError::OtherHistory { checkpoint, found });
        }
    }
    let entries = tail - checkpoint;
    while cell.machine().position().index < tail {
        let from = cell.machine().position().index + 1;
        let found = match cell.options.log_is_shared {
            // All up to the tail is committed, and the log is told so: it must not go back behind what was applied here.
            true => log.read_committed(from, READ_BYTES, tail),
            false => log.read(from, READ_BYTES),
        };
        for stored in found.map_err(RecoverError::Log)? {
            cell.apply_entry(stored.position, &stored.entry).map_err(RecoverError::Cell)?;
            while cell.archive().backlog() > 1 {
                let Some(job) = cell.archive_mut().next_job() else { break };
                cell.archive_mut().finish(job.run()).map_err(RecoverError::Archive)?;
            }
        }
        progress(Recovery {
            applied: cell.machine().position().index - checkpoint,
            entries,
            checkpoint_index: checkpoint,
        });
    }
    Ok(())
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => write!(f, "the data directory cannot be read"),
            Self::NoCheckpoint { log_first, newest } => {
                write!(f, "no checkpoint can be used and the log begins only at entry {log_first}")?;
                if let Some(newest) = newest {
                    write!(f, " ({newest})")?;
                }
                write!(f, ": restore the data directory from a backup, or give the cell its own name")
            }
            Self::BadState(what) => {
                write!(
                    f,
                    "the newest checkpoint holds no valid state ({what}): move it away to start from the one before"
                )
            }
            Self::LogBehind { checkpoint, tail } => write!(
                f,
                "the log ends at entry {tail}, but there is a checkpoint of entry {checkpoint}: files of the log are \
                 missing; restore them or the whole data directory from a backup"
            ),
            Self::OtherHistory { checkpoint, found } => write!(
                f,
                "there is a checkpoint of entry {checkpoint}, but the log has entry {found} in its place: the log went back in time, or \
                 is another one; bring back a server that has the entry, or start with an empty data directory from what is \
                 there"
            ),
            Self::LogGap { needed, first } => write!(
                f,
                "entry {needed} is needed after the checkpoint, but the log begins at entry {first}: files of the log are \
                 missing; restore them or the whole data directory from a backup"
            ),
            Self::Log(_) => write!(f, "the log cannot be read"),
            Self::Archive(_) => write!(f, "the archive cannot be opened"),
            Self::Cell(_) => write!(f, "the log cannot be applied"),
        }
    }
}

impl std::error::Error for RecoverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            Self::Log(source) => Some(source),
            Self::Archive(source) => Some(source),
            Self::Cell(source) => Some(source),
            _ => None,
        }
    }
}
