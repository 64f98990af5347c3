//! What an attempt's finding means for its call: one table.
//!
//! | asked to | committed | refused | not done | still at it | uncertain |
//! |---|---|---|---|---|---|
//! | call | done | refused | not done, or again if it persists | in doubt | in doubt |
//! | resend | done | refused | again | again | again |
//! | probe | done | not done | again | again | again |
//! | compensate | undone | a person | again | again | again |
//!
//! *In doubt* is what the caller declared: ask, resend, undo, or a person. *Again* is after a backoff. Once a call was
//! uncertain, that an attempt did nothing says nothing about the one before it: then only an answer ends the call.
//!
//! An attempt that had no turn is none, whatever it was to ask: [`unasked`] puts it off, and it comes under the same number.

use words::Stamp;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::open::{OpenCall, State};
use super::order::{Doubt, Finding, WayOut};
use crate::effect::Phase;
use crate::record::CallEnd;

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// It is over.
    End(CallEnd),
    /// It stays open, as this.
    Open(OpenCall),
}

/// The shortest and the longest backoff's upper end, in milliseconds.
const BACKOFF_MS: (u64, u64) = (50, 60_000);
/// The shortest and the longest time within which an attempt that had no turn comes again, in milliseconds.
const PUT_OFF_MS: (u64, u64) = (1_000, 60_000);
/// The longest a receiver's `Retry-After` is followed, in milliseconds.
const RETRY_AFTER_MS_MAX: u64 = 3_600_000;
/// After an attempt at `call` found `finding`.
pub(super) fn after(call: u64, open: OpenCall, finding: Finding, retry_after_ms: u64, now: Stamp) -> Next {
    let wait_ms = backoff_ms(call, open.attempt).max(retry_after_ms.min(RETRY_AFTER_MS_MAX));
    let again = |phase| Next::Open(OpenCall { phase, state: State::Waiting { due: now.plus_ms(wait_ms) }, ..open });
    match (open.phase, finding) {
        (_, Finding::Unasked) => Next::Open(unasked(call, open, now)),
        (Phase::Call | Phase::Resend, Finding::Committed) | (Phase::Probe, Finding::Committed) => {
            Next::End(CallEnd::Committed)
        }
        (Phase::Call | Phase::Resend, Finding::Refused) => Next::End(CallEnd::Refused),
        (Phase::Probe, Finding::Refused) => Next::End(CallEnd::NotDone),
        (Phase::Call, Finding::NotDone) if open.persistent && now.plus_ms(wait_ms) < open.deadline => {
            again(Phase::Call)
        }
        (Phase::Call, Finding::NotDone) => Next::End(CallEnd::NotDone),
        (Phase::Call, Finding::StillAtIt | Finding::Uncertain) => in_doubt(call, open, now, wait_ms),
        (Phase::Resend | Phase::Probe, Finding::NotDone | Finding::StillAtIt | Finding::Uncertain) => again(open.phase),
        (Phase::Compensate, Finding::Committed) => Next::End(CallEnd::Compensated),
        (Phase::Compensate, Finding::Refused) => escalated(open, now),
        // What could not be undone in time is not tried for ever.
        (Phase::Compensate, _) if open.bound().is_some_and(|bound| bound <= now) => escalated(open, now),
        (Phase::Compensate, Finding::NotDone | Finding::StillAtIt | Finding::Uncertain) => again(Phase::Compensate),
    }
}

/// After an attempt at `call` that had no turn: as it was before. It comes again within a minute, and within half of the time
/// that is left, so that nothing comes to its deadline or bound for want of turns that were there. What is to be undone is
/// tried at least once, however late.
fn unasked(call: u64, open: OpenCall, now: Stamp) -> OpenCall {
    let end = if open.phase == Phase::Call { Some(open.deadline) } else { open.bound() };
    let left_ms = end.map_or(u64::MAX, |end| end.millis().saturating_sub(now.millis()));
    let most = if left_ms == 0 { PUT_OFF_MS.1 } else { (left_ms / 2).clamp(PUT_OFF_MS.0, PUT_OFF_MS.1) };
    // What draws has to differ from turn to turn, or those that were put off together would come together again.
    let due = now.plus_ms(1 + xxh3_64_with_seed(&call.to_le_bytes(), now.raw()) % most);
    OpenCall { attempt: open.attempt.saturating_sub(1), state: State::Waiting { due }, ..open }
}

/// Nobody knows whether the call was done.
fn in_doubt(call: u64, open: OpenCall, now: Stamp, wait_ms: u64) -> Next {
    let open = OpenCall { uncertain_since: open.uncertain_since.or(Some(now)), ..open };
    let phase = match open.doubt {
        Doubt::Probe => Phase::Probe,
        Doubt::Resend => Phase::Resend,
        Doubt::Compensate => Phase::Compensate,
        Doubt::Escalate => return escalated(open, now),
    };
    debug_assert!(phase != Phase::Compensate || open.can_compensate, "{call} was accepted with what its doubt needs");
    Next::Open(OpenCall { phase, state: State::Waiting { due: now.plus_ms(wait_ms) }, ..open })
}

/// The call has been uncertain for as long as it may be.
pub(super) fn way_out(open: OpenCall, now: Stamp) -> Next {
    match open.way_out {
        WayOut::Compensate if open.can_compensate => {
            Next::Open(OpenCall { phase: Phase::Compensate, state: State::Waiting { due: now }, ..open })
        }
        WayOut::Escalate | WayOut::Compensate => escalated(open, now),
        WayOut::Cancel => Next::End(CallEnd::Cancelled),
    }
}

fn escalated(open: OpenCall, now: Stamp) -> Next {
    // What a person must decide is uncertain, however it came to that.
    let uncertain_since = open.uncertain_since.or(Some(now));
    Next::Open(OpenCall { state: State::Escalated, uncertain_since, ..open })
}

/// Full jitter under an exponential bound. Drawn from the call's own number, so that every replica draws the same.
fn backoff_ms(call: u64, attempt: u32) -> u64 {
    let (first, most) = BACKOFF_MS;
    let bound = first.saturating_mul(1 << attempt.min(20)).min(most);
    1 + xxh3_64_with_seed(&call.to_le_bytes(), attempt.into()) % bound
}
