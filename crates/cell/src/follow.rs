//! Following: what another leads is applied here by position, and nothing is done about it outside.
//!
//! A follower's state is a prefix of the log, and so is a leader's: it applies only what the log acknowledged, or what a claim of its
//! own settled. So a leader that finds itself deposed follows on from where it is, in the same process. What it was performing is given
//! up: the next leader's claim finds it.
//!
//! If this stops halfway nothing is lost: a follower decides nothing, and starts again from its checkpoint and the log.

use log::Stored;
use machine::{Entry, Op};
use words::Position;

use crate::api::{Rejected, Reply};
use crate::cell::Cell;
use crate::clock::{CellClock, Now};
use crate::fault::CellFault;

/// What followed entries say about who leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Followed {
    /// All that was in the log when it was looked at is applied.
    pub is_caught_up: bool,
    /// There was something new.
    pub has_new: bool,
    /// Somebody claimed.
    pub has_claim: bool,
    /// The leader asks this node to lead, and nobody claimed since.
    pub is_asked: bool,
}

impl<W, R> Cell<W, R> {
    /// Begins as a follower, with what was recovered.
    pub fn follow(&mut self) {
        assert!(self.is_idle(), "only who has nothing under way can follow");
        (self.following, self.resigning) = (true, false);
    }

    /// Whether another node leads, or nobody.
    pub const fn is_following(&self) -> bool {
        self.following
    }

    /// Applies what is committed in the log after what is applied here, for its state alone; `tail` is where the log ended at
    /// `asked_us` of the monotonic clock or later.
    ///
    /// # Errors
    /// [`CellFault`]: the cell must stop.
    pub fn apply_followed(&mut self, tail: Position, found: &[Stored], asked_us: u64) -> Result<Followed, CellFault> {
        assert!(self.following && self.ready.is_empty(), "a leader knows what it appended");
        let mut followed = Followed::default();
        if self.is_live && !found.is_empty() {
            self.heard_us = Some(asked_us);
        }
        for stored in found {
            assert_eq!(stored.position.index, self.machine.position().index + 1, "the log is dense");
            match first_op(&stored.entry)? {
                Some(Op::Claim { .. }) => (followed.has_claim, followed.is_asked) = (true, false),
                Some(Op::HandOver { to }) => followed.is_asked = to == self.options.node,
                _ => {}
            }
            followed.has_new = true;
            self.apply_entry(stored.position, &stored.entry)?;
            self.tail = stored.position;
            let ended = std::mem::take(&mut self.applied.ended);
            for ended in &ended {
                self.answer_ended(ended.began, ended.ordinal)?;
            }
            self.applied.ended = ended;
        }
        if self.tail.index >= tail.index {
            followed.is_caught_up = true;
            // What comes from here on was appended meanwhile.
            self.is_live = true;
            self.prove(asked_us);
        }
        Ok(followed)
    }

    /// The claim with which this follower asks the log for the lead, to be appended after [`Cell::tail`] in the epoch that
    /// [`Cell::epoch`] is from here on. Its clock goes on from the leader's, if that was heard while it led; else from the wall's.
    pub fn claim_lead(&mut self, now: Now) -> Vec<u8> {
        assert!(self.following && self.tail == self.machine.position(), "it has applied what it claims behind");
        self.epoch = self.machine.epoch().max(self.tail.epoch) + 1;
        let last = self.machine.stamp();
        self.clock = match self.heard_us {
            Some(heard_us) => CellClock::resume(now, last, now.mono_us.saturating_sub(heard_us)),
            None => CellClock::new(now, last),
        };
        self.claim(now)
    }

    /// The log took the claim: this node leads once it is applied.
    pub fn lead(&mut self, position: Position, claim: Vec<u8>) {
        self.following = false;
        self.appended(position, claim);
    }

    /// The log did not take the claim, as far as is known. Should it be there all the same, it is an entry like others: nothing comes
    /// after it in its reign.
    pub fn claim_failed(&mut self) {
        self.appending = None;
    }

    /// An entry without commands, as a sign of life.
    pub fn heartbeat(&mut self, now: Now) -> Vec<u8> {
        assert!(!self.is_appending(), "what is under way is a sign of life itself");
        self.start_append(Vec::new(), now)
    }

    /// Takes nothing more on: what is queued is certain not to have happened.
    pub fn resign(&mut self) {
        self.resigning = true;
        self.reject_queue(Rejected::NotLeader);
    }

    /// Whether nothing more is taken on.
    pub const fn is_resigning(&self) -> bool {
        self.resigning
    }

    /// Goes on leading: nobody else is asked to.
    pub fn stay(&mut self) {
        self.resigning = false;
    }

    /// The last entry of a leader that resigned: it asks `to` to claim at once.
    pub fn hand_over(&mut self, to: &str, now: Now) -> Vec<u8> {
        assert!(self.resigning && !self.is_appending(), "nothing comes after it");
        let mut command = Vec::new();
        machine::encode_head(&mut command, words::Stamp::MAX, "", "");
        Op::HandOver { to }.encode(&mut command);
        self.encoder.push(&command);
        self.start_append(Vec::new(), now)
    }

    /// Another leads: what is queued has not happened, what is in doubt may have, and what is known to be durable is still applied and
    /// answered.
    pub fn step_down(&mut self) {
        self.reject_queue(Rejected::NotLeader);
        for operation in self.appending.take().into_iter().flat_map(|batch| batch.operations) {
            let joined = operation.name.and_then(|name| self.land(name));
            let joined = joined.into_iter().flat_map(|inflight| inflight.joined).map(|join| join.waiter);
            for waiter in operation.waiter.into_iter().chain(joined) {
                self.counters.uncertain += 1;
                self.replies.push((waiter.who, Reply::Uncertain));
            }
        }
        self.doubted_in = None;
        self.own_claims.clear();
        (self.following, self.resigning) = (true, false);
        // How long ago its own last stamp was is not known.
        (self.is_live, self.heard_us) = (false, None);
    }

    /// Notes who claims, from the first entry of a reign.
    pub(crate) fn note_leader(&mut self, entry: &[u8]) -> Result<(), CellFault> {
        if let Some(Op::Claim { node, .. }) = first_op(entry)? {
            self.leader = node.into();
        }
        Ok(())
    }
}

/// What an entry begins with.
fn first_op(entry: &[u8]) -> Result<Option<Op<'_>>, CellFault> {
    let first = Entry::decode(entry)?.commands().next().transpose()?;
    Ok(first.map(|command| command.op))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use disk::{Disk, SimDisk};
    use log::Log;
    use log_file::{LogFile, LogOptions};

    use super::*;
    use crate::options::Options;
    use crate::recover::recover;
    use crate::testing::World;

    const SECOND_US: u64 = 1_000_000;
    const HOUR_US: u64 = 3_600 * SECOND_US;

    /// A follower on a machine whose clocks have nothing to do with the leader's.
    fn follower(now: Now) -> Cell<u64, u64> {
        let (disk, options): (Arc<dyn Disk>, _) = (Arc::new(SimDisk::new()), Options::default());
        let log_options = LogOptions { reserve_bytes: 0, ..LogOptions::new(options.cell.clone(), 7) };
        let (mut log, _) = LogFile::open(Arc::clone(&disk), log_options).expect("an empty disk");
        let mut cell = recover(&disk, &mut log, options, 7, now, &mut |_| {}).expect("an empty log");
        cell.follow();
        cell
    }

    fn look(leader: &mut World, follower: &mut Cell<u64, u64>, asked_us: u64) {
        let tail = leader.log.tail().expect("the log answers");
        let found = leader.log.read(follower.tail().index + 1, 1 << 20).expect("the log answers");
        let followed = follower.apply_followed(tail, &found, asked_us).expect("no fault");
        assert!(followed.is_caught_up && followed.has_new);
    }

    #[test]
    fn whoever_takes_over_brings_no_wrong_clock_along() {
        for (wall_us, is_heard) in [(0, true), (3 * HOUR_US, true), (3 * HOUR_US, false)] {
            let mut leader = World::new(Options::default());
            leader.mono_us = HOUR_US;
            leader.open_account("a", "");
            let wall_us = leader.now().wall_us - HOUR_US + wall_us;
            let at = |mono_us| Now { mono_us, wall_us: wall_us + mono_us };
            let mut follower = follower(at(0));
            look(&mut leader, &mut follower, 5 * SECOND_US);
            if is_heard {
                leader.mono_us += SECOND_US;
                leader.open_account("b", "");
                look(&mut leader, &mut follower, 6 * SECOND_US);
            }
            let claim = follower.claim_lead(at(8 * SECOND_US));
            let claimed_us = Entry::decode(&claim).expect("an entry").stamp.micros();
            let expected_us = leader.cell.machine().stamp().micros() + 2 * SECOND_US;
            assert_eq!(claimed_us.abs_diff(expected_us) <= SECOND_US / 5, is_heard, "{claimed_us}, {expected_us}");
        }
    }
}
