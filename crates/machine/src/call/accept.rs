//! `POST /v1/calls`: from here on the call has an end, whoever crashes.

use crate::archive::Archive;
use crate::books::Marks;
use crate::effect::{Effect, Phase};
use crate::inbox::By;
use crate::record::{Body, CallAccepted};
use crate::turn::Turn;

use super::open::{OpenCall, Owner, State};
use super::order::{CallOrder, Undoes};

/// Accepts a call, and has it tried at once. Gives the number it is known by from now on. `attempt` is 1, unless the same was
/// called for before under the same key: whatever is asked again is no first attempt to the retry budget.
pub(crate) fn accept<A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'_>,
    order: &CallOrder<'_>,
    owner: Option<Owner>,
    undoes: Undoes,
    attempt: u32,
) -> u64 {
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    let call = turn.write(by, Body::CallAccepted(CallAccepted { order: *order, owner, undoes }), marks);
    let deadline = turn.stamp.plus_ms(order.deadline_ms);
    let open = OpenCall {
        state: State::Trying { until: deadline },
        phase: Phase::Call,
        attempt,
        tries: 0,
        deadline,
        persistent: order.persistent,
        doubt: order.doubt,
        way_out: order.way_out,
        can_compensate: !order.compensation.is_empty(),
        uncertain_ms_max: order.uncertain_ms_max,
        uncertain_since: None,
        newest: call,
        owner,
    };
    turn.machine.calls.set(call, open);
    turn.scratch.effects.push(Effect::Try { call, attempt, phase: Phase::Call, until: deadline });
    call
}
