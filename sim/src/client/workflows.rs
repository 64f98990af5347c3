//! What clients do with sagas and events.

use machine::{
    Control, Message, MessagesEncoder, Op, OpenAccount, SagaOp, Settings, Start, Texts, TopicOp, TopicRetention,
};

use super::{Action, Call, Client, Kind, encode, op_bytes};
use crate::definitions::{EVENT_KEYS, SAGAS, STOCKS, TOPICS, draw, saga_name, stock_name};
use crate::hook::{HOOKS, SUBSCRIPTIONS, Wanted, poison};

/// How long a subscription may fail before it rests: mostly for longer than a world lasts.
const PAUSE_AFTER_MS: u64 = 30 * 24 * 3_600_000;

impl Client {
    /// One of the sagas and accounts of pieces is this client's to make, before anything else.
    pub(crate) fn begin_sagas(&mut self, percent: u32, clients: usize) {
        self.sagas_percent = percent;
        for n in (self.id..SAGAS).step_by(clients) {
            let define = self.define(n);
            self.first.push_back(define);
        }
        for n in (self.id as u64..STOCKS).step_by(clients) {
            let (id, floor) = (stock_name(n), (n > 0).then_some(0));
            let key = self.new_key();
            let op = op_bytes(&Op::OpenAccount(OpenAccount { id: &id, unit: "PCS", floor, metadata: "" }));
            let open = self.write(key, Kind::Open, &op);
            self.first.push_back(open);
        }
    }

    /// One of the subscriptions is this client's to make.
    pub(crate) fn begin_events(&mut self, percent: u32, clients: usize) {
        self.events_percent = percent;
        for n in (self.id..SUBSCRIPTIONS.len()).step_by(clients) {
            let subscribe = self.subscribe(n, false);
            self.first.push_back(subscribe);
        }
    }

    pub(super) fn of_sagas(&mut self) -> Action {
        match self.rng.u32(0..40) {
            0 => {
                let n = self.rng.usize(..SAGAS);
                Action::Write(self.define(n))
            }
            1..6 if !self.durable.is_empty() => self.ask_again(),
            6..12 => Action::Control,
            12 => Action::Resolve,
            13 => Action::Write(self.cancel_many()),
            _ => Action::Write(self.start()),
        }
    }

    pub(super) fn of_events(&mut self) -> Action {
        Action::Write(match self.rng.u32(0..40) {
            0..3 => {
                let (n, rests) = (self.rng.usize(..SUBSCRIPTIONS.len()), self.rng.u32(0..3) == 0);
                self.subscribe(n, rests)
            }
            3 => self.keep(),
            4..6 => self.replay(),
            _ => self.publish(),
        })
    }

    fn write(&mut self, key: String, kind: Kind, op: &[u8]) -> Call {
        let Action::Write(call) = self.call(key, kind, op) else { unreachable!("a call is a write") };
        call
    }

    fn define(&mut self, n: usize) -> Call {
        let definition = draw(&mut self.rng, n, self.receivers);
        let (mut plan, document) = (Vec::new(), definition.document().to_string());
        definition.plan().encode(&mut plan);
        let key = self.new_key();
        let op = op_bytes(&Op::Saga(SagaOp::Define { name: &saga_name(n), plan: &plan, document: &document }));
        self.write(key, Kind::Other, &op)
    }

    fn start(&mut self) -> Call {
        let key = self.new_key();
        let saga = saga_name(self.rng.usize(..SAGAS));
        let delay_ms = if self.rng.u32(0..5) == 0 { self.rng.u64(1..3_000) } else { 0 };
        let deadline_ms = (self.rng.u32(0..3) == 0).then(|| self.rng.u64(200..6_000));
        let op = op_bytes(&Op::Saga(SagaOp::Start { saga: &saga, input: "{}", delay_ms, deadline_ms }));
        let waits_for_end = self.rng.bool();
        Call { waits_for_end, ..self.write(key, Kind::Run, &op) }
    }

    /// Controls a run that somebody found.
    pub(crate) fn control(&mut self, run: u64, control: Control) -> Call {
        let key = self.new_key();
        self.write(key, Kind::Control, &op_bytes(&Op::Saga(SagaOp::Control { run, control })))
    }

    fn cancel_many(&mut self) -> Call {
        let key = self.new_key();
        let (saga, limit) = (saga_name(self.rng.usize(..SAGAS)), self.rng.u64(1..4));
        let control = *self.rng.choice(&[Control::Cancel, Control::Pause, Control::Resume]).expect("three of them");
        let op = SagaOp::ControlMany { control, saga: &saga, state: None, after: 0, limit };
        self.write(key, Kind::Other, &op_bytes(&Op::Saga(op)))
    }

    fn publish(&mut self) -> Call {
        let key = self.new_key();
        let mut messages = MessagesEncoder::default();
        for _ in 0..self.rng.usize(1..4) {
            let event_key = EVENT_KEYS[self.rng.usize(..EVENT_KEYS.len())];
            // Now and then one that no receiver can take.
            let is_poison = self.has_poison && self.rng.u32(0..40) == 0;
            self.has_poison &= !is_poison;
            let kind = if is_poison { poison() } else { "made" };
            messages.push(&Message { kind, key: event_key, data: "{}", ..Message::default() });
        }
        let topic = TOPICS[self.rng.usize(..TOPICS.len())];
        let op = op_bytes(&Op::Topic(TopicOp::Publish { topic, messages: messages.messages() }));
        self.write(key, Kind::Publish, &op)
    }

    /// Makes a subscription, or has it rest, or go on where it was.
    pub(crate) fn subscribe(&mut self, n: usize, rests: bool) -> Call {
        let key = self.new_key();
        let Wanted { name, topics, prefix } = SUBSCRIPTIONS[n];
        let (mut of, mut prefixes, mut secrets) = (Vec::new(), Vec::new(), Vec::new());
        topics.iter().for_each(|topic| Texts::push(&mut of, topic));
        prefix.iter().for_each(|prefix| Texts::push(&mut prefixes, prefix));
        Texts::push(&mut secrets, "s");
        let settings = Settings {
            topics: Texts::new(&of),
            prefixes: Texts::new(&prefixes),
            url: &format!("http://hook-{}", n % HOOKS),
            secrets: Texts::new(&secrets),
            pause_after_ms: PAUSE_AFTER_MS,
            paused: rests,
        };
        let op = op_bytes(&Op::Topic(TopicOp::Subscribe { name, settings, start: None::<Start> }));
        self.write(key, Kind::Other, &op)
    }

    fn keep(&mut self) -> Call {
        let key = self.new_key();
        let bytes_max = self.rng.bool().then(|| self.rng.u64(0..2_000));
        let retention = TopicRetention { ms: self.rng.u64(2_000..600_000_000), bytes_max };
        let op = op_bytes(&Op::Topic(TopicOp::Keep { topic: TOPICS[1], retention }));
        self.write(key, Kind::Other, &op)
    }

    fn replay(&mut self) -> Call {
        let key = self.new_key();
        let name = SUBSCRIPTIONS[self.rng.usize(..SUBSCRIPTIONS.len())].name;
        self.write(key, Kind::Other, &op_bytes(&Op::Topic(TopicOp::Letters { name, offset: None, replay: true })))
    }
}

/// A key's command, as a client would send it.
pub(crate) fn command(key: &str, op: &Op<'_>) -> Vec<u8> {
    encode(key, &op_bytes(op))
}
