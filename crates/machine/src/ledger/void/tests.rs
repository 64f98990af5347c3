use expect_test::expect;

use crate::testing::check_funded;

#[test]
fn releases_what_was_held() {
    check_funded(
        "hold h1 alice bob 60 1000
         void v1 h1
         void v1 h1
         void v2 h1
         capture c1 h1
         void v3 nothing
         void v4 f1
         now h1
         show alice
         show bob",
        expect![[r#"
            hold h1 alice bob 60 1000: #4 Held 60 alice->bob, alice 100/60 v3 <3, bob 0/0 v1 <2
            void v1 h1: #5 Voided 60 alice->bob, alice 100/0 v4 <4, bob 0/0 v1 <2
            void v1 h1: again #5 Voided 60 alice->bob, alice 100/0 v4 <4, bob 0/0 v1 <2
            void v2 h1: #6 refused HoldClosed 019b76da-a800-7000-8000-000000103370 had 0 wanted 0
            capture c1 h1: #7 refused HoldClosed 019b76da-a800-7000-8000-000000103370 had 0 wanted 0
            void v3 nothing: #8 refused TransferNotFound 00000000-0000-7000-8400-00000000b670 had 0 wanted 0
            void v4 f1: #9 refused HoldClosed 019b76da-a800-7000-8000-0000000c330d had 0 wanted 0
            now h1: #5 Voided 60 alice->bob, alice 100/0 v4 <4, bob 0/0 v1 <2; reversed 0 by None
            show alice: 100 held 0 v4 head 5
            show bob: 0 held 0 v1 head 2
        "#]],
    );
}
