//! Bugs planted on purpose: a checker that does not find them checks nothing.
//!
//! Each is planted where the world meets the real code, so that the code under test carries no switch for it.

/// A planted bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Canary {
    /// The disk says that a sync is done and has done nothing.
    SkipSync,
    /// Answers leave when an append begins, not when it is durable.
    AnswerBeforeDurable,
    /// A restart from a checkpoint forgets which keys were decided.
    ForgetKeys,
    /// A read is answered with what an earlier one found, and says that it is fresh.
    StaleRead,
    /// A client tries again under a new key.
    NewKeyOnRetry,
    /// An entry is skipped when the log is replayed.
    SkipEntry,
    /// Deadlines do not reach the log.
    ForgetDeadline,
    /// The clock follows each jump of the wall clock at once.
    TrustWallClock,
    /// Two answers of one batch are swapped.
    SwapAnswers,
    /// A failed sync is taken for a successful one.
    IgnoreSyncError,
    /// A restart cuts the newest entry off the log although it was acknowledged.
    CutAckedEntry,
    /// A restart takes what was being tried for not done.
    ForgottenIsNotDone,
    /// A call is sent again without its key.
    ResendWithoutKey,
    /// A receiver that knows nothing of a key is taken to say that it will never do it.
    UnknownIsNotDone,
    /// The key of a call is forgotten as soon as it has ended.
    ForgetEnds,
    /// The bound after which a way out is taken reaches the log too short.
    EarlyWayOut,
    /// A call is undone before anybody is in doubt about it.
    BlindCompensation,
    /// Retries are made although their budget is empty.
    BudgetNotWithdrawn,
    /// Later attempts are made although they had no turn.
    TurnNotTaken,
    /// A run that has ended is taken up again, and ends again, though nobody asked for it.
    RestartUnasked,
    /// A step's call is undone while nobody knows whether it was done.
    UndoWhileUncertain,
    /// What a step does is done once more, under another key.
    StepTwice,
    /// What undoes a transfer moves back a part of it.
    UndoInPart,
    /// Time moves nothing on: no timer fires by itself.
    NoTimers,
    /// A new leader does not take up what the one before had begun.
    ClaimIsIdle,
    /// A receiver of events does not keep which ones it has had.
    ForgetOffset,
    /// Deliveries take no heed of keys.
    ForgetEventKeys,
    /// Leases expire long before their holders believe it.
    EarlyExpiry,
    /// Tokens begin anew after a restart.
    TokenAgain,
    /// A holder counts its lease from the answer, and to its very end.
    CountFromAnswer,
}

impl Canary {
    /// All of them, with the number of seeds within which each must be found.
    pub const ALL: [(Self, u64); 30] = [
        (Self::SkipSync, 20),
        (Self::AnswerBeforeDurable, 20),
        (Self::ForgetKeys, 20),
        (Self::StaleRead, 5),
        (Self::NewKeyOnRetry, 10),
        (Self::SkipEntry, 20),
        (Self::ForgetDeadline, 20),
        (Self::TrustWallClock, 20),
        (Self::SwapAnswers, 5),
        (Self::IgnoreSyncError, 40),
        (Self::CutAckedEntry, 20),
        (Self::ForgottenIsNotDone, 20),
        (Self::ResendWithoutKey, 20),
        (Self::UnknownIsNotDone, 100),
        (Self::ForgetEnds, 20),
        (Self::EarlyWayOut, 20),
        (Self::BlindCompensation, 10),
        (Self::BudgetNotWithdrawn, 20),
        (Self::TurnNotTaken, 20),
        (Self::RestartUnasked, 60),
        (Self::UndoWhileUncertain, 40),
        (Self::StepTwice, 150),
        (Self::UndoInPart, 100),
        (Self::NoTimers, 20),
        (Self::ClaimIsIdle, 40),
        (Self::ForgetOffset, 40),
        (Self::ForgetEventKeys, 60),
        (Self::EarlyExpiry, 40),
        (Self::TokenAgain, 40),
        (Self::CountFromAnswer, 80),
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SkipSync => "skip-sync",
            Self::AnswerBeforeDurable => "answer-before-durable",
            Self::ForgetKeys => "forget-keys",
            Self::StaleRead => "stale-read",
            Self::NewKeyOnRetry => "new-key-on-retry",
            Self::SkipEntry => "skip-entry",
            Self::ForgetDeadline => "forget-deadline",
            Self::TrustWallClock => "trust-wall-clock",
            Self::SwapAnswers => "swap-answers",
            Self::IgnoreSyncError => "ignore-sync-error",
            Self::CutAckedEntry => "cut-acked-entry",
            Self::ForgottenIsNotDone => "forgotten-is-not-done",
            Self::ResendWithoutKey => "resend-without-key",
            Self::UnknownIsNotDone => "unknown-is-not-done",
            Self::ForgetEnds => "forget-ends",
            Self::EarlyWayOut => "early-way-out",
            Self::BlindCompensation => "blind-compensation",
            Self::BudgetNotWithdrawn => "budget-not-withdrawn",
            Self::TurnNotTaken => "turn-not-taken",
            Self::RestartUnasked => "restart-unasked",
            Self::UndoWhileUncertain => "undo-while-uncertain",
            Self::StepTwice => "step-twice",
            Self::UndoInPart => "undo-in-part",
            Self::NoTimers => "no-timers",
            Self::ClaimIsIdle => "claim-is-idle",
            Self::ForgetOffset => "forget-offset",
            Self::ForgetEventKeys => "forget-event-keys",
            Self::EarlyExpiry => "early-expiry",
            Self::TokenAgain => "token-again",
            Self::CountFromAnswer => "count-from-answer",
        }
    }

    /// The canary of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().map(|(canary, _)| canary).find(|canary| canary.name() == name)
    }
}
