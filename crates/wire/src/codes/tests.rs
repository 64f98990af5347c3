use std::collections::BTreeSet;
use std::fmt::Write as _;

use expect_test::expect;

use super::*;

/// A code that changes here breaks a promise to strangers: add new ones at the end, and nothing else.
#[test]
fn the_whole_table() {
    let mut text = String::new();
    for row in &TABLE {
        writeln!(
            text,
            "{:>2} {} http={} grpc={} exit={} {} {:?} {:?}",
            row.code.number(),
            row.text,
            row.status,
            row.grpc,
            row.exit,
            row.outcome,
            row.retry,
            row.title
        )
        .unwrap();
    }
    expect![[r#"
         1 idempotency-key-missing http=400 grpc=3 exit=2 refused Corrected "The request has no idempotency key"
         2 idempotency-key-invalid http=400 grpc=3 exit=2 refused Corrected "The idempotency key is not one"
         3 malformed-json http=400 grpc=3 exit=2 refused Corrected "The body is not JSON"
         4 invalid-request http=400 grpc=3 exit=2 refused Corrected "The request is not of the expected form"
         5 deadline-invalid http=400 grpc=3 exit=2 refused Corrected "The deadline is not one"
         6 session-invalid http=400 grpc=3 exit=2 refused Corrected "The session token is not one"
         7 consistency-invalid http=400 grpc=3 exit=2 refused Corrected "The consistency level is not one"
         8 cursor-invalid http=400 grpc=3 exit=2 refused Corrected "The cursor is not one"
         9 amount-invalid http=400 grpc=3 exit=10 refused Corrected "The amount is not one"
        10 payload-too-large http=413 grpc=8 exit=2 refused Corrected "The body is too large"
        11 unsupported-media-type http=415 grpc=3 exit=2 refused Corrected "The content type is not one this path takes"
        12 not-found http=404 grpc=12 exit=2 refused Corrected "There is nothing at this path"
        13 method-not-allowed http=405 grpc=12 exit=2 refused Corrected "The path does not take this method"
        14 headers-too-large http=431 grpc=8 exit=2 refused Corrected "The headers are too large"
        15 unauthenticated http=401 grpc=16 exit=10 refused Corrected "The request does not say who asks"
        16 forbidden http=403 grpc=7 exit=10 refused Corrected "The API key does not allow this"
        17 deadline-exceeded http=504 grpc=4 exit=10 refused Now "The deadline passed before anything happened"
        18 outcome-unknown http=504 grpc=2 exit=20 uncertain OnlySameKey "Nobody knows yet whether it happened"
        19 overloaded http=503 grpc=14 exit=10 refused Later "The server has more work than it can take"
        20 too-many-requests http=429 grpc=8 exit=10 refused Later "This caller asks too much at once"
        21 storage-full http=503 grpc=8 exit=10 refused Later "The server's disk is full"
        22 stopping http=503 grpc=14 exit=10 refused Later "The server is stopping"
        23 consistency-unavailable http=503 grpc=14 exit=10 refused Later "The consistency level cannot be met in time"
        24 idempotency-key-reused http=422 grpc=9 exit=10 refused NewKey "The key belongs to another request"
        25 operation-barred http=409 grpc=9 exit=10 refused NewKey "The operation was barred by settle"
        26 key-expired http=409 grpc=9 exit=10 refused NewKey "The key is older than keys are kept"
        27 operation-unknown http=404 grpc=5 exit=30 refused Now "No operation was decided under this key"
        28 same-account http=422 grpc=3 exit=10 refused NewKey "From and to are the same account"
        29 account-not-found http=404 grpc=5 exit=10 refused NewKey "There is no such account"
        30 account-exists http=409 grpc=6 exit=10 refused NewKey "The account exists already"
        31 transfer-not-found http=404 grpc=5 exit=10 refused NewKey "There is no such transfer"
        32 unit-mismatch http=422 grpc=9 exit=10 refused NewKey "The accounts count different units"
        33 hold-closed http=409 grpc=9 exit=10 refused NewKey "The transfer is not held"
        34 exceeds-hold http=422 grpc=9 exit=10 refused NewKey "More than is held"
        35 exceeds-posted http=422 grpc=9 exit=10 refused NewKey "More than was posted"
        36 overflow http=422 grpc=11 exit=10 refused NewKey "The balance would leave its range"
        37 insufficient-funds http=422 grpc=9 exit=10 refused NewKey "Not enough is available"
        38 batch-refused http=422 grpc=9 exit=10 refused NewKey "An item was refused, and so the whole batch"
        39 internal http=500 grpc=13 exit=20 uncertain OnlySameKey "The server failed"
        40 topic-not-found http=404 grpc=5 exit=10 refused Later "There is no such topic"
        41 topic-reserved http=403 grpc=7 exit=10 refused NewKey "The topic is the server's own"
        42 limit-reached http=409 grpc=8 exit=10 refused NewKey "There are as many as there may be"
        43 subscription-not-found http=404 grpc=5 exit=10 refused NewKey "There is no such subscription"
        44 dead-letter-not-found http=404 grpc=5 exit=10 refused NewKey "There is no such dead letter"
        45 saga-not-found http=404 grpc=5 exit=10 refused NewKey "There is no such saga"
        46 run-not-found http=404 grpc=5 exit=10 refused NewKey "There is no such run"
        47 run-not-possible http=409 grpc=9 exit=10 refused NewKey "The run is in no state for this"
        48 run-past-pivot http=409 grpc=9 exit=10 refused NewKey "The run goes only forward"
        49 step-not-found http=404 grpc=5 exit=10 refused NewKey "There is no such step"
        50 call-refused http=422 grpc=9 exit=10 refused NewKey "The receiver refused the call"
        51 call-not-done http=502 grpc=14 exit=10 refused NewKey "The call was not done"
        52 call-compensated http=409 grpc=10 exit=10 refused NewKey "The call was undone"
        53 call-cancelled http=409 grpc=10 exit=10 refused NewKey "The call counts as not done"
        54 not-uncertain http=409 grpc=9 exit=10 refused NewKey "The call is not uncertain"
        55 destination-not-allowed http=403 grpc=7 exit=10 refused Corrected "The server does not call there"
        56 call-under-way http=409 grpc=9 exit=10 refused NewKey "An attempt at the call is under way"
        57 run-compensated http=409 grpc=10 exit=10 refused NewKey "The run was undone"
        58 run-escalated http=409 grpc=2 exit=20 uncertain OnlySameKey "A person has the run's next move"
        59 origin-not-allowed http=403 grpc=7 exit=10 refused Corrected "The request may come from a web page"
        60 lease-held http=409 grpc=10 exit=10 refused NewKey "The lease is held"
        61 lease-lost http=409 grpc=9 exit=10 refused NewKey "The lease is not held under this token"
        62 lease-capacity-mismatch http=409 grpc=9 exit=10 refused NewKey "The lease has another capacity"
        63 log-unavailable http=503 grpc=14 exit=10 refused Later "The log could not be reached"
        64 not-leader http=503 grpc=14 exit=10 refused Later "The node does not lead its cell"
    "#]]
    .assert_eq(&text);
}

#[test]
fn texts_are_unique_and_found_again() {
    let texts: BTreeSet<&str> = TABLE.iter().map(|row| row.text).collect();
    assert_eq!(texts.len(), TABLE.len());
    for row in &TABLE {
        assert_eq!(Code::parse(row.text), Some(row.code));
        assert_eq!(Code::from_number(row.code.number()), Some(row.code));
        assert!(row.text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", row.text);
    }
    assert_eq!(Code::from_number(0), None);
    assert_eq!(Code::from_number(TABLE.len() as u8 + 1), None);
    assert_eq!(Code::parse("nonsense"), None);
}

/// Whoever reads only the exit code must not take one outcome for another.
#[test]
fn exit_codes_tell_the_outcomes_apart() {
    for row in &TABLE {
        assert_eq!(row.exit == EXIT_UNCERTAIN, row.outcome == Outcome::Uncertain, "{}", row.text);
        assert_ne!(row.exit, EXIT_COMMITTED, "{}", row.text);
        assert_ne!(row.outcome, Outcome::Committed, "{}", row.text);
        assert_eq!(row.retry == Retry::OnlySameKey, row.outcome == Outcome::Uncertain, "{}", row.text);
    }
}

#[test]
fn the_machine_and_strangers_agree() {
    for code in machine::Code::ALL {
        assert_eq!(Code::from(code).outcome(), Outcome::Refused, "{code:?}");
    }
}
