//! What the archive keeps of topics and subscriptions.

use crate::codec::{Corrupt, Reader, put_bytes, put_u64};

use super::message::Message;
use super::order::{Settings, TopicRetention};

/// A record about a topic or a subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicRecord<'a> {
    /// An event that was published; the record's ordinal is its offset.
    Published {
        /// Where.
        topic: &'a str,
        /// What.
        message: Message<'a>,
    },
    /// Events were published, in the records just before this one.
    PublishedAll {
        /// Where.
        topic: &'a str,
        /// The offset of the first; the others follow.
        first: u64,
        /// How many.
        count: u64,
    },
    /// How much a topic keeps was said.
    Kept {
        /// Which.
        topic: &'a str,
        /// How much.
        retention: TopicRetention,
    },
    /// A subscription was made or changed.
    Subscribed {
        /// Its name.
        name: &'a str,
        /// Its number: the ordinal of the record that made it.
        number: u64,
        /// Which settings these are, from 1.
        generation: u64,
        /// Everything below this offset is behind it.
        next: u64,
        /// Its settings.
        settings: Settings<'a>,
    },
    /// A subscription was removed.
    Unsubscribed {
        /// Its name.
        name: &'a str,
        /// Its number.
        number: u64,
    },
    /// A consumer has done everything up to an offset.
    Acknowledged {
        /// The subscription's name.
        name: &'a str,
        /// Everything below this offset is done.
        next: u64,
    },
    /// An event could not be delivered, and is kept for a person.
    DeadLettered(DeadLettered<'a>),
    /// Dead letters were put up for delivery again, or forgotten.
    LettersMoved {
        /// The subscription's name.
        name: &'a str,
        /// How many.
        count: u64,
        /// Again, or never.
        replay: bool,
    },
    /// A subscription was paused, because nothing succeeded for long, or nobody is there any more.
    Paused {
        /// Its name.
        name: &'a str,
        /// Its number.
        number: u64,
        /// For how long nothing had succeeded, in milliseconds.
        failing_ms: u64,
        /// On what evidence.
        evidence: &'a str,
    },
}

/// An event that could not be delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeadLettered<'a> {
    /// The subscription's name.
    pub name: &'a str,
    /// The subscription's number.
    pub number: u64,
    /// The event.
    pub offset: u64,
    /// Its key.
    pub key: &'a str,
    /// How many attempts failed.
    pub attempts: u64,
    /// The receiver's last HTTP status; 0 without an answer.
    pub status: u16,
    /// On what evidence, for a person to read.
    pub evidence: &'a str,
}

mod kind {
    pub(super) const PUBLISHED: u8 = 1;
    pub(super) const PUBLISHED_ALL: u8 = 2;
    pub(super) const KEPT: u8 = 3;
    pub(super) const SUBSCRIBED: u8 = 4;
    pub(super) const UNSUBSCRIBED: u8 = 5;
    pub(super) const ACKNOWLEDGED: u8 = 6;
    pub(super) const DEAD_LETTERED: u8 = 7;
    pub(super) const LETTERS_MOVED: u8 = 8;
    pub(super) const PAUSED: u8 = 9;
}

impl<'a> TopicRecord<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, name) = match *self {
            Self::Published { topic, .. } => (kind::PUBLISHED, topic),
            Self::PublishedAll { topic, .. } => (kind::PUBLISHED_ALL, topic),
            Self::Kept { topic, .. } => (kind::KEPT, topic),
            Self::Subscribed { name, .. } => (kind::SUBSCRIBED, name),
            Self::Unsubscribed { name, .. } => (kind::UNSUBSCRIBED, name),
            Self::Acknowledged { name, .. } => (kind::ACKNOWLEDGED, name),
            Self::DeadLettered(DeadLettered { name, .. }) => (kind::DEAD_LETTERED, name),
            Self::LettersMoved { name, .. } => (kind::LETTERS_MOVED, name),
            Self::Paused { name, .. } => (kind::PAUSED, name),
        };
        out.push(kind);
        put_bytes(out, name.as_bytes());
        match *self {
            Self::Published { message, .. } => message.encode(out),
            Self::PublishedAll { first, count, .. } => {
                put_u64(out, first);
                put_u64(out, count);
            }
            Self::Kept { retention, .. } => retention.encode(out),
            Self::Subscribed { number, generation, next, settings, .. } => {
                put_u64(out, number);
                put_u64(out, generation);
                put_u64(out, next);
                settings.encode(out);
            }
            Self::Unsubscribed { number, .. } => put_u64(out, number),
            Self::Acknowledged { next, .. } => put_u64(out, next),
            Self::DeadLettered(letter) => letter.encode(out),
            Self::LettersMoved { count, replay, .. } => {
                put_u64(out, count);
                out.push(u8::from(replay));
            }
            Self::Paused { number, failing_ms, evidence, .. } => {
                put_u64(out, number);
                put_u64(out, failing_ms);
                put_bytes(out, evidence.as_bytes());
            }
        }
    }

    pub(crate) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        let (kind, name) = (r.u8()?, r.str()?);
        let topic = name;
        Ok(match kind {
            kind::PUBLISHED => Self::Published { topic, message: Message::decode(r)? },
            kind::PUBLISHED_ALL => Self::PublishedAll { topic, first: r.u64()?, count: r.u64()? },
            kind::KEPT => Self::Kept { topic, retention: TopicRetention::decode(r)? },
            kind::SUBSCRIBED => Self::Subscribed {
                name,
                number: r.u64()?,
                generation: r.u64()?,
                next: r.u64()?,
                settings: Settings::decode(r)?,
            },
            kind::UNSUBSCRIBED => Self::Unsubscribed { name, number: r.u64()? },
            kind::ACKNOWLEDGED => Self::Acknowledged { name, next: r.u64()? },
            kind::DEAD_LETTERED => Self::DeadLettered(DeadLettered::decode(name, r)?),
            kind::LETTERS_MOVED => Self::LettersMoved { name, count: r.u64()?, replay: r.flag()? },
            kind::PAUSED => Self::Paused { name, number: r.u64()?, failing_ms: r.u64()?, evidence: r.str()? },
            _ => return Err(Corrupt("an unknown kind of record about topics")),
        })
    }
}

impl<'a> DeadLettered<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.number);
        put_u64(out, self.offset);
        put_bytes(out, self.key.as_bytes());
        put_u64(out, self.attempts);
        put_u64(out, self.status.into());
        put_bytes(out, self.evidence.as_bytes());
    }

    fn decode(name: &'a str, r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(Self {
            name,
            number: r.u64()?,
            offset: r.u64()?,
            key: r.str()?,
            attempts: r.u64()?,
            status: u16::try_from(r.u64()?).map_err(|_| Corrupt("a status does not fit"))?,
            evidence: r.str()?,
        })
    }
}
