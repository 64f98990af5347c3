//! What looks after a data directory: verify, dump, backup, restore.

mod session;

use expect_test::{Expect, expect};
use session::Session;

fn check(session: &Session, lines: &[&str], expect: Expect) {
    expect.assert_eq(&session.transcript(lines));
}

/// A server with three operations behind it.
fn served() -> Session {
    let mut session = Session::new();
    session.serve("data");
    for line in [
        "account open world --unit GBP --no-floor --key k1",
        "account open alice --unit GBP --key k2",
        "transfer make world alice 2500 --key k3",
    ] {
        assert_eq!(session.run(line).code, 0, "{line}");
    }
    session
}

#[test]
fn a_log_is_read_without_a_server() {
    let mut session = served();
    session.stop();
    let verified = session.run("log verify --data data --json");
    let value: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!((verified.code, value["first"].as_u64(), value["cut"].is_null()), (0, Some(1), true), "{verified:?}");
    let dumped = session.run("log dump --data data --json");
    let keys: Vec<String> = dumped
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .flat_map(|line| line["commands"].as_array().cloned().unwrap_or_default())
        .map(|command| format!("{} {}", command["op"]["kind"].as_str().unwrap(), command["key"].as_str().unwrap()))
        .filter(|text| !text.ends_with(' '))
        .collect();
    assert_eq!(keys, ["open-account k1", "open-account k2", "transfer k3"], "{dumped:?}");
    let human = session.run("log dump --data data").stdout;
    assert!(human.contains("transfer k3 amount=2500 from=world to=alice"), "{human}");
}

#[test]
fn a_damaged_log_is_refused() {
    let mut session = served();
    session.stop();
    let segment = session.path("data/log/segment-000000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(2).position(|two| two == b"k1").expect("the key of the first operation is in the log");
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let verified = session.run("log verify --data data");
    assert_eq!(verified.code, 1);
    assert!(verified.stderr.contains("segment-000000000001.seg"), "{verified:?}");
}

#[test]
fn backup_under_a_running_server_and_restore() {
    let mut session = served();
    assert_eq!(session.run("keys create till --keys data/keys.toml").code, 0);
    let backed_up = session.run("backup copy --data data --json");
    assert_eq!(backed_up.code, 0, "{backed_up:?}");
    // What comes after is not in it.
    assert_eq!(session.run("transfer make world alice 1 --key k4").code, 0);
    session.stop();
    check(
        &session,
        &["backup copy --data data", "backup nowhere --data nothing", "restore copy --data data"],
        expect![[r#"
            $ tertium backup copy --data data
            error: copy is not empty: nothing is overwritten
            [exit status: 1]
            $ tertium backup nowhere --data nothing
            error: there is no log in nothing
            [exit status: 1]
            $ tertium restore copy --data data
            error: data is not empty: nothing is overwritten
            [exit status: 1]
        "#]],
    );
    let restored = session.run("restore copy --data again --json");
    assert_eq!(restored.code, 0, "{restored:?}");
    let position = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["position"].clone();
    assert_eq!(position(&backed_up.stdout), position(&restored.stdout));
    for root in ["data", "copy", "again"] {
        assert_private(&session.path(root));
    }
    assert!(session.path("again/keys.toml").exists());
    session.serve("again");
    check(
        &session,
        &["transfer make world alice 2500 --key k3", "account show alice", "op show k4"],
        expect![[r#"
        $ tertium transfer make world alice 2500 --key k3
        committed (decided earlier, this is the first answer again)
          transfer  <uuid>
          amount    2500 GBP
          from      world (balance -2500)
          to        alice (balance 2500)
          state     posted
          made      <instant>
          key       k3
          position  <position>
        [exit status: 0]
        $ tertium account show alice
          account    alice
          balance    2500 GBP
          floor      0
          opened     <instant>
          position   <position>
          staleness  at most 0 ms
        [exit status: 0]
        $ tertium op show k4
        error: operation-unknown: No operation was decided here under this key, or it is no longer kept.
        [exit status: 30]
    "#]],
    );
}

/// What is in a data directory is nobody's but its owner's, and so are its copies.
fn assert_private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).unwrap();
    let expect = if metadata.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(metadata.permissions().mode() & 0o777, expect, "{}", path.display());
    if metadata.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| assert_private(&entry.unwrap().path()));
    }
}

#[test]
fn a_damaged_backup_is_not_restored() {
    let mut session = served();
    session.stop();
    assert_eq!(session.run("backup copy --data data").code, 0);
    let segment = session.path("copy/log/segment-000000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let restored = session.run("restore copy --data again");
    assert!(restored.code == 1 && restored.stderr.contains("is damaged"), "{restored:?}");
    assert!(!session.path("again/log").exists());
}
