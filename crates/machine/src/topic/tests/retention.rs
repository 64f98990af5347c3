//! What topics forget, and how much of it in one entry.

use expect_test::expect;

use super::*;

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

/// However much topics are to forget at once, an entry takes its share and the next one goes on.
#[test]
fn an_entry_forgets_its_share() {
    const CHUNK_EVENTS: u64 = 256;
    const CHUNKS: u64 = CHUNKS_FORGOTTEN_PER_ENTRY_MAX as u64 + 6;
    let mut world = World::new(1);
    let publish = |world: &mut World, of: &str| {
        let events = "a ".repeat(CHUNK_EVENTS as usize);
        (0..CHUNKS).for_each(|n| drop(world.line(&format!("publish {of}{n} orders {events}"))));
    };
    let chunks = |world: &World| world.machine.topic("orders").unwrap().events / CHUNK_EVENTS;
    publish(&mut world, "p");
    world.line("keep k1 orders 60000 0");
    assert_eq!(chunks(&world), 6, "too large");
    assert!(world.machine.next_timer().unwrap() <= world.stamp, "the rest is due at once");
    world.line("tick");
    assert_eq!((chunks(&world), world.machine.next_timer()), (0, None));
    world.line("keep k2 orders 60000 none");
    publish(&mut world, "q");
    world.line("pass 60001");
    world.line("tick");
    assert_eq!(chunks(&world), 6, "too old");
    assert!(world.machine.next_timer().unwrap() <= world.stamp, "the rest is due at once");
    world.line("tick");
    assert_eq!((chunks(&world), world.machine.next_timer()), (0, None));
}
