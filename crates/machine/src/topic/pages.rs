//! Topics and subscriptions as they are now, for whoever lists them.

use words::Stamp;

use crate::archive::{Archive, Fault};
use crate::codec::Reader;
use crate::machine::Machine;

use super::envelope::{TOPIC_ESCALATIONS, TOPIC_LEDGER};
use super::lists::Topic;
use super::order::{Settings, TopicRetention};
use super::scan::{EventRecord, Scan, scan};
use super::subscription::{Rest, Subscription};

/// Some consecutive events of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicPage {
    /// The events, in order.
    pub events: Vec<EventRecord>,
    /// From where to read on.
    pub next: u64,
    /// Whether there was nothing more: reading on gives what is published from now on.
    pub is_end: bool,
}

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicView {
    /// Its name.
    pub name: Box<str>,
    /// How much it keeps.
    pub retention: TopicRetention,
    /// How many events it has.
    pub events: u64,
    /// How many bytes of events, about.
    pub bytes: u64,
    /// What is below this offset was forgotten.
    pub floor: u64,
}

/// A subscription.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscriptionView {
    /// Its number: the ordinal of the record that made it.
    pub number: u64,
    /// Its name.
    pub name: Box<str>,
    /// Which settings these are, from 1.
    pub generation: u64,
    /// Everything below this offset is dealt with: delivered, wanted by nobody, parked or given up.
    pub next: u64,
    /// How many records follow: those of its topics and others.
    pub behind: u64,
    /// How many events wait to be tried again, or behind one that does.
    pub parked: u64,
    /// How many were given up and wait for a person.
    pub dead_letters: u64,
    /// How many were delivered.
    pub delivered: u64,
    /// How many its topics forgot before they were looked at, wanted or not.
    pub forgotten: u64,
    /// Since when nothing succeeded.
    pub failing_since: Option<Stamp>,
    /// Why it rests, if it does.
    pub rests: Option<Rest>,
    settings: Box<[u8]>,
}

impl TopicPage {
    pub(super) fn of(machine: &Machine, found: Scan) -> Self {
        Self { is_end: found.scanned >= machine.books.next_ordinal, events: found.events, next: found.scanned }
    }
}

impl SubscriptionView {
    /// Its settings.
    pub fn settings(&self) -> Settings<'_> {
        Settings::decode(&mut Reader::new(&self.settings)).expect("written by encode")
    }
}

impl Machine {
    /// The events of a topic from the offset `from` on, at most `limit`; `None` if there is no such topic.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn topic_page<A: Archive>(
        &self,
        archive: &A,
        topic: &str,
        from: u64,
        limit: usize,
    ) -> Result<Option<TopicPage>, Fault> {
        let is_built_in = topic == TOPIC_LEDGER || topic == TOPIC_ESCALATIONS;
        if !is_built_in && self.topics.lists.number(topic).is_none() {
            return Ok(None);
        }
        let found = scan(self, archive, &[topic], from, limit, |_, _| true)?;
        Ok(Some(TopicPage::of(self, found)))
    }

    /// The offset that all events of a topic are below: whoever has looked at all below it need not look again until it grows.
    /// `u64::MAX` if there is no such topic.
    pub fn topic_end(&self, topic: &str) -> u64 {
        match self.topics.lists.number(topic) {
            Some(number) => self.topics.lists.end(number),
            // Its events are the records themselves.
            None if topic == TOPIC_LEDGER => self.books.next_ordinal,
            None if topic == TOPIC_ESCALATIONS => 0,
            None => u64::MAX,
        }
    }

    /// The same of all topics of a subscription; `u64::MAX` if there is no such subscription.
    pub fn subscription_end(&self, name: &str) -> u64 {
        let subscriptions = &self.topics.subscriptions;
        let found = subscriptions.number(name).and_then(|number| subscriptions.get(number));
        let Some(subscription) = found else { return u64::MAX };
        let known = |topic: &&str| *topic == TOPIC_LEDGER || self.topics.lists.number(topic).is_some();
        let ends = subscription.settings().topics.iter().filter(known).map(|topic| self.topic_end(topic));
        ends.max().unwrap_or(0)
    }

    /// The topics after that name, in the order of their names. The ledger is not among them: it keeps everything.
    pub fn topics(&self, after: &str, limit: usize) -> Vec<TopicView> {
        let topics = self.topics.lists.iter().filter(|topic| &*topic.name > after);
        topics.take(limit).map(topic_view).collect()
    }

    /// The topic of that name, if anything was ever published or said of it.
    pub fn topic(&self, name: &str) -> Option<TopicView> {
        self.topics.lists.find(name).map(topic_view)
    }

    /// The subscriptions after that name, in the order of their names.
    pub fn subscriptions(&self, after: &str, limit: usize) -> Vec<SubscriptionView> {
        let subscriptions = self.topics.subscriptions.after(after).take(limit);
        subscriptions.map(|(number, subscription)| self.subscription_view(number, subscription)).collect()
    }

    /// The subscription of that name.
    pub fn subscription(&self, name: &str) -> Option<SubscriptionView> {
        let number = self.topics.subscriptions.number(name)?;
        Some(self.subscription_view(number, self.topics.subscriptions.get(number)?))
    }

    /// A subscription's dead letters from an offset on: each with the ordinal of the record that says why
    /// ([`DeadLettered`]). `None` if there is no such subscription.
    ///
    /// [`DeadLettered`]: super::DeadLettered
    pub fn dead_letters(&self, name: &str, from: u64, limit: usize) -> Option<Vec<(u64, u64)>> {
        let number = self.topics.subscriptions.number(name)?;
        let dead = self.topics.subscriptions.get(number)?.dead.range(from..);
        Some(dead.take(limit).map(|(offset, record)| (*offset, *record)).collect())
    }

    fn subscription_view(&self, number: u64, subscription: &Subscription) -> SubscriptionView {
        let mut settings = Vec::new();
        subscription.settings().encode(&mut settings);
        SubscriptionView {
            number,
            name: subscription.name.clone(),
            generation: subscription.generation,
            next: subscription.next,
            behind: self.books.next_ordinal.saturating_sub(subscription.next),
            parked: subscription.parked_len() as u64,
            dead_letters: subscription.dead.len() as u64,
            delivered: subscription.delivered,
            forgotten: subscription.forgotten,
            failing_since: subscription.failing_since,
            rests: subscription.rests,
            settings: settings.into(),
        }
    }
}

fn topic_view(topic: &Topic) -> TopicView {
    let Topic { name, retention, events, bytes, floor, .. } = topic;
    TopicView { name: name.clone(), retention: *retention, events: *events, bytes: *bytes, floor: *floor }
}
