//! Strangers that events are delivered to. Each keeps, in one transaction with what an event makes it do, what it must to do
//! it once: subscription, key and offset.

use std::collections::BTreeSet;

use crate::canary::Canary;

/// How many of them there are.
pub(crate) const HOOKS: usize = 2;

/// A subscription that a world has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: &'static str,
    pub(crate) topics: &'static [&'static str],
    /// The beginning of the types it wants, if not all.
    pub(crate) prefix: Option<&'static str>,
}

/// The subscriptions of a world with events, each with the hook of its number.
pub(crate) const SUBSCRIPTIONS: [Wanted; 4] = [
    Wanted { name: "all", topics: &["orders", "notes"], prefix: None },
    Wanted { name: "orders", topics: &["orders"], prefix: None },
    Wanted { name: "money", topics: &["ledger", "orders"], prefix: Some("tertium.transfer") },
    Wanted { name: "people", topics: &["tertium.escalations"], prefix: None },
];

/// The type of events that no hook ever takes.
pub(crate) const fn poison() -> &'static str {
    "poison"
}

/// An event on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Parcel {
    pub(crate) subscription: u64,
    pub(crate) key: String,
    pub(crate) offset: u64,
    pub(crate) is_poison: bool,
    /// Sent again by something between the two.
    pub(crate) is_copy: bool,
}

/// What an event made a hook do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Effected {
    pub(crate) subscription: u64,
    pub(crate) key: String,
    pub(crate) offset: u64,
    pub(crate) time_us: u64,
}

/// One receiver of events.
#[derive(Debug, Default)]
pub(crate) struct Hook {
    stored: BTreeSet<(u64, String, u64)>,
    pub(crate) effects: Vec<Effected>,
    pub(crate) is_down: bool,
    /// An event came again, and did nothing.
    pub(crate) knew: bool,
}

impl Hook {
    /// An event came in. Says whether it was taken.
    pub(crate) fn receive(&mut self, parcel: &Parcel, time_us: u64, canary: Option<Canary>) -> bool {
        if parcel.is_poison {
            return false;
        }
        let Parcel { subscription, ref key, offset, .. } = *parcel;
        let is_new = self.stored.insert((subscription, key.clone(), offset));
        if is_new || canary == Some(Canary::ForgetOffset) {
            self.effects.push(Effected { subscription, key: key.clone(), offset, time_us });
        } else {
            self.knew = true;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_takes_effect_once() {
        let mut hook = Hook::default();
        let parcel = Parcel { subscription: 1, key: "a".to_owned(), offset: 7, is_poison: false, is_copy: false };
        let next = Parcel { offset: 8, ..parcel.clone() };
        let bad = Parcel { offset: 9, is_poison: true, ..parcel.clone() };
        assert!(hook.receive(&parcel, 1, None) && hook.receive(&next, 2, None) && hook.receive(&parcel, 3, None));
        assert!(!hook.receive(&bad, 4, None));
        assert_eq!(hook.effects.iter().map(|effect| effect.offset).collect::<Vec<_>>(), [7, 8]);
    }
}
