//! A disk in memory that forgets, tears and reorders at a crash whatever was not synced.

mod inode;

use self::inode::Inode;
use crate::{BLOCK_BYTES, Disk, File, Mode, parent};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a crash leaves whole: a sector has its old bytes or its new ones, never a mix.
pub const SECTOR_BYTES: usize = 512;

/// A simulated disk. A clone is the same disk. Deterministic: what it does depends on the calls and on the generator
/// given to [`SimDisk::crash`] alone.
///
/// The model: each write is a step that changes whole sectors. At a crash each sector of each unsynced step reached the
/// medium or not, on its own, so that later writes may survive earlier ones; the length is any of those the file had
/// since its last sync. Names likewise: of the unsynced creates, renames and removes any subset happened, in order.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    inode: u64,
    /// Opened in [`Mode::Direct`]. Its writes wait for a sync like all others, so that a caller that leaves it out is found.
    direct: bool,
    /// Handles opened before a crash are dead after it.
    life: u64,
}

#[derive(Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    inode_next: u64,
    /// The names as the running system sees them, and as the medium has them.
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    names_pending: Vec<NameStep>,
    dirs: BTreeSet<String>,
    life: u64,
    faults: Faults,
    counts: SimCounts,
}

#[derive(Debug)]
enum NameStep {
    Link { name: String, inode: u64 },
    Unlink { name: String },
}

#[derive(Debug, Default)]
struct Faults {
    capacity_bytes: Option<u64>,
    syncs_before_failure: Option<u64>,
    steps_before_power_loss: Option<u64>,
    powerless: bool,
}

/// What was done on a simulated disk since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SimCounts {
    /// Writes and changes of length.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
    /// Creates, renames and removes.
    pub name_steps: u64,
    /// Crashes.
    pub crashes: u64,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power and gives it back: what was not synced happened, or not, or in part. Open files are dead after it.
    /// Ends a power loss and forgets the other planned faults, except for the capacity and unreadable files.
    pub fn crash(&self, rng: &mut Rng) {
        let mut state = self.lock();
        // Each crash draws how much survives, so that "nothing", "everything" and "some" all come up often.
        let survival = [0.0, 0.1, 0.5, 0.9, 1.0][rng.usize(..5)];
        let steps = std::mem::take(&mut state.names_pending);
        for step in steps {
            if rng.f64() < survival {
                state.apply_name_step(step);
            }
        }
        state.names = state.names_durable.clone();
        for inode in state.inodes.values_mut() {
            inode.crash(rng, survival);
            inode.handles = 0;
        }
        state.forget_nameless();
        state.life += 1;
        state.counts.crashes += 1;
        let capacity_bytes = state.faults.capacity_bytes;
        state.faults = Faults { capacity_bytes, ..Faults::default() };
    }

    /// The power goes after that many further steps (writes, syncs, names): the step after them may or may not happen,
    /// and it and all others fail until [`SimDisk::crash`].
    pub fn lose_power_after(&self, steps: u64) {
        self.lock().faults.steps_before_power_loss = Some(steps);
    }

    /// Whether the power is gone.
    pub fn is_powerless(&self) -> bool {
        self.lock().faults.powerless
    }

    /// The sync after that many further ones fails, once. What it should have made durable may be lost even where a later
    /// sync succeeds, as on Linux.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.lock().faults.syncs_before_failure = Some(syncs);
    }

    /// The disk holds that many bytes of files in all; none for no bound.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().faults.capacity_bytes = bytes;
    }

    /// The sum of the lengths of all files, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }

    /// Each read of that file fails from now on, or no longer.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn set_unreadable(&self, name: &str, unreadable: bool) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.find(name)?;
        state.inode_mut(inode).unreadable = unreadable;
        Ok(())
    }

    /// Flips one bit on the medium and in what is read.
    ///
    /// # Errors
    /// `NotFound`; `UnexpectedEof` where the file ends before.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) -> io::Result<()> {
        let mut state = self.lock();
        let inode = state.find(name)?;
        let inode = state.inode_mut(inode);
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let mask = 1 << (bit % 8);
        if let Some(byte) = inode.medium.as_mut().and_then(|medium| medium.get_mut(at)) {
            *byte ^= mask;
        }
        let byte = inode.bytes.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)?;
        *byte ^= mask;
        Ok(())
    }

    /// What was done so far.
    pub fn counts(&self) -> SimCounts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str, mode: Mode) -> io::Result<Box<dyn File>> {
        let mut state = self.lock();
        state.check_power()?;
        let inode = match (mode, state.names.get(name)) {
            (Mode::Create, Some(_)) => return Err(error(io::ErrorKind::AlreadyExists, name)),
            (Mode::Read | Mode::ReadWrite | Mode::Direct, Some(&inode)) => inode,
            (Mode::Read | Mode::ReadWrite | Mode::Direct, None) => {
                return Err(error(io::ErrorKind::NotFound, name));
            }
            (Mode::Create, None) => {
                if !state.dirs.contains(parent(name)) && !parent(name).is_empty() {
                    return Err(error(io::ErrorKind::NotFound, parent(name)));
                }
                state.inode_next += 1;
                let inode = state.inode_next;
                state.inodes.insert(inode, Inode::default());
                state.names.insert(name.to_owned(), inode);
                state.name_step(NameStep::Link { name: name.to_owned(), inode })?;
                inode
            }
        };
        state.inode_mut(inode).handles += 1;
        Ok(Box::new(SimFile { state: Arc::clone(&self.state), inode, direct: mode == Mode::Direct, life: state.life }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.check_power()?;
        let names = state.names.keys().filter(|name| parent(name) == dir);
        Ok(names.map(|name| name.rsplit_once('/').map_or(name.as_str(), |(_, last)| last).to_owned()).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.check_power()?;
        let inode = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), inode);
        state.name_step(NameStep::Link { name: to.to_owned(), inode })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.check_power()?;
        state.find(name)?;
        state.names.remove(name);
        state.name_step(NameStep::Unlink { name: name.to_owned() })
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.begin_sync()?;
        let (due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.names_pending).into_iter().partition(|step| parent(step.name()) == dir);
        state.names_pending = rest;
        for step in due {
            state.apply_name_step(step);
        }
        state.forget_nameless();
        Ok(())
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.check_power()?;
        let mut dir = dir;
        while !dir.is_empty() {
            state.dirs.insert(dir.to_owned());
            dir = parent(dir);
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.lock();
        state.check_power()?;
        Ok(state.free_bytes())
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = lock(&self.state);
        let inode = state.live(self)?;
        if inode.unreadable {
            return Err(io::Error::other("simulated read error"));
        }
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let rest = inode.bytes.get(offset..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        if self.direct && !(offset.is_multiple_of(BLOCK_BYTES as u64) && buf.len().is_multiple_of(BLOCK_BYTES)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut state = lock(&self.state);
        let free = state.free_bytes();
        let inode = state.live(self)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let room = usize::try_from(free).unwrap_or(usize::MAX).saturating_add(inode.bytes.len());
        let fits = buf.len().min(room.saturating_sub(offset));
        inode.write(offset, &buf[..fits]);
        state.counts.writes += 1;
        state.counts.bytes_written += fits as u64;
        state.step()?;
        if fits < buf.len() {
            return Err(error(io::ErrorKind::StorageFull, "simulated disk"));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.live(self)?;
        let begun = state.begin_sync();
        let inode = state.live(self);
        match (begun, inode) {
            (Ok(()), inode) => inode?.sync(),
            // Powerless: the crash draws what was left of it.
            (Err(e), Err(_)) => return Err(e),
            (Err(e), Ok(inode)) => {
                inode.lose_pending();
                return Err(e);
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.state).live(self)?.bytes.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let free = state.free_bytes();
        let inode = state.live(self)?;
        if len > (inode.bytes.len() as u64).saturating_add(free) {
            return Err(error(io::ErrorKind::StorageFull, "simulated disk"));
        }
        inode.set_len(usize::try_from(len).map_err(io::Error::other)?);
        state.counts.writes += 1;
        state.step()
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if self.life == state.life
            && let Some(inode) = state.inodes.get_mut(&self.inode)
        {
            inode.handles -= 1;
        }
    }
}

impl State {
    fn check_power(&self) -> io::Result<()> {
        if self.faults.powerless {
            return Err(io::Error::other("simulated power loss"));
        }
        Ok(())
    }

    /// Counts one step that changes the disk; the one that meets the power loss fails, done or not.
    fn step(&mut self) -> io::Result<()> {
        match &mut self.faults.steps_before_power_loss {
            Some(0) => self.faults.powerless = true,
            Some(left) => *left -= 1,
            None => {}
        }
        self.check_power()
    }

    fn begin_sync(&mut self) -> io::Result<()> {
        self.check_power()?;
        self.step()?;
        self.counts.syncs += 1;
        match &mut self.faults.syncs_before_failure {
            Some(0) => {
                self.faults.syncs_before_failure = None;
                Err(io::Error::other("simulated sync error"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn name_step(&mut self, step: NameStep) -> io::Result<()> {
        self.names_pending.push(step);
        self.counts.name_steps += 1;
        self.step()
    }

    fn apply_name_step(&mut self, step: NameStep) {
        match step {
            NameStep::Link { name, inode } => {
                // A file has one name: a rename that became durable took the old one with it.
                self.names_durable.retain(|_, other| *other != inode);
                self.names_durable.insert(name, inode);
            }
            NameStep::Unlink { name } => {
                self.names_durable.remove(&name);
            }
        }
    }

    fn forget_nameless(&mut self) {
        let pending = self.names_pending.iter().filter_map(|step| match step {
            NameStep::Link { inode, .. } => Some(inode),
            NameStep::Unlink { .. } => None,
        });
        let named: BTreeSet<u64> =
            self.names.values().chain(self.names_durable.values()).chain(pending).copied().collect();
        self.inodes.retain(|inode, file| file.handles > 0 || named.contains(inode));
    }

    fn find(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| error(io::ErrorKind::NotFound, name))
    }

    fn inode_mut(&mut self, inode: u64) -> &mut Inode {
        self.inodes.entry(inode).or_default()
    }

    fn live(&mut self, file: &SimFile) -> io::Result<&mut Inode> {
        self.check_power()?;
        if file.life != self.life {
            return Err(io::Error::other("this file was open before the simulated crash"));
        }
        Ok(self.inode_mut(file.inode))
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().filter_map(|inode| self.inodes.get(inode)).map(|inode| inode.bytes.len() as u64).sum()
    }

    fn free_bytes(&self) -> u64 {
        self.faults.capacity_bytes.map_or(1 << 40, |capacity| capacity.saturating_sub(self.used_bytes()))
    }
}

impl NameStep {
    fn name(&self) -> &str {
        match self {
            Self::Link { name, .. } | Self::Unlink { name } => name,
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn error(kind: io::ErrorKind, what: &str) -> io::Error {
    io::Error::new(kind, format!("{what}: {kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read_all, read_exact_at, replace};

    fn disk_with(name: &str, bytes: &[u8]) -> (SimDisk, Box<dyn File>) {
        let disk = SimDisk::new();
        let file = disk.open(name, Mode::Create).expect("create");
        file.write_at(bytes, 0).expect("write");
        file.sync().expect("sync");
        disk.sync_dir("").expect("sync");
        (disk, file)
    }

    /// Every content that crashes of many seeds leave of four sectors, one letter each, after `write`.
    fn survivors(write: impl Fn(&SimDisk, &dyn File)) -> BTreeSet<String> {
        let letters = |bytes: &[u8]| {
            let sectors = bytes.chunks(SECTOR_BYTES).map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is whole");
                char::from(sector[0].max(b'0'))
            });
            sectors.collect::<String>()
        };
        let crash = |seed| {
            let (disk, file) = disk_with("f", &[b'a'; 4 * SECTOR_BYTES]);
            write(&disk, file.as_ref());
            disk.crash(&mut Rng::with_seed(seed));
            assert!(file.read_at(&mut [0], 0).is_err(), "handles die with the crash");
            letters(&read_all(&disk, "f").expect("read"))
        };
        (0..400).map(crash).collect()
    }

    #[test]
    fn unsynced_sectors_survive_each_on_its_own() {
        let two = SECTOR_BYTES as u64 * 2;
        let seen = survivors(|_, file| file.write_at(&[b'b'; 2 * SECTOR_BYTES], two).expect("write"));
        assert_eq!(seen, ["aaaa", "aaab", "aaba", "aabb"].map(str::to_owned).into());

        let reordered = survivors(|_, file| {
            file.write_at(&[b'b'; SECTOR_BYTES], 0).expect("write");
            file.write_at(&[b'c'; SECTOR_BYTES], two).expect("write");
        });
        assert!(reordered.contains("aaca"), "a later write survives an earlier one: {reordered:?}");

        let synced = survivors(|_, file| {
            file.write_at(&[b'b'; 4 * SECTOR_BYTES], 0).expect("write");
            file.sync().expect("sync");
        });
        assert_eq!(synced, ["bbbb".to_owned()].into());
    }

    #[test]
    fn lengths_survive_only_a_sync() {
        let longer = survivors(|_, file| file.set_len(5 * SECTOR_BYTES as u64).expect("extend"));
        assert_eq!(longer, ["aaaa", "aaaa0"].map(str::to_owned).into());
        let cut = survivors(|_, file| file.set_len(2 * SECTOR_BYTES as u64).expect("cut"));
        assert!(cut.contains("aa") && cut.contains("aaaa"), "{cut:?}");
    }

    #[test]
    fn a_failed_sync_loses_what_a_later_one_reports_as_durable() {
        let seen = survivors(|disk, file| {
            file.write_at(&[b'b'; SECTOR_BYTES], 0).expect("write");
            disk.fail_sync_after(0);
            file.sync().expect_err("planned");
            let mut buf = [0; 1];
            read_exact_at(file, &mut buf, 0).expect("read");
            assert_eq!(&buf, b"b", "the running system still reads it");
            file.write_at(&[b'c'; SECTOR_BYTES], 512).expect("write");
            file.sync().expect("the second sync says yes");
        });
        assert_eq!(seen, ["acaa".to_owned()].into());
    }

    #[test]
    fn names_survive_only_a_directory_sync() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..200 {
            let (disk, _) = disk_with("MANIFEST", b"old");
            let file = disk.open("new", Mode::Create).expect("create");
            file.write_at(b"new", 0).expect("write");
            file.sync().expect("sync");
            disk.rename("new", "MANIFEST").expect("rename");
            disk.crash(&mut Rng::with_seed(seed));
            outcomes.insert(read_all(&disk, "MANIFEST").expect("one of both"));

            replace(&disk, "MANIFEST", b"newest").expect("replace");
            disk.crash(&mut Rng::with_seed(seed));
            assert_eq!(read_all(&disk, "MANIFEST").expect("there"), b"newest");
        }
        assert_eq!(outcomes, [b"old".to_vec(), b"new".to_vec()].into());
    }

    #[test]
    fn full_unreadable_powerless_and_flipped() {
        let (disk, file) = disk_with("f", b"abc");
        disk.set_capacity(Some(5));
        let full = file.write_at(b"defg", 3).expect_err("full");
        assert_eq!((full.kind(), disk.used_bytes()), (io::ErrorKind::StorageFull, 5));
        file.write_at(b"xyz", 0).expect("overwriting needs no room");
        assert_eq!(file.set_len(6).expect_err("full").kind(), io::ErrorKind::StorageFull);
        disk.set_capacity(None);

        disk.set_unreadable("f", true).expect("there");
        assert!(read_all(&disk, "f").is_err());
        disk.set_unreadable("f", false).expect("there");
        disk.flip_bit("f", 0, 0).expect("there");
        assert_eq!(read_all(&disk, "f").expect("read"), b"yyzde");

        disk.lose_power_after(1);
        file.write_at(b"1", 0).expect("one more step");
        file.sync().expect_err("the power goes here");
        assert!(disk.is_powerless() && disk.list("").is_err() && disk.open("f", Mode::Read).is_err());
        disk.crash(&mut Rng::with_seed(1));
        assert_eq!(disk.list("").expect("back"), ["f"]);
    }

    #[test]
    fn a_removed_file_lives_as_long_as_it_is_open() {
        let (disk, file) = disk_with("f", b"abc");
        disk.remove("f").expect("remove");
        disk.sync_dir("").expect("sync");
        let mut buf = [0; 3];
        read_exact_at(file.as_ref(), &mut buf, 0).expect("read");
        assert_eq!(&buf, b"abc");
        drop(file);
        disk.sync_dir("").expect("sync");
        assert!(disk.lock().inodes.is_empty());
    }
}
