//! The file operations everything durable goes through, so that one code runs on a real disk and on a simulated one.
//!
//! Names are relative to the disk's root, their parts parted by `/`: `log/segment-000000000001.seg`. What is written is not durable
//! before [`File::sync`], and a name that was created, renamed or removed is not before [`Disk::sync_dir`]. Code that
//! relies on more than that fails over [`SimDisk`], which forgets, tears and reorders at a crash whatever was not synced.

use std::fmt;
use std::io;

mod real;
mod sim;

pub use real::{LOCK_FILE, RealDisk};
pub use sim::{SECTOR_BYTES, SimCounts, SimDisk};

/// What writes in [`Mode::Direct`] are multiples of: the largest block that disks in use have.
pub const BLOCK_BYTES: usize = 4096;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It exists and is only read.
    Read,
    /// It exists; read and written.
    ReadWrite,
    /// It exists; read and written so that each write is durable when it returns and [`File::sync`] has nothing left to
    /// do, at the least latency the system has (`O_DIRECT|O_DSYNC` where the file system takes it). Offsets and lengths
    /// of writes are multiples of [`BLOCK_BYTES`], and the bytes start at one in memory. Call `sync` all the same: where
    /// the file system does not take it, the sync is what makes the write durable.
    Direct,
    /// It must not exist yet; read and written. Its name is durable after [`Disk::sync_dir`].
    Create,
}

/// A tree of files. Cheap to share as `Arc<dyn Disk>`.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound` where it must exist, `AlreadyExists` where it must not, whatever the system says.
    fn open(&self, name: &str, mode: Mode) -> io::Result<Box<dyn File>>;

    /// The names of the files in a directory, sorted, without the directory's own name. A missing directory is empty.
    ///
    /// # Errors
    /// Whatever the system says.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Gives a file another name, replacing what has that name in one step.
    ///
    /// # Errors
    /// `NotFound`, whatever the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, whatever the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes each create, rename and remove in the directory durable. The root is `""`.
    ///
    /// # Errors
    /// Whatever the system says. After a failure nothing is known about what is durable (law 12: stop).
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Creates a directory and those above it, durably. It may exist.
    ///
    /// # Errors
    /// Whatever the system says.
    fn create_dir(&self, dir: &str) -> io::Result<()>;

    /// How many bytes new files can still take.
    ///
    /// # Errors
    /// Whatever the system says.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file. It stays open under a rename and a removal.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads at an offset and says how many bytes; fewer than asked only at the end of the file.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of the bytes at an offset, extending the file where it ends before.
    ///
    /// # Errors
    /// `StorageFull`, whatever the system says; some of the bytes may have been written.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Makes what was written durable (fdatasync).
    ///
    /// # Errors
    /// Whatever the system says. After a failure what was written may be lost, also where a later sync succeeds (law 12:
    /// stop).
    fn sync(&self) -> io::Result<()>;

    /// Its length in bytes.
    ///
    /// # Errors
    /// Whatever the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// Whatever the system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts it, or extends it with zeros.
    ///
    /// # Errors
    /// `StorageFull`, whatever the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// Fills the buffer from an offset.
///
/// # Errors
/// `UnexpectedEof` where the file ends before, whatever the system says.
pub fn read_exact_at(file: &dyn File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    if file.read_at(buf, offset)? == buf.len() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the file ends before {} bytes at offset {offset}", buf.len()),
    ))
}

/// The whole of a file.
///
/// # Errors
/// `NotFound`, whatever the system says.
pub fn read_all(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(name, Mode::Read)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    read_exact_at(file.as_ref(), &mut bytes, 0)?;
    Ok(bytes)
}

/// Gives a file this content in one step: after a crash it has the old content or the new, and once this returned, the
/// new. Writes `<name>.tmp` beside it, which a crash may leave behind.
///
/// # Errors
/// Whatever the system says. Where the failure came from a sync, which content is durable is not known.
pub fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}.tmp");
    let file = match disk.open(&temporary, Mode::Create) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(&temporary)?;
            disk.open(&temporary, Mode::Create)?
        }
        opened => opened?,
    };
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&temporary, name)?;
    disk.sync_dir(parent(name))
}

/// The directory of a name: `""` for one at the root.
pub fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}
