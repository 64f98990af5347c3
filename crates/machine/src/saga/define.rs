//! `PUT /v1/sagas/{name}`: a definition. Open runs keep the one they started with.

use std::sync::Arc;

use crate::archive::Archive;
use crate::books::Marks;
use crate::inbox::By;
use crate::ledger::{Denial, Stop};
use crate::record::Body;
use crate::refusal::Code;
use crate::turn::Turn;

use super::plan::Plan;
use super::record::SagaRecord;
use super::runs::Definition;

/// The most sagas of a cell.
pub(crate) const SAGAS_MAX: usize = 4_096;

pub(super) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    name: &'a str,
    plan: &[u8],
    document: &str,
) -> Result<u64, Stop<'a>> {
    let laid_out = Plan::decode(plan)?;
    let before = turn.machine.sagas.newest(name).map(|(number, definition)| (number, definition.version));
    if before.is_none() && turn.machine.sagas.definitions_len() >= SAGAS_MAX {
        let most = SAGAS_MAX as i128;
        return Err(Denial { had: most, wanted: most + 1, ..Denial::of_text(Code::TooManySagas, name) }.into());
    }
    let (previous, version) = before.map_or((0, 1), |(number, version)| (number, version + 1));
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    let number = turn.write(by, Body::Saga(SagaRecord::Defined { name, version, previous, plan, document }), marks);
    let definition = Definition { name: name.into(), version, plan: Arc::new(laid_out), runs: 0 };
    turn.machine.sagas.define(number, definition);
    Ok(number)
}
