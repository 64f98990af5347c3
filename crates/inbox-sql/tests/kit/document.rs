//! The statements of docs/inbox-sql.md, run as a service in another language would run them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

const DOCUMENT: &str = include_str!("../../../../docs/inbox-sql.md");

/// A parameter.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(&'static str),
    Number(i64),
    Bytes(&'static [u8]),
}

/// A connection that sends what it is given.
pub(crate) trait Connection {
    /// As in the names of the document's blocks.
    const DIALECT: &'static str;

    /// Some statements without parameters; whether all went well.
    fn batch(&self, sql: &str) -> bool;

    /// One statement; how many rows it changed.
    fn change(&self, sql: &str, parameters: &[Value]) -> u64;

    /// The first column of the first row, as text.
    fn read(&self, sql: &str, parameters: &[Value]) -> Option<String>;
}

struct Blocks<'a, C> {
    connection: &'a C,
    texts: BTreeMap<&'static str, &'static str>,
    used: RefCell<BTreeSet<&'static str>>,
}

impl<C: Connection> Blocks<'_, C> {
    fn text(&self, name: &'static str) -> &'static str {
        self.used.borrow_mut().insert(name);
        self.texts.get(name).unwrap_or_else(|| panic!("the document has no block {name}"))
    }

    fn batch(&self, name: &'static str) -> bool {
        self.connection.batch(self.text(name))
    }

    fn change(&self, name: &'static str, parameters: &[Value]) -> u64 {
        self.connection.change(self.text(name), parameters)
    }

    fn read(&self, name: &'static str, parameters: &[Value]) -> Option<String> {
        self.connection.read(self.text(name), parameters)
    }
}

/// Follows the document on an empty database. Two connections, since one has to find what the other left.
pub(crate) fn play<C: Connection>(first: &C, other: &C) {
    let (first, other) = (blocks(first), blocks(other));
    assert!(first.batch("tables"));
    a_call(&first, &other);
    questions(&first);
    an_event_and_collection(&first);
    let unused: Vec<_> = first.texts.keys().filter(|name| !first.used.borrow().contains(*name)).collect();
    assert!(unused.is_empty(), "the document has blocks that nothing here runs: {unused:?}");
}

const KEY: [Value; 2] = [Value::Text("shop"), Value::Text("order-17/pay")];
const STEP: [Value; 3] = [Value::Text("shop"), Value::Text("order-17/pay"), Value::Bytes(b"sixteen bytes ok")];

fn a_call<C: Connection>(first: &Blocks<'_, C>, other: &Blocks<'_, C>) {
    // Nobody answers: the commit fails.
    assert!(first.batch("begin"));
    assert_eq!(first.change("enter", &STEP), 1);
    assert!(!first.batch("commit"), "an unanswered key was committed");
    // SQLite leaves the transaction open then, PostgreSQL does not.
    first.connection.batch("ROLLBACK");

    assert!(first.batch("begin"));
    assert_eq!(first.change("enter", &STEP), 1);
    let lease = [Value::Text("lease"), Value::Number(7)];
    assert_eq!(first.change("fence", &lease), 1);
    assert!(first.batch("mark"));
    assert!(first.connection.batch("CREATE TABLE refused (id integer)"));
    assert!(first.batch("undo"));
    let answer = [Value::Number(409), Value::Text("content-type: text/plain"), Value::Bytes(b"no")];
    assert_eq!(first.change("finish", &[&answer[..], &KEY].concat()), 1);
    assert!(first.batch("commit"));
    assert!(!first.connection.batch("SELECT * FROM refused"), "what was refused was kept");

    assert!(other.batch("begin"));
    assert_eq!(other.change("enter", &STEP), 0);
    assert_eq!(other.read("read", &KEY).as_deref(), Some("answered"));
    let stale = [Value::Text("shop"), Value::Text("order-18/pay"), Value::Bytes(b"sixteen bytes ok")];
    assert_eq!(other.change("enter", &stale), 1);
    assert_eq!(other.change("fence", &[Value::Text("lease"), Value::Number(6)]), 0);
    assert_eq!(other.connection.read(first.text("fence-read"), &lease[..1]).as_deref(), Some("7"));
    assert_eq!(other.connection.change(first.text("leave"), &stale[..2]), 1);
    assert!(other.batch("commit"));
}

fn questions<C: Connection>(blocks: &Blocks<'_, C>) {
    let unknown = [Value::Text("shop"), Value::Text("order-19/pay")];
    assert_eq!(blocks.change("bar", &unknown), 1);
    assert_eq!(blocks.change("bar", &unknown), 0);
    assert_eq!(blocks.change("enter", &[&unknown[..], &STEP[2..]].concat()), 0);
    assert_eq!(blocks.read("read", &unknown).as_deref(), Some("barred"));
    assert_eq!(blocks.change("bar", &KEY), 0);
    assert_eq!(blocks.read("read", &KEY).as_deref(), Some("answered"));
}

fn an_event_and_collection<C: Connection>(blocks: &Blocks<'_, C>) {
    let event = |offset| [Value::Text("s"), Value::Text("p"), Value::Number(offset)];
    for (offset, changed) in [(3, 1), (3, 0), (2, 0), (7, 1)] {
        assert_eq!(blocks.change("event", &event(offset)), changed, "{offset}");
    }
    let within = |window_ms| [Value::Number(window_ms), Value::Number(1)];
    assert_eq!(blocks.change("collect keys", &within(60_000)), 0);
    assert_eq!(blocks.change("collect partitions", &within(60_000)), 0);
    // A window that ends in the future: all is old, and one row goes at a time.
    for (name, removed) in [("collect keys", 1), ("collect keys", 1), ("collect keys", 0), ("collect partitions", 1)] {
        assert_eq!(blocks.change(name, &within(-60_000)), removed, "{name}");
    }
}

/// The blocks for this dialect and for both, by name.
fn blocks<C: Connection>(connection: &C) -> Blocks<'_, C> {
    let mut texts = BTreeMap::new();
    for block in DOCUMENT.split("\n```sql ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let text = rest.split("```").next().unwrap().trim_end();
        match name.split_once(' ') {
            Some((dialect, name)) if dialect == C::DIALECT => drop(texts.insert(name, text)),
            Some(("postgres" | "sqlite", _)) => {}
            _ => drop(texts.insert(name, text)),
        }
    }
    Blocks { connection, texts, used: RefCell::default() }
}
