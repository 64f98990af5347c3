//! All leases in use, by name and in the order they wake, and the counter that all tokens come from.

use std::collections::{BTreeMap, BTreeSet};

use words::Stamp;

use crate::codec::{Corrupt, Reader, put_u64};
use crate::shelf::Shelf;

use super::held::Lease;

/// All leases in use, by the number each got with its first holder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases {
    all: Shelf<Lease>,
    names: BTreeMap<Box<str>, u64>,
    wakes: BTreeSet<(Stamp, u64)>,
    /// How many hold a lease or wait for one.
    places: usize,
    /// The newest token; 0 before the first.
    last_token: u64,
    /// What of the counter a running snapshot has not written yet.
    frozen_token: Option<u64>,
}

impl Leases {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) const fn places(&self) -> usize {
        self.places
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Lease> {
        self.all.get(self.number(name)?)
    }

    /// Each, sorted by name, after one.
    pub(crate) fn after<'l>(&'l self, after: &str) -> impl Iterator<Item = &'l Lease> + use<'l> {
        use std::ops::Bound::{Excluded, Unbounded};
        let names = self.names.range::<str, _>((Excluded(after), Unbounded));
        names.filter_map(|(_, number)| self.all.get(*number))
    }

    /// A token that was never given out before, and is greater than all that were.
    pub(crate) fn next_token(&mut self) -> u64 {
        self.last_token = self.last_token.checked_add(1).expect("nobody lives to count to 2^64");
        self.last_token
    }

    /// Takes a lease out, to be changed and [put](Self::put) back.
    pub(crate) fn take(&mut self, number: u64) -> Option<Lease> {
        let lease = self.all.remove(number)?;
        self.places -= lease.places();
        if let Some(at) = lease.wakes() {
            self.wakes.remove(&(at, number));
        }
        Some(lease)
    }

    /// Puts a lease in, or back; one that is free is forgotten.
    pub(crate) fn put(&mut self, number: u64, lease: Lease) {
        if lease.is_free() {
            self.names.remove(&lease.name);
            return;
        }
        self.places += lease.places();
        self.wakes.extend(lease.wakes().map(|at| (at, number)));
        self.names.insert(lease.name.clone(), number);
        self.all.insert(number, lease);
    }

    /// What time moves on first: when, and which.
    pub(crate) fn first_due(&self) -> Option<(Stamp, u64)> {
        self.wakes.first().copied()
    }

    /// A new leader begins: the time since the last entry of the one before counts for no holder.
    pub(crate) fn stand_still(&mut self, from: Stamp, to: Stamp) {
        let passed_us = to.micros().saturating_sub(from.micros());
        let numbers: Vec<u64> = self.names.values().copied().collect();
        for number in numbers {
            let Some(mut lease) = self.take(number) else { continue };
            for holder in &mut lease.holders {
                holder.expires = holder.expires.plus_micros(passed_us);
            }
            self.put(number, lease);
        }
    }

    /// A snapshot begins.
    pub(crate) fn freeze(&mut self) {
        self.all.freeze();
        self.frozen_token = Some(self.last_token);
    }

    /// The snapshot is over.
    pub(crate) fn thaw(&mut self) {
        self.all.thaw();
        self.frozen_token = None;
    }

    /// Appends the next lease, as it was when the snapshot began; `false` if there is none.
    pub(crate) fn take_frozen(&mut self, out: &mut Vec<u8>) -> bool {
        let taken = self.all.take_frozen();
        taken.map(|(number, lease)| encode_lease(number, &lease, out)).is_some()
    }

    /// Appends the counter, as it was when the snapshot began; `false` if that was done, or no token was ever given out.
    pub(crate) fn take_frozen_token(&mut self, out: &mut Vec<u8>) -> bool {
        let token = self.frozen_token.take().filter(|token| *token > 0);
        token.map(|token| put_u64(out, token)).is_some()
    }

    pub(crate) fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Corrupt> {
        let (number, lease) = (r.u64()?, Lease::decode(r)?);
        if self.number(&lease.name).is_some() || lease.is_free() {
            return Err(Corrupt("a lease is there twice, or in use by nobody"));
        }
        self.put(number, lease);
        Ok(())
    }

    pub(crate) fn restore_token(&mut self, r: &mut Reader<'_>) -> Result<(), Corrupt> {
        self.last_token = r.u64()?;
        Ok(())
    }

    /// Hands the bytes of each lease and of the counter to `visit`, in the order of snapshots. Where no token was ever given
    /// out there is nothing, so that a snapshot from before there were leases has the digest it had.
    pub(crate) fn visit(&self, mut visit: impl FnMut(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        for (number, lease) in self.all.iter() {
            encode_lease(number, lease, &mut bytes);
            visit(&mut bytes);
        }
        if self.last_token > 0 {
            put_u64(&mut bytes, self.last_token);
            visit(&mut bytes);
        }
    }
}

fn encode_lease(number: u64, lease: &Lease, out: &mut Vec<u8>) {
    put_u64(out, number);
    lease.encode(out);
}
