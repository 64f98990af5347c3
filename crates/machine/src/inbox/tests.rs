use expect_test::expect;
use proptest::prelude::*;
use words::Stamp;

use super::*;
use crate::testing::{BEGIN_MS, World, check_funded};

#[test]
fn a_key_is_decided_once() {
    check_funded(
        "transfer k1 alice bob 1
         transfer k1 alice bob 1
         transfer k1 alice bob 2
         late transfer k1 alice bob 1
         late transfer k2 alice bob 1
         transfer k2 alice bob 1
         transfer k3 alice bob 1000
         transfer f2 world alice 5000
         transfer k3 alice bob 1000
         show bob",
        expect![[r#"
            transfer k1 alice bob 1: #4 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            transfer k1 alice bob 1: again #4 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            transfer k1 alice bob 2: refused KeyReused k1, not remembered
            late transfer k1 alice bob 1: refused DeadlineExceeded , not remembered
            late transfer k2 alice bob 1: refused DeadlineExceeded , not remembered
            transfer k2 alice bob 1: #5 Posted 1 alice->bob, alice 98/0 v4 <4, bob 2/0 v3 <4
            transfer k3 alice bob 1000: #6 refused InsufficientFunds alice had 98 wanted 1000
            transfer f2 world alice 5000: #7 Posted 5000 world->alice, world -5100/0 v3 <3, alice 5098/0 v5 <5
            transfer k3 alice bob 1000: again #6 refused InsufficientFunds alice had 98 wanted 1000
            show bob: 2 held 0 v3 head 5
        "#]],
    );
}

#[test]
fn settle_makes_definite() {
    check_funded(
        "transfer k1 alice bob 1
         settle k1
         settle k2
         settle k2
         transfer k2 alice bob 1
         late settle k3
         transfer k3 alice bob 1",
        expect![[r#"
            transfer k1 alice bob 1: #4 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            settle k1: again #4 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            settle k2: #5 Barred
            settle k2: again #5 Barred
            transfer k2 alice bob 1: refused OperationBarred k2, not remembered
            late settle k3: refused DeadlineExceeded , not remembered
            transfer k3 alice bob 1: #6 Posted 1 alice->bob, alice 98/0 v4 <4, bob 2/0 v3 <4
        "#]],
    );
}

/// A UUIDv7 made `ms` after the begin.
fn uuid(ms: u64) -> String {
    let time = format!("{:012x}", BEGIN_MS + ms);
    format!("{}-{}-7000-8000-000000000000", &time[..8], &time[8..])
}

#[test]
fn a_key_is_forgotten_after_the_retention() {
    let old = uuid(0);
    let young = uuid(3_600_000);
    check_funded(
        &format!(
            "retention 3600000
             transfer k1 alice bob 1
             transfer {old} alice bob 2
             pass 3599999
             transfer k1 alice bob 1
             transfer {old} alice bob 2
             transfer {old} alice bob 3
             pass 1
             transfer k1 alice bob 1
             transfer {old} alice bob 2
             transfer {young} alice bob 4
             settle {old}
             transfer {old} alice bob 2"
        ),
        expect![[r#"
            retention 3600000: #4 Configured { key_retention_ms: 3600000 }
            transfer k1 alice bob 1: #5 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            transfer 019b76da-a800-7000-8000-000000000000 alice bob 2: #6 Posted 2 alice->bob, alice 97/0 v4 <5, bob 3/0 v3 <5
            pass 3599999: ok
            transfer k1 alice bob 1: again #5 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            transfer 019b76da-a800-7000-8000-000000000000 alice bob 2: again #6 Posted 2 alice->bob, alice 97/0 v4 <5, bob 3/0 v3 <5
            transfer 019b76da-a800-7000-8000-000000000000 alice bob 3: refused KeyReused 019b76da-a800-7000-8000-000000000000, not remembered
            pass 1: ok
            transfer k1 alice bob 1: #7 Posted 1 alice->bob, alice 96/0 v5 <6, bob 4/0 v4 <6
            transfer 019b76da-a800-7000-8000-000000000000 alice bob 2: refused KeyExpired 019b76da-a800-7000-8000-000000000000, not remembered
            transfer 019b7711-9680-7000-8000-000000000000 alice bob 4: #8 Posted 4 alice->bob, alice 92/0 v6 <7, bob 8/0 v5 <7
            settle 019b76da-a800-7000-8000-000000000000: refused KeyExpired 019b76da-a800-7000-8000-000000000000, not remembered
            transfer 019b76da-a800-7000-8000-000000000000 alice bob 2: refused KeyExpired 019b76da-a800-7000-8000-000000000000, not remembered
        "#]],
    );
}

/// What is remembered is answered from memory, however old the key says it is.
#[test]
fn memory_goes_before_age() {
    let (used, barred, unseen) = (uuid(0), uuid(1), uuid(2));
    check_funded(
        &format!(
            "retention 3600000
             pass 1000
             transfer {used} alice bob 1
             settle {barred}
             pass 3599999
             transfer {used} alice bob 1
             transfer {used} alice bob 2
             settle {used}
             transfer {barred} alice bob 1
             transfer {unseen} alice bob 1
             late transfer {unseen} alice bob 1
             each b1 ; {used} alice bob 1 ; {barred} alice bob 1 ; {unseen} alice bob 1
             atomic b2 ; {used} alice bob 1 ; {unseen} alice bob 1"
        ),
        expect![[r#"
            retention 3600000: #4 Configured { key_retention_ms: 3600000 }
            pass 1000: ok
            transfer 019b76da-a800-7000-8000-000000000000 alice bob 1: #5 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            settle 019b76da-a801-7000-8000-000000000000: #6 Barred
            pass 3599999: ok
            transfer 019b76da-a800-7000-8000-000000000000 alice bob 1: again #5 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            transfer 019b76da-a800-7000-8000-000000000000 alice bob 2: refused KeyReused 019b76da-a800-7000-8000-000000000000, not remembered
            settle 019b76da-a800-7000-8000-000000000000: again #5 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            transfer 019b76da-a801-7000-8000-000000000000 alice bob 1: refused OperationBarred 019b76da-a801-7000-8000-000000000000, not remembered
            transfer 019b76da-a802-7000-8000-000000000000 alice bob 1: refused KeyExpired 019b76da-a802-7000-8000-000000000000, not remembered
            late transfer 019b76da-a802-7000-8000-000000000000 alice bob 1: refused DeadlineExceeded , not remembered
            each b1 ; 019b76da-a800-7000-8000-000000000000 alice bob 1 ; 019b76da-a801-7000-8000-000000000000 alice bob 1 ; 019b76da-a802-7000-8000-000000000000 alice bob 1: #7 batch of #5 OperationBarred 019b76da-a801-7000-8000-000000000000 KeyExpired 019b76da-a802-7000-8000-000000000000
            atomic b2 ; 019b76da-a800-7000-8000-000000000000 alice bob 1 ; 019b76da-a802-7000-8000-000000000000 alice bob 1: #8 refused by item 1 019b76da-a802-7000-8000-000000000000: KeyExpired 019b76da-a802-7000-8000-000000000000 had 0 wanted 0
        "#]],
    );
}

#[test]
fn a_longer_retention_does_not_bring_back_what_was_forgotten() {
    check_funded(
        "retention 1000
         transfer k1 alice bob 1
         pass 1001
         retention 86400000
         transfer k1 alice bob 1
         transfer k1 alice bob 1
         retention 1000
         transfer k1 alice bob 1",
        expect![[r#"
            retention 1000: #4 Configured { key_retention_ms: 1000 }
            transfer k1 alice bob 1: #5 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            pass 1001: ok
            retention 86400000: #6 Configured { key_retention_ms: 86400000 }
            transfer k1 alice bob 1: #7 Posted 1 alice->bob, alice 98/0 v4 <5, bob 2/0 v3 <5
            transfer k1 alice bob 1: again #7 Posted 1 alice->bob, alice 98/0 v4 <5, bob 2/0 v3 <5
            retention 1000: #8 Configured { key_retention_ms: 1000 }
            transfer k1 alice bob 1: again #7 Posted 1 alice->bob, alice 98/0 v4 <5, bob 2/0 v3 <5
        "#]],
    );
}

#[test]
fn what_was_decided_is_found_until_it_is_forgotten() {
    let mut world = World::funded();
    world.line("transfer k1 alice bob 1");
    let decided = world.machine.stamp();
    let found = |principal, at| world.machine.find_operation(principal, "k1", at, &world.archive).unwrap();
    assert_eq!(found("", decided.plus_ms(KEY_RETENTION_MS_DEFAULT)), Some(4));
    let after = Stamp::from_raw(decided.plus_ms(KEY_RETENTION_MS_DEFAULT).raw() + 1);
    assert_eq!(found("", after), None);
    assert_eq!(found("somebody", decided), None);
}

#[test]
fn principals_do_not_share_keys() {
    let mut world = World::funded();
    let mut of = |principal: &str| {
        let mut command = Vec::new();
        crate::encode_head(&mut command, Stamp::MAX, principal, "k1");
        let order = crate::Order {
            from: "alice",
            to: "bob",
            amount: crate::testing::amount("1"),
            hold_ms: None,
            memo: "",
            metadata: "",
        };
        crate::Op::Transfer(order).encode(&mut command);
        world.entry(&[command]);
        world.machine.next_ordinal()
    };
    let (a, b, a_again) = (of("a"), of("b"), of("a"));
    assert_eq!((b, a_again), (a + 1, a + 1));
}

proptest! {
    #[test]
    fn the_horizon_never_moves_back(steps in prop::collection::vec((0u64..10_000, 0u64..10_000), 1..20)) {
        let mut retention = Retention::default();
        let (mut now, mut last) = (Stamp::from_micros(BEGIN_MS * 1_000), Stamp::ZERO);
        for (pass_ms, retention_ms) in steps {
            now = now.plus_ms(pass_ms);
            retention.change(retention_ms, now);
            prop_assert!(retention.horizon(now) >= last);
            last = retention.horizon(now);
        }
    }
}
