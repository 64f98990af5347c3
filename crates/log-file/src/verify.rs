//! Reading a log without opening it: beside a running server, or where a server refuses to start.

use crate::frame::{FrameHeader, Kind};
use crate::open::{Cut, Recovered};
use crate::scan::{Begun, Survey, Visit, Walk, oldest_segment, survey};
use crate::segment::{CHAIN_START, segment_name};
use disk::Disk;
use log::LogError;
use std::ops::ControlFlow;
use words::{CellName, Position};

/// How often a segment is read again before damage is believed: under a running server the first look may be at a
/// moment between two writes, or at a segment that is being reused.
const ATTEMPTS: usize = 3;

/// How far a verification is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Segments read.
    pub segments_done: usize,
    /// Segments there were at the start.
    pub segments: usize,
    /// Entries read.
    pub entries: u64,
}

/// What a verification found: the same as a start would. `cut` is what a start would cut off; under a running server it
/// may be an append on its way.
pub type Verified = Recovered;

/// One frame of a dump.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dumped<'a> {
    /// The file it is in.
    pub file: &'a str,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What it is.
    pub kind: DumpedKind,
    /// The entry's position, or for a mark or seal the one before it.
    pub position: Position,
    /// The chain's digest after it.
    pub digest: u64,
    /// The entry's bytes; none for a mark or seal.
    pub entry: &'a [u8],
}

/// What a frame is, in the order in which frames of one index stand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DumpedKind {
    /// An entry.
    Entry,
    /// The entry before it was acknowledged.
    Mark,
    /// The log ends here for ever.
    Seal,
}

/// Reads the whole log and checks every frame. Changes nothing, and may run beside a server.
///
/// # Errors
/// [`LogError::Corrupt`], [`LogError::Foreign`], [`LogError::Io`].
pub fn verify(
    disk: &dyn Disk,
    cell: Option<&CellName>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verified, LogError> {
    let mut seen = |_: &str, _: u64, _: &FrameHeader, _: &[u8]| true;
    let (walk, first, segments) = read_live(disk, cell, 0, &mut seen, progress)?;
    let place = walk.place;
    Ok(Recovered {
        segments,
        entries: walk.entries,
        first,
        tail: place.map_or(Position::START, |place| place.tail),
        digest: place.map_or(CHAIN_START, |place| place.digest),
        sealed: walk.sealed,
        cut: place.filter(|_| walk.torn_bytes > 0).map(|place| Cut {
            file: segment_name(walk.last_number),
            offset: place.offset,
            bytes: walk.torn_bytes,
        }),
    })
}

/// Shows the frames from one index to another, both included, in order, until the visitor breaks off. Each was checked,
/// and a damaged log is shown up to the damage. Changes nothing, and may run beside a server.
///
/// # Errors
/// As [`verify`]; after what is whole was shown.
pub fn dump(
    disk: &dyn Disk,
    from: u64,
    to: u64,
    visit: &mut dyn FnMut(Dumped<'_>) -> ControlFlow<()>,
) -> Result<(), LogError> {
    // A segment that is read again must not be shown twice.
    let mut shown: Option<(u64, DumpedKind)> = None;
    let mut seen = |file: &str, offset: u64, header: &FrameHeader, entry: &[u8]| {
        let FrameHeader { kind, position, digest, .. } = *header;
        if position.index > to {
            return false;
        }
        let kind = match kind {
            Kind::Entry => DumpedKind::Entry,
            Kind::Mark => DumpedKind::Mark,
            Kind::Seal => DumpedKind::Seal,
        };
        if position.index < from || shown.is_some_and(|last| (position.index, kind) <= last) {
            return true;
        }
        shown = Some((position.index, kind));
        visit(Dumped { file, offset, kind, position, digest, entry }).is_continue()
    };
    read_live(disk, None, from, &mut seen, &mut |_| {}).map(|_| ())
}

/// Walks the segments from the one with index `from` on. Says also the first index seen and the number of segments.
fn read_live(
    disk: &dyn Disk,
    cell: Option<&CellName>,
    from: u64,
    visit: Visit<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Walk, u64, usize), LogError> {
    let mut survey = survey_live(disk, cell)?;
    skip_before(from, &mut survey);
    let (mut walk, mut at, mut failures) = (Walk::default(), 0, 0);
    while let Some(&Begun { number, .. }) = survey.begun.get(at) {
        let mut next = walk.clone();
        match next.segment(disk, number, cell, visit) {
            Ok(go_on) => {
                (walk, at, failures) = (next, at + 1, 0);
                progress(Progress { segments_done: at, segments: survey.begun.len(), entries: walk.entries });
                if !go_on {
                    survey.damage = None;
                    break;
                }
            }
            Err(error) => {
                if oldest_segment(disk)?.is_some_and(|oldest| oldest > number) {
                    // Trimmed meanwhile: begin with the oldest that is left.
                    survey = survey_live(disk, cell)?;
                    skip_before(from, &mut survey);
                    (walk, at, failures) = (Walk::default(), 0, 0);
                    continue;
                }
                failures += 1;
                if failures >= ATTEMPTS {
                    return Err(error);
                }
            }
        }
    }
    survey.damage.map_or(Ok(()), Err)?;
    Ok((walk, survey.begun.first().map_or(1, |segment| segment.first), survey.begun.len()))
}

fn skip_before(index: u64, survey: &mut Survey) {
    survey.begun.drain(..survey.begun.iter().rposition(|segment| segment.first <= index).unwrap_or(0));
}

/// The segments as they are at one moment, though some of them may be trimmed, and others named, while this looks.
fn survey_live(disk: &dyn Disk, cell: Option<&CellName>) -> Result<Survey, LogError> {
    let (mut failures, mut oldest) = (0, None);
    loop {
        let survey = survey(disk, cell)?;
        if survey.damage.is_none() {
            return Ok(survey);
        }
        let before = std::mem::replace(&mut oldest, oldest_segment(disk)?);
        failures = if before == oldest { failures + 1 } else { 1 };
        if failures >= ATTEMPTS {
            return Ok(survey);
        }
    }
}

/// The names of the files that hold all entries, oldest first: every segment but the one that waits for its first. For the
/// one who copies a log, also beside a running server.
///
/// # Errors
/// As [`verify`].
pub fn segment_files(disk: &dyn Disk) -> Result<Vec<String>, LogError> {
    let survey = survey_live(disk, None)?;
    survey.damage.map_or(Ok(()), Err)?;
    Ok(survey.begun.iter().map(|segment| segment_name(segment.number)).collect())
}
