//! What a run says of itself.

use std::fmt;

use crate::calls::CallCounts;
use crate::events::EventCounts;
use crate::faults::{Fault, FaultCounts};
use crate::leases::LeaseCounts;
use crate::runs::RunCounts;

/// What one seed came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Operations that clients brought to a definite end.
    pub operations: u64,
    /// Reads answered.
    pub reads: u64,
    /// Entries in the log.
    pub entries: u64,
    /// Restarts of the server.
    pub restarts: u64,
    /// Simulated time, in microseconds.
    pub simulated_us: u64,
    /// Durable calls, by how they came out.
    pub calls: CallCounts,
    /// Runs of sagas, by how they came out.
    pub runs: RunCounts,
    /// Events, and what they did.
    pub events: EventCounts,
    /// Leases, and what became of them.
    pub leases: LeaseCounts,
    /// Faults that acted.
    pub faults: FaultCounts,
    /// Situations that at least one run must reach.
    pub sometimes: Sometimes,
    /// A digest of everything that happened, in order.
    pub trace_digest: u64,
    /// The first thing that was wrong.
    pub violation: Option<String>,
    /// The trace, if it was asked for.
    pub lines: Vec<String>,
}

/// Situations worth reaching: a simulation that never sees them tests less than it seems to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sometimes {
    /// An operation was found committed by a retry after its answer was lost.
    pub replayed_after_loss: bool,
    /// A request joined one in flight.
    pub joined: bool,
    /// A settle barred a key.
    pub barred: bool,
    /// A settle found an operation committed.
    pub settled_as_committed: bool,
    /// A hold expired by itself.
    pub hold_expired: bool,
    /// A restart began from a checkpoint.
    pub restarted_from_checkpoint: bool,
    /// A crash left a torn or unacknowledged entry that recovery kept or cut.
    pub crashed_in_append: bool,
    /// A write was turned away for want of room.
    pub turned_away_full: bool,
    /// A write was left uncertain.
    pub left_uncertain: bool,
    /// An atomic batch was refused whole.
    pub batch_refused: bool,
    /// A read of the past was answered.
    pub read_the_past: bool,
    /// A call was accepted and its end was not waited for.
    pub left_pending: bool,
    /// A receiver was asked to do something.
    pub called: bool,
    /// It was asked again, under the same key.
    pub resent: bool,
    /// It was asked what became of it.
    pub probed: bool,
    /// It was asked to undo it.
    pub compensating: bool,
    /// A try that certainly did nothing was made again within its attempt.
    pub retried: bool,
    /// A later attempt had no turn.
    pub unasked: bool,
    /// A leader was lost while it tried something.
    pub claimed_while_trying: bool,
    /// An attempt was given up that nobody had reported.
    pub attempt_unreported: bool,
    /// A request came late to a receiver that had barred its key.
    pub late_after_bar: bool,
    /// A leader was lost while a step was computed.
    pub claimed_while_computing: bool,
    /// An event came again to a receiver that had it.
    pub event_known: bool,
}

impl Sometimes {
    fn all(&mut self) -> [(&'static str, &mut bool); 23] {
        [
            ("replayed after loss", &mut self.replayed_after_loss),
            ("joined", &mut self.joined),
            ("barred", &mut self.barred),
            ("settled as committed", &mut self.settled_as_committed),
            ("hold expired", &mut self.hold_expired),
            ("restarted from a checkpoint", &mut self.restarted_from_checkpoint),
            ("crashed in an append", &mut self.crashed_in_append),
            ("turned away for want of room", &mut self.turned_away_full),
            ("left uncertain", &mut self.left_uncertain),
            ("atomic batch refused", &mut self.batch_refused),
            ("read the past", &mut self.read_the_past),
            ("left pending", &mut self.left_pending),
            ("called", &mut self.called),
            ("resent", &mut self.resent),
            ("probed", &mut self.probed),
            ("compensating", &mut self.compensating),
            ("retried", &mut self.retried),
            ("unasked", &mut self.unasked),
            ("claimed while trying", &mut self.claimed_while_trying),
            ("attempt unreported", &mut self.attempt_unreported),
            ("late after a bar", &mut self.late_after_bar),
            ("claimed while computing", &mut self.claimed_while_computing),
            ("an event came again", &mut self.event_known),
        ]
    }

    fn merge(&mut self, other: &Self) {
        let mut other = *other;
        for ((_, hit), (_, other)) in self.all().into_iter().zip(other.all()) {
            *hit |= *other;
        }
    }
}

/// Many seeds together.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Seeds that ran.
    pub seeds: u64,
    /// Their sums.
    pub total: Outcome,
    /// Seeds that found something, with what they found.
    pub violations: Vec<(u64, String)>,
}

impl Summary {
    /// Adds a seed's outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.total.operations += outcome.operations;
        self.total.reads += outcome.reads;
        self.total.entries += outcome.entries;
        self.total.restarts += outcome.restarts;
        self.total.simulated_us += outcome.simulated_us;
        self.total.calls.add(&outcome.calls);
        self.total.runs.add(&outcome.runs);
        self.total.events.add(&outcome.events);
        self.total.leases.add(&outcome.leases);
        self.total.faults.add(&outcome.faults);
        self.total.sometimes.merge(&outcome.sometimes);
        if let Some(violation) = &outcome.violation {
            self.violations.push((outcome.seed, violation.clone()));
        }
    }

    /// Situations that no seed reached.
    pub fn never(&self) -> Vec<&'static str> {
        let mut sometimes = self.total.sometimes;
        let missed = sometimes.all().into_iter().filter(|(_, hit)| !**hit).map(|(name, _)| name);
        let calls = &self.total.calls;
        let ends = CallCounts::ENDS.iter().zip(calls.ends).filter(|(_, n)| *n == 0).map(|(end, _)| end.as_str());
        let (runs, events, leases) = (&self.total.runs, &self.total.events, &self.total.leases);
        let counted = [
            ("left to a person", calls.escalated),
            ("a run done", runs.ends[0]),
            ("a run compensated", runs.ends[1]),
            ("a run escalated", runs.ends[2]),
            ("a run restarted", runs.restarts),
            ("a step undone", runs.undone),
            ("an event taken", events.effects),
            ("an event given up", events.dead),
            ("a lease granted to who waited", leases.waited),
            ("a lease not granted in time", leases.given_up),
            ("a lease expired", leases.expired),
            ("a work fenced off", leases.fenced),
        ];
        let uncounted = counted.into_iter().filter(|(_, n)| *n == 0).map(|(name, _)| name);
        missed.chain(ends).chain(uncounted).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = &self.total;
        writeln!(f, "seeds            {}", self.seeds)?;
        writeln!(f, "operations       {} and {} reads", total.operations, total.reads)?;
        writeln!(f, "log entries      {}", total.entries)?;
        writeln!(f, "restarts         {}", total.restarts)?;
        let calls = &total.calls;
        writeln!(f, "calls            {}: {} requests, {} retries", calls.accepted, calls.requests, calls.retries)?;
        for (end, n) in CallCounts::ENDS.iter().zip(calls.ends) {
            writeln!(f, "  {:<22} {n}", end.as_str())?;
        }
        writeln!(f, "  {:<22} {}", "left to a person", calls.escalated)?;
        writeln!(f, "  {:<22} {}", "assumed not done, done", calls.done_all_the_same)?;
        let (runs, events) = (&total.runs, &total.events);
        writeln!(f, "runs             {}: {} steps done, {} undone", runs.started, runs.done, runs.undone)?;
        for (end, n) in ["done", "compensated", "escalated"].into_iter().zip(runs.ends) {
            writeln!(f, "  {end:<22} {n}")?;
        }
        writeln!(f, "  {:<22} {}", "restarted", runs.restarts)?;
        writeln!(f, "events           {}: {} taken, {} given up", events.published, events.effects, events.dead)?;
        let leases = &total.leases;
        writeln!(f, "leases           {} granted, {} of them after a wait", leases.granted, leases.waited)?;
        writeln!(f, "  {:<22} {}", "not granted in time", leases.given_up)?;
        writeln!(f, "  {:<22} {}", "expired", leases.expired)?;
        writeln!(f, "  {:<22} {}", "works fenced off", leases.fenced)?;
        writeln!(f, "simulated time   {:.0} s", total.simulated_us as f64 / 1e6)?;
        writeln!(f, "faults")?;
        for fault in Fault::ALL {
            writeln!(f, "  {:<22} {}", fault.name(), total.faults.of(fault))?;
        }
        let never = self.never();
        if !never.is_empty() {
            writeln!(f, "never reached    {}", never.join(", "))?;
        }
        for (seed, violation) in &self.violations {
            writeln!(f, "VIOLATION in seed {seed}: {violation}")?;
            writeln!(f, "  replay it: cargo xtask sim --seed {seed} --trace")?;
        }
        write!(f, "violations       {}", self.violations.len())
    }
}
