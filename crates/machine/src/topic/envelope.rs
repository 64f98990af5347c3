//! Which records are events, and of which topic: everything that is published without a byte being written for it.
//!
//! The built-in topic `ledger` is the records of accounts and transfers. Its events have the ordinals of those records
//! as their offsets and the account the money comes from as their key, so that an account's opening, its holds and what
//! became of them are delivered in order.

use crate::lease::{Granted, LeaseRecord};
use crate::record::{Body, Event, Record};
use crate::saga::{RunEnd, SagaRecord};

use super::message::Message;
use super::record::TopicRecord;

/// The topic of accounts and transfers.
pub const TOPIC_LEDGER: &str = "ledger";

/// The topic of who holds which lease.
pub const TOPIC_LEASES: &str = "tertium.leases";

/// The topic of what needs a person.
pub const TOPIC_ESCALATIONS: &str = "tertium.escalations";

/// What begins the types of events that the server publishes by itself, and the names of their topics.
pub const RESERVED_PREFIX: &str = "tertium.";

/// What a subscription has to know of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope<'a> {
    /// Where it was published.
    pub topic: &'a str,
    /// What kind of thing happened.
    pub kind: &'a str,
    /// In order with the others of this key; empty: with nothing.
    pub key: &'a str,
}

impl<'a> Envelope<'a> {
    /// Of a record; `None` if it is no event.
    pub fn of(record: &Record<'a>) -> Option<Self> {
        match record.body {
            Body::Opened(opened) => Some(Self { topic: TOPIC_LEDGER, kind: "tertium.account.opened", key: opened.id }),
            Body::Moved(moved) => {
                Some(Self { topic: TOPIC_LEDGER, kind: transfer_event_type(moved.event), key: moved.from })
            }
            Body::CallTried(tried) if tried.escalated => {
                Some(Self { topic: TOPIC_ESCALATIONS, kind: "tertium.call.escalated", key: "" })
            }
            Body::Saga(SagaRecord::Ended { end: RunEnd::Escalated, .. }) => {
                Some(Self { topic: TOPIC_ESCALATIONS, kind: "tertium.run.escalated", key: "" })
            }
            Body::Lease(ref lease) => Self::of_lease(lease),
            Body::Topic(TopicRecord::Published { topic, message: Message { kind, key, .. } }) => {
                Some(Self { topic, kind, key })
            }
            Body::Topic(TopicRecord::Paused { name, .. }) => {
                Some(Self { topic: TOPIC_ESCALATIONS, kind: "tertium.subscription.paused", key: name })
            }
            _ => None,
        }
    }

    fn of_lease(lease: &LeaseRecord<'a>) -> Option<Self> {
        let (kind, key) = match *lease {
            LeaseRecord::Granted(Granted { name, .. }) => ("tertium.lease.granted", name),
            LeaseRecord::Released { name, .. } => ("tertium.lease.released", name),
            LeaseRecord::Expired { name, .. } => ("tertium.lease.expired", name),
            LeaseRecord::Waiting { .. } | LeaseRecord::GaveUp { .. } | LeaseRecord::Renewed { .. } => return None,
        };
        Some(Self { topic: TOPIC_LEASES, kind, key })
    }
}

/// The type of a transfer's event.
pub const fn transfer_event_type(event: Event) -> &'static str {
    match event {
        Event::Posted => "tertium.transfer.posted",
        Event::Held => "tertium.transfer.held",
        Event::Captured => "tertium.transfer.captured",
        Event::Voided => "tertium.transfer.voided",
        Event::Expired => "tertium.transfer.expired",
        Event::Reversal => "tertium.transfer.reversed",
    }
}
