//! A filter that says of most absent names that they are absent, for the price of one cache line.
//!
//! A split-block Bloom filter (Putze, Sanders, Singler 2007; the layout of Parquet's) with 512 bits to a block: each name
//! sets one bit in each of the eight words of its line. With 16 bits to a name about 1 in 900 absent names passes, which a
//! test holds below 1 in 100: a lookup asks a dozen filters, and each false answer costs it a read.

/// Bits of memory, and of the file, for each name.
const BITS_PER_NAME: u64 = 16;

/// Whole lines only, so that a probe costs one miss.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([u64; WORDS_PER_LINE]);

const WORDS_PER_LINE: usize = 8;

const _: () = assert!(size_of::<Line>() == 64, "a line of the filter is a line of the cache");

/// Which names may be there.
#[derive(Debug)]
pub(crate) struct Filter {
    lines: Vec<Line>,
}

impl Filter {
    /// Without a name in it, for at most so many.
    pub(crate) fn with_room_for(names: u64) -> Self {
        let lines = (names * BITS_PER_NAME).div_ceil(512);
        Self {
            lines: vec![Line::default(); usize::try_from(lines).expect("it was counted in memory or read from disk")],
        }
    }

    /// From as many words as [`Filter::words`] gives.
    pub(crate) fn from_words(words: &[u64]) -> Self {
        let lines = words
            .chunks_exact(WORDS_PER_LINE)
            .map(|chunk| Line(chunk.try_into().expect("chunks are of this length")))
            .collect();
        Self { lines }
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.lines.iter().flat_map(|line| line.0)
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    pub(crate) fn insert(&mut self, hash: u64) {
        let place = self.place(hash);
        if let Some(line) = self.lines.get_mut(place) {
            for (word, mask) in line.0.iter_mut().zip(masks(hash)) {
                *word |= mask;
            }
        }
    }

    #[inline]
    pub(crate) fn may_have(&self, hash: u64) -> bool {
        let Some(line) = self.lines.get(self.place(hash)) else { return false };
        let missing = line.0.iter().zip(masks(hash)).fold(0, |missing, (word, mask)| missing | (mask & !word));
        missing == 0
    }

    /// By the high bits, so that names in the order of their hashes fill it from front to back.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.lines.len() as u128) >> 64) as usize
    }
}

/// One bit for each word of the line: 8 times 6 bits, mixed so that they do not repeat those that chose the line.
#[inline]
fn masks(hash: u64) -> [u64; WORDS_PER_LINE] {
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::array::from_fn(|word| 1 << ((mixed >> (16 + 6 * word)) & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_there_passes_and_little_else() {
        let mut random = fastrand::Rng::with_seed(1);
        let there: Vec<u64> = (0..200_000).map(|_| random.u64(..)).collect();
        let mut filter = Filter::with_room_for(there.len() as u64);
        for hash in &there {
            filter.insert(*hash);
        }
        assert!(there.iter().all(|hash| filter.may_have(*hash)));
        let words: Vec<u64> = filter.words().collect();
        let again = Filter::from_words(&words);
        assert!(there.iter().all(|hash| again.may_have(*hash)));
        let passed = (0..1_000_000).filter(|_| filter.may_have(random.u64(..))).count();
        assert!(passed < 2_500, "{passed} of 1,000,000 absent names pass");
        assert!(passed > 0, "a filter without a false positive did not look");
    }

    #[test]
    fn an_empty_one_has_nothing() {
        assert!(!Filter::with_room_for(0).may_have(7));
    }
}
