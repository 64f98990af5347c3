//! Random publishers, deliveries, failures, restarts and snapshots against what naively must hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::testing::cell;
use crate::{Body, Machine};

#[derive(Clone, Debug)]
enum Step {
    /// Publish in a topic, with keys of `a`, `b`, or none.
    Publish(u8, Vec<u8>),
    /// Move money, which is an event of the ledger.
    Transfer,
    /// Ask for what comes next, and begin to send it.
    Look,
    /// One of what is under way ends, well or badly.
    Finish(usize, u8),
    /// Bring results back; the report is lost on the way, or arrives though nobody hears of it, or arrives.
    Report(u8),
    /// A new leader, who knows what the log knows.
    Claim,
    /// A snapshot, and on from it.
    Restore,
    /// Time.
    Pass(u32),
    /// Other settings, the same ones.
    Touch,
    /// A person has the dead letters delivered again.
    Replay,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8, prop::collection::vec(0..3u8, 1..4)).prop_map(|(topic, keys)| Step::Publish(topic, keys)),
        1 => Just(Step::Transfer),
        6 => Just(Step::Look),
        8 => (0..100usize, 0..11u8).prop_map(|(which, how)| Step::Finish(which, how)),
        5 => (0..6u8).prop_map(Step::Report),
        1 => Just(Step::Claim),
        1 => Just(Step::Restore),
        3 => (0..100_000_000u32).prop_map(Step::Pass),
        1 => Just(Step::Touch),
        1 => Just(Step::Replay),
    ]
}

/// A world with one subscription, its outbox and its receiver.
struct Post {
    world: World,
    number: u64,
    settings: &'static str,
    window: DeliveryWindow,
    /// What was started and has not ended: under which settings, which event, its key.
    under_way: Vec<(u64, u64, String)>,
    /// What the receiver has.
    received: BTreeSet<u64>,
    n: u32,
}

impl Post {
    fn new(settings: &'static str) -> Self {
        let mut world = World::funded();
        // Time flies here, and nothing is to be forgotten.
        for topic in 0..3 {
            world.line(&format!("keep r{topic} topic{topic} 300000000000 none"));
        }
        world.line(&format!("subscribe s0 push {settings}"));
        let number = world.machine.subscription("push").unwrap().number;
        let window = DeliveryWindow::new(number, 5);
        Self { world, number, settings, window, under_way: Vec::new(), received: BTreeSet::new(), n: 0 }
    }

    fn line(&mut self, line: &str) {
        self.n += 1;
        let line = line.replace("KEY", &format!("key{}", self.n));
        let answer = self.world.line(&line);
        assert!(!answer.contains("refused"), "{line}: {answer}");
    }

    fn step(&mut self, step: &Step) {
        let next = self.world.machine.subscription("push").unwrap().next;
        match step {
            Step::Publish(topic, keys) => {
                let events =
                    keys.iter().map(|key| ["x", "x:a", "y:b"][usize::from(*key)]).collect::<Vec<_>>().join(" ");
                self.line(&format!("publish KEY topic{topic} {events}"));
            }
            Step::Transfer => self.line("transfer KEY world alice 1"),
            Step::Look => self.look(),
            Step::Finish(which, how) => self.finish(*which, *how),
            Step::Report(fate) => self.report(*fate),
            Step::Claim => {
                let epoch = self.world.machine.epoch() + 1;
                self.world.epoch = epoch;
                self.line(&format!("claim {epoch}"));
                assert!(self.is_told(), "a new leader looks at everything");
                self.window = DeliveryWindow::new(self.number, 5);
                // What the one before had begun may still arrive.
                self.under_way.iter_mut().for_each(|begun| begun.0 = 0);
            }
            Step::Restore => self.restore(),
            Step::Pass(ms) => {
                self.world.line(&format!("pass {ms}"));
                self.line("tick");
            }
            Step::Touch => self.line(&format!("subscribe KEY push {}", self.settings)),
            Step::Replay => self.line("replay KEY push all"),
        }
        assert!(self.world.machine.subscription("push").unwrap().next >= next, "the cursor never goes back");
    }

    fn is_told(&self) -> bool {
        let subscription = self.number;
        self.world.applied.effects.contains(&crate::Effect::Deliver { subscription })
    }

    fn look(&mut self) {
        let ask = self.window.ask();
        let (machine, archive) = (&self.world.machine, &self.world.archive);
        let Some(todo) = machine.next_deliveries(archive, self.number, ask.from, ask.limit).unwrap() else { return };
        self.window.take(ask, todo);
        while let Some(delivery) = self.window.start(true) {
            let (generation, key) = (delivery.generation, delivery.event.key.to_string());
            let is_free = |(of, _, other): &(u64, u64, String)| key.is_empty() || (*of, other) != (generation, &key);
            assert!(self.under_way.iter().all(is_free), "one of a key at a time");
            self.under_way.push((generation, delivery.event.offset, key));
        }
    }

    /// The receiver has it (`how` < 6), has it though nobody hears of it, or does not; or it was not sent (10).
    fn finish(&mut self, which: usize, how: u8) {
        if self.under_way.is_empty() {
            return;
        }
        let (generation, offset, key) = self.under_way.swap_remove(which % self.under_way.len());
        if how < 8 {
            self.assert_in_order(offset, &key);
            self.received.insert(offset);
        }
        let failed = AttemptEnd::Failed { status: 0, retry_after_ms: 0, evidence: "closed".into() };
        let end = match how {
            0..6 => AttemptEnd::Done,
            10 => AttemptEnd::Unasked,
            _ => failed,
        };
        self.window.finish(generation, offset, end);
    }

    /// Whatever of its key came before was received, or given up.
    fn assert_in_order(&self, offset: u64, key: &str) {
        let given_up: BTreeSet<u64> = self.given_up().into_iter().chain(self.received.iter().copied()).collect();
        for (earlier, other) in self.wanted() {
            let is_before = !key.is_empty() && other == key && earlier < offset;
            assert!(!is_before || given_up.contains(&earlier), "{offset} came before {earlier}");
        }
    }

    /// Every event that was ever given up, whatever became of it then.
    fn given_up(&self) -> Vec<u64> {
        let mut all = Vec::new();
        for ordinal in 0..self.world.machine.next_ordinal() {
            let letter = self.world.record(ordinal, |record| match record.body {
                Body::Topic(TopicRecord::DeadLettered(letter)) => Some(letter.offset),
                _ => None,
            });
            all.extend(letter);
        }
        all
    }

    /// What the subscription is to deliver, told naively from the records: those after its own.
    fn wanted(&self) -> BTreeMap<u64, String> {
        let view = self.world.machine.subscription("push").unwrap();
        let settings = view.settings();
        let topics: Vec<&str> = settings.topics.iter().collect();
        let records = self.number + 1..self.world.machine.next_ordinal();
        let of = |offset| {
            self.world.record(offset, |record| {
                let envelope = Envelope::of(record)?;
                let is_wanted = topics.contains(&envelope.topic) && settings.wants(envelope.kind);
                is_wanted.then(|| envelope.key.to_owned())
            })
        };
        records.filter_map(|offset| Some((offset, of(offset)?))).collect()
    }

    fn report(&mut self, fate: u8) {
        let mut bytes = Vec::new();
        if !self.window.report(&mut bytes) {
            return;
        }
        let mut command = Vec::new();
        crate::encode_head(&mut command, words::Stamp::MAX, "", "");
        Op::Topic(TopicOp::Delivered(Reports::new(&bytes))).encode(&mut command);
        if fate > 0 {
            self.world.entry(&[command]);
        }
        self.window.confirm(fate > 1);
    }

    fn restore(&mut self) {
        self.world.machine.begin_snapshot();
        let mut chunks = vec![Vec::new()];
        while !self.world.machine.snapshot_chunk(3, chunks.last_mut().unwrap()) {
            chunks.push(Vec::new());
        }
        let restored = Machine::restore(&cell(), 1, chunks.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(restored.full_digest(), self.world.machine.full_digest());
        assert_eq!(restored.next_timer(), self.world.machine.next_timer());
        self.world.machine = restored;
    }

    /// Everything works from now on: all is delivered, within a bound.
    fn heal(&mut self) {
        for _ in 0..400 {
            self.step(&Step::Replay);
            self.step(&Step::Pass(100_000_000));
            self.step(&Step::Look);
            while !self.under_way.is_empty() {
                self.finish(0, 0);
            }
            self.step(&Step::Report(5));
            let view = self.world.machine.subscription("push").unwrap();
            let ask = self.window.ask();
            let is_read = ask.from == self.world.machine.next_ordinal();
            if is_read && view.parked == 0 && view.dead_letters == 0 && self.window.is_idle() {
                return;
            }
        }
        panic!("it never ends: {}", self.world.status("push"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Each event arrives at least once, after those of its key before it; nothing else arrives; the cursor only moves on;
    /// and all of this over lost reports, new leaders, snapshots and dead letters.
    #[test]
    fn nothing_is_lost_and_keys_keep_their_order(
        settings in prop::sample::select(vec![
            "topic0,topic1 http://r pause_after=2592000000",
            "topic0,topic1,ledger http://r pause_after=2592000000 type=x type=tertium.transfer",
            "ledger http://r pause_after=2592000000",
        ]),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut post = Post::new(settings);
        for step in &steps {
            post.step(step);
        }
        post.heal();
        let wanted: BTreeSet<u64> = post.wanted().into_keys().collect();
        prop_assert_eq!(&post.received, &wanted);
    }
}
