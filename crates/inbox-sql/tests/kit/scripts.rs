//! The promises, one script each.

use super::Hand;

/// All that this hand must play, each with its name.
pub(crate) fn of<H: Hand>() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    SCRIPTS.iter().chain(if H::ONE_WRITER { SCRIPTS_OF_ONE_WRITER } else { SCRIPTS_OF_MANY_WRITERS })
}

/// What every hand must play.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "a_call_is_answered_once",
        "a begin
         a enter k x => first
         a effect pay
         a finish 201 paid
         a commit
         b begin
         b enter k x => again 201 paid
         b commit
         b effects => pay",
    ),
    (
        "a_refusal_is_remembered_too",
        "a begin
         a enter k x => first
         a finish 409 no
         a commit
         a begin
         a enter k x => again 409 no",
    ),
    (
        "a_key_belongs_to_one_request",
        "a begin
         a enter k x => first
         a finish 200
         a commit
         a begin
         a enter k y => reused
         a commit
         a begin
         a enter k x => again 200",
    ),
    (
        "what_is_rolled_back_never_was",
        "a begin
         a enter k x => first
         a effect pay
         a finish 201 paid
         a rollback
         b begin
         b enter k x => first
         b rollback
         b effects =>",
    ),
    (
        "a_connection_that_vanishes_leaves_nothing",
        "a begin
         a enter k x => first
         a effect pay
         a finish 201 paid
         a vanish
         b begin
         b enter k y => first
         b finish 201 other
         b commit
         b effects =>",
    ),
    (
        "a_dropped_ticket_keeps_the_transaction_from_committing",
        "a begin
         a enter k x => first
         a effect pay
         a drop
         a commit => unanswered
         a effects =>
         a begin
         a enter k x => first",
    ),
    (
        "a_key_entered_twice_in_a_transaction_is_a_mistake",
        "a begin
         a enter k x => first
         a enter k x => unfinished
         a rollback",
    ),
    (
        "a_ticket_is_finished_where_it_was_given",
        "a begin
         a enter k x => first
         a sql DELETE FROM tertium_inbox
         a finish 200 => ticket elsewhere
         a rollback",
    ),
    (
        "a_rival_waits_for_the_answer",
        "a begin
         a enter k x => first
         b begin ...
         a finish 201 paid
         a commit
         b ends => ok
         b enter k x => again 201 paid",
    ),
    (
        "two_keys_in_one_transaction",
        "a begin
         a enter k x => first
         a finish 200 one
         a enter l x => first
         a finish 200 two
         a enter k x => again 200 one
         a commit
         b begin
         b enter l x => again 200 two",
    ),
    (
        "a_compensation_before_its_step_bars_it",
        "a begin
         a compensate k c x => first, never ran
         a finish 200 nothing
         a commit
         b begin
         b enter k x => barred
         b commit
         b begin
         b compensate k c x => again 200 nothing",
    ),
    (
        "a_compensation_is_told_what_the_step_did",
        "a begin
         a enter k x => first
         a finish 201 paid
         a commit
         a begin
         a enter l x => first
         a finish 422 poor
         a commit
         a begin
         a compensate k ck x => first, ran 201 paid
         a finish 200
         a compensate l cl x => first, refused 422 poor
         a finish 200
         a commit
         a begin
         a enter k x => again 201 paid",
    ),
    (
        "a_compensation_that_is_rolled_back_bars_nothing",
        "a begin
         a compensate k c x => first, never ran
         a rollback
         a begin
         a enter k x => first",
    ),
    (
        "a_step_does_not_compensate_itself",
        "a begin
         a compensate k k x => unfinished
         a rollback",
    ),
    (
        "asking_decides",
        "a begin
         a probe k => barred
         a commit
         a begin
         a enter k x => barred
         a probe k => barred
         a enter l x => first
         a finish 201 paid
         a probe l => answered 201 paid
         a commit
         a begin
         a probe l => answered 201 paid",
    ),
    (
        "an_older_token_is_refused_and_nothing_is_kept",
        "a begin
         a enter k x lease 7 => first
         a finish 200
         a commit
         a begin
         a enter l x lease 6 => stale 7
         a commit
         a begin
         a enter l x lease 7 => first
         a finish 200
         a enter m x lease 9 => first
         a finish 200
         a enter n x other 1 => first
         a finish 200
         a commit
         a begin
         a enter k x lease 1 => again 200
         a enter o x lease 8 => stale 9
         a compensate k c x lease 8 => stale 9
         a enter o x lease 9223372036854775808 => out of range
         a rollback",
    ),
    (
        "a_token_that_was_rolled_back_was_not_seen",
        "a begin
         a enter k x lease 7 => first
         a rollback
         a begin
         a enter k x lease 6 => first",
    ),
    (
        "offsets_may_have_gaps_but_never_return",
        "a begin
         a event p 3 => first
         a event p 7 => first
         a commit
         b begin
         b event p 7 => seen
         b event p 5 => seen
         b event q 5 => first
         b event p 8 => first
         b rollback
         b begin
         b event p 8 => first
         b event q 5 => first
         b event r 0 => first
         b event r 0 => seen
         b event r 9223372036854775808 => out of range
         b rollback",
    ),
    (
        "collection_keeps_what_is_inside_the_window",
        "a begin
         a enter old x => first
         a finish 200
         a probe barred => barred
         a event old 1 => first
         a commit
         a age 60000
         a begin
         a enter young x => first
         a finish 201
         a event young 1 => first
         a commit
         a collect 120000 => 0 keys, 0 partitions
         a collect 30000 => 2 keys, 1 partitions
         a begin
         a enter young x => again 201
         a event young 1 => seen
         a enter old x => first
         a finish 202
         a event old 1 => first
         a commit",
    ),
    (
        "collection_is_done_in_bounded_batches",
        "a begin
         a probe k1 => barred
         a probe k2 => barred
         a probe k3 => barred
         a commit
         a age 60000
         a collect 30000 1 => 2 keys, 0 partitions, more
         a collect 30000 1 => 1 keys, 0 partitions",
    ),
    (
        "the_tables_are_installed_once",
        "a begin
         a probe k => barred
         a commit
         a install
         b install
         b begin
         b enter k x => barred
         b commit
         b sql INSERT INTO tertium_schema (version) VALUES (99)
         b install => schema newer",
    ),
    (
        "an_answer_may_be_empty_or_in_any_alphabet",
        "a begin
         a enter k x => first
         a finish 204
         a enter l x => first
         a finish 200 {\"état\":\"日\"}
         a commit
         a begin
         a enter k x => again 204
         a enter l x => again 200 {\"état\":\"日\"}",
    ),
];

/// What a hand plays whose transactions wait for each other only over the same key.
const SCRIPTS_OF_MANY_WRITERS: &[(&str, &str)] = &[
    (
        "a_rival_of_the_same_key_is_in_flight_and_another_key_is_not",
        "a begin
         a enter k x => first
         b begin 20
         b enter l x => first
         b finish 200
         b commit
         b begin 20
         b enter k x => in flight
         b rollback
         b begin 20
         b probe k => in flight
         b rollback
         b begin 20
         b compensate k c x => in flight
         b rollback
         a finish 201 paid
         a commit
         b begin 20
         b enter k x => again 201 paid",
    ),
    (
        "a_rival_that_waits_has_the_answer_or_the_place",
        "a begin
         a enter k x => first
         b begin
         b enter k x ...
         a finish 201 paid
         a commit
         b ends => again 201 paid
         b commit
         a begin
         a enter l x => first
         b begin
         b enter l x ...
         a rollback
         b ends => first",
    ),
    (
        "a_late_step_waits_for_its_compensation",
        "a begin
         a compensate k c x => first, never ran
         b begin
         b enter k x ...
         a finish 200
         a commit
         b ends => barred",
    ),
    (
        "a_partition_and_a_resource_are_in_flight_one_at_a_time",
        "a begin
         a event p 1 => first
         a enter k x lease 1 => first
         b begin 20
         b event p 2 => in flight
         b rollback
         b begin 20
         b enter l x lease 2 => in flight
         b rollback
         b begin 20
         b event q 1 => first
         b enter l x other 2 => first",
    ),
];

/// What a hand plays that has one writer.
const SCRIPTS_OF_ONE_WRITER: &[(&str, &str)] = &[(
    "a_rival_of_any_key_is_in_flight",
    "a begin
     a enter k x => first
     b begin 20 => in flight
     a finish 201 paid
     a commit
     b begin 20
     b enter k x => again 201 paid",
)];

pub(crate) fn collected(collected: &inbox_sql::Collected) -> String {
    let more = if collected.more { ", more" } else { "" };
    format!("{} keys, {} partitions{more}", collected.keys, collected.partitions)
}
