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
    /// The calls of what was taken that are later than all taken before, to go back by; each with the one taken.
    latest: Vec<(u64, usize)>,
    /// What can be missed: until when, and which step.
    within: Vec<(u64, usize)>,
}

#[derive(Clone, Copy)]
struct Place {
    is_certain: bool,
    bit: u32,
    /// Of a certain operation: how many certain ones were called before it was answered.
    calls_before_answer: u32,
    call: u64,
    /// Until when it can be taken: nothing that was called later may have been taken.
    until: u64,
    /// Of an uncertain one: the one before it that does the same.
    twin: Option<u32>,
}

impl Taken {
    /// `present` are the events of those that are there, in the order of time.
    pub(crate) fn new<A: Eq + Hash>(steps: &[Step<A>], presence: &[Presence], present: &[Node]) -> Self {
        let place = |step: &Step<A>| Place {
            is_certain: false,
            bit: 0,
            calls_before_answer: 0,
            call: step.call,
            until: u64::MAX,
            twin: None,
        };
        let mut places: Vec<Place> = steps.iter().map(place).collect();
        let mut within = Vec::new();
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
                (Presence::Within, _) => {
                    places[at].bit = once;
                    places[at].until = steps[at].returned.unwrap_or(u64::MAX);
                    within.push((places[at].until, at));
                    once += 1;
                }
                (Presence::Again | Presence::Absent, _) => {}
            }
        }
        let words = |bits: u32| vec![0; bits.div_ceil(64) as usize];
        let (certain, once) = (words(certain), words(once));
        Self { certain, once, full_words: 0, steps: places, latest: Vec::new(), within }
    }

    pub(crate) fn set(&mut self, step: usize) {
        let Place { is_certain, bit, .. } = self.steps[step];
        let (word, mask) = (bit as usize / 64, 1 << (bit % 64));
        let words = if is_certain { &mut self.certain } else { &mut self.once };
        words[word] |= mask;
        if self.latest_call().is_none_or(|latest| latest < self.steps[step].call) {
            self.latest.push((self.steps[step].call, step));
        }
        while self.certain.get(self.full_words) == Some(&u64::MAX) {
            self.full_words += 1;
        }
    }

    pub(crate) fn clear(&mut self, step: usize) {
        let Place { is_certain, bit, .. } = self.steps[step];
        let (word, mask) = (bit as usize / 64, 1u64 << (bit % 64));
        let words = if is_certain { &mut self.certain } else { &mut self.once };
        words[word] &= !mask;
        self.latest.pop_if(|(_, taken)| *taken == step);
        if is_certain {
            self.full_words = self.full_words.min(word);
        }
    }

    /// Whether another one that does the same, and was called before, is to be taken first.
    pub(crate) fn waits_for_twin(&self, step: usize) -> bool {
        self.steps[step].twin.is_some_and(|twin| !self.is_taken_once(twin as usize))
    }

    /// Whether it was not taken in time.
    pub(crate) fn is_missed(&self, step: usize) -> bool {
        self.latest_call().is_some_and(|latest| self.steps[step].until < latest)
    }

    /// Whether something that is not taken could not be taken any more after what was called then.
    pub(crate) fn would_miss(&self, call: u64) -> bool {
        self.within.iter().any(|(until, step)| *until < call && !self.is_missed(*step) && !self.is_taken_once(*step))
    }

    fn latest_call(&self) -> Option<u64> {
        self.latest.last().map(|(call, _)| *call)
    }

    fn is_taken_once(&self, step: usize) -> bool {
        let bit = self.steps[step].bit as usize;
        self.once[bit / 64] & (1 << (bit % 64)) != 0
    }

    /// Names the configuration but for the state: what is taken. Of the certain operations only a window has to be
    /// named: before it all are taken, and behind it none, since none is taken that was called after the first answer
    /// that is missing, which is that of `blocking`. What could have been missed by now makes no difference any more.
    pub(crate) fn write_key(&self, blocking: usize, key: &mut Vec<u64>) {
        let end = (self.steps[blocking].calls_before_answer as usize).div_ceil(64);
        let window = &self.certain[self.full_words.min(end)..end];
        debug_assert!(self.certain[end..].iter().all(|word| *word == 0));
        key.clear();
        key.push((self.full_words as u64) << 32 | window.len() as u64);
        key.extend_from_slice(window);
        let begin = key.len();
        key.extend_from_slice(&self.once);
        for (_, step) in self.within.iter().filter(|(_, step)| self.is_missed(*step)) {
            let bit = self.steps[*step].bit as usize;
            key[begin + bit / 64] &= !(1 << (bit % 64));
        }
        while key.len() > begin && key.last() == Some(&0) {
            key.pop();
        }
    }
}
