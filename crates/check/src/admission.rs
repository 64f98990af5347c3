//! Which operations make a history: only those that its model is asked, with numbers that cannot overflow.

use std::collections::{BTreeMap, BTreeSet};

use crate::OPERATIONS_MAX;
use crate::error::HistoryError;
use crate::history::{Account, Action, Answer, History, Model, Operation, Value};

impl History {
    /// Operations asked of a model.
    ///
    /// # Errors
    ///
    /// [`HistoryError::Malformed`] with the operation's line where it is not asked of this model, names an account that
    /// there is not, was answered before it was called, moves less than 1 or from an account to itself, reads an element
    /// or an account twice, or was refused and is neither a compare-and-set nor a transfer; where in a map a value is no
    /// text; and where amounts and balances come to 2^127 together. [`HistoryError::TooMany`] above [`OPERATIONS_MAX`].
    pub fn new(model: Model, operations: Vec<Operation>) -> Result<Self, HistoryError> {
        if let Some(beyond) = operations.get(OPERATIONS_MAX) {
            return Err(HistoryError::TooMany { line: beyond.line });
        }
        let mut moved = match &model {
            Model::Ledger { accounts } => sum_of(accounts).ok_or_else(|| HistoryError::Model(TOO_MUCH.to_owned()))?,
            _ => 0,
        };
        if let Model::Map { initial: Value::Truth(_) | Value::Number(_) } = &model {
            return Err(HistoryError::Model("in a map every value is a text, or null at first".to_owned()));
        }
        for operation in &operations {
            let wrong = |what| HistoryError::malformed(operation.line, what);
            if operation.returned().is_some_and(|at| at < operation.call) {
                return Err(wrong("answered before it was called".to_owned()));
            }
            let can_be_refused = matches!(operation.action, Action::CompareAndSet { .. } | Action::Transfer { .. });
            if matches!(operation.answer, Answer::Refused { .. }) && !can_be_refused {
                return Err(wrong(format!("`{}` cannot be refused", operation.action)));
            }
            admit(&model, &operation.action).map_err(wrong)?;
            if let Action::Transfer { amount, .. } = operation.action {
                moved = amount.checked_add(moved).ok_or_else(|| wrong(TOO_MUCH.to_owned()))?;
            }
        }
        Ok(Self { model, operations })
    }

    /// What the operations were asked of.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// In the order they were given.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
}

const TOO_MUCH: &str = "amounts and balances come to 2^127 together";

/// All balances and floors, each counted as if it were positive: nothing that is computed of them goes beyond that.
fn sum_of(accounts: &BTreeMap<String, Account>) -> Option<i128> {
    let numbers = accounts.values().flat_map(|account| [account.balance, account.floor.unwrap_or(0)]);
    numbers.into_iter().try_fold(0i128, |sum, number| sum.checked_add(number.checked_abs()?))
}

fn admit(model: &Model, action: &Action) -> Result<(), String> {
    match (model, action) {
        (Model::Register { .. }, Action::Read { key: None, .. })
        | (Model::Register { .. }, Action::Write { key: None, .. })
        | (Model::Register { .. }, Action::CompareAndSet { key: None, .. })
        | (Model::Map { .. }, Action::Append { .. })
        | (Model::Set, Action::Add(_) | Action::Contains { .. }) => Ok(()),
        (Model::Map { .. }, Action::Read { key: Some(_), value }) => text_or_nothing(value),
        (Model::Map { .. }, Action::Write { key: Some(_), value }) => text_or_nothing(value),
        (Model::Map { .. }, Action::CompareAndSet { key: Some(_), from, to }) => {
            text_or_nothing(from).and_then(|()| text_or_nothing(to))
        }
        (Model::Ledger { accounts }, Action::Transfer { from, to, amount }) => {
            known(accounts, from)?;
            known(accounts, to)?;
            if *amount < 1 {
                return Err(format!("an amount of {amount}: at least 1"));
            }
            if from == to { Err(format!("a transfer from {from} to itself")) } else { Ok(()) }
        }
        (Model::Ledger { accounts }, Action::Balances(balances)) => {
            balances.iter().try_for_each(|(id, _)| known(accounts, id))?;
            all_different(balances.iter().map(|(id, _)| id))
        }
        (Model::Set, Action::Members(values)) => all_different(values.iter()),
        _ => Err(format!("a {} is not asked to `{action}`", model.kind().as_str())),
    }
}

fn text_or_nothing(value: &Value) -> Result<(), String> {
    match value {
        Value::Nothing | Value::Text(_) => Ok(()),
        Value::Truth(_) | Value::Number(_) => Err(format!("{value} in a map: every value is a text, or null")),
    }
}

fn known(accounts: &BTreeMap<String, Account>, id: &str) -> Result<(), String> {
    if accounts.contains_key(id) { Ok(()) } else { Err(format!("there is no account `{id}` in the first line")) }
}

fn all_different<T: Ord + std::fmt::Debug>(all: impl Iterator<Item = T>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for one in all {
        if let Some(again) = seen.replace(one) {
            return Err(format!("{again:?} twice in one read"));
        }
    }
    Ok(())
}
