//! A terminal session with sagas, from the definition to the end of a run.

mod session;

use expect_test::expect;
use session::Session;

#[test]
fn sagas() {
    let mut session = Session::new();
    session.serve("data");
    session.write(
        "pay.saga.yaml",
        "name: pay\ninput: { to: { type: id }, n: { type: amount } }\nsteps:\n  - { id: move, transfer: { from: world, to: \"${input.to}\", amount: \"${input.n}\" } }\noutput: { moved: \"${steps.move.amount}\" }\n",
    );
    session.write("wait.saga.json", r#"{"name":"wait","steps":[{"id":"rest","timer":{"for_ms":3600000}}]}"#);
    session.write("wrong.saga.yaml", "name: wrong\nsteps: [{ id: a }, { id: a, timer: { for_ms: 0 } }]\n");
    let transcript = session.transcript(&[
        "account open world --unit GBP --no-floor --key open-1",
        "account open alice --unit GBP --key open-2",
        "saga define pay.saga.yaml --key define-1",
        "saga define wait.saga.json --key define-2",
        "saga define wrong.saga.yaml --key define-3",
        "saga list",
        r#"saga run pay --input '{"to":"alice","n":250}' --key run-1"#,
        r#"saga run pay --input '{"to":"nobody","n":250}' --key run-2"#,
        "saga run wait --no-wait --key run-3",
        "run list",
        "run pause --saga wait --key pause-1",
        "run list --state paused",
        "run cancel --state paused --key cancel-1",
        "run list --state compensated --saga pay",
        "run list --state escalated",
        "account show alice",
    ]);
    expect![[r#"
        $ tertium account open world --unit GBP --no-floor --key open-1
        committed
          account   world
          balance   0 GBP
          floor     none
          opened    <instant>
          key       open-1
          position  <position>
        [exit status: 0]
        $ tertium account open alice --unit GBP --key open-2
        committed
          account   alice
          balance   0 GBP
          floor     0
          opened    <instant>
          key       open-2
          position  <position>
        [exit status: 0]
        $ tertium saga define pay.saga.yaml --key define-1
        committed
          saga      pay
          version   1
          key       define-1
          position  <position>
        [exit status: 0]
        $ tertium saga define wait.saga.json --key define-2
        committed
          saga      wait
          version   1
          key       define-2
          position  <position>
        [exit status: 0]
        $ tertium saga define wrong.saga.yaml --key define-3
        error: invalid-request: definition: 3 things are wrong, the first: /steps/0: says nothing to do: it needs one of `call`, `transfer`, `hold`, `capture`, `void`, `reverse`, `event`, `timer`, `saga`
          /steps/0: says nothing to do: it needs one of `call`, `transfer`, `hold`, `capture`, `void`, `reverse`, `event`, `timer`, `saga`
          /steps/1/timer/for_ms: for_ms must be 1 to 31622400000 milliseconds (366 days), is 0
          /steps/1: there are two steps `a`
        [exit status: 2]
        $ tertium saga list
        pay  version 1, steps: 1, open runs: 0
        wait  version 1, steps: 1, open runs: 0
        [exit status: 0]
        $ tertium saga run pay --input '{"to":"alice","n":250}' --key run-1
        committed
          run       <uuid>
          state     done
          output    {"moved":250}
          key       run-1
          position  <position>
        [exit status: 0]
        $ tertium saga run pay --input '{"to":"nobody","n":250}' --key run-2
        refused
          why   run-compensated: The run could not be finished, and all that it had done is undone. `run` says why, and its path says what became of each step.
          next  tertium run show <uuid>
          more  tertium errors run-compensated
          key   run-2
        [exit status: 10]
        $ tertium saga run wait --no-wait --key run-3
        committed
          run   <uuid>
          next  tertium run show <uuid>
          key   run-3
        [exit status: 0]
        $ tertium run list
        <uuid>  wait  running
        [exit status: 0]
        $ tertium run pause --saga wait --key pause-1
        committed
          runs      1
          key       pause-1
          position  <position>
        [exit status: 0]
        $ tertium run list --state paused
        <uuid>  wait  paused
        [exit status: 0]
        $ tertium run cancel --state paused --key cancel-1
        committed
          runs      1
          key       cancel-1
          position  <position>
        [exit status: 0]
        $ tertium run list --state compensated --saga pay
        <uuid>  pay  compensated (step_failed)
        [exit status: 0]
        $ tertium run list --state escalated
        there is no such run
        [exit status: 0]
        $ tertium account show alice
          account    alice
          balance    250 GBP
          floor      0
          opened     <instant>
          position   <position>
          staleness  at most 0 ms
        [exit status: 0]
    "#]].assert_eq(&transcript);
    let ended = session.run("run list --state done");
    let id = ended.stdout.split(' ').next().unwrap().to_owned();
    expect![[r#"
        $ tertium run show <uuid>
        <uuid>  done
          saga     pay version 1
          started  <instant>
          ended    <instant>
          output   {"moved":250}
          move (transfer): done, transfer <uuid>
            <instant> attempt 1: done (-)
        [exit status: 0]
    "#]]
    .assert_eq(&session.transcript(&[&format!("run show {id}")]));
}

/// A run that is past its pivot cannot go back: the page that it is on counts one less, and the next page is asked for.
#[test]
fn many_runs_page_by_page() {
    let mut session = Session::new();
    session.serve("data");
    let wait = r#"{"id":"rest","timer":{"for_ms":3600000}}"#;
    let event = r#"{"id":"tell","event":{"topic":"t","type":"told"},"pivot":true}"#;
    session.write("wait.saga.json", &format!(r#"{{"name":"wait","steps":[{wait}]}}"#));
    session.write("late.saga.json", &format!(r#"{{"name":"late","steps":[{event},{wait}]}}"#));
    let begun = session.transcript(&[
        "topic keep t --for 1h --key topic",
        "saga define wait.saga.json --key define-1",
        "saga define late.saga.json --key define-2",
        "saga run wait --no-wait --key run-1",
        "saga run late --no-wait --key run-2",
        "saga run wait --no-wait --key run-3",
        "saga run wait --no-wait --key run-4",
    ]);
    assert_eq!(begun.matches("[exit status: 0]").count(), 7, "{begun}");
    // It is past its pivot once its event is there.
    let is_told = (0..1_000).any(|_| !session.run("topic read t").stdout.is_empty());
    assert!(is_told, "the step before the wait is never done");
    let paused = session.run("run pause --state running --limit 1 --key pause-1").stdout;
    let cursor = paused.lines().find_map(|line| line.trim().strip_prefix("more      --cursor ")).expect(&paused);
    let cancelled = format!("run cancel --state running --limit 2 --cursor {cursor} --key cancel-1");
    let transcript = session.transcript(&[
        &cancelled,
        "run list",
        "run cancel --saga wait --key cancel-2",
        "run list",
        "run cancel 019b76da-a800-7000-8000-00000022a933 --limit 1",
    ]);
    // The page behind the first has its place in its key.
    let (before, behind) = transcript.split_once("cancel-1/").expect(&transcript);
    let behind = behind.trim_start_matches(|c: char| c.is_ascii_digit());
    let shown =
        format!("{before}cancel-1/<cursor>{behind}").replace(&format!("--cursor {cursor}"), "--cursor <cursor>");
    expect![[r#"
        $ tertium run cancel --state running --limit 2 --cursor <cursor> --key cancel-1
        committed
          runs      2
          key       cancel-1/<cursor>
          position  <position>
        [exit status: 0]
        $ tertium run list
        <uuid>  wait  paused
        <uuid>  late  running
        [exit status: 0]
        $ tertium run cancel --saga wait --key cancel-2
        committed
          runs      1
          key       cancel-2
          position  <position>
        [exit status: 0]
        $ tertium run list
        <uuid>  late  running
        [exit status: 0]
        $ tertium run cancel <uuid> --limit 1
        error: the argument '[ID]' cannot be used with '--limit <COUNT>'

        Usage: tertium run cancel --server <URL> <ID>

        For more information, try '--help'.
        [exit status: 2]
    "#]]
    .assert_eq(&shown);
}
