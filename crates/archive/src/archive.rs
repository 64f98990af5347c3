//! The archive as the cell holds it: a memtable in front, frozen ones behind it, the sealed part behind those.

use std::collections::VecDeque;
use std::sync::Arc;

use disk::Disk;
use machine::{Archive, Fault, NameHash};

use crate::cache::BlockCache;
use crate::error::ArchiveError;
use crate::index::{Index, Kind};
use crate::job::{Done, Job, Outcome, Plan, Retired, Work};
use crate::manifest::{self, IndexRow, Manifest};
use crate::memtable::Memtable;
use crate::merge::Merge;
use crate::records::Segment;
use crate::view::{Sealed, View};
use crate::{DIRECTORY, FAN_OUT};

/// How an archive works. Memory in the worst case: (3 + frozen memtables that wait for the disk) x 1.6 x
/// `memtable_bytes`, and about 2.5 bytes for each sealed record with one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// A memtable is frozen at so many records. Default 524,288.
    pub memtable_records: usize,
    /// Or at so many bytes of records, at most 1 GiB. Default 32 MiB.
    pub memtable_bytes: usize,
    /// How many entries one job merges, so that a memtable never waits long for its turn. Default 2,000,000.
    pub merge_step_entries: usize,
    /// The seed of the hashes where the archive is new; an old one keeps its own. Draw it at random.
    pub hash_seed_if_new: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memtable_records: 512 * 1024,
            memtable_bytes: 32 * 1024 * 1024,
            merge_step_entries: 2_000_000,
            hash_seed_if_new: 0,
        }
    }
}

/// Offsets in a segment and places in a memtable have 32 bits.
const MEMTABLE_BYTES_MAX: usize = 1 << 30;
const MEMTABLE_RECORDS_MAX: usize = 1 << 30;

/// With more frozen memtables than this, merges wait.
const TAKES_TURNS_UPTO: usize = 2;

/// The archive on a disk. Pushing, finding and reading are on the thread that applies; sealing and merging are [`Job`]s.
#[derive(Debug)]
pub struct DiskArchive {
    disk: Arc<dyn Disk>,
    options: Options,
    memtable: Memtable,
    /// Oldest first; a memtable stays here until what was written of it counts.
    frozen: VecDeque<Arc<Memtable>>,
    /// An emptied memtable whose memory is used again.
    spare: Option<Box<Memtable>>,
    sealed: Arc<Sealed>,
    cache: BlockCache,
    manifest: Manifest,
    floor: u64,
    merging: Option<(Box<Merge>, Plan)>,
    garbage: Vec<String>,
    retired: Vec<Retired>,
    /// Whether the manifest on the disk lacks what [`DiskArchive::forget_names_before`] did.
    unpublished: bool,
    running: bool,
    failed: bool,
    /// Whether the last job sealed.
    sealed_last: bool,
}

impl DiskArchive {
    /// Opens the archive as it was when `next_ordinal` records were in it, creating it where there is none. What is at or
    /// above `next_ordinal` is dropped: the log replays it. `next_ordinal` becomes the floor.
    ///
    /// # Errors
    /// [`ArchiveError::Boundary`] where `next_ordinal` is not a sealed rotation at or above the floor of before,
    /// [`ArchiveError::Corrupt`] and [`ArchiveError::Io`].
    pub fn open(disk: Arc<dyn Disk>, next_ordinal: u64, options: Options) -> Result<Self, ArchiveError> {
        Self::open_above(disk, next_ordinal, next_ordinal, options)
    }

    /// As [`DiskArchive::open`], where an older checkpoint, at the ordinal `floor`, may still be opened later, should this one be
    /// found damaged: see [`DiskArchive::set_floor`].
    ///
    /// # Errors
    /// As [`DiskArchive::open`].
    pub fn open_above(
        disk: Arc<dyn Disk>,
        floor: u64,
        next_ordinal: u64,
        options: Options,
    ) -> Result<Self, ArchiveError> {
        disk.create_dir(DIRECTORY).map_err(|error| ArchiveError::io("create", DIRECTORY, error))?;
        let found = Manifest::load(disk.as_ref())?;
        if found.is_none() && next_ordinal > 0 {
            let what = format!("{} is missing", manifest::FILE);
            return Err(ArchiveError::Boundary { next_ordinal, what });
        }
        let fresh = Manifest { hash_seed: options.hash_seed_if_new, ..Manifest::default() };
        let mut manifest = found.clone().unwrap_or(fresh);
        manifest.check()?;
        manifest.cut(next_ordinal)?;
        if found.as_ref() != Some(&manifest) {
            manifest.publish(disk.as_ref())?;
        }
        remove_others(disk.as_ref(), &manifest)?;
        let sealed = open_sealed(disk.as_ref(), &manifest)?;
        let options = Options {
            memtable_records: options.memtable_records.clamp(1, MEMTABLE_RECORDS_MAX),
            memtable_bytes: options.memtable_bytes.clamp(1, MEMTABLE_BYTES_MAX),
            merge_step_entries: options.merge_step_entries.max(1),
            ..options
        };
        Ok(Self {
            disk,
            memtable: Memtable::new(next_ordinal, options.memtable_records),
            options,
            frozen: VecDeque::new(),
            spare: None,
            sealed: Arc::new(sealed),
            cache: BlockCache::default(),
            manifest,
            floor: floor.min(next_ordinal),
            merging: None,
            garbage: Vec::new(),
            retired: Vec::new(),
            unpublished: false,
            running: false,
            failed: false,
            sealed_last: false,
        })
    }

    /// The seed of the hashes of names, drawn when the archive was created.
    pub const fn hash_seed(&self) -> u64 {
        self.manifest.hash_seed
    }

    /// Freezes the memtable, if there is anything in it: [`Archive::next_ordinal`] is now an ordinal that open can go back
    /// to, once [`DiskArchive::sealed_upto`] reached it. A full memtable is frozen by itself.
    pub fn rotate(&mut self) {
        if self.memtable.len() == 0 {
            return;
        }
        let next = self.memtable.end();
        let empty = match self.spare.take() {
            Some(spare) => spare.recycle(next),
            None => Memtable::new(next, self.options.memtable_records),
        };
        self.frozen.push_back(Arc::new(std::mem::replace(&mut self.memtable, empty)));
    }

    /// What to do in the background, if there is anything: sealing first. There is one job at a time: `None` until the
    /// last one's [`Done`] came back.
    pub fn next_job(&mut self) -> Option<Job> {
        if self.running || self.failed {
            return None;
        }
        // Sealing gives memory back and merging keeps lookups fast: while the backlog is small they take turns.
        let is_merges_turn = self.sealed_last && self.frozen.len() <= TAKES_TURNS_UPTO;
        let work = if is_merges_turn {
            self.next_merge().or_else(|| self.next_seal())
        } else {
            self.next_seal().or_else(|| self.next_merge())
        };
        let work = work.or_else(|| self.unpublished.then_some(Work::Publish))?;
        self.sealed_last = matches!(work, Work::Seal(_));
        self.running = true;
        self.unpublished = false;
        Some(Job {
            disk: Arc::clone(&self.disk),
            manifest: self.manifest.clone(),
            work,
            merge_step_entries: self.options.merge_step_entries,
            garbage: std::mem::take(&mut self.garbage),
            retired: std::mem::take(&mut self.retired),
        })
    }

    /// Takes what a job did into use. Never writes or waits.
    ///
    /// # Errors
    /// What the job failed with. Where [`ArchiveError::is_retriable`], nothing changed, and [`DiskArchive::next_job`] gives
    /// the work again; otherwise there are no more jobs, and the cell must stop.
    pub fn finish(&mut self, done: Done) -> Result<(), ArchiveError> {
        self.running = false;
        self.garbage.extend(done.garbage);
        let outcome = match done.result {
            Ok(outcome) => outcome,
            Err(error) => {
                self.failed = !error.is_retriable();
                self.unpublished = true;
                return Err(error);
            }
        };
        match outcome {
            Outcome::Merging { merge, plan } => {
                self.merging = Some((merge, plan));
                self.unpublished = true;
            }
            Outcome::Sealed { segment, names, touched } => {
                self.adopt(done.manifest);
                let sealed = Arc::make_mut(&mut self.sealed);
                sealed.segments.push(segment);
                sealed.names.push(names);
                sealed.touched.push(touched);
                let memtable = self.frozen.pop_front().and_then(Arc::into_inner);
                self.retire(memtable);
            }
            Outcome::Merged { index, plan } => {
                self.adopt(done.manifest);
                let indexes = Arc::make_mut(&mut self.sealed).indexes_mut(plan.kind);
                let start = indexes.partition_point(|old| old.end() <= plan.row.first);
                let end = indexes.partition_point(|old| old.end() <= plan.row.end);
                let inputs = indexes.splice(start..end, [index]);
                self.retired.extend(inputs.map(|index| Retired::Index { _index: index }));
            }
            Outcome::Published => self.adopt(done.manifest),
        }
        self.forget_sealed_names();
        Ok(())
    }

    /// What the archive holds of memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memtable.memory_bytes()
            + self.frozen.iter().map(|memtable| memtable.memory_bytes()).sum::<usize>()
            + self.spare.as_ref().map_or(0, |memtable| memtable.memory_bytes())
            + self.sealed.memory_bytes()
    }

    /// How many frozen memtables wait to be sealed. Each holds memory: slow down when there are several.
    pub fn backlog(&self) -> usize {
        self.frozen.len()
    }

    /// The ordinals below are durable.
    pub fn sealed_upto(&self) -> u64 {
        self.sealed.end()
    }

    /// Bytes of the sealed records' files, which are never rewritten.
    pub fn record_file_bytes(&self) -> u64 {
        self.sealed.segments.iter().map(|segment| segment.file_bytes()).sum()
    }

    /// Tells that a checkpoint at `ordinal` is durable and that no older one will be opened: only indexes wholly below
    /// are merged, so that whatever is above can be dropped.
    pub fn set_floor(&mut self, ordinal: u64) {
        self.floor = self.floor.max(ordinal);
    }

    /// A snapshot of the sealed part.
    pub fn view(&self) -> View {
        View { sealed: Arc::clone(&self.sealed) }
    }

    /// Forgets all names of records before `ordinal`; the records stay. From here on [`Archive::find`] finds none of
    /// them, and after open again until it is called again some: call it only for what the machine no longer accepts.
    pub fn forget_names_before(&mut self, ordinal: u64) {
        if ordinal <= self.manifest.forget_before {
            return;
        }
        self.manifest.forget_before = ordinal;
        self.unpublished = true;
        self.forget_sealed_names();
    }

    /// The newest record at or before `ordinal` that touched the account, among those not sealed yet: an exact answer, in
    /// time that grows with what is in memory (1 ns for each touch). `None` says to ask the [`View`].
    pub fn newest_touched_in_memory(&self, account: NameHash, ordinal: u64) -> Option<u64> {
        let newest_first = std::iter::once(&self.memtable).chain(self.frozen.iter().rev().map(Arc::as_ref));
        newest_first.filter_map(|memtable| memtable.newest_touched(account.0, ordinal)).next()
    }

    /// The job's manifest is in force, but for names that were forgotten while it ran.
    fn adopt(&mut self, manifest: Manifest) {
        let forget_before = self.manifest.forget_before;
        self.unpublished |= forget_before > manifest.forget_before;
        self.manifest = Manifest { forget_before, ..manifest };
    }

    /// Drops the indexes of names that are wholly forgotten, but for the newest and for those being merged.
    fn forget_sealed_names(&mut self) {
        let forget_before = self.manifest.forget_before;
        let merging = self.merging.as_ref().map(|(_, plan)| *plan).filter(|plan| plan.kind == Kind::Names);
        let rows = &self.manifest.names;
        let mut gone = rows.partition_point(|row| row.end <= forget_before).min(rows.len().saturating_sub(1));
        if self.running || merging.is_some() {
            gone = 0;
        }
        if gone == 0 {
            return;
        }
        let rows = self.manifest.names.drain(..gone);
        self.garbage.extend(rows.map(|row| Kind::Names.file_name(row.first, row.end)));
        let indexes = Arc::make_mut(&mut self.sealed).names.drain(..gone);
        self.retired.extend(indexes.map(|index| Retired::Index { _index: index }));
        self.unpublished = true;
    }

    /// Keeps one emptied memtable; another's memory is given back by the next job.
    fn retire(&mut self, memtable: Option<Memtable>) {
        let Some(memtable) = memtable.map(Box::new) else { return };
        if self.spare.is_none() && self.frozen.is_empty() {
            self.spare = Some(memtable);
        } else {
            self.retired.push(Retired::Memtable { _memtable: memtable });
        }
    }

    fn next_seal(&self) -> Option<Work> {
        self.frozen.front().map(|memtable| Work::Seal(Arc::clone(memtable)))
    }

    /// The merge under way, or the oldest neighbours of the lowest level that has enough of them below the floor.
    fn next_merge(&mut self) -> Option<Work> {
        if let Some((merge, plan)) = self.merging.take() {
            return Some(Work::GoOn { merge, plan });
        }
        let of_kind = |kind: Kind, indexes: &[Arc<Index>]| {
            let groups = self.manifest.rows(kind).windows(FAN_OUT).enumerate();
            let (place, rows) =
                groups.filter(|(_, rows)| self.may_merge(rows)).min_by_key(|(_, rows)| rows[0].level)?;
            Some(Work::BeginMerge { inputs: indexes[place..place + FAN_OUT].to_vec(), level: rows[0].level + 1 })
        };
        of_kind(Kind::Names, &self.sealed.names).or_else(|| of_kind(Kind::Touched, &self.sealed.touched))
    }

    fn may_merge(&self, rows: &[IndexRow]) -> bool {
        let (first, end) = (rows[0].first, rows[rows.len() - 1].end);
        // Ordinals in an index are counted from its first in 32 bits.
        end <= self.floor && end - first <= u64::from(u32::MAX) && rows.iter().all(|row| row.level == rows[0].level)
    }
}

impl Archive for DiskArchive {
    fn next_ordinal(&self) -> u64 {
        self.memtable.end()
    }

    #[inline]
    fn push(&mut self, record: &[u8], named: &[NameHash], touched: &[NameHash]) {
        let is_full = self.memtable.len() >= self.options.memtable_records
            || self.memtable.record_bytes() >= self.options.memtable_bytes;
        if is_full {
            self.rotate();
        }
        self.memtable.push(record, named, touched);
    }

    fn find(&self, name: NameHash, accept: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<Option<u64>, Fault> {
        let forget_before = self.manifest.forget_before;
        let accept = &mut |ordinal: u64, record: &[u8]| ordinal >= forget_before && accept(ordinal, record);
        if let Some(found) = self.memtable.find(name.0, accept) {
            return Ok(Some(found));
        }
        for frozen in self.frozen.iter().rev() {
            if let Some(found) = frozen.find(name.0, accept) {
                return Ok(Some(found));
            }
        }
        self.sealed.find(name, forget_before, Some(&self.cache), accept)
    }

    fn read(&self, ordinal: u64, visit: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        let in_memory = |memtable: &Memtable, visit: &mut dyn FnMut(&[u8])| memtable.read(ordinal).map(visit).is_some();
        if in_memory(&self.memtable, visit) || self.frozen.iter().rev().any(|memtable| in_memory(memtable, visit)) {
            return Ok(());
        }
        self.sealed.read(ordinal, Some(&self.cache), visit)
    }
}

/// Removes the files the manifest does not name, durably: their names may be used again.
fn remove_others(disk: &dyn Disk, manifest: &Manifest) -> Result<(), ArchiveError> {
    let files = manifest.files();
    let found = disk.list(DIRECTORY).map_err(|error| ArchiveError::io("list", DIRECTORY, error))?;
    let others = found.into_iter().map(|file| format!("{DIRECTORY}/{file}")).filter(|file| !files.contains(file));
    for file in others {
        disk.remove(&file).map_err(|error| ArchiveError::io("remove", &file, error))?;
    }
    disk.sync_dir(DIRECTORY).map_err(|error| ArchiveError::io("sync", DIRECTORY, error))
}

fn open_sealed(disk: &dyn Disk, manifest: &Manifest) -> Result<Sealed, ArchiveError> {
    let mut sealed = Sealed::default();
    for row in &manifest.segments {
        let segment = Arc::new(Segment::open(disk, row.first)?);
        if (segment.first(), segment.count()) != (row.first, row.count) {
            return Err(ArchiveError::corrupt(manifest::FILE, 0, "a segment is not what the manifest says"));
        }
        sealed.segments.push(segment);
    }
    for kind in [Kind::Names, Kind::Touched] {
        for row in manifest.rows(kind) {
            let index = Index::open(disk, kind, row.first, row.end)?;
            if (index.first(), index.end()) != (row.first, row.end) {
                return Err(ArchiveError::corrupt(manifest::FILE, 0, "an index is not what the manifest says"));
            }
            sealed.indexes_mut(kind).push(Arc::new(index));
        }
    }
    Ok(sealed)
}
