use expect_test::expect;
use words::Stamp;

use crate::refusal::Code::{self, *};
use crate::testing::{World, check_funded};

#[test]
fn moves_money() {
    check_funded(
        "transfer k1 alice bob 30
         transfer k2 bob alice 31
         transfer k3 bob world 30
         transfer k4 world bob max
         transfer k5 world bob 1
         transfer k6 alice nobody 1
         transfer k7 nobody noone 1
         transfer k8 alice alice 1",
        expect![[r#"
            transfer k1 alice bob 30: #4 Posted 30 alice->bob, alice 70/0 v3 <3, bob 30/0 v2 <2
            transfer k2 bob alice 31: #5 refused InsufficientFunds bob had 30 wanted 31
            transfer k3 bob world 30: #6 Posted 30 bob->world, bob 0/0 v3 <4, world -70/0 v3 <3
            transfer k4 world bob max: #7 refused Overflow world had -70 wanted 170141183460469231731687303715884105727
            transfer k5 world bob 1: #8 Posted 1 world->bob, world -71/0 v4 <6, bob 1/0 v4 <6
            transfer k6 alice nobody 1: #9 refused AccountNotFound nobody had 0 wanted 0
            transfer k7 nobody noone 1: #10 refused AccountNotFound nobody had 0 wanted 0
            transfer k8 alice alice 1: #11 refused SameAccount alice had 0 wanted 0
        "#]],
    );
}

/// Everything that can be wrong with a transfer at once, in order of precedence.
const WRONGS: [Code; 9] = [
    DeadlineExceeded,
    KeyReused,
    OperationBarred,
    AmountInvalid,
    SameAccount,
    AccountNotFound,
    UnitMismatch,
    Overflow,
    InsufficientFunds,
];

/// Pairs that one request cannot have: a key is barred or used, and one account has one unit.
const IMPOSSIBLE: [(Code, Code); 2] = [(KeyReused, OperationBarred), (SameAccount, UnitMismatch)];

fn refusal_of(wrongs: &[Code]) -> Option<Code> {
    let is = |code| wrongs.contains(&code);
    let mut world = World::funded();
    world.talk(
        "open p1 full GBP 0
         open p2 usdworld USD none
         open p3 usdfull USD 0
         open p4 usd USD 0
         transfer p5 world bob 100
         transfer p6 usdworld usdfull max
         open p7 deep GBP none
         transfer p8 deep full max",
    );
    // A hold overflows where it is taken from: `deep` has no room below.
    let from = if is(AccountNotFound) { "nobody" } else { "alice" };
    let to = match (is(SameAccount), is(UnitMismatch), is(Overflow)) {
        (true, ..) => from,
        (_, false, false) => "bob",
        (_, false, true) => "full",
        (_, true, false) => "usd",
        (_, true, true) => "usdfull",
    };
    let units = if is(InsufficientFunds) { 101 } else { 1 };
    if is(KeyReused) {
        world.line("transfer k world bob 7");
    }
    if is(OperationBarred) {
        world.line("settle k");
    }
    let line = match is(AmountInvalid) {
        true => format!("hold k {from} {to} {units} 0"),
        false => format!("transfer k {from} {to} {units}"),
    };
    let expires = if is(DeadlineExceeded) { Stamp::from_raw(1) } else { Stamp::MAX };
    let command = world.command(&line, expires);
    world.entry(&[command]);
    world.assert_sound();
    world.code()
}

#[test]
fn the_first_of_two_reasons_is_named() {
    assert_eq!(refusal_of(&[]), None);
    for (at, &first) in WRONGS.iter().enumerate() {
        assert_eq!(refusal_of(&[first]), Some(first));
        for &second in &WRONGS[at + 1..] {
            if !IMPOSSIBLE.contains(&(first, second)) {
                assert_eq!(refusal_of(&[first, second]), Some(first), "{first:?} before {second:?}");
            }
        }
    }
    assert!(WRONGS.is_sorted(), "the table is in order of precedence");
}

#[test]
fn the_edges_of_the_range() {
    check_funded(
        "open p1 deep GBP none
         open p2 rich GBP -7
         transfer p3 deep rich max
         transfer p4 deep rich 1
         transfer p5 deep bob 1
         transfer p6 deep bob 1
         transfer p7 rich deep max
         transfer p8 rich deep 8
         transfer p9 rich deep 7
         hold h1 deep bob max 1000
         hold h2 deep bob 1 1000",
        expect![[r#"
            open p1 deep GBP none: #4 opened deep GBP None
            open p2 rich GBP -7: #5 opened rich GBP Some(-7)
            transfer p3 deep rich max: #6 Posted 170141183460469231731687303715884105727 deep->rich, deep -170141183460469231731687303715884105727/0 v2 <4, rich 170141183460469231731687303715884105727/0 v2 <5
            transfer p4 deep rich 1: #7 refused Overflow rich had 170141183460469231731687303715884105727 wanted 1
            transfer p5 deep bob 1: #8 Posted 1 deep->bob, deep -170141183460469231731687303715884105728/0 v3 <6, bob 1/0 v2 <2
            transfer p6 deep bob 1: #9 refused Overflow deep had -170141183460469231731687303715884105728 wanted 1
            transfer p7 rich deep max: #10 Posted 170141183460469231731687303715884105727 rich->deep, rich 0/0 v3 <6, deep -1/0 v4 <8
            transfer p8 rich deep 8: #11 refused InsufficientFunds rich had 0 wanted 8
            transfer p9 rich deep 7: #12 Posted 7 rich->deep, rich -7/0 v4 <10, deep 6/0 v5 <10
            hold h1 deep bob max 1000: #13 Held 170141183460469231731687303715884105727 deep->bob, deep 6/170141183460469231731687303715884105727 v6 <12, bob 1/0 v2 <8
            hold h2 deep bob 1 1000: #14 refused Overflow deep had 170141183460469231731687303715884105727 wanted 1
        "#]],
    );
}
