//! The archive's work in the background: sealing a memtable, merging indexes.
//!
//! A job owns all it needs and runs on any thread; what it did counts once its manifest is durable, and is known to the
//! archive once it was handed its [`Done`]. There is one job at a time, so that each manifest follows from the last.

use std::sync::Arc;

use disk::Disk;

use crate::error::ArchiveError;
use crate::index::{Entry, Index, IndexWriter, Kind};
use crate::manifest::{IndexRow, Manifest, SegmentRow};
use crate::memtable::Memtable;
use crate::merge::{Merge, Step};
use crate::records::Segment;
use crate::{DIRECTORY, STEPS_MAX};

/// Something to do on another thread: `archive.finish(job.run())`.
#[derive(Debug)]
pub struct Job {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) manifest: Manifest,
    pub(crate) work: Work,
    pub(crate) merge_step_entries: usize,
    /// Files that do not count once the manifest is published.
    pub(crate) garbage: Vec<String>,
    /// Large memory and files that nobody needs any more: given back here, off the thread that applies.
    pub(crate) retired: Vec<Retired>,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Work {
    Seal(Arc<Memtable>),
    BeginMerge { inputs: Vec<Arc<Index>>, level: u64 },
    GoOn { merge: Box<Merge>, plan: Plan },
    Publish,
}

/// Which indexes become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) row: IndexRow,
}

/// What only waits to be dropped.
#[derive(Debug)]
pub(crate) enum Retired {
    Index { _index: Arc<Index> },
    Memtable { _memtable: Box<Memtable> },
}

/// What a job did, for [`DiskArchive::finish`](crate::DiskArchive::finish).
#[derive(Debug)]
#[must_use = "the archive waits for it"]
pub struct Done {
    pub(crate) result: Result<Outcome, ArchiveError>,
    /// In force if the result is good and it was published.
    pub(crate) manifest: Manifest,
    pub(crate) garbage: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Sealed { segment: Arc<Segment>, names: Arc<Index>, touched: Arc<Index> },
    Merging { merge: Box<Merge>, plan: Plan },
    Merged { index: Arc<Index>, plan: Plan },
    Published,
}

impl Job {
    /// Does it. Takes up to some hundred milliseconds and writes up to a memtable's size.
    pub fn run(self) -> Done {
        let Self { disk, mut manifest, work, merge_step_entries, mut garbage, retired } = self;
        drop(retired);
        let result = match work {
            Work::Seal(memtable) => seal(disk.as_ref(), &memtable, &mut manifest, &mut garbage),
            Work::BeginMerge { inputs, level } => begin_merge(disk.as_ref(), &inputs, level, manifest.forget_before)
                .and_then(|(merge, plan)| {
                    go_on(disk.as_ref(), merge, plan, merge_step_entries, &mut manifest, &mut garbage)
                }),
            Work::GoOn { merge, plan } => {
                go_on(disk.as_ref(), merge, plan, merge_step_entries, &mut manifest, &mut garbage)
            }
            Work::Publish => publish(disk.as_ref(), &manifest, &mut garbage).map(|()| Outcome::Published),
        };
        Done { result, manifest, garbage }
    }
}

fn seal(
    disk: &dyn Disk,
    memtable: &Memtable,
    manifest: &mut Manifest,
    garbage: &mut Vec<String>,
) -> Result<Outcome, ArchiveError> {
    let (first, end) = (memtable.first(), memtable.end());
    let segment = Arc::new(Segment::write(disk, memtable)?);
    let names = write_names(disk, memtable)?;
    let touched = write_touched(disk, memtable)?;
    manifest.segments.push(SegmentRow { first, count: segment.count() });
    manifest.names.push(IndexRow { first, end, level: 0 });
    manifest.touched.push(IndexRow { first, end, level: 0 });
    publish(disk, manifest, garbage)?;
    Ok(Outcome::Sealed { segment, names, touched })
}

fn write_names(disk: &dyn Disk, memtable: &Memtable) -> Result<Arc<Index>, ArchiveError> {
    let first = memtable.first();
    let names = memtable.sorted_names();
    let mut writer = IndexWriter::create(disk, Kind::Names, first, memtable.end(), names.len() as u64)?;
    for (hash, at) in names {
        writer.put(Entry { hash, ordinal: first + u64::from(at), steps: 1 })?;
    }
    Ok(Arc::new(writer.finish()?))
}

/// Of each account every 64th record and the newest.
fn write_touched(disk: &dyn Disk, memtable: &Memtable) -> Result<Arc<Index>, ArchiveError> {
    let first = memtable.first();
    let touches = memtable.sorted_touches();
    let mut writer = IndexWriter::create(disk, Kind::Touched, first, memtable.end(), touches.len() as u64)?;
    let mut steps = 0;
    for (place, (hash, at)) in touches.iter().enumerate() {
        steps += 1;
        let is_newest = touches.get(place + 1).is_none_or(|next| next.0 != *hash);
        if is_newest || steps == STEPS_MAX {
            writer.put(Entry { hash: *hash, ordinal: first + u64::from(*at), steps })?;
            steps = 0;
        }
    }
    Ok(Arc::new(writer.finish()?))
}

fn begin_merge(
    disk: &dyn Disk,
    inputs: &[Arc<Index>],
    level: u64,
    forget_before: u64,
) -> Result<(Box<Merge>, Plan), ArchiveError> {
    let merge = Box::new(Merge::begin(disk, inputs, forget_before)?);
    let row = IndexRow { first: inputs[0].first(), end: inputs[inputs.len() - 1].end(), level };
    Ok((merge, Plan { kind: inputs[0].kind(), row }))
}

fn go_on(
    disk: &dyn Disk,
    merge: Box<Merge>,
    plan: Plan,
    entries: usize,
    manifest: &mut Manifest,
    garbage: &mut Vec<String>,
) -> Result<Outcome, ArchiveError> {
    let index = match merge.step(entries)? {
        Step::More(merge) => return Ok(Outcome::Merging { merge, plan }),
        Step::Complete(index) => index,
    };
    let Plan { kind, row } = plan;
    let rows = manifest.rows_mut(kind);
    let place = rows.partition_point(|old| old.end <= row.first);
    let inputs = place..rows.partition_point(|old| old.end <= row.end);
    garbage.extend(rows.splice(inputs, [row]).map(|old| kind.file_name(old.first, old.end)));
    publish(disk, manifest, garbage)?;
    Ok(Outcome::Merged { index, plan })
}

/// Makes the manifest count, and then removes what it no longer names. What cannot be removed is removed at open. A job
/// that failed may have left files in `garbage` that still count.
fn publish(disk: &dyn Disk, manifest: &Manifest, garbage: &mut Vec<String>) -> Result<(), ArchiveError> {
    let files = manifest.files();
    garbage.retain(|file| !files.contains(file));
    disk.sync_dir(DIRECTORY).map_err(|error| ArchiveError::io("sync", DIRECTORY, error))?;
    manifest.publish(disk)?;
    garbage.retain(|file| disk.remove(file).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound));
    Ok(())
}
