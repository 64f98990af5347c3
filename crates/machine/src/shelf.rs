//! Open things by number, kept so that a snapshot of them costs nothing when it begins.
//!
//! The things lie in shards behind shared pointers. To freeze them is to copy the pointers; whoever then changes a thing
//! copies its shard first, once. What is open is what has not ended yet, so there is little of it.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Few enough that their pointers are copied in no time, many enough that a shard is copied in little.
const SHARDS: u64 = 64;

type Shards<T> = Vec<Arc<BTreeMap<u64, T>>>;

/// Things by the ordinal of the record that made them.
#[derive(Clone, Debug)]
pub(crate) struct Shelf<T> {
    shards: Shards<T>,
    len: usize,
    frozen: Option<Frozen<T>>,
}

/// The things as they were when a snapshot began, and how far it has come.
#[derive(Clone, Debug)]
struct Frozen<T> {
    shards: Shards<T>,
    shard: usize,
    next: u64,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Arc::default()).collect(), len: 0, frozen: None }
    }
}

impl<T: Clone> Shelf<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        self.shards[shard_of(number)].get(&number)
    }

    pub(crate) fn insert(&mut self, number: u64, thing: T) -> Option<T> {
        let before = Arc::make_mut(&mut self.shards[shard_of(number)]).insert(number, thing);
        self.len += usize::from(before.is_none());
        before
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let shard = &mut self.shards[shard_of(number)];
        if !shard.contains_key(&number) {
            return None;
        }
        let thing = Arc::make_mut(shard).remove(&number);
        self.len -= usize::from(thing.is_some());
        thing
    }

    /// Each, shard by shard: the same order for the same things, whatever became of them before.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> + '_ {
        self.shards.iter().flat_map(|shard| shard.iter().map(|(number, thing)| (*number, thing)))
    }

    /// A snapshot begins.
    pub(crate) fn freeze(&mut self) {
        self.frozen = Some(Frozen { shards: self.shards.clone(), shard: 0, next: 0 });
    }

    /// The snapshot is over.
    pub(crate) fn thaw(&mut self) {
        self.frozen = None;
    }

    /// The next thing of the snapshot, as it was when the snapshot began, in the order of [`Shelf::iter`].
    pub(crate) fn take_frozen(&mut self) -> Option<(u64, T)> {
        let frozen = self.frozen.as_mut()?;
        while let Some(shard) = frozen.shards.get_mut(frozen.shard) {
            if let Some((number, thing)) = shard.range(frozen.next..).next() {
                frozen.next = number + 1;
                return Some((*number, thing.clone()));
            }
            // What was written need not be kept, nor copied by whoever changes it.
            *shard = Arc::default();
            frozen.shard += 1;
            frozen.next = 0;
        }
        None
    }
}

const fn shard_of(number: u64) -> usize {
    (number % SHARDS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u64, u8),
        Change(u64, u8),
        Remove(u64),
        Freeze,
        Take,
    }

    fn step() -> impl Strategy<Value = Step> {
        let number = 0u64..200;
        prop_oneof![
            4 => (number.clone(), any::<u8>()).prop_map(|(n, v)| Step::Put(n, v)),
            2 => (number.clone(), any::<u8>()).prop_map(|(n, v)| Step::Change(n, v)),
            2 => number.prop_map(Step::Remove),
            1 => Just(Step::Freeze),
            4 => Just(Step::Take),
        ]
    }

    proptest! {
        #[test]
        fn a_snapshot_is_of_the_moment_it_began(steps in prop::collection::vec(step(), 1..300)) {
            let (mut shelf, mut model) = (Shelf::default(), BTreeMap::new());
            let (mut frozen, mut taken) = (None, Vec::new());
            for step in steps {
                match step {
                    Step::Put(number, value) => prop_assert_eq!(shelf.insert(number, value), model.insert(number, value)),
                    Step::Change(number, value) => {
                        if let Some(before) = shelf.get(number).copied() {
                            let changed = before ^ value;
                            prop_assert_eq!(shelf.insert(number, changed), model.insert(number, changed));
                        }
                    }
                    Step::Remove(number) => prop_assert_eq!(shelf.remove(number), model.remove(&number)),
                    Step::Freeze => {
                        shelf.freeze();
                        frozen = Some(model.clone());
                        taken.clear();
                    }
                    Step::Take => taken.extend(shelf.take_frozen()),
                }
                prop_assert_eq!(shelf.len(), model.len());
                prop_assert_eq!(shelf.iter().map(|(n, v)| (n, *v)).collect::<BTreeMap<_, _>>(), model.clone());
            }
            taken.extend(std::iter::from_fn(|| shelf.take_frozen()));
            prop_assert_eq!(taken.into_iter().collect::<BTreeMap<_, _>>(), frozen.unwrap_or_default());
        }
    }
}
