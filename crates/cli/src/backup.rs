//! `tertium backup` and `tertium restore`: a copy that a server can start from, checked before it is called one.
//!
//! A backup may be taken beside a running server. What makes the copy consistent is its order. The checkpoint comes first,
//! then the archive (which has all records of that checkpoint, since a checkpoint counts only once they are durable), then
//! the log, which has everything after. Within the log, the newest segment comes first and each segment is copied from its
//! end to its beginning: the server only ever appends, so whatever was copied is preceded by what was written before it.
//! The copy looks as after a crash at one moment, and a start deals with that.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::json;
use xxhash_rust::xxh3::Xxh3;

use crate::exit::{Ended, Exit, Failure};
use crate::log::{open, verify_with_bar};
use crate::output::{Fields, Format, grouped, print, print_json};
use crate::progress;

/// Copy a data directory, also under a running server, and check the copy
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tertium backup /backups/2026-11-20 --data /var/lib/tertium")]
pub(crate) struct BackupArgs {
    /// Where to put it: a directory that is empty or not there
    to: PathBuf,
    /// The data directory
    #[arg(long, value_name = "DIR", env = "TERTIUM_DATA", default_value = "./tertium-data")]
    data: PathBuf,
}

/// Put a backup into an empty data directory, and check it before and after
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tertium restore /backups/2026-11-20 --data /var/lib/tertium")]
pub(crate) struct RestoreArgs {
    /// The backup
    from: PathBuf,
    /// The data directory: empty, or not there
    #[arg(long, value_name = "DIR", env = "TERTIUM_DATA", default_value = "./tertium-data")]
    data: PathBuf,
}

/// What a backup says of itself, in `BACKUP.json`.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
struct Inventory {
    version: u32,
    /// The last entry in it.
    position: String,
    /// The chain's digest there.
    digest: String,
    files: BTreeMap<String, Copied>,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Clone, Debug)]
#[serde(deny_unknown_fields)]
struct Copied {
    bytes: u64,
    /// Of the content, in hexadecimal.
    xxh3_128: String,
}

const INVENTORY: &str = "BACKUP.json";
const VERSION: u32 = 1;
const CHECKPOINT: &str = "checkpoint";
const ARCHIVE: &str = "archive";
const MANIFEST: &str = "MANIFEST";

/// Copied at once, and so read and written at once: what a segment's frames are aligned to divides it.
const CHUNK_BYTES: u64 = 1 << 20;

/// How often a copy is begun again because the server moved on meanwhile.
const ATTEMPTS: usize = 5;

impl BackupArgs {
    pub(crate) fn run(self, format: Format) -> Ended {
        open(&self.data)?;
        must_be_empty(&self.to)?;
        let mut result = Err(Failure::new("no attempt was made"));
        for _ in 0..ATTEMPTS {
            result = copy_all(&self.data, &self.to).and_then(|()| check_copy(&self.to));
            if result.is_ok() {
                break;
            }
            // The server has trimmed its log past the checkpoint that was copied, most likely. The archive's files do not
            // change, and so the next attempt has less to copy and is faster.
            remove_directory(&self.to.join(CHECKPOINT))?;
            remove_directory(&self.to.join(log_file::DIR))?;
        }
        let inventory = result?;
        let text = serde_json::to_vec_pretty(&inventory).map_err(|error| Failure::new(error.to_string()))?;
        write_durably(&self.to.join(INVENTORY), &text)?;
        sync_directory(&self.to)?;
        tell("backed up", &inventory, &self.to, format)
    }
}

impl RestoreArgs {
    pub(crate) fn run(self, format: Format) -> Ended {
        let path = self.from.join(INVENTORY);
        let text = fs::read(&path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        let inventory: Inventory =
            serde_json::from_slice(&text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        if inventory.version != VERSION {
            return Err(Failure::new(format!("the backup is of version {}, this is {VERSION}", inventory.version)));
        }
        must_be_empty(&self.data)?;
        compare(&self.from, &inventory, "the backup")?;
        let total = inventory.files.values().map(|file| file.bytes).sum();
        let bar = progress::bytes(total, "restored");
        for name in inventory.files.keys() {
            copy_file(&self.from, &self.data, name, &bar)?;
        }
        bar.finish_and_clear();
        compare(&self.data, &inventory, "the restored data")?;
        tell("restored", &inventory, &self.data, format)
    }
}

fn tell(done: &str, inventory: &Inventory, place: &Path, format: Format) -> Ended {
    let bytes: u64 = inventory.files.values().map(|file| file.bytes).sum();
    match format {
        Format::Json => print_json(&json!({
            "directory": place.display().to_string(),
            "position": inventory.position,
            "digest": inventory.digest,
            "files": inventory.files.len(),
            "bytes": bytes,
        }))?,
        Format::Human => {
            let mut fields = Fields::default();
            fields.add("directory", place.display()).add("position", &inventory.position);
            fields.add("digest", &inventory.digest);
            fields.add("files", inventory.files.len()).add("bytes", grouped(bytes));
            print(format_args!("{done} and verified\n{fields}"))?;
        }
    }
    Ok(Exit::Done)
}

/// Checkpoint, archive, log, in this order.
fn copy_all(from: &Path, to: &Path) -> Result<(), Failure> {
    let total = ["", CHECKPOINT, ARCHIVE, log_file::DIR].iter().map(|dir| size_of(&from.join(dir))).sum();
    let bar = progress::bytes(total, "copied");
    // Most of the work, done before the order begins to matter: what follows is quick, and the server cannot get far.
    copy_archive(from, to, &bar)?;
    let checkpoints = files(from, CHECKPOINT, |name| name.ends_with(".ckp"))?;
    // An older one may go at any moment; the newest stays as long as it is the newest or the one before.
    if let Some(newest) = checkpoints.last() {
        copy_file(from, to, newest, &bar)?;
    }
    copy_archive(from, to, &bar)?;
    let segments = log_file::segment_files(&open(from)?).map_err(|error| Failure::new(error.to_string()))?;
    for segment in segments.iter().rev() {
        if let Err(error) = copy_backwards(&from.join(segment), &to.join(segment), &bar) {
            // Trimmed meanwhile, and so older than what is needed; if not, the check finds the gap.
            if error.kind() != io::ErrorKind::NotFound {
                return Err(Failure::new(format!("{segment}: {error}")));
            }
        }
    }
    for name in ["keys.toml", "tertium.toml"] {
        if from.join(name).exists() {
            copy_file(from, to, name, &bar)?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// All files that one manifest names: copied until the manifest is the same before and after. Files do not change once
/// they are there, so that each round has only the new ones to copy.
fn copy_archive(from: &Path, to: &Path, bar: &ProgressBar) -> Result<(), Failure> {
    let manifest = format!("{ARCHIVE}/{MANIFEST}");
    let read = || match fs::read(from.join(&manifest)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    };
    for _ in 0..ATTEMPTS * 10 {
        let Some(before) = read()? else { return Ok(()) };
        let mut is_whole = true;
        let names = files(from, ARCHIVE, |name| name != MANIFEST && !name.ends_with(".tmp"))?;
        for name in &names {
            let there = fs::metadata(to.join(name)).map(|copy| copy.len());
            let size = fs::metadata(from.join(name)).map(|file| file.len());
            if there.is_ok() && size.is_ok() && there.ok() == size.ok() {
                continue;
            }
            match copy_once(&from.join(name), &to.join(name), bar) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => is_whole = false,
                copied => copied.map_err(|error| Failure::new(format!("{name}: {error}")))?,
            }
        }
        if is_whole && read()?.as_ref() == Some(&before) {
            create_private_dir(&to.join(ARCHIVE))?;
            // What was merged into something else meanwhile.
            for gone in files(to, ARCHIVE, |_| true)?.iter().filter(|name| !names.contains(name)) {
                fs::remove_file(to.join(gone))?;
            }
            return Ok(write_durably(&to.join(&manifest), &before)?);
        }
    }
    Err(Failure::new("the archive changes faster than it can be copied"))
}

/// That a server could start from the copy, and what it holds.
fn check_copy(to: &Path) -> Result<Inventory, Failure> {
    let disk = open(to)?;
    let verified = verify_with_bar(&disk)?;
    let mut files_found = BTreeMap::new();
    for dir in ["", CHECKPOINT, ARCHIVE, log_file::DIR] {
        for name in files(to, dir, |_| true)? {
            let copied = digest(&to.join(&name))?;
            files_found.insert(name, copied);
        }
    }
    // A checkpoint's name is the index of its last entry.
    let checkpoint = files_found.keys().filter_map(|name| checkpoint_index(name)).max().unwrap_or(0);
    let has_gap = verified.first > checkpoint + 1;
    if has_gap || verified.tail.index < checkpoint {
        let (first, tail) = (verified.first, verified.tail.index);
        return Err(Failure::new(format!("the checkpoint is at {checkpoint}, and the log holds {first} to {tail}")));
    }
    Ok(Inventory {
        version: VERSION,
        position: verified.tail.to_string(),
        digest: format!("{:016x}", verified.digest),
        files: files_found,
    })
}

fn checkpoint_index(name: &str) -> Option<u64> {
    name.strip_prefix("checkpoint/")?.strip_suffix(".ckp")?.parse().ok()
}

/// That a directory holds what the inventory says, and its log what it should.
fn compare(root: &Path, inventory: &Inventory, what: &str) -> Result<(), Failure> {
    let bar = progress::bytes(inventory.files.values().map(|file| file.bytes).sum(), "compared");
    for (name, expected) in &inventory.files {
        if !is_plain(name) {
            return Err(Failure::new(format!("{what} names a file outside itself: {name}")));
        }
        let found = digest(&root.join(name)).map_err(|error| Failure::new(format!("{what}: {name}: {error}")))?;
        if found != *expected {
            return Err(Failure::new(format!("{what} is damaged: {name} is not what was backed up")));
        }
        bar.inc(expected.bytes);
    }
    bar.finish_and_clear();
    let verified = verify_with_bar(&open(root)?)?;
    if verified.tail.to_string() != inventory.position || format!("{:016x}", verified.digest) != inventory.digest {
        return Err(Failure::new(format!("{what} ends at {}, not at {}", verified.tail, inventory.position)));
    }
    Ok(())
}

/// One of ours: at most one directory deep and going nowhere else.
fn is_plain(name: &str) -> bool {
    let mut parts = name.split('/');
    parts.clone().count() <= 2 && parts.all(|part| !part.is_empty() && part != "." && part != "..")
}

/// The names of a directory's files, sorted, with the directory's name before them.
fn files(root: &Path, dir: &str, keep: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(root.join(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && name != disk::LOCK_FILE && keep(&name) {
            names.push(if dir.is_empty() { name } else { format!("{dir}/{name}") });
        }
    }
    names.sort();
    Ok(names)
}

fn copy_file(from: &Path, to: &Path, name: &str, bar: &ProgressBar) -> Result<(), Failure> {
    copy_once(&from.join(name), &to.join(name), bar).map_err(|error| Failure::new(format!("{name}: {error}")))
}

fn copy_once(from: &Path, to: &Path, bar: &ProgressBar) -> io::Result<()> {
    let mut source = File::open(from)?;
    make_parent(to)?;
    let mut target = create_private(to)?;
    io::copy(&mut source, &mut bar.wrap_write(&mut target))?;
    target.sync_all()?;
    sync_parent(to)
}

/// From the end to the beginning, see above.
fn copy_backwards(from: &Path, to: &Path, bar: &ProgressBar) -> io::Result<()> {
    let mut source = File::open(from)?;
    make_parent(to)?;
    let mut target = create_private(to)?;
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut chunk = Vec::new();
    let mut end = length;
    while end > 0 {
        let start = (end - 1) / CHUNK_BYTES * CHUNK_BYTES;
        chunk.resize(usize::try_from(end - start).map_err(io::Error::other)?, 0);
        source.seek(SeekFrom::Start(start))?;
        source.read_exact(&mut chunk)?;
        // What was not written yet is zeros, which a new file has anyway.
        if chunk.iter().any(|byte| *byte != 0) {
            target.seek(SeekFrom::Start(start))?;
            target.write_all(&chunk)?;
        }
        bar.inc(end - start);
        end = start;
    }
    target.sync_all()?;
    sync_parent(to)
}

fn digest(path: &Path) -> io::Result<Copied> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut chunk = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            n => {
                hash.update(&chunk[..n]);
                bytes += n as u64;
            }
        }
    }
    Ok(Copied { bytes, xxh3_128: format!("{:032x}", hash.digest128()) })
}

fn must_be_empty(directory: &Path) -> Result<(), Failure> {
    let first = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Failure::new(format!("{}: {error}", directory.display()))),
    };
    if first.is_some() {
        return Err(Failure::new(format!("{} is not empty: nothing is overwritten", directory.display())));
    }
    Ok(create_private_dir(directory)?)
}

fn remove_directory(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn size_of(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_private(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_parent(path)
}

/// A file that only its owner may read: a backup holds what the data directory holds.
fn create_private(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Makes a directory that only its owner may enter, and those above it that are missing.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), create_private_dir)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
