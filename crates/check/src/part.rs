//! A part of a history that can be decided by itself, and the smallest piece of it that already contradicts itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::search::{Budget, Event, Found, Object, Presence, Step, events, search};

pub(crate) struct Part<O: Object> {
    /// What it is about: a key, an account.
    pub(crate) name: String,
    pub(crate) object: O,
    pub(crate) steps: Vec<Step<O::Action>>,
    /// Of the steps, in the order of time.
    events: Vec<Event>,
    /// What an update becomes that is not held to its answer any more.
    freed: Presence,
    /// If it cannot be explained, the history cannot; if it can, that says nothing.
    pub(crate) is_necessary_only: bool,
}

/// How much work one attempt at making a contradiction smaller may be, beside twice that of the last one that did. Those
/// that need more keep what they have.
const ATTEMPT_CONFIGURATIONS: u64 = 20_000;
/// How many of the last operations are tried first.
const NARROWEST: usize = 4;
/// How much work all attempts at one contradiction may be together.
const ATTEMPTS_CONFIGURATIONS_MAX: u64 = 1_000_000;
/// How many attempts there may be.
const ATTEMPTS_MAX: u32 = 5_000;
/// Clients are freed one by one first, where they are no more than this.
const CLIENTS_MAX: usize = 64;

impl<O: Object> Part<O> {
    pub(crate) fn new(
        name: String,
        object: O,
        steps: Vec<Step<O::Action>>,
        freed: Presence,
        is_necessary_only: bool,
    ) -> Self {
        let events = events(&steps);
        Self { name, object, steps, events, freed, is_necessary_only }
    }

    pub(crate) fn decide(&self, budget: &mut Budget<'_>) -> Found {
        self.search(&self.object, &self.known(), budget)
    }

    /// The operations of a piece that cannot be explained whatever became of all others, given that the whole cannot and
    /// where the search for the whole came to its end. None of the piece can be spared, unless the work was too much.
    ///
    /// What leaves the piece is freed, not forgotten: an observer is not looked at any more, but an update may still take
    /// effect, as `freed` says. So what stays contradicts itself for no other reason than before.
    ///
    /// `cost` is what the search for the whole took, in configurations.
    pub(crate) fn smallest(
        &self,
        end: usize,
        cost: u64,
        client_of: impl Fn(usize) -> usize,
        budget: &mut Budget<'_>,
    ) -> Vec<usize> {
        let left = ATTEMPTS_CONFIGURATIONS_MAX;
        let object = self.object.clone();
        let freed = self.freed;
        let mut piece = Piece { part: self, object, freed, presence: self.known(), attempts: 0, left, cost };
        self.narrow(end, &mut piece, budget);
        let mut by_client: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for step in piece.held() {
            by_client.entry(client_of(self.steps[step].operation)).or_default().push(step);
        }
        if by_client.len() <= CLIENTS_MAX {
            by_client.values().for_each(|steps| {
                piece.try_free(steps, budget);
            });
        }
        let mut size = piece.held().len().div_ceil(2);
        loop {
            for chunk in piece.held().chunks(size.max(1)) {
                piece.try_free(chunk, budget);
            }
            if size <= 1 {
                break;
            }
            size = size.div_ceil(2);
        }
        // One by one more can be spared where each has to keep to its time.
        piece.freed = Presence::Within;
        for step in piece.held() {
            if piece.presence[step] == Presence::Certain {
                piece.try_free(&[step], budget);
            }
        }
        piece.held().into_iter().map(|step| self.steps[step].operation).collect()
    }

    /// Keeps only what was answered last before the end, and no more of that than it takes. Where what came of later ones
    /// is needed for the contradiction, everything stays.
    fn narrow(&self, end: usize, piece: &mut Piece<'_, O>, budget: &mut Budget<'_>) {
        let answered: Vec<usize> =
            self.events[..=end].iter().filter(|event| event.is_return).map(|event| event.step as usize).collect();
        let mut kept = NARROWEST;
        loop {
            let is_kept: BTreeSet<usize> = answered.iter().rev().take(kept).copied().collect();
            let freed: Vec<usize> = piece.held().into_iter().filter(|step| !is_kept.contains(step)).collect();
            let begin = is_kept.iter().map(|step| self.steps[*step].call).min().unwrap_or(0);
            if piece.try_forget(begin, &freed, budget) || piece.try_free(&freed, budget) {
                return;
            }
            if kept >= answered.len() {
                break;
            }
            kept *= 2;
        }
        let is_kept: BTreeSet<usize> = answered.into_iter().collect();
        let is_later = |step: &usize| self.steps[*step].returned.is_some() && !is_kept.contains(step);
        let later: Vec<usize> = piece.held().into_iter().filter(is_later).collect();
        piece.try_free(&later, budget);
    }

    fn known(&self) -> Vec<Presence> {
        let known = |step: &Step<_>| if step.returned.is_some() { Presence::Certain } else { Presence::Once };
        self.steps.iter().map(known).collect()
    }

    fn search(&self, object: &O, presence: &[Presence], budget: &mut Budget<'_>) -> Found {
        search(object, &self.steps, &self.events, presence, budget)
    }
}

/// A contradiction that is being made smaller.
struct Piece<'a, O: Object> {
    part: &'a Part<O>,
    /// At its start, or forgotten.
    object: O,
    /// What updates become that leave it.
    freed: Presence,
    presence: Vec<Presence>,
    attempts: u32,
    left: u64,
    /// What it took to see that what is left contradicts itself.
    cost: u64,
}

impl<O: Object> Piece<'_, O> {
    /// The steps that are still held to what is known of them.
    fn held(&self) -> Vec<usize> {
        // What is uncertain has no end that freeing it would keep it within.
        let uncertain = if self.part.freed == Presence::Within { Presence::Once } else { self.part.freed };
        let free = [self.part.freed, uncertain, Presence::Within, Presence::Absent];
        (0..self.presence.len()).filter(|step| !free.contains(&self.presence[*step])).collect()
    }

    /// Frees the steps if there is a contradiction without them.
    fn try_free(&mut self, steps: &[usize], budget: &mut Budget<'_>) -> bool {
        if steps.is_empty() {
            return false;
        }
        let freed = self.freed(steps);
        self.attempt(self.object.clone(), freed, budget)
    }

    /// Frees the steps, and forgets what came before an instant altogether, with whatever state it led to.
    fn try_forget(&mut self, begin: u64, steps: &[usize], budget: &mut Budget<'_>) -> bool {
        let Some(object) = self.object.forgotten() else { return false };
        let mut freed = self.freed(steps);
        for step in steps.iter().filter(|step| self.part.steps[**step].returned.is_some_and(|at| at < begin)) {
            freed[*step] = Presence::Absent;
        }
        self.attempt(object, freed, budget)
    }

    fn freed(&self, steps: &[usize]) -> Vec<Presence> {
        let mut freed = self.presence.clone();
        for step in steps {
            let is_observer = O::is_observer(&self.part.steps[*step].action);
            freed[*step] = if is_observer { Presence::Absent } else { self.freed };
        }
        freed
    }

    fn attempt(&mut self, object: O, freed: Vec<Presence>, budget: &mut Budget<'_>) -> bool {
        if self.attempts == ATTEMPTS_MAX || self.left == 0 || budget.is_stopped {
            return false;
        }
        self.attempts += 1;
        let allowance = self.left.min(ATTEMPT_CONFIGURATIONS.saturating_add(self.cost.saturating_mul(2)));
        let mut attempt = Budget { left: allowance, watch: &mut *budget.watch, ..*budget };
        let found = self.part.search(&object, &freed, &mut attempt);
        let cost = allowance - attempt.left;
        self.left -= cost;
        (budget.spent, budget.is_stopped) = (attempt.spent, attempt.is_stopped);
        let holds = matches!(found, Found::Contradiction { .. });
        if holds {
            (self.object, self.presence, self.cost) = (object, freed, cost);
        }
        holds
    }
}
