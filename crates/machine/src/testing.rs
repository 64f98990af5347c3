//! A small world for tests: a machine, an archive in memory, and a language to talk to them in lines.
//!
//! ```text
//! open KEY ID UNIT FLOOR|none          transfer KEY FROM TO AMOUNT          hold KEY FROM TO AMOUNT MS
//! capture|reverse KEY OF [AMOUNT]      void KEY OF                          settle KEY
//! each|atomic|stream KEY ; KEY FROM TO AMOUNT [MS] ; ...                    late LINE
//! claim EPOCH      retention MS        pass MS      tick                    show ID      now OF
//! call KEY probe|resend|compensate|escalate [escalate|compensate|cancel] [persistent]
//! tried N ATTEMPT FINDING              resolve KEY N committed|refused
//! and what topic/tests.rs says of topics and subscriptions, and lease/tests.rs of leases
//! ```
//!
//! `OF` is the key under which a transfer was made; `max` is the largest amount. Each line is one entry.

use std::collections::BTreeMap;
use std::fmt::Write;

use words::{AMOUNT_MAX, Amount, CellName, Position, Stamp, TransferId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::*;

/// Where tests begin: 2026-01-01T00:00:00Z.
pub(crate) const BEGIN_MS: u64 = 1_767_225_600_000;

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) archive: Touching,
    pub(crate) applied: Applied,
    pub(crate) stamp: Stamp,
    pub(crate) index: u64,
    pub(crate) epoch: u64,
    made: BTreeMap<String, TransferId>,
}

/// An archive that remembers which accounts each record is history of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touching {
    inner: MemoryArchive,
    touched: Vec<Vec<NameHash>>,
}

impl Archive for Touching {
    fn next_ordinal(&self) -> u64 {
        self.inner.next_ordinal()
    }

    fn push(&mut self, record: &[u8], named: &[NameHash], touched: &[NameHash]) {
        self.inner.push(record, named, touched);
        self.touched.push(touched.to_vec());
    }

    fn find(&self, name: NameHash, accept: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<Option<u64>, Fault> {
        self.inner.find(name, accept)
    }

    fn read(&self, ordinal: u64, visit: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        self.inner.read(ordinal, visit)
    }
}

/// Runs the lines and compares what each answered.
#[track_caller]
pub(crate) fn check(lines: &str, expect: expect_test::Expect) {
    expect.assert_eq(&World::new(1).talk(lines));
}

/// The same, with three accounts that count GBP: `world` without a floor, `alice` with 100 and `bob` with none.
#[track_caller]
pub(crate) fn check_funded(lines: &str, expect: expect_test::Expect) {
    let mut world = World::funded();
    expect.assert_eq(&world.talk(lines));
}

impl World {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            machine: Machine::new(&cell(), hash_seed),
            archive: Touching::default(),
            applied: Applied::default(),
            stamp: Stamp::from_micros(BEGIN_MS * 1_000),
            index: 0,
            epoch: 1,
            made: BTreeMap::new(),
        }
    }

    pub(crate) fn funded() -> Self {
        let mut world = Self::new(1);
        world.talk(
            "open o1 world GBP none
             open o2 alice GBP 0
             open o3 bob GBP 0
             transfer f1 world alice 100",
        );
        world
    }

    pub(crate) fn talk(&mut self, lines: &str) -> String {
        let mut said = String::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let answer = self.line(line);
            self.assert_sound();
            writeln!(said, "{line}: {answer}").unwrap();
        }
        said
    }

    pub(crate) fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["pass", ms] => {
                self.stamp = self.stamp.plus_ms(ms.parse().unwrap());
                "ok".into()
            }
            ["show", id] => match self.machine.account(id) {
                Some(a) => format!("{} held {} v{} head {}", a.balance, a.held, a.version, a.head),
                None => "none".into(),
            },
            ["now", of] => {
                let id = self.id_of(of);
                match self.machine.transfer_state(id, &self.archive).unwrap() {
                    Some(state) => {
                        let record = self.describe(state.newest);
                        format!("{record}; reversed {} by {:?}", state.reversed_total, state.reversal)
                    }
                    None => "none".into(),
                }
            }
            ["lease", name] => crate::lease::tests::show(&self.machine, name),
            ["tick"] => self.entry(&[]),
            ["late", ..] => {
                let command = self.command(&line[5..], Stamp::from_raw(1));
                self.entry(&[command])
            }
            _ => {
                let command = self.command(line, Stamp::MAX);
                self.entry(&[command])
            }
        }
    }

    /// Applies one entry and says what it answered.
    pub(crate) fn entry(&mut self, commands: &[Vec<u8>]) -> String {
        self.stamp = Stamp::from_raw(self.stamp.raw() + 1);
        let bytes = self.encode(commands);
        self.index += 1;
        let position = Position { epoch: self.epoch, index: self.index };
        let before = self.archive.next_ordinal();
        let mut digest = xxh3_64_with_seed(&self.stamp.raw().to_le_bytes(), self.machine.digest());
        let is_void = self.epoch < self.machine.epoch();
        self.machine.apply(position, &bytes, &mut self.archive, &mut self.applied).unwrap();
        for ordinal in before..self.archive.next_ordinal() {
            self.archive.read(ordinal, &mut |bytes| digest = xxh3_64_with_seed(bytes, digest)).unwrap();
            self.assert_touched(ordinal);
        }
        assert!(is_void || self.machine.digest() == digest, "the digest covers every record, in order");
        let mut said = Vec::new();
        for ordinal in before..before + u64::from(self.applied.expired) {
            said.push(self.describe(ordinal));
        }
        let applied = std::mem::take(&mut self.applied);
        for verdict in &applied.verdicts {
            said.push(self.verdict(verdict, &applied));
        }
        said.extend(applied.effects.iter().map(|effect| format!("{effect:?}")));
        said.extend(
            applied.ended.iter().map(|ended| format!("#{} ended: {}", ended.began, self.describe(ended.ordinal))),
        );
        self.applied = applied;
        self.note_made(before);
        said.join(" | ")
    }

    pub(crate) fn encode(&self, commands: &[Vec<u8>]) -> Vec<u8> {
        let mut encoder = EntryEncoder::default();
        for command in commands {
            encoder.push(command);
        }
        encoder.finish(self.stamp)
    }

    pub(crate) fn command(&self, line: &str, expires: Stamp) -> Vec<u8> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let optional = |at: usize| words.get(at).map(|text| amount(text));
        let mut out = Vec::new();
        let op = match words[..] {
            ["open", _, id, unit, floor] => {
                Op::OpenAccount(OpenAccount { id, unit, floor: floor.parse().ok(), metadata: "" })
            }
            ["transfer", _, from, to, units] => Op::Transfer(order(from, to, units, None)),
            ["hold", _, from, to, units, ms] => Op::Transfer(order(from, to, units, Some(ms.parse().unwrap()))),
            ["capture", _, of, ..] => Op::Capture { transfer: self.id_of(of), amount: optional(3) },
            ["reverse", _, of, ..] => Op::Reverse { transfer: self.id_of(of), amount: optional(3) },
            ["void", _, of] => Op::Void { transfer: self.id_of(of) },
            ["settle", _] => Op::Settle,
            ["call", _, doubt, ref rest @ ..] => Op::Call(call_order(doubt, rest)),
            ["tried", call, attempt, finding] => Op::Tried(Tried {
                headers: "",
                call: call.parse().unwrap(),
                attempt: attempt.parse().unwrap(),
                finding: (1..7).map(|n| Finding::from_number(n).unwrap()).find(|f| f.as_str() == finding).unwrap(),
                evidence: "seen",
                tries: u32::from(finding != Finding::Unasked.as_str()),
                status: 200,
                content_type: "text/plain",
                body: b"hello",
                is_cut: false,
                retry_after_ms: 0,
            }),
            ["resolve", _, call, how] => {
                let call = call.parse().unwrap();
                Op::Resolve(Resolved { call, committed: how == "committed", by: "ada", note: "asked them" })
            }
            [word, ..] if crate::topic::tests::WORDS.contains(&word) => {
                let key = if word == "delivered" { "" } else { words[1] };
                encode_head(&mut out, expires, "", key);
                crate::topic::tests::encode(&words, &mut out);
                return out;
            }
            [word, ..] if crate::lease::tests::WORDS.contains(&word) => Op::Lease(crate::lease::tests::op(&words)),
            ["claim", epoch] => Op::Claim { epoch: epoch.parse().unwrap(), node: "n", continues: false },
            ["claim-on", epoch] => Op::Claim { epoch: epoch.parse().unwrap(), node: "n", continues: true },
            ["hand-over", to] => Op::HandOver { to },
            ["retention", ms] => Op::Configure { key_retention_ms: ms.parse().unwrap() },
            [mode @ ("each" | "atomic" | "stream"), ..] => {
                encode_head(&mut out, expires, "", if mode == "stream" { "" } else { words[1] });
                batch(mode, line, &mut out);
                return out;
            }
            _ => panic!("what is {line:?}?"),
        };
        let key = if matches!(op, Op::Claim { .. } | Op::HandOver { .. } | Op::Configure { .. } | Op::Tried(_)) {
            ""
        } else {
            words[1]
        };
        encode_head(&mut out, expires, "", key);
        op.encode(&mut out);
        out
    }

    /// The transfer made under that key; some id that was never given out if there is none.
    fn id_of(&self, key: &str) -> TransferId {
        let nobody = TransferId::new(TransferId::cell_tag(&cell()), 0, 1 << 40);
        self.made.get(key).copied().unwrap_or(nobody)
    }

    fn note_made(&mut self, from: u64) {
        for ordinal in from..self.archive.next_ordinal() {
            let made = &mut self.made;
            let note = &mut |bytes: &[u8]| {
                let record = Record::decode(bytes).unwrap();
                if let Body::Moved(moved) = record.body {
                    if moved.event.makes() {
                        made.insert(record.key.to_owned(), moved.transfer);
                    }
                }
            };
            self.archive.read(ordinal, note).unwrap();
        }
    }

    pub(crate) fn record<T>(&self, ordinal: u64, read: impl Fn(&Record<'_>) -> T) -> T {
        let mut result = None;
        self.archive.read(ordinal, &mut |bytes| result = Some(read(&Record::decode(bytes).unwrap()))).unwrap();
        result.unwrap()
    }

    /// The code of the one refusal the last entry's only command met, remembered or not; `None` if it met none.
    pub(crate) fn code(&self) -> Option<Code> {
        match &self.applied.verdicts[..] {
            [Verdict::Refused(refusal)] => Some(refusal.code),
            [Verdict::Decided { ordinal } | Verdict::Replayed { ordinal }] => self.record(*ordinal, |r| match r.body {
                Body::Refused(refusal) => Some(refusal.code),
                Body::BatchRefused { .. } => Some(Code::BatchRefused),
                _ => None,
            }),
            other => panic!("one command was applied: {other:?}"),
        }
    }

    fn verdict(&self, verdict: &Verdict, applied: &Applied) -> String {
        match verdict {
            Verdict::Decided { ordinal } => self.describe(*ordinal),
            Verdict::Replayed { ordinal } => format!("again {}", self.describe(*ordinal)),
            Verdict::Refused(refusal) => format!("refused {:?} {}, not remembered", refusal.code, refusal.about),
            Verdict::Items { start, len } => {
                let items = &applied.items[*start..*start + *len];
                items.iter().map(|item| self.verdict(item, applied)).collect::<Vec<_>>().join(", ")
            }
            Verdict::Fenced { epoch } => format!("fenced by epoch {epoch}"),
            Verdict::Pending { ordinal } => format!("pending #{ordinal}"),
            Verdict::Noted => "noted".into(),
            Verdict::Ignored => "ignored".into(),
        }
    }

    pub(crate) fn describe(&self, ordinal: u64) -> String {
        self.record(ordinal, |record| {
            let body = match record.body {
                Body::Moved(m) => {
                    let (f, t) = (m.from_after, m.to_after);
                    let total = m.reverses.map_or(String::new(), |_| format!(" of {} reversed", m.reversed_total));
                    format!(
                        "{:?} {} {}->{}{total}, {} {}/{} v{} <{}, {} {}/{} v{} <{}",
                        m.event,
                        m.amount,
                        m.from,
                        m.to,
                        m.from,
                        f.balance,
                        f.held,
                        f.version,
                        f.previous,
                        m.to,
                        t.balance,
                        t.held,
                        t.version,
                        t.previous
                    )
                }
                Body::Refused(r) => format!("refused {:?} {} had {} wanted {}", r.code, r.about, r.had, r.wanted),
                Body::BatchRefused { item, item_key, refusal: r } => {
                    let (had, wanted) = (r.had, r.wanted);
                    format!("refused by item {item} {item_key}: {:?} {} had {had} wanted {wanted}", r.code, r.about)
                }
                Body::Batch { items, atomic, exceptions } => {
                    let items: Vec<String> = batch_items(items, exceptions)
                        .map(|item| match item {
                            BatchItem::Recorded(ordinal) => format!("#{ordinal}"),
                            BatchItem::Refused(refusal) => format!("{:?} {}", refusal.code, refusal.about),
                        })
                        .collect();
                    format!("batch{} of {}", if atomic { " atomic" } else { "" }, items.join(" "))
                }
                Body::Opened(opened) => format!("opened {} {} {:?}", opened.id, opened.unit, opened.floor),
                Body::CallEnded(e) => {
                    format!(
                        "{} of #{} after {} tries, uncertain {} us: {}",
                        e.end.as_str(),
                        e.call,
                        e.tries,
                        e.uncertain_us,
                        e.evidence
                    )
                }
                Body::Topic(ref topic) => crate::topic::tests::describe(topic),
                Body::Lease(ref lease) => crate::lease::tests::describe(lease),
                Body::Saga(saga) => match saga {
                    SagaRecord::Ended { run, end, why, .. } => {
                        let why = why.map_or(String::new(), |why| format!(", {why:?}"));
                        format!("run #{run} {}{why}", end.as_str())
                    }
                    SagaRecord::Controlled { run, previous, control, .. } => {
                        format!("Controlled {{ run: {run}, previous: {previous}, control: {control:?} }}")
                    }
                    SagaRecord::Stepped { run, step, attempt, event, what, evidence, .. } => {
                        format!("run #{run} step {step} attempt {attempt} {} #{what} {evidence}", event.as_str())
                    }
                    other => format!("{other:?}"),
                },
                other => format!("{other:?}"),
            };
            format!("#{ordinal} {body}")
        })
    }

    /// What holds after every entry.
    pub(crate) fn assert_sound(&self) {
        let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
        let page = self.machine.accounts(0, usize::MAX, None);
        assert_eq!(page.items.len() as u64, self.machine.accounts_len());
        for account in &page.items {
            let sum = sums.entry(account.unit).or_default();
            *sum = sum.wrapping_add(account.balance);
            let holds = self.machine.holds.iter().filter(|(_, hold)| u64::from(hold.from) == account.slot);
            assert_eq!(account.held, holds.map(|(_, hold)| hold.amount).sum::<i128>(), "held of {}", account.id);
            assert!(account.balance.checked_sub(account.held).is_some(), "available of {} fits", account.id);
            self.assert_chain(account);
        }
        assert!(sums.values().all(|sum| *sum == 0), "money is conserved: {sums:?}");
        assert_eq!(self.machine.next_ordinal(), self.archive.next_ordinal());
    }

    /// The archive was told of exactly the accounts whose history the record is.
    fn assert_touched(&self, ordinal: u64) {
        let linked = self.record(ordinal, |record| {
            let accounts = match record.body {
                Body::Opened(opened) => vec![opened.id],
                Body::Moved(moved) => vec![moved.from, moved.to],
                _ => vec![],
            };
            let linked = accounts.into_iter().filter(|id| chain_link(record, id).is_some());
            linked.map(|id| self.machine.hash_account(id)).collect::<Vec<_>>()
        });
        assert_eq!(self.archive.touched[ordinal as usize], linked, "record {ordinal}");
    }

    /// The chain leads from the account as it is to its opening, version by version.
    fn assert_chain(&self, account: &AccountView<'_>) {
        let (mut at, mut version) = (Some(account.head), account.version);
        let mut newest = None;
        while let Some(ordinal) = at {
            at = history_step(&self.archive, account.id, ordinal, &mut |_, after| {
                assert_eq!(after.version, version, "history of {}", account.id);
                newest.get_or_insert(*after);
            })
            .unwrap();
            version -= 1;
        }
        assert_eq!(version, 0, "the history of {} begins at its opening", account.id);
        let newest = newest.unwrap();
        assert_eq!((newest.balance, newest.held), (account.balance, account.held));
    }
}

pub(crate) fn cell() -> CellName {
    CellName::new("main").unwrap()
}

pub(crate) fn amount(text: &str) -> Amount {
    Amount::new(if text == "max" { AMOUNT_MAX } else { text.parse().unwrap() }).unwrap()
}

fn order<'a>(from: &'a str, to: &'a str, units: &str, hold_ms: Option<u64>) -> Order<'a> {
    Order { from, to, amount: amount(units), hold_ms, memo: "memo", metadata: "" }
}

fn call_order<'a>(doubt: &str, rest: &[&str]) -> CallOrder<'a> {
    CallOrder {
        keep: "",
        method: "POST",
        url: "http://127.0.0.1:1/",
        headers: "",
        body: b"{}",
        deadline_ms: 1_000,
        tries_max: 3,
        persistent: rest.contains(&"persistent"),
        doubt: (1..5).map(|n| Doubt::from_number(n).unwrap()).find(|d| d.as_str() == doubt).unwrap(),
        probe: "{}",
        compensation: "{}",
        uncertain_ms_max: 60_000,
        way_out: (1..4)
            .map(|n| WayOut::from_number(n).unwrap())
            .find(|way| rest.first() == Some(&way.as_str()))
            .unwrap_or(WayOut::Escalate),
    }
}

fn batch(mode: &str, line: &str, out: &mut Vec<u8>) {
    let mut encoder = BatchEncoder::new(4);
    for item in line.split(';').skip(1) {
        let words: Vec<&str> = item.split_whitespace().collect();
        let hold_ms = words.get(4).map(|ms| ms.parse().unwrap());
        encoder.push(words[0], &order(words[1], words[2], words[3], hold_ms));
    }
    let mode = match mode {
        "each" => BatchMode::Each,
        "atomic" => BatchMode::Atomic,
        _ => BatchMode::Stream,
    };
    encoder.finish(mode, out);
}
