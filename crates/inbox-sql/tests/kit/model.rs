//! Two sessions do anything in any order, and are told what a model of a few maps says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use inbox_sql::{Answer, Arrival, Fence, Fingerprint};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Command, Hand, Sessions, key};

/// Long enough to be answered where nothing is in the way, short where something is for as long as the test likes.
const WAIT: Duration = Duration::from_millis(25);

#[derive(Clone, Debug)]
enum Act {
    Begin,
    Enter { key: usize, content: usize, fence: Option<(usize, u64)> },
    Finish { status: u16 },
    Compensate { key: usize, step: usize },
    Probe { key: usize },
    Event { partition: usize, offset: u64 },
    Commit,
    Rollback,
    Vanish,
}

/// Runs so many cases, each on a database of its own.
pub(crate) fn check<H: Hand, Keep>(cases: u32, fresh: impl Fn() -> (H, Keep)) {
    let acts = prop::collection::vec((0..2_usize, act()), 1..70);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let run = TestRunner::new(config).run(&acts, |acts| {
        let (hand, _keep) = fresh();
        play(hand, &acts)
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Begin),
        6 => (0..6_usize, 0..2_usize, prop::option::of((0..2_usize, 0..4_u64)))
            .prop_map(|(key, content, fence)| Act::Enter { key, content, fence }),
        4 => prop_oneof![Just(201), Just(409)].prop_map(|status| Act::Finish { status }),
        2 => (6..9_usize, 0..6_usize).prop_map(|(key, step)| Act::Compensate { key, step }),
        1 => (0..9_usize).prop_map(|key| Act::Probe { key }),
        2 => (0..2_usize, 0..5_u64).prop_map(|(partition, offset)| Act::Event { partition, offset }),
        4 => Just(Act::Commit),
        1 => Just(Act::Rollback),
        1 => Just(Act::Vanish),
    ]
}

fn play<H: Hand>(hand: H, acts: &[(usize, Act)]) -> Result<(), TestCaseError> {
    let mut sessions = Sessions::new(hand);
    let mut model = Model { one_writer: H::ONE_WRITER, ..Model::default() };
    for (session, act) in acts {
        let name = ["a", "b"][*session];
        let Some(expected) = model.act(*session, act) else { continue };
        let told = sessions.tell(name, command(act));
        prop_assert_eq!(&told, &expected, "{} {:?}", name, act);
        if let (Act::Finish { status: 201 }, Some(effect)) = (act, model.last_effect(*session)) {
            prop_assert_eq!(sessions.tell(name, Command::Effect(effect)), "ok");
        }
        if told == "in flight" && !matches!(act, Act::Begin) {
            prop_assert_eq!(sessions.tell(name, Command::Rollback), "ok");
        }
    }
    prop_assert_eq!(sessions.tell("reader", Command::Effects), model.kept.effects.join(" "));
    Ok(())
}

fn command(act: &Act) -> Command {
    match act {
        Act::Begin => Command::Begin(WAIT),
        Act::Enter { key: number, content, fence } => {
            let arrival = Arrival::new(key(&name(*number)), Fingerprint::of(&[*content as u8]));
            Command::Enter(match *fence {
                Some((resource, token)) => arrival.fenced(Fence { resource: resource.to_string(), token }),
                None => arrival,
            })
        }
        Act::Finish { status } => Command::Finish(Answer::new(*status, "")),
        Act::Compensate { key: number, step } => {
            Command::Compensate(Arrival::new(key(&name(*number)), Fingerprint::of(&[9])), key(&name(*step)))
        }
        Act::Probe { key: number } => Command::Probe(key(&name(*number))),
        Act::Event { partition, offset } => Command::Event(partition.to_string(), *offset),
        Act::Commit => Command::Commit,
        Act::Rollback => Command::Rollback,
        Act::Vanish => Command::Vanish,
    }
}

fn name(number: usize) -> String {
    format!("k{number}")
}

/// What is in the place of a key.
#[derive(Clone, Debug)]
enum Place {
    Entered,
    Answered { content: usize, status: u16 },
    Barred,
}

/// What can be written: the committed rows, or those of one transaction that hide them.
#[derive(Clone, Default, Debug)]
struct Rows {
    keys: BTreeMap<usize, Place>,
    fences: BTreeMap<usize, u64>,
    offsets: BTreeMap<usize, u64>,
    effects: Vec<String>,
}

#[derive(Default, Debug)]
struct Transaction {
    rows: Rows,
    /// What others wait for until this ends.
    locks: BTreeSet<(char, usize)>,
    in_hand: Option<(usize, usize)>,
}

#[derive(Default)]
struct Model {
    one_writer: bool,
    kept: Rows,
    open: [Option<Transaction>; 2],
}

impl Model {
    /// What the session is told; `None` where the act makes no sense now and is left out.
    fn act(&mut self, session: usize, act: &Act) -> Option<String> {
        let is_open = self.open[session].is_some();
        let in_hand = self.open[session].as_ref().and_then(|tx| tx.in_hand);
        let told = match act {
            Act::Begin if is_open => return None,
            Act::Begin if self.one_writer && self.open[1 - session].is_some() => "in flight".into(),
            Act::Begin => {
                self.open[session] = Some(Transaction::default());
                "ok".into()
            }
            _ if !is_open => return None,
            Act::Commit if in_hand.is_some() => {
                self.open[session] = None;
                "unanswered".into()
            }
            Act::Commit => {
                self.commit(session);
                "ok".into()
            }
            Act::Rollback | Act::Vanish => {
                self.open[session] = None;
                "ok".into()
            }
            Act::Finish { status } => {
                let (key, content) = in_hand?;
                let tx = self.open[session].as_mut()?;
                tx.in_hand = None;
                tx.rows.keys.insert(key, Place::Answered { content, status: *status });
                if *status == 201 {
                    tx.rows.effects.push(name(key));
                }
                "ok".into()
            }
            _ if in_hand.is_some() => return None,
            Act::Enter { key, content, fence } => self.enter(session, *key, *content, *fence),
            Act::Compensate { key, step } => match self.enter(session, *key, 9, None) {
                told if told != "first" => told,
                _ => match self.settle(session, *step) {
                    Ok(Some(201)) => "first, ran 201".into(),
                    Ok(Some(status)) => format!("first, refused {status}"),
                    Ok(None) => "first, never ran".into(),
                    Err(told) => told,
                },
            },
            Act::Probe { key } => match self.settle(session, *key) {
                Ok(Some(status)) => format!("answered {status}"),
                Ok(None) => "barred".into(),
                Err(told) => told,
            },
            Act::Event { partition, offset } => self.event(session, *partition, *offset),
        };
        if told == "in flight" {
            self.open[session] = None;
        }
        Some(told)
    }

    fn last_effect(&self, session: usize) -> Option<String> {
        self.open[session].as_ref()?.rows.effects.last().cloned()
    }

    fn locked(&mut self, session: usize, lock: (char, usize)) -> bool {
        if self.open[1 - session].as_ref().is_some_and(|other| other.locks.contains(&lock)) {
            return true;
        }
        self.open[session].as_mut().unwrap().locks.insert(lock);
        false
    }

    fn place(&self, session: usize, key: usize) -> Option<Place> {
        let own = self.open[session].as_ref().unwrap().rows.keys.get(&key);
        own.or_else(|| self.kept.keys.get(&key)).cloned()
    }

    fn enter(&mut self, session: usize, key: usize, content: usize, fence: Option<(usize, u64)>) -> String {
        match self.place(session, key) {
            Some(Place::Answered { content: first, status }) if first == content => return format!("again {status}"),
            Some(Place::Answered { .. }) => return "reused".into(),
            Some(Place::Barred) => return "barred".into(),
            Some(Place::Entered) => return "unfinished".into(),
            None if self.locked(session, ('k', key)) => return "in flight".into(),
            None => {}
        }
        if let Some((resource, token)) = fence {
            if self.locked(session, ('f', resource)) {
                return "in flight".into();
            }
            let tx = self.open[session].as_mut().unwrap();
            let seen = tx.rows.fences.get(&resource).or_else(|| self.kept.fences.get(&resource));
            match seen {
                Some(seen) if *seen > token => return format!("stale {seen}"),
                _ => tx.rows.fences.insert(resource, token),
            };
        }
        let tx = self.open[session].as_mut().unwrap();
        tx.rows.keys.insert(key, Place::Entered);
        tx.in_hand = Some((key, content));
        "first".into()
    }

    fn settle(&mut self, session: usize, key: usize) -> Result<Option<u16>, String> {
        match self.place(session, key) {
            Some(Place::Answered { status, .. }) => Ok(Some(status)),
            Some(Place::Barred) => Ok(None),
            Some(Place::Entered) => Err("unfinished".into()),
            None if self.locked(session, ('k', key)) => Err("in flight".into()),
            None => {
                self.open[session].as_mut().unwrap().rows.keys.insert(key, Place::Barred);
                Ok(None)
            }
        }
    }

    fn event(&mut self, session: usize, partition: usize, offset: u64) -> String {
        if self.locked(session, ('p', partition)) {
            return "in flight".into();
        }
        let tx = self.open[session].as_mut().unwrap();
        let last = tx.rows.offsets.get(&partition).or_else(|| self.kept.offsets.get(&partition));
        if last.is_some_and(|last| *last >= offset) {
            return "seen".into();
        }
        tx.rows.offsets.insert(partition, offset);
        "first".into()
    }

    fn commit(&mut self, session: usize) {
        let Some(Transaction { rows, .. }) = self.open[session].take() else { return };
        self.kept.keys.extend(rows.keys);
        self.kept.fences.extend(rows.fences);
        self.kept.offsets.extend(rows.offsets);
        self.kept.effects.extend(rows.effects);
        self.kept.effects.sort();
    }
}
