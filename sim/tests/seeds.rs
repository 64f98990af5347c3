//! Seeds that found something once, run again: each with what it found.

use tertium_sim::{Settings, run};

#[track_caller]
fn check(seed: u64) {
    let outcome = run(Settings::of(seed));
    assert_eq!(outcome.violation, None);
    assert_eq!(run(Settings::of(seed)).trace_digest, outcome.trace_digest, "the same seed, the same trace");
}

/// After a restart with a wall clock far behind the log, timers stood still: calls never ended, holds never expired.
#[test]
fn time_passes_after_a_restart_behind_the_log() {
    [2, 7, 13].into_iter().for_each(check);
}

/// Whoever had joined a queued operation waited for as long as the last of those who asked for the same.
#[test]
fn each_has_an_answer_by_their_own_deadline() {
    [37, 179].into_iter().for_each(check);
}

/// A cell that lost its log answered those who waited for calls in an order that nothing fixed.
#[test]
fn who_is_given_up_is_answered_in_order() {
    [72, 90].into_iter().for_each(check);
}

/// A delivery that had passed over many records with nothing wanted among them told so without end.
#[test]
fn what_was_passed_over_is_told_once() {
    [137, 290].into_iter().for_each(check);
}

/// Runs of sagas, some of them restarted, and events that are delivered for days.
#[test]
fn sagas_and_events() {
    [36, 57, 112, 216].into_iter().for_each(check);
}

/// A person said that a step's call was not done, which it was, and had the run restarted: the call that followed was turned
/// away, which said nothing about the first.
#[test]
fn a_persons_word_is_not_held_against_the_next_call() {
    check(14_007);
}
