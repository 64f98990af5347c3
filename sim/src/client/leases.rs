//! What clients do with leases.

use machine::{Acquire, LeaseOp, Op};

use super::{Action, Call, Client, Kind, op_bytes};
use crate::leases::LEASES;

/// A holder uses its lease for 95 of 100 parts of its time, as the Rust client does.
const USED_PERCENT: u64 = 95;

/// A lease that a client heard that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    pub(crate) lease: usize,
    pub(crate) token: u64,
    /// For how long it is renewed: always the same, so that no renewal that is still under way can shorten it.
    pub(crate) ttl_ms: u64,
    /// Until when it believes so, in true time.
    pub(crate) until_us: u64,
}

/// What a client asked about a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeaseAsked {
    pub(crate) lease: usize,
    /// For how long.
    pub(crate) ttl_ms: u64,
}

/// What a client does about leases.
#[derive(Clone, Debug)]
pub(crate) enum LeaseStep {
    /// It asks.
    Ask(Call, LeaseAsked),
    /// It gives back what it holds.
    Release(Call, Held),
    /// It does something under a lease that it believes in, but is stopped for so long before.
    Work { held: Held, stopped_us: u64 },
}

impl Client {
    pub(crate) fn begin_leases(&mut self, percent: u32, ttl_divisor: u64) {
        self.leases_percent = percent;
        self.ttl_divisor = ttl_divisor;
    }

    /// What it does at that moment.
    pub(crate) fn step_lease(&mut self, now_us: u64) -> LeaseStep {
        // What it lost long ago it asks nothing about any more; what it lost just now it may, and is told so.
        self.held.retain(|held| held.until_us + 1_000_000 > now_us);
        let Some(held) = self.rng.choice(&self.held).copied() else { return self.acquire() };
        match self.rng.u32(0..10) {
            0..2 => self.acquire(),
            2..4 => self.renew(held),
            4 => {
                self.held.retain(|other| *other != held);
                let (name, token) = (LEASES[held.lease].0, held.token);
                LeaseStep::Release(self.write_lease(LeaseOp::Release { name, token }), held)
            }
            // Now and then the holder is stopped after it has looked at its clock.
            _ if held.until_us > now_us => {
                let stopped_us = if self.rng.u8(..3) == 0 { self.rng.u64(500_000..10_000_000) } else { 0 };
                LeaseStep::Work { held, stopped_us }
            }
            _ => self.renew(held),
        }
    }

    fn acquire(&mut self) -> LeaseStep {
        let lease = self.rng.usize(..LEASES.len());
        let (name, capacity) = LEASES[lease];
        let ttl_ms = self.rng.u64(500..6_000);
        let wait_ms = [Some(0), None, Some(self.rng.u64(1..2_000))][self.rng.usize(..3)];
        let owner = format!("c{}", self.id);
        let asked_ms = ttl_ms / self.ttl_divisor;
        let asked = Acquire { name, owner: &owner, ttl_ms: asked_ms, capacity, wait_ms, metadata: "" };
        LeaseStep::Ask(self.write_lease(LeaseOp::Acquire(asked)), LeaseAsked { lease, ttl_ms })
    }

    fn renew(&mut self, held: Held) -> LeaseStep {
        let ttl_ms = held.ttl_ms;
        let op = LeaseOp::Renew { name: LEASES[held.lease].0, token: held.token, ttl_ms: ttl_ms / self.ttl_divisor };
        LeaseStep::Ask(self.write_lease(op), LeaseAsked { lease: held.lease, ttl_ms })
    }

    fn write_lease(&mut self, op: LeaseOp<'_>) -> Call {
        let key = self.new_key();
        let Action::Write(call) = self.call(key, Kind::Lease, &op_bytes(&Op::Lease(op))) else {
            unreachable!("a call is a write")
        };
        call
    }

    /// A grant or a renewal that was asked for at `asked_us`: it believes in it from now on. Gives until when.
    pub(crate) fn learn_lease(&mut self, asked: LeaseAsked, token: u64, asked_us: u64) -> u64 {
        let until_us = asked_us + asked.ttl_ms * 10 * USED_PERCENT;
        let LeaseAsked { lease, ttl_ms } = asked;
        match self.held.iter_mut().find(|held| (held.lease, held.token) == (lease, token)) {
            Some(held) => held.until_us = held.until_us.max(until_us),
            None => self.held.push(Held { lease, token, ttl_ms, until_us }),
        }
        until_us
    }
}
