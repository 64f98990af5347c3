//! What time alone moves on: the next attempt at a delivery, and what a topic keeps no longer.

use words::Stamp;

use crate::archive::Archive;
use crate::machine::Machine;
use crate::turn::Turn;

/// Wakes at most so many subscriptions and lets at most so many topics forget; gives how many there were.
pub(crate) fn fire<A: Archive>(turn: &mut Turn<'_, A>, fires_max: u32) -> u32 {
    let now = turn.stamp;
    let mut fired = 0;
    while fired < fires_max {
        let topics = &mut turn.machine.topics;
        let due = topics.subscriptions.first_due().filter(|(at, _)| *at <= now);
        let Some((_, number)) = due else { break };
        topics.subscriptions.change(number, |subscription| subscription.wake(now));
        turn.scratch.woken.insert(number);
        fired += 1;
    }
    while fired < fires_max && turn.scratch.forgets_left > 0 {
        let topics = &mut turn.machine.topics;
        let Some((_, number)) = topics.lists.first_due().filter(|(at, _)| *at <= now) else { break };
        topics.forget(number, now, &mut turn.scratch.forgets_left);
        fired += 1;
    }
    fired
}

/// When the first of that is due.
pub(crate) fn first(machine: &Machine) -> Option<Stamp> {
    let topics = &machine.topics;
    topics.subscriptions.first_due().into_iter().chain(topics.lists.first_due()).map(|(at, _)| at).min()
}
