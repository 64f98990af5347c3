//! Every answer that is not a success has a code, and this is the one table of them.
//!
//! A code is a promise: its text, its number and its meaning are never given to something else, and a test pins the
//! whole table. HTTP, gRPC, the command line and the remedy pages all read it, so that they cannot disagree.

use words::Outcome;

mod effects;
mod leases;
mod nodes;
mod origins;
mod runs;
mod sagas;
mod table;
mod topics;

/// The parts of the table, in the order of their numbers: a new part goes to the end.
const PARTS: [&[Row]; 8] = [
    &table::ROWS,
    &topics::ROWS,
    &sagas::ROWS,
    &effects::ROWS,
    &runs::ROWS,
    &origins::ROWS,
    &leases::ROWS,
    &nodes::ROWS,
];

/// How many codes there are.
pub const CODES: usize = {
    let (mut codes, mut part) = (0, 0);
    while part < PARTS.len() {
        codes += PARTS[part].len();
        part += 1;
    }
    codes
};

/// All codes, in the order of their numbers.
pub const TABLE: [Row; CODES] = {
    let mut rows = [table::ROWS[0]; CODES];
    let (mut at, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut line = 0;
        while line < PARTS[part].len() {
            rows[at] = PARTS[part][line];
            assert!(rows[at].code as usize == at + 1, "a row's place in the table is its code's number");
            (at, line) = (at + 1, line + 1);
        }
        part += 1;
    }
    rows
};

/// Why something was refused, or is not known.
///
/// The numbers appear in packed answer frames: they are added to, never changed or used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the table below says what each means, in the words strangers read")]
pub enum Code {
    IdempotencyKeyMissing = 1,
    IdempotencyKeyInvalid,
    MalformedJson,
    InvalidRequest,
    DeadlineInvalid,
    SessionInvalid,
    ConsistencyInvalid,
    CursorInvalid,
    AmountInvalid,
    PayloadTooLarge,
    UnsupportedMediaType,
    NotFound,
    MethodNotAllowed,
    HeadersTooLarge,
    Unauthenticated,
    Forbidden,
    DeadlineExceeded,
    OutcomeUnknown,
    Overloaded,
    TooManyRequests,
    StorageFull,
    Stopping,
    ConsistencyUnavailable,
    IdempotencyKeyReused,
    OperationBarred,
    KeyExpired,
    OperationUnknown,
    SameAccount,
    AccountNotFound,
    AccountExists,
    TransferNotFound,
    UnitMismatch,
    HoldClosed,
    ExceedsHold,
    ExceedsPosted,
    Overflow,
    InsufficientFunds,
    BatchRefused,
    Internal,
    TopicNotFound,
    TopicReserved,
    LimitReached,
    SubscriptionNotFound,
    DeadLetterNotFound,
    SagaNotFound,
    RunNotFound,
    RunState,
    RunPastPivot,
    StepNotFound,
    CallRefused,
    CallNotDone,
    CallCompensated,
    CallCancelled,
    NotUncertain,
    DestinationNotAllowed,
    CallUnderWay,
    RunCompensated,
    RunEscalated,
    OriginNotAllowed,
    LeaseHeld,
    LeaseLost,
    LeaseCapacity,
    LogUnavailable,
    NotLeader,
}

/// Whether the same key may be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// At once.
    Now,
    /// After a while.
    Later,
    /// With a corrected request: nothing is remembered.
    Corrected,
    /// No: the answer is kept under the key.
    NewKey,
    /// Yes, and a new key would be wrong: it could make the effect happen twice.
    OnlySameKey,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The code.
    pub code: Code,
    /// Its text, as in `/errors/<text>`.
    pub text: &'static str,
    /// HTTP status.
    pub status: u16,
    /// gRPC status number.
    pub grpc: u8,
    /// What became of the operation.
    pub outcome: Outcome,
    /// Exit code of the command line: 10 refused, 20 uncertain, 30 not answered, 2 the request was not one.
    pub exit: u8,
    /// Whether the same key may be tried again.
    pub retry: Retry,
    /// A short name for people.
    pub title: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Exit code of the command line for a committed operation.
pub const EXIT_COMMITTED: u8 = 0;
/// Exit code of the command line for a request that was none.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of the command line for a refused operation.
pub const EXIT_REFUSED: u8 = 10;
/// Exit code of the command line for an operation whose outcome nobody knows yet.
pub const EXIT_UNCERTAIN: u8 = 20;
/// Exit code of the command line where nobody answered, or the answer says nothing of the operation.
pub const EXIT_UNANSWERED: u8 = 30;

impl Code {
    /// Its line of the table.
    pub const fn row(self) -> &'static Row {
        &TABLE[self as usize - 1]
    }

    /// Its text, as in `/errors/<text>`.
    pub const fn as_str(self) -> &'static str {
        self.row().text
    }

    /// Its HTTP status.
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// What became of the operation.
    pub const fn outcome(self) -> Outcome {
        self.row().outcome
    }

    /// Its number in packed answer frames.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The code of that number.
    pub fn from_number(number: u8) -> Option<Self> {
        TABLE.get(usize::from(number).checked_sub(1)?).map(|row| row.code)
    }

    /// The code of that text.
    pub fn parse(text: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.text == text).map(|row| row.code)
    }
}

impl From<machine::Code> for Code {
    fn from(code: machine::Code) -> Self {
        match code {
            machine::Code::DeadlineExceeded => Self::DeadlineExceeded,
            machine::Code::KeyReused => Self::IdempotencyKeyReused,
            machine::Code::OperationBarred => Self::OperationBarred,
            machine::Code::KeyExpired => Self::KeyExpired,
            machine::Code::AmountInvalid => Self::AmountInvalid,
            machine::Code::SameAccount => Self::SameAccount,
            machine::Code::AccountNotFound => Self::AccountNotFound,
            machine::Code::AccountExists => Self::AccountExists,
            machine::Code::TransferNotFound => Self::TransferNotFound,
            machine::Code::UnitMismatch => Self::UnitMismatch,
            machine::Code::HoldClosed => Self::HoldClosed,
            machine::Code::ExceedsHold => Self::ExceedsHold,
            machine::Code::ExceedsPosted => Self::ExceedsPosted,
            machine::Code::Overflow => Self::Overflow,
            machine::Code::InsufficientFunds => Self::InsufficientFunds,
            machine::Code::BatchRefused => Self::BatchRefused,
            machine::Code::NotUncertain => Self::NotUncertain,
            machine::Code::CallUnderWay => Self::CallUnderWay,
            machine::Code::TopicReserved => Self::TopicReserved,
            machine::Code::TooMany => Self::LimitReached,
            machine::Code::SubscriptionNotFound => Self::SubscriptionNotFound,
            machine::Code::DeadLetterNotFound => Self::DeadLetterNotFound,
            machine::Code::SagaNotFound => Self::SagaNotFound,
            machine::Code::TooManySagas | machine::Code::RunTooDeep | machine::Code::TooManyLeases => {
                Self::LimitReached
            }
            machine::Code::RunNotFound => Self::RunNotFound,
            machine::Code::RunState => Self::RunState,
            machine::Code::RunPastPivot => Self::RunPastPivot,
            machine::Code::StepNotFound => Self::StepNotFound,
            machine::Code::LeaseHeld => Self::LeaseHeld,
            machine::Code::LeaseLost => Self::LeaseLost,
            machine::Code::LeaseCapacity => Self::LeaseCapacity,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Retry {
    /// The sentence on the remedy page.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Now => "The same key may be tried again at once.",
            Self::Later => "The same key may be tried again after a while.",
            Self::Corrected => "Nothing was remembered: the same key may be used for the corrected request.",
            Self::NewKey => "Trying again with the same key gives the same answer: use a new key for a new attempt.",
            Self::OnlySameKey => {
                "The same key may be tried again. Do not use a new one: the effect could then happen twice."
            }
        }
    }
}

#[cfg(test)]
mod tests;
