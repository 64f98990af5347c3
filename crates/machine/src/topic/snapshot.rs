//! Topics and subscriptions in snapshots and in the digest.

use crate::codec::{Corrupt, Reader, put_u64};

use super::Topics;
use super::lists::{Chunk, Topic};
use super::subscription::Subscription;

/// What of the topics is written next, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Topics,
    Chunks,
    Subscriptions,
}

impl Part {
    /// The number of its sections.
    pub(crate) const fn section(self) -> u8 {
        match self {
            Self::Topics => 16,
            Self::Chunks => 17,
            Self::Subscriptions => 18,
        }
    }

    pub(crate) fn of_section(number: u8) -> Option<Self> {
        [Self::Topics, Self::Chunks, Self::Subscriptions].into_iter().find(|part| part.section() == number)
    }

    /// The part after it, if there is one.
    pub(crate) const fn after(self) -> Option<Self> {
        match self {
            Self::Topics => Some(Self::Chunks),
            Self::Chunks => Some(Self::Subscriptions),
            Self::Subscriptions => None,
        }
    }
}

impl Topics {
    pub(crate) fn freeze(&mut self) {
        let (topics, chunks) = self.lists.shelves_mut();
        topics.freeze();
        chunks.freeze();
        self.subscriptions.shelf_mut().freeze();
    }

    pub(crate) fn thaw(&mut self) {
        let (topics, chunks) = self.lists.shelves_mut();
        topics.thaw();
        chunks.thaw();
        self.subscriptions.shelf_mut().thaw();
    }

    /// Appends the next thing of that part, as it was when the snapshot began; `false` if there is none.
    pub(crate) fn take_frozen(&mut self, part: Part, out: &mut Vec<u8>) -> bool {
        let (topics, chunks) = self.lists.shelves_mut();
        let taken = match part {
            Part::Topics => topics.take_frozen().map(|(number, topic)| put(out, number, |out| topic.encode(out))),
            Part::Chunks => chunks.take_frozen().map(|(first, chunk)| put(out, first, |out| chunk.encode(out))),
            Part::Subscriptions => {
                let taken = self.subscriptions.shelf_mut().take_frozen();
                taken.map(|(number, subscription)| put(out, number, |out| subscription.encode(out)))
            }
        };
        taken.is_some()
    }

    /// Reads one thing of a part.
    pub(crate) fn restore(&mut self, part: Part, r: &mut Reader<'_>) -> Result<(), Corrupt> {
        let number = r.u64()?;
        match part {
            Part::Topics => {
                let topic = Topic::decode(r)?;
                if self.lists.number(&topic.name).is_some() {
                    return Err(Corrupt("a topic is there twice"));
                }
                self.lists.restore_topic(number, topic);
            }
            Part::Chunks => self.lists.restore_chunk(number, Chunk::decode(r)?)?,
            Part::Subscriptions => {
                let subscription = Subscription::decode(r)?;
                if self.subscriptions.number(&subscription.name).is_some() {
                    return Err(Corrupt("a subscription is there twice"));
                }
                self.subscriptions.add(number, subscription);
            }
        }
        Ok(())
    }

    /// Hands the bytes of each thing to `visit`, in the order of snapshots.
    pub(crate) fn visit(&self, mut visit: impl FnMut(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        let (topics, chunks) = self.lists.shelves();
        for (number, topic) in topics.iter() {
            put(&mut bytes, number, |out| topic.encode(out));
            visit(&mut bytes);
        }
        for (first, chunk) in chunks.iter() {
            put(&mut bytes, first, |out| chunk.encode(out));
            visit(&mut bytes);
        }
        for (number, subscription) in self.subscriptions.shelf().iter() {
            put(&mut bytes, number, |out| subscription.encode(out));
            visit(&mut bytes);
        }
    }
}

fn put(out: &mut Vec<u8>, number: u64, encode: impl FnOnce(&mut Vec<u8>)) {
    put_u64(out, number);
    encode(out);
}
