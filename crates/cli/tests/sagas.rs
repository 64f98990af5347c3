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
    expect![[r#""#]].assert_eq(&transcript);
    let ended = session.run("run list --state done");
    let id = ended.stdout.split(' ').next().unwrap().to_owned();
    expect![[r#""#]].assert_eq(&session.transcript(&[&format!("run show {id}")]));
}
