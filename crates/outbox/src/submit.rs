//! What came of an effect, into the log: again and again until the cell takes it.

use std::time::Duration;

use cell::{CellHandle, Rejected, Reply, Role, Write};
use tokio::sync::oneshot;
use tracing::{error, warn};

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Submits a command without a key. Ends when it is decided, or, with `false`, when nobody can decide it in this life any
/// more.
pub(crate) async fn submit(cell: &CellHandle, command: Vec<u8>) -> bool {
    let mut pause = Duration::from_millis(10);
    loop {
        let (sender, receiver) = oneshot::channel();
        let write = Write { command: command.clone(), deadline_us: u64::MAX, waits_for_end: true };
        // The receiver lives until the answer is there.
        cell.write(write, move |reply| drop(sender.send(reply)));
        match receiver.await {
            Ok(Reply::Rejected(reason)) if may_pass(reason, cell.status().role) => {
                tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Ok(Reply::Rejected(
                why @ (Rejected::Malformed | Rejected::TooLarge { .. } | Rejected::DeadlineExceeded),
            )) => {
                error!(?why, "what came of an effect cannot be told");
                return false;
            }
            Ok(Reply::Rejected(_) | Reply::Uncertain) | Err(_) => {
                warn!(
                    "the cell ended or another node leads before it heard what came of an effect; the next leader finds it uncertain"
                );
                return false;
            }
            Ok(Reply::Decided(_) | Reply::Pending { .. }) => return true,
        }
    }
}

/// Whether the cell may take later what it does not take now. A leader that is about to hand the lead over takes nothing, and stays
/// the leader where that fails.
fn may_pass(reason: Rejected, role: Role) -> bool {
    match reason {
        Rejected::Overloaded { .. } | Rejected::StorageFull | Rejected::LogUnavailable => true,
        Rejected::NotLeader => role == Role::Leader,
        Rejected::Stopping | Rejected::Malformed | Rejected::TooLarge { .. } | Rejected::DeadlineExceeded => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_now_is_told_again() {
        for (reason, role, expected) in [
            (Rejected::StorageFull, Role::Leader, true),
            (Rejected::NotLeader, Role::Leader, true),
            (Rejected::NotLeader, Role::Follower, false),
            (Rejected::Stopping, Role::Leader, false),
            (Rejected::Malformed, Role::Leader, false),
        ] {
            assert_eq!(may_pass(reason, role), expected, "{reason:?} {role:?}");
        }
    }
}
