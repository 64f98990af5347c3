//! A cell moved by hand, for this crate's tests: the real log, archive and house on a simulated disk, and a clock that is told.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use disk::{Disk, File, Mode, SimDisk};
use log::{Append, Log, Upkeep};
use log_file::{LogFile, LogOptions};
use machine::{
    BatchEncoder, BatchMode, CallOrder, Doubt, Finding, Message, MessagesEncoder, Op, OpenAccount, Order, TopicOp,
    Tried, WayOut, encode_head,
};
use words::{Amount, Position, Stamp};

use crate::api::{Found, Level, Query, Read, ReadReply, Reply, Write};
use crate::cell::Cell;
use crate::clock::Now;
use crate::fault::CellFault;
use crate::house::{House, HouseError};
use crate::options::Options;
use crate::recover::{RecoverError, recover};

const STARTED_US: u64 = 1_700_000_000_000_000;

pub(crate) struct World {
    pub(crate) cell: Cell<u64, u64>,
    pub(crate) log: LogFile,
    house: House,
    pub(crate) mono_us: u64,
    who: u64,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        Self::start(&(Arc::new(SimDisk::new()) as _), options, 0).expect("an empty disk")
    }

    /// Starts on what is on the disk, and claims. The clock begins at so many microseconds.
    pub(crate) fn start(disk: &Arc<dyn Disk>, options: Options, mono_us: u64) -> Result<Self, RecoverError> {
        let log_options = LogOptions {
            segment_bytes: options.segment_bytes,
            reserve_bytes: 0,
            keep_bytes: options.log_retention_bytes,
            ..LogOptions::new(options.cell.clone(), 7)
        };
        let (mut log, _) = LogFile::open(Arc::clone(disk), log_options).map_err(RecoverError::Log)?;
        let name = options.cell.clone();
        let now = Now { mono_us, wall_us: STARTED_US + mono_us };
        let cell = recover(disk, &mut log, options, 7, now, &mut |_| {})?;
        let mut world = Self { cell, log, house: House::new(Arc::clone(disk), name), mono_us, who: 0 };
        let claim = world.cell.claim(now);
        world.append(claim);
        Ok(world)
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono_us: self.mono_us, wall_us: STARTED_US + self.mono_us }
    }

    /// Submits a write that waits for its end, and says who waits.
    pub(crate) fn submit(&mut self, command: Vec<u8>) -> u64 {
        self.who += 1;
        let write = Write { command, deadline_us: self.mono_us + 10_000_000, waits_for_end: true };
        self.cell.submit(write, self.who, self.now()).expect("no fault");
        self.who
    }

    /// Appends and applies what waits.
    pub(crate) fn turn(&mut self) {
        self.mono_us += 1_000;
        while let Some(entry) = self.cell.take_batch(self.now()) {
            self.append(entry);
        }
    }

    fn append(&mut self, entry: Vec<u8>) {
        match self.log.append(self.cell.tail(), self.cell.epoch(), &entry) {
            Append::Ok(position) => self.cell.appended(position, entry),
            other => panic!("{other:?}"),
        }
        while self.cell.apply_next().expect("no fault") {}
    }

    /// Submits a write, appends it, and gives its answer.
    pub(crate) fn write(&mut self, command: Vec<u8>) -> Reply {
        let who = self.submit(command);
        self.turn();
        let reply = self.cell.take_replies().find(|(other, _)| *other == who);
        reply.expect("it is answered").1
    }

    /// Has something accepted, and gives the record it is known by from now on.
    pub(crate) fn accept(&mut self, command: Vec<u8>) -> u64 {
        self.submit(command);
        self.turn();
        self.cell.machine().next_ordinal() - 1
    }

    /// So many transfers of 1, in one command, under keys that begin with `name`. Gives where they stand.
    pub(crate) fn transfers(&mut self, name: &str, from: &str, to: &str, count: u64) -> Position {
        let mut items = BatchEncoder::new(count as usize);
        for item in 0..count {
            items.push(&format!("{name}-{item}"), &order(from, to));
        }
        let mut command = Vec::new();
        encode_head(&mut command, Stamp::ZERO, "", name);
        items.finish(BatchMode::Each, &mut command);
        self.write(command);
        self.cell.machine().position()
    }

    pub(crate) fn open_account(&mut self, id: &str, metadata: &str) {
        self.write(command(
            &format!("open-{id}"),
            &Op::OpenAccount(OpenAccount { id, unit: "u", floor: None, metadata }),
        ));
    }

    pub(crate) fn read(&mut self, query: Query, level: Level) -> ReadReply {
        let read = Read { level, deadline_us: self.mono_us, query };
        self.cell.read(read, 0, self.now()).expect("no fault").expect("nothing to wait for").1
    }

    /// Reads, or waits; says who waits.
    pub(crate) fn wait(&mut self, query: Query, level: Level) -> u64 {
        self.who += 1;
        let read = Read { level, deadline_us: self.mono_us + 10_000_000, query };
        assert!(
            self.cell.read(read, self.who, self.now()).expect("no fault").is_none(),
            "there is something to wait for"
        );
        self.who
    }

    pub(crate) fn woken(&mut self) -> Result<Vec<u64>, CellFault> {
        Ok(self.cell.wake_reads(self.now())?.into_iter().map(|(who, _)| who).collect())
    }

    /// Does one piece of work behind the log, if there is one.
    pub(crate) fn keep_house(&mut self) -> Result<bool, HouseError> {
        while self.log.preparer().run_once().expect("the log is sound") == log::Kept::Worked {}
        let Some(work) = self.cell.next_house_work() else { return Ok(false) };
        let mut results = Vec::new();
        self.house.perform(work, &mut |result| results.push(result));
        for result in results {
            if let Some(upto) = self.cell.house_done(result)? {
                self.log.trim(upto).expect("the log is sound");
            }
        }
        Ok(true)
    }

    /// Writes until so many more checkpoints count.
    pub(crate) fn checkpoints(&mut self, count: u64) {
        let wanted = self.cell.status().counters.checkpoints + count;
        for round in 0..10_000 {
            if self.cell.status().counters.checkpoints >= wanted {
                return;
            }
            let name = format!("c-{}-{round}", self.mono_us);
            self.transfers(&name, "a", "b", 20);
            while self.keep_house().expect("room") {}
        }
        panic!("no checkpoint comes");
    }
}

pub(crate) fn command(key: &str, op: &Op<'_>) -> Vec<u8> {
    let mut command = Vec::new();
    encode_head(&mut command, Stamp::ZERO, "", key);
    op.encode(&mut command);
    command
}

/// A call that only a person or its answer ends.
pub(crate) fn call<'a>(body: &'a [u8]) -> Op<'a> {
    Op::Call(CallOrder {
        keep: "",
        method: "POST",
        url: "http://receiver.example/",
        headers: "",
        body,
        deadline_ms: 10_000,
        tries_max: 1,
        persistent: false,
        doubt: Doubt::Escalate,
        probe: "",
        compensation: "",
        uncertain_ms_max: 60_000,
        way_out: WayOut::Escalate,
    })
}

/// What came of the first attempt at a call.
pub(crate) fn tried(call: u64, finding: Finding) -> Vec<u8> {
    let tried = Tried {
        headers: "",
        call,
        attempt: 1,
        finding,
        evidence: "seen",
        tries: 1,
        status: 0,
        content_type: "",
        body: b"",
        is_cut: false,
        retry_after_ms: 0,
    };
    command("", &Op::Tried(tried))
}

pub(crate) fn publish(key: &str, topic: &str, body: &str) -> Vec<u8> {
    let mut messages = MessagesEncoder::default();
    messages.push(&Message { kind: "made", data: body, ..Message::default() });
    command(key, &Op::Topic(TopicOp::Publish { topic, messages: messages.messages() }))
}

pub(crate) fn order<'a>(from: &'a str, to: &'a str) -> Order<'a> {
    Order { from, to, amount: Amount::new(1).expect("an amount"), hold_ms: None, memo: "", metadata: "" }
}

/// Small enough that everything happens soon.
pub(crate) fn small() -> Options {
    Options {
        segment_bytes: 64 << 10,
        checkpoint_bytes: 256 << 10,
        log_retention_bytes: 0,
        memtable_records_max: 64,
        ..Options::default()
    }
}

pub(crate) fn found(reply: ReadReply) -> Found {
    reply.found.expect("it is there")
}

/// A disk that counts how often a file is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counting {
    pub(crate) disk: SimDisk,
    reads: Arc<AtomicU64>,
}

impl Counting {
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

impl Disk for Counting {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Box<dyn File>> {
        Ok(Box::new(CountingFile { file: self.disk.open(name, mode)?, reads: Arc::clone(&self.reads) }))
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir(dir)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Box<dyn File>,
    reads: Arc<AtomicU64>,
}

impl File for CountingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(buf, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}
