//! Which faults a seed has, and how often they act.

use fastrand::Rng;

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// A message to the server is lost.
    RequestLost,
    /// An answer is lost, after the server did what it says.
    ReplyLost,
    /// A message arrives twice.
    Duplicated,
    /// A message takes much longer, and others overtake it.
    Delayed,
    /// The server's process is killed.
    Kill,
    /// The power is cut: what was not synced is torn, reordered or lost.
    PowerCut,
    /// The server's process stands still for a while.
    Pause,
    /// A sync fails.
    SyncError,
    /// The disk is full for a while.
    DiskFull,
    /// The wall clock jumps.
    ClockJump,
    /// The wall clock runs fast or slow.
    ClockDrift,
    /// An append takes very long.
    SlowSync,
    /// The server dies while a checkpoint or a segment is being written.
    DieInHouseWork,
    /// A client asks the same thing twice at once.
    DuplicateClient,
    /// A durable call's request is lost on its way to the receiver.
    CallLost,
    /// A receiver did what it was asked, and its answer is lost.
    AnswerLost,
    /// Something between outbox and receiver sends a request again.
    CallRepeated,
    /// A request to a receiver, or its answer, takes much longer, and others overtake it.
    CallDelayed,
    /// A receiver is down for a while.
    ReceiverDown,
    /// A receiver is down all the time.
    ReceiverGone,
    /// A receiver takes long to do what it is asked.
    ReceiverSlow,
    /// A receiver says that it is still at it.
    ReceiverBusy,
    /// A receiver turns a request away before it did anything.
    ReceiverSheds,
    /// A receiver restarts, and loses what it had not committed.
    ReceiverRestart,
    /// The outbox never tells what came of an attempt.
    ResultForgotten,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 25] = [
        Self::RequestLost,
        Self::ReplyLost,
        Self::Duplicated,
        Self::Delayed,
        Self::Kill,
        Self::PowerCut,
        Self::Pause,
        Self::SyncError,
        Self::DiskFull,
        Self::ClockJump,
        Self::ClockDrift,
        Self::SlowSync,
        Self::DieInHouseWork,
        Self::DuplicateClient,
        Self::CallLost,
        Self::AnswerLost,
        Self::CallRepeated,
        Self::CallDelayed,
        Self::ReceiverDown,
        Self::ReceiverGone,
        Self::ReceiverSlow,
        Self::ReceiverBusy,
        Self::ReceiverSheds,
        Self::ReceiverRestart,
        Self::ResultForgotten,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestLost => "request lost",
            Self::ReplyLost => "reply lost",
            Self::Duplicated => "message duplicated",
            Self::Delayed => "message delayed",
            Self::Kill => "process killed",
            Self::PowerCut => "power cut",
            Self::Pause => "process paused",
            Self::SyncError => "sync failed",
            Self::DiskFull => "disk full",
            Self::ClockJump => "clock jump",
            Self::ClockDrift => "clock drift",
            Self::SlowSync => "slow sync",
            Self::DieInHouseWork => "died in house-keeping",
            Self::DuplicateClient => "duplicate client",
            Self::CallLost => "call lost",
            Self::AnswerLost => "call's answer lost",
            Self::CallRepeated => "call repeated",
            Self::CallDelayed => "call delayed",
            Self::ReceiverDown => "receiver down",
            Self::ReceiverGone => "receiver gone",
            Self::ReceiverSlow => "receiver slow",
            Self::ReceiverBusy => "receiver busy",
            Self::ReceiverSheds => "receiver sheds",
            Self::ReceiverRestart => "receiver restarts",
            Self::ResultForgotten => "result forgotten",
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// How often each fault acted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultCounts([u64; Fault::ALL.len()]);

impl FaultCounts {
    pub(crate) fn note(&mut self, fault: Fault) {
        self.0[fault.index()] += 1;
    }

    /// How often `fault` acted.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault.index()]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, n) in self.0.iter_mut().zip(other.0) {
            *sum += n;
        }
    }
}

/// The faults of one seed.
#[derive(Clone, Debug)]
pub(crate) struct Swarm {
    on: [bool; Fault::ALL.len()],
    pub(crate) counts: FaultCounts,
    rng: Rng,
    healed: bool,
}

impl Swarm {
    /// Draws which faults exist: each with a chance of one in two, so that most pairs and absences occur.
    pub(crate) fn draw(mut rng: Rng) -> Self {
        let on = std::array::from_fn(|_| rng.bool());
        Self { on, counts: FaultCounts::default(), rng, healed: false }
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.on[fault.index()] && !self.healed
    }

    /// Whether the fault acts now, with that chance per 1,000. Counts it.
    pub(crate) fn strikes(&mut self, fault: Fault, per_mille: u32) -> bool {
        if !self.has(fault) || self.rng.u32(0..1_000) >= per_mille {
            return false;
        }
        self.counts.note(fault);
        true
    }

    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.rng.u64(low..=high)
    }

    /// From here on nothing fails.
    pub(crate) fn heal(&mut self) {
        self.healed = true;
    }
}
