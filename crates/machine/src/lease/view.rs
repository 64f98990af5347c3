//! Leases as they may be looked at.

use words::Stamp;

use crate::machine::{Machine, PAGE_BYTES_MAX};

use super::held::Lease;

/// A lease in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseView {
    /// Its name.
    pub name: String,
    /// How many may hold it at a time.
    pub capacity: u64,
    /// Who holds it, in the order of their tokens.
    pub holders: Vec<HolderView>,
    /// How many wait for it.
    pub waiting: u64,
}

/// Somebody who holds a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HolderView {
    /// Who, for people to read.
    pub owner: String,
    /// Under which token.
    pub token: u64,
    /// Since when.
    pub granted: Stamp,
    /// Until when, unless it is renewed.
    pub expires: Stamp,
    /// Canonical JSON, or empty.
    pub metadata: String,
}

/// Some leases, sorted by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeasePage {
    /// The leases.
    pub items: Vec<LeaseView>,
    /// Whether there are more after the last of them.
    pub has_more: bool,
}

impl LeaseView {
    fn of(lease: &Lease) -> Self {
        let holders = lease.holders.iter().map(|holder| HolderView {
            owner: holder.owner.as_ref().to_owned(),
            token: holder.token,
            granted: holder.granted,
            expires: holder.expires,
            metadata: holder.metadata.as_ref().to_owned(),
        });
        Self {
            name: lease.name.as_ref().to_owned(),
            capacity: lease.capacity,
            holders: holders.collect(),
            waiting: lease.line.len() as u64,
        }
    }

    fn bytes(&self) -> usize {
        let holders = self.holders.iter().map(|holder| 64 + holder.owner.len() + holder.metadata.len());
        self.name.len() + holders.sum::<usize>()
    }
}

impl Machine {
    /// The lease of that name; `None` if nobody holds it and nobody waits for it.
    pub fn lease(&self, name: &str) -> Option<LeaseView> {
        self.leases.find(name).map(LeaseView::of)
    }

    /// Up to `limit` leases in use, sorted by name, after that one.
    pub fn leases(&self, after: &str, limit: usize) -> LeasePage {
        let (mut items, mut bytes) = (Vec::new(), 0);
        for lease in self.leases.after(after) {
            if items.len() >= limit || bytes >= PAGE_BYTES_MAX {
                return LeasePage { items, has_more: true };
            }
            let view = LeaseView::of(lease);
            bytes += view.bytes();
            items.push(view);
        }
        LeasePage { items, has_more: false }
    }

    /// How many leases are in use.
    pub fn leases_len(&self) -> u64 {
        self.leases.len() as u64
    }
}
