use machine::Message;
use proptest::prelude::*;

use super::*;

const SHORT: EventForm = EventForm::Short;
const ONE: EventForm = EventForm::Structured;
const MANY: EventForm = EventForm::Batched;

/// Checks what a body is understood as.
#[track_caller]
fn check(form: EventForm, body: &str, expected: &[Message<'_>]) {
    let events = parse_events(form, body.as_bytes()).unwrap_or_else(|problem| panic!("{body}: {problem}"));
    let messages: Result<Vec<_>, _> = events.messages().iter().collect();
    assert_eq!(messages.as_deref(), Ok(expected), "{body}");
}

#[track_caller]
fn check_refused(form: EventForm, body: &str, field: &str) {
    let problem = parse_events(form, body.as_bytes()).expect_err(body);
    assert_eq!((problem.code, problem.field_name()), (Code::InvalidRequest, Some(field)), "{body}: {problem}");
}

/// A CloudEvent with these members beside the required ones.
fn cloud(more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{more}}}"#)
}

const CLOUD: Message<'_> =
    Message { kind: "t", key: "", id: "1", source: "/s", subject: "", time: "", attributes: "", data: "" };

#[test]
fn the_short_form() {
    let t = Message { kind: "t", ..Message::default() };
    check(SHORT, r#"{"type":"t"}"#, &[t]);
    check(SHORT, r#"{"type":"t","key":null,"data":null,"events":null}"#, &[t]);
    check(
        SHORT,
        r#" {"data":{"b":1,"a":[2.50]},"key":"k","subject":"é","type":"t","time":"2026-01-31T13:00:00.120+01:00"} "#,
        &[Message { key: "k", subject: "é", time: "2026-01-31T12:00:00.12Z", data: r#"{"a":[2.5],"b":1}"#, ..t }],
    );
    check(
        SHORT,
        r#"{"events":[{"type":"t","data":1},{"type":"u","data":"x"}]}"#,
        &[Message { data: "1", ..t }, Message { kind: "u", data: "\"x\"", ..t }],
    );
}

#[test]
fn the_short_form_refused() {
    for (body, field) in [
        ("{}", "type"),
        ("[]", "body"),
        (r#"{"type":""}"#, "type"),
        (r#"{"type":"a b"}"#, "type"),
        (r#"{"type":1}"#, "type"),
        (r#"{"type":"t","type":"t"}"#, "type"),
        (r#"{"type":"t","key":"a b"}"#, "key"),
        (r#"{"type":"t","key":""}"#, "key"),
        (r#"{"type":"t","subject":"a\nb"}"#, "subject"),
        (r#"{"type":"t","time":"now"}"#, "time"),
        (r#"{"type":"t","time":"2026-01-31T13:00:00Z[UTC]"}"#, "time"),
        (r#"{"type":"t","data":{"a":1,"a":2}}"#, "data"),
        (r#"{"type":"t","data":9007199254740993}"#, "data"),
        (r#"{"type":"t","id":"1"}"#, "id"),
        (r#"{"events":[]}"#, "events"),
        (r#"{"events":{}}"#, "events"),
        (r#"{"events":[{"type":"t"}],"type":"t"}"#, "events"),
        (r#"{"events":[{"type":"t"}],"data":1}"#, "events"),
        (r#"{"events":[{"type":"t"},{"type":"t","key":"a b"},{"type":""}]}"#, "events[1].key"),
        (r#"{"events":[{"type":"t"},{}]}"#, "events[1].type"),
    ] {
        check_refused(SHORT, body, field);
    }
}

#[test]
fn cloud_events() {
    check(ONE, &cloud(""), &[CLOUD]);
    check(ONE, &cloud(r#","subject":null,"data":null,"more":null"#), &[CLOUD]);
    check(
        ONE,
        &cloud(
            r#","time":"2026-01-31T12:00:00Z","subject":"s","partitionkey":"k","data":{"b":1,"a":2},
              "zone":"z","dataschema":"https://s","datacontenttype":"application/json","count":-0,"flag":true"#,
        ),
        &[Message {
            time: "2026-01-31T12:00:00Z",
            subject: "s",
            key: "k",
            data: r#"{"a":2,"b":1}"#,
            attributes: concat!(
                r#"{"count":0,"datacontenttype":"application/json","dataschema":"https://s","flag":true,"#,
                r#""zone":"z"}"#
            ),
            ..CLOUD
        }],
    );
    let binary = cloud(r#","datacontenttype":"image/png","data_base64":"AAEC""#);
    let attributes = r#"{"data_base64":"AAEC","datacontenttype":"image/png"}"#;
    check(ONE, &binary, &[Message { attributes, ..CLOUD }]);
    check(MANY, &format!("[{},{binary}]", cloud("")), &[CLOUD, Message { attributes, ..CLOUD }]);
}

#[test]
fn cloud_events_refused() {
    for (more, field) in [
        (r#","time":"yesterday""#, "time"),
        (r#","time":1"#, "time"),
        (r#","id":"1""#, "id"),
        (r#","partitionkey":"a b""#, "partitionkey"),
        (r#","data":1,"data_base64":"AAEC""#, "data_base64"),
        (r#","data_base64":"AAE""#, "data_base64"),
        (r#","data_base64":{}"#, "data_base64"),
        (r#","datacontenttype":1"#, "datacontenttype"),
        (r#","tertiumoffset":"1""#, "tertiumoffset"),
        (r#","Upper":"1""#, "Upper"),
        (r#","":"1""#, ""),
        (r#","aaaaaaaaaaaaaaaaaaaaa":"1""#, "aaaaaaaaaaaaaaaaaaaaa"),
        (r#","ext":1.5"#, "ext"),
        (r#","ext":2147483648"#, "ext"),
        (r#","ext":[]"#, "ext"),
        (r#","ext":"""#, "ext"),
        (r#","ext":"a\nb""#, "ext"),
    ] {
        check_refused(ONE, &cloud(more), field);
    }
    check_refused(ONE, r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#, "specversion");
    check_refused(ONE, r#"{"id":"1","source":"/s","type":"t"}"#, "specversion");
    check_refused(ONE, r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#, "id");
    check_refused(ONE, r#"{"specversion":"1.0","id":"1","source":null,"type":"t"}"#, "source");
    check_refused(ONE, "[]", "body");
    check_refused(MANY, "[]", "events");
    check_refused(MANY, "{}", "body");
    check_refused(MANY, &format!("[{},{}]", cloud(""), cloud(r#","time":"x""#)), "events[1].time");
}

#[test]
fn bounds() {
    let sized = |bytes: usize| format!(r#"{{"type":"t","data":"{}"}}"#, "x".repeat(bytes - 2));
    assert!(parse_events(SHORT, sized(EVENT_DATA_BYTES_MAX).as_bytes()).is_ok());
    check_refused(SHORT, &sized(EVENT_DATA_BYTES_MAX + 1), "data");
    let deep = |depth: usize| format!(r#"{{"type":"t","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(parse_events(SHORT, deep(EVENT_DEPTH_MAX).as_bytes()).is_ok());
    check_refused(SHORT, &deep(EVENT_DEPTH_MAX + 1), "data");
    let many = |count: usize| format!(r#"{{"events":[{}]}}"#, vec![r#"{"type":"t"}"#; count].join(","));
    let events = parse_events(SHORT, many(MESSAGES_PER_PUBLISH_MAX).as_bytes()).unwrap();
    assert_eq!(events.len(), MESSAGES_PER_PUBLISH_MAX);
    check_refused(SHORT, &many(MESSAGES_PER_PUBLISH_MAX + 1), "events");
    check_refused(SHORT, &many(20 * MESSAGES_PER_PUBLISH_MAX), "events");
    let members: String = (0..MEMBERS_MAX).map(|n| format!(",\"e{n}\":1")).collect();
    check_refused(ONE, &cloud(&members), "body");
}

#[test]
fn forms() {
    for (value, form) in [
        ("application/json", Some(SHORT)),
        ("Application/JSON; charset=utf-8", Some(SHORT)),
        ("application/cloudevents+json", Some(ONE)),
        ("application/cloudevents-batch+json ; charset=UTF-8", Some(MANY)),
        ("application/cloudevents", None),
        ("text/plain", None),
        ("", None),
    ] {
        assert_eq!(EventForm::of_content_type(value), form, "{value}");
    }
}

proptest! {
    /// The order of members and white space change nothing.
    #[test]
    fn one_meaning_one_encoding(order in Just(vec![
        r#""specversion" : "1.0""#, r#""id":"1""#, r#""source":"/s""#, r#""type":"\u0074""#, r#""zone":"z""#, r#""data":{"a":1}"#,
    ]).prop_shuffle()) {
        let body = format!("{{ {} }}", order.join(" , "));
        let events = parse_events(ONE, body.as_bytes()).unwrap();
        let expected = Message { attributes: r#"{"zone":"z"}"#, data: r#"{"a":1}"#, ..CLOUD };
        prop_assert_eq!(events.messages().iter().collect::<Vec<_>>(), [Ok(expected)]);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}", json in r#"[\[\]{}",:a-z0-9]{0,40}"#) {
        for form in [SHORT, ONE, MANY] {
            for body in [&text, &json, &cloud(&format!(",{json}"))] {
                let _ = parse_events(form, body.as_bytes());
            }
        }
    }
}
