//! The buyers: each order is a run of the saga in `docs/examples/shop.saga.yaml`, asked for until it has its end, while
//! services and the cell are killed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use super::books::End;
use super::order::Order;
use super::street::{Street, Victim};
use super::trade::Trade;
use crate::call::{Answer, Client};
use crate::http;
use crate::process::workspace;
use crate::retail::UNIT;
use crate::storm::check::list;

/// Buyers at once.
const BUYERS: u64 = 16;

/// How long one order may take until it has its end.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long a buyer waits for one reply: longer than the server does by itself.
const REPLY: Duration = Duration::from_secs(15);

/// The longest a victim stays down.
const DOWN_MS_MAX: u64 = 150;

/// Where the saga's text has each service.
const PLACES: [(&str, Trade); 4] = [
    ("127.0.0.1:9001", Trade::Stock),
    ("127.0.0.1:9002", Trade::Payment),
    ("127.0.0.1:9003", Trade::Shipping),
    ("127.0.0.1:9004", Trade::Notification),
];

/// The accounts of the cell's ledger that sales are booked between: without a floor, and with one.
const BUYING: &str = "buyers";
const SALES: &str = "sales";

/// Opens the accounts and defines the saga.
///
/// # Errors
/// Where the cell refuses one of them.
pub fn prepare(street: &Street) -> io::Result<()> {
    let mut client = Client::new(street.cell(), REPLY);
    for (account, floor) in [(BUYING, Value::Null), (SALES, json!(0))] {
        let body = json!({ "id": account, "unit": UNIT, "floor": floor });
        let answer = client.post_with("/v1/accounts", &format!("open/{account}"), &[], &body)?;
        must(&answer, 201)?;
    }
    let text = definition(street)?;
    let request = format!(
        "PUT /v1/sagas/shop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/yaml\r\nIdempotency-Key: define/shop\r\n\
         Content-Length: {}\r\n\r\n{text}",
        text.len()
    );
    must(&client.exchange(request.as_bytes())?, 201)
}

/// The saga's text, with the services where they are.
fn definition(street: &Street) -> io::Result<String> {
    let text = std::fs::read_to_string(workspace().join("docs/examples/shop.saga.yaml"))?;
    let placed =
        PLACES.iter().fold(text, |text, (place, trade)| text.replace(place, &street.service(*trade).to_string()));
    if street.with_inbox() {
        return Ok(placed);
    }
    // A service without keys can not be asked for them: it is only sent the call again.
    let lines = placed.lines().map(|line| match line.trim_start().strip_prefix("probe: ") {
        Some(_) => format!("{}on_uncertain: resend\n", &line[..line.len() - line.trim_start().len()]),
        None => format!("{line}\n"),
    });
    Ok(lines.collect())
}

/// Places all orders, and strikes down each of `victims` in turn, spread over the time that takes. Gives what each buyer was
/// told.
///
/// # Errors
/// An order that has no end in time, or one that is neither done nor undone; a process that does not come back.
pub fn run(street: &mut Street, orders: &[Order], victims: &[Victim], seed: u64) -> io::Result<BTreeMap<String, End>> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (told, front) = (Mutex::new(BTreeMap::new()), street.front());
    std::thread::scope(|scope| {
        let buyers: Vec<_> = (0..BUYERS)
            .map(|number| {
                let (next, done, told) = (&next, &done, &told);
                scope.spawn(move || -> io::Result<()> {
                    let (mut client, mut rng) = (Client::new(front, REPLY), Rng::with_seed(seed ^ number));
                    while let Some(order) = orders.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let end = place(&mut client, &mut rng, order)?;
                        told.lock().map_err(|_| io::Error::other("a buyer panicked"))?.insert(order.id.clone(), end);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let mut rng = Rng::with_seed(seed);
        for (victim, number) in victims.iter().zip(1..) {
            let place = orders.len() * number / (victims.len() + 1);
            while done.load(Ordering::Relaxed) < place && buyers.iter().any(|buyer| !buyer.is_finished()) {
                std::thread::sleep(Duration::from_micros(200));
            }
            street.strike(*victim, Duration::from_millis(rng.u64(0..=DOWN_MS_MAX)))?;
        }
        buyers.into_iter().try_for_each(|buyer| buyer.join().map_err(|_| io::Error::other("a buyer panicked"))?)
    })?;
    told.into_inner().map_err(|_| io::Error::other("a buyer panicked"))
}

/// What the cell's ledger says was sold, in thousandths of a pound.
///
/// # Errors
/// Where it does not say.
pub fn sales(street: &Street) -> io::Result<i64> {
    let answer = Client::new(street.cell(), REPLY).get(&format!("/v1/accounts/{SALES}"))?;
    answer.json()["balance"].as_i64().ok_or_else(|| io::Error::other(answer.to_string()))
}

/// What the cell still has to do, or does not know: nothing, once each buyer was told.
///
/// # Errors
/// Where it does not say.
pub fn left_open(street: &Street) -> io::Result<Vec<Value>> {
    let mut client = Client::new(street.cell(), REPLY);
    let mut open = list(&mut client, "/v1/uncertain?limit=100")?;
    open.extend(list(&mut client, "/v1/runs?limit=100")?);
    Ok(open)
}

/// One run, asked for until it has its end.
fn place(client: &mut Client, rng: &mut Rng, order: &Order) -> io::Result<End> {
    let Order { id, customer, items, total } = order;
    let body = json!({ "input": { "order": id, "customer": customer, "items": items, "total": total } });
    let mut request = Vec::new();
    http::put_post(&mut request, "/v1/sagas/shop/runs", &format!("order/{id}"), body.to_string().as_bytes());
    let (answer, _) = client.definite(&request, rng, PATIENCE)?;
    match (answer.status, answer.outcome()) {
        (200, "committed") => Ok(End::Done),
        // The run went back, all the way.
        (409, "refused") if answer.code() == "run-compensated" => Ok(End::Undone),
        _ => Err(io::Error::other(format!("order {id}: {answer}"))),
    }
}

fn must(answer: &Answer, status: u16) -> io::Result<()> {
    if answer.status == status { Ok(()) } else { Err(io::Error::other(answer.to_string())) }
}
