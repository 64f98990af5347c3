//! The workloads that are measured, as bytes.

use std::collections::VecDeque;

use fastrand::Rng;

use crate::http;
use crate::load::Workload;

/// Which accounts a transfer is between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pairs {
    /// Any two of this many.
    Random(u32),
    /// Always the same two.
    Hot,
}

impl Pairs {
    /// Two different account numbers.
    pub fn draw(self, rng: &mut Rng) -> (u32, u32) {
        match self {
            Self::Hot => (0, 1),
            Self::Random(accounts) => {
                let from = rng.u32(0..accounts);
                let to = rng.u32(0..accounts - 1);
                (from, if to >= from { to + 1 } else { to })
            }
        }
    }
}

/// How low each measured account may go, so that no transfer is refused but the floor is checked each time.
pub const FLOOR: i64 = -1_000_000_000_000;

/// Opens accounts `a/0` up to `a/<count - 1>`.
#[derive(Clone, Debug)]
pub struct Accounts {
    next: u32,
    count: u32,
}

impl Accounts {
    /// This many.
    pub const fn new(count: u32) -> Self {
        Self { next: 0, count }
    }
}

impl Workload for Accounts {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.next == self.count {
            return false;
        }
        let number = self.next;
        self.next += 1;
        let body = format!(r#"{{"id":"a/{number}","unit":"point","floor":{FLOOR}}}"#);
        http::put_post(out, "/v1/accounts", &format!("open/{number}"), body.as_bytes());
        true
    }

    fn answered(&mut self, status: u16, body: &[u8]) -> Result<u64, String> {
        if status == 201 { Ok(0) } else { Err(failure(status, body)) }
    }
}

/// One transfer per request, each with a new key.
#[derive(Clone, Debug)]
pub struct Transfers {
    keys: Keys,
    pairs: Pairs,
    rng: Rng,
    body: Vec<u8>,
    key: String,
    /// The first requests, kept to be sent again.
    kept: Vec<Vec<u8>>,
    keep: usize,
}

impl Transfers {
    /// Between these accounts; the first `keep` requests are remembered for [`Replays`].
    pub fn new(pairs: Pairs, keep: usize, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let keys = Keys::new(&mut rng);
        Self { keys, pairs, rng, body: Vec::new(), key: String::new(), kept: Vec::new(), keep }
    }

    /// The same requests again.
    pub fn into_replays(self) -> Replays {
        Replays { requests: self.kept.into() }
    }
}

impl Workload for Transfers {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let (from, to) = self.pairs.draw(&mut self.rng);
        let mut number = itoa::Buffer::new();
        self.body.clear();
        self.body.extend_from_slice(br#"{"from":"a/"#);
        self.body.extend_from_slice(number.format(from).as_bytes());
        self.body.extend_from_slice(br#"","to":"a/"#);
        self.body.extend_from_slice(number.format(to).as_bytes());
        self.body.extend_from_slice(br#"","amount":1}"#);
        self.keys.next(&mut self.key);
        let begin = out.len();
        http::put_post(out, "/v1/transfers", &self.key, &self.body);
        if self.kept.len() < self.keep {
            self.kept.push(out[begin..].to_vec());
        }
        true
    }

    fn answered(&mut self, status: u16, body: &[u8]) -> Result<u64, String> {
        if status == 201 { Ok(1) } else { Err(failure(status, body)) }
    }
}

/// One durable call per request, each with a new key.
#[derive(Clone, Debug)]
pub struct Calls {
    keys: Keys,
    key: String,
    body: Vec<u8>,
}

impl Calls {
    /// Of the handler at that address.
    pub fn new(handler: std::net::SocketAddr, seed: u64) -> Self {
        let keys = Keys::new(&mut Rng::with_seed(seed));
        let body = format!(r#"{{"url":"http://{handler}/pay","body":{{"amount":1}}}}"#).into_bytes();
        Self { keys, key: String::new(), body }
    }
}

impl Workload for Calls {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        self.keys.next(&mut self.key);
        http::put_post(out, "/v1/calls", &self.key, &self.body);
        true
    }

    fn answered(&mut self, status: u16, body: &[u8]) -> Result<u64, String> {
        if status == 200 { Ok(1) } else { Err(failure(status, body)) }
    }
}

/// One run of a saga per request, each with a new key; it is answered when the run has ended.
#[derive(Clone, Debug)]
pub struct Runs {
    keys: Keys,
    key: String,
    path: String,
    pairs: Pairs,
    rng: Rng,
}

impl Runs {
    /// Of this saga; its input names two accounts.
    pub fn new(saga: &str, pairs: Pairs, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let keys = Keys::new(&mut rng);
        Self { keys, key: String::new(), path: format!("/v1/sagas/{saga}/runs"), pairs, rng }
    }
}

impl Workload for Runs {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        self.keys.next(&mut self.key);
        let (from, to) = self.pairs.draw(&mut self.rng);
        let body = format!(r#"{{"input":{{"from":"a/{from}","to":"a/{to}","amount":1}}}}"#);
        http::put_post(out, &self.path, &self.key, body.as_bytes());
        true
    }

    fn answered(&mut self, status: u16, body: &[u8]) -> Result<u64, String> {
        if status == 200 { Ok(1) } else { Err(failure(status, body)) }
    }
}

/// One event per request, each with a key of its own, in no order with the others.
#[derive(Clone, Debug)]
pub struct Events {
    keys: Keys,
    key: String,
    path: String,
}

impl Events {
    /// Of this topic.
    pub fn new(topic: &str, seed: u64) -> Self {
        let keys = Keys::new(&mut Rng::with_seed(seed));
        Self { keys, key: String::new(), path: format!("/v1/topics/{topic}/events") }
    }
}

impl Workload for Events {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        self.keys.next(&mut self.key);
        http::put_post(out, &self.path, &self.key, br#"{"type":"order.paid","data":{"order":"17","amount":100}}"#);
        true
    }

    fn answered(&mut self, status: u16, body: &[u8]) -> Result<u64, String> {
        if status == 201 { Ok(1) } else { Err(failure(status, body)) }
    }
}

/// Requests whose keys are decided.
#[derive(Clone, Debug)]
pub struct Replays {
    requests: VecDeque<Vec<u8>>,
}

impl Workload for Replays {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(request) = self.requests.pop_front() else {
            return false;
        };
        out.extend_from_slice(&request);
        true
    }

    fn answered(&mut self, status: u16, body: &[u8]) -> Result<u64, String> {
        if status == 201 { Ok(1) } else { Err(failure(status, body)) }
    }
}

/// Many transfers per request.
#[derive(Clone, Debug)]
pub struct Batches {
    keys: Keys,
    pairs: Pairs,
    rng: Rng,
    left: u64,
    items: u64,
    body: Vec<u8>,
    key: String,
}

impl Batches {
    /// This many transfers, so many to a batch.
    pub fn new(pairs: Pairs, transfers: u64, items: u64, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let keys = Keys::new(&mut rng);
        Self { keys, pairs, rng, left: transfers, items, body: Vec::new(), key: String::new() }
    }
}

impl Workload for Batches {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let count = self.items.min(self.left);
        if count == 0 {
            return false;
        }
        self.left -= count;
        self.body.clear();
        self.body.extend_from_slice(br#"{"atomic":false,"items":["#);
        for _ in 0..count {
            self.keys.next(&mut self.key);
            put_item(&mut self.body, &self.key, self.pairs.draw(&mut self.rng));
            self.body.push(b',');
        }
        self.body.pop();
        self.body.extend_from_slice(b"]}");
        self.keys.next(&mut self.key);
        http::put_post(out, "/v1/transfers/batch", &self.key, &self.body);
        true
    }

    fn answered(&mut self, status: u16, body: &[u8]) -> Result<u64, String> {
        if status != 200 {
            return Err(failure(status, body));
        }
        let committed = memchr::memmem::find_iter(body, br#""outcome":"committed""#).count() as u64;
        match memchr::memmem::find(body, br#""outcome":"refused""#) {
            None => Ok(committed),
            Some(at) => Err(failure(status, &body[at..])),
        }
    }
}

/// Appends one item of a batch or a stream.
pub fn put_item(out: &mut Vec<u8>, key: &str, (from, to): (u32, u32)) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(br#"{"key":""#);
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(br#"","from":"a/"#);
    out.extend_from_slice(number.format(from).as_bytes());
    out.extend_from_slice(br#"","to":"a/"#);
    out.extend_from_slice(number.format(to).as_bytes());
    out.extend_from_slice(br#"","amount":1}"#);
}

/// One account read per request, each drawn.
#[derive(Clone, Debug)]
pub struct Balances {
    accounts: u32,
    level: String,
    rng: Rng,
    path: String,
}

impl Balances {
    /// Of so many accounts, at this level of consistency.
    pub fn new(accounts: u32, level: &str, seed: u64) -> Self {
        Self { accounts, level: level.to_owned(), rng: Rng::with_seed(seed), path: String::new() }
    }
}

impl Workload for Balances {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        self.path.clear();
        self.path.push_str("/v1/accounts/a%2F");
        self.path.push_str(itoa::Buffer::new().format(self.rng.u32(..self.accounts)));
        http::put_read(out, &self.path, &[("Tertium-Consistency", &self.level)]);
        true
    }

    fn answered(&mut self, status: u16, body: &[u8]) -> Result<u64, String> {
        if status == 200 { Ok(1) } else { Err(failure(status, body)) }
    }
}

/// Keys that no other run has used: a random part and a count.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
    count: u64,
}

impl Keys {
    /// Keys of one run.
    pub fn new(rng: &mut Rng) -> Self {
        Self { prefix: format!("{:08x}-", rng.u32(..)), count: 0 }
    }

    /// Replaces `key` with the next one.
    pub fn next(&mut self, key: &mut String) {
        key.clear();
        key.push_str(&self.prefix);
        key.push_str(itoa::Buffer::new().format(self.count));
        self.count += 1;
    }
}

fn failure(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    format!("{status}: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of the one request in these bytes, as JSON.
    fn body(request: &[u8]) -> serde_json::Value {
        let text = std::str::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn pairs_are_two_different_accounts() {
        let mut rng = Rng::with_seed(1);
        for accounts in [2, 3, 10_000] {
            for _ in 0..1_000 {
                let (from, to) = Pairs::Random(accounts).draw(&mut rng);
                assert!(from != to && from < accounts && to < accounts);
            }
        }
    }

    #[test]
    fn requests_are_json_under_keys_of_their_own() {
        let mut transfers = Transfers::new(Pairs::Random(10), 1, 7);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        assert!(transfers.next(&mut first) && transfers.next(&mut second));
        assert_eq!(body(&first)["amount"], 1);
        assert_ne!(first, second);
        let (mut replays, mut again) = (transfers.into_replays(), Vec::new());
        assert!(replays.next(&mut again) && !replays.next(&mut Vec::new()));
        assert_eq!(again, first);
    }

    #[test]
    fn a_batch_holds_what_is_left() {
        let mut batches = Batches::new(Pairs::Hot, 5, 3, 7);
        let mut sizes = Vec::new();
        let mut request = Vec::new();
        while batches.next(&mut request) {
            sizes.push(body(&request)["items"].as_array().unwrap().len());
            request.clear();
        }
        assert_eq!(sizes, [3, 2]);
    }

    #[test]
    fn a_batch_with_a_refused_item_fails() {
        let mut batches = Batches::new(Pairs::Hot, 5, 3, 7);
        assert_eq!(batches.answered(200, br#"[{"outcome":"committed"},{"outcome":"committed"}]"#), Ok(2));
        assert!(batches.answered(200, br#"[{"outcome":"committed"},{"outcome":"refused"}]"#).is_err());
        assert!(batches.answered(503, b"{}").is_err());
    }
}
