use expect_test::expect;

use crate::testing::check_funded;

#[test]
fn posts_what_was_held() {
    check_funded(
        "hold h1 alice bob 60 1000
         capture c1 h1 61
         capture c2 h1 20
         capture c2 h1 20
         capture c3 h1
         hold h2 alice bob 80 1000
         capture c4 h2
         now h2
         now h1",
        expect![[r#"
            hold h1 alice bob 60 1000: #4 Held 60 alice->bob, alice 100/60 v3 <3, bob 0/0 v1 <2
            capture c1 h1 61: #5 refused ExceedsHold 019b76da-a800-7000-8000-000000103370 had 60 wanted 61
            capture c2 h1 20: #6 Captured 20 alice->bob, alice 80/0 v4 <4, bob 20/0 v2 <2
            capture c2 h1 20: again #6 Captured 20 alice->bob, alice 80/0 v4 <4, bob 20/0 v2 <2
            capture c3 h1: #7 refused HoldClosed 019b76da-a800-7000-8000-000000103370 had 0 wanted 0
            hold h2 alice bob 80 1000: #8 Held 80 alice->bob, alice 80/80 v5 <6, bob 20/0 v2 <6
            capture c4 h2: #9 Captured 80 alice->bob, alice 0/0 v6 <8, bob 100/0 v3 <6
            now h2: #9 Captured 80 alice->bob, alice 0/0 v6 <8, bob 100/0 v3 <6; reversed 0 by None
            now h1: #6 Captured 20 alice->bob, alice 80/0 v4 <4, bob 20/0 v2 <2; reversed 0 by None
        "#]],
    );
}

#[test]
fn the_first_reason_is_named() {
    // Where two apply, the earlier in the order of the codes: not found, closed, exceeds, overflow.
    check_funded(
        "open p1 full GBP 0
         open p2 deep GBP none
         transfer p3 deep full max
         hold h1 alice full 5 1000
         capture c1 h1 6
         capture c2 h1 5
         void v1 h1
         capture c3 h1 6
         capture c4 nothing 6
         capture c5 f1 6
         capture c6 f1 600",
        expect![[r#"
            open p1 full GBP 0: #4 opened full GBP Some(0)
            open p2 deep GBP none: #5 opened deep GBP None
            transfer p3 deep full max: #6 Posted 170141183460469231731687303715884105727 deep->full, deep -170141183460469231731687303715884105727/0 v2 <5, full 170141183460469231731687303715884105727/0 v2 <4
            hold h1 alice full 5 1000: #7 Held 5 alice->full, alice 100/5 v3 <3, full 170141183460469231731687303715884105727/0 v2 <6
            capture c1 h1 6: #8 refused ExceedsHold 019b76da-a800-7000-8000-0000001ee512 had 5 wanted 6
            capture c2 h1 5: #9 refused Overflow full had 170141183460469231731687303715884105727 wanted 5
            void v1 h1: #10 Voided 5 alice->full, alice 100/0 v4 <7, full 170141183460469231731687303715884105727/0 v2 <6
            capture c3 h1 6: #11 refused HoldClosed 019b76da-a800-7000-8000-0000001ee512 had 0 wanted 0
            capture c4 nothing 6: #12 refused TransferNotFound 00000000-0000-7000-8400-00000000b670 had 0 wanted 0
            capture c5 f1 6: #13 refused HoldClosed 019b76da-a800-7000-8000-0000000c330d had 0 wanted 0
            capture c6 f1 600: #14 refused HoldClosed 019b76da-a800-7000-8000-0000000c330d had 0 wanted 0
        "#]],
    );
}

#[test]
fn a_hold_to_the_last_unit_can_be_captured() {
    check_funded(
        "open p1 deep GBP none
         open p2 sink GBP none
         hold h1 deep sink max 1000
         transfer k1 deep bob 1
         capture c1 h1
         show deep",
        expect![[r#"
            open p1 deep GBP none: #4 opened deep GBP None
            open p2 sink GBP none: #5 opened sink GBP None
            hold h1 deep sink max 1000: #6 Held 170141183460469231731687303715884105727 deep->sink, deep 0/170141183460469231731687303715884105727 v2 <4, sink 0/0 v1 <5
            transfer k1 deep bob 1: #7 Posted 1 deep->bob, deep -1/170141183460469231731687303715884105727 v3 <6, bob 1/0 v2 <2
            capture c1 h1: #8 Captured 170141183460469231731687303715884105727 deep->sink, deep -170141183460469231731687303715884105728/0 v4 <7, sink 170141183460469231731687303715884105727/0 v2 <5
            show deep: -170141183460469231731687303715884105728 held 0 v4 head 8
        "#]],
    );
}
