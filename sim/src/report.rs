//! What a run says of itself.

use std::fmt;

use crate::faults::{Fault, FaultCounts};

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
}

impl Sometimes {
    fn all(&self) -> [(&'static str, bool); 11] {
        [
            ("replayed after loss", self.replayed_after_loss),
            ("joined", self.joined),
            ("barred", self.barred),
            ("settled as committed", self.settled_as_committed),
            ("hold expired", self.hold_expired),
            ("restarted from a checkpoint", self.restarted_from_checkpoint),
            ("crashed in an append", self.crashed_in_append),
            ("turned away for want of room", self.turned_away_full),
            ("left uncertain", self.left_uncertain),
            ("atomic batch refused", self.batch_refused),
            ("read the past", self.read_the_past),
        ]
    }

    fn merge(&mut self, other: &Self) {
        self.replayed_after_loss |= other.replayed_after_loss;
        self.joined |= other.joined;
        self.barred |= other.barred;
        self.settled_as_committed |= other.settled_as_committed;
        self.hold_expired |= other.hold_expired;
        self.restarted_from_checkpoint |= other.restarted_from_checkpoint;
        self.crashed_in_append |= other.crashed_in_append;
        self.turned_away_full |= other.turned_away_full;
        self.left_uncertain |= other.left_uncertain;
        self.batch_refused |= other.batch_refused;
        self.read_the_past |= other.read_the_past;
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
        self.total.faults.add(&outcome.faults);
        self.total.sometimes.merge(&outcome.sometimes);
        if let Some(violation) = &outcome.violation {
            self.violations.push((outcome.seed, violation.clone()));
        }
    }

    /// Situations that no seed reached.
    pub fn never(&self) -> Vec<&'static str> {
        self.total.sometimes.all().into_iter().filter(|(_, hit)| !hit).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = &self.total;
        writeln!(f, "seeds            {}", self.seeds)?;
        writeln!(f, "operations       {} and {} reads", total.operations, total.reads)?;
        writeln!(f, "log entries      {}", total.entries)?;
        writeln!(f, "restarts         {}", total.restarts)?;
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
