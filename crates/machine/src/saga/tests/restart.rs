//! Runs that a person takes up again, and what must not happen twice then.

use expect_test::expect;

use super::check;

#[test]
fn restarted_where_it_was_escalated() {
    check(
        "define d pay: a=transfer b=call! c=transfer
         start r pay
         do
         do
         tried uncertain
         pass 3600000
         tick
         restart s 1
         start r pay
         tick
         tried committed
         do",
        expect![[r#"
            define d pay: a=transfer b=call! c=transfer: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 Posted 10 019b76da-a800-7000-8000-00000019c0b0/a | #8 run #6 step 0 attempt 1 done #7  | -> Act #6 step 1 attempt 1
            do: #9 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #9 attempt 1
            tried uncertain: #10 call #9 uncertain
            pass 3600000: ok
            tick: #11 call #9 uncertain | #12 run #6 step 1 attempt 1 uncertain #0 nobody knows whether the call was done | #13 run #6 escalated
            restart s 1: #14 Restarted { run: 6, previous: 13, step: 1, deadline: Stamp(7238924697600000012) } | #15 Controlled { run: 6, previous: 14, control: Restart { step: 1 } }
            start r pay: pending #6 | -> resend #9 attempt 2
            tick: 
            tried committed: #16 call #9 ended committed | #17 run #6 step 1 attempt 1 done #16 committed | -> Act #6 step 2 attempt 1
            do: #18 Posted 10 019b76da-a800-7000-8000-00000019c0b0/c | #19 run #6 step 2 attempt 1 done #18  | #20 run #6 done
        "#]],
    );
}

/// Long after everybody has forgotten the keys of its steps, a run knows what they did.
#[test]
fn what_was_done_is_not_done_again() {
    check(
        "define i inner: x=transfer
         define d pay: a=transfer b=event n=saga c=call!
         start r pay
         do
         do
         do inner
         do
         do
         tried uncertain
         pass 3600000
         tick
         pass 864000000
         restart s 0
         tick
         tried committed",
        expect![[r#"
            define i inner: x=transfer: #5 defined inner 1
            define d pay: a=transfer b=event n=saga c=call!: #6 defined pay 1
            start r pay: #7 started pay of #6 | -> Act #7 step 0 attempt 1
            do: #8 Posted 10 019b76da-a800-7000-8000-0000001ee512/a | #9 run #7 step 0 attempt 1 done #8  | -> Act #7 step 1 attempt 1
            do: #10 k "" in t | #11 run #7 step 1 attempt 1 done #10  | -> Act #7 step 2 attempt 1
            do inner: #12 started inner of #5 | -> Act #12 step 0 attempt 1
            do: #13 Posted 10 019b76da-a800-7000-8000-00000033d37c/x | #14 run #12 step 0 attempt 1 done #13  | #15 run #12 done | #16 run #7 step 2 attempt 1 done #15 done | -> Act #7 step 3 attempt 1
            do: #17 call 019b76da-a800-7000-8000-0000001ee512/c | -> call #17 attempt 1
            tried uncertain: #18 call #17 uncertain
            pass 3600000: ok
            tick: #19 call #17 uncertain | #20 run #7 step 3 attempt 1 uncertain #0 nobody knows whether the call was done | #21 run #7 escalated
            pass 864000000: ok
            restart s 0: #22 Restarted { run: 7, previous: 21, step: 0, deadline: Stamp(7242463641600000016) } | #23 Controlled { run: 7, previous: 22, control: Restart { step: 0 } }
            tick: Try { call: 17, attempt: 2, phase: Resend, until: Stamp(7242109788160000017) } | -> resend #17 attempt 2
            tried committed: #24 call #17 ended committed | #25 run #7 step 3 attempt 1 done #24 committed | #26 run #7 done
        "#]],
    );
}

/// What a person said of a call in the meantime is what became of its step.
#[test]
fn a_step_takes_the_word_of_a_person() {
    check(
        "define d pay: a=call! b=call
         start r pay
         do
         tried uncertain
         pass 3600000
         tick
         resolve k 7 committed
         restart s 0
         do
         tried uncertain
         pass 3600000
         tick
         resolve l 17 refused
         restart t 1
         do
         tried committed",
        expect![[r#"
            define d pay: a=call! b=call: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 call 019b76da-a800-7000-8000-00000019c0b0/a | -> call #7 attempt 1
            tried uncertain: #8 call #7 uncertain
            pass 3600000: ok
            tick: #9 call #7 uncertain | #10 run #6 step 0 attempt 1 uncertain #0 nobody knows whether the call was done | #11 run #6 escalated
            resolve k 7 committed: #12 call #7 ended resolved_committed | #13 Resolved { call: 7, ended: 12, committed: true }
            restart s 0: #14 Restarted { run: 6, previous: 11, step: 0, deadline: Stamp(7238924697600000012) } | #15 run #6 step 0 attempt 1 done #12 it turned out to be done | #16 Controlled { run: 6, previous: 15, control: Restart { step: 0 } } | -> Act #6 step 1 attempt 1
            do: #17 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #17 attempt 1
            tried uncertain: #18 call #17 uncertain
            pass 3600000: ok
            tick: #19 call #17 uncertain | #20 run #6 step 1 attempt 1 uncertain #0 nobody knows whether the call was done | #21 run #6 escalated
            resolve l 17 refused: #22 call #17 ended resolved_refused | #23 Resolved { call: 17, ended: 22, committed: false }
            restart t 1: #24 Restarted { run: 6, previous: 21, step: 1, deadline: Stamp(7238939443200000017) } | #25 Controlled { run: 6, previous: 24, control: Restart { step: 1 } } | -> Act #6 step 1 attempt 2
            do: #26 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #26 attempt 2
            tried committed: #27 call #26 ended committed | #28 run #6 step 1 attempt 2 done #27 committed | #29 run #6 done
        "#]],
    );
}

/// A nested run that waits for a person is taken up again before the run around it, which does not start another.
#[test]
fn the_nested_run_comes_first() {
    check(
        "define i inner: x=transfer y=call!
         define o outer: n=saga z=transfer
         start r outer
         do inner
         do
         do
         tried uncertain
         pass 3600000
         tick
         restart s 0
         restart t 1 8
         restart u 0
         tick
         tried committed
         do",
        expect![[r#"
            define i inner: x=transfer y=call!: #5 defined inner 1
            define o outer: n=saga z=transfer: #6 defined outer 1
            start r outer: #7 started outer of #6 | -> Act #7 step 0 attempt 1
            do inner: #8 started inner of #5 | -> Act #8 step 0 attempt 1
            do: #9 Posted 10 019b76da-a800-7000-8000-00000022a933/x | #10 run #8 step 0 attempt 1 done #9  | -> Act #8 step 1 attempt 1
            do: #11 call 019b76da-a800-7000-8000-00000022a933/y | -> call #11 attempt 1
            tried uncertain: #12 call #11 uncertain
            pass 3600000: ok
            tick: #13 call #11 uncertain | #14 run #8 step 1 attempt 1 uncertain #0 nobody knows whether the call was done | #15 run #8 escalated, Cancelled | #16 run #7 step 0 attempt 1 uncertain #15 escalated | #17 run #7 escalated
            restart s 0: #18 refused RunState  had 7 wanted 0
            restart t 1 8: #19 Restarted { run: 8, previous: 15, step: 1, deadline: Stamp(7238924697600000015) } | #20 Controlled { run: 8, previous: 19, control: Restart { step: 1 } }
            restart u 0: #21 Restarted { run: 7, previous: 17, step: 0, deadline: Stamp(7238924697600000016) } | #22 Controlled { run: 7, previous: 21, control: Restart { step: 0 } } | -> resend #11 attempt 2
            tick: 
            tried committed: #23 call #11 ended committed | #24 run #8 step 1 attempt 1 done #23 committed | #25 run #8 done | #26 run #7 step 0 attempt 1 done #25 done | -> Act #7 step 1 attempt 1
            do: #27 Posted 10 019b76da-a800-7000-8000-0000001ee512/z | #28 run #7 step 1 attempt 1 done #27  | #29 run #7 done
        "#]],
    );
}

#[test]
fn a_nested_run_that_nobody_waits_for_stays() {
    check(
        "define i inner: y=call
         define o outer: a=transfer n=saga
         start r outer
         do
         do inner
         do
         cancel c
         tried uncertain
         pass 3600000
         tick
         restart t 0 10
         restart u 1",
        expect![[r#"
            define i inner: y=call: #5 defined inner 1
            define o outer: a=transfer n=saga: #6 defined outer 1
            start r outer: #7 started outer of #6 | -> Act #7 step 0 attempt 1
            do: #8 Posted 10 019b76da-a800-7000-8000-0000001ee512/a | #9 run #7 step 0 attempt 1 done #8  | -> Act #7 step 1 attempt 1
            do inner: #10 started inner of #5 | -> Act #10 step 0 attempt 1
            do: #11 call 019b76da-a800-7000-8000-00000029422b/y | -> call #11 attempt 1
            cancel c: #12 Controlled { run: 7, previous: 9, control: Cancel }
            tried uncertain: #13 call #11 uncertain
            pass 3600000: ok
            tick: #14 call #11 uncertain | #15 run #10 step 0 attempt 1 uncertain #0 nobody knows whether the call was done | #16 run #10 escalated, Cancelled | #17 run #7 step 1 attempt 1 uncertain #16 escalated | #18 run #7 escalated, Cancelled
            restart t 0 10: #19 refused RunState  had 10 wanted 0
            restart u 1: #20 refused RunState  had 7 wanted 0
        "#]],
    );
}

#[test]
fn an_escalated_call_ends_its_run_whatever_it_is_about() {
    check(
        "define d pay: a=transfer/reverse b=call/call c@=timer
         start r pay
         do
         do
         do
         cancel k
         tried uncertain
         pass 3600000
         tick
         run
         define e back: a=transfer/reverse b=call/call c=call
         start s back
         do
         do
         tried committed
         do
         tried refused
         do
         tried uncertain
         pass 3600000
         tick
         run",
        expect![[r#"
            define d pay: a=transfer/reverse b=call/call c@=timer: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1 | -> Act #6 step 2 attempt 1
            do: #7 Posted 10 019b76da-a800-7000-8000-00000019c0b0/a | #8 run #6 step 0 attempt 1 done #7  | -> Act #6 step 1 attempt 1
            do: noted
            do: #9 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #9 attempt 1
            cancel k: #10 Controlled { run: 6, previous: 8, control: Cancel }
            tried uncertain: #11 call #9 uncertain
            pass 3600000: ok
            tick: #12 call #9 uncertain | #13 run #6 step 1 attempt 1 uncertain #0 nobody knows whether the call was done | #14 run #6 escalated, Cancelled
            run: none
            define e back: a=transfer/reverse b=call/call c=call: #15 defined back 1
            start s back: #16 started back of #15 | -> Act #16 step 0 attempt 1
            do: #17 Posted 10 019b7711-9680-7000-8000-000000439932/a | #18 run #16 step 0 attempt 1 done #17  | -> Act #16 step 1 attempt 1
            do: #19 call 019b7711-9680-7000-8000-000000439932/b | -> call #19 attempt 1
            tried committed: #20 call #19 ended committed | #21 run #16 step 1 attempt 1 done #20 committed | -> Act #16 step 2 attempt 1
            do: #22 call 019b7711-9680-7000-8000-000000439932/c | -> call #22 attempt 1
            tried refused: #23 call #22 ended refused | #24 run #16 step 2 attempt 1 failed #23 refused | -> Compensate #16 step 1 attempt 2
            do: #25 call 019b7711-9680-7000-8000-000000439932/b/compensate, which undoes a call: Done | -> call #25 attempt 1
            tried uncertain: #26 call #25 uncertain
            pass 3600000: ok
            tick: #27 call #25 uncertain | #28 run #16 step 1 attempt 2 escalated #0 nobody knows whether the call was done | #29 run #16 escalated, Failed { step: 2 }
            run: none
        "#]],
    );
}

/// A cell that was away for longer than a compensation may take tries it all the same.
#[test]
fn what_undoes_a_step_is_tried_however_late() {
    check(
        "define d pay: a=transfer/reverse b=call
         start r pay
         do
         do
         tried refused
         pass 90000000
         claim 2
         do
         define e pay2: a=transfer/reverse b=call
         start s pay2
         do
         do
         tried refused
         pass 90000000
         tick
         pass 10001
         tick",
        expect![[r#"
            define d pay: a=transfer/reverse b=call: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 Posted 10 019b76da-a800-7000-8000-00000019c0b0/a | #8 run #6 step 0 attempt 1 done #7  | -> Act #6 step 1 attempt 1
            do: #9 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #9 attempt 1
            tried refused: #10 call #9 ended refused | #11 run #6 step 1 attempt 1 failed #10 refused | -> Compensate #6 step 0 attempt 2
            pass 90000000: ok
            claim 2: #12 Claimed { node: "n" } | -> Compensate #6 step 0 attempt 2
            do: #13 Reversal 10 019b76da-a800-7000-8000-00000019c0b0/a/compensate | #14 run #6 step 0 attempt 2 compensated #13  | #15 run #6 compensated, Failed { step: 1 }
            define e pay2: a=transfer/reverse b=call: #16 defined pay2 1
            start s pay2: #17 started pay2 of #16 | -> Act #17 step 0 attempt 1
            do: #18 Posted 10 019b7c37-f280-7000-8000-00000045b90b/a | #19 run #17 step 0 attempt 1 done #18  | -> Act #17 step 1 attempt 1
            do: #20 call 019b7c37-f280-7000-8000-00000045b90b/b | -> call #20 attempt 1
            tried refused: #21 call #20 ended refused | #22 run #17 step 1 attempt 1 failed #21 refused | -> Compensate #17 step 0 attempt 2
            pass 90000000: ok
            tick: Evaluate { run: 17, step: 0, attempt: 2, ask: Compensate, until: Stamp(7239293378560000018) } | -> Compensate #17 step 0 attempt 2
            pass 10001: ok
            tick: #23 run #17 step 0 attempt 2 escalated #0 it was not begun in time | #24 run #17 escalated, Failed { step: 1 }
        "#]],
    );
}

/// What was captured stands until it is moved back: to void its hold would undo nothing.
#[test]
fn a_captured_hold_is_not_undone_by_a_void() {
    check(
        "define d pay: a=hold/void b=capture c=call
         start r pay
         do
         do
         do
         tried refused
         do
         define e pay2: a=hold/void b=capture/reverse c=call
         start s pay2
         do
         do
         do
         tried refused
         do
         do",
        expect![[r#"
            define d pay: a=hold/void b=capture c=call: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 Held 5 019b76da-a800-7000-8000-00000019c0b0/a | #8 run #6 step 0 attempt 1 done #7  | -> Act #6 step 1 attempt 1
            do: #9 Captured 5 019b76da-a800-7000-8000-00000019c0b0/b | #10 run #6 step 1 attempt 1 done #9  | -> Act #6 step 2 attempt 1
            do: #11 call 019b76da-a800-7000-8000-00000019c0b0/c | -> call #11 attempt 1
            tried refused: #12 call #11 ended refused | #13 run #6 step 2 attempt 1 failed #12 refused | -> Compensate #6 step 0 attempt 2
            do: #14 run #6 step 0 attempt 2 compensation_refused #0 HoldClosed 019b76da-a800-7000-8000-0000001ee512 had 0 wanted 0
            define e pay2: a=hold/void b=capture/reverse c=call: #15 defined pay2 1
            start s pay2: #16 started pay2 of #15 | -> Act #16 step 0 attempt 1
            do: #17 Held 5 019b76da-a800-7000-8000-000000401950/a | #18 run #16 step 0 attempt 1 done #17  | -> Act #16 step 1 attempt 1
            do: #19 Captured 5 019b76da-a800-7000-8000-000000401950/b | #20 run #16 step 1 attempt 1 done #19  | -> Act #16 step 2 attempt 1
            do: #21 call 019b76da-a800-7000-8000-000000401950/c | -> call #21 attempt 1
            tried refused: #22 call #21 ended refused | #23 run #16 step 2 attempt 1 failed #22 refused | -> Compensate #16 step 1 attempt 2
            do: #24 Reversal 5 019b76da-a800-7000-8000-000000401950/b/compensate | #25 run #16 step 1 attempt 2 compensated #24  | -> Compensate #16 step 0 attempt 2
            do: #26 run #16 step 0 attempt 2 compensated #0  | #27 run #16 compensated, Failed { step: 2 }
        "#]],
    );
}

#[test]
fn many_are_controlled_in_pages() {
    check(
        "define d pay: a=timer
         start r pay
         start s pay
         start t pay
         cancel-all m 2 0
         cancel-all n 2 7",
        expect![[r#"
            define d pay: a=timer: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            start s pay: #7 started pay of #5 | -> Act #7 step 0 attempt 1
            start t pay: #8 started pay of #5 | -> Act #8 step 0 attempt 1
            cancel-all m 2 0: #9 Controlled { run: 6, previous: 6, control: Cancel } | #10 run #6 compensated, Cancelled | #11 Controlled { run: 7, previous: 7, control: Cancel } | #12 run #7 compensated, Cancelled | #13 ControlledMany { control: Cancel, count: 2, next: 7 }
            cancel-all n 2 7: #14 Controlled { run: 8, previous: 8, control: Cancel } | #15 run #8 compensated, Cancelled | #16 ControlledMany { control: Cancel, count: 1, next: 0 }
        "#]],
    );
}

/// The receiver is told whether anybody had it from itself that the step was done. Of a step that is no call it is told
/// nothing.
#[test]
fn a_compensation_says_what_is_known_of_the_call_that_it_undoes() {
    check(
        "define d pay: a=call/call b=call/call c=transfer/call d=transfer
         start r pay
         do
         tried committed
         do
         tried uncertain
         pass 3600000
         tick
         resolve k 10 committed
         restart s 1
         do
         fail
         do
         tried committed
         do
         tried committed
         do
         tried committed",
        expect![[r#"
            define d pay: a=call/call b=call/call c=transfer/call d=transfer: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 call 019b76da-a800-7000-8000-00000019c0b0/a | -> call #7 attempt 1
            tried committed: #8 call #7 ended committed | #9 run #6 step 0 attempt 1 done #8 committed | -> Act #6 step 1 attempt 1
            do: #10 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #10 attempt 1
            tried uncertain: #11 call #10 uncertain
            pass 3600000: ok
            tick: #12 call #10 uncertain | #13 run #6 step 1 attempt 1 uncertain #0 nobody knows whether the call was done | #14 run #6 escalated
            resolve k 10 committed: #15 call #10 ended resolved_committed | #16 Resolved { call: 10, ended: 15, committed: true }
            restart s 1: #17 Restarted { run: 6, previous: 14, step: 1, deadline: Stamp(7238924697600000014) } | #18 run #6 step 1 attempt 1 done #15 it turned out to be done | #19 Controlled { run: 6, previous: 18, control: Restart { step: 1 } } | -> Act #6 step 2 attempt 1
            do: #20 Posted 10 019b76da-a800-7000-8000-00000019c0b0/c | #21 run #6 step 2 attempt 1 done #20  | -> Act #6 step 3 attempt 1
            fail: #22 run #6 step 3 attempt 1 failed #0 no such field | -> Compensate #6 step 2 attempt 2
            do: #23 call 019b76da-a800-7000-8000-00000019c0b0/c/compensate | -> call #23 attempt 1
            tried committed: #24 call #23 ended committed | #25 run #6 step 2 attempt 2 compensated #24 committed | -> Compensate #6 step 1 attempt 2
            do: #26 call 019b76da-a800-7000-8000-00000019c0b0/b/compensate, which undoes a call: Resolved | -> call #26 attempt 1
            tried committed: #27 call #26 ended committed | #28 run #6 step 1 attempt 2 compensated #27 committed | -> Compensate #6 step 0 attempt 2
            do: #29 call 019b76da-a800-7000-8000-00000019c0b0/a/compensate, which undoes a call: Done | -> call #29 attempt 1
            tried committed: #30 call #29 ended committed | #31 run #6 step 0 attempt 2 compensated #30 committed | #32 run #6 compensated, Failed { step: 3 }
        "#]],
    );
}

#[test]
fn many_are_restarted_at_once() {
    check(
        "define d pay: a=call! b=transfer
         define e ship: x=call! y=transfer
         start r pay
         do
         tried uncertain
         start s ship
         do
         tried uncertain
         start t pay
         do
         tried uncertain
         pass 3600000
         tick
         restart-all u pay b
         restart-all v pay nobody
         restart-all w any - 1
         restart-all x any a 10 13
         restart-all y any
         restart-all z any
         tick
         tried committed
         do",
        expect![[r#"
            define d pay: a=call! b=transfer: #5 defined pay 1
            define e ship: x=call! y=transfer: #6 defined ship 1
            start r pay: #7 started pay of #5 | -> Act #7 step 0 attempt 1
            do: #8 call 019b76da-a800-7000-8000-0000001ee512/a | -> call #8 attempt 1
            tried uncertain: #9 call #8 uncertain
            start s ship: #10 started ship of #6 | -> Act #10 step 0 attempt 1
            do: #11 call 019b76da-a800-7000-8000-00000029422b/x | -> call #11 attempt 1
            tried uncertain: #12 call #11 uncertain
            start t pay: #13 started pay of #5 | -> Act #13 step 0 attempt 1
            do: #14 call 019b76da-a800-7000-8000-000000367dc8/a | -> call #14 attempt 1
            tried uncertain: #15 call #14 uncertain
            pass 3600000: ok
            tick: #16 call #14 uncertain | #17 call #11 uncertain | #18 call #8 uncertain | #19 run #7 step 0 attempt 1 uncertain #0 nobody knows whether the call was done | #20 run #7 escalated | #21 run #10 step 0 attempt 1 uncertain #0 nobody knows whether the call was done | #22 run #10 escalated | #23 run #13 step 0 attempt 1 uncertain #0 nobody knows whether the call was done | #24 run #13 escalated
            restart-all u pay b: #25 Restarted { run: 13, previous: 24, step: 1, deadline: Stamp(7238924697600000018) } | #26 Controlled { run: 13, previous: 25, control: Restart { step: 1 } } | #27 run #13 escalated | #28 Restarted { run: 7, previous: 20, step: 1, deadline: Stamp(7238924697600000018) } | #29 Controlled { run: 7, previous: 28, control: Restart { step: 1 } } | #30 run #7 escalated | #31 ControlledMany { control: Restart { step: 0 }, count: 2, next: 0 }
            restart-all v pay nobody: #32 ControlledMany { control: Restart { step: 0 }, count: 0, next: 0 }
            restart-all w any - 1: #33 Restarted { run: 13, previous: 27, step: 0, deadline: Stamp(7238924697600000020) } | #34 Controlled { run: 13, previous: 33, control: Restart { step: 0 } } | #35 ControlledMany { control: Restart { step: 0 }, count: 1, next: 13 }
            restart-all x any a 10 13: #36 Restarted { run: 7, previous: 30, step: 0, deadline: Stamp(7238924697600000021) } | #37 Controlled { run: 7, previous: 36, control: Restart { step: 0 } } | #38 ControlledMany { control: Restart { step: 0 }, count: 1, next: 0 } | -> resend #14 attempt 2
            restart-all y any: #39 Restarted { run: 10, previous: 22, step: 0, deadline: Stamp(7238924697600000022) } | #40 Controlled { run: 10, previous: 39, control: Restart { step: 0 } } | #41 ControlledMany { control: Restart { step: 0 }, count: 1, next: 0 } | -> resend #8 attempt 2
            restart-all z any: #42 ControlledMany { control: Restart { step: 0 }, count: 0, next: 0 } | -> resend #11 attempt 2
            tick: 
            tried committed: #43 call #14 ended committed | #44 run #13 step 0 attempt 1 done #43 committed | -> Act #13 step 1 attempt 1
            do: #45 Posted 10 019b76da-a800-7000-8000-000000367dc8/b | #46 run #13 step 1 attempt 1 done #45  | #47 run #13 done
        "#]],
    );
}

/// The page of the run around it comes behind the page of the nested run.
#[test]
fn a_nested_run_and_the_run_around_it_are_restarted_from_page_to_page() {
    check(
        "define i inner: x=call! y=transfer
         define o outer: n=saga z=transfer
         start r outer
         do inner
         do
         tried uncertain
         pass 3600000
         tick
         restart-all s any - 1
         restart-all t any - 1 8
         tick
         tried committed
         do
         do",
        expect![[r#"
            define i inner: x=call! y=transfer: #5 defined inner 1
            define o outer: n=saga z=transfer: #6 defined outer 1
            start r outer: #7 started outer of #6 | -> Act #7 step 0 attempt 1
            do inner: #8 started inner of #5 | -> Act #8 step 0 attempt 1
            do: #9 call 019b76da-a800-7000-8000-00000022a933/x | -> call #9 attempt 1
            tried uncertain: #10 call #9 uncertain
            pass 3600000: ok
            tick: #11 call #9 uncertain | #12 run #8 step 0 attempt 1 uncertain #0 nobody knows whether the call was done | #13 run #8 escalated, Cancelled | #14 run #7 step 0 attempt 1 uncertain #13 escalated | #15 run #7 escalated
            restart-all s any - 1: #16 Restarted { run: 8, previous: 13, step: 0, deadline: Stamp(7238924697600000013) } | #17 Controlled { run: 8, previous: 16, control: Restart { step: 0 } } | #18 ControlledMany { control: Restart { step: 0 }, count: 1, next: 8 }
            restart-all t any - 1 8: #19 Restarted { run: 7, previous: 15, step: 0, deadline: Stamp(7238924697600000014) } | #20 Controlled { run: 7, previous: 19, control: Restart { step: 0 } } | #21 ControlledMany { control: Restart { step: 0 }, count: 1, next: 0 } | -> resend #9 attempt 2
            tick: 
            tried committed: #22 call #9 ended committed | #23 run #8 step 0 attempt 1 done #22 committed | -> Act #8 step 1 attempt 1
            do: #24 Posted 10 019b76da-a800-7000-8000-00000022a933/y | #25 run #8 step 1 attempt 1 done #24  | #26 run #8 done | #27 run #7 step 0 attempt 1 done #26 done | -> Act #7 step 1 attempt 1
            do: #28 Posted 10 019b76da-a800-7000-8000-0000001ee512/z | #29 run #7 step 1 attempt 1 done #28  | #30 run #7 done
        "#]],
    );
}

/// Whichever of them the list has first, the nested run goes on before the one around it.
#[test]
fn a_nested_run_and_the_run_around_it_are_restarted_together() {
    check(
        "define i inner: x=call! y=transfer
         define o outer: n=saga z=transfer
         start r outer
         do inner
         do
         tried uncertain
         pass 3600000
         tick
         restart-all s any
         tick
         tried committed
         do
         do",
        expect![[r#"
            define i inner: x=call! y=transfer: #5 defined inner 1
            define o outer: n=saga z=transfer: #6 defined outer 1
            start r outer: #7 started outer of #6 | -> Act #7 step 0 attempt 1
            do inner: #8 started inner of #5 | -> Act #8 step 0 attempt 1
            do: #9 call 019b76da-a800-7000-8000-00000022a933/x | -> call #9 attempt 1
            tried uncertain: #10 call #9 uncertain
            pass 3600000: ok
            tick: #11 call #9 uncertain | #12 run #8 step 0 attempt 1 uncertain #0 nobody knows whether the call was done | #13 run #8 escalated, Cancelled | #14 run #7 step 0 attempt 1 uncertain #13 escalated | #15 run #7 escalated
            restart-all s any: #16 Restarted { run: 8, previous: 13, step: 0, deadline: Stamp(7238924697600000013) } | #17 Controlled { run: 8, previous: 16, control: Restart { step: 0 } } | #18 Restarted { run: 7, previous: 15, step: 0, deadline: Stamp(7238924697600000013) } | #19 Controlled { run: 7, previous: 18, control: Restart { step: 0 } } | #20 ControlledMany { control: Restart { step: 0 }, count: 2, next: 0 }
            tick: Try { call: 9, attempt: 2, phase: Resend, until: Stamp(7238570844160000014) } | -> resend #9 attempt 2
            tried committed: #21 call #9 ended committed | #22 run #8 step 0 attempt 1 done #21 committed | -> Act #8 step 1 attempt 1
            do: #23 Posted 10 019b76da-a800-7000-8000-00000022a933/y | #24 run #8 step 1 attempt 1 done #23  | #25 run #8 done | #26 run #7 step 0 attempt 1 done #25 done | -> Act #7 step 1 attempt 1
            do: #27 Posted 10 019b76da-a800-7000-8000-0000001ee512/z | #28 run #7 step 1 attempt 1 done #27  | #29 run #7 done
        "#]],
    );
}
