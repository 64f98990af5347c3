//! Runs told step by step, and whole runs against what must hold of every one.

mod model;
mod restart;
mod world;

use expect_test::{Expect, expect};
use words::Stamp;

use self::world::{Sagas, plan};
use super::next::{Move, Outcome, after, next};
use super::run::{Busy, Run, Slot, Stage, StepState, Why};
use super::*;

/// Runs the lines and compares what each answered.
#[track_caller]
fn check(lines: &str, expect: Expect) {
    expect.assert_eq(&Sagas::new().talk(lines));
}

#[test]
fn done_in_order() {
    check(
        "define d pay: a=transfer/reverse b=hold/void c=capture
         start r pay
         do
         do
         do
         start r pay
         run",
        expect![[r#"
            define d pay: a=transfer/reverse b=hold/void c=capture: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 Posted 10 019b76da-a800-7000-8000-00000019c0b0/a | #8 run #6 step 0 attempt 1 done #7  | -> Act #6 step 1 attempt 1
            do: #9 Held 5 019b76da-a800-7000-8000-00000019c0b0/b | #10 run #6 step 1 attempt 1 done #9  | -> Act #6 step 2 attempt 1
            do: #11 Captured 5 019b76da-a800-7000-8000-00000019c0b0/c | #12 run #6 step 2 attempt 1 done #11  | #13 run #6 done
            start r pay: again #13 run #6 done
            run: none
        "#]],
    );
}

#[test]
fn undone_in_reverse_order() {
    check(
        "define d pay: a=transfer/reverse b=hold/void c=call
         start r pay
         do
         do
         do
         tried refused
         do
         do",
        expect![[r#"
            define d pay: a=transfer/reverse b=hold/void c=call: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 Posted 10 019b76da-a800-7000-8000-00000019c0b0/a | #8 run #6 step 0 attempt 1 done #7  | -> Act #6 step 1 attempt 1
            do: #9 Held 5 019b76da-a800-7000-8000-00000019c0b0/b | #10 run #6 step 1 attempt 1 done #9  | -> Act #6 step 2 attempt 1
            do: #11 call 019b76da-a800-7000-8000-00000019c0b0/c | -> call #11 attempt 1
            tried refused: #12 call #11 ended refused | #13 run #6 step 2 attempt 1 failed #12 refused | -> Compensate #6 step 1 attempt 2
            do: #14 Voided 5 019b76da-a800-7000-8000-00000019c0b0/b/compensate | #15 run #6 step 1 attempt 2 compensated #14  | -> Compensate #6 step 0 attempt 2
            do: #16 Reversal 10 019b76da-a800-7000-8000-00000019c0b0/a/compensate | #17 run #6 step 0 attempt 2 compensated #16  | #18 run #6 compensated, Failed { step: 2 }
        "#]],
    );
}

#[test]
fn what_is_uncertain_is_settled_before_it_is_undone() {
    check(
        "define d pay: a=transfer/reverse b=call/call
         start r pay
         do
         do
         cancel k
         tried uncertain
         pass 60000
         tick
         tried committed
         do
         tried committed
         do",
        expect![[r#"
            define d pay: a=transfer/reverse b=call/call: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 Posted 10 019b76da-a800-7000-8000-00000019c0b0/a | #8 run #6 step 0 attempt 1 done #7  | -> Act #6 step 1 attempt 1
            do: #9 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #9 attempt 1
            cancel k: #10 Controlled { run: 6, previous: 8, control: Cancel }
            tried uncertain: #11 call #9 uncertain
            pass 60000: ok
            tick: Try { call: 9, attempt: 2, phase: Resend, until: Stamp(7238556344320000012) } | -> resend #9 attempt 2
            tried committed: #12 call #9 ended committed | #13 run #6 step 1 attempt 1 done #12 committed | -> Compensate #6 step 1 attempt 2
            do: #14 call 019b76da-a800-7000-8000-00000019c0b0/b/compensate, which undoes a call: Done | -> call #14 attempt 1
            tried committed: #15 call #14 ended committed | #16 run #6 step 1 attempt 2 compensated #15 committed | -> Compensate #6 step 0 attempt 2
            do: #17 Reversal 10 019b76da-a800-7000-8000-00000019c0b0/a/compensate | #18 run #6 step 0 attempt 2 compensated #17  | #19 run #6 compensated, Cancelled
        "#]],
    );
}

#[test]
fn what_is_called_again_is_no_first_attempt() {
    // What undoes a step is begun anew while it is refused; so is what comes after the pivot. Each first call of its key is
    // a first attempt, however often the step itself was tried before.
    check(
        "define d pay: a=call/call b=call
         start r pay
         do
         tried committed
         do
         tried refused
         do
         tried not_done
         pass 200
         tick
         do
         tried uncertain
         pass 1000
         tick
         tried not_done",
        expect![[r#"
            define d pay: a=call/call b=call: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 call 019b76da-a800-7000-8000-00000019c0b0/a | -> call #7 attempt 1
            tried committed: #8 call #7 ended committed | #9 run #6 step 0 attempt 1 done #8 committed | -> Act #6 step 1 attempt 1
            do: #10 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #10 attempt 1
            tried refused: #11 call #10 ended refused | #12 run #6 step 1 attempt 1 failed #11 refused | -> Compensate #6 step 0 attempt 2
            do: #13 call 019b76da-a800-7000-8000-00000019c0b0/a/compensate, which undoes a call: Done | -> call #13 attempt 1
            tried not_done: #14 call #13 ended not_done | #15 run #6 step 0 attempt 2 compensation_refused #14 not_done
            pass 200: ok
            tick: Evaluate { run: 6, step: 0, attempt: 3, ask: Compensate, until: Stamp(7238556099379200014) } | -> Compensate #6 step 0 attempt 3
            do: #16 call 019b76da-a800-7000-8000-00000019c0b0/a/compensate, which undoes a call: Done | -> call #16 attempt 2
            tried uncertain: #17 call #16 uncertain
            pass 1000: ok
            tick: Try { call: 16, attempt: 3, phase: Resend, until: Stamp(7238556103475200017) } | -> resend #16 attempt 3
            tried not_done: #18 call #16 not_done
        "#]],
    );
    check(
        "define d pay: a=call! b=call
         start r pay
         do
         tried committed
         do
         tried refused
         pass 200
         tick
         do",
        expect![[r#"
            define d pay: a=call! b=call: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 call 019b76da-a800-7000-8000-00000019c0b0/a | -> call #7 attempt 1
            tried committed: #8 call #7 ended committed | #9 run #6 step 0 attempt 1 done #8 committed | -> Act #6 step 1 attempt 1
            do: #10 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #10 attempt 1
            tried refused: #11 call #10 ended refused | #12 run #6 step 1 attempt 1 failed #11 refused
            pass 200: ok
            tick: Evaluate { run: 6, step: 1, attempt: 2, ask: Act, until: Stamp(7238556099379200012) } | -> Act #6 step 1 attempt 2
            do: #13 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #13 attempt 2
        "#]],
    );
}

#[test]
fn a_person_has_the_last_word() {
    check(
        "define d pay: a=transfer/reverse b=call/call
         start r pay
         do
         do
         tried uncertain
         pass 3600000
         tick
         run",
        expect![[r#"
            define d pay: a=transfer/reverse b=call/call: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 Posted 10 019b76da-a800-7000-8000-00000019c0b0/a | #8 run #6 step 0 attempt 1 done #7  | -> Act #6 step 1 attempt 1
            do: #9 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #9 attempt 1
            tried uncertain: #10 call #9 uncertain
            pass 3600000: ok
            tick: #11 call #9 uncertain | #12 run #6 step 1 attempt 1 uncertain #0 nobody knows whether the call was done | #13 run #6 escalated
            run: none
        "#]],
    );
}

#[test]
fn past_the_pivot_it_goes_forward() {
    check(
        "define d pay: a=transfer/reverse b=call! c=hold
         start r pay
         do
         do
         tried committed
         cancel k
         fail
         run
         pass 200
         tick
         do",
        expect![[r#"
            define d pay: a=transfer/reverse b=call! c=hold: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            do: #7 Posted 10 019b76da-a800-7000-8000-00000019c0b0/a | #8 run #6 step 0 attempt 1 done #7  | -> Act #6 step 1 attempt 1
            do: #9 call 019b76da-a800-7000-8000-00000019c0b0/b | -> call #9 attempt 1
            tried committed: #10 call #9 ended committed | #11 run #6 step 1 attempt 1 done #10 committed | -> Act #6 step 2 attempt 1
            cancel k: #12 refused RunPastPivot  had 6 wanted 0
            fail: #13 run #6 step 2 attempt 1 failed #0 no such field
            run: running: a done, b done, c retrying
            pass 200: ok
            tick: Evaluate { run: 6, step: 2, attempt: 2, ask: Act, until: Stamp(7238556099379200013) } | -> Act #6 step 2 attempt 2
            do: #14 Held 5 019b76da-a800-7000-8000-00000019c0b0/c | #15 run #6 step 2 attempt 2 done #14  | #16 run #6 done
        "#]],
    );
}

#[test]
fn time_alone() {
    check(
        "define d pay: a=timer b=call/call
         delayed r pay 5000
         run
         pass 5000
         tick
         do
         pass 1000
         tick
         pass 30001
         tick",
        expect![[r#"
            define d pay: a=timer b=call/call: #5 defined pay 1
            delayed r pay 5000: #6 started pay of #5
            run: delayed: a pending, b pending
            pass 5000: ok
            tick: Evaluate { run: 6, step: 0, attempt: 1, ask: Act, until: Stamp(7238556119040000008) } | -> Act #6 step 0 attempt 1
            do: noted
            pass 1000: ok
            tick: #7 run #6 step 0 attempt 1 done #0  | -> Act #6 step 1 attempt 1
            pass 30001: ok
            tick: #8 run #6 step 1 attempt 1 failed #0 it was not begun in time | #9 run #6 compensated, Failed { step: 1 }
        "#]],
    );
}

#[test]
fn controls() {
    check(
        "define d pay: a=timer b=transfer
         start r pay
         pause p
         do
         pass 1000
         tick
         run
         resume u
         cancel c
         pause q
         restart s 0
         cancel-all m",
        expect![[r#"
            define d pay: a=timer b=transfer: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            pause p: #7 Controlled { run: 6, previous: 6, control: Pause }
            do: noted
            pass 1000: ok
            tick: #8 run #6 step 0 attempt 1 done #0 
            run: paused: a done, b pending
            resume u: #9 Controlled { run: 6, previous: 8, control: Resume } | -> Act #6 step 1 attempt 1
            cancel c: #10 Controlled { run: 6, previous: 9, control: Cancel } | #11 run #6 compensated, Cancelled
            pause q: #12 refused RunState  had 6 wanted 0
            restart s 0: #13 refused RunState  had 6 wanted 0
            cancel-all m: #14 ControlledMany { control: Cancel, count: 0, next: 0 }
        "#]],
    );
}

#[test]
fn nested() {
    check(
        "define d inner: x=transfer/reverse y=call
         define e outer: a=saga b=transfer
         start r outer
         do inner
         do
         do
         tried refused
         do",
        expect![[r#"
            define d inner: x=transfer/reverse y=call: #5 defined inner 1
            define e outer: a=saga b=transfer: #6 defined outer 1
            start r outer: #7 started outer of #6 | -> Act #7 step 0 attempt 1
            do inner: #8 started inner of #5 | -> Act #8 step 0 attempt 1
            do: #9 Posted 10 019b76da-a800-7000-8000-00000022a933/x | #10 run #8 step 0 attempt 1 done #9  | -> Act #8 step 1 attempt 1
            do: #11 call 019b76da-a800-7000-8000-00000022a933/y | -> call #11 attempt 1
            tried refused: #12 call #11 ended refused | #13 run #8 step 1 attempt 1 failed #12 refused | -> Compensate #8 step 0 attempt 2
            do: #14 Reversal 10 019b76da-a800-7000-8000-00000022a933/x/compensate | #15 run #8 step 0 attempt 2 compensated #14  | #16 run #8 compensated, Failed { step: 1 } | #17 run #7 step 0 attempt 1 failed #16 compensated | #18 run #7 compensated, Failed { step: 0 }
        "#]],
    );
}

#[test]
fn a_new_leader_asks_again() {
    check(
        "define d pay: a=transfer b=transfer
         start r pay
         claim 2
         do
         claim 3
         do",
        expect![[r#"
            define d pay: a=transfer b=transfer: #5 defined pay 1
            start r pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            claim 2: #7 Claimed { node: "n" } | -> Act #6 step 0 attempt 1
            do: #8 Posted 10 019b76da-a800-7000-8000-00000019c0b0/a | #9 run #6 step 0 attempt 1 done #8  | -> Act #6 step 1 attempt 1
            claim 3: #10 Claimed { node: "n" } | -> Act #6 step 1 attempt 1
            do: #11 Posted 10 019b76da-a800-7000-8000-00000019c0b0/b | #12 run #6 step 1 attempt 1 done #11  | #13 run #6 done
        "#]],
    );
}

#[test]
fn versions() {
    check(
        "define d1 pay: a=transfer
         start r1 pay
         define d2 pay: a=timer
         do
         start r2 pay
         do
         start r3 nobody",
        expect![[r#"
            define d1 pay: a=transfer: #5 defined pay 1
            start r1 pay: #6 started pay of #5 | -> Act #6 step 0 attempt 1
            define d2 pay: a=timer: #7 defined pay 2
            do: #8 Posted 10 019b76da-a800-7000-8000-00000019c0b0/a | #9 run #6 step 0 attempt 1 done #8  | #10 run #6 done
            start r2 pay: #11 started pay of #7 | -> Act #11 step 0 attempt 1
            do: noted
            start r3 nobody: #12 refused SagaNotFound nobody had 0 wanted 0
        "#]],
    );
}

/// The table in `next`, every combination.
#[test]
fn where_an_attempt_leaves_its_step() {
    let due = Stamp::from_micros(7);
    let again = |undoes| StepState::Busy { undoes, at: Busy::Retrying { due } };
    let stuck = |undoes| StepState::Stuck { undoes, on: 9 };
    for (undoes, outcome, may_retry, expected) in [
        (false, Outcome::Done, true, StepState::Done),
        (false, Outcome::Done, false, StepState::Done),
        (false, Outcome::Refused, true, again(false)),
        (false, Outcome::Refused, false, StepState::Failed),
        (false, Outcome::Failed, true, StepState::Failed),
        (false, Outcome::Failed, false, StepState::Failed),
        (false, Outcome::Stuck, true, stuck(false)),
        (false, Outcome::Stuck, false, stuck(false)),
        (true, Outcome::Done, true, StepState::Undone),
        (true, Outcome::Done, false, StepState::Undone),
        (true, Outcome::Refused, true, again(true)),
        (true, Outcome::Refused, false, stuck(true)),
        (true, Outcome::Failed, true, stuck(true)),
        (true, Outcome::Failed, false, stuck(true)),
        (true, Outcome::Stuck, true, stuck(true)),
        (true, Outcome::Stuck, false, stuck(true)),
    ] {
        assert_eq!(after(undoes, outcome, may_retry, due, 9), expected, "{undoes} {outcome:?} {may_retry}");
    }
}

/// The table of going forward in `next`: the state of a pivot, of the step after it, why, and whether time is up.
#[test]
fn what_a_run_does_next() {
    let calling = StepState::Busy { undoes: false, at: Busy::Calling { call: 9 } };
    let (done, failed, pending) = (StepState::Done, StepState::Failed, StepState::Pending);
    let stuck = StepState::Stuck { undoes: false, on: 9 };
    let why = Some(Why::Cancelled);
    let end = |end| Some(Move::End(end));
    for (pivot, after, why, expired, expected) in [
        (done, done, None, false, end(RunEnd::Done)),
        (done, done, why, true, end(RunEnd::Done)),
        (pending, pending, None, false, Some(Move::Begin { step: 0 })),
        (done, pending, None, false, Some(Move::Begin { step: 1 })),
        (calling, pending, None, false, None),
        (calling, pending, why, false, None),
        (calling, pending, why, true, None),
        (stuck, pending, None, false, end(RunEnd::Escalated)),
        (stuck, pending, why, false, end(RunEnd::Escalated)),
        (pending, pending, why, false, Some(Move::TurnBack)),
        (failed, pending, why, false, Some(Move::TurnBack)),
        (failed, pending, why, true, Some(Move::TurnBack)),
        (done, failed, why, false, Some(Move::GoOn)),
        (done, failed, why, true, end(RunEnd::Escalated)),
        (done, calling, why, true, None),
        (done, calling, None, false, None),
        (done, stuck, None, false, end(RunEnd::Escalated)),
    ] {
        let slot = |state| Slot { state, ..Slot::NEW };
        let run = Run {
            definition: 0,
            plan: std::sync::Arc::new(plan("p=call! q=call")),
            stage: Stage::Forward,
            paused: false,
            expired,
            why,
            started: Stamp::ZERO,
            deadline: Stamp::MAX,
            parent: None,
            depth: 0,
            ended: 0,
            newest: 0,
            steps: vec![slot(pivot), slot(after)],
        };
        assert_eq!(next(&run, Stamp::ZERO), expected, "{pivot:?} {after:?} {why:?} {expired}");
    }
}
