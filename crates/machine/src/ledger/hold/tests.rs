use expect_test::expect;

use crate::testing::check_funded;

#[test]
fn sets_money_aside() {
    check_funded(
        "hold h1 alice bob 60 1000
         hold h2 alice bob 41 1000
         transfer k1 alice bob 41
         hold h3 alice bob 40 31622400000
         hold h4 alice bob 1 31622400001
         hold h5 alice bob 1 0
         show alice
         show bob",
        expect![[r#"
            hold h1 alice bob 60 1000: #4 Held 60 alice->bob, alice 100/60 v3 <3, bob 0/0 v1 <2
            hold h2 alice bob 41 1000: #5 refused InsufficientFunds alice had 40 wanted 41
            transfer k1 alice bob 41: #6 refused InsufficientFunds alice had 40 wanted 41
            hold h3 alice bob 40 31622400000: #7 Held 40 alice->bob, alice 100/100 v4 <4, bob 0/0 v1 <2
            hold h4 alice bob 1 31622400001: #8 refused AmountInvalid hold_ms had 0 wanted 31622400001
            hold h5 alice bob 1 0: #9 refused AmountInvalid hold_ms had 0 wanted 0
            show alice: 100 held 100 v4 head 7
            show bob: 0 held 0 v1 head 2
        "#]],
    );
}

#[test]
fn a_hold_may_overflow() {
    check_funded(
        "hold h1 world bob max 1000
         hold h2 world bob 1 1000
         transfer k1 world bob 100
         open o4 deep GBP none
         hold h3 deep bob max 1000
         transfer k2 deep bob 1
         transfer k3 deep bob 1",
        expect![[r#"
            hold h1 world bob max 1000: #4 refused Overflow world had 0 wanted 170141183460469231731687303715884105727
            hold h2 world bob 1 1000: #5 Held 1 world->bob, world -100/1 v3 <3, bob 0/0 v1 <2
            transfer k1 world bob 100: #6 Posted 100 world->bob, world -200/1 v4 <5, bob 100/0 v2 <2
            open o4 deep GBP none: #7 opened deep GBP None
            hold h3 deep bob max 1000: #8 Held 170141183460469231731687303715884105727 deep->bob, deep 0/170141183460469231731687303715884105727 v2 <7, bob 100/0 v2 <6
            transfer k2 deep bob 1: #9 Posted 1 deep->bob, deep -1/170141183460469231731687303715884105727 v3 <8, bob 101/0 v3 <6
            transfer k3 deep bob 1: #10 refused Overflow deep had -1 wanted 1
        "#]],
    );
}
