//! Double entry: accounts, transfers, holds, reversals. One command per file.
//!
//! Every command checks in the order of [`Code`], changes nothing before all has passed, and leaves exactly one record. For
//! each unit the balances of all accounts add up to zero: what one leg gains the other loses, in one step.

pub(crate) mod accounts;
pub(crate) mod batch;
pub(crate) mod capture;
pub(crate) mod expire;
pub(crate) mod hold;
pub(crate) mod holds;
pub(crate) mod open;
pub(crate) mod original;
pub(crate) mod reverse;
pub(crate) mod transfer;
pub(crate) mod void;

use words::TransferId;

use crate::apply::ApplyError;
use crate::archive::{Fault, NameHash};
use crate::codec::Corrupt;
use crate::machine::Machine;
use crate::refusal::{Code, Refusal, RefusalOwned};

use self::accounts::{Accounts, Tally};

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) enum Stop<'a> {
    /// It is refused.
    Denied(Denial<'a>),
    /// The machine cannot go on.
    Broken(ApplyError),
}

/// A refusal before it is written down.
#[derive(Clone, Debug)]
pub(crate) struct Denial<'a> {
    pub(crate) code: Code,
    pub(crate) about: About<'a>,
    pub(crate) had: i128,
    pub(crate) wanted: i128,
}

/// What a refusal is about.
#[derive(Clone, Debug)]
pub(crate) enum About<'a> {
    Text(&'a str),
    Owned(Box<str>),
    Account(u32),
    Transfer(TransferId),
}

impl<'a> Denial<'a> {
    pub(crate) const fn of_text(code: Code, about: &'a str) -> Self {
        Self { code, about: About::Text(about), had: 0, wanted: 0 }
    }

    pub(crate) const fn of_account(code: Code, slot: u32, had: i128, wanted: i128) -> Self {
        Self { code, about: About::Account(slot), had, wanted }
    }

    pub(crate) const fn of_transfer(code: Code, id: TransferId, had: i128, wanted: i128) -> Self {
        Self { code, about: About::Transfer(id), had, wanted }
    }

    /// Hands the refusal to `write`, with what it is about spelt out.
    pub(crate) fn spell<T>(&self, accounts: &Accounts, write: impl FnOnce(Refusal<'_>) -> T) -> T {
        let ascii;
        let about: &str = match &self.about {
            About::Text(text) => text,
            About::Owned(text) => text,
            About::Account(slot) => accounts.id(*slot),
            About::Transfer(id) => {
                ascii = id.to_ascii();
                std::str::from_utf8(&ascii).expect("a transfer id is written in ASCII")
            }
        };
        write(Refusal { code: self.code, about, had: self.had, wanted: self.wanted })
    }
}

impl From<RefusalOwned> for Denial<'_> {
    fn from(refusal: RefusalOwned) -> Self {
        let RefusalOwned { code, about, had, wanted } = refusal;
        Self { code, about: About::Owned(about), had, wanted }
    }
}

impl<'a> From<Denial<'a>> for Stop<'a> {
    fn from(denial: Denial<'a>) -> Self {
        Self::Denied(denial)
    }
}

impl From<ApplyError> for Stop<'_> {
    fn from(error: ApplyError) -> Self {
        Self::Broken(error)
    }
}

impl From<Fault> for Stop<'_> {
    fn from(fault: Fault) -> Self {
        Self::Broken(ApplyError::Fault(fault))
    }
}

impl From<Corrupt> for Stop<'_> {
    fn from(corrupt: Corrupt) -> Self {
        Self::Broken(ApplyError::Corrupt(corrupt))
    }
}

/// The two accounts of a transfer: their slots and their names in the archive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Legs {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) from_name: NameHash,
    pub(crate) to_name: NameHash,
}

impl Legs {
    /// Of accounts that a record in the archive names, and which therefore exist.
    pub(crate) fn recorded(machine: &Machine, from: &str, to: &str) -> Result<Self, Fault> {
        let (from_name, to_name) = (machine.names.account(from), machine.names.account(to));
        let find = |name, id: &str| {
            machine
                .accounts
                .find(name, id)
                .ok_or_else(|| Fault(format!("a record names the account {id}, which is not")))
        };
        Ok(Self { from: find(from_name, from)?, to: find(to_name, to)?, from_name, to_name })
    }
}

/// Both accounts after a movement, and the heads of their histories before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Movement {
    pub(crate) from: Tally,
    pub(crate) to: Tally,
    pub(crate) from_head: u64,
    pub(crate) to_head: u64,
}

/// What moving `amount` would make of both accounts, if overflow and floor allow it; written by the record `ordinal`.
#[inline]
pub(crate) fn moved(machine: &Machine, legs: Legs, amount: i128, ordinal: u64) -> Result<Movement, Denial<'static>> {
    let (from, to) = (machine.accounts.tally(legs.from), machine.accounts.tally(legs.to));
    let overflow = |slot, had| Denial::of_account(Code::Overflow, slot, had, amount);
    let from_balance = from.balance.checked_sub(amount).ok_or_else(|| overflow(legs.from, from.balance))?;
    let available = from_balance.checked_sub(from.held).ok_or_else(|| overflow(legs.from, from.balance))?;
    let to_balance = to.balance.checked_add(amount).ok_or_else(|| overflow(legs.to, to.balance))?;
    if machine.accounts.floor(legs.from).is_some_and(|floor| available < floor) {
        return Err(Denial::of_account(Code::InsufficientFunds, legs.from, from.available(), amount));
    }
    Ok(Movement {
        from: from.changed(from_balance, from.held, ordinal),
        to: to.changed(to_balance, to.held, ordinal),
        from_head: from.head,
        to_head: to.head,
    })
}
