//! The sealed part, which never changes under whoever reads it.

use std::ops::ControlFlow;
use std::sync::Arc;

use machine::{Fault, NameHash};

use crate::cache::BlockCache;
use crate::error::ArchiveError;
use crate::index::{Index, Kind};
use crate::records::Segment;

/// Everything sealed at one moment, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sealed {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) names: Vec<Arc<Index>>,
    pub(crate) touched: Vec<Arc<Index>>,
}

/// A snapshot of the sealed records, for readers on any thread. It stays as it is while the archive goes on; holding it
/// keeps merged indexes' files on the disk.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) sealed: Arc<Sealed>,
}

/// Where the index knows an account's history around an ordinal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Touched {
    /// An indexed record at or before the ordinal. At most 63 of the account's records lie between it and the ordinal,
    /// and where `after` is `None` there is no sealed one.
    pub at_or_before: Option<u64>,
    /// The first indexed record after the ordinal. The account's newest record at or before the ordinal, if it is one the
    /// account's history has, is at most [`STEPS_MAX`](crate::STEPS_MAX) steps of `After.previous` back from it.
    pub after: Option<u64>,
}

impl View {
    /// The ordinals below this are in it.
    pub fn end(&self) -> u64 {
        self.sealed.end()
    }

    /// Hands the record under `ordinal` to `visit`.
    ///
    /// # Errors
    /// [`Fault`] where it is not sealed, or the file cannot be read or is corrupt; it names the file and the offset.
    pub fn read<T>(&self, ordinal: u64, visit: impl FnOnce(&[u8]) -> T) -> Result<T, Fault> {
        self.sealed.read(ordinal, None, visit)
    }

    /// The newest record under `name` that `accept` says yes to, as [`machine::Archive::find`].
    ///
    /// # Errors
    /// [`Fault`].
    pub fn find(&self, name: NameHash, accept: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<Option<u64>, Fault> {
        self.sealed.find(name, 0, None, accept)
    }

    /// Hands each record from `from` on to `visit`, in order, until it says no.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn scan(&self, from: u64, visit: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<(), Fault> {
        let start = self.sealed.segments.partition_point(|segment| segment.end() <= from);
        for segment in &self.sealed.segments[start..] {
            if !segment.scan(from, visit)? {
                break;
            }
        }
        Ok(())
    }

    /// The indexed records of an account on both sides of an ordinal.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn touched_around(&self, account: NameHash, ordinal: u64) -> Result<Touched, Fault> {
        Ok(self.sealed.touched_around(account.0, ordinal)?)
    }

    /// The newest sealed record at or before `ordinal` that touched the account, exactly. `previous` gives, of a record
    /// and its ordinal, the record of the account before it (`After.previous`), `None` of the first or of a record of
    /// another account; it is asked at most [`STEPS_MAX`](crate::STEPS_MAX) times.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn newest_touched_at_or_before(
        &self,
        account: NameHash,
        ordinal: u64,
        previous: &mut dyn FnMut(u64, &[u8]) -> Option<u64>,
    ) -> Result<Option<u64>, Fault> {
        let touched = self.sealed.touched_around(account.0, ordinal)?;
        let Some(mut at) = touched.after else { return Ok(touched.at_or_before) };
        while at > ordinal {
            match self.read(at, |record| previous(at, record))? {
                Some(before) if before < at => at = before,
                _ => return Ok(None),
            }
        }
        Ok(Some(at))
    }
}

impl Sealed {
    pub(crate) fn end(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.end())
    }

    pub(crate) const fn indexes_mut(&mut self, kind: Kind) -> &mut Vec<Arc<Index>> {
        match kind {
            Kind::Names => &mut self.names,
            Kind::Touched => &mut self.touched,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let indexes = self.names.iter().chain(&self.touched).map(|index| index.memory_bytes());
        indexes.sum::<usize>() + self.segments.iter().map(|segment| segment.memory_bytes()).sum::<usize>()
    }

    pub(crate) fn read<T>(
        &self,
        ordinal: u64,
        cache: Option<&BlockCache>,
        visit: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Fault> {
        let place = self.segments.partition_point(|segment| segment.end() <= ordinal);
        let Some(segment) = self.segments.get(place) else { return Err(Fault(format!("no record {ordinal}"))) };
        Ok(segment.read(ordinal, cache, visit)?)
    }

    /// Asks the filters of all indexes, newest first. Only where one says yes is anything read.
    #[inline]
    pub(crate) fn find(
        &self,
        name: NameHash,
        forget_before: u64,
        cache: Option<&BlockCache>,
        accept: &mut dyn FnMut(u64, &[u8]) -> bool,
    ) -> Result<Option<u64>, Fault> {
        for index in self.names.iter().rev() {
            if index.may_have(name.0)
                && let Some(found) = self.find_in(index, name.0, forget_before, cache, accept)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    #[cold]
    fn find_in(
        &self,
        index: &Index,
        hash: u64,
        forget_before: u64,
        cache: Option<&BlockCache>,
        accept: &mut dyn FnMut(u64, &[u8]) -> bool,
    ) -> Result<Option<u64>, Fault> {
        let mut fault = None;
        let found = index.each_of(hash, |entry| {
            if entry.ordinal < forget_before {
                return Ok(ControlFlow::Break(None));
            }
            Ok(match self.read(entry.ordinal, cache, |record| accept(entry.ordinal, record)) {
                Ok(true) => ControlFlow::Break(Some(entry.ordinal)),
                Ok(false) => ControlFlow::Continue(()),
                Err(error) => {
                    fault = Some(error);
                    ControlFlow::Break(None)
                }
            })
        })?;
        fault.map_or(Ok(found.flatten()), Err)
    }

    pub(crate) fn touched_around(&self, hash: u64, ordinal: u64) -> Result<Touched, ArchiveError> {
        let covering = self.touched.partition_point(|index| index.end() <= ordinal);
        let mut touched = Touched::default();
        for index in &self.touched[covering..] {
            let (at_or_before, after) = index.around(hash, ordinal)?;
            touched.at_or_before = touched.at_or_before.or(at_or_before);
            touched.after = after;
            if touched.after.is_some() {
                break;
            }
        }
        for index in self.touched[..covering].iter().rev() {
            if touched.at_or_before.is_some() {
                break;
            }
            touched.at_or_before = index.around(hash, ordinal)?.0;
        }
        Ok(touched)
    }
}
