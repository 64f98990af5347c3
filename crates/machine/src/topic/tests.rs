//! Topics told line by line. The words are those of `testing.rs`, and these:
//!
//! ```text
//! publish KEY TOPIC TYPE[:KEY] ...     keep KEY TOPIC MS BYTES|none
//! subscribe KEY NAME TOPIC,... URL|pull [from=beginning|now|N] [type=PREFIX] [paused] [pause_after=MS]
//! unsubscribe KEY NAME                 ack KEY NAME OFFSET
//! replay|forget KEY NAME all|OFFSET
//! delivered N GENERATION BELOW [done=OFFSET] [failed|behind|gone=OFFSET[:KEY]] ...
//! page TOPIC FROM LIMIT                todo N FROM                          fetch NAME FROM LIMIT       status NAME
//! ```

mod deliveries;
mod model;
mod publishing;
mod retention;
mod settings;

use super::*;
use crate::Op;
use crate::testing::World;

pub(crate) const WORDS: &[&str] =
    &["publish", "keep", "subscribe", "unsubscribe", "ack", "replay", "forget", "delivered"];

/// Appends the op that the words of a line say.
pub(crate) fn encode(words: &[&str], out: &mut Vec<u8>) {
    let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
    let mut messages = MessagesEncoder::default();
    let op = match *words {
        ["publish", _, topic, ref events @ ..] => {
            for event in events {
                let (kind, key) = event.split_once(':').unwrap_or((event, ""));
                messages.push(&Message { kind, key, data: "{}", ..Message::default() });
            }
            TopicOp::Publish { topic, messages: messages.messages() }
        }
        ["keep", _, topic, ms, bytes] => TopicOp::Keep {
            topic,
            retention: TopicRetention { ms: ms.parse().unwrap(), bytes_max: bytes.parse().ok() },
        },
        ["subscribe", _, name, topics, url, ref rest @ ..] => {
            topics.split(',').for_each(|topic| Texts::push(&mut a, topic));
            let values = |prefix| rest.iter().filter_map(move |word| word.strip_prefix(prefix));
            values("type=").for_each(|prefix| Texts::push(&mut b, prefix));
            Texts::push(&mut c, "secret-1");
            let settings = Settings {
                topics: Texts::new(&a),
                prefixes: Texts::new(&b),
                url: if url == "pull" { "" } else { url },
                secrets: Texts::new(&c),
                pause_after_ms: values("pause_after=").next().map_or(600_000, |ms| ms.parse().unwrap()),
                paused: rest.contains(&"paused"),
            };
            let start = values("from=").next().map(|from| match from {
                "beginning" => Start::Beginning,
                "now" => Start::Now,
                offset => Start::Offset(offset.parse().unwrap()),
            });
            TopicOp::Subscribe { name, settings, start }
        }
        ["unsubscribe", _, name] => TopicOp::Unsubscribe { name },
        ["ack", _, name, offset] => TopicOp::Acknowledge { name, offset: offset.parse().unwrap() },
        [how @ ("replay" | "forget"), _, name, which] => {
            TopicOp::Letters { name, offset: which.parse().ok(), replay: how == "replay" }
        }
        ["delivered", number, generation, below, ref results @ ..] => {
            for result in results {
                push_result(result, &mut a, &mut b);
            }
            let (subscription, generation) = (number.parse().unwrap(), generation.parse().unwrap());
            let (done, missed) = (Offsets::new(&a), Misses::new(&b));
            Report { subscription, generation, below: below.parse().unwrap(), done, missed }.push(&mut c);
            TopicOp::Delivered(Reports::new(&c))
        }
        _ => panic!("what is {words:?}?"),
    };
    Op::Topic(op).encode(out);
}

fn push_result(result: &str, done: &mut Vec<u8>, missed: &mut Vec<u8>) {
    let (what, of) = result.split_once('=').unwrap();
    let (offset, key) = of.split_once(':').unwrap_or((of, ""));
    let offset = offset.parse().unwrap();
    let why = match what {
        "done" => return Offsets::push(done, offset),
        "failed" => MissedBecause::Failed,
        "behind" => MissedBecause::Behind,
        "gone" => MissedBecause::Gone,
        _ => panic!("what is {what}?"),
    };
    Miss { offset, key, why, status: 500, retry_after_ms: 0, evidence: "seen" }.push(missed);
}

/// A record about topics, for people.
pub(crate) fn describe(record: &TopicRecord<'_>) -> String {
    match *record {
        TopicRecord::Published { topic, message } => format!("{} {:?} in {topic}", message.kind, message.key),
        TopicRecord::PublishedAll { topic, first, count } => format!("{count} from #{first} in {topic}"),
        TopicRecord::Subscribed { name, number, generation, next, settings } => {
            let topics: Vec<&str> = settings.topics.iter().collect();
            format!("{name} is #{number}.{generation} of {} from {next}", topics.join(","))
        }
        other => format!("{other:?}"),
    }
}

impl World {
    fn todo(&self, number: u64, from: u64) -> String {
        let Some(todo) = self.machine.next_deliveries(&self.archive, number, from, 9).unwrap() else {
            return "none".into();
        };
        let list = |deliveries: &[Delivery]| {
            let shown = deliveries.iter().map(|delivery| {
                let behind = if delivery.is_behind { " behind" } else { "" };
                format!("{}:{}{behind} after {}", delivery.event.offset, delivery.event.key, delivery.attempts)
            });
            shown.collect::<Vec<_>>().join(", ")
        };
        format!(
            "ready [{}] fresh [{}] scanned {} next {}",
            list(&todo.ready),
            list(&todo.fresh),
            todo.scanned,
            todo.next
        )
    }

    fn page(&self, topic: &str, from: u64, limit: usize) -> String {
        let Some(page) = self.machine.topic_page(&self.archive, topic, from, limit).unwrap() else {
            return "no such topic".into();
        };
        let events = page.events.iter().map(|event| self.kind_at(event.offset)).collect::<Vec<_>>();
        format!("{} next {}{}", events.join(", "), page.next, if page.is_end { " end" } else { "" })
    }

    fn kind_at(&self, offset: u64) -> String {
        self.record(offset, |record| format!("{offset} {}", Envelope::of(record).unwrap().kind))
    }

    fn status(&self, name: &str) -> String {
        let Some(view) = self.machine.subscription(name) else { return "none".into() };
        let letters: Vec<_> = self.machine.dead_letters(name, 0, 9).unwrap();
        format!(
            "next {} parked {} dead {letters:?} delivered {} forgotten {} rests {:?} failing {}",
            view.next,
            view.parked,
            view.delivered,
            view.forgotten,
            view.rests,
            view.failing_since.is_some()
        )
    }

    /// Says also what the state answers to questions.
    fn ask(&mut self, lines: &str) -> String {
        let mut said = String::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let answer = match words[..] {
                ["page", topic, from, limit] => self.page(topic, from.parse().unwrap(), limit.parse().unwrap()),
                ["todo", number, from] => self.todo(number.parse().unwrap(), from.parse().unwrap()),
                ["status", name] => self.status(name),
                ["fetch", name, from, limit] => {
                    let (from, limit) = (from.parse().unwrap(), limit.parse().unwrap());
                    let page = self.machine.fetch(&self.archive, name, from, limit).unwrap().unwrap();
                    let offsets: Vec<u64> = page.events.iter().map(|event| event.offset).collect();
                    format!("{offsets:?} next {}", page.next)
                }
                _ => self.line(line),
            };
            self.assert_sound();
            said += &format!("{line}: {answer}\n");
        }
        said
    }
}

#[track_caller]
fn check_asked(lines: &str, expected: expect_test::Expect) {
    expected.assert_eq(&World::new(1).ask(lines));
}
