//! The conformance kit: what the inbox promises, told in scripts that every hand has to play the same way.
//!
//! A line is `session command arguments => reply`. A session is one connection; it is opened when it is first named. A
//! line whose command is followed by `...` does not wait for the reply; a later `session ends => reply` does.

pub(crate) mod crowd;
pub(crate) mod document;
pub(crate) mod layer;
pub(crate) mod model;
pub(crate) mod scripts;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use inbox_sql::{Answer, Arrival, Compensation, Entry, Error, Event, Fence, Fingerprint, Key, Settled, Step};

/// How long anybody here waits for an answer before the test has failed.
const REPLY_MAX: Duration = Duration::from_secs(60);

/// One database under test.
pub(crate) trait Hand: Clone + Send + 'static {
    /// Whether two transactions exclude each other even where they want different keys.
    const ONE_WRITER: bool;

    /// Opens a connection and does what it is told until nobody tells it anything any more.
    fn serve(self, commands: Receiver<Command>, replies: Sender<String>);
}

/// What a session can be told.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Begins a transaction whose waits are bounded.
    Begin(Duration),
    Enter(Arrival),
    /// Finishes the ticket in hand.
    Finish(Answer),
    /// Drops it.
    Drop,
    Compensate(Arrival, Key),
    Probe(Key),
    Event(String, u64),
    /// Writes a row of the service's own.
    Effect(String),
    Commit,
    Rollback,
    /// The connection ends as if its process had died, and another one is opened.
    Vanish,
    Install,
    /// Removes what is older than so many milliseconds, in batches of so many rows.
    Collect(u64, u32),
    /// Makes all rows so many milliseconds older.
    Age(i64),
    /// The names of all effects, in order.
    Effects,
    /// Any statement, as another service might send it.
    Sql(String),
}

/// Open connections by their names.
pub(crate) struct Sessions<H: Hand> {
    hand: H,
    open: BTreeMap<String, Session>,
}

struct Session {
    commands: Sender<Command>,
    replies: Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl<H: Hand> Sessions<H> {
    pub(crate) fn new(hand: H) -> Self {
        Self { hand, open: BTreeMap::new() }
    }

    pub(crate) fn tell(&mut self, name: &str, command: Command) -> String {
        self.start(name, command);
        self.end(name)
    }

    pub(crate) fn start(&mut self, name: &str, command: Command) {
        let hand = &self.hand;
        let session = self.open.entry(name.to_owned()).or_insert_with(|| {
            let ((commands, their_commands), (their_replies, replies)) = (channel(), channel());
            let hand = hand.clone();
            let thread = std::thread::spawn(move || hand.serve(their_commands, their_replies));
            Session { commands, replies, thread: Some(thread) }
        });
        session.commands.send(command).unwrap();
    }

    pub(crate) fn end(&mut self, name: &str) -> String {
        self.open[name].replies.recv_timeout(REPLY_MAX).expect("a session answers")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.commands = channel().0;
        if let Some(thread) = self.thread.take() {
            // A session that panicked has said so, and its test has failed for want of a reply.
            let _ = thread.join();
        }
    }
}

/// Plays a script.
#[track_caller]
pub(crate) fn check<H: Hand>(hand: H, script: &str) {
    let mut sessions = Sessions::new(hand);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (told, expected) = line.split_once("=>").map_or((line, None), |(told, reply)| (told, Some(reply.trim())));
        let words: Vec<_> = told.split_whitespace().collect();
        if let Some((&"...", words)) = words.split_last() {
            sessions.start(words[0], command(&words[1..]));
            continue;
        }
        let reply =
            if words[1..] == ["ends"] { sessions.end(words[0]) } else { sessions.tell(words[0], command(&words[1..])) };
        assert_eq!(reply, expected.unwrap_or("ok"), "{line}\nin\n{script}");
    }
}

fn command(words: &[&str]) -> Command {
    let number = |at: usize| words.get(at).map_or(10_000, |word| word.parse().unwrap());
    match words[0] {
        "begin" => Command::Begin(Duration::from_millis(number(1))),
        "enter" => Command::Enter(arrival(&words[1..])),
        "finish" => Command::Finish(Answer::new(number(1) as u16, words[2..].join(" "))),
        "drop" => Command::Drop,
        "compensate" => Command::Compensate(arrival(&words[2..]), key(words[1])),
        "probe" => Command::Probe(key(words[1])),
        "event" => Command::Event(words[1].to_owned(), number(2)),
        "effect" => Command::Effect(words[1].to_owned()),
        "commit" => Command::Commit,
        "rollback" => Command::Rollback,
        "vanish" => Command::Vanish,
        "install" => Command::Install,
        "collect" => Command::Collect(number(1), words.get(2).map_or(1_000, |rows| rows.parse().unwrap())),
        "age" => Command::Age(number(1) as i64),
        "effects" => Command::Effects,
        "sql" => Command::Sql(words[1..].join(" ")),
        other => panic!("there is no command {other}"),
    }
}

/// `key content [resource token]`
fn arrival(words: &[&str]) -> Arrival {
    let arrival = Arrival::new(key(words[0]), Fingerprint::of(words[1].as_bytes()));
    match words[2..] {
        [resource, token] => arrival.fenced(Fence { resource: resource.into(), token: token.parse().unwrap() }),
        _ => arrival,
    }
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

// How replies are told.

pub(crate) fn entry(entry: &Entry) -> String {
    match entry {
        Entry::First(_) => "first".into(),
        Entry::Again(answer) => format!("again {}", told(answer)),
        Entry::Barred => "barred".into(),
        Entry::Reused => "reused".into(),
        Entry::Stale(token) => format!("stale {token}"),
    }
}

pub(crate) fn compensation(compensation: &Compensation) -> String {
    match compensation {
        Compensation::First(_, Step::Ran(answer)) => format!("first, ran {}", told(answer)),
        Compensation::First(_, Step::Refused(answer)) => format!("first, refused {}", told(answer)),
        Compensation::First(_, Step::NeverRan) => "first, never ran".into(),
        Compensation::Again(answer) => format!("again {}", told(answer)),
        Compensation::Barred => "barred".into(),
        Compensation::Reused => "reused".into(),
        Compensation::Stale(token) => format!("stale {token}"),
    }
}

pub(crate) fn settled(settled: &Settled) -> String {
    match settled {
        Settled::Answered(answer) => format!("answered {}", told(answer)),
        Settled::Barred => "barred".into(),
    }
}

pub(crate) fn event(event: &Event) -> String {
    if *event == Event::First { "first".into() } else { "seen".into() }
}

pub(crate) fn told(answer: &Answer) -> String {
    format!("{} {}", answer.status(), String::from_utf8_lossy(answer.body())).trim_end().to_owned()
}

pub(crate) fn error(error: &Error) -> String {
    match error {
        Error::InFlight => "in flight".into(),
        Error::Unfinished => "unfinished".into(),
        Error::TicketElsewhere => "ticket elsewhere".into(),
        Error::OutOfRange(_) => "out of range".into(),
        Error::ForeignKeysOff => "foreign keys off".into(),
        Error::SchemaNewer { .. } => "schema newer".into(),
        other => format!("error: {other:?}"),
    }
}
