//! ```text
//! publish KEY TOPIC TYPE[:KEY] ...     keep KEY TOPIC MS BYTES|none
//! subscribe KEY NAME TOPIC,... URL|pull [from=beginning|now|N] [type=PREFIX] [paused] [pause_after=MS]
//! unsubscribe KEY NAME                 ack KEY NAME OFFSET
//! replay|forget KEY NAME all|OFFSET
//! delivered N GENERATION BELOW [done=OFFSET] [failed|behind|gone=OFFSET[:KEY]] ...
//! page TOPIC FROM LIMIT                todo N FROM                          fetch NAME FROM LIMIT       status NAME
//! ```

mod model;

use expect_test::expect;

use super::*;
use crate::testing::World;
use crate::{Body, Op, Record, Verdict};

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

#[test]
fn publishing() {
    check_asked(
        "publish k1 orders made:a
         publish k2 orders made:a paid:b sent
         publish k2 orders made:a paid:b sent
         publish k2 orders made:a
         publish k3 ledger made
         publish k4 tertium.orders made
         page orders 0 9
         page orders 2 2
         page orders 5 2
         page nothing 0 9
         page tertium.escalations 0 9",
        expect![[r#"
            publish k1 orders made:a: #1 1 from #0 in orders
            publish k2 orders made:a paid:b sent: #5 3 from #2 in orders
            publish k2 orders made:a paid:b sent: again #5 3 from #2 in orders
            publish k2 orders made:a: refused KeyReused k2, not remembered
            publish k3 ledger made: #6 refused TopicReserved ledger had 0 wanted 0
            publish k4 tertium.orders made: #7 refused TopicReserved tertium.orders had 0 wanted 0
            page orders 0 9: 0 made, 2 made, 3 paid, 4 sent next 8 end
            page orders 2 2: 2 made, 3 paid next 4
            page orders 5 2:  next 8 end
            page nothing 0 9: no such topic
            page tertium.escalations 0 9:  next 8 end
        "#]],
    );
}

#[test]
fn the_ledger_is_a_topic() {
    let mut world = World::funded();
    expect![[r#"
        publish k1 orders made: #5 1 from #4 in orders
        hold h1 alice bob 5 100: #6 Held 5 alice->bob, alice 100/5 v3 <3, bob 0/0 v1 <2
        pass 200: ok
        tick: #7 Expired 5 alice->bob, alice 100/0 v4 <6, bob 0/0 v1 <2
        capture k2 h1: #8 refused HoldClosed 019b76da-a800-7000-8000-00000019c0b0 had 0 wanted 0
        page ledger 0 9: 0 tertium.account.opened, 1 tertium.account.opened, 2 tertium.account.opened, 3 tertium.transfer.posted, 6 tertium.transfer.held, 7 tertium.transfer.expired next 9 end
        page ledger 3 2: 3 tertium.transfer.posted, 6 tertium.transfer.held next 7
        subscribe s1 push ledger http://r from=3 type=tertium.transfer.h type=tertium.transfer.e: #9 push is #9.1 of ledger from 3 | Deliver { subscription: 9 }
        todo 9 0: ready [] fresh [6:alice after 0, 7:alice after 0] scanned 10 next 3
        transfer k3 alice bob 1: #10 Posted 1 alice->bob, alice 99/0 v5 <7, bob 1/0 v2 <2 | Deliver { subscription: 9 }
        hold h2 alice bob 2 100: #11 Held 2 alice->bob, alice 99/2 v6 <10, bob 1/0 v2 <10 | Deliver { subscription: 9 }
        todo 9 0: ready [] fresh [6:alice after 0, 7:alice after 0, 11:alice after 0] scanned 12 next 3
    "#]].assert_eq(&world.ask(
        "publish k1 orders made
         hold h1 alice bob 5 100
         pass 200
         tick
         capture k2 h1
         page ledger 0 9
         page ledger 3 2
         subscribe s1 push ledger http://r from=3 type=tertium.transfer.h type=tertium.transfer.e
         todo 9 0
         transfer k3 alice bob 1
         hold h2 alice bob 2 100
         todo 9 0",
    ));
}

#[test]
fn deliveries_and_the_cursor() {
    check_asked(
        "subscribe s1 push orders,bills http://r
         publish k1 orders a b c
         publish k2 bills d
         publish k3 other e
         todo 0 0
         todo 0 3
         delivered 0 1 1 done=2 done=5
         todo 0 0
         status push
         delivered 0 1 8 done=1 done=3
         todo 0 0
         status push
         delivered 0 1 3
         status push
         delivered 0 9 99 done=9
         delivered 7 1 99 done=9
         delivered 0 1 99
         status push",
        expect![[r#"
            subscribe s1 push orders,bills http://r: #0 push is #0.1 of orders,bills from 0 | Deliver { subscription: 0 }
            publish k1 orders a b c: #4 3 from #1 in orders | Deliver { subscription: 0 }
            publish k2 bills d: #6 1 from #5 in bills | Deliver { subscription: 0 }
            publish k3 other e: #8 1 from #7 in other
            todo 0 0: ready [] fresh [1: after 0, 2: after 0, 3: after 0, 5: after 0] scanned 9 next 0
            todo 0 3: ready [] fresh [3: after 0, 5: after 0] scanned 9 next 0
            delivered 0 1 1 done=2 done=5: noted | Deliver { subscription: 0 }
            todo 0 0: ready [] fresh [1: after 0, 3: after 0] scanned 9 next 1
            status push: next 1 parked 0 dead [] delivered 2 forgotten 0 rests None failing false
            delivered 0 1 8 done=1 done=3: noted | Deliver { subscription: 0 }
            todo 0 0: ready [] fresh [] scanned 9 next 8
            status push: next 8 parked 0 dead [] delivered 4 forgotten 0 rests None failing false
            delivered 0 1 3: noted | Deliver { subscription: 0 }
            status push: next 8 parked 0 dead [] delivered 4 forgotten 0 rests None failing false
            delivered 0 9 99 done=9: ignored
            delivered 7 1 99 done=9: ignored
            delivered 0 1 99: noted | Deliver { subscription: 0 }
            status push: next 9 parked 0 dead [] delivered 4 forgotten 0 rests None failing false
        "#]],
    );
}

#[test]
fn one_key_is_blocked_and_no_other() {
    check_asked(
        "subscribe s1 push orders http://r
         publish k1 orders t:a t:b t:a t:b t
         delivered 0 1 6 failed=1:a done=2 behind=3:a done=4 done=5
         todo 0 0
         publish k2 orders t:a t:c
         todo 0 6
         delivered 0 1 9 behind=7:a done=8
         pass 5000
         tick
         todo 0 0
         delivered 0 1 9 done=1
         todo 0 0
         delivered 0 1 9 done=3
         delivered 0 1 9 done=7
         todo 0 0
         status push",
        expect![[r#"
            subscribe s1 push orders http://r: #0 push is #0.1 of orders from 0 | Deliver { subscription: 0 }
            publish k1 orders t:a t:b t:a t:b t: #6 5 from #1 in orders | Deliver { subscription: 0 }
            delivered 0 1 6 failed=1:a done=2 behind=3:a done=4 done=5: noted | Deliver { subscription: 0 }
            todo 0 0: ready [] fresh [] scanned 7 next 6
            publish k2 orders t:a t:c: #9 2 from #7 in orders | Deliver { subscription: 0 }
            todo 0 6: ready [] fresh [7:a behind after 0, 8:c after 0] scanned 10 next 6
            delivered 0 1 9 behind=7:a done=8: noted | Deliver { subscription: 0 }
            pass 5000: ok
            tick: Deliver { subscription: 0 }
            todo 0 0: ready [1:a after 1] fresh [] scanned 10 next 9
            delivered 0 1 9 done=1: noted | Deliver { subscription: 0 }
            todo 0 0: ready [3:a after 0] fresh [] scanned 10 next 9
            delivered 0 1 9 done=3: noted | Deliver { subscription: 0 }
            delivered 0 1 9 done=7: noted | Deliver { subscription: 0 }
            todo 0 0: ready [] fresh [] scanned 10 next 9
            status push: next 9 parked 0 dead [] delivered 7 forgotten 0 rests None failing false
        "#]],
    );
}

#[test]
fn what_fails_for_a_day_becomes_a_dead_letter() {
    let mut world = World::new(1);
    world.ask(
        "subscribe s1 push orders http://r pause_after=2592000000
         publish k1 orders t:a t:a t:b",
    );
    world.ask("delivered 0 1 4 failed=1:a behind=2:a done=3");
    let mut waits_s = Vec::new();
    let mut said = String::new();
    for _ in 0..8 {
        assert_eq!(world.todo(0, 0), "ready [] fresh [] scanned 5 next 4");
        let due = world.machine.next_timer().unwrap();
        waits_s.push((due.millis() - world.stamp.millis()) / 1_000);
        world.line(&format!("pass {}", due.millis() - world.stamp.millis() + 1));
        said = world.ask("tick\ndelivered 0 1 4 failed=1:a");
    }
    assert!(
        waits_s.iter().zip([5, 60, 300, 1_800, 7_200, 18_000, 36_000, 36_000]).all(|(w, m)| (m / 2..=m).contains(w))
    );
    expect![[r#"
        tick: Deliver { subscription: 0 }
        delivered 0 1 4 failed=1:a: noted | Deliver { subscription: 0 }
    "#]]
    .assert_eq(&said);
    expect![[r#"
        todo 0 0: ready [2:a after 0] fresh [] scanned 6 next 4
        status push: next 4 parked 1 dead [(1, 5)] delivered 1 forgotten 0 rests None failing true
        delivered 0 1 4 done=2: noted | Deliver { subscription: 0 }
        replay r1 push 2: #6 refused DeadLetterNotFound push had 0 wanted 2
        replay r2 push 1: #7 LettersMoved { name: "push", count: 1, replay: true } | Deliver { subscription: 0 }
        replay r2 push 1: again #7 LettersMoved { name: "push", count: 1, replay: true }
        todo 0 0: ready [1:a after 0] fresh [] scanned 8 next 4
        status push: next 4 parked 1 dead [] delivered 2 forgotten 0 rests None failing false
        delivered 0 1 4 done=1: noted | Deliver { subscription: 0 }
        status push: next 4 parked 0 dead [] delivered 3 forgotten 0 rests None failing false
        replay r3 push all: #8 LettersMoved { name: "push", count: 0, replay: true } | Deliver { subscription: 0 }
    "#]]
    .assert_eq(&world.ask(
        "todo 0 0
         status push
         delivered 0 1 4 done=2
         replay r1 push 2
         replay r2 push 1
         replay r2 push 1
         todo 0 0
         status push
         delivered 0 1 4 done=1
         status push
         replay r3 push all",
    ));
}

#[test]
fn dead_letters_can_be_forgotten() {
    let mut world = World::new(1);
    world.ask("subscribe s1 push orders http://r pause_after=2592000000\npublish k1 orders t:a t");
    for _ in 0..9 {
        world.ask("delivered 0 1 3 failed=1:a failed=2\npass 40000000\ntick");
    }
    expect![[r#"
        status push: next 3 parked 0 dead [(1, 4), (2, 5)] delivered 0 forgotten 0 rests None failing false
        forget f1 push 1: #6 LettersMoved { name: "push", count: 1, replay: false } | Deliver { subscription: 0 }
        status push: next 3 parked 0 dead [(2, 5)] delivered 0 forgotten 0 rests None failing false
        forget f2 push all: #7 LettersMoved { name: "push", count: 1, replay: false } | Deliver { subscription: 0 }
        status push: next 3 parked 0 dead [] delivered 0 forgotten 0 rests None failing false
        todo 0 0: ready [] fresh [] scanned 8 next 3
    "#]]
    .assert_eq(&world.ask("status push\nforget f1 push 1\nstatus push\nforget f2 push all\nstatus push\ntodo 0 0"));
}

#[test]
fn what_fails_for_long_is_paused() {
    check_asked(
        "subscribe s1 push orders http://r pause_after=60000
         publish k1 orders t:a t:b
         delivered 0 1 3 failed=1:a failed=2:b
         pass 59000
         tick
         delivered 0 1 3 failed=1:a
         status push
         pass 2000
         delivered 0 1 3 failed=2:b
         status push
         todo 0 0
         page tertium.escalations 0 9
         pass 400000
         tick
         todo 0 0
         subscribe s2 push orders http://r2
         todo 0 0
         delivered 0 1 3 done=1
         tick
         todo 0 0
         delivered 0 2 3 gone=1:a
         status push",
        expect![[r#"
            subscribe s1 push orders http://r pause_after=60000: #0 push is #0.1 of orders from 0 | Deliver { subscription: 0 }
            publish k1 orders t:a t:b: #3 2 from #1 in orders | Deliver { subscription: 0 }
            delivered 0 1 3 failed=1:a failed=2:b: noted | Deliver { subscription: 0 }
            pass 59000: ok
            tick: Deliver { subscription: 0 }
            delivered 0 1 3 failed=1:a: noted | Deliver { subscription: 0 }
            status push: next 3 parked 2 dead [] delivered 0 forgotten 0 rests None failing true
            pass 2000: ok
            delivered 0 1 3 failed=2:b: noted
            status push: next 3 parked 2 dead [] delivered 0 forgotten 0 rests Some(Failing) failing true
            todo 0 0: none
            page tertium.escalations 0 9: 4 tertium.subscription.paused next 5 end
            pass 400000: ok
            tick: 
            todo 0 0: none
            subscribe s2 push orders http://r2: #5 push is #0.2 of orders from 3 | Deliver { subscription: 0 }
            todo 0 0: ready [] fresh [] scanned 6 next 3
            delivered 0 1 3 done=1: ignored | Deliver { subscription: 0 }
            tick: 
            todo 0 0: ready [1:a after 2, 2:b after 2] fresh [] scanned 6 next 3
            delivered 0 2 3 gone=1:a: noted
            status push: next 3 parked 2 dead [] delivered 0 forgotten 0 rests Some(Gone) failing false
        "#]],
    );
}

#[test]
fn a_success_ends_the_failing() {
    check_asked(
        "subscribe s1 push orders http://r pause_after=60000
         publish k1 orders t:a t:b
         delivered 0 1 3 failed=1:a
         pass 59000
         delivered 0 1 3 done=2
         pass 59000
         delivered 0 1 3 failed=1:a
         status push",
        expect![[r#"
            subscribe s1 push orders http://r pause_after=60000: #0 push is #0.1 of orders from 0 | Deliver { subscription: 0 }
            publish k1 orders t:a t:b: #3 2 from #1 in orders | Deliver { subscription: 0 }
            delivered 0 1 3 failed=1:a: noted | Deliver { subscription: 0 }
            pass 59000: ok
            delivered 0 1 3 done=2: noted | Deliver { subscription: 0 }
            pass 59000: ok
            delivered 0 1 3 failed=1:a: noted | Deliver { subscription: 0 }
            status push: next 3 parked 1 dead [] delivered 0 forgotten 0 rests None failing true
        "#]],
    );
}

#[test]
fn fetching_and_acknowledging() {
    check_asked(
        "publish k1 orders a b
         subscribe s1 pull orders pull from=beginning type=a type=c
         todo 3 0
         publish k2 orders c d c
         fetch pull 0 9
         fetch pull 0 2
         fetch pull 6 2
         ack a1 pull 4
         fetch pull 0 9
         ack a2 pull 2
         ack a3 pull 99
         status pull
         publish k3 orders a
         fetch pull 0 9
         ack a4 nobody 3
         unsubscribe u1 pull
         unsubscribe u1 pull
         unsubscribe u2 pull
         status pull",
        expect![[r#"
            publish k1 orders a b: #2 2 from #0 in orders
            subscribe s1 pull orders pull from=beginning type=a type=c: #3 pull is #3.1 of orders from 0
            todo 3 0: none
            publish k2 orders c d c: #7 3 from #4 in orders
            fetch pull 0 9: [0, 4, 6] next 8
            fetch pull 0 2: [0, 4] next 5
            fetch pull 6 2: [6] next 8
            ack a1 pull 4: #8 Acknowledged { name: "pull", next: 5 }
            fetch pull 0 9: [6] next 9
            ack a2 pull 2: #9 Acknowledged { name: "pull", next: 5 }
            ack a3 pull 99: #10 Acknowledged { name: "pull", next: 10 }
            status pull: next 10 parked 0 dead [] delivered 0 forgotten 0 rests None failing false
            publish k3 orders a: #12 1 from #11 in orders
            fetch pull 0 9: [11] next 13
            ack a4 nobody 3: #13 refused SubscriptionNotFound nobody had 0 wanted 0
            unsubscribe u1 pull: #14 Unsubscribed { name: "pull", number: 3 }
            unsubscribe u1 pull: again #14 Unsubscribed { name: "pull", number: 3 }
            unsubscribe u2 pull: #15 refused SubscriptionNotFound pull had 0 wanted 0
            status pull: none
        "#]],
    );
}

#[test]
fn settings_change_and_the_place_stays() {
    check_asked(
        "subscribe s1 push orders http://r
         publish k1 orders a b c
         delivered 0 1 2 done=1 failed=2:k
         subscribe s2 push orders,bills http://r2
         todo 0 0
         subscribe s3 push orders http://r from=beginning
         todo 0 0
         subscribe s4 push orders http://r from=3
         todo 0 0
         subscribe s5 push orders http://r from=now
         todo 0 0
         subscribe s6 push orders http://r paused
         publish k2 orders d
         todo 0 0
         status push
         claim 2
         subscribe s7 push orders http://r
         todo 0 0
         claim 3",
        expect![[r#"
            subscribe s1 push orders http://r: #0 push is #0.1 of orders from 0 | Deliver { subscription: 0 }
            publish k1 orders a b c: #4 3 from #1 in orders | Deliver { subscription: 0 }
            delivered 0 1 2 done=1 failed=2:k: noted | Deliver { subscription: 0 }
            subscribe s2 push orders,bills http://r2: #5 push is #0.2 of orders,bills from 2 | Deliver { subscription: 0 }
            todo 0 0: ready [] fresh [3: after 0] scanned 6 next 2
            subscribe s3 push orders http://r from=beginning: #6 push is #0.3 of orders from 0 | Deliver { subscription: 0 }
            todo 0 0: ready [] fresh [1: after 0, 2: after 0, 3: after 0] scanned 7 next 0
            subscribe s4 push orders http://r from=3: #7 push is #0.4 of orders from 3 | Deliver { subscription: 0 }
            todo 0 0: ready [] fresh [3: after 0] scanned 8 next 3
            subscribe s5 push orders http://r from=now: #8 push is #0.5 of orders from 8 | Deliver { subscription: 0 }
            todo 0 0: ready [] fresh [] scanned 9 next 8
            subscribe s6 push orders http://r paused: #9 push is #0.6 of orders from 8
            publish k2 orders d: #11 1 from #10 in orders
            todo 0 0: none
            status push: next 8 parked 0 dead [] delivered 1 forgotten 0 rests Some(Asked) failing false
            claim 2: #12 Claimed { node: "n" }
            subscribe s7 push orders http://r: fenced by epoch 2
            todo 0 0: none
            claim 3: fenced by epoch 2
        "#]],
    );
}

#[test]
fn topics_forget() {
    check_asked(
        "keep r1 orders 60000 none
         subscribe s1 push orders http://r
         publish k1 orders a b c
         delivered 1 1 2 done=3
         pass 30000
         publish k2 orders d
         pass 59000
         tick
         page orders 0 9
         pass 2000
         tick
         page orders 0 9
         todo 1 0
         status push
         publish k3 orders e
         page orders 0 9
         keep r2 ledger 60000 none
         keep r3 tertium.other 60000 none",
        expect![[r#"
            keep r1 orders 60000 none: #0 Kept { topic: "orders", retention: TopicRetention { ms: 60000, bytes_max: None } }
            subscribe s1 push orders http://r: #1 push is #1.1 of orders from 1 | Deliver { subscription: 1 }
            publish k1 orders a b c: #5 3 from #2 in orders | Deliver { subscription: 1 }
            delivered 1 1 2 done=3: noted | Deliver { subscription: 1 }
            pass 30000: ok
            publish k2 orders d: #7 1 from #6 in orders | Deliver { subscription: 1 }
            pass 59000: ok
            tick: 
            page orders 0 9: 2 a, 3 b, 4 c, 6 d next 8 end
            pass 2000: ok
            tick: 
            page orders 0 9:  next 8 end
            todo 1 0: ready [] fresh [] scanned 8 next 2
            status push: next 2 parked 0 dead [] delivered 1 forgotten 3 rests None failing false
            publish k3 orders e: #9 1 from #8 in orders | Deliver { subscription: 1 }
            page orders 0 9: 8 e next 10 end
            keep r2 ledger 60000 none: #10 refused TopicReserved ledger had 0 wanted 0
            keep r3 tertium.other 60000 none: #11 refused TopicReserved tertium.other had 0 wanted 0
        "#]],
    );
}

#[test]
fn an_escalated_call_is_an_event() {
    check_asked(
        "subscribe s1 push tertium.escalations http://r
         call c1 escalate
         tried 1 1 uncertain
         todo 0 0
         call c2 resend escalate
         tried 3 1 uncertain
         pass 60000
         tick
         page tertium.escalations 0 9",
        expect![[r#"
            subscribe s1 push tertium.escalations http://r: #0 push is #0.1 of tertium.escalations from 0 | Deliver { subscription: 0 }
            call c1 escalate: pending #1 | Try { call: 1, attempt: 1, phase: Call, until: Stamp(7238556061696000002) }
            tried 1 1 uncertain: noted | Deliver { subscription: 0 }
            todo 0 0: ready [] fresh [2: after 0] scanned 3 next 0
            call c2 resend escalate: pending #3 | Try { call: 3, attempt: 1, phase: Call, until: Stamp(7238556061696000004) }
            tried 3 1 uncertain: noted
            pass 60000: ok
            tick: Deliver { subscription: 0 }
            page tertium.escalations 0 9: 2 tertium.call.escalated, 5 tertium.call.escalated next 6 end
        "#]],
    );
}

#[test]
fn there_is_a_most_of_everything() {
    let mut world = World::new(1);
    for n in 0..subscribe::SUBSCRIPTIONS_MAX {
        world.line(&format!("subscribe s{n} n{n} orders pull"));
    }
    expect![[r#"
        subscribe s push orders pull: #1000 refused TooMany push had 1000 wanted 1001
        unsubscribe u n7: #1001 Unsubscribed { name: "n7", number: 7 }
        subscribe t push orders pull: #1002 push is #1002.1 of orders from 1002
    "#]]
    .assert_eq(&world.ask("subscribe s push orders pull\nunsubscribe u n7\nsubscribe t push orders pull"));
    for n in 0..publish::TOPICS_MAX {
        world.line(&format!("publish p{n} t{n} a"));
    }
    expect![[r#"
        publish p orders a: #21003 refused TooMany orders had 10000 wanted 10001
        keep k orders 60000 none: #21004 refused TooMany orders had 10000 wanted 10001
        publish q t7 a: #21006 1 from #21005 in t7
    "#]]
    .assert_eq(&world.ask("publish p orders a\nkeep k orders 60000 none\npublish q t7 a"));
}

#[test]
fn records_say_what_they_were_of() {
    let mut world = World::new(1);
    world.line("publish k1 orders made:a paid:b");
    let Verdict::Decided { ordinal } = world.applied.verdicts[0] else { panic!("it is decided") };
    let (first, count) = world.record(ordinal, |record: &Record<'_>| match record.body {
        Body::Topic(TopicRecord::PublishedAll { first, count, .. }) => (first, count),
        _ => panic!("it is of a publication"),
    });
    assert_eq!((first, count, ordinal), (0, 2, 2));
}
