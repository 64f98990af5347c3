//! The end of a call: its answer, under the key it was asked for.

use crate::apply::{ApplyError, Ended};
use crate::archive::Archive;
use crate::books::{Marks, damaged};
use crate::inbox::By;
use crate::record::{Body, CallEnd, CallEnded, Record};
use crate::saga::Notice;
use crate::turn::Turn;

use super::open::OpenCall;
use super::order::Tried;

/// Ends a call as `tried` found it. Whoever waits for it is answered.
pub(super) fn end<A: Archive>(
    turn: &mut Turn<'_, A>,
    open: OpenCall,
    how: CallEnd,
    tried: &Tried<'_>,
) -> Result<(), ApplyError> {
    let (attempt, evidence, status) = (tried.attempt, tried.evidence, tried.status);
    let ended = CallEnded {
        headers: tried.headers,
        call: tried.call,
        previous: open.newest,
        end: how,
        phase: open.phase,
        attempt,
        tries: open.tries,
        uncertain_us: open.uncertain_since.map_or(0, |since| turn.stamp.micros().saturating_sub(since.micros())),
        evidence,
        status,
        content_type: tried.content_type,
        body: tried.body,
        is_cut: tried.is_cut,
        by: "",
    };
    write(turn, open, &ended)?;
    Ok(())
}

/// Writes the end under the call's own key and forgets the call. Gives the record.
pub(super) fn write<A: Archive>(
    turn: &mut Turn<'_, A>,
    open: OpenCall,
    ended: &CallEnded<'_>,
) -> Result<u64, ApplyError> {
    let call = ended.call;
    let mut accepted = std::mem::take(&mut turn.scratch.original);
    accepted.clear();
    turn.archive.read(call, &mut |bytes| accepted.extend_from_slice(bytes))?;
    let record = Record::decode(&accepted).map_err(damaged)?;
    let by = By {
        principal: record.principal,
        key: record.key,
        name: turn.machine.names.operation(record.principal, record.key),
        fingerprint: record.fingerprint,
        waited_us: 0,
    };
    let marks = Marks { operation: Some(by.name), ..Marks::default() };
    let ordinal = turn.write(&by, Body::CallEnded(*ended), marks);
    turn.scratch.original = accepted;
    turn.machine.calls.close(call);
    turn.scratch.ended.push(Ended { began: call, ordinal, uncertain_us: ended.uncertain_us });
    if let Some(owner) = open.owner {
        turn.scratch.notices.push(Notice::CallEnded { owner, call, how: ended.end, ordinal });
    }
    Ok(ordinal)
}
