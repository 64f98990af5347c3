//! Lays a definition out for the machine, which knows no expressions.

use machine::{Plan, PlannedCompensation, PlannedStep, Reads, StepKind};

use crate::definition::{Action, Step};
use crate::expression::Reference;
use crate::template::Template;

/// The plan of steps that fit together.
pub(crate) fn of(deadline_ms: u64, steps: &[Step], output: Option<&Template>) -> Plan {
    let (reads, has_output) = (Some(reads(steps, output)), output.is_some());
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
    Plan { deadline_ms, has_output, steps: steps.collect(), reads }
}

/// Whose outputs are named where. There is no other way for an expression to reach an output: at the root it names a step, or
/// it was refused.
fn reads(steps: &[Step], output: Option<&Template>) -> Reads {
    let of_step = |(number, step): (usize, &Step)| {
        let act = named(steps, &step.action.templates(), step.action.of());
        let undo = step.compensation.as_ref().map(|compensation| {
            // What is of no other step is of the one that it undoes.
            let of = compensation.action.of().map(|of| if of.is_empty() { steps[number].id.as_str() } else { of });
            named(steps, &compensation.action.templates(), of)
        });
        (act, undo.unwrap_or_default())
    };
    let output = output.map(|output| named(steps, &[output], None));
    Reads { steps: steps.iter().enumerate().map(of_step).collect(), output: output.unwrap_or_default() }
}

fn named(steps: &[Step], templates: &[&Template], of: Option<&str>) -> Vec<u32> {
    let mut references = Vec::new();
    templates.iter().for_each(|template| template.references(&mut references));
    let names = references.iter().filter_map(|reference| match reference {
        Reference::Step(id) => Some(id.as_str()),
        _ => None,
    });
    let number = |id: &str| u32::try_from(steps.iter().position(|step| step.id == id)?).ok();
    let mut numbers: Vec<u32> = names.chain(of).filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
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

    /// The step that it is of, if it is of one; empty where that is the step it undoes.
    fn of(&self) -> Option<&str> {
        match self {
            Self::Capture { of, .. } | Self::Void { of } | Self::Reverse { of, .. } => Some(of),
            _ => None,
        }
    }
}
