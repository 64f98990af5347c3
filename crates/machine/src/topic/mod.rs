//! Topics: what is told to others, in the order in which it was decided.
//!
//! An event is a record and its offset is the record's ordinal: offsets grow, with gaps, through all topics of a cell.

mod envelope;
mod message;

pub use envelope::{Envelope, RESERVED_PREFIX, TOPIC_ESCALATIONS, TOPIC_LEDGER, transfer_event_type};
pub use message::{MESSAGES_PER_PUBLISH_MAX, Message, Messages, MessagesEncoder};
