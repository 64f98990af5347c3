//! The disk of the machine, below one root directory that belongs to one process.

use crate::{Disk, File, Mode};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The file below the root whose lock says that a process has the directory.
pub const LOCK_FILE: &str = "lock";

/// Who may use the files that are made here: their owner. They hold what callers told the server.
const OWNERS_FILE: u32 = 0o600;
/// And the directories. One that is there already stays as it is.
const OWNERS_DIRECTORY: u32 = 0o700;

/// The files below a root directory.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    /// Held open, and so locked, for the life of the disk; absent where it is only read.
    lock: Option<fs::File>,
    /// Bytes written since it was opened, per top-level directory; `""` for files at the root.
    written: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    /// Each write is durable when it returns.
    durable_writes: bool,
    written: Arc<AtomicU64>,
}

impl RealDisk {
    /// Opens a directory for this process alone, creating it where it is missing. What is created is for its owner alone.
    ///
    /// # Errors
    /// `WouldBlock` where another process has it, whatever the system says; each names the directory.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        create_durably(&root).map_err(|e| naming(&root, &e))?;
        let path = root.join(LOCK_FILE);
        let lock = fs::File::options().create(true).truncate(false).write(true).mode(OWNERS_FILE).open(&path);
        let lock = lock.map_err(|e| naming(&path, &e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    format!(
                        "{}: another process has this directory open; stop it first, or use another directory",
                        root.display()
                    ),
                ));
            }
            Err(fs::TryLockError::Error(e)) => return Err(naming(&path, &e)),
        }
        Ok(Self { root, lock: Some(lock), written: Mutex::default() })
    }

    /// Opens an existing directory for reading, also while a process has it. Everything that would write is
    /// `PermissionDenied`.
    ///
    /// # Errors
    /// `NotFound`, whatever the system says; each names the directory.
    pub fn read_only(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        if !fs::metadata(&root).map_err(|e| naming(&root, &e))?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{}: not a directory", root.display())));
        }
        Ok(Self { root, lock: None, written: Mutex::default() })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes written since it was opened, per top-level directory, sorted; `""` for files at the root.
    pub fn bytes_written(&self) -> Vec<(String, u64)> {
        let counters = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        counters.iter().map(|(dir, count)| (dir.clone(), count.load(Ordering::Relaxed))).collect()
    }

    fn counter(&self, name: &str) -> Arc<AtomicU64> {
        let top = name.split_once('/').map_or("", |(top, _)| top);
        let mut counters = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(counters.entry(top.to_owned()).or_default())
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let plain = name.is_empty() || name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !plain {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{name}` is no name below the root")));
        }
        Ok(self.root.join(name))
    }

    fn path_to_write(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path(name)?;
        if self.lock.is_none() {
            let text = format!("{}: opened for reading only", path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(path)
    }
}

impl Disk for RealDisk {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Box<dyn File>> {
        let (path, mut options) = (self.path(name)?, fs::File::options());
        options.read(true);
        if mode != Mode::Read {
            self.path_to_write(name)?;
            options.write(true).create_new(mode == Mode::Create).mode(OWNERS_FILE);
        }
        let written = self.counter(name);
        if mode == Mode::Direct {
            let flags = (OFlags::DIRECT | OFlags::DSYNC).bits() as i32;
            match options.clone().custom_flags(flags).open(&path) {
                // Some file systems, such as tmpfs before Linux 6.6, have no direct writes.
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => {}
                file => {
                    let file = file.map_err(|e| naming(&path, &e))?;
                    return Ok(Box::new(RealFile { file, durable_writes: true, written }));
                }
            }
        }
        let file = options.open(&path).map_err(|e| naming(&path, &e))?;
        Ok(Box::new(RealFile { file, durable_writes: false, written }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let path = self.path(dir)?;
        let entries = match fs::read_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| naming(&path, &e))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| naming(&path, &e))?;
            // A file that goes while the directory is read (a live server's, seen by a reader) is as good as gone before.
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let from = self.path_to_write(from)?;
        fs::rename(&from, self.path_to_write(to)?).map_err(|e| naming(&from, &e))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path_to_write(name)?;
        fs::remove_file(&path).map_err(|e| naming(&path, &e))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        sync_path(&self.path_to_write(dir)?)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.path_to_write(dir)?;
        create_durably(&path).map_err(|e| naming(&path, &e))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root).map_err(|e| naming(&self.root, &e.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl File for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)?;
        self.written.fetch_add(buf.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.durable_writes {
            return Ok(());
        }
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

/// Creates a directory and those above it, each durable in the one above.
fn create_durably(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_durably(parent)?;
    }
    match fs::DirBuilder::new().mode(OWNERS_DIRECTORY).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created?,
    }
    sync_path(parent.unwrap_or(Path::new(".")))
}

fn sync_path(path: &Path) -> io::Result<()> {
    fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| naming(path, &e))
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BLOCK_BYTES, read_all, replace};

    #[test]
    fn one_process_has_the_directory_and_readers_do_not_mind() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = dir.path().join("a/b");
        let disk = RealDisk::open(&root).expect("open");
        let error = RealDisk::open(&root).expect_err("second process");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(error.to_string().contains("another process"), "{error}");

        replace(&disk, "CURRENT", b"one").expect("replace");
        let reader = RealDisk::read_only(&root).expect("read only");
        assert_eq!(read_all(&reader, "CURRENT").expect("read"), b"one");
        for refused in [
            replace(&reader, "CURRENT", b"two"),
            reader.remove("CURRENT"),
            reader.rename("CURRENT", "x"),
            reader.create_dir("log"),
        ] {
            assert_eq!(refused.expect_err("read only").kind(), io::ErrorKind::PermissionDenied);
        }
        drop(disk);
        RealDisk::open(&root).expect("the lock went with its disk");
        assert_eq!(RealDisk::read_only(dir.path().join("none")).expect_err("missing").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_made_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = dir.path().join("data");
        let disk = RealDisk::open(&root).expect("open");
        disk.create_dir("log").expect("create");
        disk.open("log/a", Mode::Create).expect("create");
        for (name, expect) in [("", 0o700), ("log", 0o700), ("log/a", 0o600), (LOCK_FILE, 0o600)] {
            let mode = fs::metadata(root.join(name)).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, expect, "{name:?}");
        }
    }

    #[test]
    fn direct_files_write_whole_blocks() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = RealDisk::open(dir.path()).expect("open");
        disk.open("f", Mode::Create).expect("create").set_len(4 * BLOCK_BYTES as u64).expect("extend");
        let file = disk.open("f", Mode::Direct).expect("direct");
        let memory = vec![7; 3 * BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        file.write_at(&memory[start..start + 2 * BLOCK_BYTES], BLOCK_BYTES as u64).expect("write");
        file.sync().expect("sync");
        let bytes = read_all(&disk, "f").expect("read");
        assert!(bytes.iter().zip(0..).all(|(byte, at)| (*byte == 7) == (BLOCK_BYTES..3 * BLOCK_BYTES).contains(&at)));
    }

    #[test]
    fn files_are_listed_counted_and_bounded_to_the_root() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = RealDisk::open(dir.path()).expect("open");
        assert_eq!(disk.list("log").expect("missing directory"), Vec::<String>::new());
        disk.create_dir("log").expect("create");
        for name in ["log/b", "log/a"] {
            let file = disk.open(name, Mode::Create).expect("create");
            file.write_at(b"12345", 3).expect("write");
            assert_eq!(file.len().expect("len"), 8);
            let mut buf = [9; 16];
            assert_eq!(file.read_at(&mut buf, 2).expect("read"), 6);
            assert_eq!(&buf[..7], b"\x0012345\x09");
        }
        assert_eq!(disk.list("log").expect("list"), ["a", "b"]);
        assert_eq!(disk.bytes_written(), [("log".to_owned(), 10)]);
        let exists = disk.open("log/a", Mode::Create).expect_err("exists");
        assert_eq!(exists.kind(), io::ErrorKind::AlreadyExists);
        for outside in ["../x", "/etc/passwd", "log//a", "./a"] {
            let error = disk.open(outside, Mode::Read).expect_err("outside");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{outside}");
        }
        assert!(disk.free_bytes().expect("free") > 0);
    }
}
