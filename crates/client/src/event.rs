//! Topics, and the subscriptions to them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Write;
use crate::client::Client;
use crate::ledger::Page;
use crate::read::Read;
use crate::transport::{and_cursor, segment};

/// An event to publish, in the short form: the server gives it its id, its source and its time.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct NewEvent {
    /// What happened, as in `order.paid`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Events with one key are in order with each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// What was published.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Published {
    /// Where.
    pub topic: String,
    /// The offset of the first event.
    pub first_offset: u64,
    /// The offset of the last.
    pub last_offset: u64,
    /// How many.
    pub count: u64,
}

/// A page of events.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct EventPage {
    /// The events, as CloudEvents 1.0 in JSON.
    pub items: Vec<Value>,
    /// The offset at which to read on.
    pub next_offset: u64,
    /// Whether there were no more.
    pub end: bool,
}

/// A topic as it is now.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How long its events are kept, in milliseconds.
    pub retention_ms: u64,
    /// How many bytes of them are kept; `None` for no bound.
    pub bytes_max: Option<u64>,
    /// How many events there are.
    pub events: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// The lowest offset that can still be read.
    pub first_offset: u64,
}

/// What is kept of a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Retention {
    /// How long, in milliseconds.
    pub retention_ms: u64,
    /// How many bytes; `None` for no bound.
    pub bytes_max: Option<u64>,
}

/// What a subscription is given, all of it at once.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct SubscriptionSettings {
    /// The topics it is of.
    pub topics: Vec<String>,
    /// The beginnings of the types that it wants; all types if empty.
    #[serde(default)]
    pub types: Vec<String>,
    /// Where its events are sent; `None`: its consumer fetches them.
    pub url: Option<String>,
    /// The names of the secrets that sign deliveries.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// How long nothing may succeed before it rests, in milliseconds; the server's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_after_ms: Option<u64>,
    /// Whether it rests.
    #[serde(default)]
    pub paused: bool,
    /// `beginning`, `now` or an offset; absent: where it is, and a new one now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Value>,
}

/// A subscription as it is now.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct Subscription {
    /// Its name.
    pub name: String,
    /// What it was given.
    #[serde(flatten)]
    pub settings: SubscriptionSettings,
    /// Everything below is done, parked or not wanted.
    pub next_offset: u64,
    /// Why it rests: `asked`, `failing`, `gone` or `dead_letters_full`.
    pub resting: Option<String>,
    /// Since when nothing succeeds, RFC 3339.
    pub failing_since: Option<String>,
    /// How many events wait for another attempt.
    pub parked: u64,
    /// How many were given up.
    pub dead_letters: u64,
    /// How many were delivered.
    pub delivered: u64,
    /// How many were no longer kept when their turn came.
    pub forgotten: u64,
    /// How many records of its topics it has yet to look at.
    pub records_behind: u64,
}

/// An event that was given up.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct DeadLetter {
    /// Its offset.
    pub offset: u64,
    /// How often it was tried.
    pub attempts: u64,
    /// The last status that the receiver answered; 0 if none.
    pub status: u64,
    /// What was seen last.
    pub evidence: String,
    /// When it was given up, RFC 3339.
    pub at: String,
    /// The event, as CloudEvents 1.0 in JSON; `None` once it is no longer kept.
    pub event: Option<Value>,
}

/// A page of dead letters.
#[derive(Clone, PartialEq, Debug, Deserialize, Serialize)]
pub struct DeadLetterPage {
    /// The dead letters, by offset.
    pub items: Vec<DeadLetter>,
    /// The offset to read on at; `None` at the end.
    pub next: Option<u64>,
}

/// What a write on a subscription answers; which members there are depends on the write.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct SubscriptionChanged {
    /// Which.
    pub name: String,
    /// Where it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// How many dead letters are delivered again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<u64>,
    /// How many dead letters were dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
}

/// What is kept of a topic from now on.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
pub struct TopicKept {
    /// Which.
    pub topic: String,
    /// How long, in milliseconds.
    pub retention_ms: u64,
    /// How many bytes; `None` for no bound.
    pub bytes_max: Option<u64>,
}

#[derive(Serialize)]
struct Offset {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
}

impl Client {
    /// Publishes an event.
    pub fn publish(&self, topic: &str, event: &NewEvent) -> Write<'_, Published> {
        Write::new(self, format!("/v1/topics/{}/events", segment(topic)), event)
    }

    /// Reads a topic's events from an offset on, up to `limit` (1 to 1000). Where there are none yet it waits so long, in
    /// milliseconds, which is to be less than the deadline.
    pub fn events(&self, topic: &str, from: u64, limit: u16, wait_ms: u64) -> Read<'_, EventPage> {
        let topic = segment(topic);
        Read::new(self, format!("/v1/topics/{topic}/events?from={from}&limit={limit}&wait_ms={wait_ms}"))
    }

    /// Lists topics by name, up to `limit` (1 to 1000) from where the page before ended.
    pub fn topics(&self, limit: u16, cursor: Option<&str>) -> Read<'_, Page<Topic>> {
        Read::new(self, format!("/v1/topics?limit={limit}{}", and_cursor(cursor)))
    }

    /// Says how long and how much of a topic is kept.
    pub fn keep_topic(&self, topic: &str, retention: &Retention) -> Write<'_, TopicKept> {
        Write::put(self, format!("/v1/topics/{}", segment(topic)), retention)
    }

    /// Lists subscriptions by name, up to `limit` (1 to 1000) from where the page before ended.
    pub fn subscriptions(&self, limit: u16, cursor: Option<&str>) -> Read<'_, Page<Subscription>> {
        Read::new(self, format!("/v1/subscriptions?limit={limit}{}", and_cursor(cursor)))
    }

    /// Reads a subscription.
    pub fn subscription(&self, name: &str) -> Read<'_, Subscription> {
        Read::new(self, subscription_path(name, ""))
    }

    /// Makes a subscription, or gives the one of that name other settings.
    pub fn subscribe(&self, name: &str, settings: &SubscriptionSettings) -> Write<'_, SubscriptionChanged> {
        Write::put(self, subscription_path(name, ""), settings)
    }

    /// Removes a subscription, and what it has not delivered.
    pub fn unsubscribe(&self, name: &str) -> Write<'_, SubscriptionChanged> {
        Write::delete(self, subscription_path(name, ""))
    }

    /// Reads what the consumer of a subscription without a `url` is to do next; as [`events`](Self::events) otherwise.
    pub fn fetch(&self, name: &str, from: u64, limit: u16, wait_ms: u64) -> Read<'_, EventPage> {
        let path = subscription_path(name, "/events");
        Read::new(self, format!("{path}?from={from}&limit={limit}&wait_ms={wait_ms}"))
    }

    /// Says that everything up to this offset, which is among it, is done.
    pub fn acknowledge(&self, name: &str, offset: u64) -> Write<'_, SubscriptionChanged> {
        Write::new(self, subscription_path(name, "/ack"), &Offset { offset: Some(offset) })
    }

    /// Lists the events that were given up, from an offset on, up to `limit` (1 to 1000).
    pub fn dead_letters(&self, name: &str, from: u64, limit: u16) -> Read<'_, DeadLetterPage> {
        // The cursor of this list is an offset.
        let cursor = if from == 0 { String::new() } else { format!("&cursor={from}") };
        Read::new(self, format!("{}?limit={limit}{cursor}", subscription_path(name, "/dead-letters")))
    }

    /// Delivers dead letters again: one, or all.
    pub fn replay_dead_letters(&self, name: &str, offset: Option<u64>) -> Write<'_, SubscriptionChanged> {
        Write::new(self, subscription_path(name, "/dead-letters/replay"), &Offset { offset })
    }

    /// Forgets dead letters: one, or all.
    pub fn drop_dead_letters(&self, name: &str, offset: Option<u64>) -> Write<'_, SubscriptionChanged> {
        Write::new(self, subscription_path(name, "/dead-letters/drop"), &Offset { offset })
    }
}

fn subscription_path(name: &str, below: &str) -> String {
    format!("/v1/subscriptions/{}{below}", segment(name))
}
