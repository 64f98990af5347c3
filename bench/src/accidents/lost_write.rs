//! Lost write: two clients read, both reckon with what they read, and the later write takes back the earlier one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::{Accident, Seen, Stage, expect, read};
use crate::call::Client;

const ROUNDS: u64 = 50;

/// One by each of the two clients in each round.
const TAKEN: u64 = 2 * ROUNDS;

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn stage(stage: &Stage) -> io::Result<Accident> {
    let desk = stage.desk("lost-write")?.start()?;
    Ok(Accident {
        name: "lost write",
        how: "Two clients read a stock level; each writes back one less than it read.",
        protection: "the change is sent, not its result, and is made where the level is, in the transaction of its key",
        without: by_what_was_read(desk.addr())?,
        with: by_the_change(desk.addr())?,
    })
}

fn by_what_was_read(desk: SocketAddr) -> io::Result<Seen> {
    let mut clients = clients(desk);
    fill(&mut clients[0], "read")?;
    for _ in 0..ROUNDS {
        let mut levels = [0; 2];
        for (client, level) in clients.iter_mut().zip(&mut levels) {
            *level = level_of(client, "read")?;
        }
        for (client, level) in clients.iter_mut().zip(levels) {
            let body = json!({ "name": "read", "value": level - 1 });
            expect(client.post_with("/levels/set", "", &[], &body)?, 201)?;
        }
    }
    seen(&mut clients[0], "read")
}

fn by_the_change(desk: SocketAddr) -> io::Result<Seen> {
    let mut clients = clients(desk);
    fill(&mut clients[0], "change")?;
    std::thread::scope(|scope| {
        let takers: Vec<_> = clients
            .iter_mut()
            .zip(["a", "b"])
            .map(|(client, name)| {
                scope.spawn(move || -> io::Result<()> {
                    for round in 0..ROUNDS {
                        let body = json!({ "name": "change", "by": 1 });
                        expect(client.post_with("/levels/take", &format!("{name}/{round}"), &[], &body)?, 201)?;
                    }
                    Ok(())
                })
            })
            .collect();
        takers.into_iter().try_for_each(|taker| taker.join().map_err(|_| io::Error::other("a client panicked"))?)
    })?;
    seen(&mut clients[0], "change")
}

fn clients(desk: SocketAddr) -> [Client; 2] {
    [Client::new(desk, PATIENCE), Client::new(desk, PATIENCE)]
}

fn fill(client: &mut Client, level: &str) -> io::Result<()> {
    expect(client.post_with("/levels/set", "", &[], &json!({ "name": level, "value": TAKEN }))?, 201).map(drop)
}

fn level_of(client: &mut Client, level: &str) -> io::Result<i64> {
    read(client, &format!("/levels/{level}"))?.as_i64().ok_or_else(|| io::Error::other("a level is a number"))
}

fn seen(client: &mut Client, level: &str) -> io::Result<Seen> {
    let left = u64::try_from(level_of(client, level)?).map_err(io::Error::other)?;
    Ok(Seen::new(left, format!("{TAKEN} taken, the level fell by {}", TAKEN - left)))
}
