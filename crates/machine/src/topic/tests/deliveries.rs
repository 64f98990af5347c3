//! What is delivered, what is tried again, and what is given up.

use expect_test::expect;

use super::*;

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
