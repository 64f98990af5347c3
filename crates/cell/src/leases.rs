//! Reads of leases.

use machine::{LeasePage, LeaseView};

use crate::cell::Cell;

/// What is asked of leases.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseQuery {
    /// The leases in use, by name.
    Leases {
        /// Begin after this name.
        after: String,
        /// At most this many.
        limit: usize,
    },
    /// One lease.
    Lease {
        /// Its name.
        name: String,
    },
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseFound {
    /// Leases in use.
    Leases(LeasePage),
    /// One lease; `None` if nobody holds it and nobody waits for it.
    Lease(Option<LeaseView>),
}

impl<W, R> Cell<W, R> {
    pub(crate) fn find_in_leases(&self, query: &LeaseQuery) -> LeaseFound {
        match query {
            LeaseQuery::Leases { after, limit } => LeaseFound::Leases(self.machine.leases(after, *limit)),
            LeaseQuery::Lease { name } => LeaseFound::Lease(self.machine.lease(name)),
        }
    }
}
