use machine::{Command, Event};

use super::*;
use crate::answer::tests::{moved, record};
use crate::request::{parse_account, parse_batch, parse_capture, parse_reverse, parse_transfer, parse_void};

const TRANSFER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn transfer_request() -> proto::TransferRequest {
    proto::TransferRequest {
        idempotency_key: "k".into(),
        from: "a".into(),
        to: "b".into(),
        amount: "12".into(),
        hold_ms: Some(5),
        memo: "m".into(),
        metadata_json: r#"{ "b": 1, "a": 2 }"#.into(),
    }
}

fn account_request() -> proto::OpenAccountRequest {
    proto::OpenAccountRequest { idempotency_key: "k".into(), id: "a".into(), unit: "EUR".into(), ..Default::default() }
}

/// A key that was used over HTTP is replayed over gRPC: both make the same command.
#[test]
fn the_same_commands_as_json() {
    let item = r#"{"from":"a","to":"b","amount":12,"hold_ms":5,"memo":"m","metadata":{"b":1,"a":2}}"#;
    assert_eq!(transfer(&transfer_request(), "p"), parse_transfer(item.as_bytes(), "p", "k"));
    let keyed = item.replacen('{', r#"{"key":"k","#, 1);
    let batch_request =
        proto::BatchRequest { idempotency_key: "b".into(), atomic: true, items: vec![transfer_request(); 2] };
    let body = format!(r#"{{"atomic":true,"items":[{keyed},{keyed}]}}"#);
    assert_eq!(batch(&batch_request, "p"), parse_batch(body.as_bytes(), "p", "b"));
    let open = |floor: Option<&str>, no_floor| {
        open_account(&proto::OpenAccountRequest { floor: floor.map(Into::into), no_floor, ..account_request() }, "p")
    };
    for (message, floor) in [
        (open(None, false), "0"),
        (open(None, true), "null"),
        (open(Some("-5"), false), "-5"),
        (open(Some("0"), false), "0"),
    ] {
        let body = format!(r#"{{"id":"a","unit":"EUR","floor":{floor}}}"#);
        assert_eq!(message, parse_account(body.as_bytes(), "p", "k"), "{floor}");
    }
    let part = |amount: Option<&str>| amount.map(ToOwned::to_owned);
    for (amount, body) in [(None, "{}"), (Some("5"), r#"{"amount":5}"#)] {
        let (idempotency_key, transfer_id) = ("k".to_owned(), TRANSFER.to_owned());
        let message = proto::CaptureRequest {
            idempotency_key: idempotency_key.clone(),
            transfer_id: transfer_id.clone(),
            amount: part(amount),
        };
        assert_eq!(capture(&message, "p"), parse_capture(TRANSFER, body.as_bytes(), "p", "k"));
        let message = proto::ReverseRequest { idempotency_key, transfer_id, amount: part(amount) };
        assert_eq!(reverse(&message, "p"), parse_reverse(TRANSFER, body.as_bytes(), "p", "k"));
    }
    let message = proto::VoidRequest { idempotency_key: "k".into(), transfer_id: TRANSFER.into() };
    assert_eq!(void(&message, "p"), parse_void(TRANSFER, b"", "p", "k"));
}

#[test]
fn bad_messages() {
    let valid = transfer_request();
    for (request, code) in [
        (proto::TransferRequest { idempotency_key: String::new(), ..valid.clone() }, Code::IdempotencyKeyMissing),
        (proto::TransferRequest { idempotency_key: "a b".into(), ..valid.clone() }, Code::IdempotencyKeyInvalid),
        (proto::TransferRequest { idempotency_key: "k".repeat(256), ..valid.clone() }, Code::IdempotencyKeyInvalid),
        (proto::TransferRequest { from: String::new(), ..valid.clone() }, Code::InvalidRequest),
        (proto::TransferRequest { to: "é".into(), ..valid.clone() }, Code::InvalidRequest),
        (proto::TransferRequest { hold_ms: Some(0), ..valid.clone() }, Code::AmountInvalid),
        (proto::TransferRequest { memo: "a\nb".into(), ..valid.clone() }, Code::InvalidRequest),
        (proto::TransferRequest { metadata_json: "[]".into(), ..valid.clone() }, Code::InvalidRequest),
    ] {
        assert_eq!(transfer(&request, "").unwrap_err().code, code, "{request:?}");
    }
    for amount in ["", "0", "-1", "-0", "+1", "01", "1.0", "1e3", " 1", "170141183460469231731687303715884105728"] {
        let request = proto::TransferRequest { amount: amount.into(), ..valid.clone() };
        assert_eq!(transfer(&request, "").unwrap_err().code, Code::AmountInvalid, "{amount:?}");
    }
    let both = proto::OpenAccountRequest { floor: Some("0".into()), no_floor: true, ..account_request() };
    assert_eq!(open_account(&both, "").unwrap_err().field_name(), Some("no_floor"));
    let floor = proto::OpenAccountRequest { floor: Some("-0".into()), ..account_request() };
    assert_eq!(open_account(&floor, "").unwrap_err().code, Code::AmountInvalid);
    let empty = proto::BatchRequest { idempotency_key: "b".into(), atomic: true, items: vec![] };
    assert_eq!(batch(&empty, "").unwrap_err().field_name(), Some("items"));
    let wrong = proto::TransferRequest { amount: "0".into(), ..valid };
    let second = proto::BatchRequest { items: vec![transfer_request(), wrong], ..empty };
    let problem = batch(&second, "").unwrap_err();
    assert_eq!((problem.code, problem.field_name()), (Code::AmountInvalid, Some("items[1].amount")));
}

#[test]
fn answers() {
    let posted = record(Body::Moved(moved(Event::Posted)));
    let message = transfer_view(&moved_of(&posted, "k").unwrap());
    assert_eq!((message.state.as_str(), message.from_balance_after.as_str()), ("posted", "-12"));
    let refusal = machine::Refusal { code: machine::Code::InsufficientFunds, about: "a", had: 1, wanted: 2 };
    let refused = record(Body::Refused(refusal));
    assert_eq!(moved_of(&refused, "k").unwrap_err().code, Code::InsufficientFunds);
    assert_eq!(opened_of(&record(Body::Barred), "k").unwrap_err().code, Code::OperationBarred);
    let items = [&posted, &refused].map(|record| Item { key: "1", verdict: ItemVerdict::Decided(*record) });
    let batch = record(Body::Batch {
        items: machine::Runs::new(&[]),
        exceptions: machine::Exceptions::new(&[]),
        atomic: false,
    });
    let message = batch_of(&batch, items).unwrap();
    let outcomes: Vec<_> = message.items.iter().map(|item| (item.outcome(), item.status)).collect();
    assert_eq!(outcomes, [(proto::Outcome::Committed, 201), (proto::Outcome::Refused, 422)]);
    let lines = history("alice", [posted, record(Body::Barred)], None).items;
    assert_eq!((lines.len(), lines[0].balance_after.as_str(), lines[0].event.as_str()), (1, "-12", "posted"));
}

/// Whoever gets a gRPC error finds in its trailers what a problem over HTTP says.
#[test]
fn a_problem_as_a_status() {
    let refusal = machine::Refusal { code: machine::Code::AccountNotFound, about: "a", had: 0, wanted: 0 };
    let problem = Problem::of_batch(3, "k-3", &refusal, "k");
    let status = status(&problem);
    assert_eq!((status.code(), status.message()), (tonic::Code::FailedPrecondition, problem.detail.as_str()));
    assert_eq!(status.metadata().get("tertium-code").unwrap(), "batch-refused");
    assert_eq!(status.metadata().get("tertium-outcome").unwrap(), "refused");
    let bytes = status.metadata().get_bin("tertium-problem-bin").unwrap().to_bytes().unwrap();
    let message = proto::Problem::decode(bytes).unwrap();
    assert_eq!((message.item, message.item_key.as_deref()), (Some(3), Some("k-3")));
    assert_eq!(message.item_code.as_deref(), Some("account-not-found"));
    assert_eq!(message.operation.as_deref(), Some("/v1/operations/k"));
    for row in &crate::codes::TABLE {
        assert_ne!(self::status(&Problem::of(row.code)).code(), tonic::Code::Ok, "{}", row.text);
    }
}

#[test]
fn commands_decode() {
    let bytes = transfer(&transfer_request(), "p").unwrap();
    assert_eq!(Command::decode(&bytes).map(|command| command.key), Ok("k"));
}

/// A cursor that was given over HTTP goes on over gRPC, and the other way round.
#[test]
fn the_same_queries_as_over_http() {
    let cursor = Cursor::new(List::Accounts, "EUR", 7).to_string();
    let request = proto::ListAccountsRequest { limit: 5, cursor: cursor.clone(), unit: "EUR".into() };
    assert_eq!(accounts_query(&request), AccountsQuery::parse(&format!("limit=5&unit=EUR&cursor={cursor}")));
    assert_eq!(accounts_query(&proto::ListAccountsRequest::default()), AccountsQuery::parse(""));
    let request = proto::ListTransfersRequest {
        account_id: "a".into(),
        from: Some("1970-01-01T00:00:01Z".into()),
        ..Default::default()
    };
    assert_eq!(history_query(&request), HistoryQuery::parse("from=1970-01-01T00:00:01Z", "a"));
    for (request, code) in [
        (proto::ListAccountsRequest { limit: 1_001, ..Default::default() }, Code::InvalidRequest),
        (proto::ListAccountsRequest { unit: "a b".into(), ..Default::default() }, Code::InvalidRequest),
        (proto::ListAccountsRequest { cursor: "x".into(), ..Default::default() }, Code::CursorInvalid),
    ] {
        assert_eq!(accounts_query(&request).unwrap_err().code, code);
    }
    assert_eq!(history_query(&proto::ListTransfersRequest::default()).unwrap_err().field_name(), Some("account_id"));
}

#[test]
fn fields_are_counted_before_they_are_decoded() {
    let check = |message: &[u8], max: usize, expect: Option<Code>| {
        assert_eq!(check_fields(message, max).err().map(|problem| problem.code), expect, "{message:x?} {max}");
    };
    let batch = proto::BatchRequest { idempotency_key: "b".into(), atomic: true, items: vec![transfer_request(); 3] };
    let batch = batch.encode_to_vec();
    check(&batch, 5, None);
    check(&batch, 4, Some(Code::PayloadTooLarge));
    check(b"", 0, None);
    // An item of no bytes takes two.
    check(&[0x1a, 0].repeat(100), 99, Some(Code::PayloadTooLarge));
    // A fixed 64-bit and a fixed 32-bit number, and a varint.
    check(&[0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x0d, 1, 2, 3, 4, 0x08, 0x80, 1], 3, None);
    // Cut off: in a tag, a length, a number; and a group.
    for broken in [&[0x80][..], &[0x1a, 5, 0], &[0x1a], &[0x08, 0x80], &[0x09, 1], &[0x0b, 0x0c], &[0xff; 11]] {
        check(broken, 9, Some(Code::InvalidRequest));
    }
}

proptest::proptest! {
    #[test]
    fn what_is_encoded_has_fields_and_anything_else_is_refused(
        any in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
        memo in "[a-z]{0,20}",
        items in 0usize..40,
    ) {
        let _ = check_fields(&any, 50);
        let item = proto::TransferRequest { memo, ..transfer_request() };
        let batch = proto::BatchRequest { idempotency_key: String::new(), atomic: false, items: vec![item; items] };
        let batch = batch.encode_to_vec();
        proptest::prop_assert!(check_fields(&batch, items).is_ok());
        proptest::prop_assert_eq!(check_fields(&batch, items.saturating_sub(1)).is_err(), items > 0);
    }
}

#[test]
fn trailers_are_bounded() {
    let long = |count: usize| (0..count).map(|at| (format!("/steps/{at}"), "x".repeat(300)));
    for (problem, errors) in [
        (Problem::of(Code::InvalidRequest).with_errors(long(3)), 3..4),
        (Problem::of(Code::InvalidRequest).with_errors(long(90)), 5..90),
    ] {
        let status = status(&problem);
        let bytes = status.metadata().get_bin("tertium-problem-bin").unwrap().to_bytes().unwrap();
        let told = proto::Problem::decode(bytes.clone()).unwrap();
        assert!(
            bytes.len() <= TRAILER_BYTES_MAX && errors.contains(&told.errors.len()),
            "{} errors",
            told.errors.len()
        );
        assert_eq!(told.errors[0].pointer, "/steps/0");
    }
}

/// Every member of a problem's JSON is one of the message.
#[test]
fn a_problem_is_told_whole() {
    let problem = Problem::field(Code::MalformedJson, "input", "x")
        .with_line_and_column(2, 9)
        .with_retry_after_ms(5)
        .with_could_have("eventual")
        .with_call(br#"{"id":"1"}"#.to_vec())
        .with_run(br#"{"id":"2"}"#.to_vec())
        .in_item(3, "k");
    let told = super::problem(&problem);
    assert_eq!((told.field.as_deref(), told.line, told.column), (Some("items[3].input"), Some(2), Some(9)));
    assert_eq!((told.retry_after_ms, told.could_have.as_deref()), (Some(5), Some("eventual")));
    assert_eq!((told.call_json.as_str(), told.run_json.as_str()), (r#"{"id":"1"}"#, r#"{"id":"2"}"#));
    assert_eq!((told.item, told.item_key.as_deref(), told.outcome()), (Some(3), Some("k"), proto::Outcome::Refused));
}
