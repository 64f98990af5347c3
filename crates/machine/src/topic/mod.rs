//! Topics: what is told to others, in the order in which it was decided.
//!
//! An event is a record and its offset is the record's ordinal: offsets grow, with gaps, through all topics of a cell. A
//! topic lists the offsets of its events; the built-in topic `ledger` needs no list, because the records of accounts and
//! transfers are its events.
//!
//! If this stops halfway: the machine knows what was delivered and what waits to be tried again; what is under way only the
//! outbox knows. Whoever leads next has the outbox look at every subscription anew, and what was under way is delivered
//! once more, with the same offset and under the same id.

pub(crate) mod delivered;
mod deliveries;
pub(crate) mod due;
mod envelope;
pub(crate) mod letters;
mod lists;
mod message;
mod order;
mod pages;
pub(crate) mod publish;
mod record;
mod scan;
pub(crate) mod snapshot;
pub(crate) mod subscribe;
mod subscription;
mod subscriptions;
mod window;

use words::Stamp;

use self::lists::Lists;
use self::subscriptions::Subscriptions;

pub use deliveries::{Deliveries, Delivery};
pub use envelope::{Envelope, RESERVED_PREFIX, TOPIC_ESCALATIONS, TOPIC_LEASES, TOPIC_LEDGER, transfer_event_type};
pub use message::{MESSAGES_PER_PUBLISH_MAX, Message, Messages, MessagesEncoder};
pub use order::{
    Miss, MissedBecause, Misses, Offsets, PAUSE_AFTER_MS_BOUNDS, RETENTION_MS_BOUNDS, Report, Reports,
    SETTING_TEXTS_MAX, Settings, Start, Texts, TopicOp, TopicRetention,
};
pub use pages::{SubscriptionView, TopicPage, TopicView};
pub use record::{DeadLettered, TopicRecord};
pub use scan::{EventRecord, SCAN_RECORDS_MAX};
pub use subscription::{DEAD_LETTERS_MAX, Rest};
pub use window::{AttemptEnd, DeliveryWindow, WindowAsk};

/// All topics and subscriptions of a cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topics {
    pub(crate) lists: Lists,
    pub(crate) subscriptions: Subscriptions,
}

/// The most chunks that topics forget in one entry; the rest wait for the next, and the timer says so.
pub(crate) const CHUNKS_FORGOTTEN_PER_ENTRY_MAX: u32 = 64;

impl Topics {
    /// Lets a topic forget what it keeps no longer, and takes from `left` for each chunk; what it has no room for is due at
    /// once. A subscription that had not come so far is told how much it missed.
    pub(crate) fn forget(&mut self, number: u64, now: Stamp, left: &mut u32) {
        while *left > 0 {
            let Some((first, chunk)) = self.lists.forget(number, now) else { return };
            *left -= 1;
            let (lists, subscriptions) = (&self.lists, &mut self.subscriptions);
            let Some(name) = lists.name(number) else { return };
            for behind in subscriptions.behind(name, chunk.last) {
                subscriptions.change(behind, |subscription| {
                    let offsets = chunk.offsets(first).filter(|offset| *offset >= subscription.next);
                    let missed = offsets.filter(|offset| !subscription.is_settled(*offset)).count();
                    subscription.forgotten += missed as u64;
                });
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
