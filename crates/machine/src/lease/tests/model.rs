//! Leases against a model that knows nothing of records, timers or snapshots.

use std::collections::BTreeMap;

use proptest::prelude::*;
use words::Stamp;

use super::*;
use crate::testing::{World, cell};
use crate::{Body, Verdict};

#[derive(Clone, Debug)]
enum Step {
    Acquire { name: usize, ttl_ms: u64, wait_ms: u64 },
    Renew { name: usize, holder: usize, ttl_ms: u64 },
    Release { name: usize, holder: usize },
    ReleaseStale { name: usize },
    Pass { ms: u64 },
    Tick,
    Lead,
    Snapshot,
}

const NAMES: [(&str, u64); 3] = [("db", 1), ("slots", 2), ("many", 5)];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        8 => (name.clone(), 1u64..5_000, 0u64..6_000)
            .prop_map(|(name, ttl_ms, wait_ms)| Step::Acquire { name, ttl_ms, wait_ms }),
        3 => (name.clone(), 0usize..5, 1u64..5_000)
            .prop_map(|(name, holder, ttl_ms)| Step::Renew { name, holder, ttl_ms }),
        4 => (name.clone(), 0usize..5).prop_map(|(name, holder)| Step::Release { name, holder }),
        1 => name.prop_map(|name| Step::ReleaseStale { name }),
        6 => (1u64..3_000).prop_map(|ms| Step::Pass { ms }),
        4 => Just(Step::Tick),
        1 => Just(Step::Lead),
        1 => Just(Step::Snapshot),
    ]
}

/// What ought to be: who holds each lease until when, and who waits until when for how long a lease.
#[derive(Default)]
struct Model {
    holders: BTreeMap<usize, Vec<(String, Stamp)>>,
    line: BTreeMap<usize, Vec<(String, Stamp, u64)>>,
}

impl Model {
    fn pass(&mut self, now: Stamp) {
        for (name, (_, capacity)) in NAMES.into_iter().enumerate() {
            let holders = self.holders.entry(name).or_default();
            let line = self.line.entry(name).or_default();
            holders.retain(|(_, expires)| *expires > now);
            line.retain(|(_, until, _)| *until > now);
            while (holders.len() as u64) < capacity && !line.is_empty() {
                let (owner, _, ttl_ms) = line.remove(0);
                holders.push((owner, now.plus_ms(ttl_ms)));
            }
        }
    }

    fn stand_still(&mut self, us: u64) {
        for (_, expires) in self.holders.values_mut().flatten() {
            *expires = expires.plus_micros(us);
        }
    }
}

/// Follows what the records say: tokens grow for ever, and whoever waited has exactly one end.
#[derive(Default)]
struct Told {
    seen: u64,
    token: u64,
    waiting: std::collections::BTreeSet<u64>,
}

impl Told {
    fn follow(&mut self, world: &World) {
        for ordinal in self.seen..world.machine.next_ordinal() {
            let ended = world.record(ordinal, |record| match record.body {
                Body::Lease(LeaseRecord::Granted(granted)) => (granted.began, Some(granted.token), false),
                Body::Lease(lease) => (lease.began(), None, lease.is_pending()),
                _ => (None, None, false),
            });
            let (began, token, waits) = ended;
            if let Some(token) = token {
                assert!(token > self.token, "{token} after {}", self.token);
                self.token = token;
            }
            if let Some(began) = began {
                assert!(self.waiting.remove(&began), "#{began} ended once");
                assert!(world.applied.ended.iter().any(|ended| (ended.began, ended.ordinal) == (began, ordinal)));
            }
            if waits {
                self.waiting.insert(ordinal);
            }
        }
        self.seen = world.machine.next_ordinal();
    }
}

fn compare(world: &World, model: &Model) {
    for (name, (text, capacity)) in NAMES.into_iter().enumerate() {
        let view = world.machine.lease(text);
        let holders: Vec<(String, Stamp)> =
            view.iter().flat_map(|view| &view.holders).map(|holder| (holder.owner.clone(), holder.expires)).collect();
        assert_eq!(holders, model.holders.get(&name).cloned().unwrap_or_default(), "{text}");
        assert!(holders.len() as u64 <= capacity);
        let waiting = view.map_or(0, |view| view.waiting);
        assert_eq!(waiting as usize, model.line.get(&name).map_or(0, Vec::len), "{text}");
    }
}

fn restored(world: &mut World) -> Machine {
    let mut chunks = Vec::new();
    world.machine.begin_snapshot();
    while !world.machine.snapshot_chunk(2, &mut chunks) {}
    let restored = Machine::restore(&cell(), 1, [&chunks[..]]).expect("a whole snapshot");
    assert_eq!(restored.full_digest(), world.machine.full_digest());
    assert_eq!(restored.next_timer(), world.machine.next_timer());
    restored
}

proptest! {
    #[test]
    fn leases_are_what_they_ought_to_be(steps in prop::collection::vec(step(), 1..120)) {
        let (mut world, mut model, mut told) = (World::new(1), Model::default(), Told::default());
        world.line("claim 1");
        for (n, step) in steps.into_iter().enumerate() {
            let last = world.machine.stamp();
            match step {
                Step::Acquire { name, ttl_ms, wait_ms } => {
                    let (text, capacity) = NAMES[name];
                    world.line(&format!("acquire k{n} {text} o{n} {ttl_ms} capacity={capacity} wait={wait_ms}"));
                    let now = world.machine.stamp();
                    model.pass(now);
                    let has_room = (model.holders[&name].len() as u64) < capacity;
                    let is_pending = matches!(world.applied.verdicts[..], [Verdict::Pending { .. }]);
                    prop_assert_eq!(is_pending, !has_room && wait_ms > 0);
                    if is_pending {
                        model.line.entry(name).or_default().push((format!("o{n}"), now.plus_ms(wait_ms), ttl_ms));
                    } else {
                        prop_assert_eq!(world.code(), (!has_room).then_some(Code::LeaseHeld));
                        model.line.entry(name).or_default().extend(has_room.then(|| (format!("o{n}"), Stamp::MAX, ttl_ms)));
                    }
                }
                Step::Renew { name, holder, ttl_ms } => {
                    let held = world.machine.lease(NAMES[name].0).and_then(|view| view.holders.get(holder).cloned());
                    let Some(held) = held else { continue };
                    world.line(&format!("renew k{n} {} {} {ttl_ms}", NAMES[name].0, held.token));
                    let now = world.machine.stamp();
                    model.pass(now);
                    let holders = model.holders.entry(name).or_default();
                    let found = holders.iter_mut().find(|(owner, _)| *owner == held.owner);
                    prop_assert_eq!(world.code(), found.is_none().then_some(Code::LeaseLost));
                    found.into_iter().for_each(|(_, expires)| *expires = now.plus_ms(ttl_ms).max(*expires));
                }
                Step::Release { name, holder } => {
                    let held = world.machine.lease(NAMES[name].0).and_then(|view| view.holders.get(holder).cloned());
                    let Some(held) = held else { continue };
                    world.line(&format!("release k{n} {} {}", NAMES[name].0, held.token));
                    model.pass(world.machine.stamp());
                    let holders = model.holders.entry(name).or_default();
                    let before = holders.len();
                    holders.retain(|(owner, _)| *owner != held.owner);
                    prop_assert_eq!(world.code(), (holders.len() == before).then_some(Code::LeaseLost));
                }
                Step::ReleaseStale { name } => {
                    world.line(&format!("release k{n} {} {}", NAMES[name].0, 1u64 << 40));
                    prop_assert_eq!(world.code(), Some(Code::LeaseLost));
                }
                Step::Pass { ms } => drop(world.line(&format!("pass {ms}"))),
                Step::Tick => drop(world.line("tick")),
                Step::Lead => {
                    world.epoch += 1;
                    world.line(&format!("claim {}", world.epoch));
                    model.stand_still(world.machine.stamp().micros() - last.micros());
                }
                Step::Snapshot => world.machine = restored(&mut world),
            }
            model.pass(world.machine.stamp());
            told.follow(&world);
            compare(&world, &model);
        }
    }
}
