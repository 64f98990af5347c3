use expect_test::expect;

use crate::testing::check_funded;

#[test]
fn moves_money_back_at_most_once() {
    check_funded(
        "transfer k1 alice bob 30
         reverse r1 k1 10
         reverse r2 k1 21
         reverse r3 k1
         reverse r4 k1
         reverse r5 k1 1
         now k1
         reverse r6 r1
         now r1
         show alice",
        expect![[r#"
            transfer k1 alice bob 30: #4 Posted 30 alice->bob, alice 70/0 v3 <3, bob 30/0 v2 <2
            reverse r1 k1 10: #5 Reversal 10 bob->alice of 10 reversed, bob 20/0 v3 <4, alice 80/0 v4 <4
            reverse r2 k1 21: #6 refused ExceedsPosted 019b76da-a800-7000-8000-000000103370 had 20 wanted 21
            reverse r3 k1: #7 Reversal 20 bob->alice of 30 reversed, bob 0/0 v4 <5, alice 100/0 v5 <5
            reverse r4 k1: #8 refused ExceedsPosted 019b76da-a800-7000-8000-000000103370 had 0 wanted 0
            reverse r5 k1 1: #9 refused ExceedsPosted 019b76da-a800-7000-8000-000000103370 had 0 wanted 1
            now k1: #4 Posted 30 alice->bob, alice 70/0 v3 <3, bob 30/0 v2 <2; reversed 30 by Some(7)
            reverse r6 r1: #10 Reversal 10 alice->bob of 10 reversed, alice 90/0 v6 <7, bob 10/0 v5 <7
            now r1: #5 Reversal 10 bob->alice of 10 reversed, bob 20/0 v3 <4, alice 80/0 v4 <4; reversed 10 by Some(10)
            show alice: 90 held 0 v6 head 10
        "#]],
    );
}

#[test]
fn of_a_hold_only_what_was_captured() {
    check_funded(
        "hold h1 alice bob 30 1000
         reverse r1 h1
         reverse r2 h1 1
         capture c1 h1 20
         reverse r3 h1 21
         reverse r4 h1 5
         reverse r5 h1
         now h1
         hold h2 alice bob 30 1000
         void v1 h2
         reverse r6 h2 1",
        expect![[r#"
            hold h1 alice bob 30 1000: #4 Held 30 alice->bob, alice 100/30 v3 <3, bob 0/0 v1 <2
            reverse r1 h1: #5 refused ExceedsPosted 019b76da-a800-7000-8000-000000103370 had 0 wanted 0
            reverse r2 h1 1: #6 refused ExceedsPosted 019b76da-a800-7000-8000-000000103370 had 0 wanted 1
            capture c1 h1 20: #7 Captured 20 alice->bob, alice 80/0 v4 <4, bob 20/0 v2 <2
            reverse r3 h1 21: #8 refused ExceedsPosted 019b76da-a800-7000-8000-000000103370 had 20 wanted 21
            reverse r4 h1 5: #9 Reversal 5 bob->alice of 5 reversed, bob 15/0 v3 <7, alice 85/0 v5 <7
            reverse r5 h1: #10 Reversal 15 bob->alice of 20 reversed, bob 0/0 v4 <9, alice 100/0 v6 <9
            now h1: #7 Captured 20 alice->bob, alice 80/0 v4 <4, bob 20/0 v2 <2; reversed 20 by Some(10)
            hold h2 alice bob 30 1000: #11 Held 30 alice->bob, alice 100/30 v7 <10, bob 0/0 v4 <10
            void v1 h2: #12 Voided 30 alice->bob, alice 100/0 v8 <11, bob 0/0 v4 <10
            reverse r6 h2 1: #13 refused ExceedsPosted 019b76da-a800-7000-8000-0000002f7992 had 0 wanted 1
        "#]],
    );
}

#[test]
fn the_first_reason_is_named() {
    check_funded(
        "transfer k1 alice bob 30
         transfer k2 bob world 10
         reverse r1 nothing 31
         reverse r2 k1 31
         reverse r3 k1
         open p1 deep GBP none
         open p2 rich GBP 0
         transfer k3 rich bob 0030
         transfer k4 alice rich 20
         transfer k5 rich deep 20
         transfer k6 deep alice max
         transfer k7 alice world 50
         transfer k8 deep alice 30
         reverse r4 k4 20",
        expect![[r#"
            transfer k1 alice bob 30: #4 Posted 30 alice->bob, alice 70/0 v3 <3, bob 30/0 v2 <2
            transfer k2 bob world 10: #5 Posted 10 bob->world, bob 20/0 v3 <4, world -90/0 v3 <3
            reverse r1 nothing 31: #6 refused TransferNotFound 00000000-0000-7000-8400-00000000b670 had 0 wanted 0
            reverse r2 k1 31: #7 refused ExceedsPosted 019b76da-a800-7000-8000-000000103370 had 30 wanted 31
            reverse r3 k1: #8 refused InsufficientFunds bob had 20 wanted 30
            open p1 deep GBP none: #9 opened deep GBP None
            open p2 rich GBP 0: #10 opened rich GBP Some(0)
            transfer k3 rich bob 0030: #11 refused InsufficientFunds rich had 0 wanted 30
            transfer k4 alice rich 20: #12 Posted 20 alice->rich, alice 50/0 v4 <4, rich 20/0 v2 <10
            transfer k5 rich deep 20: #13 Posted 20 rich->deep, rich 0/0 v3 <12, deep 20/0 v2 <9
            transfer k6 deep alice max: #14 refused Overflow alice had 50 wanted 170141183460469231731687303715884105727
            transfer k7 alice world 50: #15 Posted 50 alice->world, alice 0/0 v5 <12, world -40/0 v4 <5
            transfer k8 deep alice 30: #16 Posted 30 deep->alice, deep -10/0 v3 <13, alice 30/0 v6 <15
            reverse r4 k4 20: #17 refused InsufficientFunds rich had 0 wanted 20
        "#]],
    );
}
