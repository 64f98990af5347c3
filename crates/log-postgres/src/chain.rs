//! The chain of digests, the same as that of the log on files, so that a log can be moved and still be compared.
//!
//! The digest after an entry is XXH3 (64 bits) over its epoch and its index, each 8 bytes little-endian, and its bytes, seeded
//! with the digest before it.

use words::Position;
use xxhash_rust::xxh3::Xxh3;

/// The chain's digest before the first entry.
pub(crate) const CHAIN_START: u64 = 0;

/// The chain's digest after an entry.
pub(crate) fn chain(before: u64, position: Position, entry: &[u8]) -> u64 {
    let mut digest = Xxh3::with_seed(before);
    digest.update(&position.epoch.to_le_bytes());
    digest.update(&position.index.to_le_bytes());
    digest.update(entry);
    digest.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::SimDisk;
    use log::Log;
    use log_file::{LogFile, LogOptions};
    use proptest::prelude::*;
    use std::sync::Arc;
    use words::CellName;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn it_is_the_chain_of_the_log_on_files(
            entries in proptest::collection::vec((0u64..3, proptest::collection::vec(any::<u8>(), 0..600)), 1..20),
        ) {
            let cell = CellName::new("main").expect("a name");
            let options = LogOptions { segment_bytes: 128 << 10, reserve_bytes: 0, ..LogOptions::new(cell, 1) };
            let (mut log, _) = LogFile::open(Arc::new(SimDisk::new()), options).expect("a new log");
            let (mut tail, mut digest) = (Position::START, CHAIN_START);
            for (reigns, entry) in &entries {
                tail = log::conformance::done(log.append(tail, tail.epoch + reigns, entry));
                digest = chain(digest, tail, entry);
                prop_assert_eq!(log.digest(), digest);
            }
        }
    }
}
