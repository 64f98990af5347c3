//! Many at once with one key: one of them does the work, and all have its answer.

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use inbox_sql::{Answer, Arrival, Fingerprint};

use super::{Command, Hand, key};

const CROWD: usize = 32;

pub(crate) fn one_key_is_run_once<H: Hand>(hand: H) {
    let ready = Arc::new(Barrier::new(CROWD));
    let crowd: Vec<_> = (0..CROWD)
        .map(|number| {
            let (hand, ready) = (hand.clone(), ready.clone());
            std::thread::spawn(move || one(hand, &ready, number))
        })
        .collect();
    let told: Vec<String> = crowd.into_iter().map(|one| one.join().unwrap()).collect();
    let first = told.iter().find_map(|told| told.strip_prefix("first ")).expect("somebody was the first");
    let again = told.iter().filter(|told| **told == format!("again 200 {first}")).count();
    assert_eq!(again, CROWD - 1, "{told:?}");
    let (commands, replies) = session(hand);
    commands.send(Command::Effects).unwrap();
    assert_eq!(replies.recv().unwrap(), first);
}

fn one<H: Hand>(hand: H, ready: &Barrier, number: usize) -> String {
    let (commands, replies) = session(hand);
    let tell = |command| {
        commands.send(command).unwrap();
        replies.recv().unwrap()
    };
    // Whoever connects late would find all done: nobody begins before all are connected.
    tell(Command::Effects);
    ready.wait();
    let arrival = Arrival::new(key("k"), Fingerprint::of(b"x"));
    assert_eq!(tell(Command::Begin(Duration::from_secs(60))), "ok");
    let told = tell(Command::Enter(arrival));
    if told != "first" {
        assert_eq!(tell(Command::Commit), "ok");
        return told;
    }
    let name = format!("by-{number}");
    for command in [Command::Effect(name.clone()), Command::Finish(Answer::new(200, name.clone())), Command::Commit] {
        assert_eq!(tell(command), "ok");
    }
    format!("first {name}")
}

fn session<H: Hand>(hand: H) -> (std::sync::mpsc::Sender<Command>, std::sync::mpsc::Receiver<String>) {
    let ((commands, theirs), (their_replies, replies)) = (channel(), channel());
    std::thread::spawn(move || hand.serve(theirs, their_replies));
    (commands, replies)
}
