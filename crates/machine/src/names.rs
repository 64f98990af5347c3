//! Which 64 bits stand for a name in the archive.
//!
//! Seeded, so that nobody who chooses ids and keys can choose collisions. What kind of thing is named goes into the seed:
//! an account and a key of the same text have nothing in common.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::archive::NameHash;

/// Hashes names for one archive. Cheap to copy, so that readers on other threads can have their own.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    operations: u64,
    accounts: u64,
    closings: u64,
    reversals: u64,
}

impl Names {
    /// With the archive's seed.
    pub fn new(hash_seed: u64) -> Self {
        let of = |kind: &[u8]| xxh3_64_with_seed(kind, hash_seed);
        Self {
            operations: of(b"operations"),
            accounts: of(b"accounts"),
            closings: of(b"closings"),
            reversals: of(b"reversals"),
        }
    }

    /// What was decided under an idempotency key.
    pub fn operation(&self, principal: &str, key: &str) -> NameHash {
        let scope = match principal {
            "" => self.operations,
            _ => xxh3_64_with_seed(principal.as_bytes(), self.operations),
        };
        NameHash(xxh3_64_with_seed(key.as_bytes(), scope))
    }

    /// What changed an account.
    pub fn account(&self, id: &str) -> NameHash {
        NameHash(xxh3_64_with_seed(id.as_bytes(), self.accounts))
    }

    /// What closed the hold that is record `ordinal`: its capture, its void or its expiry. There is one at most.
    pub fn transfer(&self, ordinal: u64) -> NameHash {
        NameHash(xxh3_64_with_seed(&ordinal.to_le_bytes(), self.closings))
    }

    /// The reversals of the transfer that is record `ordinal`. They have a name apart from [`Names::transfer`], so that a
    /// transfer reversed in a thousand parts is still closed by the first record found.
    pub fn reversals(&self, ordinal: u64) -> NameHash {
        NameHash(xxh3_64_with_seed(&ordinal.to_le_bytes(), self.reversals))
    }
}
