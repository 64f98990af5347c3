//! Reads of topics and subscriptions, and what the outbox is to deliver.

use machine::{Archive, Deliveries, PAGE_BYTES_MAX, SubscriptionView, TopicPage, TopicView};

use crate::api::ReadError;
use crate::cell::Cell;
use crate::fault::CellFault;
use crate::waiting::Until;

/// What is asked of topics and subscriptions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicQuery {
    /// The events of a topic, in order.
    Events {
        /// Its name.
        topic: String,
        /// The offset to begin at.
        from: u64,
        /// At most this many.
        limit: usize,
        /// Where there is none yet, wait for one until this instant of the cell's monotonic clock; `None` = do not wait.
        wait_until_us: Option<u64>,
    },
    /// The topics, by name.
    Topics {
        /// Begin after this name.
        after: String,
        /// At most this many.
        limit: usize,
    },
    /// The subscriptions, by name.
    Subscriptions {
        /// Begin after this name.
        after: String,
        /// At most this many.
        limit: usize,
    },
    /// One subscription.
    Subscription {
        /// Its name.
        name: String,
    },
    /// What the consumer of a subscription is to do next.
    Fetch {
        /// The subscription's name.
        name: String,
        /// The offset to begin at, if the subscription has not come further.
        from: u64,
        /// At most this many.
        limit: usize,
        /// As in [`TopicQuery::Events`].
        wait_until_us: Option<u64>,
    },
    /// A subscription's dead letters, by offset.
    DeadLetters {
        /// The subscription's name.
        name: String,
        /// The offset to begin at.
        from: u64,
        /// At most this many.
        limit: usize,
    },
    /// What a subscription is to deliver: see `machine::Machine::next_deliveries`.
    Deliveries {
        /// The subscription's number.
        subscription: u64,
        /// The offset to begin at.
        from: u64,
        /// At most this many.
        limit: usize,
    },
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicFound {
    /// Events of a topic, or of a subscription.
    Events(TopicPage),
    /// Topics.
    Topics(Vec<TopicView>),
    /// Subscriptions.
    Subscriptions(Vec<SubscriptionView>),
    /// A page of dead letters.
    DeadLetters {
        /// By offset.
        letters: Vec<DeadLetter>,
        /// The offset at which the next page begins.
        next: Option<u64>,
    },
    /// What is to be delivered; `None` if the subscription is gone, rests, or is fetched.
    Deliveries(Option<Box<Deliveries>>),
}

/// An event that was given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// The event's offset.
    pub offset: u64,
    /// The record that says why: `machine::Record`, encoded.
    pub why: Vec<u8>,
    /// The event's record, likewise.
    pub event: Vec<u8>,
}

impl TopicQuery {
    /// Until when to wait where there is nothing below the offset `next`, and what for.
    pub(crate) fn until(&self, next: u64) -> Option<(u64, Until)> {
        match self {
            Self::Events { topic, wait_until_us, .. } => {
                Some(((*wait_until_us)?, Until::Event { topic: topic.as_str().into(), from: next }))
            }
            Self::Fetch { name, wait_until_us, .. } => {
                Some(((*wait_until_us)?, Until::Delivery { subscription: name.as_str().into(), from: next }))
            }
            _ => None,
        }
    }
}

impl TopicFound {
    /// Where nothing was found and something may come: the offset that all was looked at below.
    pub(crate) const fn nothing_before(&self) -> Option<u64> {
        match self {
            Self::Events(page) if page.events.is_empty() && page.is_end => Some(page.next),
            _ => None,
        }
    }
}

impl<W, R> Cell<W, R> {
    pub(crate) fn find_in_topics(&self, query: &TopicQuery) -> Result<Result<TopicFound, ReadError>, CellFault> {
        let (machine, archive) = (&self.machine, &self.archive);
        Ok(match query {
            TopicQuery::Events { topic, from, limit, .. } => {
                let page = machine.topic_page(archive, topic, *from, *limit)?;
                page.map(TopicFound::Events).ok_or(ReadError::TopicNotFound)
            }
            TopicQuery::Topics { after, limit } => Ok(TopicFound::Topics(machine.topics(after, *limit))),
            TopicQuery::Subscriptions { after, limit } => {
                Ok(TopicFound::Subscriptions(machine.subscriptions(after, *limit)))
            }
            TopicQuery::Subscription { name } => {
                let found = machine.subscription(name).map(|view| TopicFound::Subscriptions(vec![view]));
                found.ok_or(ReadError::SubscriptionNotFound)
            }
            TopicQuery::Fetch { name, from, limit, .. } => {
                let page = machine.fetch(archive, name, *from, *limit)?;
                page.map(TopicFound::Events).ok_or(ReadError::SubscriptionNotFound)
            }
            TopicQuery::DeadLetters { name, from, limit } => {
                let letters = machine.dead_letters(name, *from, limit.saturating_add(1));
                return letters
                    .map(|letters| self.dead_letters(&letters, *limit))
                    .transpose()
                    .map(|found| found.ok_or(ReadError::SubscriptionNotFound));
            }
            TopicQuery::Deliveries { subscription, from, limit } => {
                let deliveries = machine.next_deliveries(archive, *subscription, *from, *limit)?;
                Ok(TopicFound::Deliveries(deliveries.map(Box::new)))
            }
        })
    }

    fn dead_letters(&self, places: &[(u64, u64)], limit: usize) -> Result<TopicFound, CellFault> {
        let (mut letters, mut bytes) = (Vec::new(), 0);
        for (offset, why) in places {
            if letters.len() == limit || bytes >= PAGE_BYTES_MAX {
                return Ok(TopicFound::DeadLetters { letters, next: Some(*offset) });
            }
            let letter = self.dead_letter(*offset, *why)?;
            bytes += letter.why.len() + letter.event.len();
            letters.push(letter);
        }
        Ok(TopicFound::DeadLetters { letters, next: None })
    }

    fn dead_letter(&self, offset: u64, why: u64) -> Result<DeadLetter, CellFault> {
        let read = |ordinal| {
            let mut record = Vec::new();
            self.archive.read(ordinal, &mut |bytes| record.extend_from_slice(bytes)).map(|()| record)
        };
        Ok(DeadLetter { offset, why: read(why)?, event: read(offset)? })
    }
}
