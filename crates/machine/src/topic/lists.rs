//! Which events a topic has, and how many of them it keeps.
//!
//! A topic is a list of ordinals, in chunks. The events themselves are records in the archive; what a topic forgets is only
//! not listed any more. Whole chunks are forgotten, the oldest first: by age once all of a chunk is old enough, by size
//! once the bound would still be reached without it.

use std::collections::{BTreeMap, BTreeSet};

use words::Stamp;

use crate::codec::{Corrupt, Reader, put_bytes, put_option_u64, put_u64};
use crate::shelf::Shelf;

use super::order::TopicRetention;

/// What a topic keeps until somebody says otherwise: 7 days.
pub(crate) const RETENTION_DEFAULT: TopicRetention = TopicRetention { ms: 7 * 24 * 60 * 60 * 1_000, bytes_max: None };

/// A chunk is full with so many events, or so many bytes.
const CHUNK_EVENTS_MAX: u32 = 256;
const CHUNK_BYTES_MAX: u64 = 1 << 20;

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Topic {
    pub(crate) name: Box<str>,
    pub(crate) retention: TopicRetention,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    /// What is below this offset was forgotten.
    pub(crate) floor: u64,
    /// The chunk that is being filled.
    tail: Option<u64>,
}

/// Some consecutive events of a topic. Its number is the offset of its first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chunk {
    pub(crate) topic: u64,
    pub(crate) last: u64,
    pub(crate) events: u32,
    pub(crate) bytes: u64,
    pub(crate) newest: Stamp,
    /// From each offset to the next: `{ gap:leb128 }*`.
    gaps: Vec<u8>,
}

/// All topics, by the ordinal of the record that made them, and their chunks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    topics: Shelf<Topic>,
    chunks: Shelf<Chunk>,
    names: BTreeMap<Box<str>, u64>,
    /// The first offset of each chunk, by topic.
    starts: BTreeSet<(u64, u64)>,
    /// When the oldest chunk of each topic is old enough: long ago, if the topic is too large.
    wakes: BTreeSet<(Stamp, u64)>,
}

impl Lists {
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    pub(crate) fn name(&self, number: u64) -> Option<&str> {
        self.topics.get(number).map(|topic| &*topic.name)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Topic> {
        self.topics.get(self.number(name)?)
    }

    /// Each, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Topic> + '_ {
        self.names.values().filter_map(|number| self.topics.get(*number))
    }

    /// Makes the topic that has no number yet.
    pub(crate) fn make(&mut self, number: u64, name: &str) {
        let topic =
            Topic { name: name.into(), retention: RETENTION_DEFAULT, events: 0, bytes: 0, floor: number, tail: None };
        self.restore_topic(number, topic);
    }

    pub(crate) fn keep(&mut self, number: u64, retention: TopicRetention) {
        self.change(number, |topic| topic.retention = retention);
    }

    /// Lists one more event, of so many bytes.
    pub(crate) fn append(&mut self, number: u64, offset: u64, bytes: u64, stamp: Stamp) {
        let tail = self.topics.get(number).expect("events are listed in topics that are").tail;
        let wake = self.wake(number);
        let open = tail.and_then(|first| self.chunks.remove(first).map(|chunk| (first, chunk)));
        let first = match open {
            Some((first, mut chunk)) if chunk.events < CHUNK_EVENTS_MAX && chunk.bytes < CHUNK_BYTES_MAX => {
                put_u64(&mut chunk.gaps, offset - chunk.last);
                chunk.last = offset;
                chunk.events += 1;
                chunk.bytes += bytes;
                chunk.newest = stamp;
                self.chunks.insert(first, chunk);
                first
            }
            full => {
                if let Some((first, chunk)) = full {
                    self.chunks.insert(first, chunk);
                }
                let chunk = Chunk { topic: number, last: offset, events: 1, bytes, newest: stamp, gaps: Vec::new() };
                self.chunks.insert(offset, chunk);
                self.starts.insert((number, offset));
                offset
            }
        };
        self.change_from(number, wake, |topic| {
            topic.tail = Some(first);
            topic.events += 1;
            topic.bytes += bytes;
        });
    }

    /// Forgets the oldest chunk of a topic, if at `now` it is old enough or the topic too large, and gives it with the
    /// offset of its first event.
    pub(crate) fn forget(&mut self, number: u64, now: Stamp) -> Option<(u64, Chunk)> {
        let topic = self.topics.get(number)?;
        let first = self.first_chunk(number)?;
        let chunk = self.chunks.get(first)?;
        if due(topic, chunk) > now {
            return None;
        }
        let wake = self.wake(number);
        self.starts.remove(&(number, first));
        let chunk = self.chunks.remove(first)?;
        self.change_from(number, wake, |topic| {
            topic.floor = chunk.last + 1;
            topic.events -= u64::from(chunk.events);
            topic.bytes -= chunk.bytes;
            topic.tail = topic.tail.filter(|tail| *tail != first);
        });
        Some((first, chunk))
    }

    /// The offsets of a topic's events, from one on.
    pub(crate) fn offsets(&self, number: u64, from: u64) -> impl Iterator<Item = u64> + '_ {
        // The chunk that begins at or before `from` may still reach over it.
        let before = self.starts.range((number, 0)..=(number, from)).next_back();
        let begin = before.copied().unwrap_or((number, from));
        let starts = self.starts.range(begin..=(number, u64::MAX));
        let chunks = starts.filter_map(|(_, first)| Some((*first, self.chunks.get(*first)?)));
        chunks.flat_map(|(first, chunk)| chunk.offsets(first)).skip_while(move |offset| *offset < from)
    }

    /// The offset that all events of a topic are below.
    pub(crate) fn end(&self, number: u64) -> u64 {
        let tail = self.topics.get(number).and_then(|topic| self.chunks.get(topic.tail?));
        tail.map_or(0, |chunk| chunk.last + 1)
    }

    /// Which topic is to forget a chunk first, and when.
    pub(crate) fn first_due(&self) -> Option<(Stamp, u64)> {
        self.wakes.first().copied()
    }

    fn first_chunk(&self, number: u64) -> Option<u64> {
        self.starts.range((number, 0)..=(number, u64::MAX)).next().map(|(_, first)| *first)
    }

    fn wake(&self, number: u64) -> Option<Stamp> {
        let topic = self.topics.get(number)?;
        let chunk = self.chunks.get(self.first_chunk(number)?)?;
        Some(due(topic, chunk))
    }

    fn change(&mut self, number: u64, change: impl FnOnce(&mut Topic)) {
        let wake = self.wake(number);
        self.change_from(number, wake, change);
    }

    /// Changes a topic that woke at `wake` before.
    fn change_from(&mut self, number: u64, wake: Option<Stamp>, change: impl FnOnce(&mut Topic)) {
        if let Some(mut topic) = self.topics.remove(number) {
            change(&mut topic);
            self.topics.insert(number, topic);
        }
        let after = self.wake(number);
        if wake != after {
            if let Some(wake) = wake {
                self.wakes.remove(&(wake, number));
            }
            self.wakes.extend(after.map(|after| (after, number)));
        }
    }

    /// A topic of a snapshot; its chunks come after it.
    pub(crate) fn restore_topic(&mut self, number: u64, topic: Topic) {
        self.names.insert(topic.name.clone(), number);
        self.topics.insert(number, topic);
    }

    /// A chunk of a snapshot.
    pub(crate) fn restore_chunk(&mut self, first: u64, chunk: Chunk) -> Result<(), Corrupt> {
        let number = chunk.topic;
        if self.topics.get(number).is_none() {
            return Err(Corrupt("a chunk of a topic that is not"));
        }
        let wake = self.wake(number);
        self.starts.insert((number, first));
        self.chunks.insert(first, chunk);
        self.change_from(number, wake, |_| {});
        Ok(())
    }

    pub(crate) fn shelves(&self) -> (&Shelf<Topic>, &Shelf<Chunk>) {
        (&self.topics, &self.chunks)
    }

    pub(crate) fn shelves_mut(&mut self) -> (&mut Shelf<Topic>, &mut Shelf<Chunk>) {
        (&mut self.topics, &mut self.chunks)
    }
}

/// When the oldest chunk of a topic is to be forgotten.
fn due(topic: &Topic, oldest: &Chunk) -> Stamp {
    let is_too_much = topic.retention.bytes_max.is_some_and(|max| topic.bytes - oldest.bytes >= max);
    if is_too_much { Stamp::ZERO } else { oldest.newest.plus_ms(topic.retention.ms) }
}

impl Topic {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        self.retention.encode(out);
        for n in [self.events, self.bytes, self.floor] {
            put_u64(out, n);
        }
        put_option_u64(out, self.tail);
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            name: r.str()?.into(),
            retention: TopicRetention::decode(r)?,
            events: r.u64()?,
            bytes: r.u64()?,
            floor: r.u64()?,
            tail: r.option_u64()?,
        })
    }
}

impl Chunk {
    /// The offsets in it, of which `first` is the first.
    pub(crate) fn offsets(&self, first: u64) -> impl Iterator<Item = u64> + '_ {
        let mut gaps = Reader::new(&self.gaps);
        std::iter::successors(Some(first), move |offset| {
            (!gaps.is_empty()).then(|| gaps.u64().ok()).flatten().map(|gap| offset + gap)
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.topic);
        put_u64(out, self.last);
        put_u64(out, self.events.into());
        put_u64(out, self.bytes);
        put_u64(out, self.newest.raw());
        put_bytes(out, &self.gaps);
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            topic: r.u64()?,
            last: r.u64()?,
            events: u32::try_from(r.u64()?).map_err(|_| Corrupt("a count does not fit"))?,
            bytes: r.u64()?,
            newest: Stamp::from_raw(r.u64()?),
            gaps: r.bytes()?.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOPIC: u64 = 0;

    /// What is kept of events (offset, bytes, age), told naively by chunks of up to 256.
    fn filled(gaps: &[u64], retention: TopicRetention) -> (Lists, Vec<u64>) {
        let mut lists = Lists::default();
        lists.make(TOPIC, "t");
        lists.keep(TOPIC, retention);
        let mut offset = 0;
        let mut all = Vec::new();
        for gap in gaps {
            offset += gap;
            lists.append(TOPIC, offset, 10, Stamp::from_micros(offset * 1_000));
            all.push(offset);
        }
        (lists, all)
    }

    proptest! {
        #[test]
        fn read_from_anywhere(gaps in prop::collection::vec(1u64..5, 0..900), from in 0u64..4_000) {
            let (lists, all) = filled(&gaps, RETENTION_DEFAULT);
            let expected: Vec<u64> = all.into_iter().filter(|offset| *offset >= from).collect();
            prop_assert_eq!(lists.offsets(TOPIC, from).collect::<Vec<_>>(), expected);
        }

        /// What is young enough stays, and enough bytes stay; what is kept is at most one chunk more than was asked for.
        #[test]
        fn forgets_the_old_and_the_much(
            gaps in prop::collection::vec(1u64..5, 1..1_500),
            ms in 1u64..4_000,
            bytes_max in prop::option::of(0u64..20_000),
        ) {
            let (mut lists, all) = filled(&gaps, TopicRetention { ms, bytes_max });
            let now = all[all.len() - 1];
            let mut forgotten = Vec::new();
            while let Some((first, chunk)) = lists.forget(TOPIC, Stamp::from_micros(now * 1_000)) {
                forgotten.extend(chunk.offsets(first));
            }
            let kept: Vec<u64> = lists.offsets(TOPIC, 0).collect();
            prop_assert_eq!([forgotten.clone(), kept.clone()].concat(), all);
            let topic = lists.find("t").unwrap();
            prop_assert_eq!((topic.events, topic.bytes), (kept.len() as u64, kept.len() as u64 * 10));
            prop_assert!(kept.first().is_none_or(|first| topic.floor <= *first));
            let due = lists.first_due();
            prop_assert!(due.is_none_or(|(at, _)| at > Stamp::from_micros(now * 1_000)), "nothing old is left");
            if let (Some(last), Some(max)) = (forgotten.last(), bytes_max) {
                prop_assert!(last + ms <= now || topic.bytes >= max);
            }
            if bytes_max.is_none() {
                prop_assert!(forgotten.iter().all(|offset| offset + ms <= now), "only what is old is forgotten");
            }
            if let Some(max) = bytes_max {
                prop_assert!(topic.bytes < max + 2 * 2_560, "at most one chunk too many");
            }
        }
    }
}
