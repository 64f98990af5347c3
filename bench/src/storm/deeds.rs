//! What a client did and was told, kept for the check.

use serde_json::Value;

use crate::call::Answer;

/// What a committed operation did to the ledger.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Effect {
    /// The transfer.
    pub id: String,
    /// What happened to it.
    pub event: Event,
    /// Taken from here.
    pub from: String,
    /// To there.
    pub to: String,
    /// How much was posted, or is or was held.
    pub amount: i64,
}

/// The events of a transfer, as the account history names them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Event {
    /// Posted at once.
    Posted,
    /// Set aside.
    Held,
    /// A hold posted.
    Captured,
    /// A hold released.
    Voided,
    /// A hold released by time.
    Expired,
    /// A transfer of its own that moves another back.
    Reversal,
}

impl Event {
    /// The word in an account's history.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Held => "held",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Expired => "expired",
            Self::Reversal => "reversal",
        }
    }

    /// The event of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Posted, Self::Held, Self::Captured, Self::Voided, Self::Expired, Self::Reversal]
            .into_iter()
            .find(|event| event.word() == word)
    }

    /// Whether it moves the balances; the others only change what is held.
    pub const fn moves(self) -> bool {
        matches!(self, Self::Posted | Self::Captured | Self::Reversal)
    }
}

/// What kind of operation it was, for the counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// An account was opened.
    Open,
    /// A transfer, or a hold.
    Transfer,
    /// A capture, a void or a reversal.
    FollowUp,
    /// A batch, each item on its own.
    Batch,
    /// A batch, all or none.
    AtomicBatch,
    /// The same request on two connections at once.
    Joined,
    /// A transfer whose fate was asked for by settling it.
    Settled,
}

/// One operation that became definite.
#[derive(Clone, Debug)]
pub struct Deed {
    /// Its kind.
    pub kind: Kind,
    /// Its key.
    pub key: String,
    /// The request, as bytes.
    pub request: Vec<u8>,
    /// The first definite answer's status.
    pub status: u16,
    /// The first definite answer's body; of a settled operation, that of its own answer.
    pub body: Vec<u8>,
    /// The keys of a batch's items that were committed, with their transfers.
    pub items: Vec<(String, String)>,
    /// The key was barred before the operation came.
    pub barred: bool,
}

impl Deed {
    /// An operation and its answer.
    pub fn new(kind: Kind, key: &str, request: Vec<u8>, answer: &Answer) -> Self {
        let (status, body) = (answer.status, answer.body.clone());
        Self { kind, key: key.to_owned(), request, status, body, items: Vec::new(), barred: false }
    }
}

/// All a client knows.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Its operations.
    pub deeds: Vec<Deed>,
    /// What they did, each effect once.
    pub effects: Vec<Effect>,
    /// Holds that end by themselves if nobody ends them.
    pub short_holds: Vec<String>,
    /// Requests sent, resent ones included.
    pub requests: u64,
}

impl Book {
    /// Adds another client's.
    pub fn append(&mut self, mut other: Self) {
        self.deeds.append(&mut other.deeds);
        self.effects.append(&mut other.effects);
        self.short_holds.append(&mut other.short_holds);
        self.requests += other.requests;
    }
}

/// Reads a transfer out of an answer.
pub(super) fn effect(transfer: &Value, event: Event) -> Option<Effect> {
    let text = |name: &str| transfer[name].as_str().map(str::to_owned);
    Some(Effect { id: text("id")?, event, from: text("from")?, to: text("to")?, amount: transfer["amount"].as_i64()? })
}
