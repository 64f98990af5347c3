//! An account's past: a chain of records, newest first, from the account's head to its opening.
//!
//! What is still in memory is read on the cell's thread; the rest from the sealed segments, on whichever thread asked.

use archive::{DiskArchive, View};
use machine::{Archive, Fault, Record, chain_link};
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

/// A page of an account's history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryPage {
    /// Newest first, each a `Moved` record or the account's `Opened` record.
    pub records: Answer,
    /// Where the next page begins.
    pub next: Option<u64>,
}

/// What remains to be walked.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) account: String,
    pub(crate) at: Option<u64>,
    pub(crate) from: Option<Stamp>,
    pub(crate) to: Option<Stamp>,
    pub(crate) left: usize,
}

enum Step {
    /// Not this one, but older ones.
    Skip,
    Take,
    /// Neither this one nor older ones.
    Stop,
}

impl Walk {
    fn is_done(&self) -> bool {
        self.at.is_none() || self.left == 0
    }

    /// Takes the record at hand and moves to the one before it.
    fn visit(&mut self, bytes: &[u8], ordinal: u64, into: &mut Answer) -> Result<(), Fault> {
        let record = Record::decode(bytes).map_err(|e| Fault(format!("record {ordinal}: {e}")))?;
        let link = chain_link(&record, &self.account)
            .ok_or_else(|| Fault(format!("record {ordinal} is not of the history of `{}`", self.account)))?;
        let step = if self.to.is_some_and(|to| record.stamp >= to) {
            Step::Skip
        } else if self.from.is_some_and(|from| record.stamp < from) {
            Step::Stop
        } else {
            Step::Take
        };
        if matches!(step, Step::Take) {
            into.push_record(bytes, ordinal, false);
            self.left -= 1;
        }
        self.at = if matches!(step, Step::Stop) { None } else { link.previous };
        Ok(())
    }
}

impl History {
    /// Reads what is in memory; `rest` is there if the walk goes on into sealed segments.
    pub(crate) fn start(mut walk: Walk, archive: &DiskArchive) -> Result<Self, CellFault> {
        let mut records = Answer::default();
        let sealed_upto = archive.sealed_upto();
        while let Some(ordinal) = walk.at.filter(|at| walk.left > 0 && *at >= sealed_upto) {
            let mut visited = Ok(());
            archive.read(ordinal, &mut |bytes| visited = walk.visit(bytes, ordinal, &mut records))?;
            visited?;
        }
        let rest = (!walk.is_done()).then(|| archive.view());
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
            while let Some(ordinal) = self.walk.at.filter(|_| self.walk.left > 0) {
                let mut visited = Ok(());
                view.read(ordinal, |bytes| visited = self.walk.visit(bytes, ordinal, &mut self.records))?;
                visited?;
            }
        }
        Ok(HistoryPage { records: self.records, next: self.walk.at })
    }
}
