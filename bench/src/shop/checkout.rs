//! The buyers: each order is placed through the cell until it has an end, while services and the cell are killed.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
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

/// Buyers at once.
const BUYERS: u64 = 16;

/// How long one order may take until it has its end.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long a buyer waits for one reply: longer than the server does by itself.
const REPLY: Duration = Duration::from_secs(15);

/// The longest a victim stays down.
const DOWN_MS_MAX: u64 = 150;

/// Places all orders, and strikes down each of `victims` in turn, spread over the time that takes. Gives what each buyer was
/// told.
///
/// # Errors
/// An order that has no end in time, or one that is neither done nor undone; a process that does not come back.
pub fn run(street: &mut Street, orders: &[Order], victims: &[Victim], seed: u64) -> io::Result<BTreeMap<String, End>> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let told = Mutex::new(BTreeMap::new());
    let (front, desks) = (street.front(), Desks::of(street));
    std::thread::scope(|scope| {
        let buyers: Vec<_> = (0..BUYERS)
            .map(|number| {
                let (next, done, told, desks) = (&next, &done, &told, &desks);
                scope.spawn(move || -> io::Result<()> {
                    let mut buyer = Buyer::new(front, seed ^ number, desks);
                    while let Some(order) = orders.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let end = buyer.place(order)?;
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
        for buyer in buyers {
            buyer.join().map_err(|_| io::Error::other("a buyer panicked"))??;
        }
        Ok::<_, io::Error>(())
    })?;
    told.into_inner().map_err(|_| io::Error::other("a buyer panicked"))
}

/// Where each service is called.
struct Desks {
    stock: SocketAddr,
    payment: SocketAddr,
    shipping: SocketAddr,
    notification: SocketAddr,
    with_inbox: bool,
}

impl Desks {
    fn of(street: &Street) -> Self {
        Self {
            stock: street.service(Trade::Stock),
            payment: street.service(Trade::Payment),
            shipping: street.service(Trade::Shipping),
            notification: street.service(Trade::Notification),
            with_inbox: street.with_inbox(),
        }
    }
}

struct Buyer<'s> {
    client: Client,
    rng: Rng,
    desks: &'s Desks,
}

impl<'s> Buyer<'s> {
    fn new(front: SocketAddr, seed: u64, desks: &'s Desks) -> Self {
        Self { client: Client::new(front, REPLY), rng: Rng::with_seed(seed), desks }
    }

    /// One durable call after the other; what was done is undone if one is refused.
    fn place(&mut self, order: &Order) -> io::Result<End> {
        let Desks { stock, payment, shipping, notification, with_inbox } = *self.desks;
        let id = order.id.as_str();
        let reserve = json!({ "order": id, "items": order.items });
        let mut reserve = surely(format!("http://{stock}/reservations"), reserve);
        if with_inbox {
            reserve["on_uncertain"] = "probe".into();
            reserve["probe"] = json!({ "url": format!("http://{stock}/calls/{{key}}") });
        }
        if !self.call(id, "reserve", reserve)? {
            return Ok(End::Undone);
        }
        let charge = json!({ "order": id, "customer": order.customer, "amount": order.total });
        let release = surely(format!("http://{stock}/reservations/release"), json!({ "order": id }));
        if !self.call(id, "charge", surely(format!("http://{payment}/charges"), charge))? {
            return self.must(id, "release", release).map(|()| End::Undone);
        }
        let parcel = json!({ "order": id, "items": order.items });
        if !self.call(id, "ship", surely(format!("http://{shipping}/parcels"), parcel))? {
            let refund = surely(format!("http://{payment}/charges/refund"), json!({ "order": id }));
            self.must(id, "refund", refund)?;
            return self.must(id, "release", release).map(|()| End::Undone);
        }
        let message = json!({ "order": id, "customer": order.customer, "tracking": format!("T-{id}") });
        self.must(id, "notify", surely(format!("http://{notification}/messages"), message))?;
        Ok(End::Done)
    }

    fn must(&mut self, order: &str, step: &str, call: Value) -> io::Result<()> {
        if self.call(order, step, call)? {
            return Ok(());
        }
        Err(io::Error::other(format!("order {order}: {step} was refused")))
    }

    /// Whether it was done, once that is sure.
    fn call(&mut self, order: &str, step: &str, call: Value) -> io::Result<bool> {
        let answer = self.definite("/v1/calls", &format!("{order}/{step}"), &call)?;
        match (answer.status, answer.code().as_str()) {
            (200, _) => Ok(true),
            (422, "call-refused") | (502, "call-not-done") => Ok(false),
            _ => Err(io::Error::other(format!("order {order}, {step}: {answer}"))),
        }
    }

    fn definite(&mut self, path: &str, key: &str, body: &Value) -> io::Result<Answer> {
        let mut request = Vec::new();
        http::put_post(&mut request, path, key, body.to_string().as_bytes());
        Ok(self.client.definite(&request, &mut self.rng, PATIENCE)?.0)
    }
}

/// A call that is tried until it is done or refused.
fn surely(url: String, body: Value) -> Value {
    let retry = json!({ "until_deadline": true });
    json!({ "url": url, "body": body, "on_uncertain": "resend", "retry": retry, "deadline_ms": 600_000 })
}
