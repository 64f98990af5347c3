//! The log on real PostgreSQL: the contract's kit, also with the server failing underneath, and each thing that can be wrong
//! with what is around it.
//!
//! Where PostgreSQL is not installed it says `not run`, never `ok`.

mod answers;
mod checkpoints;
mod faults;
mod kit;
mod quorum;
mod server;
mod surroundings;
mod tls;
mod upkeep;
mod writers;

use server::Server;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

type Test = fn(&mut Server);

const TESTS: &[(&str, Test)] = &[
    ("the_kit", kit::plain),
    ("the_kit_with_sessions_terminated", kit::with_sessions_terminated),
    ("the_kit_through_a_relay_that_cuts", kit::through_a_relay_that_cuts),
    ("the_kit_with_crashes", kit::with_crashes),
    ("a_second_claimant_and_a_zombie", writers::second_claimant_and_zombie),
    ("a_zombie_that_is_not_run_yet_never_lands", writers::paused_zombie),
    ("pipelined_zombies_and_gaps_insert_nothing", writers::pipelined_zombies_and_gaps),
    ("a_seal_and_an_append_meet", writers::seal_against_appends),
    ("partitions_come_and_go", upkeep::partitions_come_and_go),
    ("partitions_come_and_go_beside_appends", upkeep::beside_appends),
    ("followers_read_what_is_committed", writers::followers),
    ("wrong_surroundings_are_clear_errors", surroundings::table),
    ("a_wrong_password_is_a_clear_error", surroundings::password),
    ("what_the_server_answers", answers::table),
    ("checkpoints_are_kept_whole", checkpoints::kept_whole),
    ("what_tls_takes_and_refuses", tls::modes),
    ("read_only_for_a_while", surroundings::read_only),
    ("damage_is_found", surroundings::damage),
    ("a_cancelled_wait_for_a_standby_is_unknown", quorum::cancelled_waits),
    ("a_standby_that_is_away", quorum::absent_standby),
    ("a_server_that_waits_for_nobody_gives_no_quorum", quorum::no_standby_is_named),
    ("a_standby_promoted_without_all_of_the_log", quorum::promoted_without_all),
];

fn main() -> ExitCode {
    // The standard harness's way to ask what there is. A runner that knows only "ok" and "failed" cannot say of this one
    // that it was not run; `cargo xtask test` runs it by itself.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let mut server = match Server::start() {
        Ok(server) => server,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("not run: {error}");
            println!("test postgres ... ignored, not run\n\ntest result: ok. 0 passed; 0 failed; 1 ignored");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            println!("{error}\ntest postgres ... FAILED\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
            return ExitCode::FAILURE;
        }
    };
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS.iter().filter(|(name, _)| is_wanted(name)) {
        let began = std::time::Instant::now();
        let is_ok = catch_unwind(AssertUnwindSafe(|| test(&mut server))).is_ok();
        println!("test {name} ... {} ({} ms)", if is_ok { "ok" } else { "FAILED" }, began.elapsed().as_millis());
        passed += usize::from(is_ok);
        failed += usize::from(!is_ok);
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
