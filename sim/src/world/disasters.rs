//! What goes wrong, and how the server comes back.

use log::Log;

use super::{Event, World};
use crate::check::Logged;
use crate::faults::Fault;
use crate::node::Node;

impl World {
    pub(super) fn disaster(&mut self) {
        if self.healed {
            return;
        }
        let pause_us = self.chance.u64(50_000..900_000);
        self.after(pause_us, Event::Disaster);
        if self.swarm.strikes(Fault::Kill, 120) {
            self.stop_node("killed");
        } else if self.swarm.strikes(Fault::PowerCut, 120) {
            self.cut_power_in_append();
        } else if self.swarm.strikes(Fault::Pause, 100) {
            let until_us = self.time_us + self.chance.u64(1_000..1_500_000);
            // What is put off already waits for the later end.
            self.paused_until_us = self.paused_until_us.max(until_us);
        } else if self.swarm.strikes(Fault::DiskFull, 80) {
            let used = self.disk.used_bytes();
            self.disk.set_capacity(Some(used + self.chance.u64(0..100_000)));
            let full_us = self.chance.u64(100_000..2_000_000);
            self.after(full_us, Event::Room);
        } else if self.swarm.strikes(Fault::ClockJump, 150) {
            let jump_us = self.chance.i64(-3_600_000_000..3_600_000_000);
            self.wall_offset_us += jump_us;
            self.trace.line(self.time_us, format_args!("the wall clock jumps by {jump_us} us"));
        }
    }

    pub(super) fn cut_power_in_append(&mut self) {
        let steps = self.disk_rng.u64(0..3);
        if let Some(node) = &mut self.node
            && let Some((entry, begun_us)) = node.appending.take()
        {
            self.outcome.sometimes.crashed_in_append = true;
            self.disk.lose_power_after(steps);
            drop(node.append(&entry));
            self.lost_append_us = Some(begun_us);
        }
        self.cut_power();
    }

    pub(super) fn cut_power(&mut self) {
        self.stop_node("lost power");
        self.disk.crash(&mut self.disk_rng);
    }

    pub(super) fn stop_node(&mut self, why: &str) {
        self.trace.line(self.time_us, format_args!("the server stops: {why}"));
        if self.disk.is_powerless() {
            self.disk.crash(&mut self.disk_rng);
        }
        if self.node.take().is_some() {
            let down_us = self.chance.u64(5_000..400_000);
            self.after(down_us, Event::Restart);
        }
        self.life += 1;
        self.lose_outbox();
        self.house_is_busy = false;
        self.next_poll_us = u64::MAX;
        self.paused_until_us = 0;
    }

    pub(super) fn start_node(&mut self) -> Result<(), String> {
        let now = self.now();
        let may_fail = self.healed || self.life == 0 || self.chance.u32(0..10) > 0;
        if !may_fail && self.swarm.has(Fault::PowerCut) {
            let steps = self.disk_rng.u64(0..20);
            self.disk.lose_power_after(steps);
        }
        let started = Node::start(&self.disk, now, self.settings.seed, self.settings.canary);
        if self.disk.is_powerless() {
            self.disk.crash(&mut self.disk_rng);
            self.after(50_000, Event::Restart);
            return Ok(());
        }
        let full = self.swarm.has(Fault::DiskFull);
        let mut node = match started {
            Ok(node) => node,
            Err(_) if full => {
                self.after(100_000, Event::Restart);
                return Ok(());
            }
            Err(error) => return Err(format!("the server does not start: {error}")),
        };
        self.outcome.restarts += u64::from(self.life > 0);
        self.ledger.leases_held.before_restart = self.ledger.leases_held.newest;
        self.outcome.sometimes.restarted_from_checkpoint |= node.recovered_from > 0;
        self.ledger.clock_was_rebased |= self.life > 0 && self.wall_offset_us != 0;
        self.adopt_log(&mut node)?;
        self.trace.line(
            self.time_us,
            format_args!("the server starts, epoch {}, at {}", node.cell.epoch(), node.cell.tail()),
        );
        self.node = Some(node);
        self.lost_append_us = None;
        self.begin_append();
        Ok(())
    }

    /// Holds the log that a restart found against what was acknowledged, and takes over what it has more: an append that
    /// was never acknowledged may have happened, one at most.
    pub(super) fn adopt_log(&mut self, node: &mut Node) -> Result<(), String> {
        let acknowledged = self.ledger.log.len() as u64;
        let tail = node.log.tail().map_err(|error| error.to_string())?.index;
        if tail < acknowledged {
            return Err(format!("the log ends at entry {tail}, but entry {acknowledged} was acknowledged"));
        }
        if tail > acknowledged + 1 {
            return Err(format!("the log has {} entries that were never acknowledged", tail - acknowledged));
        }
        let mut from = node.log.first();
        while from <= tail {
            let read = node.log.read(from, 1 << 20).map_err(|error| error.to_string())?;
            for stored in read {
                from = stored.position.index + 1;
                let known = self.ledger.log.get(stored.position.index as usize - 1);
                match known {
                    Some(known) if known.entry == stored.entry && known.position == stored.position => {}
                    Some(known) => return Err(format!("entry {} is another after a restart", known.position)),
                    None => {
                        let (position, entry) = (stored.position, stored.entry);
                        let begun_us = self.lost_append_us.unwrap_or(self.time_us);
                        self.ledger.log.push(Logged { position, entry, begun_us });
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn heal(&mut self) {
        self.healed = true;
        self.swarm.heal();
        self.heal_receivers();
        self.heal_hooks();
        self.disk.set_capacity(None);
        self.trace.line(self.time_us, format_args!("everything heals"));
    }
}
