//! Who waits for the end of what was accepted: calls that are tried outside, runs, places in line for a lease.
//!
//! If this stops halfway, what was accepted is in the log and comes to its end without anybody waiting; whoever asks again
//! under the same key waits here again, or finds the end.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Answer, Decided, Reply};
use crate::cell::{Asks, Cell, Joined, Waiter};
use crate::clock::Now;
use crate::fault::CellFault;

/// Everybody who waits for the end of a pending operation, by the record under which it is pending.
#[derive(Debug)]
pub(crate) struct Pending<W> {
    /// In order, so that whoever is given up is answered in the same order every time.
    waiting: BTreeMap<u64, Vec<Waits<W>>>,
    /// When somebody's patience ends, on the monotonic clock, and for what they wait.
    deadlines: BTreeSet<(u64, u64)>,
    /// How many wait.
    len: usize,
}

#[derive(Debug)]
struct Waits<W> {
    waiter: Waiter<W>,
    joined: bool,
}

impl<W> Default for Pending<W> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), deadlines: BTreeSet::new(), len: 0 }
    }
}

impl<W, R> Cell<W, R> {
    /// `began` is pending: whoever asked for it waits on, unless its acceptance was all they waited for, or too many wait: it is
    /// accepted, and who does not wait can ask.
    pub(crate) fn wait_for_end(&mut self, began: u64, waiter: Option<Waiter<W>>, joined: Vec<Joined<W>>) {
        let first = waiter.map(|waiter| Waits { waiter, joined: false });
        let others = joined.into_iter().map(|join| Waits { waiter: join.waiter, joined: join.asks == Asks::Same });
        let seen = self.machine.position();
        for waits in first.into_iter().chain(others) {
            if waits.waiter.waits_for_end && self.pending.len < self.options.pending_waiters_max {
                self.pending.len += 1;
                self.pending.deadlines.insert((waits.waiter.deadline_us, began));
                self.pending.waiting.entry(began).or_default().push(waits);
            } else {
                let run = self.run_pending(began);
                self.replies.push((waits.waiter.who, Reply::Pending { seen, run }));
            }
        }
    }

    /// Answers those who waited for what has now come to its end.
    pub(crate) fn answer_ended(&mut self, began: u64, ended: u64) -> Result<(), CellFault> {
        self.waiting.wake_pending(began);
        let Some(waiting) = self.pending.waiting.remove(&began) else { return Ok(()) };
        self.pending.len -= waiting.len();
        let mut answer = Answer::default();
        let position = self.collect(ended, false, &mut answer)?;
        let seen = self.machine.position();
        for Waits { waiter, joined } in waiting {
            self.pending.deadlines.remove(&(waiter.deadline_us, began));
            let decided = Decided { position, seen, replayed: false, joined, answer: answer.clone() };
            self.replies.push((waiter.who, Reply::Decided(decided)));
        }
        Ok(())
    }

    /// Answers those whose patience is over: what they asked for is accepted, and goes on. See [`Cell::take_replies`].
    pub fn wake_pending(&mut self, now: Now) {
        let seen = self.machine.position();
        while let Some((deadline_us, began)) = self.pending.deadlines.first().copied() {
            if deadline_us > now.mono_us {
                return;
            }
            self.pending.deadlines.pop_first();
            let run = self.run_pending(began);
            let Some(waiting) = self.pending.waiting.get_mut(&began) else { continue };
            let before = waiting.len();
            let late = waiting.extract_if(.., |waits| waits.waiter.deadline_us <= now.mono_us);
            self.replies.extend(late.map(|waits| (waits.waiter.who, Reply::Pending { seen, run })));
            self.pending.len -= before - waiting.len();
            if waiting.is_empty() {
                self.pending.waiting.remove(&began);
            }
        }
    }

    /// In how many microseconds somebody's patience ends who waits for what is pending.
    pub fn pending_due_in_us(&self, now: Now) -> Option<u64> {
        self.pending.deadlines.first().map(|(deadline_us, _)| deadline_us.saturating_sub(now.mono_us))
    }

    /// The cell ends: what is accepted comes to its end in a later life.
    pub(crate) fn give_up_pending(&mut self) {
        let seen = self.machine.position();
        self.pending.deadlines.clear();
        self.pending.len = 0;
        for (began, waiting) in std::mem::take(&mut self.pending.waiting) {
            let run = self.run_pending(began);
            self.replies.extend(waiting.into_iter().map(|waits| (waits.waiter.who, Reply::Pending { seen, run })));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use archive::DiskArchive;
    use disk::SimDisk;
    use machine::{
        Ask, CallOrder, Control, Doubt, Finding, Machine, Op, Plan, PlannedStep, SagaOp, StepFound, StepKind,
        StepReport, Tried, WayOut, encode_head,
    };
    use words::{Position, Stamp};

    use super::*;
    use crate::api::Write;
    use crate::options::Options;
    use crate::work::Work;

    struct Small {
        cell: Cell<u64, ()>,
        now_us: u64,
    }

    impl Small {
        fn new() -> Self {
            let options = Options::default();
            let machine = Machine::new(&options.cell, 1);
            let archive = DiskArchive::open(Arc::new(SimDisk::new()), 0, archive::Options::default()).unwrap();
            let mut small = Self { cell: Cell::new(options, machine, archive, now(0)), now_us: 0 };
            let claim = small.cell.claim(now(0));
            small.append(claim);
            small
        }

        fn append(&mut self, entry: Vec<u8>) {
            let position = Position { epoch: self.cell.epoch(), index: self.cell.tail().index + 1 };
            self.cell.appended(position, entry);
            while self.cell.apply_next().unwrap() {}
        }

        /// Lets time pass, and does what is due then.
        fn pass(&mut self, us: u64) {
            self.now_us += us;
            while let Some(entry) = self.cell.take_batch(now(self.now_us)) {
                self.append(entry);
            }
            self.cell.wake_pending(now(self.now_us));
        }

        fn write(&mut self, who: u64, key: &str, op: &Op<'_>) {
            let mut command = Vec::new();
            encode_head(&mut command, Stamp::ZERO, "", key);
            op.encode(&mut command);
            let write = Write { command, deadline_us: self.now_us + 3_600_000_000, waits_for_end: true };
            self.cell.submit(write, who, now(self.now_us)).unwrap();
            self.pass(1);
        }

        /// Brings back what came of the newest attempt at a call.
        fn tried(&mut self, finding: Finding) {
            let work: Vec<Work> = self.cell.take_work().collect();
            let Some(Work::Try { call, attempt, .. }) = work.last() else { panic!("no call is tried: {work:?}") };
            let tried = Tried {
                headers: "",
                call: *call,
                attempt: *attempt,
                finding,
                evidence: "seen",
                tries: 1,
                status: 0,
                content_type: "",
                body: b"",
                is_cut: false,
                retry_after_ms: 0,
            };
            self.write(0, "", &Op::Tried(tried));
        }

        /// Who was answered with an end, and who was not.
        fn answered(&mut self) -> Vec<(u64, bool)> {
            let replies = self.cell.take_replies().filter(|(who, _)| *who > 0);
            replies.map(|(who, reply)| (who, matches!(reply, Reply::Decided(_)))).collect()
        }
    }

    fn now(mono_us: u64) -> Now {
        Now { mono_us, wall_us: 1_700_000_000_000_000 + mono_us }
    }

    fn call() -> Op<'static> {
        Op::Call(CallOrder {
            keep: "",
            method: "POST",
            url: "http://127.0.0.1:1/",
            headers: "",
            body: b"",
            deadline_ms: 1_000,
            tries_max: 1,
            persistent: false,
            doubt: Doubt::Escalate,
            probe: "",
            compensation: "",
            uncertain_ms_max: 60_000,
            way_out: WayOut::Escalate,
        })
    }

    /// Whoever asks for a run after it was restarted waits for its end, in whichever way they come to wait.
    #[test]
    fn whoever_waits_for_a_restarted_run_is_answered() {
        let step = PlannedStep {
            id: "a".into(),
            kind: StepKind::Call,
            after: Vec::new(),
            timeout_ms: 1_000,
            attempts_max: 1,
            pivot: false,
            compensation: None,
        };
        let mut plan = Vec::new();
        Plan { deadline_ms: 3_600_000, has_output: false, steps: vec![step], reads: None }.encode(&mut plan);
        let mut small = Small::new();
        small.write(1, "d", &Op::Saga(SagaOp::Define { name: "pay", plan: &plan, document: "{}" }));
        let start = Op::Saga(SagaOp::Start { saga: "pay", input: "{}", delay_ms: 0, deadline_ms: None });
        small.write(2, "r", &start);
        let evaluate = small.cell.take_work().next();
        let Some(Work::Evaluate(asked)) = evaluate else { panic!("not asked: {evaluate:?}") };
        let (run, step, attempt) = (asked.run, asked.step, asked.attempt);
        let mut bytes = Vec::new();
        call().encode(&mut bytes);
        let report = StepReport { run, step, attempt, ask: Ask::Act, found: StepFound::Do(&bytes) };
        small.write(0, "", &Op::Saga(SagaOp::Step(report)));
        small.tried(Finding::Uncertain);
        assert_eq!(small.answered(), [(1, true), (2, true)], "it is escalated");
        small.write(3, "s", &Op::Saga(SagaOp::Control { run, control: Control::Restart { step: 0 } }));
        small.write(4, "r", &start);
        small.write(5, "r", &Op::Settle);
        assert_eq!(small.answered(), [(3, true)], "it goes on");
        small.pass(1);
        small.tried(Finding::Committed);
        assert_eq!(small.answered(), [(4, true), (5, true)]);
    }
}
