//! Work behind the log that may take long: sealing archive segments, writing checkpoint files.
//!
//! The cell says what is to be done ([`Cell::next_house_work`]), a [`House`] on another thread does it, and the cell hears
//! what came of it ([`Cell::house_done`]). None of it is needed for an answer; all of it can be lost at any moment, since
//! the log still has what it was made from.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use archive::{ArchiveError, Done, Job};
use disk::Disk;
use machine::Archive;
use words::CellName;

use crate::cell::Cell;
use crate::checkpoint::{CheckpointHead, CheckpointWriter, KEPT, is_out_of_room};

/// What an entry takes in the log at least, roughly.
const LOG_BLOCK_BYTES: u64 = 4_096;

/// How many chunks of a checkpoint may wait to be written before the next is taken.
const CHUNKS_IN_FLIGHT_MAX: usize = 32;

/// What is to be done.
#[derive(Debug)]
pub enum HouseWork {
    /// A job of the archive.
    Archive(Job),
    /// Begins a checkpoint file.
    BeginCheckpoint(CheckpointHead),
    /// Adds a chunk; after the last the file is synced.
    CheckpointChunk {
        /// Its bytes.
        chunk: Vec<u8>,
        /// Whether it is the last.
        last: bool,
    },
    /// Makes the synced file count.
    PublishCheckpoint {
        /// The one before it that is kept.
        kept: Option<CheckpointHead>,
    },
}

/// What was done.
#[derive(Debug)]
pub enum HouseResult {
    /// A job of the archive, for `DiskArchive::finish`.
    Archive(Done),
    /// A chunk is in the file.
    ChunkWritten,
    /// The file is complete and durable, and does not count yet.
    CheckpointSynced,
    /// The file counts.
    CheckpointPublished(CheckpointHead),
    /// The file could not be written and is given up.
    CheckpointFailed(io::Error),
}

/// After a piece of a checkpoint the disk is left to the log for so many times as long as the piece took.
const REST_TIMES: u32 = 3;

/// The longest such rest, so that a slow disk does not make a checkpoint take for ever.
const REST_MAX: Duration = Duration::from_millis(50);

/// Does work as it comes, until nobody sends any more. Checkpoints rest between their pieces: nobody waits for them, and
/// appends that find the disk busy wait behind all that it was given.
pub(crate) fn keep(
    disk: Arc<dyn Disk>,
    cell: &CellName,
    work: Receiver<HouseWork>,
    report: &mut dyn FnMut(HouseResult),
) {
    let mut house = House::new(disk, cell.clone());
    for work in work {
        let may_rest = matches!(work, HouseWork::CheckpointChunk { .. });
        let began = Instant::now();
        house.perform(work, report);
        if may_rest {
            std::thread::sleep((began.elapsed() * REST_TIMES).min(REST_MAX));
        }
    }
}

/// The state between pieces of work: the checkpoint file that is open.
#[derive(Debug)]
pub struct House {
    disk: Arc<dyn Disk>,
    cell: CellName,
    writer: Option<CheckpointWriter>,
}

impl House {
    /// With nothing under way.
    pub fn new(disk: Arc<dyn Disk>, cell: CellName) -> Self {
        Self { disk, cell, writer: None }
    }

    /// Does one piece of work and reports what came of it. After a failed checkpoint its remaining chunks are dropped.
    pub fn perform(&mut self, work: HouseWork, report: &mut dyn FnMut(HouseResult)) {
        let result = match work {
            HouseWork::Archive(job) => return report(HouseResult::Archive(job.run())),
            HouseWork::BeginCheckpoint(head) => {
                CheckpointWriter::create(Arc::clone(&self.disk), &self.cell, head).map(|writer| {
                    self.writer = Some(writer);
                })
            }
            HouseWork::CheckpointChunk { chunk, last } => self.chunk(&chunk, last, report),
            HouseWork::PublishCheckpoint { kept } => match self.writer.take() {
                Some(writer) => writer.publish(kept).map(|head| report(HouseResult::CheckpointPublished(head))),
                None => Ok(()),
            },
        };
        if let Err(error) = result {
            if let Some(writer) = self.writer.take() {
                writer.abandon();
            }
            report(HouseResult::CheckpointFailed(error));
        }
    }

    fn chunk(&mut self, chunk: &[u8], last: bool, report: &mut dyn FnMut(HouseResult)) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.chunk(chunk)?;
        report(HouseResult::ChunkWritten);
        if last {
            writer.finish()?;
            report(HouseResult::CheckpointSynced);
        }
        Ok(())
    }
}

/// How far the cell is with what is behind its log.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    bytes_since_checkpoint: u64,
    archive_job_runs: bool,
    running: Option<Running>,
    /// Those that are whole, oldest first.
    durable: Vec<CheckpointHead>,
    /// The last piece of work found no room.
    is_out_of_room: bool,
}

/// A checkpoint between its first chunk and the moment it counts.
#[derive(Debug)]
struct Running {
    head: CheckpointHead,
    begun: bool,
    chunks_done: bool,
    chunks_in_flight: usize,
    file_synced: bool,
    publishing: bool,
}

/// Why the cell cannot go on behind its log.
#[derive(Debug)]
pub enum HouseError {
    /// The archive.
    Archive(ArchiveError),
    /// A checkpoint.
    Checkpoint(io::Error),
}

impl Progress {
    pub(crate) fn note_applied(&mut self, entry_bytes: usize) {
        // A log on files takes whole blocks: many small entries are a long log to read again, too.
        let log_bytes = (entry_bytes as u64).next_multiple_of(LOG_BLOCK_BYTES);
        self.bytes_since_checkpoint += log_bytes;
    }

    pub(crate) fn newest_checkpoint(&self) -> u64 {
        self.durable.last().map_or(0, |head| head.position.index)
    }
}

impl<W, R> Cell<W, R> {
    /// Tells which checkpoints were found at the start, oldest first.
    pub(crate) fn set_durable_checkpoints(&mut self, found: Vec<CheckpointHead>) {
        self.progress.durable = found;
        self.set_archive_floor();
    }

    /// Whether the next chunk of a checkpoint can be taken: there is something to do even if nothing comes in.
    pub fn has_chunk_to_take(&self) -> bool {
        let running = self.progress.running.as_ref();
        running.is_some_and(|running| !running.chunks_done && running.chunks_in_flight < CHUNKS_IN_FLIGHT_MAX)
    }

    /// Whether a checkpoint is under way.
    pub const fn checkpoint_runs(&self) -> bool {
        self.progress.running.is_some()
    }

    /// Whether the last piece of work found no room: the next is the same again, and has time.
    pub const fn is_house_out_of_room(&self) -> bool {
        self.progress.is_out_of_room
    }

    /// The next piece of work for a [`House`], if there is one at the moment. Each comes back through
    /// [`Cell::house_done`]; several may be under way, and are done in the order they were given.
    pub fn next_house_work(&mut self) -> Option<HouseWork> {
        if !self.progress.archive_job_runs
            && let Some(job) = self.archive.next_job()
        {
            self.progress.archive_job_runs = true;
            return Some(HouseWork::Archive(job));
        }
        let is_due = self.progress.bytes_since_checkpoint >= self.options.checkpoint_bytes;
        if self.progress.running.is_none() && is_due && !self.stopping {
            self.begin_checkpoint();
        }
        self.advance_checkpoint()
    }

    fn begin_checkpoint(&mut self) {
        self.progress.bytes_since_checkpoint = 0;
        self.archive.rotate();
        self.machine.begin_snapshot();
        let head = CheckpointHead { position: self.machine.position(), next_ordinal: self.archive.next_ordinal() };
        self.progress.running = Some(Running {
            head,
            begun: false,
            chunks_done: false,
            chunks_in_flight: 0,
            file_synced: false,
            publishing: false,
        });
    }

    fn advance_checkpoint(&mut self) -> Option<HouseWork> {
        let can_take = self.has_chunk_to_take();
        let running = self.progress.running.as_mut()?;
        if !running.begun {
            running.begun = true;
            return Some(HouseWork::BeginCheckpoint(running.head));
        }
        if can_take {
            let mut chunk = Vec::new();
            running.chunks_done = self.machine.snapshot_chunk(self.options.checkpoint_chunk_items, &mut chunk);
            running.chunks_in_flight += 1;
            return Some(HouseWork::CheckpointChunk { chunk, last: running.chunks_done });
        }
        // It counts only once the archive holds durably all that it refers to.
        let may_count = running.file_synced && self.archive.sealed_upto() >= running.head.next_ordinal;
        if may_count && !running.publishing {
            running.publishing = true;
            return Some(HouseWork::PublishCheckpoint { kept: self.progress.durable.last().copied() });
        }
        None
    }

    /// Takes note of what came of a piece of work. Gives the index up to which the log is no longer needed for a restart,
    /// if that changed; how much of it is kept all the same is the log's to know.
    ///
    /// # Errors
    /// [`HouseError`]: the cell must stop. No room is not an error: the work is tried again.
    pub fn house_done(&mut self, result: HouseResult) -> Result<Option<u64>, HouseError> {
        match result {
            HouseResult::Archive(done) => {
                self.progress.archive_job_runs = false;
                let done = self.archive.finish(done);
                self.progress.is_out_of_room = done.is_err();
                match done {
                    Ok(()) => {}
                    // Nothing says when there will be room: whoever stops does not wait for it.
                    Err(error) if error.is_retriable() && self.stopping => self.give_up_checkpoint(),
                    Err(error) if error.is_retriable() => {}
                    Err(error) => return Err(HouseError::Archive(error)),
                }
            }
            HouseResult::ChunkWritten => self.with_running(|running| running.chunks_in_flight -= 1),
            HouseResult::CheckpointSynced => self.with_running(|running| running.file_synced = true),
            HouseResult::CheckpointPublished(head) => return Ok(self.checkpoint_counts(head)),
            HouseResult::CheckpointFailed(error) => {
                self.give_up_checkpoint();
                if !is_out_of_room(&error) {
                    return Err(HouseError::Checkpoint(error));
                }
            }
        }
        Ok(None)
    }

    fn with_running(&mut self, change: impl FnOnce(&mut Running)) {
        if let Some(running) = &mut self.progress.running {
            change(running);
        }
    }

    fn checkpoint_counts(&mut self, head: CheckpointHead) -> Option<u64> {
        self.progress.running = None;
        self.progress.durable.push(head);
        let surplus = self.progress.durable.len().saturating_sub(KEPT);
        self.progress.durable.drain(..surplus);
        self.counters.checkpoints += 1;
        self.set_archive_floor();
        (self.progress.durable.len() == KEPT).then(|| self.progress.durable[0].position.index)
    }

    /// The machine ends its snapshot; as much again must happen before the next is tried.
    fn give_up_checkpoint(&mut self) {
        self.progress.running = None;
        self.machine.abandon_snapshot();
    }

    fn set_archive_floor(&mut self) {
        if self.progress.durable.len() == KEPT {
            self.archive.set_floor(self.progress.durable[0].next_ordinal);
        }
    }
}

impl std::fmt::Display for HouseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Archive(_) => "the archive cannot be written",
            Self::Checkpoint(_) => "a checkpoint cannot be written",
        })
    }
}

impl std::error::Error for HouseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Archive(source) => Some(source),
            Self::Checkpoint(source) => Some(source),
        }
    }
}

#[cfg(test)]
mod tests;
