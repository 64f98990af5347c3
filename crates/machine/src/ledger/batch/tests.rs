use expect_test::expect;

use crate::testing::{World, check_funded};

#[test]
fn each_is_decided_for_itself() {
    check_funded(
        "transfer k1 alice bob 1
         settle k2
         each b1 ; k1 alice bob 1 ; k1 alice bob 2 ; k2 alice bob 3 ; k3 alice bob 4 ; k4 alice bob 500 ; k3 alice bob 4 ; b1 alice bob 9 ; k5 alice bob 5 60000
         each b1 ; k1 alice bob 1 ; k1 alice bob 2 ; k2 alice bob 3 ; k3 alice bob 4 ; k4 alice bob 500 ; k3 alice bob 4 ; b1 alice bob 9 ; k5 alice bob 5 60000
         each b1 ; k1 alice bob 1
         each b2 ; k3 alice bob 4 ; k6 alice bob 6
         transfer k6 alice bob 6
         each b3",
        expect![[r#"
            transfer k1 alice bob 1: #4 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            settle k2: #5 Barred
            each b1 ; k1 alice bob 1 ; k1 alice bob 2 ; k2 alice bob 3 ; k3 alice bob 4 ; k4 alice bob 500 ; k3 alice bob 4 ; b1 alice bob 9 ; k5 alice bob 5 60000: #9 batch of #4 KeyReused k1 OperationBarred k2 #6 #7 #6 KeyReused b1 #8
            each b1 ; k1 alice bob 1 ; k1 alice bob 2 ; k2 alice bob 3 ; k3 alice bob 4 ; k4 alice bob 500 ; k3 alice bob 4 ; b1 alice bob 9 ; k5 alice bob 5 60000: again #9 batch of #4 KeyReused k1 OperationBarred k2 #6 #7 #6 KeyReused b1 #8
            each b1 ; k1 alice bob 1: refused KeyReused b1, not remembered
            each b2 ; k3 alice bob 4 ; k6 alice bob 6: #11 batch of #6 #10
            transfer k6 alice bob 6: again #10 Posted 6 alice->bob, alice 89/5 v6 <8, bob 11/0 v4 <6
            each b3: #12 batch of 
        "#]],
    );
}

#[test]
fn all_or_none() {
    check_funded(
        "atomic b1 ; k1 alice bob 60 ; k2 bob alice 10 ; k3 alice bob 20 1000 ; k4 alice bob 31
         atomic b1 ; k1 alice bob 60 ; k2 bob alice 10 ; k3 alice bob 20 1000 ; k4 alice bob 31
         show alice
         show bob
         tick
         transfer k9 bob alice 1
         atomic b2 ; k1 alice bob 60 ; k2 bob alice 10 ; k3 alice bob 20 1000 ; k4 alice bob 30
         atomic b2 ; k1 alice bob 60 ; k2 bob alice 10 ; k3 alice bob 20 1000 ; k4 alice bob 30
         atomic b3 ; k1 alice bob 60 ; k1 alice bob 60 ; k5 bob alice 1 ; k5 bob alice 1
         atomic b4 ; k6 bob alice 1 ; k6 bob alice 2
         atomic b5 ; k6 bob alice 1 ; k9 bob alice 1
         settle k7
         atomic b6 ; k6 bob alice 1 ; k7 bob alice 1
         atomic b7 ; k6 bob alice 1 ; b7 bob alice 1
         atomic b8
         show alice
         show bob",
        expect![[r#"
            atomic b1 ; k1 alice bob 60 ; k2 bob alice 10 ; k3 alice bob 20 1000 ; k4 alice bob 31: #4 refused by item 3 k4: InsufficientFunds alice had 30 wanted 31
            atomic b1 ; k1 alice bob 60 ; k2 bob alice 10 ; k3 alice bob 20 1000 ; k4 alice bob 31: again #4 refused by item 3 k4: InsufficientFunds alice had 30 wanted 31
            show alice: 100 held 0 v2 head 3
            show bob: 0 held 0 v1 head 2
            tick: 
            transfer k9 bob alice 1: #5 refused InsufficientFunds bob had 0 wanted 1
            atomic b2 ; k1 alice bob 60 ; k2 bob alice 10 ; k3 alice bob 20 1000 ; k4 alice bob 30: #10 batch atomic of #6 #7 #8 #9
            atomic b2 ; k1 alice bob 60 ; k2 bob alice 10 ; k3 alice bob 20 1000 ; k4 alice bob 30: again #10 batch atomic of #6 #7 #8 #9
            atomic b3 ; k1 alice bob 60 ; k1 alice bob 60 ; k5 bob alice 1 ; k5 bob alice 1: #12 batch atomic of #6 #6 #11 #11
            atomic b4 ; k6 bob alice 1 ; k6 bob alice 2: #13 refused by item 1 k6: KeyReused k6 had 0 wanted 0
            atomic b5 ; k6 bob alice 1 ; k9 bob alice 1: #14 refused by item 1 k9: InsufficientFunds bob had 0 wanted 1
            settle k7: #15 Barred
            atomic b6 ; k6 bob alice 1 ; k7 bob alice 1: #16 refused by item 1 k7: OperationBarred k7 had 0 wanted 0
            atomic b7 ; k6 bob alice 1 ; b7 bob alice 1: #17 refused by item 1 b7: KeyReused b7 had 0 wanted 0
            atomic b8: #18 batch atomic of 
            show alice: 21 held 20 v7 head 11
            show bob: 79 held 0 v5 head 11
        "#]],
    );
}

#[test]
fn a_refused_batch_leaves_nothing_but_its_refusal() {
    let mut world = World::funded();
    world.line("hold h alice bob 1 5000");
    let (accounts, holds) = (format!("{:?}", world.machine.accounts(0, 9, None)), world.machine.holds_len());
    let records = world.machine.next_ordinal();
    world.line("atomic b1 ; k1 alice bob 50 ; k2 alice bob 9 1000 ; k3 world bob 5 ; k4 nobody bob 1");
    assert_eq!(format!("{:?}", world.machine.accounts(0, 9, None)), accounts);
    assert_eq!((world.machine.holds_len(), world.machine.next_ordinal()), (holds, records + 1));
    world.assert_sound();
}

#[test]
fn a_stream_has_no_key() {
    check_funded(
        "stream - ; k1 alice bob 1 ; k2 alice bob 100 ; k1 alice bob 1 ; k1 alice bob 2
         stream - ; k1 alice bob 1 ; k2 alice bob 100 ; k1 alice bob 1 ; k1 alice bob 2
         late stream - ; k3 alice bob 1
         transfer k1 alice bob 1
         stream -",
        expect![[r#"
            stream - ; k1 alice bob 1 ; k2 alice bob 100 ; k1 alice bob 1 ; k1 alice bob 2: #4 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2, #5 refused InsufficientFunds alice had 99 wanted 100, again #4 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2, refused KeyReused k1, not remembered
            stream - ; k1 alice bob 1 ; k2 alice bob 100 ; k1 alice bob 1 ; k1 alice bob 2: again #4 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2, again #5 refused InsufficientFunds alice had 99 wanted 100, again #4 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2, refused KeyReused k1, not remembered
            late stream - ; k3 alice bob 1: refused DeadlineExceeded , not remembered
            transfer k1 alice bob 1: again #4 Posted 1 alice->bob, alice 99/0 v3 <3, bob 1/0 v2 <2
            stream -: 
        "#]],
    );
}
