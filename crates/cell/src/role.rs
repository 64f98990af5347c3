//! When a follower may ask the log for the lead: decided from what it saw and when, and from nothing else.
//!
//! | what was seen | a person or the leader asked | suspicion and lease | promotion allowed | decision |
//! |---|---|---|---|---|
//! | the log did not answer since | any | any | any | follow: who cannot see cannot judge |
//! | it answered | yes | any | any | claim |
//! | it answered | no | either is not over | any | follow |
//! | it answered | no | both are over | no | follow |
//! | it answered | no | both are over | yes | claim |
//!
//! A claim that comes too early harms nobody but the leader's callers: the log takes one of two, and whoever it does not take can
//! acknowledge nothing. So this is about when to disturb, not about what is safe.

use std::time::Duration;

use suspicion::Waits;

use crate::options::Turns;

/// From here on a silence is suspicious: seen once in a hundred million.
const PHI_SUSPICIOUS: f64 = 8.0;

/// A lease lasts this part longer here, for a clock that runs faster than the leader's: one in so many.
const DRIFT_PART: u64 = 20;

/// What a follower is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Go on following.
    Follow,
    /// Ask the log for the lead.
    Claim,
}

/// What a follower knows of the leader's signs of life: each entry is one. Instants are microseconds of the monotonic clock.
#[derive(Clone, Debug)]
pub struct Suspicion {
    lease_us: u64,
    waits: Waits,
    seen_us: u64,
    is_blind: bool,
    is_handed: bool,
    is_asked: bool,
}

impl Suspicion {
    /// Nothing was seen yet.
    pub fn new(turns: Turns) -> Self {
        let lease_us = turns.lease_ms * 1_000;
        Self {
            lease_us: lease_us + lease_us / DRIFT_PART,
            waits: Waits::expecting(Duration::from_millis(turns.heartbeat_ms)),
            seen_us: 0,
            is_blind: true,
            is_handed: false,
            is_asked: false,
        }
    }

    /// The log was looked at, which took so long, and had entries that are new here, or none. The first look after a time without one
    /// shows no silence, however long ago the last entry was: the leader may not have reached the log either. A look that took longer
    /// than the lease is such a time itself.
    pub fn looked(&mut self, now_us: u64, took_us: u64, has_new: bool) {
        self.is_blind |= took_us > self.lease_us;
        if has_new && !self.is_blind {
            self.waits.note(Duration::from_micros(now_us.saturating_sub(self.seen_us)));
        }
        if has_new || self.is_blind {
            self.seen_us = now_us;
        }
        self.is_blind = false;
    }

    /// The log did not answer. A person who asked before that asks again: nobody knows who leads by then.
    pub fn lost_log(&mut self) {
        (self.is_blind, self.is_asked) = (true, false);
    }

    /// A person asks for it: once, whoever else claims meanwhile.
    pub fn asked(&mut self) {
        self.is_asked = true;
    }

    /// The leader hands it to this node.
    pub fn handed(&mut self) {
        self.is_handed = true;
    }

    /// Another claimed: what the one before it asked for is over.
    pub fn saw_claim(&mut self) {
        self.is_handed = false;
    }

    /// This node asked the log, whatever came of it.
    pub fn claimed(&mut self) {
        (self.is_handed, self.is_asked) = (false, false);
    }

    /// What to do after a look that was begun at `asked_us` and whose entries are applied. A look that began before a pause of
    /// this node's own shows nothing of the time after it.
    pub fn decide(&self, asked_us: u64, is_allowed: bool) -> Decision {
        let silence_us = asked_us.saturating_sub(self.seen_us);
        let is_over = silence_us > self.lease_us && self.waits.phi(Duration::from_micros(silence_us)) >= PHI_SUSPICIOUS;
        match self.is_blind {
            false if self.is_asked || self.is_handed || is_over && is_allowed => Decision::Claim,
            _ => Decision::Follow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000;

    enum Seen {
        Entry(u64),
        Nothing(u64),
        Slow(u64, u64),
        NoLog,
        Asked,
        Handed,
        Claim,
        Claimed,
    }
    use Seen::{Asked, Claimed, Entry, Handed, NoLog, Nothing, Slow};

    #[track_caller]
    fn check(seen: &[Seen], at_ms: u64, is_allowed: bool, expected: Decision) {
        let mut suspicion = Suspicion::new(Turns::default());
        for one in seen {
            match one {
                Entry(ms) => suspicion.looked(ms * MS, 0, true),
                Nothing(ms) => suspicion.looked(ms * MS, 0, false),
                Slow(ms, took_ms) => suspicion.looked(ms * MS, took_ms * MS, false),
                NoLog => suspicion.lost_log(),
                Asked => suspicion.asked(),
                Handed => suspicion.handed(),
                Seen::Claim => suspicion.saw_claim(),
                Claimed => suspicion.claimed(),
            }
        }
        assert_eq!(suspicion.decide(at_ms * MS, is_allowed), expected);
    }

    #[test]
    fn a_silence_longer_than_the_lease_ends_in_a_claim() {
        use Decision::{Claim, Follow};
        check(&[], 60_000, true, Follow);
        check(&[Entry(100), Entry(400), Entry(700)], 1_750, true, Follow);
        check(&[Entry(100), Entry(400), Entry(700)], 1_751, true, Claim);
        check(&[Entry(100), Entry(400), Entry(700)], 60_000, false, Follow);
        // Looks that show nothing are no signs of life.
        check(&[Entry(100), Nothing(900), Nothing(1_149)], 1_151, true, Claim);
        // A cell that nobody ever led.
        check(&[Nothing(100)], 1_150, true, Follow);
        check(&[Nothing(100)], 1_151, true, Claim);
        // While the log does not answer nobody can judge, and the leader has its lease again afterwards.
        check(&[Entry(100), NoLog], 60_000, true, Follow);
        check(&[Entry(100), NoLog, Nothing(9_000)], 10_050, true, Follow);
        check(&[Entry(100), NoLog, Nothing(9_000)], 10_051, true, Claim);
        // A look that took longer than the lease is no better.
        check(&[Entry(100), Slow(20_000, 1_050)], 20_001, true, Claim);
        check(&[Entry(100), Slow(20_000, 1_051)], 20_001, true, Follow);
        check(&[Entry(100), Slow(20_000, 1_051)], 21_051, true, Claim);
        // Whoever is asked waits for nothing, but sees.
        check(&[Entry(100), Asked], 101, false, Claim);
        check(&[Entry(100), Asked, NoLog], 101, false, Follow);
        check(&[Entry(100), Asked, NoLog, Nothing(9_000)], 9_001, true, Follow);
        check(&[NoLog, Asked, Nothing(9_000)], 9_001, false, Claim);
        check(&[Entry(100), Asked, Claimed], 101, true, Follow);
        check(&[Entry(100), Asked, Seen::Claim], 101, false, Claim);
        check(&[Entry(100), Handed], 101, false, Claim);
        check(&[Entry(100), Handed, Seen::Claim], 101, true, Follow);
        // A look from before a pause of one's own shows no silence.
        check(&[Entry(100)], 90, true, Follow);
    }

    #[test]
    fn a_leader_that_often_is_slow_is_given_more_time() {
        let slow: Vec<Seen> = (0..40).map(|at| Entry(if at % 2 == 0 { at * 800 } else { at * 800 - 700 })).collect();
        let last_ms = 39 * 800 - 700;
        check(&slow, last_ms + 1_500, true, Decision::Follow);
        check(&slow, last_ms + 9_000, true, Decision::Claim);
    }
}
