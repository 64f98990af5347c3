//! `POST /v1/sagas/{name}/runs`: from here on the run has an end, whoever crashes.

use std::sync::Arc;

use crate::archive::Archive;
use crate::books::Marks;
use crate::call::Owner;
use crate::inbox::By;
use crate::ledger::{Denial, Stop};
use crate::record::Body;
use crate::refusal::Code;
use crate::turn::Turn;

use super::advance::advance;
use super::order::RUN_MS_MAX;
use super::record::SagaRecord;
use super::run::{Run, Slot, Stage};

/// How deep runs may be nested: a saga that starts itself comes to its end here.
pub(crate) const RUN_DEPTH_MAX: u8 = 8;

/// What is to be started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) saga: &'a str,
    pub(super) input: &'a str,
    pub(super) delay_ms: u64,
    pub(super) deadline_ms: Option<u64>,
    pub(super) parent: Option<Owner>,
    pub(super) depth: u8,
}

/// Starts a run. Gives its number.
pub(super) fn start<'a, A: Archive>(turn: &mut Turn<'_, A>, by: &By<'_>, asked: &Asked<'a>) -> Result<u64, Stop<'a>> {
    let Some((number, definition)) = turn.machine.sagas.newest(asked.saga) else {
        return Err(Denial::of_text(Code::SagaNotFound, asked.saga).into());
    };
    let plan = Arc::clone(&definition.plan);
    let ms = asked.deadline_ms.unwrap_or(plan.deadline_ms);
    let too_long = [("delay_ms", asked.delay_ms, 0), ("deadline_ms", ms, 1)];
    for (field, ms, least) in too_long {
        if !(least..=RUN_MS_MAX).contains(&ms) {
            return Err(Denial { wanted: ms.into(), ..Denial::of_text(Code::AmountInvalid, field) }.into());
        }
    }
    let starts = turn.stamp.plus_ms(asked.delay_ms);
    let deadline = starts.plus_ms(ms);
    let body = SagaRecord::Started {
        saga: asked.saga,
        definition: number,
        input: asked.input,
        starts,
        deadline,
        parent: asked.parent,
    };
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    let run = turn.write(by, Body::Saga(body), marks);
    let stage = if asked.delay_ms == 0 { Stage::Forward } else { Stage::Delayed { until: starts } };
    let steps = vec![Slot::NEW; plan.steps.len()];
    turn.machine.sagas.set(
        run,
        Run {
            definition: number,
            plan,
            stage,
            paused: false,
            expired: false,
            why: None,
            started: turn.stamp,
            deadline,
            parent: asked.parent,
            depth: asked.depth,
            ended: 0,
            newest: run,
            steps,
        },
    );
    advance(turn, run)?;
    Ok(run)
}
