//! From a request to an entry: admission, join, queue, batch.
//!
//! If this stops halfway, nothing has happened: what is queued lives in memory only, and the callers' keys make a second
//! try safe. Everything that can be refused without the log is refused here, before anything is appended.

use machine::{BatchMode, Command, Control, Op, Record, SagaOp, TopicOp, set_times};
use words::{Fingerprint, Position};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::api::{Answer, Decided, Part, Rejected, Reply, Write};
use crate::cell::{Asks, Batch, Cell, Inflight, Joined, Queued, Waiter};
use crate::clock::Now;
use crate::fault::CellFault;

/// When to come back to a cell that is overloaded.
const RETRY_AFTER_MS: u64 = 100;

/// The deadline of the cell's own commands, which nobody waits for: none.
const NO_DEADLINE_US: u64 = u64::MAX;

impl<W, R> Cell<W, R> {
    /// Takes a write in. The answer comes through [`Cell::take_replies`], at once or later.
    ///
    /// # Errors
    /// [`CellFault`] if the archive cannot be read: the cell must stop.
    pub fn submit(&mut self, write: Write, who: W, now: Now) -> Result<(), CellFault> {
        let waiter = Waiter { who, deadline_us: write.deadline_us, waits_for_end: write.waits_for_end };
        let Ok(command) = Command::decode(&write.command) else {
            self.reject(waiter, Rejected::Malformed);
            return Ok(());
        };
        let is_settle = matches!(command.op, Op::Settle);
        let is_stream = matches!(command.op, Op::Batch { mode: BatchMode::Stream, .. });
        let is_unkeyed = is_stream
            || matches!(command.op, Op::Tried(_) | Op::Topic(TopicOp::Delivered(_)) | Op::Saga(SagaOp::Step(_)));
        let is_call = matches!(command.op, Op::Call(_));
        let runs_more = self.runs_opened(&command.op);
        let mut waiter = waiter;
        let mut keyed = None;
        if !is_unkeyed {
            let name = operation_name(self.hash_seed, command.principal, command.key);
            let fingerprint = command.fingerprint();
            let Some(still) = self.try_join(name, fingerprint, is_settle, waiter) else { return Ok(()) };
            let Some(still) = self.try_replay(name, &command, fingerprint, still, now)? else { return Ok(()) };
            waiter = still;
            keyed = Some((name, fingerprint));
        }
        let too_many_calls = is_call && self.machine.calls_len() >= self.options.open_calls_max;
        let too_many_runs = runs_more > self.options.open_runs_max.saturating_sub(self.machine.runs_len());
        let why_not = self.why_not_admit(write.command.len(), write.deadline_us, now);
        let overloaded = Rejected::Overloaded { retry_after_ms: RETRY_AFTER_MS };
        if let Some(why) = why_not.or((too_many_calls || too_many_runs).then_some(overloaded)) {
            self.reject(waiter, why);
            return Ok(());
        }
        // A rival of another kind may hold the place under that name: then nobody can join this one.
        let number = self.queue.next();
        let name = keyed.filter(|(name, _)| !self.inflight.contains_key(name)).map(|(name, fingerprint)| {
            self.inflight.insert(name, Inflight { number, fingerprint, is_settle, joined: Vec::new() });
            name
        });
        self.queue.push(Queued {
            command: write.command,
            number,
            name,
            received_us: now.mono_us,
            deadline_us: write.deadline_us,
            waiter: Some(waiter),
        });
        self.sweep_queue();
        Ok(())
    }

    /// How many runs a command opens at most.
    fn runs_opened(&self, op: &Op<'_>) -> u64 {
        match op {
            Op::Saga(SagaOp::Start { .. } | SagaOp::Control { control: Control::Restart { .. }, .. }) => 1,
            Op::Saga(SagaOp::RestartMany { limit, .. }) => self.machine.restartable_len().min(*limit),
            _ => 0,
        }
    }

    fn sweep_queue(&mut self) {
        if self.queue.is_littered() {
            let appending = self.appending.as_ref().and_then(|batch| batch.operations.first());
            let oldest = appending.map_or(self.queue.first(), |operation| operation.number);
            self.queue.sweep(oldest);
        }
    }

    /// Joins an operation in flight under the same key. Gives the waiter back if there is none to join.
    fn try_join(
        &mut self,
        name: u128,
        fingerprint: Fingerprint,
        is_settle: bool,
        waiter: Waiter<W>,
    ) -> Option<Waiter<W>> {
        let Some(inflight) = self.inflight.get_mut(&name) else { return Some(waiter) };
        // What comes while a settle is in flight will find the key decided or barred: it goes its own way, after it.
        if inflight.is_settle && !is_settle {
            return Some(waiter);
        }
        let asks = match inflight.fingerprint == fingerprint {
            _ if is_settle => Asks::Settle,
            true => Asks::Same,
            false => Asks::Other,
        };
        if inflight.joined.len() >= self.options.joined_max {
            self.turn_away_joining(waiter, asks);
            return None;
        }
        self.queue.expect_by(waiter.deadline_us, inflight.number);
        inflight.joined.push(Joined { waiter, asks });
        self.counters.joins += u64::from(asks != Asks::Other);
        self.sweep_queue();
        None
    }

    /// Too many wait for one key already. What is in flight may happen, whoever waits for it: only of another request under its
    /// key is it certain that it will not.
    fn turn_away_joining(&mut self, waiter: Waiter<W>, asks: Asks) {
        match asks {
            Asks::Other => self.reject(waiter, Rejected::Overloaded { retry_after_ms: RETRY_AFTER_MS }),
            Asks::Same | Asks::Settle => {
                self.counters.uncertain += 1;
                self.replies.push((waiter.who, Reply::Uncertain));
            }
        }
    }

    /// Answers from the record if the key was decided. Gives the waiter back if it was not.
    fn try_replay(
        &mut self,
        name: u128,
        command: &Command<'_>,
        fingerprint: Fingerprint,
        waiter: Waiter<W>,
        now: Now,
    ) -> Result<Option<Waiter<W>>, CellFault> {
        let at = self.clock.peek(now);
        let found = self.machine.find_operation(command.principal, command.key, at, &self.archive)?;
        let Some(ordinal) = found else { return Ok(Some(waiter)) };
        let is_settle = matches!(command.op, Op::Settle);
        let (answer, position) = self.replay(ordinal, (!is_settle).then_some(fingerprint), command.key)?;
        if let Some(began) = answer.pending_since(ordinal)? {
            self.counters.joins += 1;
            self.note(name).joins += 1;
            let asks = if is_settle { Asks::Settle } else { Asks::Same };
            self.wait_for_end(began, None, vec![Joined { waiter, asks }]);
            return Ok(None);
        }
        // A refusal to use the key for something else is not the first answer.
        let replayed = matches!(answer.first(), Some(Part::Record { .. }));
        if replayed {
            self.counters.replays += 1;
            self.note(name).replays += 1;
        }
        let seen = self.machine.position();
        let decided = Decided { position, seen, replayed, joined: false, answer };
        self.replies.push((waiter.who, Reply::Decided(decided)));
        Ok(None)
    }

    /// The answer to a request whose key was decided under `ordinal`. A request that settles has no fingerprint: it takes
    /// whatever was decided.
    pub(crate) fn replay(
        &self,
        ordinal: u64,
        fingerprint: Option<Fingerprint>,
        key: &str,
    ) -> Result<(Answer, Position), CellFault> {
        let mut answer = Answer::default();
        let position = self.collect(ordinal, true, &mut answer)?;
        let Some(fingerprint) = fingerprint else { return Ok((answer, position)) };
        let code = match answer.first().map(|part| part.record()).transpose()?.flatten() {
            Some(Record { body: machine::Body::Barred, .. }) => machine::Code::OperationBarred,
            Some(record) if record.fingerprint != fingerprint => machine::Code::KeyReused,
            _ => return Ok((answer, position)),
        };
        let mut refused = Answer::default();
        refused.push_refusal(machine::Refusal { code, about: key, had: 0, wanted: 0 });
        Ok((refused, self.machine.position()))
    }

    fn why_not_admit(&self, bytes: usize, deadline_us: u64, now: Now) -> Option<Rejected> {
        let queue_is_full = self.queue.len() >= self.options.queue_commands_max
            || self.queue.bytes() + bytes > self.options.queue_bytes_max;
        if self.stopping {
            Some(Rejected::Stopping)
        } else if self.following || self.resigning {
            Some(Rejected::NotLeader)
        } else if deadline_us <= now.mono_us {
            Some(Rejected::DeadlineExceeded)
        } else if self.storage_full {
            Some(Rejected::StorageFull)
        } else if queue_is_full && !self.queue.is_empty() || self.is_behind() {
            Some(Rejected::Overloaded { retry_after_ms: RETRY_AFTER_MS })
        } else {
            None
        }
    }

    fn reject(&mut self, waiter: Waiter<W>, why: Rejected) {
        self.counters.rejected += 1;
        self.replies.push((waiter.who, Reply::Rejected(why)));
    }

    /// Turns away everything that is queued: the log has no room.
    pub fn reject_queue(&mut self, why: Rejected) {
        while let Some(operation) = self.queue.pop() {
            self.reject_operation(operation, why);
        }
    }

    /// Turns away an operation and all who joined it.
    pub(crate) fn reject_operation(&mut self, operation: Queued<W>, why: Rejected) {
        if let Some(waiter) = operation.waiter {
            self.reject(waiter, why);
        }
        let joined = operation.name.and_then(|name| self.land(name)).map(|inflight| inflight.joined);
        for join in joined.into_iter().flatten() {
            self.reject(join.waiter, why);
        }
    }

    /// The claim and the settings with which a leader begins: the first entry of its epoch.
    pub fn claim(&mut self, now: Now) -> Vec<u8> {
        assert!(self.is_idle(), "a claim comes before everything else of its epoch");
        let entry = self.claim_entry(now, false);
        self.appending = Some(Batch { entry: Vec::new(), operations: Vec::new(), began_us: now.mono_us });
        entry
    }

    /// The entry of a claim, of a leader that is new or goes on.
    pub(crate) fn claim_entry(&mut self, now: Now, continues: bool) -> Vec<u8> {
        let mut ops = vec![Op::Claim { epoch: self.epoch, node: &self.options.node, continues }];
        let key_retention_ms = self.options.key_retention_ms;
        if self.machine.key_retention_ms() != key_retention_ms {
            ops.push(Op::Configure { key_retention_ms });
        }
        let mut command = Vec::new();
        for op in ops {
            command.clear();
            machine::encode_head(&mut command, words::Stamp::MAX, "", "");
            op.encode(&mut command);
            self.encoder.push(&command);
        }
        let stamp = self.clock.tick(now);
        self.encoder.finish(stamp)
    }

    /// The next entry to append after [`Cell::tail`], if there is a reason for one: commands that wait, or a timer that is
    /// due. Only one append is under way at a time.
    pub fn take_batch(&mut self, now: Now) -> Option<Vec<u8>> {
        if self.is_appending() {
            return None;
        }
        let mut operations = Vec::with_capacity(self.queue.len().min(1_024));
        let stamp = self.clock.peek(now);
        while let Some(next) = self.queue.front() {
            if !self.encoder.is_empty() && self.encoder.bytes() + next.command.len() > self.options.entry_bytes_max {
                break;
            }
            let Some(mut operation) = self.queue.pop() else { break };
            if !self.extend_deadline(&mut operation, now) {
                self.refuse_late(operation, now);
                continue;
            }
            let remaining_us = operation.deadline_us.saturating_sub(now.mono_us);
            let waited_us = u32::try_from(now.mono_us.saturating_sub(operation.received_us)).unwrap_or(u32::MAX);
            set_times(&mut operation.command, stamp.plus_micros(remaining_us), waited_us);
            self.encoder.push(&operation.command);
            operations.push(operation);
        }
        let timer_is_due = self.machine.next_timer().is_some_and(|due| due <= stamp);
        if operations.is_empty() && !(timer_is_due && self.ready.is_empty()) {
            return None;
        }
        Some(self.start_append(operations, now))
    }

    pub(crate) fn start_append(&mut self, operations: Vec<Queued<W>>, now: Now) -> Vec<u8> {
        let stamp = self.clock.tick(now);
        let entry = self.encoder.finish(stamp);
        self.appending = Some(Batch { entry: Vec::new(), operations, began_us: now.mono_us });
        entry
    }

    /// Whether anybody still waits for an operation about to be appended. Its deadline becomes the latest of those who
    /// asked for the same; who settles it does not ask for it to happen.
    fn extend_deadline(&mut self, operation: &mut Queued<W>, now: Now) -> bool {
        if operation.deadline_us == NO_DEADLINE_US || operation.deadline_us > now.mono_us {
            return true;
        }
        let joined = operation.name.and_then(|name| self.inflight.get(&name));
        let latest = joined.into_iter().flat_map(|inflight| &inflight.joined);
        let latest =
            latest.filter(|join| join.asks == Asks::Same).map(|join| join.waiter.deadline_us).max().unwrap_or(0);
        operation.deadline_us = operation.deadline_us.max(latest);
        operation.deadline_us > now.mono_us
    }

    /// Turns away an operation whose deadline passed in the queue. Who settles it and still waits gets a definite answer
    /// all the same: a settle takes its place.
    fn refuse_late(&mut self, operation: Queued<W>, now: Now) {
        let inflight = operation.name.and_then(|name| self.inflight.get_mut(&name));
        let is_live = |join: &mut Joined<W>| join.asks == Asks::Settle && join.waiter.deadline_us > now.mono_us;
        let settles: Vec<_> =
            inflight.map(|inflight| inflight.joined.extract_if(.., is_live).collect()).unwrap_or_default();
        let command = (!settles.is_empty()).then(|| settle_of(&operation.command)).flatten();
        let name = operation.name;
        self.reject_operation(operation, Rejected::DeadlineExceeded);
        let (Some(command), Some(name)) = (command, name) else { return };
        let fingerprint = Fingerprint::of(&command);
        let deadline_us = settles.iter().map(|join| join.waiter.deadline_us).max().unwrap_or(0);
        let number = self.queue.next();
        for join in &settles {
            self.queue.expect_by(join.waiter.deadline_us, number);
        }
        self.inflight.insert(name, Inflight { number, fingerprint, is_settle: true, joined: settles });
        let received_us = now.mono_us;
        self.queue.push(Queued { command, number, name: Some(name), waiter: None, received_us, deadline_us });
    }

    /// Answers those whose deadline has passed, in the order of their deadlines: what is queued has certainly not happened, what
    /// is being appended is uncertain. Called while an append takes long.
    pub fn expire(&mut self, now: Now) {
        self.wake_pending(now);
        let mut given_up = Vec::new();
        while let Some(number) = self.queue.pop_due(now.mono_us) {
            self.expire_operation(number, now, &mut given_up);
        }
        self.queue.skip_empty();
    }

    /// In how many microseconds somebody's patience ends while an append is under way.
    pub fn expiry_due_in_us(&self, now: Now) -> Option<u64> {
        let due_us = self.queue.due_us().filter(|_| self.is_appending());
        due_us.map(|due_us| due_us.saturating_sub(now.mono_us))
    }

    fn expire_operation(&mut self, number: u64, now: Now, given_up: &mut Vec<Waiter<W>>) {
        if let Some(mut operation) = self.queue.take(number) {
            if !self.extend_deadline(&mut operation, now) {
                self.refuse_late(operation, now);
                return;
            }
            // Others still wait for it, so it may yet happen.
            self.give_up(&mut operation, now, given_up);
            self.queue.put_back(operation);
        } else if let Some(mut batch) = self.appending.take() {
            if let Ok(at) = batch.operations.binary_search_by_key(&number, |operation| operation.number) {
                self.give_up(&mut batch.operations[at], now, given_up);
            }
            self.appending = Some(batch);
        }
        self.counters.uncertain += given_up.len() as u64;
        self.replies.extend(given_up.drain(..).map(|waiter| (waiter.who, Reply::Uncertain)));
    }

    /// Takes out those of an operation's waiters whose deadline has passed.
    fn give_up(&mut self, operation: &mut Queued<W>, now: Now, given_up: &mut Vec<Waiter<W>>) {
        let is_late = |waiter: &Waiter<W>| waiter.deadline_us <= now.mono_us;
        given_up.extend(operation.waiter.take_if(|waiter| is_late(waiter)));
        let inflight = operation.name.and_then(|name| self.inflight.get_mut(&name));
        let late = inflight.map(|inflight| inflight.joined.extract_if(.., |join| is_late(&join.waiter)));
        given_up.extend(late.into_iter().flatten().map(|join| join.waiter));
    }

    /// The log is lost: everything between queue and decision is answered as what it is.
    pub fn lose_log(&mut self) {
        self.stopping = true;
        self.reject_queue(Rejected::Stopping);
        self.give_up_pending();
        let batches = self.appending.take().into_iter().chain(std::mem::take(&mut self.ready).into_iter().map(|r| r.1));
        for operation in batches.flat_map(|batch| batch.operations).collect::<Vec<_>>() {
            let joined = operation.name.and_then(|name| self.land(name));
            let joined = joined.into_iter().flat_map(|inflight| inflight.joined).map(|join| join.waiter);
            for waiter in operation.waiter.into_iter().chain(joined) {
                self.counters.uncertain += 1;
                self.replies.push((waiter.who, Reply::Uncertain));
            }
        }
    }

    /// The log has no room for the entry it was given: certain not to have happened.
    pub fn append_rejected(&mut self, why: Rejected) {
        for operation in self.appending.take().into_iter().flat_map(|batch| batch.operations) {
            self.reject_operation(operation, why);
        }
    }
}

/// The settle of the key that an encoded command names.
fn settle_of(command: &[u8]) -> Option<Vec<u8>> {
    let command = Command::decode(command).ok()?;
    let mut settle = Vec::new();
    machine::encode_head(&mut settle, words::Stamp::ZERO, command.principal, command.key);
    Op::Settle.encode(&mut settle);
    Some(settle)
}

/// 128 bits that stand for a principal's key while it is in flight. Seeded per data directory, so that nobody outside can
/// make two keys meet.
pub(crate) fn operation_name(seed: u64, principal: &str, key: &str) -> u128 {
    let bytes = principal.len() + 1 + key.len();
    let mut short = [0; 512];
    let mut long = Vec::new();
    let name = if bytes <= short.len() {
        &mut short[..bytes]
    } else {
        long.resize(bytes, 0);
        &mut long[..]
    };
    // Neither part can hold a zero byte, so one between them keeps them apart.
    name[..principal.len()].copy_from_slice(principal.as_bytes());
    name[principal.len() + 1..].copy_from_slice(key.as_bytes());
    xxh3_128_with_seed(name, seed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use archive::DiskArchive;
    use disk::SimDisk;
    use machine::{Machine, Order, Plan, PlannedStep, StepFound, StepReport};

    use super::*;
    use crate::options::Options;

    fn transfer(key: &str) -> Vec<u8> {
        let mut command = Vec::new();
        machine::encode_head(&mut command, words::Stamp::ZERO, "", key);
        let amount = words::Amount::new(1).unwrap();
        Op::Transfer(Order { from: "a", to: "b", amount, hold_ms: None, memo: "", metadata: "" }).encode(&mut command);
        command
    }

    #[test]
    fn whoever_joined_what_is_queued_has_an_answer_by_their_own_deadline() {
        let now = |mono_us| Now { mono_us, wall_us: 1_700_000_000_000_000 + mono_us };
        let options = Options::default();
        let machine = Machine::new(&options.cell, 1);
        let archive = DiskArchive::open(Arc::new(SimDisk::new()), 0, archive::Options::default()).unwrap();
        let mut cell: Cell<u64, ()> = Cell::new(options, machine, archive, now(0));
        cell.claim(now(0));
        for (who, deadline_us) in [(1, 100), (2, 50)] {
            cell.submit(Write { command: transfer("k"), deadline_us, waits_for_end: true }, who, now(1)).unwrap();
        }
        cell.expire(now(49));
        assert_eq!(cell.take_replies().collect::<Vec<_>>(), []);
        cell.expire(now(50));
        assert_eq!(cell.take_replies().collect::<Vec<_>>(), [(2, Reply::Uncertain)], "the other still waits");
        cell.expire(now(100));
        assert_eq!(cell.take_replies().collect::<Vec<_>>(), [(1, Reply::Rejected(Rejected::DeadlineExceeded))]);
    }

    #[test]
    fn deadlines_pass_in_their_order_wherever_the_operation_is() {
        let mut world = crate::testing::World::new(Options::default());
        let submit = |world: &mut crate::testing::World, who: u64, key: &str, deadline_us| {
            let write = Write { command: transfer(key), deadline_us, waits_for_end: true };
            world.cell.submit(write, who, world.now()).unwrap();
        };
        for (who, key, deadline_us) in [(1, "a", 300), (2, "b", 100), (3, "a", 200)] {
            submit(&mut world, who, key, deadline_us);
        }
        world.cell.take_batch(world.now()).expect("there is something to append");
        for (who, key, deadline_us) in [(4, "c", 150), (5, "d", 400), (6, "e", 150), (7, "c", 350), (8, "f", 90)] {
            submit(&mut world, who, key, deadline_us);
        }
        let (late, unknown) = (Reply::Rejected(Rejected::DeadlineExceeded), Reply::Uncertain);
        let mut expected = [
            (90, vec![(8, &late)]),
            (149, vec![(2, &unknown)]),
            // Who joined it still waits for what is asked for under `c`, and so it may yet happen.
            (250, vec![(4, &unknown), (6, &late), (3, &unknown)]),
            (350, vec![(1, &unknown), (7, &late)]),
            (1_000, vec![(5, &late)]),
        ];
        for (now_us, answers) in &mut expected {
            world.mono_us = *now_us;
            world.cell.expire(world.now());
            let found: Vec<_> = world.cell.take_replies().collect();
            let answers: Vec<_> = answers.drain(..).map(|(who, reply)| (who, reply.clone())).collect();
            assert_eq!(found, answers, "at {now_us}");
        }
        assert_eq!((world.cell.queue.len(), world.cell.queue.bytes(), world.cell.inflight.len()), (0, 0, 2));
    }

    /// Starts a run of the saga `s`, whose one step is a call, and has it end as escalated. Gives its number.
    fn escalated_run(world: &mut crate::testing::World, key: &str) -> u64 {
        use crate::testing::{call, command, tried};
        let start = SagaOp::Start { saga: "s", input: "{}", delay_ms: 0, deadline_ms: None };
        let run = world.accept(command(key, &Op::Saga(start)));
        let mut op = Vec::new();
        call(b"{}").encode(&mut op);
        let report = StepReport { run, step: 0, attempt: 1, ask: machine::Ask::Act, found: StepFound::Do(&op) };
        let call = world.accept(command("", &Op::Saga(SagaOp::Step(report))));
        world.accept(tried(call, machine::Finding::Uncertain));
        run
    }

    #[test]
    fn runs_that_are_restarted_have_room_or_are_refused() {
        use crate::testing::command;
        let options = Options { open_runs_max: 2, ..Options::default() };
        let mut world = crate::testing::World::new(options);
        let (id, kind) = ("a".to_owned(), machine::StepKind::Call);
        let (timeout_ms, attempts_max, pivot) = (10_000, 1, false);
        let step = PlannedStep { id, kind, after: vec![], timeout_ms, attempts_max, pivot, compensation: None };
        let mut plan = Vec::new();
        Plan { deadline_ms: 60_000, has_output: false, steps: vec![step], reads: None }.encode(&mut plan);
        world.write(command("define", &Op::Saga(SagaOp::Define { name: "s", plan: &plan, document: "{}" })));
        let oldest = ["k1", "k2", "k3"].map(|key| escalated_run(&mut world, key))[0];
        assert_eq!((world.cell.machine.runs_len(), world.cell.machine.restartable_len()), (0, 3));
        let many = |limit| SagaOp::RestartMany { saga: "s", from: "", before: 0, limit };
        let one = SagaOp::Control { run: oldest, control: Control::Restart { step: 0 } };
        let start = SagaOp::Start { saga: "s", input: "{}", delay_ms: 0, deadline_ms: None };
        for (at, (op, is_refused)) in
            [(many(1_000), true), (many(2), false), (many(1), true), (one, true), (start, true)].into_iter().enumerate()
        {
            let reply = world.write(command(&format!("key-{at}"), &Op::Saga(op)));
            let refused = matches!(reply, Reply::Rejected(Rejected::Overloaded { .. }));
            assert_eq!(refused, is_refused, "{op:?}: {reply:?}");
        }
        assert_eq!((world.cell.machine.runs_len(), world.cell.machine.restartable_len()), (2, 1));
    }

    #[test]
    fn principal_and_key_do_not_run_into_each_other() {
        assert_ne!(operation_name(1, "ab", "c"), operation_name(1, "a", "bc"));
        assert_ne!(operation_name(1, "a", "b"), operation_name(2, "a", "b"));
    }
}
