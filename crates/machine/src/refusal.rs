//! Why an operation did not happen, and which reason is named when several apply.
//!
//! The order of [`Code`] is the precedence: the machine checks in this order and the first that applies is the answer.

/// The machine's refusals, in order of precedence. The numbers are stored: they are added to, never changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Code {
    /// The deadline passed before the entry was stamped. Not remembered.
    DeadlineExceeded = 1,
    /// The key was decided for another request. Not remembered: the first stays.
    KeyReused = 2,
    /// The key was settled before the operation came. Not remembered: the bar stays.
    OperationBarred = 3,
    /// The key carries its own time and that is older than the retention. Not remembered.
    KeyExpired = 4,
    /// An amount outside 1 to 2^127 - 1, or a hold outside its bounds.
    AmountInvalid = 10,
    /// From and to are the same.
    SameAccount = 11,
    /// No such account.
    AccountNotFound = 12,
    /// The id is taken.
    AccountExists = 13,
    /// No such transfer.
    TransferNotFound = 14,
    /// The accounts count different units.
    UnitMismatch = 15,
    /// The transfer is not held (any more).
    HoldClosed = 16,
    /// More than is held.
    ExceedsHold = 17,
    /// More than was posted and not reversed yet.
    ExceedsPosted = 18,
    /// A balance would leave the 128-bit range.
    Overflow = 19,
    /// `available` would fall below the floor.
    InsufficientFunds = 20,
    /// An item of an atomic batch was refused, and so all of it.
    BatchRefused = 30,
    /// No call of that number is uncertain: it is definite, or never was.
    NotUncertain = 31,
    /// An attempt at the call is under way: what it comes to is not known yet. `wanted` is for how many milliseconds more at most.
    CallUnderWay = 32,
    /// The topic is the server's own: nobody else publishes in it.
    TopicReserved = 50,
    /// There are as many topics or subscriptions as there may be.
    TooMany = 51,
    /// No such subscription.
    SubscriptionNotFound = 52,
    /// No such dead letter: it was never one, or a person has dealt with it.
    DeadLetterNotFound = 53,
    /// No such saga.
    SagaNotFound = 60,
    /// There are as many sagas as there may be.
    TooManySagas = 61,
    /// No such run.
    RunNotFound = 62,
    /// The run is in a state in which this cannot be done.
    RunState = 63,
    /// The run is past its pivot: it goes only forward.
    RunPastPivot = 64,
    /// No such step.
    StepNotFound = 65,
    /// The run would be nested deeper than runs may be.
    RunTooDeep = 66,
    /// The lease is in use with another capacity.
    LeaseCapacity = 80,
    /// There are as many leases in use, or as many who wait for one, as there may be.
    TooManyLeases = 81,
    /// The token is not, or no longer, one under which the lease is held.
    LeaseLost = 82,
    /// The lease is held, and there was no room for as long as the caller waited. `had` is how many hold it, `wanted` in how
    /// many milliseconds the first of them expires.
    LeaseHeld = 83,
}

/// A refusal with what a person needs to understand it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal<'a> {
    /// Why.
    pub code: Code,
    /// The account, transfer or key it is about, or empty.
    pub about: &'a str,
    /// What there was: the available balance, the amount held, what is left to reverse; 0 where nothing fits.
    pub had: i128,
    /// What was asked for; 0 where nothing fits.
    pub wanted: i128,
}

/// A [`Refusal`] that can be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusalOwned {
    /// Why.
    pub code: Code,
    /// The account, transfer or key it is about, or empty.
    pub about: Box<str>,
    /// As in [`Refusal`].
    pub had: i128,
    /// As in [`Refusal`].
    pub wanted: i128,
}

impl RefusalOwned {
    /// The same, borrowed.
    pub fn as_refusal(&self) -> Refusal<'_> {
        Refusal { code: self.code, about: &self.about, had: self.had, wanted: self.wanted }
    }
}

impl From<Refusal<'_>> for RefusalOwned {
    fn from(refusal: Refusal<'_>) -> Self {
        let Refusal { code, about, had, wanted } = refusal;
        Self { code, about: about.into(), had, wanted }
    }
}

impl Code {
    /// All, in order of precedence.
    pub const ALL: [Self; 33] = [
        Self::DeadlineExceeded,
        Self::KeyReused,
        Self::OperationBarred,
        Self::KeyExpired,
        Self::AmountInvalid,
        Self::SameAccount,
        Self::AccountNotFound,
        Self::AccountExists,
        Self::TransferNotFound,
        Self::UnitMismatch,
        Self::HoldClosed,
        Self::ExceedsHold,
        Self::ExceedsPosted,
        Self::Overflow,
        Self::InsufficientFunds,
        Self::BatchRefused,
        Self::NotUncertain,
        Self::CallUnderWay,
        Self::TopicReserved,
        Self::TooMany,
        Self::SubscriptionNotFound,
        Self::DeadLetterNotFound,
        Self::SagaNotFound,
        Self::TooManySagas,
        Self::RunNotFound,
        Self::RunState,
        Self::RunPastPivot,
        Self::StepNotFound,
        Self::RunTooDeep,
        Self::LeaseCapacity,
        Self::TooManyLeases,
        Self::LeaseLost,
        Self::LeaseHeld,
    ];

    /// The code stored as `number`.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|code| *code as u8 == number)
    }

    /// Whether the decision is kept under the operation's key.
    pub const fn is_remembered(self) -> bool {
        (self as u8) >= Self::AmountInvalid as u8
    }
}
