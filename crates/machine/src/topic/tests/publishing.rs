//! What is published, by whom, and how much of it there may be.

use expect_test::expect;

use super::*;
use crate::{Body, Record, Verdict};

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
