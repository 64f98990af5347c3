//! Lays a definition out for the machine, which knows no expressions.

use machine::{Plan, PlannedCompensation, PlannedStep, StepKind};

use crate::definition::{Action, Step};

pub(crate) fn of(deadline_ms: u64, steps: &[Step], has_output: bool) -> Plan {
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
    Plan { deadline_ms, has_output, steps: steps.collect() }
}

impl Action {
    /// What it is to the machine.
    pub const fn kind(&self) -> StepKind {
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
