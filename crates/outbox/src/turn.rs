//! The wait of a later attempt for its turn in the retry budget.

use std::time::Duration;

use call::{Client, Evidence, Turn};
use http::Uri;

use crate::UnderWay;

/// The longest wait: as long as the budget's window, in which what is down lets everybody wait.
const WAIT_MAX: Duration = call::core::budget::WINDOW;

/// What a wait came to.
pub(crate) enum Waited {
    Turn(Turn),
    /// No turn came in time, or nothing further is to be begun.
    InVain,
    /// Its destination cannot be asked at all.
    Impossible(Evidence),
}

/// Waits for the turn of an attempt that has so long from now on. Half of that is left for the attempt itself: what begins
/// without time to end asks for nothing.
pub(crate) async fn wait(client: &Client, under_way: &UnderWay, url: &Uri, attempt: u32, deadline: Duration) -> Waited {
    let mut closing = under_way.closing();
    tokio::select! {
        turn = client.turn(url, attempt, WAIT_MAX.min(deadline / 2)) => match turn {
            Ok(Some(turn)) => Waited::Turn(turn),
            Ok(None) => Waited::InVain,
            Err(evidence) => Waited::Impossible(evidence),
        },
        // An error says that nobody can close it any more.
        Ok(_) = closing.wait_for(|closing| *closing) => Waited::InVain,
    }
}
