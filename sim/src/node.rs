//! The server: real cell, log, archive and house-keeping, moved by the world's events.

use std::collections::VecDeque;
use std::sync::Arc;

use cell::{Cell, House, HouseWork, Now, Options, ReadReply, Rejected, Reply, Work, recover};
use disk::{Disk, SimDisk};
use log::{Append, Log, Upkeep};
use log_file::{LogFile, LogOptions};
use words::Position;

use crate::canary::Canary;
use crate::planted::{CutTail, SkipLast, SkipSync, forgotten_is_not_done};

/// A server between two crashes.
pub(crate) struct Node {
    pub(crate) cell: Cell<u64, u64>,
    pub(crate) log: LogFile,
    house: House,
    /// The entry being appended, and since when.
    pub(crate) appending: Option<(Vec<u8>, u64)>,
    /// With [`Canary::AnswerBeforeDurable`]: the entry was already told to the cell.
    pub(crate) told_early: bool,
    house_work: VecDeque<HouseWork>,
    pub(crate) recovered_from: u64,
}

/// What a pump of the server brought forth.
#[derive(Default)]
pub(crate) struct Pumped {
    pub(crate) replies: Vec<(u64, Reply)>,
    pub(crate) reads: Vec<(u64, ReadReply)>,
    pub(crate) append_begun: bool,
    pub(crate) applied: Vec<(Position, u64)>,
    /// What is to be done outside now.
    pub(crate) work: Vec<Work>,
}

pub(crate) fn options() -> Options {
    Options {
        queue_commands_max: 64,
        entry_bytes_max: 4 << 10,
        segment_bytes: 64 << 10,
        checkpoint_bytes: 600 << 10,
        log_retention_bytes: 0,
        checkpoint_chunk_items: 3,
        memtable_records_max: 128,
        ..Options::default()
    }
}

impl Node {
    /// Starts on what is on the disk. The claim is the first append, which the world begins.
    pub(crate) fn start(disk: &SimDisk, now: Now, hash_seed: u64, canary: Option<Canary>) -> Result<Self, String> {
        let real: Arc<dyn Disk> = Arc::new(disk.clone());
        let disk = match canary {
            Some(Canary::SkipSync) => Arc::new(SkipSync(real)),
            _ => real,
        };
        let mut options = options();
        if canary == Some(Canary::ForgetEnds) {
            options.key_retention_ms = 50;
        }
        if canary == Some(Canary::CutAckedEntry) {
            CutTail::cut(&disk, &options)?;
        }
        let log_options = LogOptions {
            segment_bytes: options.segment_bytes,
            reserve_bytes: 0,
            ..LogOptions::new(options.cell.clone(), hash_seed)
        };
        let (mut log, _) = LogFile::open(Arc::clone(&disk), log_options).map_err(|error| chain(&error))?;
        let name = options.cell.clone();
        let mut recovered_from = 0;
        let mut progress = |recovery: cell::Recovery| recovered_from = recovery.checkpoint_index;
        let recovered = if canary == Some(Canary::SkipEntry) {
            recover(&disk, &mut SkipLast::new(&mut log), options, hash_seed, now, &mut progress)
        } else {
            recover(&disk, &mut log, options, hash_seed, now, &mut progress)
        };
        let mut cell = recovered.map_err(|error| chain(&error))?;
        if canary == Some(Canary::ForgetKeys) && recovered_from > 0 {
            let upto = cell.archive().sealed_upto();
            cell.archive_mut().forget_names_before(upto);
        }
        let mut claim = cell.claim(now);
        if canary == Some(Canary::ForgottenIsNotDone) {
            claim = forgotten_is_not_done(&cell, &claim);
        }
        let house = House::new(disk, name);
        Ok(Self {
            cell,
            log,
            house,
            appending: Some((claim, now.mono_us)),
            told_early: false,
            house_work: VecDeque::new(),
            recovered_from,
        })
    }

    /// Does what can be done at once: applies what is durable, begins the next append, answers.
    pub(crate) fn pump(&mut self, now: Now, true_us: u64, answer_early: bool) -> Result<Pumped, String> {
        let mut pumped = Pumped::default();
        self.cell.wake_pending(now);
        loop {
            while self.cell.apply_next().map_err(|fault| chain(&fault))? {
                pumped.applied.push((self.cell.machine().position(), self.cell.machine().digest()));
            }
            if self.appending.is_some() || self.cell.is_appending() {
                break;
            }
            let full = self.log.has_room().is_err();
            self.cell.set_storage_full(full);
            if full {
                self.cell.reject_queue(Rejected::StorageFull);
                break;
            }
            let Some(entry) = self.cell.take_batch(now) else { break };
            pumped.append_begun = true;
            if answer_early {
                let tail = self.cell.tail();
                let position = Position { epoch: self.cell.epoch(), index: tail.index + 1 };
                self.cell.appended(position, entry.clone());
                self.told_early = true;
            }
            self.appending = Some((entry, true_us));
        }
        pumped.work.extend(self.cell.take_work());
        pumped.replies.extend(self.cell.take_replies());
        pumped.reads = self.cell.wake_reads(now).map_err(|fault| chain(&fault))?;
        Ok(pumped)
    }

    /// Performs the append that was begun. Gives what the log said.
    pub(crate) fn append(&mut self, entry: &[u8]) -> Append {
        let mut after = self.cell.tail();
        if self.told_early {
            after.index -= 1;
            after.epoch = self.log.tail().map_or(after.epoch, |tail| tail.epoch);
        }
        self.log.append(after, self.cell.epoch(), entry)
    }

    /// Whether there is work behind the log, now or under way.
    pub(crate) fn has_house_work(&mut self) -> bool {
        while let Some(work) = self.cell.next_house_work() {
            self.house_work.push_back(work);
        }
        !self.house_work.is_empty()
    }

    /// Does the next piece of work behind the log.
    pub(crate) fn keep_house(&mut self) -> Result<(), String> {
        let _ = self.log.preparer().run_once();
        let Some(work) = self.house_work.pop_front() else { return Ok(()) };
        let mut results = Vec::new();
        self.house.perform(work, &mut |result| results.push(result));
        for result in results {
            if let Some(upto) = self.cell.house_done(result).map_err(|error| chain(&error))? {
                self.log.trim(upto).map_err(|error| chain(&error))?;
            }
        }
        Ok(())
    }
}

/// An error with its sources, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
