//! Taking turns on a log that others share: tailing it, asking it for the lead, signs of life, handing the lead over.
//!
//! ```text
//! look at the tail -> read what is committed -> apply -> silent for too long, or asked? -> claim -> lead
//!      ^                                          |                                          |       |
//!      +------------------ rest ------------------+------------- somebody was faster --------+       |
//!      +------------------------------- deposed, or handed over -----------------------------------+
//! ```

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use log::{Append, LogError, Rejected as LogRejected, Stored};
use words::Position;

use super::{Driver, fatal};
use crate::clock::Now;
use crate::fault::CellFault;
use crate::hand::Job;
use crate::handle::{Promoted, PromotedReply};
use crate::options::Turns;
use crate::role::{Decision, Suspicion};
use crate::work::Work;

/// How long a follower rests between two looks at a log that had something new, at one that had nothing, and at one that did not
/// answer.
const REST_BUSY: Duration = Duration::from_millis(1);
const REST_IDLE: Duration = Duration::from_millis(10);
const REST_BLIND: Duration = Duration::from_millis(100);

/// Of a node that takes turns with others.
pub(super) struct Turn {
    turns: Turns,
    suspicion: Suspicion,
    tailing: Tailing,
    /// Whom the lead is being handed to, and who asked for that.
    handing_over: Option<(String, PromotedReply)>,
}

/// What a follower has the log do.
enum Tailing {
    Resting {
        since: Instant,
        rest: Duration,
        /// Whether a reader that wants a proof ends it at once.
        is_light: bool,
    },
    Looking,
    Claiming,
}

impl Turn {
    pub(super) fn new(turns: Turns) -> Self {
        let tailing = Tailing::Resting { since: Instant::now(), rest: Duration::ZERO, is_light: true };
        Self { turns, suspicion: Suspicion::new(turns), tailing, handing_over: None }
    }

    /// Looks again after that, and no sooner.
    fn rest(&mut self, rest: Duration) {
        self.tailing = Tailing::Resting { since: Instant::now(), rest, is_light: false };
    }

    /// Rests after a look that showed something: the next one will, too, and comes at once if a reader waits for it.
    fn rest_lightly(&mut self, rest: Duration) {
        self.tailing = Tailing::Resting { since: Instant::now(), rest, is_light: true };
    }
}

impl Driver {
    /// When there is something to do for a follower, or a sign of life due of a leader.
    pub(super) fn turn_due_in(&self) -> Option<Duration> {
        let turn = self.turn.as_ref()?;
        if !self.cell.is_following() {
            let heartbeat = Duration::from_millis(turn.turns.heartbeat_ms);
            return (!self.cell.is_appending()).then(|| heartbeat.saturating_sub(self.last_append.elapsed()));
        }
        match turn.tailing {
            Tailing::Resting { is_light: true, .. } if self.cell.wants_proof_since_us().is_some() => {
                Some(Duration::ZERO)
            }
            Tailing::Resting { since, rest, .. } => Some(rest.saturating_sub(since.elapsed())),
            Tailing::Looking | Tailing::Claiming => None,
        }
    }

    /// Looks at the log, if this node follows and it is time.
    pub(super) fn look_at_log(&mut self) {
        if !self.cell.is_following() || self.cell.has_ready() || self.turn_due_in() != Some(Duration::ZERO) {
            return;
        }
        // What is applied is sealed and written behind the log; it must keep up with that.
        let is_behind = self.cell.is_behind();
        if let Some(turn) = &mut self.turn {
            if is_behind {
                return turn.rest(REST_IDLE);
            }
            turn.tailing = Tailing::Looking;
        }
        self.hand_on(Job::Follow { from: self.cell.tail().index + 1, asked_us: self.now().mono_us });
    }

    pub(super) fn on_followed(
        &mut self,
        asked_us: u64,
        result: Result<(Position, Vec<Stored>), LogError>,
    ) -> Result<(), CellFault> {
        let (tail, found) = match result {
            Ok(found) => found,
            // What was this cell's database when it started is so again, once it answers as it did.
            Err(LogError::Io { .. } | LogError::Full | LogError::Foreign { .. }) => {
                if let Some(turn) = &mut self.turn {
                    turn.suspicion.lost_log();
                    turn.rest(REST_BLIND);
                }
                return Ok(());
            }
            Err(error) => self.lost(&error),
        };
        let took_us = self.now().mono_us.saturating_sub(asked_us);
        let followed = self.cell.apply_followed(tail, &found, asked_us)?;
        let (now, may_claim) = (self.now(), self.shared.may_claim.load(Ordering::Relaxed));
        let Some(turn) = &mut self.turn else { return Ok(()) };
        turn.suspicion.looked(now.mono_us, took_us, followed.has_new);
        if followed.has_claim {
            turn.suspicion.saw_claim();
        }
        if followed.is_asked {
            turn.suspicion.handed();
        }
        turn.rest_lightly(if followed.has_new { REST_BUSY } else { REST_IDLE });
        let decision = turn.suspicion.decide(asked_us, may_claim);
        if followed.is_caught_up && decision == Decision::Claim && self.stoppers.is_empty() {
            self.claim_lead(now);
        }
        Ok(())
    }

    fn claim_lead(&mut self, now: Now) {
        let entry = self.cell.claim_lead(now);
        if let Some(turn) = &mut self.turn {
            turn.tailing = Tailing::Claiming;
        }
        self.hand_on(Job::Append { after: self.cell.tail(), epoch: self.cell.epoch(), entry });
    }

    /// Whether a claim of this follower's is under way, and no other append.
    pub(super) fn claims_lead(&self) -> bool {
        self.cell.is_following() && self.turn.as_ref().is_some_and(|turn| matches!(turn.tailing, Tailing::Claiming))
    }

    /// What became of the claim of a follower.
    pub(super) fn on_lead_claimed(&mut self, position: Position, entry: Vec<u8>, result: Append) {
        let Some(turn) = &mut self.turn else { return };
        turn.suspicion.claimed();
        turn.rest(REST_BUSY);
        match result {
            Append::Ok(_) => {
                self.last_append = Instant::now();
                return self.cell.lead(position, entry);
            }
            // Somebody was faster, and is followed.
            Append::Conflict { .. } => {}
            // If it is in the log all the same, nothing comes after it in its reign, and the next claim ends that.
            Append::Unknown(LogError::Io { .. })
            | Append::Rejected(LogRejected::Full | LogRejected::Unavailable { .. }) => {
                turn.suspicion.lost_log();
                turn.rest(REST_BLIND);
            }
            lost => self.lost(&format!("{lost:?}")),
        }
        self.cell.claim_failed();
    }

    /// An entry that only says that this leader lives, or the last one before another leads.
    pub(super) fn entry_of_turn(&mut self, now: Now) -> Option<Vec<u8>> {
        let turn = self.turn.as_ref()?;
        if let Some((to, _)) = &turn.handing_over {
            self.is_last = true;
            return Some(self.cell.hand_over(to, now));
        }
        let is_due = self.last_append.elapsed() >= Duration::from_millis(turn.turns.heartbeat_ms);
        (is_due && self.stoppers.is_empty()).then(|| self.cell.heartbeat(now))
    }

    /// A person asks that a node lead.
    pub(super) fn on_promote(&mut self, to: String, reply: PromotedReply) {
        let is_me = to == self.cell.options.node;
        let is_busy = self.cell.is_in_doubt() || !self.stoppers.is_empty();
        let promoted = match &mut self.turn {
            None => Promoted::Alone,
            Some(turn) if self.cell.is_following() && is_me => {
                turn.suspicion.asked();
                Promoted::Asked
            }
            Some(_) if self.cell.is_following() => Promoted::NotLeader,
            Some(_) if is_me => Promoted::Leads,
            Some(turn) if turn.handing_over.is_some() || is_busy => Promoted::Failed,
            Some(turn) => {
                turn.handing_over = Some((to, reply));
                return self.cell.resign();
            }
        };
        reply(promoted);
    }

    /// The append that hands the lead over has ended. Says whether it was done.
    pub(super) fn end_hand_over(&mut self, result: &Append) -> bool {
        self.is_last = false;
        let is_done = matches!(result, Append::Ok(_));
        if !is_done {
            self.cell.stay();
        }
        if let Some((_, reply)) = self.turn.as_mut().and_then(|turn| turn.handing_over.take()) {
            reply(if is_done { Promoted::Asked } else { Promoted::Failed });
        }
        is_done
    }

    /// Another node leads, or is asked to: this one follows it from where it is.
    pub(super) fn step_down(&mut self) {
        self.cell.step_down();
        self.leading = super::leading::Leading::Sure;
        self.is_last = false;
        // The next leader's claim takes what is being performed for broken off, and asks what came of it: from here on nothing more of
        // it may happen.
        drop(self.cell.take_work());
        (self.outbox)(Work::Abandon);
        if let Some(turn) = &mut self.turn {
            turn.suspicion = Suspicion::new(turn.turns);
            if let Some((_, reply)) = turn.handing_over.take() {
                reply(Promoted::Failed);
            }
            turn.rest(Duration::ZERO);
        }
    }

    /// Somebody else has the log.
    pub(super) fn deposed(&mut self, tail: Position) {
        if self.turn.is_some() {
            eprintln!("tertium: another node leads the cell in epoch {}; this one follows", tail.epoch);
            return self.step_down();
        }
        self.lost(&format!("another server leads the cell in epoch {}; two servers must not share a log", tail.epoch))
    }

    /// The log is gone for good: everybody is told what is known, and the process ends.
    pub(super) fn lost(&mut self, why: &dyn std::fmt::Display) -> ! {
        self.cell.lose_log();
        self.deliver();
        fatal(&format!("the log is lost to this node: {why}"))
    }
}
