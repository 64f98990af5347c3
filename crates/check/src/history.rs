//! What a checker may see: who asked for what, when, and what was answered. No positions, no entries, no stamps of a server.

use std::collections::BTreeMap;
use std::fmt;

/// Operations on one object, as its clients saw them. One that exists is sound: see [`History::new`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    pub(crate) model: Model,
    pub(crate) operations: Vec<Operation>,
}

/// The sequential object that a legal history cannot be told from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Model {
    /// One value: read, write, compare-and-set.
    Register {
        /// Before the first write.
        initial: Value,
    },
    /// Texts under keys, each key an object of its own: get, put, append, compare-and-set.
    Map {
        /// Under each key before its first write: [`Value::Nothing`] or a text.
        initial: Value,
    },
    /// Accounts and transfers between them. A transfer moves its amount from one account to the other at one instant, if
    /// that leaves the first no less than its floor.
    Ledger {
        /// All accounts, by id.
        accounts: BTreeMap<String, Account>,
    },
    /// Elements that are added and never taken away; empty at first.
    Set,
}

/// The name of a [`Model`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModelKind {
    /// [`Model::Register`].
    Register,
    /// [`Model::Map`].
    Map,
    /// [`Model::Ledger`].
    Ledger,
    /// [`Model::Set`].
    Set,
}

/// An account of a ledger, before the first operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account {
    /// In the unit's smallest part.
    pub balance: i128,
    /// What a transfer must leave at least; `None` for an account that may go below any number.
    pub floor: Option<i128>,
}

/// One operation of one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Where it stands in what was read, from 1: the line on which it was called.
    pub line: u64,
    /// Who asked. A client may have several operations under way.
    pub client: String,
    /// When it was asked, in any unit, on the one clock of the whole history.
    pub call: u64,
    /// What came of it.
    pub answer: Answer,
    /// What was asked, with what was answered where that is a value.
    pub action: Action,
}

/// What a client was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It happened, with the answer that the [`Action`] holds.
    Committed {
        /// When the answer came; not before the call.
        at: u64,
    },
    /// It did not happen, for a reason that the object must have had at that time: another value than the
    /// compare-and-set named, or too little on the account.
    Refused {
        /// When the answer came; not before the call.
        at: u64,
    },
    /// It did not happen, and that says nothing of the object.
    NotDone,
    /// Nobody knows: it takes effect once at any time after the call, or never.
    Uncertain,
}

/// What is asked of each model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Register and map (where a key is named): what is there.
    Read {
        /// In a map.
        key: Option<String>,
        /// The answer; of no meaning unless committed.
        value: Value,
    },
    /// Register and map: what is to be there.
    Write {
        /// In a map.
        key: Option<String>,
        /// From then on.
        value: Value,
    },
    /// Register and map: one value instead of another.
    CompareAndSet {
        /// In a map.
        key: Option<String>,
        /// What must be there.
        from: Value,
        /// What is there then.
        to: Value,
    },
    /// Map: more text at the end. Nothing counts as the empty text.
    Append {
        /// Of the map.
        key: String,
        /// What is added.
        text: String,
    },
    /// Ledger: move money.
    Transfer {
        /// An account.
        from: String,
        /// Another one.
        to: String,
        /// In the unit's smallest part, at least 1.
        amount: i128,
    },
    /// Ledger: the balances of some accounts at one instant.
    Balances(Vec<(String, i128)>),
    /// Set: put an element in.
    Add(Value),
    /// Set: is it in?
    Contains {
        /// Which.
        value: Value,
        /// The answer.
        found: bool,
    },
    /// Set: all that is in it at one instant, without repetition.
    Members(Vec<Value>),
}

/// A value in a register, a map or a set.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Value {
    /// JSON's `null`: nothing was written yet.
    Nothing,
    /// `true` or `false`.
    Truth(bool),
    /// An integer. There are no fractions: whether two are equal must not be a matter of rounding.
    Number(i128),
    /// A text.
    Text(String),
}

impl Model {
    /// Its name.
    pub fn kind(&self) -> ModelKind {
        match self {
            Self::Register { .. } => ModelKind::Register,
            Self::Map { .. } => ModelKind::Map,
            Self::Ledger { .. } => ModelKind::Ledger,
            Self::Set => ModelKind::Set,
        }
    }
}

impl ModelKind {
    /// All names there are.
    pub const ALL: [Self; 4] = [Self::Register, Self::Map, Self::Ledger, Self::Set];

    /// As it is written in a history.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Map => "map",
            Self::Ledger => "ledger",
            Self::Set => "set",
        }
    }
}

impl Action {
    /// Whether it can change the object at all.
    pub fn is_update(&self) -> bool {
        match self {
            Self::Read { .. } | Self::Balances(_) | Self::Contains { .. } | Self::Members(_) => false,
            Self::Write { .. }
            | Self::CompareAndSet { .. }
            | Self::Append { .. }
            | Self::Transfer { .. }
            | Self::Add(_) => true,
        }
    }
}

impl Operation {
    /// When the answer came, if one did.
    pub fn returned(&self) -> Option<u64> {
        match self.answer {
            Answer::Committed { at } | Answer::Refused { at } => Some(at),
            Answer::NotDone | Answer::Uncertain => None,
        }
    }
}

impl fmt::Display for Operation {
    /// What was asked and, if it was, answered: `read 3`, `cas 1 to 2: refused`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.action.fmt(f)?;
        match self.answer {
            Answer::Committed { .. } => Ok(()),
            Answer::Refused { .. } => f.write_str(": refused"),
            Answer::NotDone => f.write_str(": not done"),
            Answer::Uncertain => f.write_str("?"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |key: &Option<String>| key.as_ref().map(|key| format!("{key:?} ")).unwrap_or_default();
        match self {
            Self::Read { key, value } => write!(f, "read {}{value}", at(key)),
            Self::Write { key, value } => write!(f, "write {}{value}", at(key)),
            Self::CompareAndSet { key, from, to } => write!(f, "cas {}{from} to {to}", at(key)),
            Self::Append { key, text } => write!(f, "append {key:?} {text:?}"),
            Self::Transfer { from, to, amount } => write!(f, "{amount} from {from} to {to}"),
            Self::Balances(balances) => {
                f.write_str("read")?;
                balances.iter().try_for_each(|(account, balance)| write!(f, " {account}={balance}"))
            }
            Self::Add(value) => write!(f, "add {value}"),
            Self::Contains { value, found } => write!(f, "{value} in it: {}", if *found { "yes" } else { "no" }),
            Self::Members(values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                write!(f, "read {{{}}}", values.join(" "))
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("null"),
            Self::Truth(truth) => truth.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}
