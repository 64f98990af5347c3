//! Strangers that durable calls are made to: each with its own state, and its own idea of what a key is for.
//!
//! What a receiver has committed outlives its restarts; what it was at work on does not. An [`Kind::Inbox`] behaves as a
//! service does that keeps an inbox in its own database: one run for each key, asking decides, and what is to be undone
//! before it was done never runs.

use std::collections::BTreeMap;

use machine::Phase;

use crate::runs::UNDOES;

/// What a receiver promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// One run for each key; a probe and a compensation of an unknown key bar it.
    Inbox,
    /// One run for each key; a compensation bars an unknown key, a probe only says that it is unknown.
    Keyed,
    /// A run for each request.
    Plain,
}

impl Kind {
    /// Whether it runs each key once.
    pub(crate) const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Plain)
    }
}

/// A request as it reaches a receiver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) receiver: usize,
    /// The idempotency key it carries; empty if the sender errs.
    pub(crate) key: String,
    /// The operation it is for, which only the checkers know.
    pub(crate) operation: String,
    pub(crate) phase: Phase,
    /// Which one this is, of all requests of the world.
    pub(crate) id: u64,
    /// Sent again by something between the two, which heard no answer to the first.
    pub(crate) is_copy: bool,
}

/// What a receiver says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Said {
    /// It is done, or undone, as was asked.
    Done,
    /// It was not done and will not be.
    Refused,
    /// Its key is barred: it never was done, and never will be.
    Barred,
    /// Nothing is known of the key; that says nothing about what is still to come.
    Unknown,
    /// Another request with the key is being worked on: 425.
    StillAtIt,
    /// Turned away before anything was done, and declared to mean that: 503.
    Shed,
    /// There is nobody: the connection was refused.
    Down,
}

/// An effect that a receiver made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Executed {
    pub(crate) time_us: u64,
    /// Which request did it.
    pub(crate) request: u64,
    pub(crate) is_copy: bool,
}

/// What became of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Done,
    Refused,
    Barred,
    /// Done, and undone since.
    Undone,
}

/// One receiver.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) kind: Kind,
    /// Decides with the key what it refuses.
    seed: u64,
    places: BTreeMap<String, Place>,
    /// Keys it is at work on. A restart forgets them.
    at_work: BTreeMap<String, u64>,
    /// Of each operation: its runs.
    pub(crate) executed: BTreeMap<String, Vec<Executed>>,
    /// Operations whose effect stands.
    pub(crate) standing: BTreeMap<String, u64>,
    pub(crate) is_down: bool,
    /// Which life this is: what was at work in an earlier one is gone.
    pub(crate) life: u64,
    /// A key arrived that had been barred.
    pub(crate) turned_away_barred: bool,
}

/// What is to be done with a request that came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entered {
    /// Answered at once.
    Said(Said),
    /// It is new: to be executed, now or after a while.
    Execute,
}

impl Receiver {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        Self {
            kind,
            seed,
            places: BTreeMap::new(),
            at_work: BTreeMap::new(),
            executed: BTreeMap::new(),
            standing: BTreeMap::new(),
            is_down: false,
            life: 0,
            turned_away_barred: false,
        }
    }

    /// Loses what is not durable: what it was at work on.
    pub(crate) fn restart(&mut self) {
        self.life += 1;
        self.at_work.clear();
    }

    /// A request came in.
    pub(crate) fn enter(&mut self, request: &Request) -> Entered {
        if self.kind.is_idempotent() && self.at_work.contains_key(&request.key) {
            return Entered::Said(Said::StillAtIt);
        }
        match request.phase {
            Phase::Call | Phase::Resend => self.enter_call(request),
            Phase::Probe => Entered::Said(self.probe(request)),
            Phase::Compensate => Entered::Said(self.compensate(request)),
        }
    }

    fn enter_call(&mut self, request: &Request) -> Entered {
        let place = self.places.get(&request.key).filter(|_| self.kind.is_idempotent() && !request.key.is_empty());
        match place {
            Some(Place::Done | Place::Undone) => Entered::Said(Said::Done),
            Some(Place::Refused) => Entered::Said(Said::Refused),
            Some(Place::Barred) => {
                self.turned_away_barred = true;
                Entered::Said(Said::Barred)
            }
            None => {
                self.at_work.insert(request.key.clone(), request.id);
                Entered::Execute
            }
        }
    }

    /// Ends the work on a request, in one transaction: the effect and the answer under the key.
    pub(crate) fn execute(&mut self, request: &Request, time_us: u64) -> Said {
        self.at_work.remove(&request.key);
        if self.draws(&request.key, 1, 12) {
            self.places.insert(request.key.clone(), Place::Refused);
            return Said::Refused;
        }
        if let Some(undone) = request.operation.strip_suffix(UNDOES) {
            self.undo(undone);
        }
        let run = Executed { time_us, request: request.id, is_copy: request.is_copy };
        self.executed.entry(request.operation.clone()).or_default().push(run);
        *self.standing.entry(request.operation.clone()).or_default() += 1;
        self.places.insert(request.key.clone(), Place::Done);
        Said::Done
    }

    /// What a saga undoes with a call of its own: the step's effect is taken back, or its key barred.
    fn undo(&mut self, key: &str) {
        if !self.kind.is_idempotent() {
            return;
        }
        self.standing.remove(key);
        let was_done = matches!(self.places.get(key), Some(Place::Done | Place::Undone));
        self.places.insert(key.to_owned(), if was_done { Place::Undone } else { Place::Barred });
    }

    fn probe(&mut self, request: &Request) -> Said {
        match self.places.get(&request.key) {
            Some(Place::Done) => Said::Done,
            Some(Place::Refused | Place::Undone) => Said::Refused,
            Some(Place::Barred) => Said::Barred,
            None if self.kind == Kind::Inbox => {
                self.places.insert(request.key.clone(), Place::Barred);
                Said::Barred
            }
            None => Said::Unknown,
        }
    }

    fn compensate(&mut self, request: &Request) -> Said {
        match self.places.get(&request.key) {
            Some(Place::Done) if self.draws(&request.key, 2, 8) => Said::Refused,
            Some(Place::Done) => {
                self.standing.remove(&request.operation);
                self.places.insert(request.key.clone(), Place::Undone);
                Said::Done
            }
            Some(Place::Refused | Place::Barred | Place::Undone) => Said::Done,
            None if self.kind.is_idempotent() => {
                self.places.insert(request.key.clone(), Place::Barred);
                Said::Done
            }
            // Nobody can undo what is not known, and it may still come.
            None => Said::Refused,
        }
    }

    /// One key in `of` is so, always the same ones.
    fn draws(&self, key: &str, what: u64, of: u64) -> bool {
        let start = 0xCBF2_9CE4_8422_2325 ^ self.seed ^ what;
        let hash = key.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        (hash >> 32).is_multiple_of(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(phase: Phase, key: &str) -> Request {
        let (key, operation) = (key.to_owned(), key.to_owned());
        Request { receiver: 0, key, operation, phase, id: 1, is_copy: false }
    }

    /// A receiver that never refuses `k`.
    fn willing(kind: Kind) -> Receiver {
        let found =
            (0..100).map(|seed| Receiver::new(kind, seed)).find(|r| !r.draws("k", 1, 12) && !r.draws("k", 2, 8));
        found.expect("most seeds do")
    }

    #[track_caller]
    fn check(kind: Kind, asked: &[Phase], said: &[Said], runs: usize, standing: u64) {
        let mut receiver = willing(kind);
        for (phase, expected) in asked.iter().zip(said) {
            let request = request(*phase, "k");
            let found = match receiver.enter(&request) {
                Entered::Said(said) => said,
                Entered::Execute => receiver.execute(&request, 7),
            };
            assert_eq!(found, *expected, "{kind:?} {asked:?}");
        }
        assert_eq!(receiver.executed.get("k").map_or(0, Vec::len), runs, "{kind:?} {asked:?}");
        assert_eq!(receiver.standing.get("k").copied().unwrap_or(0), standing, "{kind:?} {asked:?}");
    }

    #[test]
    fn each_kind_keeps_its_promise() {
        use Kind::{Inbox, Keyed, Plain};
        use Phase::{Call, Compensate, Probe, Resend};
        use Said::{Barred, Done, Refused, Unknown};
        for kind in [Inbox, Keyed] {
            check(kind, &[Call, Resend, Probe], &[Done, Done, Done], 1, 1);
            check(kind, &[Call, Compensate, Resend, Compensate], &[Done, Done, Done, Done], 1, 0);
            check(kind, &[Compensate, Call, Probe], &[Done, Barred, Barred], 0, 0);
        }
        check(Inbox, &[Probe, Call], &[Barred, Barred], 0, 0);
        check(Keyed, &[Probe, Call], &[Unknown, Done], 1, 1);
        check(Plain, &[Call, Call], &[Done, Done], 2, 2);
        check(Plain, &[Probe, Compensate, Call, Compensate], &[Unknown, Refused, Done, Done], 1, 0);
    }

    #[test]
    fn rivals_wait_and_a_restart_forgets_what_was_not_committed() {
        let mut receiver = willing(Kind::Inbox);
        assert_eq!(receiver.enter(&request(Phase::Call, "k")), Entered::Execute);
        assert_eq!(receiver.enter(&request(Phase::Probe, "k")), Entered::Said(Said::StillAtIt));
        receiver.restart();
        assert_eq!(receiver.enter(&request(Phase::Probe, "k")), Entered::Said(Said::Barred));
    }
}
