//! Stuck pending: a handler dies after it has taken an order.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Accident, Seen, Stage, expect, read};
use crate::call::Client;
use crate::process::{Launch, Server};

const ORDERS: u64 = 5;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn stage(stage: &Stage) -> io::Result<Accident> {
    let (cell, desk) = (stage.cell("stuck-pending")?, stage.desk("stuck-desk")?);
    let deaf = each(&desk, "plain", |desk, order| {
        // Its client hears nothing, and that is all it knows.
        let heard = Client::new(desk, PATIENCE).exchange(&plain(order));
        if heard.is_ok() { Err(io::Error::other("the dead answered")) } else { Ok(()) }
    })?;
    drop(deaf);
    let desk = each(&desk, "asked", |desk, order| call(&cell, desk, order))?;
    let mut client = Client::new(desk.addr(), PATIENCE);
    // All has come back, and all that the cell was asked for has its end: whoever is pending now stays so.
    let mut states = |kind: &str| -> io::Result<Seen> {
        let mut done = 0;
        for number in 0..ORDERS {
            done += u64::from(read(&mut client, &format!("/orders/{kind}-{number}"))? == "done");
        }
        let (pending, of) = (ORDERS - done, ORDERS);
        Ok(Seen::new(pending, format!("{of} orders taken: {pending} pending for ever, {done} done")))
    };
    Ok(Accident {
        name: "stuck pending",
        how: "A handler is killed (`kill -9`) after it has taken an order and before it is done with it.",
        protection: "the order is a durable call: the resolver asks again under its key, and the handler's half-done \
                     work went with its transaction",
        without: states("plain")?,
        with: states("asked")?,
    })
}

/// Has each order taken by a desk that goes no further, kills it there, and starts another. Gives the last one.
fn each(
    desk: &Launch,
    kind: &str,
    ask: impl Fn(std::net::SocketAddr, &str) -> io::Result<()> + Sync,
) -> io::Result<Server> {
    let holding = desk.clone().with_switch("--hold");
    let mut last = None;
    for number in 0..ORDERS {
        drop(last.take());
        let mut server = holding.start()?;
        last = Some(std::thread::scope(|scope| {
            let (ask, order) = (&ask, format!("{kind}-{number}"));
            let asking = scope.spawn(move || ask(desk.addr, &order));
            wait_until_held(&server)?;
            server.kill_in_place()?;
            let next = desk.start()?;
            asking.join().map_err(|_| io::Error::other("a client panicked"))??;
            Ok::<_, io::Error>(next)
        })?);
    }
    last.ok_or_else(|| io::Error::other("there is at least one order"))
}

fn wait_until_held(desk: &Server) -> io::Result<()> {
    let (began, mut client) = (Instant::now(), Client::new(desk.addr(), PATIENCE));
    while began.elapsed() < PATIENCE {
        if read(&mut client, "/held")? == 1 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the order was not taken"))
}

fn plain(order: &str) -> Vec<u8> {
    let length = order.len();
    format!(
        "POST /orders/plain HTTP/1.1\r\nHost: t\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{order}"
    )
    .into_bytes()
}

/// The same order as a durable call, which has its end before this returns.
fn call(cell: &Server, desk: std::net::SocketAddr, order: &str) -> io::Result<()> {
    let url = format!("http://{desk}/orders");
    let body: Value = json!({ "url": url, "body": { "name": order }, "on_uncertain": "resend", "deadline_ms": 60_000 });
    let headers = [("X-Request-Deadline", "60s")];
    expect(Client::new(cell.addr(), PATIENCE).post_with("/v1/calls", order, &headers, &body)?, 200).map(drop)
}
