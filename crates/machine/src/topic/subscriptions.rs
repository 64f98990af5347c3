//! All subscriptions, by name, and in the order they wake.

use std::collections::{BTreeMap, BTreeSet};

use words::Stamp;

use crate::shelf::Shelf;

use super::subscription::Subscription;

/// All subscriptions, by the ordinal of the record that made them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscriptions {
    all: Shelf<Subscription>,
    names: BTreeMap<Box<str>, u64>,
    wakes: BTreeSet<(Stamp, u64)>,
    /// Those to be woken by an event of a topic.
    active: BTreeMap<Box<str>, BTreeSet<u64>>,
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Subscription> {
        self.all.get(number)
    }

    /// Each, sorted by name, after one.
    pub(crate) fn after<'s>(&'s self, after: &str) -> impl Iterator<Item = (u64, &'s Subscription)> + use<'s> {
        use std::ops::Bound::{Excluded, Unbounded};
        let names = self.names.range::<str, _>((Excluded(after), Unbounded));
        names.filter_map(|(_, number)| Some((*number, self.all.get(*number)?)))
    }

    pub(crate) fn add(&mut self, number: u64, subscription: Subscription) {
        self.names.insert(subscription.name.clone(), number);
        self.list(number, &subscription);
        self.all.insert(number, subscription);
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Subscription> {
        let subscription = self.all.remove(number)?;
        self.unlist(number, &subscription);
        self.names.remove(&subscription.name);
        Some(subscription)
    }

    /// Changes one; `None` if it is not there.
    pub(crate) fn change<T>(&mut self, number: u64, change: impl FnOnce(&mut Subscription) -> T) -> Option<T> {
        let mut subscription = self.all.remove(number)?;
        self.unlist(number, &subscription);
        let result = change(&mut subscription);
        self.list(number, &subscription);
        self.all.insert(number, subscription);
        Some(result)
    }

    /// Those that wait for events of a topic to deliver.
    pub(crate) fn active(&self, topic: &str) -> impl Iterator<Item = u64> + '_ {
        let of_topic = self.active.get(topic).into_iter().flatten();
        of_topic.copied()
    }

    /// All that wait for events to deliver.
    pub(crate) fn all_active(&self) -> impl Iterator<Item = u64> + '_ {
        self.all.iter().filter(|(_, subscription)| subscription.is_active()).map(|(number, _)| number)
    }

    /// Those of a topic that have not come past an offset.
    pub(crate) fn behind(&self, topic: &str, offset: u64) -> Vec<u64> {
        let is_behind = |subscription: &Subscription| {
            subscription.next <= offset && subscription.settings().topics.iter().any(|name| name == topic)
        };
        let behind = self.all.iter().filter(|(_, subscription)| is_behind(subscription));
        behind.map(|(number, _)| number).collect()
    }

    /// Which wakes first, and when.
    pub(crate) fn first_due(&self) -> Option<(Stamp, u64)> {
        self.wakes.first().copied()
    }

    fn list(&mut self, number: u64, subscription: &Subscription) {
        self.wakes.extend(subscription.wakes().map(|at| (at, number)));
        if subscription.is_active() {
            for topic in subscription.settings().topics.iter() {
                self.active.entry(topic.into()).or_default().insert(number);
            }
        }
    }

    fn unlist(&mut self, number: u64, subscription: &Subscription) {
        if let Some(at) = subscription.wakes() {
            self.wakes.remove(&(at, number));
        }
        for topic in subscription.settings().topics.iter() {
            let Some(numbers) = self.active.get_mut(topic) else { continue };
            numbers.remove(&number);
            if numbers.is_empty() {
                self.active.remove(topic);
            }
        }
    }

    pub(crate) fn shelf(&self) -> &Shelf<Subscription> {
        &self.all
    }

    pub(crate) fn shelf_mut(&mut self) -> &mut Shelf<Subscription> {
        &mut self.all
    }
}
