//! Subscriptions that are fetched, changed and removed.

use expect_test::expect;

use super::*;

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
