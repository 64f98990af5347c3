//! The search for an order that explains a part of a history: Wing and Gong's, with the configurations seen remembered as
//! Lowe does (Testing for linearizability, 2017), over one part of the object at a time as Horn and Kroening do (Faster
//! linearizability checking via P-compositionality, 2015).
//!
//! Three things that change no verdict keep it small. An observer that fits the state is taken at once: taken later it
//! could as well have been taken now. An uncertain operation is taken only where it changes something worth having. Of
//! uncertain operations that do the same, the one called first goes first.

use std::hash::Hash;
use std::ops::ControlFlow;

use hashbrown::HashMap;

use crate::list::{List, Node};
use crate::seen::{Remembered, Seen};
use crate::taken::Taken;

/// A sequential object in some state.
pub(crate) trait Object: Clone {
    type Action: Eq + Hash;
    type Undo;

    /// Whether the action changes nothing in any state.
    fn is_observer(action: &Self::Action) -> bool;
    /// Whether an observer's answer is right in this state.
    fn fits(&self, action: &Self::Action) -> bool;
    /// Takes the action, or leaves everything as it is where its answer is not right.
    fn step(&mut self, action: &Self::Action) -> Option<Self::Undo>;
    fn undo(&mut self, action: &Self::Action, undo: Self::Undo);
    /// What tells states apart that the same operations may lead to.
    fn memo(&self) -> u64;
    /// What tells all states apart, whatever led to them.
    fn write_state(&self, words: &mut Vec<u64>);
    /// Whether a step from a state with one memo to a state with the other changed anything.
    fn changes(before: u64, after: u64) -> bool;
    /// The same object in a state of which nothing is known, if it can be that: then an observer's answer may be what it
    /// is known from, and taking it is a step like others.
    fn forgotten(&self) -> Option<Self>;
    fn is_forgotten(&self) -> bool;
    /// Whether an operation that nobody needs is worth taking to come here.
    fn is_worth(&self) -> bool;
}

/// One operation on a part.
#[derive(Clone, Debug)]
pub(crate) struct Step<A> {
    /// Its place in the history.
    pub(crate) operation: usize,
    pub(crate) call: u64,
    /// When it was answered; uncertain operations never are.
    pub(crate) returned: Option<u64>,
    pub(crate) action: A,
}

/// How far an operation is held to what is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    /// It takes effect once between call and answer, with that answer.
    Certain,
    /// It takes effect once at any time after its call, or never.
    Once,
    /// It takes effect once between its call and its answer, or never.
    Within,
    /// It takes effect any number of times after its call.
    Again,
    /// It is not looked at.
    Absent,
}

/// How much work there may be.
pub(crate) struct Budget<'a> {
    /// Configurations that may still be looked at.
    pub(crate) left: u64,
    pub(crate) memory_bytes_max: usize,
    /// Looked at so far, over all searches.
    pub(crate) spent: u64,
    /// Told of `spent` now and then; says when to stop.
    pub(crate) watch: &'a mut dyn FnMut(u64) -> ControlFlow<()>,
    pub(crate) is_stopped: bool,
}

/// What ended a search early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// As many configurations as were allowed.
    Configurations,
    /// As much memory.
    Memory,
    /// The caller said so.
    Stopped,
}

/// What a search found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// There is an order.
    Order,
    /// There is none. No attempt came past the answer at this event.
    Contradiction {
        event: usize,
    },
    Undecided(Limit),
}

/// A call or an answer of a step, in the order of time; of those at one instant calls come first, so that operations that
/// only touch count as overlapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(crate) step: u32,
    pub(crate) is_return: bool,
}

impl Budget<'_> {
    /// One more configuration, if there may be one.
    fn spend(&mut self) -> Option<Limit> {
        if self.is_stopped {
            return Some(Limit::Stopped);
        }
        if self.left == 0 {
            return Some(Limit::Configurations);
        }
        self.left -= 1;
        self.spent += 1;
        if self.spent.is_multiple_of(WATCH_EVERY) && (self.watch)(self.spent).is_break() {
            self.is_stopped = true;
            return Some(Limit::Stopped);
        }
        None
    }
}

/// How often a budget's watch is asked.
const WATCH_EVERY: u64 = 1 << 10;

pub(crate) fn events<A>(steps: &[Step<A>]) -> Vec<Event> {
    let mut events = Vec::with_capacity(2 * steps.len());
    for (at, step) in steps.iter().enumerate() {
        let number = u32::try_from(at).expect("operations are bounded below this");
        events.push((step.call, false, number));
        events.extend(step.returned.map(|returned| (returned, true, number)));
    }
    events.sort_unstable();
    events.into_iter().map(|(_, is_return, step)| Event { step, is_return }).collect()
}

/// Looks for an order of the steps that are present. `events` are those of all steps.
pub(crate) fn search<O: Object>(
    object: &O,
    steps: &[Step<O::Action>],
    events: &[Event],
    presence: &[Presence],
    budget: &mut Budget<'_>,
) -> Found {
    assert_eq!(steps.len(), presence.len());
    Search::new(object.clone(), steps, events, presence, budget.memory_bytes_max).run(budget)
}

struct Search<'a, O: Object> {
    object: O,
    steps: &'a [Step<O::Action>],
    presence: &'a [Presence],
    list: List,
    taken: Taken,
    /// Whether some operations can be missed: see [`Presence::Within`].
    can_miss: bool,
    /// Whether the order of what was taken matters to the state, and observers may be more than observers.
    is_stateful: bool,
    seen: Seen,
    key: Vec<u64>,
    frames: Vec<Frame<O::Undo>>,
    observed: Vec<u32>,
    candidates: Vec<u32>,
    candidates_bytes_max: usize,
    furthest: usize,
}

/// A configuration on the way from the start to the present one.
struct Frame<U> {
    /// Where its observers begin: they were taken on the way into it.
    observed: usize,
    /// Where its candidates begin; they end where those of the next frame do.
    candidates: usize,
    /// The next one to try.
    next: usize,
    /// The one that led on.
    tried: Option<(u32, U)>,
}

enum Entered {
    Done,
    Onward,
    /// Seen before; nothing was changed.
    Known,
    NoRoom,
}

impl<'a, O: Object> Search<'a, O> {
    fn new(
        object: O,
        steps: &'a [Step<O::Action>],
        events: &[Event],
        presence: &'a [Presence],
        memory_bytes_max: usize,
    ) -> Self {
        let presence_of = |event: &Event| presence[event.step as usize];
        // What can be done any number of times is there from the first of its kind on.
        let mut first = HashMap::new();
        let mut is_there = |event: &Event| match presence_of(event) {
            Presence::Certain => true,
            Presence::Once | Presence::Within => !event.is_return,
            Presence::Again => {
                let action = &steps[event.step as usize].action;
                !event.is_return && *first.entry(action).or_insert(event.step) == event.step
            }
            Presence::Absent => false,
        };
        let present: Vec<Node> = events
            .iter()
            .enumerate()
            .filter(|(_, event)| is_there(event))
            .map(|(at, event)| Node { event: *event, at })
            .collect();
        let taken = Taken::new(steps, presence, &present);
        let can_miss = presence.contains(&Presence::Within);
        let is_stateful = can_miss || object.is_forgotten();
        Self {
            object,
            steps,
            presence,
            list: List::new(present, steps.len()),
            taken,
            can_miss,
            is_stateful,
            seen: Seen::new(memory_bytes_max),
            key: Vec::new(),
            frames: Vec::new(),
            observed: Vec::new(),
            candidates: Vec::new(),
            // Many uncertain operations are candidates over and over; a quarter on top of what is remembered is enough.
            candidates_bytes_max: memory_bytes_max / 4,
            furthest: 0,
        }
    }

    fn run(mut self, budget: &mut Budget<'_>) -> Found {
        loop {
            if let Some(limit) = budget.spend() {
                return Found::Undecided(limit);
            }
            match self.enter() {
                Entered::Done => return Found::Order,
                Entered::NoRoom => return Found::Undecided(Limit::Memory),
                Entered::Onward | Entered::Known => {}
            }
            if !self.advance() {
                return Found::Contradiction { event: self.furthest };
            }
        }
    }

    /// Takes all observers that fit, and looks what could come next.
    fn enter(&mut self) -> Entered {
        let observed = self.observed.len();
        self.observe();
        let Some(first_return) = self.list.first_return() else { return Entered::Done };
        self.furthest = self.furthest.max(first_return.at);
        self.write_key(first_return.event.step as usize);
        match self.seen.insert(&self.key) {
            Remembered::New => {}
            Remembered::Known => {
                self.forget_observed(observed);
                return Entered::Known;
            }
            Remembered::NoRoom => return Entered::NoRoom,
        }
        let candidates = self.candidates.len();
        self.gather();
        if self.candidates.len() * size_of::<u32>() > self.candidates_bytes_max {
            return Entered::NoRoom;
        }
        self.frames.push(Frame { observed, candidates, next: candidates, tried: None });
        Entered::Onward
    }

    /// What was missed is not named any more, and what was learned depends on when: then the state is named itself.
    fn write_key(&mut self, blocking: usize) {
        self.taken.write_key(blocking, &mut self.key);
        if self.is_stateful {
            self.object.write_state(&mut self.key);
        } else {
            self.key.push(self.object.memo());
        }
    }

    fn observe(&mut self) {
        loop {
            let before = self.observed.len();
            let mut node = self.list.first();
            while let Some(Node { event: Event { step, is_return: false }, .. }) = self.list.node(node) {
                let action = &self.steps[step as usize].action;
                node = self.list.after(node);
                if O::is_observer(action) && self.object.fits(action) && !self.would_miss(step) {
                    self.lift(step);
                    self.observed.push(step);
                }
            }
            if self.observed.len() == before {
                return;
            }
        }
    }

    /// Whether something may still be taken now that could not be taken after this one: then it is not taken at once.
    fn would_miss(&self, step: u32) -> bool {
        self.can_miss && self.taken.would_miss(self.steps[step as usize].call)
    }

    fn forget_observed(&mut self, from: usize) {
        while self.observed.len() > from {
            let step = self.observed.pop().expect("there are more than `from`");
            self.unlift(step);
        }
    }

    /// What may come next: what was called before the first answer that is still missing. First what must be taken some time.
    fn gather(&mut self) {
        for wanted in [Presence::Certain, Presence::Once, Presence::Within, Presence::Again] {
            let mut node = self.list.first();
            while let Some(Node { event: Event { step, is_return: false }, .. }) = self.list.node(node) {
                node = self.list.after(node);
                let at = step as usize;
                // An observer is a candidate only where it was not taken at once: something would be missed, or is learned.
                let is_next =
                    self.presence[at] == wanted && (self.is_stateful || !O::is_observer(&self.steps[at].action));
                if is_next && !self.taken.waits_for_twin(at) && !self.taken.is_missed(at) {
                    self.candidates.push(step);
                }
            }
        }
    }

    /// Goes on to the next configuration that was not tried: forward from this one, or back and forward from one before.
    fn advance(&mut self) -> bool {
        while let Some(frame) = self.frames.last_mut() {
            if let Some((step, undo)) = frame.tried.take() {
                self.object.undo(&self.steps[step as usize].action, undo);
                self.unlift(step);
            }
            if self.try_next() {
                return true;
            }
            let frame = self.frames.pop().expect("the loop saw it");
            self.candidates.truncate(frame.candidates);
            self.forget_observed(frame.observed);
        }
        false
    }

    fn try_next(&mut self) -> bool {
        let top = self.frames.len() - 1;
        while self.frames[top].next < self.candidates.len() {
            let step = self.candidates[self.frames[top].next];
            self.frames[top].next += 1;
            let action = &self.steps[step as usize].action;
            let before = self.object.memo();
            let Some(undo) = self.object.step(action) else { continue };
            let gains = || self.object.is_worth() && O::changes(before, self.object.memo());
            if self.presence[step as usize] != Presence::Certain && !gains() {
                self.object.undo(action, undo);
                continue;
            }
            self.lift(step);
            self.frames[top].tried = Some((step, undo));
            return true;
        }
        false
    }

    /// What can be done any number of times stays in the list.
    fn lift(&mut self, step: u32) {
        if self.presence[step as usize] != Presence::Again {
            self.list.lift(step);
            self.taken.set(step as usize);
        }
    }

    fn unlift(&mut self, step: u32) {
        if self.presence[step as usize] != Presence::Again {
            self.list.unlift(step);
            self.taken.clear(step as usize);
        }
    }
}
