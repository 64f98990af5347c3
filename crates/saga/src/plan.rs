//! What the machine needs to know of a saga: which step is next, for how long, and what may be undone. No expressions.

use crate::definition::{Action, Step};

/// A saga as the machine sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// What it is called.
    pub name: String,
    /// How long a run may go forward, in milliseconds from its start.
    pub deadline_ms: u64,
    /// The steps; those of other steps are counted from 0 here.
    pub steps: Vec<PlannedStep>,
}

/// A step as the machine sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedStep {
    /// What it is called.
    pub id: String,
    /// What it does.
    pub kind: StepKind,
    /// The steps that must be done before it, in their order.
    pub after: Vec<u32>,
    /// How long it may take until it has its end, in milliseconds.
    pub timeout_ms: u64,
    /// How often it may be tried before it has failed.
    pub attempts_max: u32,
    /// Whether the run goes only forward from here.
    pub pivot: bool,
    /// What undoes it.
    pub compensation: Option<PlannedCompensation>,
}

/// What undoes a step, as the machine sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlannedCompensation {
    /// What it does.
    pub kind: StepKind,
    /// How long it is tried until a person is told, in milliseconds.
    pub timeout_ms: u64,
    /// Whether the step may be undone after the pivot.
    pub after_pivot: bool,
}

/// What a step does. The numbers are stored: they are added to, never changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum StepKind {
    /// A durable call.
    Call = 1,
    /// A posted transfer.
    Transfer = 2,
    /// A held transfer.
    Hold = 3,
    /// Posts what another step holds.
    Capture = 4,
    /// Releases what another step holds.
    Void = 5,
    /// Moves back what another step posted.
    Reverse = 6,
    /// An event.
    Event = 7,
    /// A wait.
    Timer = 8,
    /// Another saga.
    Saga = 9,
}

pub(crate) fn of(name: &str, deadline_ms: u64, steps: &[Step]) -> Plan {
    let steps = steps.iter().map(|step| PlannedStep {
        id: step.id.clone(),
        kind: step.action.kind(),
        after: step.after.clone(),
        timeout_ms: step.timeout_ms,
        attempts_max: step.attempts_max,
        pivot: step.pivot,
        compensation: step.compensation.as_ref().map(|compensation| PlannedCompensation {
            kind: compensation.action.kind(),
            timeout_ms: compensation.timeout_ms,
            after_pivot: step.compensate_after_pivot,
        }),
    });
    Plan { name: name.to_owned(), deadline_ms, steps: steps.collect() }
}

impl Action {
    const fn kind(&self) -> StepKind {
        match self {
            Self::Call(_) => StepKind::Call,
            Self::Transfer(_) => StepKind::Transfer,
            Self::Hold(_) => StepKind::Hold,
            Self::Capture { .. } => StepKind::Capture,
            Self::Void { .. } => StepKind::Void,
            Self::Reverse { .. } => StepKind::Reverse,
            Self::Event(_) => StepKind::Event,
            Self::Timer(_) => StepKind::Timer,
            Self::Saga(_) => StepKind::Saga,
        }
    }
}
