//! Acting on a lost lease's belief: a holder stops for a while, another gets the lease, and the first one goes on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::{Accident, Seen, Stage, expect, read};
use crate::call::Client;

const ROUNDS: u64 = 20;

/// How long a lease lasts.
const LEASE_MS: u64 = 10_000;

pub(super) fn stage(stage: &Stage) -> io::Result<Accident> {
    let desk = stage.desk("lost-lease")?.start()?;
    Ok(Accident {
        name: "acting on a lost lease's belief",
        how: "A holder looks at its lease, stops for a while, and writes; meanwhile another has the lease and has written.",
        protection: "each write carries the lease's fencing token, which is checked in the transaction that writes",
        without: write(desk.addr(), "unfenced", false)?,
        with: write(desk.addr(), "fenced", true)?,
    })
}

/// Who gives leases: one at a time, each with a higher token.
#[derive(Default)]
struct Leases {
    token: u64,
    until_ms: u64,
}

/// What a holder believes.
#[derive(Clone, Copy)]
struct Lease {
    token: u64,
    until_ms: u64,
}

impl Leases {
    fn grant(&mut self, now_ms: u64) -> Option<Lease> {
        if now_ms < self.until_ms {
            return None;
        }
        (self.token, self.until_ms) = (self.token + 1, now_ms + LEASE_MS);
        Some(Lease { token: self.token, until_ms: self.until_ms })
    }
}

impl Lease {
    const fn is_held(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }
}

fn write(desk: SocketAddr, page: &str, fenced: bool) -> io::Result<Seen> {
    let mut client = Client::new(desk, Duration::from_secs(10));
    let (mut leases, mut now_ms, mut lost) = (Leases::default(), 0, 0);
    let granted = |lease: Option<Lease>| lease.ok_or_else(|| io::Error::other("the lease before has not run out"));
    for round in 0..ROUNDS {
        let first = granted(leases.grant(now_ms))?;
        // It looks, and may write. Before it does, it is stopped: collected, swapped out, moved to another machine.
        let believes = first.is_held(now_ms);
        now_ms += 2 * LEASE_MS;
        let second = granted(leases.grant(now_ms))?;
        let mut put = |name: &str, lease: Lease| {
            let body = json!({ "name": page, "value": format!("{name} of {round}") });
            let fence = format!("{page};token={}", lease.token);
            let headers: &[_] = if fenced { &[("Tertium-Fence", fence.as_str())] } else { &[] };
            client.post_with("/pages", &format!("{page}/{round}/{name}"), headers, &body)
        };
        expect(put("second", second)?, 201)?;
        let late = if believes { Some(put("first", first)?) } else { None };
        let refused = late.is_some_and(|answer| answer.status == 409 && answer.code() == "token-stale");
        if refused != fenced {
            return Err(io::Error::other(format!("round {round}: refused {refused}, fenced {fenced}")));
        }
        let is_there = read(&mut client, &format!("/pages/{page}"))?;
        lost += u64::from(is_there != format!("second of {round}"));
        now_ms += LEASE_MS;
    }
    Ok(Seen::new(lost, format!("{lost} of {ROUNDS} writes of the holder overwritten")))
}
