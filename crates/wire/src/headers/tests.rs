use proptest::prelude::*;
use words::CellName;

use super::*;

fn key(value: &str) -> Result<String, Code> {
    idempotency_key([value.as_bytes()]).map(|key| key.as_str().to_owned()).map_err(|problem| problem.code)
}

#[test]
fn keys() {
    let longest = "k".repeat(255);
    let quoted_longest = format!("\"{longest}\"");
    for (value, expected) in [
        ("order-17", "order-17"),
        ("  order-17\t", "order-17"),
        ("\"order-17\"", "order-17"),
        (r#""a\"b\\c""#, r#"a"b\c"#),
        (r#"a"b\c"#, r#"a"b\c"#),
        (longest.as_str(), longest.as_str()),
        (quoted_longest.as_str(), longest.as_str()),
    ] {
        assert_eq!(key(value).as_deref(), Ok(expected), "{value}");
    }
    for bad in [
        "\"",
        "\"\"",
        "\"open",
        "\"a\"b",
        "\"a\";p=1",
        r#""a\n""#,
        r#""a\"#,
        "a b",
        "\"a b\"",
        "é",
        "a\u{7f}",
        &"k".repeat(256),
        &format!("\"{}\"", "k".repeat(256)),
    ] {
        assert_eq!(key(bad), Err(Code::IdempotencyKeyInvalid), "{bad}");
    }
    assert_eq!(key(""), Err(Code::IdempotencyKeyMissing));
    assert_eq!(idempotency_key([]).unwrap_err().code, Code::IdempotencyKeyMissing);
    assert_eq!(idempotency_key([&b"a"[..], b"a"]).unwrap_err().code, Code::IdempotencyKeyInvalid);
    assert_eq!(idempotency_key([&b"\xff"[..]]).unwrap_err().code, Code::IdempotencyKeyInvalid);
}

#[test]
fn deadlines() {
    let now_micros = 1_000_000_000;
    for (value, ms) in [
        (None, 10_000),
        (Some("250ms"), 250),
        (Some(" 2s "), 2_000),
        (Some("1970-01-01T00:16:41Z"), 1_000),
        (Some("1970-01-01T00:16:40.250Z"), 250),
        (Some("1970-01-01T01:16:41+01:00"), 1_000),
        (Some("1970-01-01T00:00:00Z"), 0),
        (Some("1950-01-01T00:00:00Z"), 0),
    ] {
        let deadline = deadline(value.map(str::as_bytes), now_micros);
        assert_eq!(deadline.map(|deadline| deadline.remaining().as_millis()), Ok(ms), "{value:?}");
    }
    for bad in ["", "soon", "5", "-1s", "1.5s", "3601s", "1970-01-01T01:16:41Z", "2026-01-01", "é"] {
        assert_eq!(deadline(Some(bad.as_bytes()), now_micros).unwrap_err().code, Code::DeadlineInvalid, "{bad}");
    }
}

#[test]
fn grpc_timeouts() {
    for (value, ms) in [
        ("1H", 3_600_000),
        ("2M", 120_000),
        ("3S", 3_000),
        ("4m", 4),
        ("5u", 1),
        ("99999999n", 100),
        ("99999999H", 3_600_000),
        ("0n", 0),
    ] {
        let timeout = grpc_timeout(Some(value.as_bytes()));
        assert_eq!(timeout.map(|deadline| deadline.remaining().as_millis()), Ok(ms), "{value}");
    }
    for bad in ["", "S", "1", "1s", "123456789S", "-1S", "1 S", "é"] {
        assert_eq!(grpc_timeout(Some(bad.as_bytes())).unwrap_err().code, Code::DeadlineInvalid, "{bad}");
    }
}

#[test]
fn levels() {
    let at = WirePosition::parse("main:1:2").unwrap();
    assert_eq!(at.cell, CellName::new("main").unwrap());
    for (value, expected) in [
        (None, None),
        (Some("linearizable"), Some(Consistency::Linearizable)),
        (Some("session"), Some(Consistency::Session)),
        (Some("eventual"), Some(Consistency::Eventual)),
        (Some("bounded=250"), Some(Consistency::Bounded { staleness_ms_max: 250 })),
        (Some("at=main:1:2"), Some(Consistency::At(at))),
    ] {
        assert_eq!(consistency(value.map(str::as_bytes)), Ok(expected), "{value:?}");
    }
    for bad in [
        "",
        "strong",
        "Linearizable",
        "bounded",
        "bounded=",
        "bounded=-1",
        "bounded=99999999999999999999",
        "at=",
        "at=main",
        "session=1",
        "é",
    ] {
        assert_eq!(consistency(Some(bad.as_bytes())).unwrap_err().code, Code::ConsistencyInvalid, "{bad}");
    }
}

#[test]
fn sessions() {
    assert_eq!(session(None), Ok(Session::default()));
    assert_eq!(session(Some(b"1.main:1:2")).map(|session| session.to_string()), Ok("1.main:1:2".to_owned()));
    for bad in [&b""[..], b"garbage", b"2.main:1:2", b"\xff\xfe"] {
        assert_eq!(session(Some(bad)).unwrap_err().code, Code::SessionInvalid, "{bad:?}");
    }
}

#[test]
fn the_rest() {
    assert!(prefers_async([&b"wait=10, Respond-Async;x=1"[..]]));
    assert!(prefers_async([&b"wait=10"[..], b"respond-async"]));
    assert!(!prefers_async([&b"respond-asynchronously"[..]]));
    assert_eq!(content_type(Some(b"application/json; charset=utf-8"), false), Ok(Media::Json));
    assert_eq!(content_type(Some(b"APPLICATION/X-NDJSON"), false), Ok(Media::Ndjson));
    assert_eq!(content_type(None, true), Ok(Media::Json));
    for (value, body_is_empty) in [(None, false), (Some(&b"text/plain"[..]), false), (Some(b"\xff"), true)] {
        assert_eq!(content_type(value, body_is_empty).unwrap_err().code, Code::UnsupportedMediaType);
    }
    assert_eq!(bearer(b"bearer  abc "), Some("abc"));
    assert_eq!(bearer(b"Basic abc"), None);
    assert_eq!(bearer(b"Bearer "), None);
}

proptest! {
    #[test]
    fn quoting_round_trips(text in "[!-~]{1,255}") {
        prop_assert_eq!(key(&quote_key(&text)), Ok(text));
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        any in prop::collection::vec(any::<u8>(), 0..40),
        near in "[\"\\\\a0-9msSHnu=:.TZ-]{0,24}",
        now: u64,
    ) {
        for value in [any.as_slice(), near.as_bytes()] {
            let _ = (idempotency_key([value]), deadline(Some(value), now), grpc_timeout(Some(value)));
            let _ = (session(Some(value)), consistency(Some(value)), content_type(Some(value), false), bearer(value));
            let _ = prefers_async([value]);
        }
    }
}
