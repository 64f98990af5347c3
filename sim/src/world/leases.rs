//! Leases in the world: who hears that they hold one, believes it, and does something under it.

use cell::Decided;
use fastrand::Rng;
use machine::{Body, Granted, LeaseRecord};

use super::World;
use crate::canary::Canary;
use crate::client::LeaseStep;

/// How many of 100 things clients do have to do with leases; 0 in a world without them.
pub(super) fn draw(mut rng: Rng) -> u32 {
    if rng.u8(..5) == 0 { rng.u32(20..70) } else { 0 }
}

impl World {
    pub(super) fn begin_leases(&mut self, percent: u32) {
        let ttl_divisor = if self.settings.canary == Some(Canary::EarlyExpiry) { 4 } else { 1 };
        self.clients.iter_mut().for_each(|(client, _)| client.begin_leases(percent, ttl_divisor));
    }

    pub(super) fn step_lease(&mut self, at: usize) {
        let now_us = self.time_us;
        match self.clients[at].0.step_lease(now_us) {
            LeaseStep::Ask(call, asked) => {
                self.ledger.leases_held.asked.insert(call.key.clone(), (asked, now_us));
                self.begin_write(at, call);
            }
            LeaseStep::Release(call, held) => {
                self.ledger.leases_held.give_back(held.lease, held.token, now_us);
                self.begin_write(at, call);
            }
            LeaseStep::Work { held, stopped_us } => {
                let came_us = now_us + stopped_us + self.delay_us();
                self.ledger.leases_held.work(held.lease, held.token, came_us, held.until_us);
                self.rest(at);
            }
        }
    }

    /// A client hears what became of its wish.
    pub(super) fn learn_lease(&mut self, at: usize, decided: &Decided) {
        let Some(Ok(Some(record))) = decided.answer.first().map(|part| part.record()) else { return };
        let (token, is_grant) = match record.body {
            Body::Lease(LeaseRecord::Granted(Granted { token, .. })) => (token, true),
            Body::Lease(LeaseRecord::Renewed { token, .. }) => (token, false),
            _ => return,
        };
        let held = &mut self.ledger.leases_held;
        let Some((asked, asked_us)) = held.asked.get(record.key).copied() else { return };
        held.newest = held.newest.max(token);
        let token = match self.settings.canary {
            Some(Canary::TokenAgain) if is_grant => token.saturating_sub(held.before_restart).max(1),
            _ => token,
        };
        let counted_from_us = match self.settings.canary {
            Some(Canary::CountFromAnswer) => self.time_us + asked.ttl_ms * 50,
            _ => asked_us,
        };
        let until_us = self.clients[at].0.learn_lease(asked, token, counted_from_us);
        held.hear(asked.lease, token, is_grant, (asked_us, self.time_us, until_us));
    }
}
