//! Importing: what a file says happens once, exactly, and what it does not say clearly does not happen.

mod session;

use expect_test::{Expect, expect};
use session::Session;

fn check(session: &Session, lines: &[&str], expect: Expect) {
    expect.assert_eq(&session.transcript(lines));
}

const RETAIL: &str = "--group-by InvoiceNo --key 'invoice/{InvoiceNo}' --from 'customer/{CustomerID|guest}' --to shop \
    --amount-column Quantity --times-column UnitPrice --scale 3 --negative reverse-direction --unit GBP.mill \
    --create-accounts --fund-from world --no-floor shop";

#[test]
fn one_day_of_a_real_shop_applies_once() {
    let mut session = Session::new();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/retail-2010-12-01.csv");
    std::fs::copy(sample, session.path("retail.csv")).unwrap();
    session.serve("data");
    let import = format!("import retail.csv {RETAIL}");
    let first = session.transcript(&[&import, "account show shop"]);
    let second = session.transcript(&[&import, "account show shop"]);
    expect![[r#"
        $ tertium import retail.csv ...
        retail.csv
          lines            3,108
          operations       133
          nothing to move  10: lines that net to zero, `invoice/536414` the first
          accounts         101 opened, 0 there before
          committed        133, 0 of them before this run
          refused          0
          uncertain        0
          forward          58,960.790 GBP.mill
          back             325.230 GBP.mill
          net              58,635.560 GBP.mill
        [exit status: 0]
        $ tertium account show shop
          account    shop
          balance    58635560 GBP.mill
          floor      none
          opened     <instant>
          position   <position>
          staleness  at most 0 ms
        [exit status: 0]
    "#]]
    .assert_eq(&first.replace(RETAIL, "..."));
    expect![[r#"
        $ tertium import retail.csv ...
        retail.csv
          lines            3,108
          operations       133
          nothing to move  10: lines that net to zero, `invoice/536414` the first
          accounts         0 opened, 101 there before
          committed        133, 133 of them before this run
          refused          0
          uncertain        0
          forward          58,960.790 GBP.mill
          back             325.230 GBP.mill
          net              58,635.560 GBP.mill
        [exit status: 0]
        $ tertium account show shop
          account    shop
          balance    58635560 GBP.mill
          floor      none
          opened     <instant>
          position   <position>
          staleness  at most 0 ms
        [exit status: 0]
    "#]]
    .assert_eq(&second.replace(RETAIL, "..."));
    let accounts = session.run("account list --json --limit 1000").stdout;
    let balances = accounts.lines().map(|line| {
        let account: serde_json::Value = serde_json::from_str(line).unwrap();
        account["balance"].as_i64().unwrap()
    });
    assert_eq!(balances.sum::<i64>(), 0, "what there is adds up to zero");
}

#[test]
fn lines_with_a_fault_are_named_and_stop_nothing() {
    let mut session = Session::new();
    session.write("pay.csv", "id,payer,payee,amount\n1,world,alice,2.50\n2,world,alice,x\n3,world,alice,0.005\n4,alice,world,1\n5,alice\n4,a,b,1\n");
    session.serve("data");
    let columns = "--from-column payer --to-column payee --amount-column amount --scale 2 --key-column id";
    let accounts = "--unit GBP --create-accounts --no-floor world";
    let import = format!("import pay.csv {columns} {accounts} --concurrency 1");
    check(
        &session,
        &[
            &format!("{import} --dry-run"),
            &format!("{import} --strict"),
            &import,
            &format!("import pay.csv {columns} --limit 1"),
            &format!("import missing.csv {columns}"),
            "import pay.csv --from a --to b --amount-column amount",
            "import pay.csv --from a --to b --amount-column price --key-column id",
        ],
        expect![[r#"
            $ tertium import pay.csv --from-column payer --to-column payee --amount-column amount --scale 2 --key-column id --unit GBP --create-accounts --no-floor world --concurrency 1 --dry-run
            pay.csv (nothing was sent: a dry run)
              lines       6
              operations  2
              not read    4
              forward     3.50 GBP
              back        0.00 GBP
              net         3.50 GBP
            line 3: `x` is not a decimal number
            line 4: the amount has 3 decimal places, and --scale 2 would round it
            line 6: it has 2 fields, the first line 4
            line 7: it has the key of line 5: two operations need two keys
            [exit status: 1]
            $ tertium import pay.csv --from-column payer --to-column payee --amount-column amount --scale 2 --key-column id --unit GBP --create-accounts --no-floor world --concurrency 1 --strict
            pay.csv (nothing was sent: with --strict every line must be readable)
              lines       6
              operations  2
              not read    4
              forward     3.50 GBP
              back        0.00 GBP
              net         3.50 GBP
            line 3: `x` is not a decimal number
            line 4: the amount has 3 decimal places, and --scale 2 would round it
            line 6: it has 2 fields, the first line 4
            line 7: it has the key of line 5: two operations need two keys
            [exit status: 1]
            $ tertium import pay.csv --from-column payer --to-column payee --amount-column amount --scale 2 --key-column id --unit GBP --create-accounts --no-floor world --concurrency 1
            pay.csv
              lines       6
              operations  2
              not read    4
              accounts    2 opened, 0 there before
              committed   2, 0 of them before this run
              refused     0
              uncertain   0
              forward     3.50 GBP
              back        0.00 GBP
              net         3.50 GBP
            line 3: `x` is not a decimal number
            line 4: the amount has 3 decimal places, and --scale 2 would round it
            line 6: it has 2 fields, the first line 4
            line 7: it has the key of line 5: two operations need two keys
            [exit status: 1]
            $ tertium import pay.csv --from-column payer --to-column payee --amount-column amount --scale 2 --key-column id --limit 1
            pay.csv
              lines       6
              operations  1
              not read    4
              committed   1, 1 of them before this run
              refused     0
              uncertain   0
              forward     2.50
              back        0.00
              net         2.50
            line 3: `x` is not a decimal number
            line 4: the amount has 3 decimal places, and --scale 2 would round it
            line 6: it has 2 fields, the first line 4
            line 7: it has the key of line 5: two operations need two keys
            [exit status: 1]
            $ tertium import missing.csv --from-column payer --to-column payee --amount-column amount --scale 2 --key-column id
            error: missing.csv: No such file or directory (os error 2)
            [exit status: 1]
            $ tertium import pay.csv --from a --to b --amount-column amount
            error: a key that names each row makes a second run harmless: --key-column, --key, --group-by or --key-by-line
            [exit status: 2]
            $ tertium import pay.csv --from a --to b --amount-column price --key-column id
            error: there is no column `price`; there are id, payer, payee, amount
            [exit status: 2]
        "#]],
    );
}

#[test]
fn ndjson_and_gzip() {
    let mut session = Session::new();
    session.serve("data");
    session.write(
        "pay.ndjson",
        "{\"id\":1,\"n\":9007199254740993}\n\nnot json\n{\"id\":\"2\",\"n\":\"3\"}\n{\"id\":3,\"n\":1.5}\n",
    );
    let import =
        "--from world --to alice --amount-column n --key 'pay/{id}' --unit GBP --create-accounts --no-floor world";
    check(
        &session,
        &[&format!("import pay.ndjson {import}"), "account show alice"],
        expect![[r#"
            $ tertium import pay.ndjson --from world --to alice --amount-column n --key 'pay/{id}' --unit GBP --create-accounts --no-floor world
            pay.ndjson
              lines       4
              operations  2
              not read    2
              accounts    2 opened, 0 there before
              committed   2, 0 of them before this run
              refused     0
              uncertain   0
              forward     9,007,199,254,740,996 GBP
              back        0 GBP
              net         9,007,199,254,740,996 GBP
            line 3: not a JSON object: expected ident at line 1 column 2
            line 5: the amount has 1 decimal places, and --scale 0 would round it
            [exit status: 1]
            $ tertium account show alice
              account    alice
              balance    9007199254740996 GBP
              floor      0
              opened     <instant>
              position   <position>
              staleness  at most 0 ms
            [exit status: 0]
        "#]],
    );
    let zipped = std::process::Command::new("gzip").arg(session.path("pay.ndjson")).status().unwrap();
    assert!(zipped.success());
    let again = session.run(&format!("import pay.ndjson.gz {import} --json"));
    let value: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!((value["result"]["committed"].as_u64(), value["result"]["replayed"].as_u64()), (Some(2), Some(2)));
}
