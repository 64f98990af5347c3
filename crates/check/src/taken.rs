//! Which operations an attempt has taken, and the words that name its configuration.

use std::hash::Hash;

use hashbrown::HashMap;

use crate::list::Node;
use crate::search::{Presence, Step};

pub(crate) struct Taken {
    /// By the order of their calls.
    certain: Vec<u64>,
    once: Vec<u64>,
    /// All words of `certain` before this one are full.
    full_words: usize,
    steps: Vec<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    is_certain: bool,
    bit: u32,
    /// Of a certain operation: how many certain ones were called before it was answered.
    calls_before_answer: u32,
    /// Of an uncertain one: the one before it that does the same.
    twin: Option<u32>,
}

impl Taken {
    /// `present` are the events of those that are there, in the order of time.
    pub(crate) fn new<A: Eq + Hash>(steps: &[Step<A>], presence: &[Presence], present: &[Node]) -> Self {
        let mut places = vec![Place { is_certain: false, bit: 0, calls_before_answer: 0, twin: None }; steps.len()];
        let mut last_of_kind = HashMap::new();
        let (mut certain, mut once) = (0u32, 0u32);
        for event in present.iter().map(|node| node.event) {
            let at = event.step as usize;
            match (presence[at], event.is_return) {
                (Presence::Certain, true) => places[at].calls_before_answer = certain,
                (Presence::Certain, false) => {
                    (places[at].is_certain, places[at].bit) = (true, certain);
                    certain += 1;
                }
                (Presence::Once, _) => {
                    places[at].bit = once;
                    places[at].twin = last_of_kind.insert(&steps[at].action, event.step);
                    once += 1;
                }
                (Presence::Again | Presence::Absent, _) => {}
            }
        }
        let words = |bits: u32| vec![0; bits.div_ceil(64) as usize];
        Self { certain: words(certain), once: words(once), full_words: 0, steps: places }
    }

    pub(crate) fn set(&mut self, step: usize) {
        let Place { is_certain, bit, .. } = self.steps[step];
        let (word, mask) = (bit as usize / 64, 1 << (bit % 64));
        let words = if is_certain { &mut self.certain } else { &mut self.once };
        words[word] |= mask;
        while self.certain.get(self.full_words) == Some(&u64::MAX) {
            self.full_words += 1;
        }
    }

    pub(crate) fn clear(&mut self, step: usize) {
        let Place { is_certain, bit, .. } = self.steps[step];
        let (word, mask) = (bit as usize / 64, 1u64 << (bit % 64));
        let words = if is_certain { &mut self.certain } else { &mut self.once };
        words[word] &= !mask;
        if is_certain {
            self.full_words = self.full_words.min(word);
        }
    }

    /// Whether another one that does the same, and was called before, is to be taken first.
    pub(crate) fn waits_for_twin(&self, step: usize) -> bool {
        let twin = self.steps[step].twin.map(|twin| self.steps[twin as usize].bit as usize);
        twin.is_some_and(|bit| self.once[bit / 64] & (1 << (bit % 64)) == 0)
    }

    /// Names the configuration: what is taken, and the object's memo. Of the certain operations only a window has to be
    /// named: before it all are taken, and behind it none, since none is taken that was called after the first answer
    /// that is missing, which is that of `blocking`.
    pub(crate) fn write_key(&self, blocking: usize, memo: u64, key: &mut Vec<u64>) {
        let end = (self.steps[blocking].calls_before_answer as usize).div_ceil(64);
        let window = &self.certain[self.full_words.min(end)..end];
        debug_assert!(self.certain[end..].iter().all(|word| *word == 0));
        let once = self.once.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        key.clear();
        key.push((self.full_words as u64) << 32 | window.len() as u64);
        key.extend_from_slice(window);
        key.extend_from_slice(&self.once[..once]);
        key.push(memo);
    }
}
