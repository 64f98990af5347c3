//! Checkpoints: the machine's memory on disk, so that a restart need not begin at the first entry.
//!
//! A checkpoint never stops the cell. It begins between two entries, at a position; from then on the machine saves what
//! it is about to change and the checkpoint has not written yet, and the driver takes a chunk of slots between entries.
//!
//! If it stops halfway there is a `.tmp` file, which the next start removes, and the checkpoint before it still
//! stands. It counts from the rename on, which comes after the file and every archived record below it are durable. Two
//! are kept: if the newest is damaged, the one before it and a longer tail of the log give the same state. One that was found
//! damaged is none of the two.
//!
//! ```text
//! file  = head  chunk*  end
//! head  = magic:8  version:u32le  cell:text16  epoch:u64le  index:u64le  next_ordinal:u64le  checksum:u64le
//! chunk = length:u32le  checksum:u64le  bytes          end = length 0, checksum over all chunks' checksums
//! ```

use std::io;
use std::sync::Arc;

use disk::{Disk, File, Mode, read_exact_at};
use words::{CellName, Position};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Where checkpoints are.
pub const CHECKPOINT_DIR: &str = "checkpoint";

const MAGIC: &[u8; 8] = b"TERTCKPT";
const VERSION: u32 = 1;

/// The file is synced in pieces, so that the log's own writes do not wait behind a long one.
const UNSYNCED_BYTES_MAX: u64 = 1 << 20;

/// How many checkpoints are kept.
pub(crate) const KEPT: usize = 2;

/// The disk, or the share of it that this user may have, is full.
pub(crate) fn is_out_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What a checkpoint is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckpointHead {
    /// The last entry it contains.
    pub position: Position,
    /// The first ordinal it does not contain: archived records below it belong to it.
    pub next_ordinal: u64,
}

/// Writes one checkpoint file.
#[derive(Debug)]
pub struct CheckpointWriter {
    disk: Arc<dyn Disk>,
    head: CheckpointHead,
    file: Box<dyn File>,
    offset: u64,
    unsynced: u64,
    digest: u64,
}

impl CheckpointWriter {
    /// Begins the file, under a temporary name.
    ///
    /// # Errors
    /// Of the disk.
    pub fn create(disk: Arc<dyn Disk>, cell: &CellName, head: CheckpointHead) -> io::Result<Self> {
        disk.create_dir(CHECKPOINT_DIR)?;
        let name = temporary_name(head);
        match disk.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.open(&name, Mode::Create)?;
        let bytes = encode_head(cell, head);
        file.write_at(&bytes, 0)?;
        Ok(Self { disk, head, file, offset: bytes.len() as u64, unsynced: 0, digest: 0 })
    }

    /// Adds a chunk.
    ///
    /// # Errors
    /// Of the disk.
    pub fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let checksum = xxh3_64_with_seed(bytes, self.digest);
        let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a checkpoint chunk of 4 GiB"))?;
        let mut frame = Vec::with_capacity(12 + bytes.len());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&checksum.to_le_bytes());
        frame.extend_from_slice(bytes);
        self.file.write_at(&frame, self.offset)?;
        self.offset += frame.len() as u64;
        self.digest = checksum;
        self.unsynced += frame.len() as u64;
        if self.unsynced >= UNSYNCED_BYTES_MAX {
            self.file.sync()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Ends the file and makes its bytes durable; it does not count yet.
    ///
    /// # Errors
    /// Of the disk.
    pub fn finish(&mut self) -> io::Result<()> {
        self.put(&[])?;
        self.file.sync()
    }

    /// Makes the finished file count, and removes all others but `kept`, which is known to be whole.
    ///
    /// # Errors
    /// Of the disk. One that says that the disk is full came before anything counted.
    pub fn publish(self, kept: Option<CheckpointHead>) -> io::Result<CheckpointHead> {
        self.disk.rename(&temporary_name(self.head), &final_name(self.head))?;
        // After it nobody knows whether the file counts: a full disk is not told as one.
        let synced = self.disk.sync_dir(CHECKPOINT_DIR);
        synced.map_err(|error| io::Error::other(format!("syncing {CHECKPOINT_DIR}: {error}")))?;
        let keep = [Some(self.head), kept].map(|head| head.map(final_name));
        for name in checkpoint_names(&*self.disk)? {
            if keep.iter().flatten().any(|kept| *kept == name) {
                continue;
            }
            // One that a full disk does not let go is removed with the next.
            if let Err(error) = self.disk.remove(&name)
                && !is_out_of_room(&error)
            {
                return Err(error);
            }
        }
        Ok(self.head)
    }

    /// Removes the unfinished file.
    pub fn abandon(self) {
        // What stays is removed at the next start.
        let _ = self.disk.remove(&temporary_name(self.head));
    }
}

/// A checkpoint file that was found.
#[derive(Debug)]
pub struct Loaded {
    /// What it is of.
    pub head: CheckpointHead,
    /// The machine's chunks, in order.
    pub chunks: Vec<Vec<u8>>,
}

/// Why a checkpoint file cannot be used.
#[derive(Debug)]
pub enum CheckpointError {
    /// The disk failed.
    Io(io::Error),
    /// It is not what was written.
    Corrupt {
        /// The file.
        file: String,
        /// What is wrong.
        what: &'static str,
    },
    /// It belongs to another cell.
    OtherCell {
        /// The file.
        file: String,
        /// Whose it is.
        cell: String,
    },
}

/// Checkpoint files, oldest first. Temporary ones are removed.
///
/// # Errors
/// Of the disk.
pub fn list_checkpoints(disk: &dyn Disk) -> io::Result<Vec<String>> {
    for name in disk.list(CHECKPOINT_DIR)? {
        if name.ends_with(".tmp") {
            disk.remove(&format!("{CHECKPOINT_DIR}/{name}"))?;
        }
    }
    checkpoint_names(disk)
}

fn checkpoint_names(disk: &dyn Disk) -> io::Result<Vec<String>> {
    let names = disk.list(CHECKPOINT_DIR)?;
    Ok(names.iter().filter(|name| name.ends_with(".ckp")).map(|name| format!("{CHECKPOINT_DIR}/{name}")).collect())
}

/// The index of the oldest checkpoint there is, by the files' names: the log before it is not needed for a start. 0 without
/// one.
///
/// # Errors
/// Of the disk.
pub(crate) fn oldest_checkpoint(disk: &dyn Disk) -> io::Result<u64> {
    let names = checkpoint_names(disk)?;
    let number = |name: &String| name.rsplit('/').next()?.strip_suffix(".ckp")?.parse().ok();
    Ok(names.iter().filter_map(number).min().unwrap_or(0))
}

/// Reads and checks one checkpoint file.
///
/// # Errors
/// [`CheckpointError`].
pub fn load_checkpoint(disk: &dyn Disk, name: &str, cell: &CellName) -> Result<Loaded, CheckpointError> {
    let corrupt = |what| CheckpointError::Corrupt { file: name.to_owned(), what };
    let file = disk.open(name, Mode::Read).map_err(CheckpointError::Io)?;
    let mut bytes = vec![0; HEAD_BYTES];
    read_exact_at(&*file, &mut bytes, 0).map_err(|_| corrupt("the head is cut short"))?;
    let (found, head) = decode_head(&bytes).map_err(corrupt)?;
    if found != cell.as_str() {
        return Err(CheckpointError::OtherCell { file: name.to_owned(), cell: found });
    }
    let mut chunks = Vec::new();
    let (mut offset, mut digest) = (HEAD_BYTES as u64, 0);
    loop {
        let mut prefix = [0; 12];
        read_exact_at(&*file, &mut prefix, offset).map_err(|_| corrupt("the file is cut short"))?;
        let length = u32::from_le_bytes(prefix[..4].try_into().expect("four bytes"));
        let checksum = u64::from_le_bytes(prefix[4..].try_into().expect("eight bytes"));
        offset += 12;
        let end = file.len().map_err(CheckpointError::Io)?;
        if u64::from(length) > end - offset {
            return Err(corrupt("a chunk reaches past the end"));
        }
        let mut chunk = vec![0; length as usize];
        read_exact_at(&*file, &mut chunk, offset).map_err(|_| corrupt("a chunk is cut short"))?;
        if xxh3_64_with_seed(&chunk, digest) != checksum {
            return Err(corrupt("a chunk's checksum is wrong"));
        }
        digest = checksum;
        offset += u64::from(length);
        if length == 0 {
            return Ok(Loaded { head, chunks });
        }
        chunks.push(chunk);
    }
}

const CELL_FIELD: usize = 33;
const HEAD_BYTES: usize = 8 + 4 + CELL_FIELD + 8 * 3 + 8;
// The field holds a length and the longest name of a cell.
const _: () = assert!(CELL_FIELD == words::CELL_BYTES_MAX + 1);

fn encode_head(cell: &CellName, head: CheckpointHead) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.push(cell.as_str().len() as u8);
    bytes.extend_from_slice(cell.as_str().as_bytes());
    bytes.resize(8 + 4 + CELL_FIELD, 0);
    for number in [head.position.epoch, head.position.index, head.next_ordinal] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let checksum = xxh3_64_with_seed(&bytes, 0);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_head(bytes: &[u8]) -> Result<(String, CheckpointHead), &'static str> {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if &bytes[..8] != MAGIC {
        return Err("it is not a checkpoint");
    }
    if bytes[8..12] != VERSION.to_le_bytes() {
        return Err("it is a checkpoint of another version");
    }
    if number(HEAD_BYTES - 8) != xxh3_64_with_seed(&bytes[..HEAD_BYTES - 8], 0) {
        return Err("the head's checksum is wrong");
    }
    let cell = &bytes[13..13 + usize::from(bytes[12]).min(CELL_FIELD - 1)];
    let cell = String::from_utf8_lossy(cell).into_owned();
    let at = 12 + CELL_FIELD;
    let position = Position { epoch: number(at), index: number(at + 8) };
    Ok((cell, CheckpointHead { position, next_ordinal: number(at + 16) }))
}

fn final_name(head: CheckpointHead) -> String {
    format!("{CHECKPOINT_DIR}/{:020}.ckp", head.position.index)
}

fn temporary_name(head: CheckpointHead) -> String {
    format!("{CHECKPOINT_DIR}/{:020}.tmp", head.position.index)
}

impl std::fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(_) => write!(f, "a checkpoint cannot be read"),
            Self::Corrupt { file, what } => write!(f, "{file}: {what}"),
            Self::OtherCell { file, cell } => write!(f, "{file} belongs to the cell `{cell}`"),
        }
    }
}

impl std::error::Error for CheckpointError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            _ => None,
        }
    }
}
