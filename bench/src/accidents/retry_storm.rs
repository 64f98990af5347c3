//! Retry storm: a destination is down, and everybody who asks it asks again.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::{Accident, Seen, Stage};
use crate::call::Client;
use crate::handler::Handler;

const CLIENTS: u64 = 64;

const REQUESTS: u64 = 640;

/// How often a client without a budget asks, in all.
const TRIES: u64 = 4;

/// So many hundredths of the requests made may reach it.
const REACHED_PERCENT_MAX: u64 = 110;

pub(super) fn stage(stage: &Stage) -> io::Result<Accident> {
    let cell = stage.cell("retry-storm")?;
    Ok(Accident {
        name: "retry storm",
        how: "A destination is down; each of 64 clients asks it up to 4 times.",
        protection: "retries are at most a tenth of first attempts, for all callers together, and the breaker opens",
        without: asked(|down, _| {
            let mut client = Client::new(down, Duration::from_secs(10));
            for _ in 0..TRIES {
                if client.post("/pay", "", b"{}")?.status < 300 {
                    return Err(io::Error::other("it is down"));
                }
            }
            Ok(())
        })?,
        with: asked(|down, number| {
            let mut client = Client::new(cell.addr(), Duration::from_secs(30));
            let retry = json!({ "tries_max": TRIES });
            let call = json!({ "url": format!("http://{down}/pay"), "retry": retry, "on_uncertain": "escalate" });
            // What nobody knows is told as such when the time is up.
            let answer =
                client.post_with("/v1/calls", &format!("storm/{number}"), &[("X-Request-Deadline", "1s")], &call)?;
            if answer.outcome() == "committed" {
                return Err(io::Error::other(format!("it is down, and said: {answer}")));
            }
            Ok(())
        })?,
    })
}

/// Makes the requests, and counts those that reach the destination.
fn asked(ask: impl Fn(SocketAddr, u64) -> io::Result<()> + Sync) -> io::Result<Seen> {
    let down = Handler::answering("500 Internal Server Error")?;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (ask, down) = (&ask, down.addr());
                scope.spawn(move || {
                    (client..REQUESTS).step_by(CLIENTS as usize).try_for_each(|number| ask(down, number))
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| io::Error::other("a client panicked"))?)
    })?;
    let (reached, most) = (down.handled(), REQUESTS * REACHED_PERCENT_MAX / 100);
    if reached == 0 {
        return Err(io::Error::other("nothing reached it, so nothing was tested"));
    }
    let remark = format!("{reached} of {REQUESTS} reached it");
    let what = if reached > most {
        format!(
            "{REQUESTS} requests, {reached} reach it: {}.{:02} x",
            reached / REQUESTS,
            reached * 100 / REQUESTS % 100
        )
    } else {
        format!("{REQUESTS} requests, at most {most} reach it: 1.10 x")
    };
    Ok(Seen { harmed: reached.saturating_sub(most), what, remark })
}
