//! A call that waits for a person is tried again, because a person asked for it: its run is restarted.

use crate::archive::Archive;
use crate::effect::Phase;
use crate::turn::Turn;

use super::open::{OpenCall, State};
use super::order::Doubt;

/// Has an escalated call settled anew, with its whole bound before it: the receiver is asked what became of it if there is
/// a way to ask, else it is sent once more under the key it has.
pub(crate) fn try_again<A: Archive>(turn: &mut Turn<'_, A>, call: u64) {
    let Some(open) = turn.machine.calls.get(call).filter(|open| open.state == State::Escalated) else { return };
    let phase = match open.doubt {
        Doubt::Probe => Phase::Probe,
        Doubt::Resend | Doubt::Compensate | Doubt::Escalate => Phase::Resend,
    };
    let (state, uncertain_since) = (State::Waiting { due: turn.stamp }, Some(turn.stamp));
    turn.machine.calls.set(call, OpenCall { state, phase, uncertain_since, ..open });
}
