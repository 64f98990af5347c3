//! What one simulated file has in memory and on the medium.

use super::SECTOR_BYTES;
use fastrand::Rng;

#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What the running system reads.
    pub(super) bytes: Vec<u8>,
    /// The steps since the last sync, each with what it replaced.
    pending: Vec<Step>,
    /// What the medium has without the pending steps, once a failed sync parted it from what the system reads.
    pub(super) medium: Option<Vec<u8>>,
    pub(super) unreadable: bool,
    /// Open handles: a file without a name lives as long as one of them.
    pub(super) handles: usize,
}

/// One write or change of length. `bytes` is what was there before it, or, once undone, what it wrote.
#[derive(Debug)]
struct Step {
    offset: usize,
    bytes: Vec<u8>,
    len_before: usize,
    len_after: usize,
}

impl Inode {
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let len_before = self.bytes.len();
        let end = offset + bytes.len();
        self.bytes.resize(len_before.max(end), 0);
        let place = &mut self.bytes[offset..end];
        self.pending.push(Step { offset, bytes: place.to_vec(), len_before, len_after: len_before.max(end) });
        place.copy_from_slice(bytes);
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let len_before = self.bytes.len();
        let cut = self.bytes.get(len..).unwrap_or_default().to_vec();
        self.bytes.resize(len, 0);
        self.pending.push(Step { offset: len, bytes: cut, len_before, len_after: len });
    }

    pub(super) fn sync(&mut self) {
        let Some(medium) = &mut self.medium else {
            self.pending.clear();
            return;
        };
        medium.resize(self.bytes.len(), 0);
        for step in self.pending.drain(..) {
            copy_sectors(&self.bytes, medium, step.offset, step.offset + step.bytes.len());
        }
    }

    /// A failed sync: the system takes the pages for clean while the medium has none of them.
    pub(super) fn lose_pending(&mut self) {
        let seen = self.bytes.clone();
        self.undo();
        let before = std::mem::replace(&mut self.bytes, seen);
        self.medium.get_or_insert(before);
        self.pending.clear();
    }

    pub(super) fn crash(&mut self, rng: &mut Rng, survival: f64) {
        if self.pending.is_empty() {
            if let Some(medium) = self.medium.take() {
                self.bytes = medium;
            }
            return;
        }
        self.undo();
        let mut result = self.medium.take().unwrap_or_else(|| self.bytes.clone());
        let mut lengths = vec![result.len()];
        for step in std::mem::take(&mut self.pending) {
            let end = step.offset + step.bytes.len();
            self.bytes.resize(step.len_after, 0);
            self.bytes[step.offset..end].copy_from_slice(&step.bytes);
            lengths.push(step.len_after);
            if step.len_after < result.len() && rng.f64() < survival {
                result.truncate(step.len_after);
            }
            for sector in (step.offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)).map(|i| i * SECTOR_BYTES) {
                if rng.f64() < survival {
                    result.resize(result.len().max((sector + SECTOR_BYTES).min(self.bytes.len())), 0);
                    copy_sectors(&self.bytes, &mut result, sector, sector + 1);
                }
            }
        }
        let choice = if survival >= 1.0 { lengths.len() - 1 } else { rng.usize(..lengths.len()) };
        result.resize(lengths[if survival <= 0.0 { 0 } else { choice }], 0);
        self.bytes = result;
    }

    /// Takes the pending steps back, newest first; each then holds what it wrote.
    fn undo(&mut self) {
        for step in self.pending.iter_mut().rev() {
            if step.len_after < step.len_before {
                self.bytes.resize(step.len_before, 0);
                self.bytes[step.offset..].copy_from_slice(&step.bytes);
                step.bytes.clear();
            } else {
                let place = &mut self.bytes[step.offset..step.offset + step.bytes.len()];
                place.swap_with_slice(&mut step.bytes);
                self.bytes.truncate(step.len_before);
            }
        }
    }
}

/// Copies the sectors that `start..end` touches, as far as both sides have them.
fn copy_sectors(from: &[u8], to: &mut [u8], start: usize, end: usize) {
    let start = start - start % SECTOR_BYTES;
    let end = end.next_multiple_of(SECTOR_BYTES).min(from.len()).min(to.len());
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}
