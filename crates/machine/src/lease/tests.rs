//! Leases, told in lines.
//!
//! ```text
//! acquire KEY NAME OWNER TTL_MS [capacity=N] [wait=MS]      renew KEY NAME TOKEN TTL_MS
//! release KEY NAME TOKEN                                    lease NAME
//! ```
//!
//! Instants are milliseconds since the world began.

mod model;

use expect_test::expect;
use proptest::prelude::*;
use words::Stamp;

use super::*;
use crate::codec::Reader;
use crate::machine::Machine;
use crate::testing::{BEGIN_MS, World, cell, check};
use crate::{Code, Envelope, Record};

pub(crate) const WORDS: [&str; 3] = ["acquire", "renew", "release"];

pub(crate) fn op<'a>(words: &[&'a str]) -> LeaseOp<'a> {
    let number = |text: &str| text.parse().unwrap();
    match *words {
        ["acquire", _, name, owner, ttl_ms, ref rest @ ..] => {
            let option = |prefix| rest.iter().find_map(|word| word.strip_prefix(prefix)).map(number);
            let (capacity, wait_ms) = (option("capacity=").unwrap_or(1), option("wait="));
            LeaseOp::Acquire(Acquire { name, owner, ttl_ms: number(ttl_ms), capacity, wait_ms, metadata: "" })
        }
        ["renew", _, name, token, ttl_ms] => LeaseOp::Renew { name, token: number(token), ttl_ms: number(ttl_ms) },
        ["release", _, name, token] => LeaseOp::Release { name, token: number(token) },
        _ => panic!("what is {words:?}?"),
    }
}

fn since(stamp: Stamp) -> u64 {
    stamp.millis() - BEGIN_MS
}

pub(crate) fn describe(lease: &LeaseRecord<'_>) -> String {
    match *lease {
        LeaseRecord::Waiting { asked: Acquire { name, owner, .. }, .. } => format!("{owner} waits for {name}"),
        LeaseRecord::Granted(Granted { name, owner, token, expires, .. }) => {
            format!("{name} granted to {owner} under {token} until {}", since(expires))
        }
        LeaseRecord::GaveUp { began, name, holders, expires_in_ms } => {
            format!("#{began} gave up {name}: {holders} hold it, the first for {expires_in_ms} ms more")
        }
        LeaseRecord::Renewed { name, owner, token, expires } => {
            format!("{name} renewed by {owner} under {token} until {}", since(expires))
        }
        LeaseRecord::Released { name, owner, token } => format!("{name} released by {owner} under {token}"),
        LeaseRecord::Expired { name, owner, token } => format!("{name} of {owner} under {token} expired"),
    }
}

pub(crate) fn show(machine: &Machine, name: &str) -> String {
    let Some(LeaseView { capacity, holders, waiting, .. }) = machine.lease(name) else { return "free".to_owned() };
    let holders: Vec<String> =
        holders.iter().map(|holder| format!("{} {} {}", holder.owner, holder.token, since(holder.expires))).collect();
    format!("[{}] of {capacity}, {waiting} waiting", holders.join(", "))
}

#[test]
fn a_lease_is_granted_renewed_and_released() {
    check(
        "acquire k1 db ann 10000
         acquire k1 db ann 10000
         acquire k1 db bob 10000
         pass 9000
         renew k2 db 1 10000
         renew k3 db 2 10000
         release k4 db 1
         release k4 db 1
         release k5 db 1
         lease db",
        expect![[r#"
            acquire k1 db ann 10000: #0 db granted to ann under 1 until 10000
            acquire k1 db ann 10000: again #0 db granted to ann under 1 until 10000
            acquire k1 db bob 10000: refused KeyReused k1, not remembered
            pass 9000: ok
            renew k2 db 1 10000: #1 db renewed by ann under 1 until 19000
            renew k3 db 2 10000: #2 refused LeaseLost db had 1 wanted 2
            release k4 db 1: #3 db released by ann under 1
            release k4 db 1: again #3 db released by ann under 1
            release k5 db 1: #4 refused LeaseLost db had 0 wanted 1
            lease db: free
        "#]],
    );
}

#[test]
fn who_waits_is_granted_in_the_entry_that_makes_room() {
    check(
        "acquire k1 db ann 10000
         acquire k2 db bob 10000
         acquire k3 db ann 10000
         acquire k4 db eve 10000 wait=0
         acquire k5 db dan 10000 wait=3000
         lease db
         release k6 db 1
         acquire k2 db bob 10000
         pass 3000
         tick
         lease db
         pass 7000
         tick
         lease db
         settle k3",
        expect![[r#"
            acquire k1 db ann 10000: #0 db granted to ann under 1 until 10000
            acquire k2 db bob 10000: pending #1
            acquire k3 db ann 10000: pending #2
            acquire k4 db eve 10000 wait=0: #3 refused LeaseHeld db had 1 wanted 10000
            acquire k5 db dan 10000 wait=3000: pending #4
            lease db: [ann 1 10000] of 1, 3 waiting
            release k6 db 1: #5 db released by ann under 1 | #1 ended: #6 db granted to bob under 2 until 10000
            acquire k2 db bob 10000: again #6 db granted to bob under 2 until 10000
            pass 3000: ok
            tick: #4 ended: #7 #4 gave up db: 1 hold it, the first for 7000 ms more
            lease db: [bob 2 10000] of 1, 1 waiting
            pass 7000: ok
            tick: #2 ended: #9 db granted to ann under 3 until 20000
            lease db: [ann 3 20000] of 1, 0 waiting
            settle k3: again #9 db granted to ann under 3 until 20000
        "#]],
    );
}

#[test]
fn a_lease_is_not_held_at_the_stamp_at_which_it_expires() {
    let mut world = World::new(1);
    world.talk("acquire k1 db ann 1000");
    let due = world.machine.next_timer().expect("it expires");
    world.stamp = Stamp::from_raw(due.raw() - 2);
    let mut said = world.talk("renew k2 db 1 1000");
    assert_eq!(world.machine.stamp().raw() + 1, due.raw(), "one before it is held, and may be renewed");
    world.stamp = Stamp::from_raw(world.machine.next_timer().expect("it expires").raw() - 1);
    said += &world.talk("renew k3 db 1 1000\n lease db\n acquire k4 db bob 1000");
    expect![[r#"
        renew k2 db 1 1000: #1 db renewed by ann under 1 until 2000
        renew k3 db 1 1000: #3 refused LeaseLost db had 0 wanted 1
        lease db: free
        acquire k4 db bob 1000: #4 db granted to bob under 2 until 3000
    "#]]
    .assert_eq(&said);
}

#[test]
fn a_semaphore_has_room_for_as_many_as_its_first_user_said() {
    check(
        "acquire k1 slots a 1000 capacity=2
         acquire k2 slots b 5000 capacity=2
         acquire k3 slots c 1000 capacity=3
         acquire k4 slots c 1000 capacity=2
         lease slots
         pass 1000
         tick
         lease slots
         pass 5000
         tick
         acquire k5 slots d 1000 capacity=3
         lease slots",
        expect![[r#"
            acquire k1 slots a 1000 capacity=2: #0 slots granted to a under 1 until 1000
            acquire k2 slots b 5000 capacity=2: #1 slots granted to b under 2 until 5000
            acquire k3 slots c 1000 capacity=3: #2 refused LeaseCapacity slots had 2 wanted 3
            acquire k4 slots c 1000 capacity=2: pending #3
            lease slots: [a 1 1000, b 2 5000] of 2, 1 waiting
            pass 1000: ok
            tick: #3 ended: #5 slots granted to c under 3 until 2000
            lease slots: [b 2 5000, c 3 2000] of 2, 0 waiting
            pass 5000: ok
            tick: 
            acquire k5 slots d 1000 capacity=3: #8 slots granted to d under 4 until 7000
            lease slots: [d 4 7000] of 3, 0 waiting
        "#]],
    );
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    check(
        "acquire k1 db ann 0
         acquire k2 db ann 86400001
         acquire k3 db ann 1 capacity=0
         acquire k4 db ann 1 capacity=1001
         renew k5 db 1 0
         renew k6 db 1 1
         acquire k7 db ann 86400000",
        expect![[r#"
            acquire k1 db ann 0: #0 refused AmountInvalid ttl_ms had 0 wanted 0
            acquire k2 db ann 86400001: #1 refused AmountInvalid ttl_ms had 0 wanted 86400001
            acquire k3 db ann 1 capacity=0: #2 refused AmountInvalid capacity had 0 wanted 0
            acquire k4 db ann 1 capacity=1001: #3 refused AmountInvalid capacity had 0 wanted 1001
            renew k5 db 1 0: #4 refused AmountInvalid ttl_ms had 0 wanted 0
            renew k6 db 1 1: #5 refused LeaseLost db had 0 wanted 1
            acquire k7 db ann 86400000: #6 db granted to ann under 1 until 86400000
        "#]],
    );
}

#[test]
fn the_time_between_two_leaders_counts_for_no_holder() {
    let mut world = World::new(1);
    let mut said =
        world.talk("claim 1\n acquire k1 db ann 10000\n acquire k2 db bob 10000 wait=60000\n pass 4000\n tick");
    world.epoch = 2;
    said += &world.talk("pass 3600000\n claim 2\n lease db\n pass 5999\n tick\n lease db\n pass 1\n tick\n lease db");
    expect![[r#"
        claim 1: #0 Claimed { node: "n" }
        acquire k1 db ann 10000: #1 db granted to ann under 1 until 10000
        acquire k2 db bob 10000 wait=60000: pending #2
        pass 4000: ok
        tick: 
        pass 3600000: ok
        claim 2: #4 Claimed { node: "n" } | #2 ended: #3 #2 gave up db: 1 hold it, the first for 6000 ms more
        lease db: [ann 1 3610000] of 1, 0 waiting
        pass 5999: ok
        tick: 
        lease db: [ann 1 3610000] of 1, 0 waiting
        pass 1: ok
        tick: 
        lease db: free
    "#]]
    .assert_eq(&said);
}

#[test]
fn a_place_in_line_ends_before_its_callers_deadline() {
    let mut world = World::new(1);
    world.talk("acquire k1 db ann 60000");
    let deadline = world.stamp.plus_ms(2_000);
    let waits = world.command("acquire k2 db bob 1000", deadline);
    world.entry(&[waits]);
    assert_eq!(world.machine.next_timer(), Some(deadline.minus_ms(100)));
    let deadline = world.stamp.plus_ms(8);
    let short = world.command("acquire k3 db eve 1000", deadline);
    world.entry(&[short]);
    assert!(world.machine.next_timer().is_some_and(|due| due < deadline && due > world.machine.stamp()));
}

#[test]
fn what_there_may_be_of_leases_is_bounded() {
    let mut world = World::new(1);
    world.talk("acquire k db ann 1000");
    let commands: Vec<_> =
        (0..=LEASE_LINE_MAX).map(|n| world.command(&format!("acquire w{n} db w{n} 1000"), Stamp::MAX)).collect();
    world.entry(&commands[..LEASE_LINE_MAX]);
    assert_eq!(world.machine.lease("db").map(|lease| lease.waiting), Some(LEASE_LINE_MAX as u64));
    world.entry(&commands[LEASE_LINE_MAX..]);
    assert_eq!(world.code(), Some(Code::TooManyLeases));
    let commands: Vec<_> =
        (1..LEASES_MAX).map(|n| world.command(&format!("acquire n{n} name-{n} ann 1000"), Stamp::MAX)).collect();
    world.entry(&commands);
    assert_eq!(world.machine.leases_len(), LEASES_MAX as u64);
    world.line("acquire z one-more ann 1000");
    assert_eq!(world.code(), Some(Code::TooManyLeases));
    // All of them wake at once, and time alone brings every one to its end.
    while let Some(due) = world.machine.next_timer() {
        world.stamp = world.stamp.max(Stamp::from_raw(due.raw() - 1));
        world.line("tick");
    }
    assert_eq!((world.machine.leases_len(), world.machine.leases.places()), (0, 0));
}

#[test]
fn who_holds_what_is_told_in_a_topic() {
    let mut world = World::new(1);
    world.talk(
        "acquire k1 db ann 1000\n acquire k2 db bob 1000\n renew k3 db 1 2000\n release k4 db 1\n pass 1000\n tick",
    );
    let page = world.machine.topic_page(&world.archive, "tertium.leases", 0, 100).expect("no fault").expect("a topic");
    let told: Vec<String> = page
        .events
        .iter()
        .map(|event| {
            let envelope = Envelope::of(&Record::decode(&event.record).unwrap()).unwrap();
            format!("{} {}", envelope.kind, envelope.key)
        })
        .collect();
    expect![[r#"
        tertium.lease.granted db
        tertium.lease.released db
        tertium.lease.granted db
        tertium.lease.expired db"#]]
    .assert_eq(&told.join("\n"));
}

#[test]
fn tokens_grow_over_snapshots_and_leases_that_are_forgotten() {
    let mut world = World::new(1);
    for token in 1..5 {
        world.line(&format!("acquire k{token} db ann 1000"));
        assert_eq!(show(&world.machine, "db").split(' ').nth(1), Some(&*token.to_string()));
        world.line(&format!("release r{token} db {token}"));
        assert_eq!(world.machine.leases_len(), 0);
        let mut chunks = Vec::new();
        world.machine.begin_snapshot();
        while !world.machine.snapshot_chunk(1, &mut chunks) {}
        world.machine = Machine::restore(&cell(), 1, [&chunks[..]]).expect("a whole snapshot");
    }
}

fn round_trips(op: &LeaseOp<'_>, record: &LeaseRecord<'_>) {
    let (mut op_bytes, mut record_bytes) = (Vec::new(), Vec::new());
    op.encode(&mut op_bytes);
    record.encode(&mut record_bytes);
    assert_eq!(LeaseOp::decode(&mut Reader::new(&op_bytes)), Ok(*op));
    assert_eq!(LeaseRecord::decode(&mut Reader::new(&record_bytes)), Ok(*record));
    assert_eq!(LeaseRecord::is_pending_kind(record_bytes[0]), record.is_pending());
}

proptest! {
    #[test]
    fn what_is_asked_and_what_is_kept_are_read_as_they_were_written(
        (name, owner, metadata) in (".{0,9}", ".{0,9}", ".{0,9}"),
        (token, ttl_ms, capacity, raw) in any::<(u64, u64, u64, u64)>(),
        (wait_ms, began) in any::<(Option<u64>, Option<u64>)>(),
    ) {
        let (name, owner, metadata, expires) = (&*name, &*owner, &*metadata, Stamp::from_raw(raw));
        let asked = Acquire { name, owner, ttl_ms, capacity, wait_ms, metadata };
        let granted = Granted { name, owner, token, capacity, ttl_ms, expires, metadata, began };
        round_trips(&LeaseOp::Acquire(asked), &LeaseRecord::Waiting { asked, until: expires });
        round_trips(&LeaseOp::Renew { name, token, ttl_ms }, &LeaseRecord::Renewed { name, owner, token, expires });
        round_trips(&LeaseOp::Release { name, token }, &LeaseRecord::Released { name, owner, token });
        round_trips(&LeaseOp::Release { name, token }, &LeaseRecord::Expired { name, owner, token });
        round_trips(&LeaseOp::Acquire(asked), &LeaseRecord::Granted(granted));
        let gave_up = LeaseRecord::GaveUp { began: token, name, holders: capacity, expires_in_ms: ttl_ms };
        round_trips(&LeaseOp::Acquire(asked), &gave_up);
    }
}
