//! The last few blocks that were read: histories and the items of a batch lie side by side.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::ArchiveError;

const BLOCKS: usize = 32;

/// Of which segment, and which of its blocks.
type Key = (u64, usize);

/// A few blocks of records, the oldest replaced first.
#[derive(Debug, Default)]
pub(crate) struct BlockCache {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    blocks: Vec<(Key, Arc<Vec<u8>>)>,
    oldest: usize,
}

impl BlockCache {
    /// The block, loaded if it is not here. It is not locked while it is looked at, so a visitor may read another.
    pub(crate) fn get_or(
        &self,
        key: Key,
        load: impl FnOnce() -> Result<Vec<u8>, ArchiveError>,
    ) -> Result<Arc<Vec<u8>>, ArchiveError> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = ring.blocks.iter().find(|(of, _)| *of == key) {
            return Ok(Arc::clone(block));
        }
        let block = Arc::new(load()?);
        let place = ring.oldest;
        match ring.blocks.get_mut(place) {
            Some(old) => *old = (key, Arc::clone(&block)),
            None => ring.blocks.push((key, Arc::clone(&block))),
        }
        ring.oldest = (place + 1) % BLOCKS;
        Ok(block)
    }
}
