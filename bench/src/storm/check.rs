//! The ledger against the clients' books: everything acknowledged is there, once, and nothing else is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::deeds::{Book, Deed, Effect, Event};
use super::{UNITS, accounts, connect};
use crate::call::{Answer, Client};
use crate::http;

/// Connections that check at once.
const CHECKERS: usize = 8;

/// What was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Operations whose first answer was replayed byte for byte.
    pub replays: u64,
    /// Operations found under their key.
    pub operations: u64,
    /// Lines of account history, each wanted exactly once.
    pub history_lines: u64,
    /// Accounts whose balance and held are the model's.
    pub accounts: u64,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} answers replayed byte for byte, {} operations found, {} lines of history each once, {} accounts as the \
             model has them, every unit adds up to zero",
            self.replays, self.operations, self.history_lines, self.accounts
        )
    }
}

/// Checks everything against a quiet server.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn check(addr: SocketAddr, book: &Book) -> io::Result<Checked> {
    wait_for_expiries(addr, book)?;
    let mut checked = Checked::default();
    for round in ["before", "after"] {
        // The second time, all those replays must have changed nothing.
        let model = Model::of(book);
        checked.accounts = check_balances(addr, &model).map_err(|error| at(round, error))?;
        checked.history_lines = check_histories(addr, &model).map_err(|error| at(round, error))?;
        if round == "before" {
            checked.replays = each(addr, &book.deeds, replay)?;
            checked.operations = each(addr, &book.deeds, find_operation)?;
        }
    }
    Ok(checked)
}

fn at(round: &str, error: io::Error) -> io::Error {
    io::Error::other(format!("{round} the replays: {error}"))
}

/// What the answers add up to.
struct Model {
    balance: BTreeMap<String, i64>,
    held: BTreeMap<String, i64>,
    /// The lines each account's history must have.
    lines: HashMap<String, HashSet<(String, Event)>>,
    /// Amount and direction of each line.
    effects: HashMap<(String, Event), Effect>,
}

impl Model {
    fn of(book: &Book) -> Self {
        let mut effects: HashMap<(String, Event), Effect> = HashMap::new();
        for effect in &book.effects {
            let before = effects.insert((effect.id.clone(), effect.event), effect.clone());
            assert!(before.is_none(), "two keys were given one event: {effect:?}");
        }
        let ended = |id: &String, event| effects.contains_key(&(id.clone(), event));
        let expired: Vec<_> = book
            .short_holds
            .iter()
            .filter(|id| !ended(id, Event::Captured) && !ended(id, Event::Voided))
            .filter_map(|id| effects.get(&(id.clone(), Event::Held)))
            .map(|held| Effect { event: Event::Expired, ..held.clone() })
            .collect();
        effects.extend(expired.into_iter().map(|effect| ((effect.id.clone(), effect.event), effect)));
        let mut model = Self {
            balance: accounts().map(|(id, _)| (id, 0)).collect(),
            held: accounts().map(|(id, _)| (id, 0)).collect(),
            lines: HashMap::new(),
            effects,
        };
        let all: Vec<_> = model.effects.values().cloned().collect();
        for effect in all {
            model.add(&effect);
        }
        model
    }

    fn add(&mut self, effect: &Effect) {
        let line = (effect.id.clone(), effect.event);
        let held = self.held.entry(effect.from.clone()).or_default();
        match effect.event {
            Event::Held => *held += effect.amount,
            Event::Captured | Event::Voided | Event::Expired => {
                let whole = self.effects.get(&(effect.id.clone(), Event::Held));
                *held -= whole.map_or(0, |whole| whole.amount);
            }
            Event::Posted | Event::Reversal => {}
        }
        self.lines.entry(effect.from.clone()).or_default().insert(line.clone());
        if effect.event.moves() {
            *self.balance.entry(effect.from.clone()).or_default() -= effect.amount;
            *self.balance.entry(effect.to.clone()).or_default() += effect.amount;
            self.lines.entry(effect.to.clone()).or_default().insert(line);
        }
    }
}

/// Short holds expire by themselves; their last may still be open when the clients stop.
fn wait_for_expiries(addr: SocketAddr, book: &Book) -> io::Result<()> {
    let wanted: i64 = Model::of(book).held.values().sum();
    let (mut client, began) = (connect(addr), Instant::now());
    loop {
        let held: i64 = list(&mut client, "/v1/accounts?limit=1000")?.iter().filter_map(|a| a["held"].as_i64()).sum();
        if held == wanted {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(10) {
            return Err(io::Error::other(format!("{held} held in all after 10 s, {wanted} by the answers")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn check_balances(addr: SocketAddr, model: &Model) -> io::Result<u64> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    let mut found = list(&mut connect(addr), "/v1/accounts?limit=1000")?;
    // Others may count other things beside the storm.
    found.retain(|account| UNITS.iter().any(|unit| account["unit"] == **unit));
    for account in &found {
        let id = account["id"].as_str().unwrap_or_default();
        let balance = account["balance"].as_i64();
        *sums.entry(account["unit"].to_string()).or_default() += balance.unwrap_or_default();
        if balance.as_ref() != model.balance.get(id) || account["held"].as_i64().as_ref() != model.held.get(id) {
            let (balance, held) = (model.balance.get(id), model.held.get(id));
            return Err(io::Error::other(format!("by the answers {balance:?}, held {held:?}; the server: {account}")));
        }
    }
    if found.len() != model.balance.len() {
        return Err(io::Error::other(format!("{} accounts, {} opened", found.len(), model.balance.len())));
    }
    match sums.iter().find(|(_, sum)| **sum != 0) {
        None => Ok(found.len() as u64),
        Some((unit, sum)) => Err(io::Error::other(format!("the balances of {unit} add up to {sum}"))),
    }
}

fn check_histories(addr: SocketAddr, model: &Model) -> io::Result<u64> {
    let mut client = connect(addr);
    let mut lines_total = 0;
    for (id, _) in accounts() {
        let path = format!("/v1/accounts/{}/transfers?limit=1000", http::percent_encode(&id));
        let lines = list(&mut client, &path)?;
        check_history(&id, &lines, model).map_err(|why| io::Error::other(format!("history of {id}: {why}")))?;
        lines_total += lines.len() as u64;
    }
    Ok(lines_total)
}

/// Each line wanted, once, and the balances after them a chain that ends at the account's.
fn check_history(account: &str, lines: &[Value], model: &Model) -> Result<(), String> {
    let mut wanted = model.lines.get(account).cloned().unwrap_or_default();
    let mut balance = 0;
    for line in lines.iter().rev() {
        let id = line["id"].as_str().unwrap_or_default().to_owned();
        let event = line["event"].as_str().and_then(Event::parse).ok_or_else(|| format!("no event in {line}"))?;
        let key = (id, event);
        if !wanted.remove(&key) {
            return Err(format!("twice, or never acknowledged: {line}"));
        }
        let effect = &model.effects[&key];
        if line["from"] == *effect.from && line["to"] == *effect.to && line["amount"] == effect.amount {
            if effect.event.moves() {
                balance += if effect.to == account { effect.amount } else { -effect.amount };
            }
        } else {
            return Err(format!("acknowledged as {effect:?}: {line}"));
        }
        if line["balance_after"] != balance {
            return Err(format!("{balance} after this line: {line}"));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    Err(format!("{} acknowledged and not there, such as {:?}", wanted.len(), wanted.iter().next()))
}

/// All items of a list, page by page.
///
/// # Errors
/// Where a page does not come, or is none.
pub fn list(client: &mut Client, path: &str) -> io::Result<Vec<Value>> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = client.get(&format!("{path}{cursor}"))?;
        let page = answer.json();
        let (200, Some(list)) = (answer.status, page["items"].as_array()) else {
            return Err(io::Error::other(format!("GET {path}: {answer}")));
        };
        items.extend_from_slice(list);
        match page["next"].as_str() {
            None => return Ok(items),
            Some(next) => cursor = format!("&cursor={}", http::percent_encode(next)),
        }
    }
}

/// Runs a check over all deeds on several connections.
fn each(addr: SocketAddr, deeds: &[Deed], check: fn(&mut Client, &Deed) -> io::Result<u64>) -> io::Result<u64> {
    let part = deeds.len().div_ceil(CHECKERS).max(1);
    std::thread::scope(|scope| {
        let checkers: Vec<_> = deeds
            .chunks(part)
            .map(|deeds| {
                scope.spawn(move || {
                    let mut client = connect(addr);
                    deeds.iter().map(|deed| check(&mut client, deed)).sum::<io::Result<u64>>()
                })
            })
            .collect();
        checkers.into_iter().map(|c| c.join().map_err(|_| io::Error::other("a checker panicked"))?).sum()
    })
}

/// The request again: the first answer, byte for byte.
fn replay(client: &mut Client, deed: &Deed) -> io::Result<u64> {
    let answer = client.exchange(&deed.request)?;
    let is_replay = answer.header("idempotency-replayed") == Some("true");
    let same = if deed.barred {
        answer.status == 409 && answer.code() == "operation-barred"
    } else if deed.kind == super::Kind::Settled {
        is_replay && answer.status == deed.status && answer.json() == json(&deed.body)
    } else {
        is_replay && answer.status == deed.status && answer.body == deed.body
    };
    if same {
        return Ok(1);
    }
    Err(wrong("replay", deed, &answer))
}

fn find_operation(client: &mut Client, deed: &Deed) -> io::Result<u64> {
    let answer = client.get(&format!("/v1/operations/{}", http::percent_encode(&deed.key)))?;
    let operation = answer.json();
    let outcome = if deed.status < 300 { "committed" } else { "refused" };
    let same = answer.status == 200 && operation["outcome"] == outcome && operation["status"] == deed.status;
    if !same || (!deed.barred && operation["body"] != json(&deed.body)) {
        return Err(wrong("operation", deed, &answer));
    }
    for (key, transfer) in &deed.items {
        let answer = client.get(&format!("/v1/operations/{}", http::percent_encode(key)))?;
        let operation = answer.json();
        if operation["outcome"] != "committed" || operation["body"]["id"] != **transfer {
            return Err(wrong(&format!("item {key} of transfer {transfer}"), deed, &answer));
        }
    }
    Ok(1 + deed.items.len() as u64)
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

fn wrong(what: &str, deed: &Deed, answer: &Answer) -> io::Error {
    let request = String::from_utf8_lossy(&deed.request);
    let first = String::from_utf8_lossy(&deed.body);
    let now = String::from_utf8_lossy(&answer.body);
    io::Error::other(format!(
        "{what}: first answered {} {first}; now {} {:?} {now}; request: {request}",
        deed.status, answer.status, answer.headers
    ))
}
