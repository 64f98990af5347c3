//! Deliveries through a cell with its threads: what the outbox is told, asks and reports, over a restart.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use cell::{
    CellHandle, Found, Level, OpenLog, Options, Query, Read, Reply, Stopper, TopicFound, TopicQuery, Work, Write, start,
};
use log::{Log, LogError};
use log_file::{LogFile, LogOptions};
use machine::{
    AttemptEnd, DeliveryWindow, Message, MessagesEncoder, Op, Reports, Settings, SubscriptionView, Texts, TopicOp,
    encode_head,
};
use tertium_cell as cell;
use words::Stamp;

const SECOND_US: u64 = 1_000_000;

struct Server {
    cell: CellHandle,
    stopper: Stopper,
    work: Receiver<Work>,
}

impl Server {
    fn open(data: &Path) -> Self {
        let (sender, work) = channel();
        // Whoever waits for work may have gone.
        let outbox = Box::new(move |work| drop(sender.send(work)));
        let (cell, stopper) = start(data, Options::default(), open_log, outbox, &mut |_| {}).expect("the cell starts");
        Self { cell, stopper, work }
    }

    fn write(&self, key: &str, op: &TopicOp<'_>) {
        let mut command = Vec::new();
        encode_head(&mut command, Stamp::ZERO, "", key);
        Op::Topic(*op).encode(&mut command);
        let (reply, answer) = channel();
        let deadline_us = self.cell.now_us() + 10 * SECOND_US;
        let write = Write { command, deadline_us, waits_for_end: true };
        self.cell.write(write, move |r| reply.send(r).expect("the test waits"));
        let answer = answer.recv().expect("the cell answers");
        assert!(matches!(answer, Reply::Decided(_)), "{answer:?}");
    }

    fn read(&self, query: TopicQuery) -> TopicFound {
        let (reply, answer) = channel();
        let deadline_us = self.cell.now_us() + SECOND_US;
        let read = Read { level: Level::Linearizable, deadline_us, query: Query::Topics(query) };
        self.cell.read(read, move |r| reply.send(r).expect("the test waits"));
        match answer.recv().expect("the cell answers").found {
            Ok(Found::Topics(found)) => found,
            other => panic!("not of topics: {other:?}"),
        }
    }

    fn view(&self) -> SubscriptionView {
        match self.read(TopicQuery::Subscription { name: "mail".to_owned() }) {
            TopicFound::Subscriptions(views) => views.into_iter().next().expect("it is there"),
            other => panic!("not a subscription: {other:?}"),
        }
    }

    /// Waits until the outbox is told to look at the subscription.
    fn is_told(&self, number: u64) {
        let patience = std::time::Duration::from_secs(10);
        while self.work.recv_timeout(patience).expect("the outbox is told") != (Work::Deliver { subscription: number })
        {
        }
    }

    fn look(&self, window: &mut DeliveryWindow, subscription: u64) {
        let ask = window.ask();
        let query = TopicQuery::Deliveries { subscription, from: ask.from, limit: ask.limit };
        match self.read(query) {
            TopicFound::Deliveries(Some(deliveries)) => window.take(ask, *deliveries),
            other => panic!("nothing to deliver: {other:?}"),
        }
    }

    fn report(&self, window: &mut DeliveryWindow) {
        let mut bytes = Vec::new();
        assert!(window.report(&mut bytes), "there is something to report");
        self.write("", &TopicOp::Delivered(Reports::new(&bytes)));
        window.confirm(true);
    }
}

fn open_log(open: OpenLog) -> Result<Box<dyn Log>, LogError> {
    let OpenLog { disk, cell, verify_from, log_id, segment_bytes, keep_bytes } = open;
    let options = LogOptions { segment_bytes, verify_from, keep_bytes, ..LogOptions::new(cell, log_id) };
    LogFile::open(disk, options).map(|(log, _)| Box::new(log) as Box<dyn Log>)
}

fn subscribe(server: &Server) -> u64 {
    let mut topics = Vec::new();
    Texts::push(&mut topics, "orders");
    let settings = Settings {
        topics: Texts::new(&topics),
        prefixes: Texts::NONE,
        url: "http://receiver.example/",
        secrets: Texts::NONE,
        pause_after_ms: 60_000,
        paused: false,
    };
    server.write("subscribe", &TopicOp::Subscribe { name: "mail", settings, start: None });
    server.view().number
}

fn publish(server: &Server, key: &str, keys: &[&str]) {
    let mut messages = MessagesEncoder::default();
    for key in keys {
        messages.push(&Message { kind: "made", key, ..Message::default() });
    }
    server.write(key, &TopicOp::Publish { topic: "orders", messages: messages.messages() });
}

/// The keys of what may be sent now, with the offsets.
fn started(window: &mut DeliveryWindow) -> Vec<(u64, String)> {
    let started = std::iter::from_fn(|| window.start(true));
    started.map(|delivery| (delivery.event.offset, delivery.event.key.to_string())).collect()
}

#[test]
fn what_was_not_reported_is_delivered_again_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::open(dir.path());
    let number = subscribe(&server);
    server.is_told(number);
    publish(&server, "p1", &["a", "b", "a", "c"]);
    server.is_told(number);
    let mut window = DeliveryWindow::new(number, 16);
    server.look(&mut window, number);
    let first = started(&mut window);
    assert_eq!(
        first.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>(),
        ["a", "b", "c"],
        "one of a key at a time"
    );
    // `b` arrives and is reported; `a` arrives and nobody hears of it; `c` is under way when everything stops.
    let generation = server.view().generation;
    window.finish(generation, first[1].0, AttemptEnd::Done);
    server.report(&mut window);
    assert_eq!((server.view().delivered, server.view().next), (1, first[0].0));
    window.finish(generation, first[0].0, AttemptEnd::Done);
    server.stopper.stop();

    let server = Server::open(dir.path());
    server.is_told(number);
    let mut window = DeliveryWindow::new(number, 16);
    server.look(&mut window, number);
    assert_eq!(started(&mut window), [first[0].clone(), first[2].clone()], "what was reported is not sent again");
    for (offset, _) in [&first[0], &first[2]] {
        window.finish(generation, *offset, AttemptEnd::Done);
    }
    let last = started(&mut window);
    assert_eq!(last, [(first[0].0 + 2, "a".to_owned())]);
    window.finish(generation, last[0].0, AttemptEnd::Done);
    server.report(&mut window);
    let view = server.view();
    assert_eq!((view.delivered, view.parked, view.next > last[0].0), (4, 0, true));
    server.stopper.stop();
}
