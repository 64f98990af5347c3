//! Double debit: the reply gets lost after the commit, and the client asks again.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::{Accident, Seen, Stage, expect, read};
use crate::call::Client;
use crate::process::Server;
use crate::relay::{Faults, Relay};

const PAYMENTS: u64 = 100;

/// What a customer has before.
const PURSE: u64 = 1_000;

/// Every reply gets lost.
const FAULTS: Faults = Faults { drop_reply: 1.0, duplicate: 0.0, delay: 0.0, delay_ms_max: 0 };

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn stage(stage: &Stage) -> io::Result<Accident> {
    let server = stage.cell("double-debit")?;
    let relay = Relay::start(server.addr(), FAULTS, 1)?;
    let mut client = Client::new(server.addr(), PATIENCE);
    for (account, floor) in [("world", json!(null)), ("shop", json!(0)), ("ann", json!(0)), ("bea", json!(0))] {
        let body = json!({ "id": account, "unit": "penny", "floor": floor });
        expect(client.post_with("/v1/accounts", &format!("open/{account}"), &[], &body)?, 201)?;
    }
    Ok(Accident {
        name: "double debit",
        how: "The reply to a payment is lost after the commit; the client asks again.",
        protection: "each attempt carries the operation's one key, and the key is in the entry that moves the money",
        without: pay(&server, &relay, "ann", false)?,
        with: pay(&server, &relay, "bea", true)?,
    })
}

/// Pays a penny at a time; the first attempt of each goes through the relay.
fn pay(server: &Server, relay: &Relay, customer: &str, keyed: bool) -> io::Result<Seen> {
    let mut client = Client::new(server.addr(), PATIENCE);
    let mut lossy = Client::new(relay.addr(), PATIENCE);
    let purse = json!({ "from": "world", "to": customer, "amount": PURSE });
    expect(client.post_with("/v1/transfers", &format!("purse/{customer}"), &[], &purse)?, 201)?;
    let body = json!({ "from": customer, "to": "shop", "amount": 1 });
    for number in 0..PAYMENTS {
        let key = format!("{customer}/{number}");
        if let Ok(answer) = lossy.post_with("/v1/transfers", &key, &[], &body) {
            return Err(io::Error::other(format!("a reply came through: {answer}")));
        }
        // Who has no key for an operation makes one for each attempt: the server takes no write without.
        let key = if keyed { key } else { format!("{key}/again") };
        expect(client.post_with("/v1/transfers", &key, &[], &body)?, 201)?;
    }
    let left = read(&mut client, &format!("/v1/accounts/{customer}"))?["balance"].as_u64().unwrap_or_default();
    let debits = PURSE - left;
    Ok(Seen::new(debits.saturating_sub(PAYMENTS), format!("{PAYMENTS} payments, {debits} debits")))
}
