//! `POST /v1/uncertain/{id}/resolve`: a person says what became of a call. It is recorded who, and how they know.
//!
//! Nobody can say so while an attempt is under way: what it comes to is not known yet, to anybody.

use crate::archive::Archive;
use crate::books::Marks;
use crate::inbox::By;
use crate::ledger::{Denial, Stop};
use crate::record::{Body, CallEnd, CallEnded};
use crate::refusal::Code;
use crate::turn::Turn;

use super::end;
use super::open::State;
use super::order::Resolved;

/// Ends an uncertain call by decree. Gives the record of the decree, which stands under the decree's own key.
pub(crate) fn decide<'a, A: Archive>(
    turn: &mut Turn<'_, A>,
    by: &By<'a>,
    resolved: &Resolved<'a>,
) -> Result<u64, Stop<'a>> {
    let number = |code| Denial { had: i128::from(resolved.call), ..Denial::of_text(code, "") };
    let open = turn.machine.calls.get(resolved.call).ok_or_else(|| number(Code::NotUncertain))?;
    if open.uncertain_since.is_none() {
        return Err(number(Code::NotUncertain).into());
    }
    // What is on its way may do, or find out, the opposite of what the person says. It is bounded: its report comes, or is given up.
    if let (State::Trying { .. }, Some(until)) = (open.state, open.wakes()) {
        let wait_ms = until.millis().saturating_sub(turn.stamp.millis());
        return Err(Denial { wanted: wait_ms.into(), ..number(Code::CallUnderWay) }.into());
    }
    let ended = CallEnded {
        headers: "",
        call: resolved.call,
        previous: open.newest,
        end: if resolved.committed { CallEnd::DecreedCommitted } else { CallEnd::DecreedRefused },
        phase: open.phase,
        attempt: open.attempt,
        tries: open.tries,
        uncertain_us: open.uncertain_since.map_or(0, |since| turn.stamp.micros().saturating_sub(since.micros())),
        evidence: resolved.note,
        status: 0,
        content_type: "",
        body: b"",
        is_cut: false,
        by: resolved.by,
    };
    let ordinal = end::write(turn, open, &ended)?;
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    Ok(turn.write(by, Body::Resolved { call: resolved.call, ended: ordinal, committed: resolved.committed }, marks))
}
