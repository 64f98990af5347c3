//! Accounts and what moves between them, in parts that can be looked at one by one.
//!
//! Which balances there are follows from which transfers were taken, in whatever order: the configuration says it all.
//! Accounts that no transfer and no read connects are parts of their own. Within a part each account is also looked at by
//! itself: what cannot be explained for one account cannot be for all, and is found with far less work. The other way
//! round it does not hold, since a transfer takes effect on both accounts at once.

use std::collections::BTreeMap;

use crate::history::{Account, Action, Answer, History, Operation};
use crate::part::Part;
use crate::search::{Object, Presence, Step};

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    accounts: Vec<Account>,
    /// Accounts of which nothing was read yet since all was forgotten. Their balance is what was moved since then.
    unknown: Vec<bool>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Entry {
    /// At least one of the two is there; the other may be outside of the part.
    Move {
        from: Option<u32>,
        to: Option<u32>,
        amount: i128,
    },
    /// There was too little for this.
    Short {
        account: u32,
        amount: i128,
    },
    Read(Vec<(u32, i128)>),
}

impl Object for Ledger {
    type Action = Entry;
    /// What was learned: accounts, and what had been moved before.
    type Undo = Vec<(u32, i128)>;

    fn is_observer(action: &Entry) -> bool {
        !matches!(action, Entry::Move { .. })
    }

    fn fits(&self, action: &Entry) -> bool {
        match action {
            Entry::Move { from, amount, .. } => from.is_none_or(|from| self.may_give(from, *amount)),
            Entry::Short { account, amount } => self.unknown[*account as usize] || !self.may_give(*account, *amount),
            Entry::Read(balances) => balances.iter().all(|(account, balance)| {
                !self.unknown[*account as usize] && self.accounts[*account as usize].balance == *balance
            }),
        }
    }

    fn step(&mut self, action: &Entry) -> Option<Self::Undo> {
        if let Entry::Read(balances) = action {
            return self.learn(balances);
        }
        if !self.fits(action) {
            return None;
        }
        if let Entry::Move { from, to, amount } = action {
            self.add(*from, -amount);
            self.add(*to, *amount);
        }
        Some(Vec::new())
    }

    fn undo(&mut self, action: &Entry, learned: Self::Undo) {
        for (account, moved) in learned {
            self.accounts[account as usize].balance = moved;
            self.unknown[account as usize] = true;
        }
        if let Entry::Move { from, to, amount } = action {
            self.add(*from, *amount);
            self.add(*to, -amount);
        }
    }

    fn memo(&self) -> u64 {
        0
    }

    fn write_state(&self, words: &mut Vec<u64>) {
        for (Account { balance, .. }, unknown) in self.accounts.iter().zip(&self.unknown) {
            // Both halves of it, whatever its sign.
            words.extend([*balance as u64, (*balance >> 64) as u64, u64::from(*unknown)]);
        }
    }

    fn changes(_before: u64, _after: u64) -> bool {
        true
    }

    fn forgotten(&self) -> Option<Self> {
        let nothing_moved = |account: &Account| Account { balance: 0, ..*account };
        let accounts: Vec<Account> = self.accounts.iter().map(nothing_moved).collect();
        Some(Self { unknown: vec![true; accounts.len()], accounts })
    }

    fn is_forgotten(&self) -> bool {
        self.unknown.contains(&true)
    }

    fn is_worth(&self) -> bool {
        true
    }
}

impl Ledger {
    fn may_give(&self, account: u32, amount: i128) -> bool {
        let Account { balance, floor } = self.accounts[account as usize];
        // All amounts and balances of a history together are within i128: its reader saw to that.
        self.unknown[account as usize] || floor.is_none_or(|floor| balance - amount >= floor)
    }

    /// What is not known is from now on what was read.
    fn learn(&mut self, balances: &[(u32, i128)]) -> Option<Vec<(u32, i128)>> {
        let agrees = |(account, balance): &(u32, i128)| {
            self.unknown[*account as usize] || self.accounts[*account as usize].balance == *balance
        };
        if !balances.iter().all(agrees) {
            return None;
        }
        let mut learned = Vec::new();
        for (account, balance) in balances.iter().filter(|(account, _)| self.unknown[*account as usize]) {
            learned.push((*account, self.accounts[*account as usize].balance));
            self.accounts[*account as usize].balance = *balance;
        }
        learned.iter().for_each(|(account, _)| self.unknown[*account as usize] = false);
        Some(learned)
    }

    fn add(&mut self, account: Option<u32>, amount: i128) {
        if let Some(account) = account {
            self.accounts[account as usize].balance += amount;
        }
    }
}

/// The parts of a ledger's history, each account by itself before those that it is connected with.
pub(crate) fn parts(history: &History, accounts: &BTreeMap<String, Account>) -> Vec<Part<Ledger>> {
    let names: Vec<&str> = accounts.keys().map(String::as_str).collect();
    let mut groups = Groups::new(names.len());
    let steps: Vec<Step<Entry>> =
        history.operations.iter().enumerate().filter_map(|(at, operation)| step(at, operation, &names)).collect();
    for step in &steps {
        let touched = step.action.accounts();
        touched.windows(2).for_each(|pair| groups.join(pair[0], pair[1]));
    }
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for account in (0..).take(names.len()) {
        members.entry(groups.root(account)).or_default().push(account);
    }
    let mut of_group: BTreeMap<u32, Vec<Step<Entry>>> = BTreeMap::new();
    for step in steps {
        of_group.entry(groups.root(step.action.accounts()[0])).or_default().push(step);
    }
    let all: Vec<Account> = accounts.values().copied().collect();
    let mut parts = Vec::new();
    for (root, steps) in of_group {
        let members = &members[&root];
        if members.len() > 1 {
            parts.extend(members.iter().map(|account| part(&[*account], &names, &all, &steps, true)));
        }
        parts.push(part(members, &names, &all, &steps, false));
    }
    parts
}

fn step(at: usize, operation: &Operation, names: &[&str]) -> Option<Step<Entry>> {
    let account = |name: &str| {
        let at = names.binary_search(&name).expect("a history's reader knows all accounts");
        u32::try_from(at).expect("accounts are bounded below this")
    };
    let action = match (&operation.action, operation.answer) {
        (_, Answer::NotDone) => return None,
        (Action::Transfer { from, amount, .. }, Answer::Refused { .. }) => {
            Entry::Short { account: account(from), amount: *amount }
        }
        (Action::Transfer { from, to, amount }, _) => {
            Entry::Move { from: Some(account(from)), to: Some(account(to)), amount: *amount }
        }
        (Action::Balances(balances), Answer::Committed { .. }) if !balances.is_empty() => {
            Entry::Read(balances.iter().map(|(name, balance)| (account(name), *balance)).collect())
        }
        _ => return None,
    };
    Some(Step { operation: at, call: operation.call, returned: operation.returned(), action })
}

/// What the steps do to some accounts of theirs, in ascending order.
fn part(
    members: &[u32],
    names: &[&str],
    all: &[Account],
    steps: &[Step<Entry>],
    is_necessary_only: bool,
) -> Part<Ledger> {
    let seen_from = |step: &Step<Entry>| {
        let action = step.action.seen_from(members)?;
        Some(Step { operation: step.operation, call: step.call, returned: step.returned, action })
    };
    let name = match members {
        [account] => format!("account {}", names[*account as usize]),
        [first, rest @ ..] => format!("account {} and {} connected with it", names[*first as usize], rest.len()),
        [] => unreachable!("a part has at least one account"),
    };
    let accounts = members.iter().map(|account| all[*account as usize]).collect();
    let unknown = vec![false; members.len()];
    let steps = steps.iter().filter_map(seen_from).collect();
    // A transfer that may happen any number of times would lead to states without end, and of many that may happen at any
    // later time some add up to whatever was read.
    Part::new(name, Ledger { accounts, unknown }, steps, Presence::Within, is_necessary_only)
}

impl Entry {
    fn accounts(&self) -> Vec<u32> {
        match self {
            Self::Move { from, to, .. } => from.iter().chain(to).copied().collect(),
            Self::Short { account, .. } => vec![*account],
            Self::Read(balances) => balances.iter().map(|(account, _)| *account).collect(),
        }
    }

    /// With accounts by their places among the members; none if it is not about them.
    fn seen_from(&self, members: &[u32]) -> Option<Self> {
        let place = |account: u32| members.binary_search(&account).ok().and_then(|at| u32::try_from(at).ok());
        match self {
            Self::Move { from, to, amount } => {
                let (from, to) = (from.and_then(place), to.and_then(place));
                (from.is_some() || to.is_some()).then_some(Self::Move { from, to, amount: *amount })
            }
            Self::Short { account, amount } => Some(Self::Short { account: place(*account)?, amount: *amount }),
            Self::Read(balances) => {
                let seen = balances.iter().filter_map(|(account, balance)| Some((place(*account)?, *balance)));
                let seen: Vec<_> = seen.collect();
                (!seen.is_empty()).then_some(Self::Read(seen))
            }
        }
    }
}

/// Which accounts are connected.
struct Groups(Vec<u32>);

impl Groups {
    fn new(accounts: usize) -> Self {
        Self((0..).take(accounts).collect())
    }

    fn root(&mut self, mut account: u32) -> u32 {
        while self.0[account as usize] != account {
            let above = self.0[self.0[account as usize] as usize];
            self.0[account as usize] = above;
            account = above;
        }
        account
    }

    fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other) as usize] = one.min(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(actions: &[Action]) -> History {
        let account = Account { balance: 10, floor: Some(0) };
        let accounts: BTreeMap<String, Account> = ["a", "b", "c", "d"].map(|id| (id.to_owned(), account)).into();
        let operation = |(at, action): (u64, &Action)| Operation {
            line: at + 1,
            client: "x".into(),
            call: 2 * at,
            answer: Answer::Committed { at: 2 * at + 1 },
            action: action.clone(),
        };
        let operations = (0..).zip(actions).map(operation).collect();
        History { model: crate::Model::Ledger { accounts }, operations }
    }

    fn transfer(from: &str, to: &str) -> Action {
        Action::Transfer { from: from.into(), to: to.into(), amount: 1 }
    }

    #[track_caller]
    fn check(actions: &[Action], expected: &[(&str, usize, bool)]) {
        let history = history(actions);
        let crate::Model::Ledger { accounts } = &history.model else { unreachable!() };
        let parts = parts(&history, accounts);
        let found: Vec<_> = parts.iter().map(|part| (&*part.name, part.steps.len(), part.is_necessary_only)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_connected_is_apart() {
        let read = |ids: &[&str]| Action::Balances(ids.iter().map(|id| ((*id).to_owned(), 0)).collect());
        check(&[read(&["a"]), read(&["b"])], &[("account a", 1, false), ("account b", 1, false)]);
        check(
            &[transfer("a", "c"), read(&["d"]), read(&["a"])],
            &[
                ("account a", 2, true),
                ("account c", 1, true),
                ("account a and 1 connected with it", 2, false),
                ("account d", 1, false),
            ],
        );
        let all = [transfer("a", "c"), read(&["d", "b"]), transfer("b", "c")];
        let found = [("account a", 1, true), ("account b", 2, true), ("account c", 2, true), ("account d", 1, true)];
        let found = found.into_iter().chain([("account a and 3 connected with it", 3, false)]);
        check(&all, &found.collect::<Vec<_>>());
    }
}
