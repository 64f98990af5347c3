//! What came of an attempt, brought back by the outbox.

use crate::apply::{ApplyError, Verdict};
use crate::archive::Archive;
use crate::effect::Effect;
use crate::record::{Body, CallTried};
use crate::saga::Notice;
use crate::topic::TOPIC_ESCALATIONS;
use crate::topic::publish::publish_built_in;
use crate::turn::Turn;

use super::open::{OpenCall, State};
use super::order::{Finding, Tried};
use super::{end, next};

/// Takes the result in. One of an attempt that is not under way any more changes nothing: its call was judged without it.
pub(crate) fn take<A: Archive>(turn: &mut Turn<'_, A>, tried: &Tried<'_>) -> Result<Verdict, ApplyError> {
    let open = turn.machine.calls.get(tried.call);
    let open = open.filter(|open| open.attempt == tried.attempt && matches!(open.state, State::Trying { .. }));
    let Some(open) = open else { return Ok(Verdict::Ignored) };
    judge(turn, open, tried)?;
    Ok(Verdict::Noted)
}

/// An attempt nobody will hear of any more: it may have been made.
pub(crate) fn lost<A: Archive>(turn: &mut Turn<'_, A>, call: u64, open: OpenCall) -> Result<(), ApplyError> {
    let evidence = "whoever tried was lost before it could tell";
    let tried = Tried { evidence, ..Tried::unmade(call, open.attempt) };
    judge(turn, open, &tried)
}

/// A new leader begins: what the one before was trying may or may not have been done.
pub(crate) fn performers_lost<A: Archive>(turn: &mut Turn<'_, A>) -> Result<(), ApplyError> {
    let trying = turn.machine.calls.iter().filter(|(_, open)| matches!(open.state, State::Trying { .. }));
    for (call, open) in trying.collect::<Vec<_>>() {
        // What this very entry has made due is the new leader's own to try.
        let is_own = turn
            .scratch
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Try { call: tried, .. } if *tried == call));
        if !is_own {
            lost(turn, call, open)?;
        }
    }
    Ok(())
}

fn judge<A: Archive>(turn: &mut Turn<'_, A>, open: OpenCall, tried: &Tried<'_>) -> Result<(), ApplyError> {
    let open = OpenCall { tries: open.tries.saturating_add(tried.tries), ..open };
    let then = next::after(tried.call, open, tried.finding, tried.retry_after_ms, turn.stamp);
    match then {
        // Nothing was tried, and so nothing is written down.
        next::Next::Open(then) if tried.finding == Finding::Unasked => {
            turn.machine.calls.set(tried.call, then);
            Ok(())
        }
        then => follow(turn, open, then, tried),
    }
}

/// Makes of a call what was decided on the ground of `tried`, and writes that down.
pub(super) fn follow<A: Archive>(
    turn: &mut Turn<'_, A>,
    open: OpenCall,
    then: next::Next,
    tried: &Tried<'_>,
) -> Result<(), ApplyError> {
    match then {
        next::Next::End(how) => end::end(turn, open, how, tried),
        next::Next::Open(then) => {
            let escalated = then.state == State::Escalated;
            let body = CallTried {
                call: tried.call,
                previous: open.newest,
                phase: open.phase,
                attempt: tried.attempt,
                tries: tried.tries,
                finding: tried.finding,
                status: tried.status,
                escalated,
                evidence: tried.evidence,
            };
            let newest = turn.write_unnamed(Body::CallTried(body));
            if escalated {
                publish_built_in(turn, TOPIC_ESCALATIONS, newest);
            }
            turn.machine.calls.set(tried.call, OpenCall { newest, ..then });
            if let (State::Escalated, Some(owner)) = (then.state, open.owner) {
                turn.scratch.notices.push(Notice::CallEscalated { owner, call: tried.call });
            }
            Ok(())
        }
    }
}
