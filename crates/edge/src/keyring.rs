//! The keys in force, read again when their file changes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tracing::{info, warn};

use crate::keys::{Keys, KeysError, Role};
use crate::token::TokenHash;

/// How often the file is looked at: a revoked key is shut out within this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who is calling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Whose idempotency keys these are; empty where nobody is asked who they are.
    pub principal: Arc<str>,
    /// What they may do.
    pub role: Role,
}

/// The keys in force.
#[derive(Clone, Debug)]
pub struct KeyRing {
    path: PathBuf,
    table: Arc<ArcSwap<Table>>,
}

type Table = HashMap<u64, Vec<(TokenHash, Caller)>>;

/// What tells one version of the file from another.
type Version = Option<(SystemTime, u64)>;

impl KeyRing {
    /// Reads the file. The ring keeps itself up to date while [`KeyRing::keep_current`] runs.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn open(path: PathBuf) -> Result<Self, KeysError> {
        let table = table(&Keys::load(&path)?);
        Ok(Self { path, table: Arc::new(ArcSwap::from_pointee(table)) })
    }

    /// How many keys are in force.
    pub fn len(&self) -> usize {
        self.table.load().values().map(Vec::len).sum()
    }

    /// Whether nobody could come in.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who presents the token with this hash; `None` if it is of no key in force.
    pub fn caller(&self, hash: &TokenHash) -> Option<Caller> {
        let table = self.table.load();
        let found = table.get(&hash.bucket())?.iter().find(|(known, _)| known.matches(hash));
        found.map(|(_, caller)| caller.clone())
    }

    /// Looks at the file once a second, for ever. A file that cannot be used leaves the keys as they were.
    pub async fn keep_current(self) {
        let mut known = self.version();
        // What changed between opening and this first look would otherwise be missed.
        self.reload();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let version = self.version();
            if version != known {
                known = version;
                self.reload();
            }
        }
    }

    fn version(&self) -> Version {
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    fn reload(&self) {
        match Keys::load(&self.path) {
            Ok(keys) => {
                self.table.store(Arc::new(table(&keys)));
                info!(keys = self.len(), "API keys read");
            }
            Err(error) => warn!(%error, "API keys left as they were"),
        }
    }
}

fn table(keys: &Keys) -> Table {
    let mut table = Table::new();
    for key in keys.iter().filter(|key| !key.revoked) {
        let caller = Caller { principal: key.principal.as_str().into(), role: key.role };
        table.entry(key.hash.bucket()).or_default().push((key.hash, caller));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_keys_in_force_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.toml");
        let mut keys = Keys::default();
        let (a, b) = (keys.add("a", "alice", Role::Read).unwrap(), keys.add("b", "bob", Role::Admin).unwrap());
        keys.save(&path).unwrap();
        let ring = KeyRing::open(path.clone()).unwrap();
        assert_eq!(ring.len(), 2);
        assert_eq!(ring.caller(&a.hash()), Some(Caller { principal: "alice".into(), role: Role::Read }));
        assert_eq!(ring.caller(&b.hash()), Some(Caller { principal: "bob".into(), role: Role::Admin }));
        assert_eq!(ring.caller(&TokenHash::of("tert_x")), None);
        assert_eq!(ring.caller(&TokenHash::of("")), None);
        keys.revoke("a").unwrap();
        keys.save(&path).unwrap();
        ring.reload();
        assert_eq!(ring.caller(&a.hash()), None);
        std::fs::write(&path, "nonsense").unwrap();
        ring.reload();
        assert!(ring.caller(&b.hash()).is_some(), "a broken file changes nothing");
    }
}
