//! What the outbox is to deliver next, worked out from the state alone.
//!
//! The outbox keeps, for each subscription and in memory, how far it has looked (`from`), what is under way, and what waits
//! because an earlier event of its key is under way. It reports what came of it ([`Report`]), with `below` as the first
//! offset that is neither reported nor ruled out. Nothing else is needed to begin anew: after a claim it starts from nothing.
//!
//! [`Report`]: super::Report

use crate::archive::{Archive, Fault};
use crate::machine::{Machine, PAGE_BYTES_MAX};

use super::pages::TopicPage;
use super::scan::{EventRecord, scan};

/// What to deliver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deliveries {
    /// The subscription's name.
    pub name: Box<str>,
    /// Which settings these are; a report names it.
    pub generation: u64,
    /// Where to.
    pub url: Box<str>,
    /// The names of the secrets to sign with.
    pub secrets: Vec<Box<str>>,
    /// What was parked and may be tried again, the lowest offset first. What is under way already is among them.
    pub ready: Vec<Delivery>,
    /// What was not tried yet, in order.
    pub fresh: Vec<Delivery>,
    /// Everything below was looked at: ask from here next.
    pub scanned: u64,
    /// Everything below is dealt with, as far as reports have said.
    pub next: u64,
}

/// One event to be delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The event.
    pub event: EventRecord,
    /// The generation of the settings it is delivered under.
    pub generation: u64,
    /// How many attempts failed.
    pub attempts: u64,
    /// An earlier event of its key is parked: this one is not tried but reported as [`MissedBecause::Behind`].
    ///
    /// [`MissedBecause::Behind`]: super::MissedBecause::Behind
    pub is_behind: bool,
}

impl Machine {
    /// What the subscription of that number is to deliver: what is ready again, and from the offset `from` on what is new, at
    /// most `limit` of each. `None` if it is gone, rests, or is fetched by its consumer.
    ///
    /// One event of a key is under way at a time: the caller keeps the later ones until it is done.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn next_deliveries<A: Archive>(
        &self,
        archive: &A,
        subscription: u64,
        from: u64,
        limit: usize,
    ) -> Result<Option<Deliveries>, Fault> {
        let found = self.topics.subscriptions.get(subscription);
        let Some(subscription) = found.filter(|subscription| subscription.is_active()) else { return Ok(None) };
        let (settings, generation) = (subscription.settings(), subscription.generation);
        let topics: Vec<&str> = settings.topics.iter().collect();
        let (mut ready, mut bytes) = (Vec::new(), 0);
        for (offset, parked) in subscription.ready().take(limit) {
            if bytes >= PAGE_BYTES_MAX {
                break;
            }
            // What is parked stays deliverable though its topic has forgotten it, or its filter has changed.
            let event = read_parked(archive, offset, &parked.key)?;
            bytes += event.record.len();
            ready.push(Delivery { event, generation, attempts: parked.attempts, is_behind: false });
        }
        let from = from.max(subscription.next);
        let limit = if subscription.has_room() { limit } else { 0 };
        let new = scan(self, archive, &topics, from, limit, |offset, envelope| {
            settings.wants(envelope.kind) && !subscription.is_settled(offset)
        })?;
        let fresh = new.events.into_iter().map(|event| {
            let is_behind = subscription.is_behind(event.offset, &event.key);
            Delivery { event, generation, attempts: 0, is_behind }
        });
        Ok(Some(Deliveries {
            name: subscription.name.clone(),
            generation,
            url: settings.url.into(),
            secrets: settings.secrets.iter().map(Box::from).collect(),
            ready,
            fresh: fresh.collect(),
            scanned: new.scanned,
            next: subscription.next,
        }))
    }

    /// The subscriptions that have something to deliver, or may have: whoever begins to deliver begins with them.
    pub fn active_subscriptions(&self) -> Vec<u64> {
        self.topics.subscriptions.all_active().collect()
    }

    /// What the consumer of a subscription is to do next, from the offset `from` on or where it has come to, at most `limit`.
    /// `None` if there is no subscription of that name.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn fetch<A: Archive>(
        &self,
        archive: &A,
        name: &str,
        from: u64,
        limit: usize,
    ) -> Result<Option<TopicPage>, Fault> {
        let subscriptions = &self.topics.subscriptions;
        let found = subscriptions.number(name).and_then(|number| subscriptions.get(number));
        let Some(subscription) = found else { return Ok(None) };
        let settings = subscription.settings();
        let topics: Vec<&str> = settings.topics.iter().collect();
        let from = from.max(subscription.next);
        let new = scan(self, archive, &topics, from, limit, |_, envelope| settings.wants(envelope.kind))?;
        Ok(Some(TopicPage::of(self, new)))
    }
}

fn read_parked<A: Archive>(archive: &A, offset: u64, key: &str) -> Result<EventRecord, Fault> {
    let mut record = Vec::new();
    archive.read(offset, &mut |bytes| record.extend_from_slice(bytes))?;
    Ok(EventRecord { offset, key: key.into(), record })
}
