//! What is asked of topics and subscriptions, and what came of deliveries, in the bytes of a command.

use crate::codec::{Corrupt, Reader, put_bytes, put_option_u64, put_u64};

use super::message::Messages;

/// How long a topic keeps its events: 1 minute to 10 years.
pub const RETENTION_MS_BOUNDS: (u64, u64) = (60_000, 10 * 366 * 24 * 60 * 60 * 1_000);

/// How long a subscription may fail before it is paused: 1 minute to 30 days.
pub const PAUSE_AFTER_MS_BOUNDS: (u64, u64) = (60_000, 30 * 24 * 60 * 60 * 1_000);

/// The most topics, type prefixes or secrets of one subscription.
pub const SETTING_TEXTS_MAX: usize = 16;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicOp<'a> {
    /// Publishes events, all of them or none, in their order and with nothing between them.
    Publish {
        /// Where.
        topic: &'a str,
        /// What.
        messages: Messages<'a>,
    },
    /// Says how much a topic keeps.
    Keep {
        /// Which.
        topic: &'a str,
        /// How much.
        retention: TopicRetention,
    },
    /// Makes a subscription, or changes the settings of the one by that name.
    Subscribe {
        /// Its name.
        name: &'a str,
        /// Its settings, all of them.
        settings: Settings<'a>,
        /// Where it begins; one that is changed goes on where it is if absent, a new one begins now.
        start: Option<Start>,
    },
    /// Removes a subscription, and with it what was not delivered yet.
    Unsubscribe {
        /// Which.
        name: &'a str,
    },
    /// The consumer of a subscription without an address has done everything up to there.
    Acknowledge {
        /// Which subscription.
        name: &'a str,
        /// The offset of the last event that is done.
        offset: u64,
    },
    /// Delivers dead letters again, or forgets them.
    Letters {
        /// Of which subscription.
        name: &'a str,
        /// Which one; all if absent.
        offset: Option<u64>,
        /// Again, or never.
        replay: bool,
    },
    /// What came of deliveries. The outbox's own, under no key.
    Delivered(Reports<'a>),
}

/// How much a topic keeps. What is forgotten is not read or delivered any more; its records stay in the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicRetention {
    /// For how long, in milliseconds.
    pub ms: u64,
    /// The most bytes of events, about; `None` = no bound.
    pub bytes_max: Option<u64>,
}

/// A subscription's settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings<'a> {
    /// The topics it is of.
    pub topics: Texts<'a>,
    /// The beginnings of the types it wants; none = all types.
    pub prefixes: Texts<'a>,
    /// Where events are sent; empty = they are fetched and acknowledged.
    pub url: &'a str,
    /// The names of the secrets that sign deliveries. Secrets themselves are never in the log.
    pub secrets: Texts<'a>,
    /// How long nothing may succeed before it is paused, in milliseconds.
    pub pause_after_ms: u64,
    /// Whether it rests.
    pub paused: bool,
}

/// Some texts, still encoded: `{ text }*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Texts<'a> {
    bytes: &'a [u8],
}

/// Where a subscription begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// With the oldest event there is.
    Beginning,
    /// With the next that is published.
    Now,
    /// With the event at this offset, or the next after it.
    Offset(u64),
}

/// What came of deliveries, of any number of subscriptions: `{ length:leb128 report }*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reports<'a> {
    bytes: &'a [u8],
}

/// What came of the deliveries of one subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report<'a> {
    /// Which subscription, by its number.
    pub subscription: u64,
    /// The generation of its settings that was delivered under; what came of an older one is ignored.
    pub generation: u64,
    /// Everything below this offset is done, parked, or not wanted. What is under way or was not looked at is not below.
    pub below: u64,
    /// The offsets that were delivered: `{ offset:leb128 }*`.
    pub done: Offsets<'a>,
    /// Those that were not: `{ miss }*`.
    pub missed: Misses<'a>,
}

/// Offsets, still encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offsets<'a> {
    bytes: &'a [u8],
}

/// Misses, still encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misses<'a> {
    bytes: &'a [u8],
}

/// An event that was not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Miss<'a> {
    /// The event.
    pub offset: u64,
    /// Its key.
    pub key: &'a str,
    /// Why.
    pub why: MissedBecause,
    /// The receiver's HTTP status; 0 without an answer.
    pub status: u16,
    /// How long the receiver asks to be left alone; 0 = it does not.
    pub retry_after_ms: u64,
    /// On what evidence, for a person to read.
    pub evidence: &'a str,
}

/// Why an event was not delivered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum MissedBecause {
    /// An attempt failed, or nobody knows: it is tried again.
    Failed = 1,
    /// An earlier event of its key is parked: it waits behind that.
    Behind = 2,
    /// The receiver says that nobody is there any more (410): the subscription rests.
    Gone = 3,
}

mod kind {
    pub(super) const PUBLISH: u8 = 1;
    pub(super) const KEEP: u8 = 2;
    pub(super) const SUBSCRIBE: u8 = 3;
    pub(super) const UNSUBSCRIBE: u8 = 4;
    pub(super) const ACKNOWLEDGE: u8 = 5;
    pub(super) const LETTERS: u8 = 6;
    pub(super) const DELIVERED: u8 = 7;
}

impl<'a> TopicOp<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Publish { topic, messages } => {
                out.push(kind::PUBLISH);
                put_bytes(out, topic.as_bytes());
                messages.encode(out);
            }
            Self::Keep { topic, retention } => {
                out.push(kind::KEEP);
                put_bytes(out, topic.as_bytes());
                retention.encode(out);
            }
            Self::Subscribe { name, settings, start } => {
                out.push(kind::SUBSCRIBE);
                put_bytes(out, name.as_bytes());
                settings.encode(out);
                Start::encode(start, out);
            }
            Self::Unsubscribe { name } => {
                out.push(kind::UNSUBSCRIBE);
                put_bytes(out, name.as_bytes());
            }
            Self::Acknowledge { name, offset } => {
                out.push(kind::ACKNOWLEDGE);
                put_bytes(out, name.as_bytes());
                put_u64(out, offset);
            }
            Self::Letters { name, offset, replay } => {
                out.push(kind::LETTERS);
                put_bytes(out, name.as_bytes());
                put_option_u64(out, offset);
                out.push(u8::from(replay));
            }
            Self::Delivered(Reports { bytes }) => {
                out.push(kind::DELIVERED);
                put_bytes(out, bytes);
            }
        }
    }

    pub(crate) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(match r.u8()? {
            kind::PUBLISH => Self::Publish { topic: r.str()?, messages: Messages::decode(r)? },
            kind::KEEP => Self::Keep { topic: r.str()?, retention: TopicRetention::decode(r)? },
            kind::SUBSCRIBE => {
                Self::Subscribe { name: r.str()?, settings: Settings::decode(r)?, start: Start::decode(r)? }
            }
            kind::UNSUBSCRIBE => Self::Unsubscribe { name: r.str()? },
            kind::ACKNOWLEDGE => Self::Acknowledge { name: r.str()?, offset: r.u64()? },
            kind::LETTERS => Self::Letters { name: r.str()?, offset: r.option_u64()?, replay: r.flag()? },
            kind::DELIVERED => Self::Delivered(Reports { bytes: r.bytes()? }),
            _ => return Err(Corrupt("an unknown kind of command to topics")),
        })
    }
}

impl TopicRetention {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.ms);
        put_option_u64(out, self.bytes_max);
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self { ms: r.u64()?, bytes_max: r.option_u64()? })
    }
}

impl<'a> Settings<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.topics.bytes);
        put_bytes(out, self.prefixes.bytes);
        put_bytes(out, self.url.as_bytes());
        put_bytes(out, self.secrets.bytes);
        put_u64(out, self.pause_after_ms);
        out.push(u8::from(self.paused));
    }

    pub(crate) fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(Self {
            topics: Texts::decode(r)?,
            prefixes: Texts::decode(r)?,
            url: r.str()?,
            secrets: Texts::decode(r)?,
            pause_after_ms: r.u64()?,
            paused: r.flag()?,
        })
    }

    /// Whether events are sent, rather than fetched.
    pub const fn is_push(&self) -> bool {
        !self.url.is_empty()
    }

    /// Whether it wants events of that type.
    pub fn wants(&self, kind: &str) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| kind.starts_with(prefix))
    }
}

impl<'a> Texts<'a> {
    /// None.
    pub const NONE: Texts<'a> = Texts { bytes: &[] };

    /// Over the bytes that [`Texts::push`] wrote.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Appends one text to `out`; give the result to [`Texts::new`].
    pub fn push(out: &mut Vec<u8>, text: &str) {
        put_bytes(out, text.as_bytes());
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Each in turn; ends early at the first bytes that are none.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut r = Reader::new(self.bytes);
        std::iter::from_fn(move || (!r.is_empty()).then(|| r.str().ok()).flatten())
    }

    fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        let bytes = r.bytes()?;
        let mut texts = Reader::new(bytes);
        let mut count = 0;
        while !texts.is_empty() {
            texts.str()?;
            count += 1;
        }
        if count > SETTING_TEXTS_MAX {
            return Err(Corrupt("a subscription has too many topics, prefixes or secrets"));
        }
        Ok(Self { bytes })
    }
}

impl Start {
    fn encode(start: Option<Self>, out: &mut Vec<u8>) {
        match start {
            None => out.push(0),
            Some(Self::Beginning) => out.push(1),
            Some(Self::Now) => out.push(2),
            Some(Self::Offset(offset)) => {
                out.push(3);
                put_u64(out, offset);
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Option<Self>, Corrupt> {
        Ok(match r.u8()? {
            0 => None,
            1 => Some(Self::Beginning),
            2 => Some(Self::Now),
            3 => Some(Self::Offset(r.u64()?)),
            _ => return Err(Corrupt("an unknown beginning of a subscription")),
        })
    }
}

impl<'a> Reports<'a> {
    /// Over the bytes that [`Report::push`] wrote.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = Result<Report<'a>, Corrupt>> + use<'a> {
        let mut r = Reader::new(self.bytes);
        std::iter::from_fn(move || (!r.is_empty()).then(|| Report::decode(&mut r)))
            .scan(false, |failed, report| (!std::mem::replace(failed, report.is_err())).then_some(report))
    }
}

impl<'a> Report<'a> {
    /// Appends the report to `out`; give the result to [`Reports::new`].
    pub fn push(&self, out: &mut Vec<u8>) {
        put_u64(out, self.subscription);
        put_u64(out, self.generation);
        put_u64(out, self.below);
        put_bytes(out, self.done.bytes);
        put_bytes(out, self.missed.bytes);
    }

    fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(Self {
            subscription: r.u64()?,
            generation: r.u64()?,
            below: r.u64()?,
            done: Offsets { bytes: r.bytes()? },
            missed: Misses { bytes: r.bytes()? },
        })
    }
}

impl<'a> Offsets<'a> {
    /// Over the bytes that [`Offsets::push`] wrote.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Appends one offset to `out`; give the result to [`Offsets::new`].
    pub fn push(out: &mut Vec<u8>, offset: u64) {
        put_u64(out, offset);
    }

    /// Each in turn; ends early at the first bytes that are none.
    pub fn iter(&self) -> impl Iterator<Item = u64> + use<'a> {
        let mut r = Reader::new(self.bytes);
        std::iter::from_fn(move || (!r.is_empty()).then(|| r.u64().ok()).flatten())
    }
}

impl<'a> Misses<'a> {
    /// Over the bytes that [`Miss::push`] wrote.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Each in turn; ends early at the first bytes that are none.
    pub fn iter(&self) -> impl Iterator<Item = Miss<'a>> + use<'a> {
        let mut r = Reader::new(self.bytes);
        std::iter::from_fn(move || (!r.is_empty()).then(|| Miss::decode(&mut r).ok()).flatten())
    }
}

impl<'a> Miss<'a> {
    /// Appends the miss to `out`; give the result to [`Misses::new`].
    pub fn push(&self, out: &mut Vec<u8>) {
        put_u64(out, self.offset);
        put_bytes(out, self.key.as_bytes());
        out.push(self.why as u8);
        put_u64(out, self.status.into());
        put_u64(out, self.retry_after_ms);
        put_bytes(out, self.evidence.as_bytes());
    }

    fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(Self {
            offset: r.u64()?,
            key: r.str()?,
            why: MissedBecause::from_number(r.u8()?)?,
            status: u16::try_from(r.u64()?).map_err(|_| Corrupt("a status does not fit"))?,
            retry_after_ms: r.u64()?,
            evidence: r.str()?,
        })
    }
}

impl MissedBecause {
    fn from_number(number: u8) -> Result<Self, Corrupt> {
        let all = [Self::Failed, Self::Behind, Self::Gone];
        all.into_iter().find(|why| *why as u8 == number).ok_or(Corrupt("an unknown reason of a miss"))
    }
}
