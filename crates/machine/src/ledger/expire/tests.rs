use expect_test::expect;

use crate::testing::check_funded;

#[test]
fn a_hold_ends_by_itself() {
    check_funded(
        "hold h1 alice bob 60 1000
         hold h2 alice bob 10 500
         pass 499
         tick
         pass 1
         capture c1 h2
         pass 500
         transfer k1 alice bob 100
         now h1
         void v1 h1
         reverse r1 h1
         tick",
        expect![[r#"
            hold h1 alice bob 60 1000: #4 Held 60 alice->bob, alice 100/60 v3 <3, bob 0/0 v1 <2
            hold h2 alice bob 10 500: #5 Held 10 alice->bob, alice 100/70 v4 <4, bob 0/0 v1 <2
            pass 499: ok
            tick: 
            pass 1: ok
            capture c1 h2: #6 Expired 10 alice->bob, alice 100/60 v5 <5, bob 0/0 v1 <2 | #7 refused HoldClosed 019b76da-a800-7000-8000-000000173068 had 0 wanted 0
            pass 500: ok
            transfer k1 alice bob 100: #8 Expired 60 alice->bob, alice 100/0 v6 <6, bob 0/0 v1 <2 | #9 Posted 100 alice->bob, alice 0/0 v7 <8, bob 100/0 v2 <2
            now h1: #8 Expired 60 alice->bob, alice 100/0 v6 <6, bob 0/0 v1 <2; reversed 0 by None
            void v1 h1: #10 refused HoldClosed 019b76da-a800-7000-8000-000000103370 had 0 wanted 0
            reverse r1 h1: #11 refused ExceedsPosted 019b76da-a800-7000-8000-000000103370 had 0 wanted 0
            tick: 
        "#]],
    );
}
