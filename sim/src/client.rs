//! A client: asks, waits, asks again under the same key, and settles when it gives up.

mod leases;
mod workflows;

pub(crate) use leases::{Held, LeaseAsked, LeaseStep};
pub(crate) use workflows::command;

use std::collections::VecDeque;

use cell::Level;
use fastrand::Rng;
use machine::{BatchEncoder, BatchMode, CallOrder, Doubt, Op, OpenAccount, Order, Resolved, WayOut, encode_head};
use words::{Amount, Position, Stamp, TransferId};

use crate::calls::Promise;

/// How many accounts the world has beside the outside world.
pub(crate) const ACCOUNTS: u64 = 6;

/// How many durable calls a client remembers, to ask for them again.
const REMEMBERED: usize = 6;

/// One operation of a client, over all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) key: String,
    pub(crate) command: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) timeout_us: u64,
    pub(crate) attempts: u32,
    pub(crate) settling: bool,
    /// Whether each attempt so far was answered, and answered as certainly not done.
    pub(crate) certainly_not_done: bool,
    /// Whether the client waits for the end of what is accepted first.
    pub(crate) waits_for_end: bool,
    /// What it was promised, if it is a durable call.
    pub(crate) promise: Option<Promise>,
    /// Under which number its first attempt was asked; `None` = it is new.
    pub(crate) again: Option<u64>,
}

/// What kind of operation, for what the client learns from its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Open,
    Transfer,
    Hold,
    FollowUp,
    Batch,
    Stream,
    Settle,
    Durable,
    Resolve,
    Run,
    Control,
    Publish,
    Lease,
    Other,
}

/// What a client asks to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReadCall {
    pub(crate) account: u64,
    pub(crate) level: Level,
}

/// What a client does next.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Write(Call),
    Read(ReadCall),
    /// To look whether a call waits for a person.
    Resolve,
    /// To control one of the runs there are.
    Control,
    /// To do something about leases.
    Lease,
}

/// A client's memory.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: usize,
    rng: Rng,
    made: u64,
    /// Transfers it has heard of, newest last.
    transfers: Vec<TransferId>,
    last_key: Option<String>,
    /// Durable calls it asked for, newest last.
    durable: Vec<Call>,
    /// Of 100 things it does, how many are durable calls; 0 in a world without them.
    calls_percent: u32,
    /// The same of sagas and their runs, and of events.
    pub(crate) sagas_percent: u32,
    pub(crate) events_percent: u32,
    leases_percent: u32,
    /// How much shorter leases are asked for than it believes: 1, unless something errs.
    ttl_divisor: u64,
    held: Vec<Held>,
    /// What it does before anything else: the definitions and subscriptions that others count on.
    pub(crate) first: VecDeque<Call>,
    /// Whether one of its events, still to come, is taken by nobody.
    pub(crate) has_poison: bool,
    receivers: u64,
    /// How much shorter the bounds of its calls are than it was promised: 1, unless something errs.
    pub(crate) bound_divisor: u64,
    /// The newest position in any answer: its session.
    pub(crate) seen: Position,
}

pub(crate) fn account_name(n: u64) -> String {
    if n == 0 { "world".to_owned() } else { format!("account-{n}") }
}

impl Client {
    pub(crate) fn new(id: usize, rng: Rng, calls_percent: u32, receivers: u64) -> Self {
        Self {
            id,
            rng,
            made: 0,
            transfers: Vec::new(),
            last_key: None,
            durable: Vec::new(),
            calls_percent,
            sagas_percent: 0,
            events_percent: 0,
            leases_percent: 0,
            ttl_divisor: 1,
            held: Vec::new(),
            first: VecDeque::new(),
            has_poison: false,
            receivers,
            bound_divisor: 1,
            seen: Position::START,
        }
    }

    pub(crate) fn think_us(&mut self) -> u64 {
        self.rng.u64(1_000..60_000)
    }

    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        self.rng.u32(0..1_000) < per_mille
    }

    pub(crate) fn learn_transfer(&mut self, id: TransferId) {
        self.transfers.push(id);
        if self.transfers.len() > 16 {
            self.transfers.remove(0);
        }
    }

    fn new_key(&mut self) -> String {
        self.made += 1;
        format!("c{}-{}", self.id, self.made)
    }

    /// A new key for an operation already asked: what a client must never do, and a canary does.
    pub(crate) fn another_key(&mut self, call: &Call) -> Call {
        let key = self.new_key();
        let command = machine::Command::decode(&call.command).expect("the client encoded it");
        Call { command: encode(&key, command.op_bytes), key, ..call.clone() }
    }

    pub(crate) fn next(&mut self) -> Action {
        if let Some(call) = self.first.pop_front() {
            return Action::Write(call);
        }
        if self.leases_percent > 0 && self.rng.u32(0..100) < self.leases_percent {
            return Action::Lease;
        }
        if self.sagas_percent > 0 && self.rng.u32(0..100) < self.sagas_percent {
            return self.of_sagas();
        }
        if self.events_percent > 0 && self.rng.u32(0..100) < self.events_percent {
            return self.of_events();
        }
        if self.calls_percent > 0 && self.rng.u32(0..100) < self.calls_percent {
            return match self.rng.u32(0..20) {
                0..3 => self.ask_again(),
                3 => Action::Resolve,
                _ => self.durable(),
            };
        }
        match self.rng.u32(0..100) {
            0..8 => Action::Read(ReadCall { account: self.rng.u64(0..=ACCOUNTS), level: Level::Linearizable }),
            8..12 => Action::Read(ReadCall { account: self.rng.u64(0..=ACCOUNTS), level: Level::Session(self.seen) }),
            12..16 if self.seen.index > 0 => {
                let index = self.rng.u64(1..=self.seen.index);
                let level = Level::At(Position { epoch: 0, index });
                Action::Read(ReadCall { account: self.rng.u64(0..=ACCOUNTS), level })
            }
            16..20 => self.open(),
            20..30 => self.transfer(Some(self.rng.clone().u64(20..3_000))),
            30..48 => self.follow_up(),
            48..56 => self.batch(),
            56..60 => self.reuse_a_key(),
            60..62 => self.settle_something(),
            _ => self.transfer(None),
        }
    }

    fn call(&mut self, key: String, kind: Kind, op: &[u8]) -> Action {
        let timeout_us = self.rng.u64(100_000..2_000_000);
        self.last_key = Some(key.clone());
        Action::Write(Call {
            command: encode(&key, op),
            key,
            kind,
            timeout_us,
            attempts: 0,
            settling: false,
            certainly_not_done: true,
            waits_for_end: true,
            promise: None,
            again: None,
        })
    }

    /// A durable call of any kind.
    fn durable(&mut self) -> Action {
        let key = self.new_key();
        let rng = &mut self.rng;
        let doubt = [Doubt::Probe, Doubt::Resend, Doubt::Compensate, Doubt::Escalate][rng.usize(..4)];
        let way_out = [WayOut::Escalate, WayOut::Compensate, WayOut::Cancel][rng.usize(..3)];
        let can_compensate = doubt == Doubt::Compensate || rng.bool();
        let uncertain_ms_max = rng.u64(1_000..4_000);
        let promise = Promise { doubt, uncertain_ms_max };
        let order = CallOrder {
            keep: "",
            method: "POST",
            url: &format!("http://receiver-{}", rng.u64(..self.receivers)),
            headers: "",
            body: b"{}",
            deadline_ms: rng.u64(50..3_000),
            tries_max: rng.u32(1..5),
            persistent: rng.bool(),
            doubt,
            probe: if doubt == Doubt::Probe { "{}" } else { "" },
            compensation: if can_compensate { "{}" } else { "" },
            uncertain_ms_max: uncertain_ms_max / self.bound_divisor,
            way_out,
        };
        let op = op_bytes(&Op::Call(order));
        let waits_for_end = self.rng.u32(0..10) > 2;
        let Action::Write(call) = self.call(key, Kind::Durable, &op) else { unreachable!("a call is a write") };
        Action::Write(Call { promise: Some(promise), waits_for_end, ..call })
    }

    /// Asks for a call again, under its key: for its end, or to hear the first answer again.
    fn ask_again(&mut self) -> Action {
        let Some(call) = self.rng.choice(&self.durable).cloned() else { return self.durable() };
        Action::Write(Call { attempts: 0, waits_for_end: self.rng.bool(), ..call })
    }

    /// Remembers a call that it asked for, under the number of its first attempt.
    pub(crate) fn remember(&mut self, id: u64, call: &Call) {
        if self.durable.iter().any(|known| known.key == call.key) {
            return;
        }
        self.durable.push(Call { again: Some(id), ..call.clone() });
        if self.durable.len() > REMEMBERED {
            self.durable.remove(0);
        }
    }

    /// Will never ask for it again.
    pub(crate) fn forget(&mut self, key: &str) {
        self.durable.retain(|call| call.key != key);
    }

    /// A person's word on what became of a call.
    pub(crate) fn resolve(&mut self, call: u64) -> Action {
        let key = self.new_key();
        let committed = self.rng.bool();
        let resolved = Resolved { call, committed, by: "ann", note: "asked them" };
        self.call(key, Kind::Resolve, &op_bytes(&Op::Resolve(resolved)))
    }

    fn open(&mut self) -> Action {
        let account = self.rng.u64(0..=ACCOUNTS);
        let (key, id) = (self.new_key(), account_name(account));
        let floor = if account == 0 { None } else { Some(0) };
        self.call(
            key,
            Kind::Open,
            &op_bytes(&Op::OpenAccount(OpenAccount { id: &id, unit: "GBP", floor, metadata: "" })),
        )
    }

    fn transfer(&mut self, hold_ms: Option<u64>) -> Action {
        let key = self.new_key();
        let (from, to, amount) = self.ends();
        // The outside world pays more often than not, so that there is money to move.
        let order = Order { from: &from, to: &to, amount, hold_ms, memo: "", metadata: "" };
        let kind = if hold_ms.is_some() { Kind::Hold } else { Kind::Transfer };
        let op = op_bytes(&Op::Transfer(order));
        self.call(key, kind, &op)
    }

    fn ends(&mut self) -> (String, String, Amount) {
        let from = if self.rng.u32(0..3) == 0 { 0 } else { self.rng.u64(0..=ACCOUNTS) };
        let to = self.rng.u64(0..=ACCOUNTS);
        let amount = Amount::new(u128::from(self.rng.u64(1..200))).expect("between 1 and 200");
        (account_name(from), account_name(to), amount)
    }

    fn follow_up(&mut self) -> Action {
        let Some(transfer) = self.rng.choice(&self.transfers).copied() else { return self.transfer(None) };
        let key = self.new_key();
        let amount = self.rng.bool().then(|| Amount::new(u128::from(self.rng.u64(1..100))).expect("between 1 and 100"));
        let op = match self.rng.u32(0..3) {
            0 => Op::Capture { transfer, amount },
            1 => Op::Void { transfer },
            _ => Op::Reverse { transfer, amount },
        };
        self.call(key, Kind::FollowUp, &op_bytes(&op))
    }

    fn batch(&mut self) -> Action {
        let mode = *self.rng.choice(&[BatchMode::Each, BatchMode::Atomic, BatchMode::Stream]).expect("three modes");
        let mut items = BatchEncoder::new(8);
        for _ in 0..self.rng.usize(1..6) {
            let key = if self.rng.u32(0..10) == 0 { self.last_key.clone() } else { None };
            let key = key.unwrap_or_else(|| self.new_key());
            let (from, to, amount) = self.ends();
            items.push(&key, &Order { from: &from, to: &to, amount, hold_ms: None, memo: "", metadata: "" });
        }
        let mut op = Vec::new();
        items.finish(mode, &mut op);
        if mode == BatchMode::Stream {
            return self.call(String::new(), Kind::Stream, &op);
        }
        let key = self.new_key();
        self.call(key, Kind::Batch, &op)
    }

    /// Another request under a key that was used: must be refused, whenever it comes.
    fn reuse_a_key(&mut self) -> Action {
        let Some(key) = self.last_key.clone().filter(|key| !key.is_empty()) else { return self.transfer(None) };
        let (from, to, amount) = self.ends();
        self.made += 1;
        let memo = format!("other-{}-{}", self.id, self.made);
        let op =
            op_bytes(&Op::Transfer(Order { from: &from, to: &to, amount, hold_ms: None, memo: &memo, metadata: "" }));
        self.call(key, Kind::Transfer, &op)
    }

    fn settle_something(&mut self) -> Action {
        let key = if self.rng.bool() { self.last_key.clone().filter(|key| !key.is_empty()) } else { None };
        let key = key.unwrap_or_else(|| self.new_key());
        let call = self.call(key, Kind::Settle, &op_bytes(&Op::Settle));
        let Action::Write(call) = call else { return call };
        Action::Write(Call { settling: true, ..call })
    }
}

impl Call {
    /// The settle of the same key, for when time has run out.
    pub(crate) fn to_settle(&self) -> Self {
        let command = encode(&self.key, &op_bytes(&Op::Settle));
        Self { command, kind: Kind::Settle, settling: true, attempts: 0, waits_for_end: true, ..self.clone() }
    }
}

fn op_bytes(op: &Op<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    op.encode(&mut bytes);
    bytes
}

fn encode(key: &str, op: &[u8]) -> Vec<u8> {
    let mut command = Vec::new();
    encode_head(&mut command, Stamp::ZERO, "", key);
    command.extend_from_slice(op);
    command
}
