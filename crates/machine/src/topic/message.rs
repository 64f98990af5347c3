//! A message: what a topic keeps of one event, and how many of them come in one command.
//!
//! ```text
//! publish  = topic:text  count:leb128  { length:leb128 message }*count
//! message  = type:text key:text id:text source:text subject:text time:text attributes:text data:text
//! ```
//!
//! The machine looks at `type` (subscriptions filter by it) and `key` (order is kept within it). Everything else is
//! text to it, checked before it came in.

use crate::codec::{Corrupt, Reader, put_bytes, put_u64};

/// The most messages one command may publish.
pub const MESSAGES_PER_PUBLISH_MAX: usize = 1_000;

/// One event, with the names that CloudEvents 1.0 gives to its parts. Empty texts are absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Message<'a> {
    /// What kind of thing happened: `type`. Never empty.
    pub kind: &'a str,
    /// Events of one key are delivered in order: `partitionkey`. Empty: in order with nothing.
    pub key: &'a str,
    /// The publisher's own `id`.
    pub id: &'a str,
    /// The publisher's own `source`.
    pub source: &'a str,
    /// What it happened to.
    pub subject: &'a str,
    /// When it happened, as the publisher says, RFC 3339.
    pub time: &'a str,
    /// All other context attributes: a JSON object in canonical form.
    pub attributes: &'a str,
    /// JSON in canonical form.
    pub data: &'a str,
}

/// The messages of a command, still encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Messages<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// Builds [`Messages`] one by one, so that nobody has to keep them twice.
#[derive(Clone, Debug, Default)]
pub struct MessagesEncoder {
    count: usize,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
}

impl<'a> Message<'a> {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { kind, key, id, source, subject, time, attributes, data } = self;
        for text in [kind, key, id, source, subject, time, attributes, data] {
            put_bytes(out, text.as_bytes());
        }
    }

    /// How much it counts in its topic, in bytes.
    pub(crate) const fn bytes(&self) -> u64 {
        let Self { kind, key, id, source, subject, time, attributes, data } = self;
        let context = kind.len() + key.len() + id.len() + source.len() + subject.len() + time.len();
        (context + attributes.len() + data.len()) as u64
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Corrupt`].
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        Ok(Self {
            kind: r.str()?,
            key: r.str()?,
            id: r.str()?,
            source: r.str()?,
            subject: r.str()?,
            time: r.str()?,
            attributes: r.str()?,
            data: r.str()?,
        })
    }
}

impl MessagesEncoder {
    /// Adds a message.
    pub fn push(&mut self, message: &Message<'_>) {
        self.scratch.clear();
        message.encode(&mut self.scratch);
        put_bytes(&mut self.bytes, &self.scratch);
        self.count += 1;
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them.
    pub fn messages(&self) -> Messages<'_> {
        Messages { count: self.count, bytes: &self.bytes }
    }
}

impl<'a> Messages<'a> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = Result<Message<'a>, Corrupt>> + use<'a> {
        let mut r = Reader::new(self.bytes);
        (0..self.count).map(move |_| {
            let mut message = Reader::new(r.bytes()?);
            let decoded = Message::decode(&mut message)?;
            if message.is_empty() { Ok(decoded) } else { Err(Corrupt("bytes after the message")) }
        })
    }

    /// Appends their number and themselves.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.count as u64);
        out.extend_from_slice(self.bytes);
    }

    /// Reads what [`Messages::encode`] wrote, without looking into the messages.
    ///
    /// # Errors
    /// [`Corrupt`], also for none and for more than [`MESSAGES_PER_PUBLISH_MAX`].
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, Corrupt> {
        let count = usize::try_from(r.u64()?).map_err(|_| Corrupt("a count does not fit"))?;
        if count == 0 || count > MESSAGES_PER_PUBLISH_MAX {
            return Err(Corrupt("a command publishes no messages, or too many"));
        }
        let start = r.rest();
        for _ in 0..count {
            r.bytes()?;
        }
        Ok(Self { count, bytes: &start[..start.len() - r.rest().len()] })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(texts in prop::collection::vec(prop::array::uniform8("\\PC{0,9}"), 1..9)) {
            let messages: Vec<Message<'_>> = texts
                .iter()
                .map(|[kind, key, id, source, subject, time, attributes, data]| {
                    Message { kind, key, id, source, subject, time, attributes, data }
                })
                .collect();
            let mut encoder = MessagesEncoder::default();
            messages.iter().for_each(|message| encoder.push(message));
            let mut bytes = Vec::new();
            encoder.messages().encode(&mut bytes);
            let mut r = Reader::new(&bytes);
            let decoded = Messages::decode(&mut r).unwrap();
            prop_assert!(r.is_empty());
            prop_assert_eq!(decoded.iter().collect::<Result<Vec<_>, _>>(), Ok(messages));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(messages) = Messages::decode(&mut Reader::new(&bytes)) {
                let _ = messages.iter().count();
            }
        }
    }

    #[test]
    fn none_and_too_many_are_refused() {
        for count in [0, MESSAGES_PER_PUBLISH_MAX + 1] {
            let mut encoder = MessagesEncoder::default();
            (0..count).for_each(|_| encoder.push(&Message { kind: "t", ..Message::default() }));
            let mut bytes = Vec::new();
            encoder.messages().encode(&mut bytes);
            assert!(Messages::decode(&mut Reader::new(&bytes)).is_err(), "{count}");
        }
    }
}
