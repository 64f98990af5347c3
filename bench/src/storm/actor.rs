//! One client: draws an operation, sends it until it is definite, keeps the answer.

use std::io;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

use super::deeds::{Book, Deed, Effect, Event, Kind, effect};
use super::{OPENING_BALANCE, PATIENCE, Storm, UNITS, WALLETS, connect, post, seed_of, wallet};
use crate::call::{Answer, Client};
use crate::http;

/// What an open hold or a posted transfer can still be asked for.
const REMEMBERED_MAX: usize = 50;

pub(super) struct Actor {
    number: u64,
    client: Client,
    twin: Client,
    rng: Rng,
    book: Book,
    keys: u64,
    holds: Vec<Effect>,
    posted: Vec<Effect>,
    last_batch: Vec<(String, String)>,
    last_items: Vec<Value>,
    storm: Storm,
}

impl Actor {
    pub(super) fn new(storm: &Storm, number: u64) -> Self {
        Self {
            number,
            client: connect(storm.addr),
            twin: connect(storm.addr),
            rng: seed_of(storm.seed, number),
            book: Book::default(),
            keys: 0,
            holds: Vec::new(),
            posted: Vec::new(),
            last_batch: Vec::new(),
            last_items: Vec::new(),
            storm: *storm,
        }
    }

    pub(super) fn into_book(self) -> Book {
        self.book
    }

    pub(super) fn open(&mut self, id: &str, unit: &str) -> io::Result<()> {
        let floor = if id.starts_with("world/") { "null" } else { "0" };
        let body = format!(r#"{{"id":"{id}","unit":"{unit}","floor":{floor}}}"#);
        let (key, request) = self.request("/v1/accounts", &body);
        let answer = self.definite(&request)?;
        expect(answer.status == 201, &answer, "an account opens")?;
        self.book.deeds.push(Deed::new(Kind::Open, &key, request, &answer));
        Ok(())
    }

    pub(super) fn fund(&mut self, id: &str, unit: &str) -> io::Result<()> {
        let body = format!(r#"{{"from":"world/{unit}","to":"{id}","amount":{OPENING_BALANCE}}}"#);
        let (key, request) = self.request("/v1/transfers", &body);
        let answer = self.definite(&request)?;
        expect(answer.status == 201, &answer, "the outside world can always pay")?;
        self.keep(Kind::Transfer, &key, request, &answer, Event::Posted)
    }

    /// One operation, then a pause.
    pub(super) fn act(&mut self) -> io::Result<()> {
        match self.rng.u32(0..100) {
            0..50 => self.transfer(Kind::Transfer)?,
            50..56 => self.transfer(Kind::Joined)?,
            56..66 => self.hold()?,
            66..76 => self.end_hold()?,
            76..80 => self.reverse()?,
            80..87 => self.batch(false)?,
            87..91 => self.batch(true)?,
            91..94 => self.batch_again()?,
            _ => self.settle()?,
        }
        std::thread::sleep(Duration::from_millis(self.rng.u64(0..=self.storm.pause_ms_max)));
        Ok(())
    }

    /// A transfer's body: mostly sound, sometimes between units or to nobody.
    fn draw_order(&mut self, extra: &str) -> String {
        let unit = UNITS[self.rng.usize(0..UNITS.len())];
        let from = self.rng.u32(0..WALLETS);
        let to = (from + self.rng.u32(1..WALLETS)) % WALLETS;
        let (from, mut to) = (wallet(unit, from), wallet(unit, to));
        match self.rng.u32(0..100) {
            0 => to = "nobody".to_owned(),
            1 => to = wallet(UNITS[usize::from(unit == UNITS[0])], 0),
            _ => {}
        }
        let amount = self.rng.u32(1..=400);
        format!(r#""from":"{from}","to":"{to}","amount":{amount}{extra}"#)
    }

    fn transfer(&mut self, kind: Kind) -> io::Result<()> {
        let order = self.draw_order("");
        let (key, request) = self.request("/v1/transfers", &format!("{{{order}}}"));
        let answer = if kind == Kind::Joined { self.twice(&request)? } else { self.definite(&request)? };
        self.keep(kind, &key, request, &answer, Event::Posted)
    }

    /// The same request on two connections at once: one effect, one answer.
    fn twice(&mut self, request: &[u8]) -> io::Result<Answer> {
        let mut fork = self.rng.fork();
        let (mine, theirs) = std::thread::scope(|scope| {
            let (twin, rng) = (&mut self.twin, &mut fork);
            let other = scope.spawn(move || twin.definite(request, rng, PATIENCE));
            let mine = self.client.definite(request, &mut self.rng, PATIENCE);
            (mine, other.join())
        });
        let (mine, sent) = mine?;
        let (theirs, sent_too) = theirs.map_err(|_| io::Error::other("the twin panicked"))??;
        self.book.requests += u64::from(sent + sent_too);
        let same = mine.status == theirs.status && mine.body == theirs.body;
        expect(same, &mine, &format!("both connections get one answer, not also {theirs}"))?;
        Ok(mine)
    }

    fn hold(&mut self) -> io::Result<()> {
        let is_short = self.rng.u32(0..4) == 0;
        let hold_ms = if is_short { self.rng.u64(1..=500) } else { 3_600_000 };
        let order = self.draw_order(&format!(r#","hold_ms":{hold_ms}"#));
        let (key, request) = self.request("/v1/transfers", &format!("{{{order}}}"));
        let answer = self.definite(&request)?;
        if is_short && answer.status == 201 {
            let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
            self.book.short_holds.push(id);
        }
        self.keep(Kind::Transfer, &key, request, &answer, Event::Held)
    }

    /// Captures a hold, in whole or in part, or voids it. A short one may have expired: then it is refused.
    fn end_hold(&mut self) -> io::Result<()> {
        if self.holds.is_empty() {
            return self.hold();
        }
        let hold = self.holds.swap_remove(self.rng.usize(0..self.holds.len()));
        let (verb, body, event) = match self.rng.u32(0..3) {
            0 => ("void", "{}".to_owned(), Event::Voided),
            1 => ("capture", "{}".to_owned(), Event::Captured),
            _ => ("capture", format!(r#"{{"amount":{}}}"#, self.rng.i64(1..=hold.amount)), Event::Captured),
        };
        let (key, request) = self.request(&format!("/v1/transfers/{}/{verb}", hold.id), &body);
        let answer = self.definite(&request)?;
        self.keep(Kind::FollowUp, &key, request, &answer, event)
    }

    fn reverse(&mut self) -> io::Result<()> {
        if self.posted.is_empty() {
            return self.transfer(Kind::Transfer);
        }
        let posted = self.posted[self.rng.usize(0..self.posted.len())].clone();
        let body = format!(r#"{{"amount":{}}}"#, self.rng.i64(1..=posted.amount));
        let (key, request) = self.request(&format!("/v1/transfers/{}/reverse", posted.id), &body);
        let answer = self.definite(&request)?;
        self.keep(Kind::FollowUp, &key, request, &answer, Event::Reversal)
    }

    fn batch(&mut self, atomic: bool) -> io::Result<()> {
        let count = self.rng.usize(1..=25);
        let items: Vec<_> = (0..count).map(|_| (self.next_key(), self.draw_order(""))).collect();
        let answer = self.send_batch(atomic, &items, &[])?;
        if !atomic {
            (self.last_batch, self.last_items) = (items, answer);
        }
        Ok(())
    }

    /// Some of the last batch's items under another batch key, with new ones: only the new ones happen.
    fn batch_again(&mut self) -> io::Result<()> {
        let mut items = std::mem::take(&mut self.last_batch);
        let known = std::mem::take(&mut self.last_items);
        items.extend((0..3).map(|_| (self.next_key(), self.draw_order(""))).collect::<Vec<_>>());
        self.send_batch(false, &items, &known).map(drop)
    }

    /// Sends a batch; the answers to its first items are `known`. Answers with the items' answers.
    fn send_batch(&mut self, atomic: bool, items: &[(String, String)], known: &[Value]) -> io::Result<Vec<Value>> {
        let list: Vec<_> = items.iter().map(|(key, order)| format!(r#"{{"key":"{key}",{order}}}"#)).collect();
        let body = format!(r#"{{"atomic":{atomic},"items":[{}]}}"#, list.join(","));
        let (key, request) = self.request("/v1/transfers/batch", &body);
        let answer = self.definite(&request)?;
        let kind = if atomic { Kind::AtomicBatch } else { Kind::Batch };
        let mut deed = Deed::new(kind, &key, request, &answer);
        let answers = answer.json()["items"].as_array().cloned().unwrap_or_default();
        if answer.status == 200 {
            expect(answers.len() == items.len(), &answer, "one answer to each item")?;
        } else {
            expect(atomic && answer.code() == "batch-refused", &answer, "only an atomic batch is refused")?;
        }
        for (number, (item, (item_key, _))) in answers.iter().zip(items).enumerate() {
            expect(item["key"] == **item_key, &answer, "the items are answered in order")?;
            if let Some(first) = known.get(number) {
                let same = item["transfer"] == first["transfer"] && item["outcome"] == first["outcome"];
                expect(same, &answer, &format!("item {number} is answered as it was first: {first}"))?;
                continue;
            }
            if item["outcome"] == "committed" {
                let done = effect(&item["transfer"], Event::Posted);
                let done = done.ok_or_else(|| io::Error::other(format!("no transfer in {item}")))?;
                deed.items.push((item_key.clone(), done.id.clone()));
                self.book.effects.push(done);
            } else {
                expect(!atomic, &answer, "an atomic batch does all or nothing")?;
            }
        }
        self.book.deeds.push(deed);
        Ok(answers)
    }

    /// Sends a transfer, does not wait, and settles its key: what it says then is final.
    fn settle(&mut self) -> io::Result<()> {
        let order = self.draw_order("");
        let (key, request) = self.request("/v1/transfers", &format!("{{{order}}}"));
        if self.rng.u32(0..4) > 0 {
            let mut hasty = Client::new(self.storm.addr, Duration::from_millis(self.rng.u64(1..=4)));
            // Whether it came through is what settling is for.
            let _ = hasty.exchange(&request);
        }
        let mut settling = Vec::new();
        http::put_settle(&mut settling, &key);
        let answer = self.definite(&settling)?;
        expect(answer.status == 200, &answer, "settle always answers 200")?;
        let operation = answer.json();
        let mut deed = Deed::new(Kind::Settled, &key, request, &answer);
        deed.status = operation["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
        deed.body = operation["body"].to_string().into_bytes();
        deed.barred = operation["body"]["code"] == "operation-barred";
        expect(operation["outcome"] == answer.outcome(), &answer, "the header says the operation's outcome")?;
        if operation["outcome"] == "committed" {
            let done = effect(&operation["body"], Event::Posted);
            self.book.effects.push(done.ok_or_else(|| io::Error::other(format!("no transfer in {answer}")))?);
        } else {
            expect(operation["outcome"] == "refused", &answer, "after settle nobody is uncertain")?;
        }
        self.book.deeds.push(deed);
        Ok(())
    }

    /// Keeps an answer about one transfer, and what it did.
    fn keep(&mut self, kind: Kind, key: &str, request: Vec<u8>, answer: &Answer, event: Event) -> io::Result<()> {
        let is_committed = answer.outcome() == "committed";
        let fits = if is_committed { matches!(answer.status, 200 | 201) } else { matches!(answer.status, 400..500) };
        expect(fits && (is_committed || answer.outcome() == "refused"), answer, "status and outcome fit")?;
        if is_committed {
            let done = effect(&answer.json(), event);
            let done = done.ok_or_else(|| io::Error::other(format!("no transfer in {answer}")))?;
            match event {
                Event::Held => remember(&mut self.holds, done.clone()),
                Event::Posted => remember(&mut self.posted, done.clone()),
                _ => {}
            }
            self.book.effects.push(done);
        }
        self.book.deeds.push(Deed::new(kind, key, request, answer));
        Ok(())
    }

    fn definite(&mut self, request: &[u8]) -> io::Result<Answer> {
        let (answer, sent) = self.client.definite(request, &mut self.rng, PATIENCE)?;
        self.book.requests += u64::from(sent);
        Ok(answer)
    }

    fn request(&mut self, path: &str, body: &str) -> (String, Vec<u8>) {
        let key = self.next_key();
        let request = post(path, &key, body);
        (key, request)
    }

    fn next_key(&mut self) -> String {
        self.keys += 1;
        format!("c{}/{}", self.number, self.keys)
    }
}

fn remember(list: &mut Vec<Effect>, one: Effect) {
    if list.len() == REMEMBERED_MAX {
        list.remove(0);
    }
    list.push(one);
}

fn expect(holds: bool, answer: &Answer, what: &str) -> io::Result<()> {
    if holds { Ok(()) } else { Err(io::Error::other(format!("expected: {what}; got: {answer}"))) }
}
