//! The help of every command, so that a change to it is seen.

mod session;

use expect_test::expect_file;
use session::Session;

const COMMANDS: [&str; 31] = [
    "",
    "dev",
    "serve",
    "account",
    "account open",
    "account show",
    "account list",
    "account history",
    "transfer",
    "transfer make",
    "transfer show",
    "transfer capture",
    "transfer void",
    "transfer reverse",
    "op",
    "op show",
    "op settle",
    "nodes",
    "nodes promote",
    "import",
    "bench",
    "check",
    "log",
    "log verify",
    "log dump",
    "backup",
    "restore",
    "keys",
    "keys create",
    "config show",
    "errors",
];

#[test]
fn help() {
    let session = Session::new();
    let mut text = String::new();
    for command in COMMANDS {
        let ran = session.run(&format!("{command} --help"));
        assert_eq!(ran.code, 0, "{command}");
        text.push_str(&format!("$ tertium {command} --help\n{}\n", ran.stdout));
    }
    expect_file!["help.txt"].assert_eq(&text);
}

#[test]
fn completions_for_every_shell() {
    let session = Session::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = session.run(&format!("completions {shell}"));
        assert!(ran.code == 0 && ran.stdout.contains("settle"), "{shell}");
    }
}

#[test]
fn a_key_is_never_an_argument() {
    let ran = Session::new().run("account show alice --api-key tert_s3cret");
    assert_eq!(ran.code, 2);
}
