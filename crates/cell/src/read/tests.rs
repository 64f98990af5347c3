use std::sync::Arc;

use machine::{Finding, Op, Order};
use words::Stamp;

use super::*;
use crate::api::Reply;
use crate::history::HistoryPage;
use crate::options::Options;
use crate::testing::{Counting, World, call, command, found, order, publish, small, tried};
use crate::topics::{TopicFound, TopicQuery};

const MIB: usize = 1 << 20;

fn history(world: &mut World, before: Option<u64>, to: Option<Stamp>) -> HistoryPage {
    let query = Query::History { id: "a".to_owned(), before, from: None, to, limit: 10 };
    match found(world.read(query, Level::Eventual)) {
        Found::History(history) => history.finish().expect("the segments are whole"),
        other => panic!("{other:?}"),
    }
}

fn operation(key: &str, wait_until_us: Option<u64>) -> Query {
    Query::Operation { principal: String::new(), key: key.to_owned(), wait_until_us }
}

fn events(topic: &str, from: u64, wait_until_us: Option<u64>) -> Query {
    Query::Topics(TopicQuery::Events { topic: topic.to_owned(), from, limit: 100, wait_until_us })
}

fn with_accounts(options: Options) -> World {
    let mut world = World::new(options);
    world.open_account("a", "");
    world.open_account("b", "");
    world
}

#[test]
fn what_was_before_an_account_is_found_without_its_history() {
    let disk = Counting::default();
    let options = Options { memtable_records_max: 500, segment_bytes: 4 << 20, ..small() };
    let mut world = World::start(&(Arc::new(disk.clone()) as _), options, 0).expect("an empty disk");
    world.open_account("x", "");
    world.open_account("y", "");
    let early = world.transfers("early", "x", "y", 10);
    let early_stamp = world.cell.machine().stamp();
    world.open_account("a", "");
    world.open_account("b", "");
    let opened = world.cell.machine().position();
    for batch in 0..20 {
        world.transfers(&format!("t{batch}"), "a", "b", 1_000);
        while world.keep_house().expect("room") {}
    }
    assert!(world.cell.archive().sealed_upto() > 20_000, "the history is on the disk");
    let reads_of = |world: &mut World, level, to: Option<Stamp>| {
        let before = disk.reads();
        let found = match to {
            None => world.read(Query::Account { id: "a".to_owned() }, level).found.map(|_| ()),
            Some(_) => {
                let page = history(world, None, to);
                assert_eq!((page.records.parts().len(), page.next), (0, None));
                Ok(())
            }
        };
        (found, disk.reads() - before)
    };
    // A bisection over 20,000 records and the account's index, not the 20,000 records.
    for (level, to, expected) in [
        (Level::At(early), None, Err(ReadError::AccountNotFound)),
        (Level::At(opened), None, Ok(())),
        (Level::Eventual, Some(Stamp::ZERO), Ok(())),
        (Level::Eventual, Some(early_stamp), Ok(())),
    ] {
        let (found, reads) = reads_of(&mut world, level, to);
        assert_eq!(found, expected, "{level:?} {to:?}");
        assert!(reads <= 120, "{reads} reads: {level:?} {to:?}");
    }
}

#[test]
fn a_read_is_answered_when_what_it_waits_for_comes() {
    let mut world = with_accounts(Options::default());
    let until = Some(u64::MAX);
    world.submit(command("k", &call(b"")));
    let behind = world.wait(operation("k", until), Level::Eventual);
    world.turn();
    let accepted = world.cell.machine().next_ordinal() - 1;
    world.write(publish("p0", "orders", ""));
    let event = world.wait(events("orders", accepted + 2, until), Level::Eventual);
    let applied = world.cell.machine().position();
    let next = Position { index: applied.index + 1, ..applied };
    let session = world.wait(Query::Account { id: "a".to_owned() }, Level::Session(next));
    assert_eq!(world.woken().expect("no fault"), [], "the call is accepted, and not ended");
    world.transfers("t", "a", "b", 3);
    assert_eq!(world.woken().expect("no fault"), [session]);
    world.write(publish("p1", "others", ""));
    assert_eq!(world.woken().expect("no fault"), []);
    world.write(publish("p2", "orders", ""));
    assert_eq!(world.woken().expect("no fault"), [event]);
    world.write(tried(accepted, Finding::Committed));
    assert_eq!(world.woken().expect("no fault"), [behind]);
    assert!(!world.cell.has_waiting_reads());
}

#[test]
fn a_read_is_answered_when_its_time_is_over_or_the_cell_stops() {
    let mut world = with_accounts(Options::default());
    let offset = world.cell.machine().next_ordinal();
    world.write(publish("p0", "orders", ""));
    let late = world.wait(events("orders", offset + 1, Some(world.mono_us + 500)), Level::Eventual);
    let far = Position { epoch: 1, index: 1_000 };
    let later = world.wait(Query::Account { id: "a".to_owned() }, Level::Session(far));
    assert_eq!(world.cell.reads_due_in_us(world.now()), Some(500));
    world.mono_us += 499;
    assert_eq!(world.woken().expect("no fault"), []);
    world.mono_us += 1;
    assert_eq!(world.woken().expect("no fault"), [late]);
    world.mono_us += 10_000_000;
    assert_eq!(world.woken().expect("no fault"), [later]);
    let stopped = world.wait(Query::Account { id: "a".to_owned() }, Level::Session(far));
    world.cell.stop();
    assert_eq!(world.woken().expect("no fault"), [stopped]);
}

#[test]
fn an_operation_that_was_accepted_came_in_when_it_was_accepted() {
    let mut world = with_accounts(Options::default());
    let received = |world: &mut World| match found(world.read(operation("k", None), Level::Eventual)) {
        Found::Operation(operation) => (operation.received_at, operation.answer.is_pending().expect("a record")),
        other => panic!("{other:?}"),
    };
    let asked = world.cell.clock.peek(world.now());
    let call = world.accept(command("k", &call(b"")));
    let (accepted, is_pending) = received(&mut world);
    assert!(is_pending && accepted.micros().abs_diff(asked.micros()) <= 1_000, "{accepted} and {asked}");
    world.mono_us += 5_000_000;
    world.write(tried(call, Finding::Committed));
    assert_eq!(received(&mut world), (accepted, false));
}

/// Follows a list that has three things of 2 MiB: two are a page.
#[track_caller]
fn check_pages(mut page: impl FnMut(Option<u64>) -> (usize, Option<u64>)) {
    let (first, next) = page(None);
    assert_eq!(first, 2);
    assert!(next.is_some());
    assert_eq!(page(next), (1, None));
}

#[test]
fn pages_end_with_their_bytes() {
    let options = Options { segment_bytes: 16 << 20, ..Options::default() };
    let mut world = World::new(options);
    let large = format!("\"{}\"", "x".repeat(MIB));
    for id in ["a", "b", "c"] {
        world.open_account(id, &large);
    }
    check_pages(|next| {
        let query = Query::Accounts { from_slot: next.unwrap_or(0), limit: 100, unit: None };
        match found(world.read(query, Level::Eventual)) {
            Found::Accounts { items, next } => (items.len(), next),
            other => panic!("{other:?}"),
        }
    });
    for key in ["t1", "t2", "t3"] {
        let op = Op::Transfer(Order { metadata: &large, ..order("a", "b") });
        world.write(command(key, &op));
    }
    // The opening is the fourth, and has as many bytes.
    let first = history(&mut world, None, None);
    let second = history(&mut world, first.next, None);
    assert_eq!((first.records.parts().len(), second.records.parts().len(), second.next), (2, 2, None));

    for key in ["c1", "c2", "c3"] {
        let call = world.accept(command(key, &call(large.as_bytes())));
        world.write(tried(call, Finding::Uncertain));
    }
    let mut after = (Stamp::ZERO, 0);
    check_pages(|_| match found(world.read(Query::Uncertain { after, limit: 100 }, Level::Eventual)) {
        Found::Uncertain { calls, next } => {
            after = next.unwrap_or(after);
            (calls.len(), next.map(|(_, call)| call))
        }
        other => panic!("{other:?}"),
    });
    let exact = world.read(Query::Uncertain { after: (Stamp::ZERO, 0), limit: 2 }, Level::Eventual);
    assert!(matches!(found(exact), Found::Uncertain { calls, next: Some(_) } if calls.len() == 2));

    for key in ["p1", "p2", "p3"] {
        world.write(publish(key, "orders", &large));
    }
    let mut from = 0;
    for expected in [2, 1, 0] {
        match found(world.read(events("orders", from, None), Level::Eventual)) {
            Found::Topics(TopicFound::Events(page)) => {
                assert_eq!(page.events.len(), expected);
                from = page.next;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_page_of_history_passes_over_a_bounded_number_of_records() {
    let mut world = with_accounts(Options::default());
    let early = world.cell.machine().stamp();
    for batch in 0..3 {
        world.transfers(&format!("t{batch}"), "a", "b", 1_000);
    }
    let head = world.cell.machine().account("a").expect("it is open").head;
    let (mut at, mut pages, mut records) = (Some(head), 0, 0);
    while at.is_some() {
        // As where another account shares the name's hash: begun far too late.
        let walk = Walk::new("a", at, None..Some(early), 10);
        let page = History::start(walk, world.cell.archive()).expect("no fault").finish().expect("no fault");
        (at, pages) = (page.next, pages + 1);
        records += page.records.parts().len();
    }
    assert_eq!((pages, records), (3, 1), "3,000 records are passed over to find the opening");
}

#[test]
fn those_who_wait_for_one_key_are_bounded() {
    let mut world = with_accounts(Options { joined_max: 2, pending_waiters_max: 1, ..Options::default() });
    let transfer = || command("k", &Op::Transfer(order("a", "b")));
    let (first, second, third, fourth) =
        (world.submit(transfer()), world.submit(transfer()), world.submit(transfer()), world.submit(transfer()));
    let other = world.submit(command("k", &Op::Transfer(order("b", "a"))));
    let answers: Vec<_> = world.cell.take_replies().collect();
    let overloaded = Reply::Rejected(crate::api::Rejected::Overloaded { retry_after_ms: 100 });
    assert_eq!(answers, [(fourth, Reply::Uncertain), (other, overloaded)], "of the same request nobody knows yet");
    world.turn();
    let answered: Vec<_> =
        world.cell.take_replies().map(|(who, reply)| (who, matches!(reply, Reply::Decided(_)))).collect();
    assert_eq!(answered, [(second, true), (third, true), (first, true)]);

    let accepted = world.accept(command("c", &call(b"")));
    assert_eq!(world.cell.take_replies().count(), 0, "it is accepted, and waited for");
    let again = world.submit(command("c", &call(b"")));
    let answers: Vec<_> = world.cell.take_replies().collect();
    assert!(matches!(answers[..], [(who, Reply::Pending { .. })] if who == again), "{answers:?}");
    world.submit(tried(accepted, Finding::Committed));
    world.turn();
    assert_eq!(world.cell.take_replies().count(), 2, "the one who waited, and the report");
    // There is room again.
    world.accept(command("d", &call(b"")));
    assert_eq!(world.cell.take_replies().count(), 0);
}
