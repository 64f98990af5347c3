//! An account's past: a chain of records, newest first, from the account's head to its opening.
//!
//! What is still in memory is read on the cell's thread; the rest from the sealed segments, on whichever thread asked.

use std::ops::Range;

use archive::{DiskArchive, View};
use machine::{Archive, Fault, PAGE_BYTES_MAX, Record, chain_link};
use words::Stamp;

use crate::api::Answer;
use crate::fault::CellFault;

/// A page of an account's history, perhaps not wholly read yet.
#[derive(Debug)]
pub struct History {
    walk: Walk,
    records: Answer,
    rest: Option<View>,
}

/// A page of an account's history. It may be short, or empty, and still have a next one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryPage {
    /// Newest first, each a `Moved` record or the account's `Opened` record.
    pub records: Answer,
    /// Where the next page begins.
    pub next: Option<u64>,
}

/// The most records that one page passes over before it begins; the next page goes on from there.
const SKIPPED_MAX: usize = 1_024;

/// What remains to be walked.
#[derive(Debug)]
pub(crate) struct Walk {
    account: String,
    at: Option<u64>,
    /// Only records stamped at or after the first and before the second.
    stamps: Range<Option<Stamp>>,
    /// How many more may be taken, and passed over.
    left: usize,
    skips_left: usize,
    bytes_left: usize,
}

impl Walk {
    /// Of an account, from one of its records back.
    pub(crate) fn new(account: &str, at: Option<u64>, stamps: Range<Option<Stamp>>, limit: usize) -> Self {
        let account = account.to_owned();
        Self { account, at, stamps, left: limit, skips_left: SKIPPED_MAX, bytes_left: PAGE_BYTES_MAX }
    }

    /// The record to visit next, if the page has room.
    const fn next(&self) -> Option<u64> {
        if self.left > 0 && self.skips_left > 0 && self.bytes_left > 0 { self.at } else { None }
    }

    /// Takes the record at hand and moves to the one before it.
    fn visit(&mut self, bytes: &[u8], ordinal: u64, into: &mut Answer) -> Result<(), Fault> {
        let record = Record::decode(bytes).map_err(|e| Fault(format!("record {ordinal}: {e}")))?;
        let link = chain_link(&record, &self.account)
            .ok_or_else(|| Fault(format!("record {ordinal} is not of the history of `{}`", self.account)))?;
        if self.stamps.end.is_some_and(|to| record.stamp >= to) {
            self.skips_left -= 1;
            self.at = link.previous;
        } else if self.stamps.start.is_some_and(|from| record.stamp < from) {
            // Neither this one nor older ones.
            self.at = None;
        } else {
            into.push_record(bytes, ordinal, false);
            self.left -= 1;
            self.bytes_left = self.bytes_left.saturating_sub(bytes.len());
            self.at = link.previous;
        }
        Ok(())
    }
}

impl History {
    /// Reads what is in memory; `rest` is there if the walk goes on into sealed segments.
    pub(crate) fn start(mut walk: Walk, archive: &DiskArchive) -> Result<Self, CellFault> {
        let mut records = Answer::default();
        let sealed_upto = archive.sealed_upto();
        while let Some(ordinal) = walk.next().filter(|at| *at >= sealed_upto) {
            let mut visited = Ok(());
            archive.read(ordinal, &mut |bytes| visited = walk.visit(bytes, ordinal, &mut records))?;
            visited?;
        }
        let rest = walk.next().map(|_| archive.view());
        Ok(Self { walk, records, rest })
    }

    /// Whether [`History::finish`] will not read the disk.
    pub const fn is_complete(&self) -> bool {
        self.rest.is_none()
    }

    /// Reads the rest of the page from the sealed segments.
    ///
    /// # Errors
    /// [`Fault`] if a segment cannot be read.
    pub fn finish(mut self) -> Result<HistoryPage, Fault> {
        if let Some(view) = &self.rest {
            while let Some(ordinal) = self.walk.next() {
                let mut visited = Ok(());
                view.read(ordinal, |bytes| visited = self.walk.visit(bytes, ordinal, &mut self.records))?;
                visited?;
            }
        }
        Ok(HistoryPage { records: self.records, next: self.walk.at })
    }
}
