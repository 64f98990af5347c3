//! Where the canaries live: disks and logs that break one promise each.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use cell::{Cell, Options};
use disk::{Disk, File, Mode};
use log::{Append, Capabilities, Log, LogError, Rejected, Stored};
use machine::{CallView, Entry, EntryEncoder, Finding, Op, Tried, encode_head};
use words::{Position, Stamp};

/// A disk that says an append to the log is synced and has not done it.
#[derive(Debug)]
pub(crate) struct SkipSync(pub(crate) Arc<dyn Disk>);

#[derive(Debug)]
struct SkipSyncFile(Box<dyn File>);

impl Disk for SkipSync {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Box<dyn File>> {
        let file = self.0.open(name, mode)?;
        Ok(if name.starts_with("log/") && mode == Mode::Direct { Box::new(SkipSyncFile(file)) } else { file })
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.0.create_dir(dir)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.free_bytes()
    }
}

impl File for SkipSyncFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

/// A log whose newest entry is read back without its commands.
#[derive(Debug)]
pub(crate) struct SkipLast<'a, L> {
    log: &'a mut L,
}

impl<'a, L: Log> SkipLast<'a, L> {
    pub(crate) fn new(log: &'a mut L) -> Self {
        Self { log }
    }
}

impl<L: Log> Log for SkipLast<'_, L> {
    fn append(&mut self, after: Position, epoch: u64, entry: &[u8]) -> Append {
        self.log.append(after, epoch, entry)
    }

    fn read(&mut self, from: u64, max_bytes: usize) -> Result<Vec<Stored>, LogError> {
        let tail = self.log.tail()?.index;
        let mut read = self.log.read(from, max_bytes)?;
        for stored in read.iter_mut().filter(|stored| stored.position.index == tail) {
            let stamp = Entry::decode(&stored.entry).expect("the log holds entries").stamp;
            stored.entry = EntryEncoder::default().finish(stamp);
        }
        Ok(read)
    }

    fn tail(&mut self) -> Result<Position, LogError> {
        self.log.tail()
    }

    fn trim(&mut self, upto: u64) -> Result<(), LogError> {
        self.log.trim(upto)
    }

    fn first(&self) -> u64 {
        self.log.first()
    }

    fn seal(&mut self) -> Result<Position, LogError> {
        self.log.seal()
    }

    fn capabilities(&self) -> Capabilities {
        self.log.capabilities()
    }

    fn has_room(&mut self) -> Result<(), Rejected> {
        self.log.has_room()
    }
}

/// The claim, with word before it that what was being tried was not done.
pub(crate) fn forgotten_is_not_done(cell: &Cell<u64, u64>, claim: &[u8]) -> Vec<u8> {
    let claim = Entry::decode(claim).expect("the cell encoded it");
    let mut encoder = EntryEncoder::default();
    let records = machine::Archive::next_ordinal(cell.archive());
    let open = (0..records).filter_map(|call| cell.machine().call(call));
    for CallView { call, attempt, .. } in open.filter(|view| view.next_attempt.is_none() && !view.is_escalated) {
        let op = Op::Tried(Tried {
            headers: "",
            call,
            attempt,
            finding: Finding::NotDone,
            evidence: "",
            tries: 0,
            status: 0,
            content_type: "",
            body: b"",
            is_cut: false,
            retry_after_ms: 0,
        });
        encoder.push(&encode(Stamp::ZERO, &op));
    }
    for command in claim.commands().flatten() {
        encoder.push(&encode(command.expires, &command.op));
    }
    encoder.finish(claim.stamp)
}

fn encode(expires: Stamp, op: &Op<'_>) -> Vec<u8> {
    let mut command = Vec::new();
    encode_head(&mut command, expires, "", "");
    op.encode(&mut command);
    command
}

/// Zeroes the newest frame of the log, as a recovery would that takes it for a torn one.
pub(crate) struct CutTail;

impl CutTail {
    /// Cuts, if there is something to cut.
    pub(crate) fn cut(disk: &Arc<dyn Disk>, _options: &Options) -> Result<(), String> {
        let mut newest = None;
        log_file::dump(disk.as_ref(), 0, u64::MAX, &mut |frame| {
            newest = Some((frame.file.to_owned(), frame.offset));
            ControlFlow::Continue(())
        })
        .map_err(|error| error.to_string())?;
        let Some((file, offset)) = newest else { return Ok(()) };
        let cut = |file: Box<dyn File>| file.write_at(&[0; log_file::BLOCK_BYTES], offset).and_then(|()| file.sync());
        disk.open(&file, Mode::ReadWrite).and_then(cut).map_err(|error| error.to_string())
    }
}
