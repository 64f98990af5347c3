use expect_test::{Expect, expect};
use machine::{Command, Item};
use proptest::prelude::*;
use words::Amount;

use super::*;

const TRANSFER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn decoded(command: &[u8]) -> Command<'_> {
    Command::decode(command).expect("what wire encodes, the machine decodes")
}

/// Checks what a body of `POST /v1/transfers` is refused with.
fn check_refused(body: impl AsRef<[u8]>, code: Code, field: Option<&str>) {
    let body = body.as_ref();
    let shown = String::from_utf8_lossy(body);
    let problem = parse_transfer(body, "", "k").expect_err(&shown);
    assert_eq!((problem.code, problem.field_name()), (code, field), "{shown}: {problem}");
}

fn check_problem(problem: &Problem, expected: &Expect) {
    let mut out = Vec::new();
    problem.write_json(&mut out);
    expected.assert_eq(&String::from_utf8(out).unwrap());
}

#[test]
fn a_transfer() {
    let body =
        br#" {"from":"a","to":"b","amount":12,"hold_ms":5,"memo":"lunch \u00e9","metadata":{"b":1, "a":[2.50]}} "#;
    let bytes = parse_transfer(body, "p", "k").unwrap();
    let command = decoded(&bytes);
    assert_eq!((command.principal, command.key, command.expires), ("p", "k", Stamp::ZERO));
    let order = Order {
        from: "a",
        to: "b",
        amount: Amount::new(12).unwrap(),
        hold_ms: Some(5),
        memo: "lunch é",
        metadata: r#"{"a":[2.5],"b":1}"#,
    };
    assert_eq!(command.op, Op::Transfer(order));
}

#[test]
fn an_account() {
    for (floor, expected) in [
        ("", Some(0)),
        (r#","floor":null"#, None),
        (r#","floor":-5"#, Some(-5)),
        (r#","floor":0"#, Some(0)),
        (r#","floor":9007199254740991"#, Some((1 << 53) - 1)),
        (r#","floor":-9007199254740991"#, Some(-((1 << 53) - 1))),
        (r#","floor":"-9007199254740992""#, Some(-(1 << 53))),
        (r#","floor":"170141183460469231731687303715884105727""#, Some(i128::MAX)),
        (r#","floor":"-170141183460469231731687303715884105727""#, Some(-i128::MAX)),
    ] {
        let body = format!(r#"{{"id":"a/b","unit":"EUR"{floor}}}"#);
        let bytes = parse_account(body.as_bytes(), "", "k").expect(&body);
        let account = OpenAccount { id: "a/b", unit: "EUR", floor: expected, metadata: "" };
        assert_eq!(decoded(&bytes).op, Op::OpenAccount(account), "{body}");
    }
    for (floor, code) in [
        ("9007199254740992", Code::AmountInvalid),
        ("-9007199254740992", Code::AmountInvalid),
        ("\"5\"", Code::AmountInvalid),
        ("\"-0\"", Code::AmountInvalid),
        ("-0", Code::AmountInvalid),
        ("1.0", Code::AmountInvalid),
        ("\"170141183460469231731687303715884105728\"", Code::AmountInvalid),
        ("1e999", Code::AmountInvalid),
        ("[]", Code::InvalidRequest),
        ("true", Code::InvalidRequest),
    ] {
        let body = format!(r#"{{"id":"a","unit":"EUR","floor":{floor}}}"#);
        let problem = parse_account(body.as_bytes(), "", "k").expect_err(&body);
        assert_eq!((problem.code, problem.field_name()), (code, Some("floor")), "{body}");
    }
}

#[test]
fn followups() {
    let transfer = TransferId::parse(TRANSFER).unwrap();
    let amount = Amount::new(5).unwrap();
    for (bytes, op) in [
        (parse_capture(TRANSFER, b"", "", "k"), Op::Capture { transfer, amount: None }),
        (parse_capture(TRANSFER, b"{}", "", "k"), Op::Capture { transfer, amount: None }),
        (parse_capture(TRANSFER, br#"{"amount":null}"#, "", "k"), Op::Capture { transfer, amount: None }),
        (parse_capture(TRANSFER, br#"{"amount":5}"#, "", "k"), Op::Capture { transfer, amount: Some(amount) }),
        (parse_reverse(TRANSFER, br#"{"amount":5}"#, "", "k"), Op::Reverse { transfer, amount: Some(amount) }),
        (parse_void(TRANSFER, b" { } ", "", "k"), Op::Void { transfer }),
        (Ok(settle("", "k")), Op::Settle),
    ] {
        assert_eq!(decoded(&bytes.unwrap()).op, op);
    }
    for (problem, code) in [
        (parse_capture(TRANSFER, br#"{"amount":0}"#, "", "k"), Code::AmountInvalid),
        (parse_capture(TRANSFER, br#"{"amount":5,"to":"x"}"#, "", "k"), Code::InvalidRequest),
        (parse_void(TRANSFER, br#"{"amount":5}"#, "", "k"), Code::InvalidRequest),
        (parse_void(TRANSFER, b"[]", "", "k"), Code::InvalidRequest),
        (parse_void(TRANSFER, b" ", "", "k"), Code::MalformedJson),
        (parse_void("not-an-id", b"", "", "k"), Code::TransferNotFound),
        (parse_reverse(&TRANSFER.to_uppercase(), b"", "", "k"), Code::TransferNotFound),
    ] {
        assert_eq!(problem.unwrap_err().code, code);
    }
}

#[test]
fn a_batch() {
    let body = br#"{"items":[{"key":"1","from":"a","to":"b","amount":1},{"amount":2,"to":"a","from":"b","key":"2","memo":"m"}],"atomic":true}"#;
    let bytes = parse_batch(body, "p", "batch").unwrap();
    let Op::Batch { mode, items } = decoded(&bytes).op else { panic!("not a batch") };
    assert_eq!((mode, items.len()), (BatchMode::Atomic, 2));
    let items: Vec<Item<'_>> = items.iter().collect::<Result<_, _>>().unwrap();
    assert_eq!((items[1].key, items[1].order.from, items[1].order.memo), ("2", "b", "m"));
    // An item and a single request of the same content are the same request.
    let single = parse_transfer(br#"{"from":"a","to":"b","amount":1}"#, "p", "1").unwrap();
    assert_eq!(items[0].op_bytes, decoded(&single).op_bytes);
}

#[test]
fn bad_batches() {
    let item = r#"{"key":"1","from":"a","to":"b","amount":1}"#;
    let batch = |items: &str| format!(r#"{{"atomic":false,"items":[{items}]}}"#);
    let full = vec![item; BATCH_ITEMS_MAX].join(",");
    assert!(parse_batch(batch(&full).as_bytes(), "", "k").is_ok());
    for (body, code, field) in [
        (batch(""), Code::InvalidRequest, Some("items")),
        (batch(&format!("{full},{item}")), Code::InvalidRequest, Some("items")),
        (batch(&vec![item; 17 * BATCH_ITEMS_MAX].join(",")), Code::InvalidRequest, Some("items")),
        (format!(r#"{{"items":[{item}]}}"#), Code::InvalidRequest, Some("atomic")),
        (r#"{"atomic":true}"#.to_owned(), Code::InvalidRequest, Some("items")),
        (format!(r#"{{"atomic":1,"items":[{item}]}}"#), Code::InvalidRequest, Some("atomic")),
        (batch(&format!("{item},[1]")), Code::InvalidRequest, Some("items[1]")),
        (batch(&format!("{item},null")), Code::InvalidRequest, Some("items[1]")),
        (batch(&item.replace("\"a\"", "7")), Code::InvalidRequest, Some("items[0].from")),
        (batch(&item.replace("\"a\"", "\"a b\"")), Code::InvalidRequest, Some("items[0].from")),
        (batch(&format!("{item},{}", item.replace(":1}", ":0}"))), Code::AmountInvalid, Some("items[1].amount")),
        (batch(&item.replace("\"1\"", "\"\"")), Code::IdempotencyKeyInvalid, Some("items[0].key")),
        (batch(&item.replace(r#""key":"1","#, "")), Code::InvalidRequest, Some("items[0].key")),
        // What is no JSON is that first of all.
        (batch(&format!("{},", item.replace(":1}", ":0}"))), Code::MalformedJson, None),
    ] {
        let problem = parse_batch(body.as_bytes(), "", "k").expect_err(&body[..body.len().min(200)]);
        assert_eq!((problem.code, problem.field_name()), (code, field), "{problem}");
    }
}

#[test]
fn bodies_that_are_no_json() {
    for malformed in [
        &b""[..],
        b" ",
        b"{",
        br#"{"from":"a""#,
        br#"{"from":"a","to":"b","amount":1"#,
        br#"{"from":"a","to":"b","amount":1}}"#,
        br#"{"from":"a","to":"b","amount":1} x"#,
        br#"{"from":"a","to":"b","amount":1,}"#,
        br#"{"from":"a","to":"b","amount":01}"#,
        br#"{"from":"a","to":"b","amount":+1}"#,
        br#"{"from":"a","to":"b","amount":NaN}"#,
        br#"{'from':"a"}"#,
        b"{\"from\":\"\xff\xfe\"}",
        b"{\"from\":\"\xed\xa0\x80\"}",
        b"{\"from\":\"a\nb\"}",
        br#"{"from":"\ud800"}"#,
        b"\xef\xbb\xbf{}",
        b"from=a&to=b",
    ] {
        check_refused(malformed, Code::MalformedJson, None);
    }
}

/// A body of a transfer with these members besides `from` and `to`.
fn with(members: &str) -> String {
    format!(r#"{{"from":"a","to":"b",{members}}}"#)
}

#[test]
fn bad_amounts() {
    for (amount, code) in [
        ("0", Code::AmountInvalid),
        ("-0", Code::AmountInvalid),
        ("-1", Code::AmountInvalid),
        ("1.0", Code::AmountInvalid),
        ("0.1", Code::AmountInvalid),
        ("1e3", Code::AmountInvalid),
        ("1E-3", Code::AmountInvalid),
        ("1e999", Code::AmountInvalid),
        ("9007199254740992", Code::AmountInvalid),
        ("18446744073709551615", Code::AmountInvalid),
        ("18446744073709551616", Code::AmountInvalid),
        ("-9223372036854775809", Code::AmountInvalid),
        ("\"1\"", Code::AmountInvalid),
        ("\"9007199254740991\"", Code::AmountInvalid),
        ("\"09007199254740992\"", Code::AmountInvalid),
        ("\"+9007199254740992\"", Code::AmountInvalid),
        ("\"-9007199254740992\"", Code::AmountInvalid),
        ("\" 9007199254740992\"", Code::AmountInvalid),
        ("\"9007199254740992.0\"", Code::AmountInvalid),
        ("\"9e20\"", Code::AmountInvalid),
        ("\"\"", Code::AmountInvalid),
        ("\"170141183460469231731687303715884105728\"", Code::AmountInvalid),
        ("\"340282366920938463463374607431768211456\"", Code::AmountInvalid),
        ("true", Code::InvalidRequest),
        ("null", Code::InvalidRequest),
        ("[1]", Code::InvalidRequest),
        ("{}", Code::InvalidRequest),
    ] {
        check_refused(with(&format!("\"amount\":{amount}")), code, Some("amount"));
    }
    for hold_ms in ["0", "-1", "1.5", "31622400001", "1e3", "\"5\""] {
        check_refused(with(&format!("\"amount\":1,\"hold_ms\":{hold_ms}")), Code::AmountInvalid, Some("hold_ms"));
    }
}

#[test]
fn bad_ids_and_fields() {
    let long_id = "x".repeat(129);
    for id in ["", "a b", "a\\u0000", "é", "a\\n", "#", "a\\\"b", long_id.as_str()] {
        check_refused(format!(r#"{{"from":"{id}","to":"b","amount":1}}"#), Code::InvalidRequest, Some("from"));
        check_refused(format!(r#"{{"from":"a","to":"{id}","amount":1}}"#), Code::InvalidRequest, Some("to"));
    }
    let long_memo = format!("\"amount\":1,\"memo\":\"{}\"", "m".repeat(1_025));
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    for (members, field) in [
        ("\"amount\":1,\"colour\":1".to_owned(), Some("colour")),
        ("\"amount\":1,\"key\":\"k\"".to_owned(), Some("key")),
        ("\"amount\":1,\"amount\":1".to_owned(), Some("amount")),
        ("\"amount\":1,\"memo\":null,\"memo\":null".to_owned(), Some("memo")),
        ("\"amount\":1,\"metadata\":{},\"metadata\":{}".to_owned(), Some("metadata")),
        ("\"memo\":\"m\"".to_owned(), Some("amount")),
        ("\"amount\":1,\"memo\":7".to_owned(), Some("memo")),
        ("\"amount\":1,\"memo\":\"a\\nb\"".to_owned(), Some("memo")),
        ("\"amount\":1,\"memo\":\"\\u0085\"".to_owned(), Some("memo")),
        (long_memo, Some("memo")),
        ("\"amount\":1,\"metadata\":[]".to_owned(), Some("metadata")),
        ("\"amount\":1,\"metadata\":\"x\"".to_owned(), Some("metadata")),
        (format!("\"amount\":1,\"metadata\":{}", deep("[", "]")), Some("metadata")),
        (format!("\"amount\":1,\"colour\":{}", deep("[", "]")), Some("colour")),
        (format!("\"amount\":{}", deep("[", "]")), Some("amount")),
        (format!("\"memo\":{}", deep("{\"a\":", "}")), Some("memo")),
    ] {
        check_refused(with(&members), Code::InvalidRequest, field);
    }
    for other in ["[]", "null", "7", "\"x\"", r#"["a","b",1]"#, &deep("[", "]")] {
        check_refused(other, Code::InvalidRequest, Some("body"));
    }
}

#[test]
fn at_the_bounds() {
    for (amount, units) in [
        ("1", 1),
        ("9007199254740991", (1 << 53) - 1),
        ("\"9007199254740992\"", 1 << 53),
        ("\"170141183460469231731687303715884105727\"", i128::MAX as u128),
    ] {
        let body = format!(
            r#"{{"from":"{}","to":"b","amount":{amount},"hold_ms":31622400000,"memo":"{}"}}"#,
            "x".repeat(128),
            "é".repeat(512)
        );
        let bytes = parse_transfer(body.as_bytes(), "", "k").expect(&body);
        let Op::Transfer(order) = decoded(&bytes).op else { panic!("not a transfer") };
        assert_eq!((order.amount.units(), order.hold_ms), (units, Some(HOLD_MS_MAX)));
    }
}

#[test]
fn what_a_person_reads() {
    let problem = parse_transfer(b"{\"from\":\"a\",\n \"too\":\"b\"}", "", "k").unwrap_err();
    check_problem(
        &problem,
        &expect![[
            r#"{"type":"/errors/invalid-request","title":"The request is not of the expected form","status":400,"detail":"too: unknown field `too`, expected one of `from`, `to`, `amount`, `hold_ms`, `memo`, `metadata`","code":"invalid-request","outcome":"refused","field":"too","line":2,"column":6}"#
        ]],
    );
    let problem = parse_transfer(b"{\"from\":\"a\",\n \"to\" \"b\"}", "", "k").unwrap_err();
    check_problem(
        &problem,
        &expect![[
            r#"{"type":"/errors/malformed-json","title":"The body is not JSON","status":400,"detail":"Not JSON at line 2, column 7: expected `:`.","code":"malformed-json","outcome":"refused","line":2,"column":7}"#
        ]],
    );
    let batch = br#"{"atomic":true,"items":[{"key":"1","from":"a","to":"b","amount":1.5}]}"#;
    check_problem(
        &parse_batch(batch, "", "k").unwrap_err(),
        &expect![[
            r#"{"type":"/errors/amount-invalid","title":"The amount is not one","status":400,"detail":"items[0].amount: an amount is a whole number without fraction and exponent, and above 9007199254740991 (2^53 - 1) a decimal string","code":"amount-invalid","outcome":"refused","field":"items[0].amount","item":0,"item_key":"1"}"#
        ]],
    );
    let batch = br#"{"atomic":true,"items":[{"key":"1","from":7,"to":"b","amount":1}]}"#;
    check_problem(
        &parse_batch(batch, "", "k").unwrap_err(),
        &expect![[
            r#"{"type":"/errors/invalid-request","title":"The request is not of the expected form","status":400,"detail":"items[0].from: invalid type: integer `7`, expected a string","code":"invalid-request","outcome":"refused","field":"items[0].from","line":1,"column":43}"#
        ]],
    );
}

#[test]
fn a_stranger_cannot_make_a_problem_long() {
    let body = format!("{{\"{}\":1}}", "é".repeat(1_000_000));
    let problem = parse_transfer(body.as_bytes(), "", "k").unwrap_err();
    let mut out = Vec::new();
    problem.write_json(&mut out);
    assert!(out.len() < 2_000, "{} bytes", out.len());
}

#[test]
fn lines_of_a_stream() {
    let mut batch = BatchEncoder::new(4);
    parse_line(br#"{"key":"1","from":"a","to":"b","amount":1}"#, &mut batch).unwrap();
    for (line, key, code) in [
        (&br#"{"key":"2","from":"a","to":"b","amount":0}"#[..], Some("2"), Code::AmountInvalid),
        (br#"{"key":"2","from":"a b","to":"b","amount":1}"#, Some("2"), Code::InvalidRequest),
        (br#"{"key":"","from":"a","to":"b","amount":1}"#, None, Code::IdempotencyKeyInvalid),
        (br#"{"from":"a","to":"b","amount":1}"#, None, Code::InvalidRequest),
        (b"", None, Code::MalformedJson),
        (b"\xff", None, Code::MalformedJson),
    ] {
        let (found, problem) = parse_line(line, &mut batch).unwrap_err();
        assert_eq!((found.as_deref(), problem.code), (key, code), "{line:?}");
    }
    let command = stream_command("p", &batch);
    let Command { principal, key, op: Op::Batch { mode, items }, .. } = decoded(&command) else { panic!("no batch") };
    assert_eq!((principal, key, mode, items.len()), ("p", "", BatchMode::Stream, 1));
}

/// A JSON object with its members in any order and white space anywhere, always of the same meaning.
fn object(members: Vec<(String, String)>) -> impl Strategy<Value = String> {
    let count = members.len();
    let space = || prop::collection::vec("[ \t\r\n]{0,2}", count * 3 + 2);
    (Just(members).prop_shuffle(), space()).prop_map(|(members, spaces)| {
        let mut spaces = spaces.into_iter();
        let mut space = || spaces.next().unwrap_or_default();
        let members: Vec<String> = members
            .iter()
            .map(|(name, value)| format!("{}\"{name}\"{}:{}{value}", space(), space(), space()))
            .collect();
        format!("{}{{{}}}{}", space(), members.join(","), space())
    })
}

fn transfer_members() -> Vec<(String, String)> {
    [
        ("key", "\"k\\u0031\""),
        ("from", "\"a\""),
        ("to", "\"b\""),
        ("amount", "\"9007199254740992\""),
        ("hold_ms", "77"),
        ("memo", "\"caf\\u00e9\""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn item() -> impl Strategy<Value = String> {
    let inner = vec![("x".to_owned(), "1".to_owned()), ("y".to_owned(), "[1, 2]".to_owned())];
    object(inner).prop_flat_map(|metadata| {
        let mut members = transfer_members();
        members.push(("metadata".to_owned(), metadata));
        object(members)
    })
}

proptest! {
    /// Bodies that differ only in white space or in the order of members are the same request.
    #[test]
    fn one_meaning_one_encoding(one in item(), other in item()) {
        let command = |item: &str| parse_batch(format!(r#"{{"atomic":false,"items":[{item}]}}"#).as_bytes(), "p", "k");
        let turned = |item: &str| parse_batch(format!(r#"{{ "items" :[ {item}] ,"atomic":false}}"#).as_bytes(), "p", "k");
        prop_assert!(command(&one).is_ok(), "{:?}", command(&one));
        prop_assert_eq!(command(&one), turned(&other));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_by_all(&bytes);
    }

    /// Bytes near valid ones get further into the parsers than random ones.
    #[test]
    fn mutated_bodies_are_read_or_refused(
        valid in item(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut body = format!(r#"{{"atomic":false,"items":[{valid}]}}"#).into_bytes();
        let mut line = valid.into_bytes();
        for bytes in [&mut body, &mut line] {
            for (index, byte, kind) in &mutations {
                let at = index.index(bytes.len());
                match kind {
                    0 => bytes[at] = *byte,
                    1 => bytes.insert(at, *byte),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            read_by_all(bytes);
        }
    }
}

/// Whatever is accepted, the machine can decode.
fn read_by_all(bytes: &[u8]) {
    for command in [
        parse_account(bytes, "p", "k"),
        parse_transfer(bytes, "p", "k"),
        parse_capture(TRANSFER, bytes, "p", "k"),
        parse_void(TRANSFER, bytes, "p", "k"),
        parse_reverse(TRANSFER, bytes, "p", "k"),
        parse_batch(bytes, "p", "k"),
    ] {
        match command {
            Ok(command) => assert_eq!(decoded(&command).key, "k"),
            Err(problem) => assert_eq!(problem.outcome(), words::Outcome::Refused),
        }
    }
    let mut batch = BatchEncoder::new(1);
    let is_pushed = parse_line(bytes, &mut batch).is_ok();
    assert_eq!(batch.len(), usize::from(is_pushed));
}
