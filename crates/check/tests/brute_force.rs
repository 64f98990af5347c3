//! The checker against one that tries every order, on histories small enough for that, and against histories that a real
//! sequential object made.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use check::{Account, Action, Answer, Bounds, History, Model, Operation, Value, Verdict};
use proptest::prelude::*;

/// Every object at once, each operation plainly written.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Plain {
    values: BTreeMap<Option<String>, Value>,
    initial: Value,
    accounts: BTreeMap<String, Account>,
    members: BTreeSet<Value>,
}

impl Plain {
    fn new(model: &Model) -> Self {
        let initial = match model {
            Model::Register { initial } | Model::Map { initial } => initial.clone(),
            Model::Ledger { .. } | Model::Set => Value::Nothing,
        };
        let accounts = if let Model::Ledger { accounts } = model { accounts.clone() } else { BTreeMap::new() };
        Self { values: BTreeMap::new(), initial, accounts, members: BTreeSet::new() }
    }

    fn value(&mut self, key: &Option<String>) -> &mut Value {
        self.values.entry(key.clone()).or_insert(self.initial.clone())
    }

    /// Does what is asked, and says what is answered: the action with its value, and whether it happened.
    fn run(&mut self, asked: &Action) -> (Action, bool) {
        match asked {
            Action::Read { key, .. } => (Action::Read { key: key.clone(), value: self.value(key).clone() }, true),
            Action::Write { key, value } => {
                *self.value(key) = value.clone();
                (asked.clone(), true)
            }
            Action::CompareAndSet { key, from, to } => {
                let is_there = self.value(key) == from;
                if is_there {
                    *self.value(key) = to.clone();
                }
                (asked.clone(), is_there)
            }
            Action::Append { key, text } => {
                let value = self.value(&Some(key.clone()));
                let before = if let Value::Text(before) = &value { before.clone() } else { String::new() };
                *value = Value::Text(before + text);
                (asked.clone(), true)
            }
            Action::Transfer { from, to, amount } => {
                let giver = self.accounts[from];
                let may = giver.floor.is_none_or(|floor| giver.balance - amount >= floor);
                if may {
                    self.accounts.get_mut(from).unwrap().balance -= amount;
                    self.accounts.get_mut(to).unwrap().balance += amount;
                }
                (asked.clone(), may)
            }
            Action::Balances(of) => {
                let balances = of.iter().map(|(id, _)| (id.clone(), self.accounts[id].balance));
                (Action::Balances(balances.collect()), true)
            }
            Action::Add(value) => {
                self.members.insert(value.clone());
                (asked.clone(), true)
            }
            Action::Contains { value, .. } => {
                (Action::Contains { value: value.clone(), found: self.members.contains(value) }, true)
            }
            Action::Members(_) => (Action::Members(self.members.iter().cloned().collect()), true),
        }
    }

    /// Whether the answer could be given now; if so it is.
    fn agrees(&mut self, operation: &Operation) -> bool {
        let (answered, happened) = self.run(&operation.action);
        match operation.answer {
            Answer::Committed { .. } => happened && same(&answered, &operation.action),
            Answer::Refused { .. } => !happened,
            Answer::Uncertain => true,
            Answer::NotDone => false,
        }
    }
}

/// Members have no order.
fn same(one: &Action, other: &Action) -> bool {
    match (one, other) {
        (Action::Members(one), Action::Members(other)) => {
            one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
        }
        (one, other) => one == other,
    }
}

/// Tries every order of those that must be in it, with every choice of those that may: those that are uncertain, and those
/// that have `until`, which are uncertain too but not taken after what was called later than that.
fn by_force(state: &Plain, left: &[(&Operation, u64)], latest: u64) -> bool {
    let end = left.iter().filter_map(|(operation, _)| operation.returned()).min();
    let Some(end) = end else { return true };
    (0..left.len()).filter(|at| left[*at].0.call <= end && left[*at].1 >= latest).any(|at| {
        let mut state = state.clone();
        let rest: Vec<_> =
            left.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, operation)| *operation).collect();
        state.agrees(left[at].0) && by_force(&state, &rest, latest.max(left[at].0.call))
    })
}

fn is_legal_by_force(history: &History) -> bool {
    let left = history.operations().iter().filter(|operation| operation.answer != Answer::NotDone);
    let left: Vec<_> = left.map(|operation| (operation, u64::MAX)).collect();
    by_force(&Plain::new(history.model()), &left, 0)
}

fn verdict(history: &History) -> Verdict {
    check::check(history, Bounds::default(), &mut |_| ControlFlow::Continue(())).verdict
}

fn model() -> impl Strategy<Value = Model> {
    let account = |balance, floor| Account { balance, floor };
    let accounts = [("a", account(3, Some(0))), ("b", account(2, Some(-1))), ("w", account(0, None))];
    let accounts: BTreeMap<String, Account> = accounts.map(|(id, account)| (id.to_owned(), account)).into();
    prop_oneof![
        Just(Model::Register { initial: Value::Nothing }),
        Just(Model::Map { initial: Value::Text(String::new()) }),
        Just(Model::Map { initial: Value::Nothing }),
        Just(Model::Ledger { accounts }),
        Just(Model::Set),
    ]
}

fn asked(model: &Model) -> BoxedStrategy<Action> {
    match model {
        Model::Register { .. } => {
            let value = || (0..3i128).prop_map(Value::Number);
            prop_oneof![
                Just(Action::Read { key: None, value: Value::Nothing }),
                value().prop_map(|value| Action::Write { key: None, value }),
                (value(), value()).prop_map(|(from, to)| Action::CompareAndSet { key: None, from, to }),
            ]
            .boxed()
        }
        Model::Map { .. } => {
            let key = || prop_oneof![3 => Just("k".to_owned()), 1 => Just("l".to_owned())];
            let text = || prop_oneof!["[xy]{1,2}", Just(String::new())];
            let value = move || prop_oneof![4 => text().prop_map(Value::Text), 1 => Just(Value::Nothing)];
            prop_oneof![
                3 => key().prop_map(|key| Action::Read { key: Some(key), value: Value::Nothing }),
                1 => (key(), value()).prop_map(|(key, value)| Action::Write { key: Some(key), value }),
                3 => (key(), text()).prop_map(|(key, text)| Action::Append { key, text }),
                1 => (key(), value(), value())
                    .prop_map(|(key, from, to)| Action::CompareAndSet { key: Some(key), from, to }),
            ]
            .boxed()
        }
        Model::Ledger { .. } => {
            let pairs = vec![("a", "b"), ("b", "a"), ("a", "w"), ("w", "b")];
            let transfer = (prop::sample::select(pairs), 1..4i128).prop_map(|((from, to), amount)| Action::Transfer {
                from: from.into(),
                to: to.into(),
                amount,
            });
            let read = prop::sample::subsequence(vec!["a", "b", "w"], 1..=2)
                .prop_map(|ids| Action::Balances(ids.iter().map(|id| ((*id).to_owned(), 0)).collect()));
            prop_oneof![3 => transfer, 2 => read].boxed()
        }
        Model::Set => {
            let value = || (0..3i128).prop_map(Value::Number);
            prop_oneof![
                2 => value().prop_map(Action::Add),
                1 => value().prop_map(|value| Action::Contains { value, found: false }),
                1 => Just(Action::Members(Vec::new())),
            ]
            .boxed()
        }
    }
}

/// How an operation lies around the instant at which it takes effect, and whether its client heard of it.
#[derive(Clone, Copy, Debug)]
struct Around {
    before: u64,
    after: u64,
    is_heard: bool,
}

fn around() -> impl Strategy<Value = Around> {
    (0..40u64, 0..40u64, prop::bool::weighted(0.8)).prop_map(|(before, after, is_heard)| Around {
        before,
        after,
        is_heard,
    })
}

/// What the sequential object answers, its instants ten apart.
fn history(count: std::ops::Range<usize>) -> impl Strategy<Value = History> {
    model().prop_flat_map(move |model| {
        let operations = prop::collection::vec((asked(&model), around()), count.clone());
        operations.prop_map(move |operations| {
            let mut object = Plain::new(&model);
            let run = |(at, (asked, around)): (u64, (Action, Around))| {
                let instant = 100 + 10 * at;
                let (answered, happened) = object.run(&asked);
                let returned = instant + around.after;
                let answer = match (around.is_heard, happened) {
                    (false, _) => Answer::Uncertain,
                    (true, true) => Answer::Committed { at: returned },
                    (true, false) => Answer::Refused { at: returned },
                };
                let action = if around.is_heard { answered } else { asked };
                let client = format!("c{}", at % 5);
                Operation { line: at + 1, client, call: instant - around.before, answer, action }
            };
            History::new(model.clone(), (0..).zip(operations).map(run).collect()).expect("an object made it")
        })
    })
}

/// The history with one answer, call or return changed, whatever comes of it.
fn planted(history: &History, at: usize, by: u8) -> History {
    let mut operations = history.operations().to_vec();
    let at = at % operations.len();
    let operation = &mut operations[at];
    match &mut operation.action {
        Action::Read { value, .. } => {
            *value = match value {
                Value::Text(text) if by.is_multiple_of(2) => Value::Text(text.chars().skip(1).collect()),
                Value::Text(text) => Value::Text(format!("{text}x")),
                Value::Nothing | Value::Truth(_) | Value::Number(_) => Value::Number(i128::from(by % 4)),
            };
            if let (Model::Map { .. }, Value::Number(_)) = (history.model(), &value) {
                *value = Value::Text("y".to_owned());
            }
        }
        Action::Balances(balances) => balances[0].1 += i128::from(by % 5) - 2,
        Action::Contains { found, .. } => *found = !*found,
        Action::Members(values) => {
            let value = Value::Number(i128::from(by % 3));
            let before = values.len();
            values.retain(|other| *other != value);
            if values.len() == before {
                values.push(value);
            }
        }
        Action::CompareAndSet { .. } | Action::Transfer { .. } => {
            operation.answer = match operation.answer {
                Answer::Committed { at } => Answer::Refused { at },
                Answer::Refused { at } => Answer::Committed { at },
                other => other,
            };
        }
        Action::Write { .. } | Action::Append { .. } | Action::Add(_) => operation.call += u64::from(by % 30),
    }
    let later = |at: u64| at.max(operation.call);
    operation.answer = match operation.answer {
        Answer::Committed { at } => Answer::Committed { at: later(at) },
        Answer::Refused { at } => Answer::Refused { at: later(at) },
        other => other,
    };
    History::new(history.model().clone(), operations).expect("one change keeps it a history")
}

/// The piece alone is still illegal, where all other updates are uncertain and all other observers are gone: those that
/// were answered have their time still.
fn is_offence(history: &History, offence: &[usize]) -> bool {
    let freed = history.operations().iter().enumerate().filter_map(|(at, operation)| {
        let is_lost = operation.answer == Answer::NotDone || matches!(operation.answer, Answer::Refused { .. });
        let until = operation.returned().unwrap_or(u64::MAX);
        match (offence.contains(&at), operation.action.is_update() && !is_lost) {
            (true, _) => Some((operation.clone(), u64::MAX)),
            (false, true) => Some((Operation { answer: Answer::Uncertain, ..operation.clone() }, until)),
            (false, false) => None,
        }
    });
    let freed: Vec<(Operation, u64)> = freed.collect();
    let freed: Vec<_> = freed.iter().map(|(operation, until)| (operation, *until)).collect();
    !by_force(&Plain::new(history.model()), &freed, 0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn what_an_object_did_is_legal(history in history(0..60)) {
        prop_assert_eq!(verdict(&history), Verdict::Legal);
    }

    #[test]
    fn the_verdict_is_that_of_every_order(history in history(1..8), at: usize, by: u8) {
        let planted = planted(&history, at, by);
        match verdict(&planted) {
            Verdict::Legal => prop_assert!(is_legal_by_force(&planted)),
            Verdict::Illegal(offence) => {
                prop_assert!(!is_legal_by_force(&planted));
                prop_assert!(is_offence(&planted, &offence.operations), "{offence:?}");
                let text = check::timeline(&planted, &offence.operations);
                prop_assert_eq!(text.matches("line ").count(), offence.operations.len());
            }
            Verdict::Undecided { .. } => prop_assert!(false, "undecided"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Where an object's history is long, the piece stays small.
    #[test]
    fn a_planted_answer_is_found_in_a_long_history(history in history(30..60), at: usize, by: u8) {
        let planted = planted(&history, at, by);
        if let Verdict::Illegal(offence) = verdict(&planted) {
            prop_assert!(!offence.operations.is_empty());
            prop_assert!(offence.operations.len() < planted.operations().len());
        }
    }
}

/// The properties above would hold of no planted answer at all if none of them made a history illegal.
#[test]
fn planted_answers_are_illegal_often_enough() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = (history(1..8), any::<usize>(), any::<u8>());
    let mut illegal = BTreeMap::new();
    for _ in 0..1_000 {
        let (history, at, by) = strategy.new_tree(&mut runner).expect("a tree").current();
        let planted = planted(&history, at, by);
        if !is_legal_by_force(&planted) {
            *illegal.entry(planted.model().kind().as_str()).or_insert(0) += 1;
        }
    }
    assert!(illegal.len() == 4 && illegal.values().all(|count| *count > 10), "{illegal:?}");
}
