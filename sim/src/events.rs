//! Events as they are judged: what the log says was published, for whom, and what it made receivers do.

use std::collections::{BTreeMap, BTreeSet};

use machine::{Body, Envelope, Record, TopicRecord};

use crate::calls::When;
use crate::hook::Effected;

/// How many attempts fail before an event is given up.
const ATTEMPTS: u64 = 9;

/// What happened outside the log.
#[derive(Debug, Default)]
pub(crate) struct EventsMade {
    /// What events made the hooks do, of each hook in its order.
    pub(crate) effects: Vec<Effected>,
    /// The subscriptions that rest at the end: what waits for them waits.
    pub(crate) resting: BTreeSet<u64>,
    /// What is below has been forgotten by its topic.
    pub(crate) floors: BTreeMap<String, u64>,
}

/// How the events of a world came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventCounts {
    /// Events, wanted or not.
    pub published: u64,
    /// What they made receivers do.
    pub effects: u64,
    /// Given up, and left to a person.
    pub dead: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Subscribed {
    name: String,
    from: u64,
    topics: Vec<String>,
    prefixes: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Published {
    offset: u64,
    topic: String,
    key: String,
    kind: String,
}

/// All events of a log.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    events: Vec<Published>,
    subscriptions: BTreeMap<u64, Subscribed>,
    /// When an event was given up, first.
    dead: BTreeMap<(u64, u64), u64>,
}

impl EventCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.effects += other.effects;
        self.dead += other.dead;
    }
}

impl EventLog {
    /// Takes in what a record says of events.
    pub(crate) fn note(&mut self, ordinal: u64, when: When, record: &Record<'_>) -> Result<(), String> {
        if let Some(Envelope { topic, kind, key }) = Envelope::of(record) {
            let (topic, kind, key) = (topic.to_owned(), kind.to_owned(), key.to_owned());
            self.events.push(Published { offset: ordinal, topic, key, kind });
        }
        match record.body {
            Body::Topic(TopicRecord::Subscribed { name, number, next, settings, .. }) => {
                self.subscriptions.entry(number).or_insert_with(|| Subscribed {
                    name: name.to_owned(),
                    from: next,
                    topics: settings.topics.iter().map(str::to_owned).collect(),
                    prefixes: settings.prefixes.iter().map(str::to_owned).collect(),
                });
            }
            Body::Topic(TopicRecord::DeadLettered(letter)) => {
                if letter.attempts < ATTEMPTS {
                    let (offset, attempts) = (letter.offset, letter.attempts);
                    return Err(format!("event {offset} was given up by `{}` after {attempts} attempts", letter.name));
                }
                self.dead.entry((letter.number, letter.offset)).or_insert(when.time_us);
            }
            _ => {}
        }
        Ok(())
    }

    /// Each event took effect once with whoever wanted it, after those of its key before it, or was given up.
    pub(crate) fn judge(&self, made: &EventsMade) -> Result<(), String> {
        for (number, subscription) in &self.subscriptions {
            let wanted: Vec<&Published> = self.events.iter().filter(|event| subscription.wants(event)).collect();
            let effects: Vec<&Effected> = made.effects.iter().filter(|effect| effect.subscription == *number).collect();
            self.check_subscription(*number, subscription, &wanted, &effects, made)?;
        }
        Ok(())
    }

    fn check_subscription(
        &self,
        number: u64,
        subscription: &Subscribed,
        wanted: &[&Published],
        effects: &[&Effected],
        made: &EventsMade,
    ) -> Result<(), String> {
        let name = &subscription.name;
        let by_offset: BTreeMap<u64, &Published> = wanted.iter().map(|event| (event.offset, *event)).collect();
        let mut done = BTreeSet::new();
        // Of each key, those that have not taken effect yet.
        let mut open: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for event in wanted.iter().filter(|event| !event.key.is_empty()) {
            open.entry(&event.key).or_default().insert(event.offset);
        }
        for effect in effects {
            let offset = effect.offset;
            let Some(event) = by_offset.get(&offset) else {
                return Err(format!("event {offset} took effect with `{name}`, which does not want it"));
            };
            if !done.insert(offset) {
                return Err(format!("event {offset} took effect twice with `{name}`"));
            }
            let Some(of_key) = open.get_mut(event.key.as_str()) else { continue };
            of_key.remove(&offset);
            let is_out = |earlier: &&u64| {
                let dead_us = self.dead.get(&(number, **earlier));
                dead_us.is_some_and(|dead_us| *dead_us <= effect.time_us) || made.has_forgotten(by_offset[*earlier])
            };
            if let Some(earlier) = of_key.range(..offset).find(|earlier| !is_out(earlier)) {
                return Err(format!("event {offset} took effect with `{name}` before {earlier} of its key"));
            }
        }
        let is_missing = |event: &&&Published| {
            let is_dead = self.dead.contains_key(&(number, event.offset));
            !done.contains(&event.offset) && !is_dead && !made.has_forgotten(event)
        };
        match wanted.iter().find(is_missing) {
            Some(event) if !made.resting.contains(&number) => {
                Err(format!("event {} never took effect with `{name}`", event.offset))
            }
            _ => Ok(()),
        }
    }

    /// What there was.
    pub(crate) fn count(&self, made: &EventsMade) -> EventCounts {
        EventCounts {
            published: self.events.len() as u64,
            effects: made.effects.len() as u64,
            dead: self.dead.len() as u64,
        }
    }
}

impl Subscribed {
    fn wants(&self, event: &Published) -> bool {
        let is_of_topic = self.topics.contains(&event.topic) && event.offset >= self.from;
        is_of_topic && (self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| event.kind.starts_with(prefix)))
    }
}

impl EventsMade {
    fn has_forgotten(&self, event: &Published) -> bool {
        self.floors.get(&event.topic).is_some_and(|floor| event.offset < *floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> EventLog {
        let event = |offset, key: &str| Published {
            offset,
            topic: "orders".to_owned(),
            key: key.to_owned(),
            kind: "made".to_owned(),
        };
        let all =
            Subscribed { name: "all".to_owned(), from: 1, topics: vec!["orders".to_owned()], prefixes: Vec::new() };
        EventLog {
            events: vec![event(0, "a"), event(1, "a"), event(2, "b"), event(3, "a")],
            subscriptions: BTreeMap::from([(7, all)]),
            dead: BTreeMap::new(),
        }
    }

    #[track_caller]
    fn check(log: &EventLog, effects: &[(u64, u64)], expected: Result<(), &str>) {
        let effect = |(offset, time_us): &(u64, u64)| {
            let key = if *offset == 2 { "b" } else { "a" }.to_owned();
            Effected { subscription: 7, key, offset: *offset, time_us: *time_us }
        };
        let made = EventsMade { effects: effects.iter().map(effect).collect(), ..EventsMade::default() };
        assert_eq!(log.judge(&made), expected.map_err(str::to_owned), "{effects:?}");
    }

    #[test]
    fn once_in_order_and_all_of_them() {
        check(&log(), &[(2, 1), (1, 2), (3, 3)], Ok(()));
        check(&log(), &[(1, 1), (2, 2), (1, 3), (3, 4)], Err("event 1 took effect twice with `all`"));
        check(&log(), &[(2, 1), (3, 2), (1, 3)], Err("event 3 took effect with `all` before 1 of its key"));
        check(&log(), &[(1, 1), (3, 2)], Err("event 2 never took effect with `all`"));
        check(&log(), &[(0, 1)], Err("event 0 took effect with `all`, which does not want it"));
        let given_up = EventLog { dead: BTreeMap::from([((7, 1), 5)]), ..log() };
        check(&given_up, &[(2, 1), (3, 6)], Ok(()));
        check(&given_up, &[(2, 1), (3, 4)], Err("event 3 took effect with `all` before 1 of its key"));
    }
}
