//! The verdict on a whole history, from those on its parts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::history::{Action, Answer, History, Model, Operation, Value};
use crate::ledger;
use crate::part::Part;
use crate::register::{Access, Register, Sights};
pub use crate::search::Limit;
use crate::search::{Budget, Found, Object, Presence, Step};
use crate::set;

/// How much a check may use. What needs more is undecided, never guessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes for the configurations that are remembered; the history itself comes on top. Default 1 GiB.
    pub memory_bytes_max: usize,
    /// Configurations looked at for each part. Default: no bound but the caller's own.
    pub configurations_max: u64,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Whether the history can be explained.
    pub verdict: Verdict,
    /// Operations in it.
    pub operations: usize,
    /// Parts that were looked at one by one.
    pub parts: usize,
    /// Configurations that were looked at.
    pub configurations: u64,
}

/// Whether a history can be explained by the sequential object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It can.
    Legal,
    /// It cannot, whatever became of operations of which nobody knows.
    Illegal(Offence),
    /// The bounds were reached first.
    Undecided {
        /// Of which part.
        part: String,
        /// Which bound.
        limit: Limit,
    },
}

/// Operations that contradict one another, whatever became of all the others: each between its call and its answer, or not
/// at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offence {
    /// What they are about: a key, an account.
    pub part: String,
    /// Their places in the history, ascending.
    pub operations: Vec<usize>,
}

/// Decides a history. `watch` is called now and then with the configurations looked at so far, and stops the check by
/// saying so.
///
/// Registers, keys and accounts are searched for an order, which takes long where many operations overlap or are uncertain;
/// sets are decided in time that grows with their size.
pub fn check(history: &History, bounds: Bounds, watch: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Report {
    let (memory_bytes_max, left) = (bounds.memory_bytes_max, bounds.configurations_max);
    let mut budget = Budget { left, memory_bytes_max, spent: 0, watch, is_stopped: false };
    let (parts, verdict) = match &history.model {
        Model::Register { initial } | Model::Map { initial } => {
            check_parts(history, keys(history, initial), bounds, &mut budget)
        }
        Model::Ledger { accounts } => check_parts(history, ledger::parts(history, accounts), bounds, &mut budget),
        Model::Set => {
            let found = set::contradiction(history);
            let offence = |operations| Verdict::Illegal(Offence { part: "the set".into(), operations });
            (1, found.map_or(Verdict::Legal, offence))
        }
    };
    Report { verdict, operations: history.operations.len(), parts, configurations: budget.spent }
}

/// What each part may use before all others had their turn: one that is hard must not hide one that is wrong.
const FIRST_CONFIGURATIONS: u64 = 100_000;

fn check_parts<O: Object>(
    history: &History,
    parts: Vec<Part<O>>,
    bounds: Bounds,
    budget: &mut Budget<'_>,
) -> (usize, Verdict) {
    let mut open: Vec<&Part<O>> = parts.iter().collect();
    let mut first_limit = None;
    for allowance in [FIRST_CONFIGURATIONS.min(bounds.configurations_max), bounds.configurations_max] {
        let mut still_open = Vec::new();
        first_limit = None;
        for part in open {
            budget.left = allowance;
            let before = budget.spent;
            match part.decide(budget) {
                Found::Order => {}
                Found::Contradiction { event } => {
                    let cost = budget.spent - before;
                    return (parts.len(), Verdict::Illegal(offence(history, part, event, cost, budget)));
                }
                Found::Undecided(limit) => {
                    still_open.push(part);
                    if !part.is_necessary_only {
                        first_limit.get_or_insert((part, limit));
                    }
                }
            }
        }
        open = still_open;
    }
    let undecided = |(part, limit): (&Part<O>, _)| Verdict::Undecided { part: part.name.clone(), limit };
    (parts.len(), first_limit.map_or(Verdict::Legal, undecided))
}

fn offence<O: Object>(history: &History, part: &Part<O>, event: usize, cost: u64, budget: &mut Budget<'_>) -> Offence {
    let mut clients: BTreeMap<&str, usize> = BTreeMap::new();
    for operation in &history.operations {
        let next = clients.len();
        clients.entry(&operation.client).or_insert(next);
    }
    let client_of = |operation: usize| clients[history.operations[operation].client.as_str()];
    let mut operations = part.smallest(event, cost, client_of, budget);
    operations.sort_unstable();
    Offence { part: part.name.clone(), operations }
}

/// The keys of a map, each a register; a register is a map of one.
fn keys(history: &History, initial: &Value) -> Vec<Part<Register>> {
    let mut by_key: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
    for (at, operation) in history.operations.iter().enumerate() {
        let says_nothing = operation.answer == Answer::Uncertain && !operation.action.is_update();
        if operation.answer != Answer::NotDone && !says_nothing {
            by_key.entry(key_of(&operation.action)).or_default().push(at);
        }
    }
    let part = |(key, places): (Option<&str>, Vec<usize>)| {
        let operations = || places.iter().map(|at| (*at, &history.operations[*at]));
        let denies = operations().any(|(_, operation)| matches!(operation.answer, Answer::Refused { .. }));
        let sights = Arc::new(Sights::new(operations().filter_map(|(_, operation)| named(&operation.action)), denies));
        let steps = operations().map(|(at, operation)| step(at, operation, &sights)).collect();
        let name = key.map_or_else(|| "the register".to_owned(), |key| format!("key {key:?}"));
        Part::new(name, Register::new(sights, initial), steps, Presence::Again, false)
    };
    by_key.into_iter().map(part).collect()
}

fn key_of(action: &Action) -> Option<&str> {
    match action {
        Action::Read { key, .. } | Action::Write { key, .. } | Action::CompareAndSet { key, .. } => key.as_deref(),
        Action::Append { key, .. } => Some(key),
        _ => unreachable!("a history's reader knows what its model is asked"),
    }
}

/// The value that tells states apart.
fn named(action: &Action) -> Option<&Value> {
    match action {
        Action::Read { value, .. } => Some(value),
        Action::CompareAndSet { from, .. } => Some(from),
        _ => None,
    }
}

fn step(at: usize, operation: &Operation, sights: &Sights) -> Step<Access> {
    let is_refused = matches!(operation.answer, Answer::Refused { .. });
    let action = match &operation.action {
        Action::Read { value, .. } => Access::Is(sights.state(value)),
        Action::Write { value, .. } => Access::Set(sights.state(value)),
        Action::CompareAndSet { from, .. } if is_refused => Access::IsNot(sights.state(from)),
        Action::CompareAndSet { from, to, .. } => Access::Swap { from: sights.state(from), to: sights.state(to) },
        Action::Append { text, .. } => Access::Append(text.as_bytes().to_vec()),
        _ => unreachable!("a history's reader knows what its model is asked"),
    };
    Step { operation: at, call: operation.call, returned: operation.returned(), action }
}

impl Default for Bounds {
    fn default() -> Self {
        Self { memory_bytes_max: 1 << 30, configurations_max: u64::MAX }
    }
}
