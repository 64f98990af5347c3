//! Leading on a log that others may append to: proofs of it for readers, and the end of doubts.
//!
//! ```text
//! append -> unknown -> tail -> is all of it ours? -> claim a higher epoch -> read through it -> go on
//!                       ^  |      |                    |                        |
//!                       +--+------+--------------------+- again after a while --+
//! ```

use std::time::{Duration, Instant};

use log::{Append, LogError, Rejected, Stored};
use words::Position;

use super::Driver;
use crate::hand::Job;

/// How long the log is left alone before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What is under way beside the appends of operations.
#[derive(Debug, Default)]
pub(super) enum Leading {
    /// Nothing.
    #[default]
    Sure,
    /// The log is asked who leads, for readers.
    Proving,
    /// The log is asked who leads, to claim after it.
    Asking,
    /// What is in the log up to its tail is being looked at: whether somebody else led meanwhile.
    Looking(Position),
    /// A claim is being appended.
    Claiming,
    /// What is in the log up to the claim is being read.
    Reading(Position),
    /// What was asked last came to nothing.
    Resting(Instant),
}

impl Leading {
    /// When the log is to be asked again.
    pub(super) fn due_in(&self) -> Option<Duration> {
        match self {
            Self::Resting(since) => Some(ASK_AGAIN.saturating_sub(since.elapsed())),
            _ => None,
        }
    }
}

impl Driver {
    /// Asks the log what is to be known next, unless it is being asked.
    pub(super) fn ask_log(&mut self) {
        if self.cell.is_following() {
            return;
        }
        if let Leading::Resting(since) = self.leading {
            if since.elapsed() < ASK_AGAIN {
                return;
            }
            self.leading = Leading::Sure;
        }
        if !matches!(self.leading, Leading::Sure) {
            return;
        }
        if self.cell.is_in_doubt() {
            self.leading = Leading::Asking;
        } else if !self.cell.is_appending() && self.cell.wants_proof_since_us().is_some() {
            self.leading = Leading::Proving;
        } else {
            return;
        }
        self.hand_on(Job::Tail { asked_us: self.now().mono_us });
    }

    pub(super) fn on_tail(&mut self, asked_us: u64, result: Result<Position, LogError>) {
        if self.cell.is_following() {
            // It was asked for while this node led.
            return;
        }
        match (std::mem::take(&mut self.leading), result) {
            (Leading::Proving, Ok(tail)) if tail == self.cell.tail() => self.cell.prove(asked_us),
            (Leading::Asking, Ok(tail)) if tail == self.cell.tail() => self.claim_behind(tail),
            (Leading::Asking, Ok(tail)) if tail.index > self.cell.tail().index => {
                self.leading = Leading::Looking(tail);
                self.hand_on(Job::Read { from: self.cell.tail().index + 1 });
            }
            (_, Ok(tail)) => self.deposed(tail),
            (_, Err(error)) => self.rest(error),
        }
    }

    fn claim_behind(&mut self, tail: Position) {
        let entry = self.cell.reclaim(tail, self.now());
        self.leading = Leading::Claiming;
        self.hand_on(Job::Append { after: tail, epoch: self.cell.epoch(), entry });
    }

    /// What became of the claim that is to end a doubt.
    pub(super) fn on_claimed(&mut self, claim: Position, result: Append) {
        match result {
            Append::Ok(_) => self.read_through(claim),
            // Somebody was faster: the log says who.
            Append::Conflict { .. } => {
                self.cell.claim_not_done();
                self.leading = Leading::Sure;
            }
            Append::Unknown(error) => self.rest(error),
            Append::Rejected(Rejected::Full | Rejected::Unavailable { .. }) => {
                self.cell.claim_not_done();
                self.leading = Leading::Resting(Instant::now());
            }
            Append::Rejected(why @ (Rejected::Sealed | Rejected::TooLarge { .. })) => self.lost(&why),
        }
    }

    pub(super) fn on_read(&mut self, result: Result<Vec<Stored>, LogError>) {
        if self.cell.is_following() {
            return;
        }
        match (std::mem::take(&mut self.leading), result) {
            (_, Err(error)) => self.rest(error),
            // It was to hold something.
            (_, Ok(found)) if found.is_empty() => self.leading = Leading::Resting(Instant::now()),
            (Leading::Looking(tail), Ok(found)) => self.look(tail, &found),
            (Leading::Reading(claim), Ok(found)) => {
                if !self.cell.settle(found, claim) {
                    self.read_through(claim);
                }
            }
            (_, Ok(_)) => {}
        }
    }

    /// Claims behind what was found if all of it is this cell's own.
    fn look(&mut self, tail: Position, found: &[Stored]) {
        let last = found.last().map_or(Position::START, |stored| stored.position);
        if let Some(other) = found.iter().find(|stored| !self.cell.is_own(stored)) {
            self.deposed(other.position)
        } else if last.index < tail.index {
            self.leading = Leading::Looking(tail);
            self.hand_on(Job::Read { from: last.index + 1 });
        } else {
            self.claim_behind(last);
        }
    }

    fn read_through(&mut self, claim: Position) {
        self.leading = Leading::Reading(claim);
        self.hand_on(Job::Read { from: self.cell.tail().index + 1 });
    }

    /// The log did not answer; it may later.
    fn rest(&mut self, error: LogError) {
        match error {
            // What was this cell's database when it started is so again, once it answers as it did.
            LogError::Io { .. } | LogError::Full | LogError::Foreign { .. } => {
                self.leading = Leading::Resting(Instant::now())
            }
            error => self.lost(&error),
        }
    }
}
