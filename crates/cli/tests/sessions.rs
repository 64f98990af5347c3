//! Whole terminal sessions, as a person would see them.

mod session;

use expect_test::{Expect, expect};
use session::Session;

fn check(session: &Session, lines: &[&str], expect: Expect) {
    expect.assert_eq(&session.transcript(lines));
}

#[test]
fn a_first_session() {
    let mut session = Session::new();
    session.serve("data");
    check(
        &session,
        &[
            "account open world --unit GBP --no-floor --key try-1",
            "account open alice --unit GBP --key try-2",
            "transfer make world alice 2500 --key try-3 --memo 'first money'",
            "transfer make world alice 2500 --key try-3 --memo 'first money'",
            "transfer make alice world 9000 --key try-4",
            "transfer make world alice 1 --key try-3",
            "transfer make alice nobody 1 --key try-5",
            "account show alice",
            "account list --unit GBP",
            "op show try-3",
            "op settle never-sent",
            "transfer make world alice 1 --key never-sent",
        ],
        expect![[r#"
            $ tertium account open world --unit GBP --no-floor --key try-1
            committed
              account   world
              balance   0 GBP
              floor     none
              opened    <instant>
              key       try-1
              position  <position>
            [exit status: 0]
            $ tertium account open alice --unit GBP --key try-2
            committed
              account   alice
              balance   0 GBP
              floor     0
              opened    <instant>
              key       try-2
              position  <position>
            [exit status: 0]
            $ tertium transfer make world alice 2500 --key try-3 --memo 'first money'
            committed
              transfer  <uuid>
              amount    2500 GBP
              from      world (balance -2500)
              to        alice (balance 2500)
              state     posted
              memo      first money
              made      <instant>
              key       try-3
              position  <position>
            [exit status: 0]
            $ tertium transfer make world alice 2500 --key try-3 --memo 'first money'
            committed (decided earlier, this is the first answer again)
              transfer  <uuid>
              amount    2500 GBP
              from      world (balance -2500)
              to        alice (balance 2500)
              state     posted
              memo      first money
              made      <instant>
              key       try-3
              position  <position>
            [exit status: 0]
            $ tertium transfer make alice world 9000 --key try-4
            refused
              why       insufficient-funds: Account alice has 2500 available, and taking 9000 would leave less than its floor.
              more      tertium errors insufficient-funds
              key       try-4
              position  <position>
            [exit status: 10]
            $ tertium transfer make world alice 1 --key try-3
            refused
              why       idempotency-key-reused: The key was first used with another request, which stays as it was.
              more      tertium errors idempotency-key-reused
              key       try-3
              position  <position>
            [exit status: 10]
            $ tertium transfer make alice nobody 1 --key try-5
            refused
              why       account-not-found: There is no account nobody.
              more      tertium errors account-not-found
              key       try-5
              position  <position>
            [exit status: 10]
            $ tertium account show alice
              account    alice
              balance    2500 GBP
              floor      0
              opened     <instant>
              position   <position>
              staleness  at most 0 ms
            [exit status: 0]
            $ tertium account list --unit GBP
            account                          unit                  balance            available
            world                            GBP                     -2500                -2500
            alice                            GBP                      2500                 2500
            [exit status: 0]
            $ tertium op show try-3
            committed
              key          try-3
              status       201
              position     <position>
              decided at   <instant>
              expires at   <instant>
              joins        0
              received at  <instant>
              replays      1
              answer       {"amount":2500,"balance_after":{"from":-2500,"to":2500},"created_at":"<instant>","from":"world","id":"<uuid>","memo":"first money","metadata":null,"state":"posted","to":"alice","unit":"GBP"}
            [exit status: 0]
            $ tertium op settle never-sent
            refused
              key          never-sent
              status       409
              position     <position>
              decided at   <instant>
              expires at   <instant>
              joins        0
              received at  <instant>
              replays      0
              answer       {"code":"operation-barred","detail":"The key was settled before its operation came, which now never will happen.","operation":"/v1/operations/never-sent","outcome":"refused","status":409,"title":"The operation was barred by settle","type":"/errors/operation-barred"}
            [exit status: 10]
            $ tertium transfer make world alice 1 --key never-sent
            refused
              why       operation-barred: The key was settled before its operation came, which now never will happen.
              more      tertium errors operation-barred
              key       never-sent
              position  <position>
            [exit status: 10]
        "#]],
    );
    assert_eq!(session.stop(), Some(0));
}

#[test]
fn holds() {
    let mut session = Session::new();
    session.serve("data");
    for line in ["account open world --unit GBP --no-floor", "account open shop --unit GBP"] {
        assert_eq!(session.run(line).code, 0);
    }
    let held = session.run("transfer make world shop 300 --hold 30m --key hold-1 --json");
    let value: serde_json::Value = serde_json::from_str(&held.stdout).unwrap();
    assert_eq!((value["outcome"].as_str(), held.code), (Some("committed"), 0), "{held:?}");
    let id = value["answer"]["id"].as_str().unwrap();
    check(
        &session,
        &[
            &format!("transfer capture {id} --amount 200 --key capture-1"),
            &format!("transfer void {id} --key void-1"),
            &format!("transfer reverse {id} --amount 50 --key reverse-1"),
            &format!("transfer show {id}"),
            "account history shop",
        ],
        expect![[r#"
            $ tertium transfer capture <uuid> --amount 200 --key capture-1
            committed
              transfer    <uuid>
              amount      200 GBP
              from        world (balance -200)
              to          shop (balance 200)
              state       posted
              hold until  <instant>
              made        <instant>
              key         capture-1
              position    <position>
            [exit status: 0]
            $ tertium transfer void <uuid> --key void-1
            refused
              why       hold-closed: Transfer <uuid> is not held.
              more      tertium errors hold-closed
              key       void-1
              position  <position>
            [exit status: 10]
            $ tertium transfer reverse <uuid> --amount 50 --key reverse-1
            committed
              transfer  <uuid>
              amount    50 GBP
              from      shop (balance 150)
              to        world (balance -150)
              state     posted
              reverses  <uuid>
              made      <instant>
              key       reverse-1
              position  <position>
            [exit status: 0]
            $ tertium transfer show <uuid>
              transfer    <uuid>
              amount      200 GBP
              from        world (balance -200)
              to          shop (balance 200)
              state       posted
              hold until  <instant>
              made        <instant>
            [exit status: 0]
            $ tertium account history shop
            at                          event                moved          balance  with                     transfer
            <instant> reversal               -50              150  world                    <uuid>
            <instant> captured              +200              200  world                    <uuid>
            [exit status: 0]
        "#]],
    );
}

#[test]
fn without_a_server() {
    let session = Session::new();
    check(
        &session,
        &[
            "account show alice --server http://127.0.0.1:1",
            "transfer make a b 1 --key k --deadline 50ms --server http://127.0.0.1:1",
            "op settle k --deadline 50ms --server http://127.0.0.1:1",
            "op show k --deadline 50ms --server http://127.0.0.1:1",
            "transfer make a b 1 --key 'two words' --server http://127.0.0.1:1",
            "transfer make a b 1 --server 127.0.0.1",
            "errors insufficient-funds",
            "errors insufficient",
            "log verify",
            "version --json",
            "config check --listen 0.0.0.0:7700 --segment-bytes 7",
        ],
        expect![[r#"
            $ tertium account show alice --server http://127.0.0.1:1
            error: no answer: client error (Connect): tcp connect error: Connection refused (os error 111)
            [exit status: 30]
            $ tertium transfer make a b 1 --key k --deadline 50ms --server http://127.0.0.1:1
            uncertain
              why   nothing was sent, and whether it happened earlier is not known (unreachable: client error (Connect): tcp connect error: Connection refused (os error 111))
              next  the same again, under the same key
              key   k
            [exit status: 30]
            $ tertium op settle k --deadline 50ms --server http://127.0.0.1:1
            error: no answer: client error (Connect): tcp connect error: Connection refused (os error 111)
            [exit status: 30]
            $ tertium op show k --deadline 50ms --server http://127.0.0.1:1
            error: no answer: client error (Connect): tcp connect error: Connection refused (os error 111)
            [exit status: 30]
            $ tertium transfer make a b 1 --key 'two words' --server http://127.0.0.1:1
            error: idempotency-key-invalid: a key is made of visible ASCII characters, the one at offset 3 is not
            [exit status: 2]
            $ tertium transfer make a b 1 --server 127.0.0.1
            error: a server is `http://host:port` or `https://host:port` without a path, not "127.0.0.1"
            [exit status: 2]
            $ tertium errors insufficient-funds
            Not enough is available

              code     insufficient-funds
              HTTP     422
              outcome  refused
              exit     10

            The transfer would leave the account with less available than its floor.

            Move less, fund the account, or wait for holds to end; then use a new key.

            Trying again with the same key gives the same answer: use a new key for a new
            attempt.
            [exit status: 0]
            $ tertium errors insufficient
            error: there is no code `insufficient`: did you mean insufficient-funds?
            [exit status: 2]
            $ tertium log verify
            error: there is no log in ./tertium-data
            [exit status: 1]
            $ tertium version --json
            {"name":"tertium","version":"0.1.0"}
            [exit status: 0]
            $ tertium config check --listen 0.0.0.0:7700 --segment-bytes 7
            error: the configuration is wrong
            segment_bytes = `7` (flag --segment-bytes): must be a whole number of bytes, or one with `KiB`, `MiB` or `GiB`, from 1MiB to 1GiB
            tls_certificate: listening beyond loopback needs TLS: set tls_certificate and tls_key, or listen on 127.0.0.1
            authentication: listening beyond loopback needs it on (make keys with `tertium keys create`), or listen on 127.0.0.1
            [exit status: 2]
        "#]],
    );
}

#[test]
fn keys() {
    let session = Session::new();
    let made = session.run("keys create till-1 --json");
    let value: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    let token = value["token"].as_str().unwrap();
    let file = std::fs::read_to_string(session.path("tertium-data/keys.toml")).unwrap();
    assert!(token.starts_with("tert_") && !file.contains(token), "only the hash is kept");
    for (line, code, part) in [
        ("keys list", 0, "till-1                   till-1                   write  active"),
        ("keys create till-1", 2, "there is a key called `till-1`"),
        ("keys revoke till-1", 0, "`till-1` is revoked"),
        ("keys revoke till-1", 2, "there is no key called `till-1`"),
        ("keys list", 0, "revoked"),
    ] {
        let ran = session.run(line);
        assert!(ran.code == code && format!("{}{}", ran.stdout, ran.stderr).contains(part), "{line}: {ran:?}");
    }
}

#[test]
fn topics_and_subscriptions() {
    let mut session = Session::new();
    session.serve("data");
    check(
        &session,
        &[
            "topic list",
            r#"topic publish orders --type order.paid --event-key order-17 --data '{"total":2500}' --key e-1"#,
            r#"topic publish orders --type order.paid --event-key order-17 --data '{"total":2500}' --key e-1"#,
            "topic publish orders --type order.sent --data nothing",
            "topic keep orders --for 1h --bytes-max 1000000 --key e-2",
            "topic list",
            "subscription list",
            "subscription set audit --topic orders --type order. --start beginning --key s-1",
            "subscription pause audit --key s-2",
            "subscription show audit",
            "subscription resume audit --key s-3",
            "subscription dead-letters audit",
            "subscription replay audit --offset 1 --key s-4",
            "subscription set audit --topic orders --start yesterday",
            "subscription remove audit --key s-5",
            "subscription show audit",
        ],
        expect![[r#"
            $ tertium topic list
            there are no topics yet besides the server's own: publishing makes one
            [exit status: 0]
            $ tertium topic publish orders --type order.paid --event-key order-17 --data '{"total":2500}' --key e-1
            committed
              topic     orders
              offset    1
              key       e-1
              position  <position>
            [exit status: 0]
            $ tertium topic publish orders --type order.paid --event-key order-17 --data '{"total":2500}' --key e-1
            committed (decided earlier, this is the first answer again)
              topic     orders
              offset    1
              key       e-1
              position  <position>
            [exit status: 0]
            $ tertium topic publish orders --type order.sent --data nothing
            error: invalid value 'nothing' for '--data <JSON>': not JSON: expected ident at line 1 column 2

            For more information, try '--help'.
            [exit status: 2]
            $ tertium topic keep orders --for 1h --bytes-max 1000000 --key e-2
            committed
              topic          orders
              kept for       3,600 s
              bytes at most  1,000,000
              key            e-2
              position       <position>
            [exit status: 0]
            $ tertium topic list
            orders
              events         1
              bytes          32
              from offset    1
              kept for       3,600 s
              bytes at most  1,000,000
            [exit status: 0]
            $ tertium subscription list
            there are no subscriptions
            [exit status: 0]
            $ tertium subscription set audit --topic orders --type order. --start beginning --key s-1
            committed
              subscription  audit
              next offset   0
              key           s-1
              position      <position>
            [exit status: 0]
            $ tertium subscription pause audit --key s-2
            committed
              subscription  audit
              next offset   0
              key           s-2
              position      <position>
            [exit status: 0]
            $ tertium subscription show audit
            audit
              topics          orders
              types           order.
              sent to         nobody: its consumer fetches
              rests           asked
              next offset     0
              records behind  6
              delivered       0
              parked          0
              dead letters    0
            [exit status: 0]
            $ tertium subscription resume audit --key s-3
            committed
              subscription  audit
              next offset   0
              key           s-3
              position      <position>
            [exit status: 0]
            $ tertium subscription dead-letters audit
            there are no dead letters
            [exit status: 0]
            $ tertium subscription replay audit --offset 1 --key s-4
            refused
              why   dead-letter-not-found: Subscription audit has no dead letter at offset 1.
              more  tertium errors dead-letter-not-found
              key   s-4
            [exit status: 10]
            $ tertium subscription set audit --topic orders --start yesterday
            error: invalid value 'yesterday' for '--start <WHERE>': it begins at `beginning`, `now`, or an offset

            For more information, try '--help'.
            [exit status: 2]
            $ tertium subscription remove audit --key s-5
            committed
              removed   audit
              key       s-5
              position  <position>
            [exit status: 0]
            $ tertium subscription show audit
            error: subscription-not-found: There is no subscription audit.
            [exit status: 10]
        "#]],
    );
    let read = session.run("topic read orders");
    let event: serde_json::Value = serde_json::from_str(&read.stdout).unwrap();
    assert_eq!((event["type"].as_str(), event["data"]["total"].as_u64()), (Some("order.paid"), Some(2_500)), "{event}");
    let followed = session.run("topic read orders --follow --limit 1");
    assert_eq!((followed.code, followed.stdout), (0, read.stdout));
}
