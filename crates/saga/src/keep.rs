//! What a call keeps of its answer's headers for later steps: few, named in the definition, and none that belong to a connection
//! or are somebody's credentials. What is kept stands in the log.

use crate::definition::Bounds;
use crate::fault::Fault;
use crate::fields::{Fields, Problems, text};

/// How many headers one call may keep.
pub(crate) const KEPT_HEADERS: Bounds = Bounds { least: 1, most: 16, default: 1 };

/// Those that are never kept: of one connection (RFC 9110, section 7.6.1), or credentials and the like.
const NEVER: &[&str] = &[
    "authentication-info",
    "authorization",
    "connection",
    "cookie",
    "keep-alive",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
];

/// Reads `keep: { headers: [...] }` of a call. Nobody sees what comes of a call that undoes a step.
pub(crate) fn read(call: &Fields<'_>, undoes: bool, problems: &mut Problems) -> Vec<String> {
    let Some(value) = call.get("keep") else { return Vec::new() };
    let at = call.at("keep");
    if undoes {
        let needs = "a step: no expression sees the answer to what undoes one";
        problems.push(&at, Fault::Needs { field: "keep", needs });
    }
    let Some(fields) = Fields::read(value, &at, &["headers"], problems) else { return Vec::new() };
    fields.need("headers", problems);
    let Some(items) = fields.list("headers", problems) else { return Vec::new() };
    let at = fields.at("headers");
    let count = items.len() as u64;
    if !(KEPT_HEADERS.least..=KEPT_HEADERS.most).contains(&count) {
        problems.push(&at, Fault::OutOfBounds { bounds: KEPT_HEADERS, found: format!("{count} names") });
        return Vec::new();
    }
    let mut names: Vec<String> = Vec::new();
    for (item, number) in items.iter().zip(0..) {
        let at = format!("{at}/{number}");
        let Some(name) = text(item, &at, problems) else { continue };
        if !can_be_kept(name) || names.iter().any(|known| known == name) {
            problems.push(&at, Fault::KeptHeader { name: name.to_owned() });
        }
        names.push(name.to_owned());
    }
    names
}

fn can_be_kept(name: &str) -> bool {
    let is_lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=64).contains(&name.len())
        && name.bytes().all(is_lower)
        && !NEVER.contains(&name)
        && !name.starts_with("proxy-")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[track_caller]
    fn check(keep: &Value, later: &str, expected: &str) {
        let document = json!({"name": "x", "steps": [
            {"id": "pay", "call": {"url": "http://h/", "keep": keep}},
            {"id": "tell", "event": {"topic": "t", "type": "t", "data": later}},
        ]});
        let told = crate::Definition::of_document(document).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(told.err().unwrap_or_default(), expected, "{keep} {later}");
    }

    #[test]
    fn what_can_be_kept_and_named() {
        let headers = |names: Value| json!({ "headers": names });
        let two = headers(json!(["location", "x-rate-limit"]));
        check(&two, "${steps.pay.headers.location}", "");
        check(&two, "${steps.pay.headers.\"x-rate-limit\"}", "");
        check(&two, "${steps.pay.headers}", "");
        check(
            &two,
            "${steps.pay.headers.etag}",
            "/steps/1/event: `pay` does not keep the header `etag`: name it in its `keep`",
        );
        check(
            &two,
            "${join(' ', [steps.pay.headers.\"a-b\"])}",
            "/steps/1/event: `pay` does not keep the header `a-b`: name it in its `keep`",
        );
        check(&json!({}), "", "/steps/0/call/keep: `headers` is missing");
        check(&headers(json!([])), "", "/steps/0/call/keep/headers: must be 1 to 16, is 0 names");
        let many: Vec<_> = (0..17).map(|number| format!("h{number}")).collect();
        check(&headers(json!(many)), "", "/steps/0/call/keep/headers: must be 1 to 16, is 17 names");
        for name in [
            "Location",
            "set-cookie",
            "authorization",
            "cookie",
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "www-authenticate",
            "a b",
            "",
            "a,b",
            "a:b",
        ] {
            let told = format!(
                "/steps/0/call/keep/headers/0: `{name}` is no header that a call can keep: names are in lower case, each once, and neither of a connection nor credentials"
            );
            check(&headers(json!([name])), "", &told);
        }
        let twice = headers(json!(["etag", "etag"]));
        check(
            &twice,
            "",
            "/steps/0/call/keep/headers/1: `etag` is no header that a call can keep: names are in lower case, each once, and neither of a connection nor credentials",
        );
    }

    #[test]
    fn what_was_accepted_before_headers_were_kept_goes_on() {
        let document = json!({"name": "x", "steps": [
            {"id": "pay", "call": {"url": "http://h/"}},
            {"id": "tell", "event": {"topic": "t", "type": "t", "data": "${steps.pay.headers.location}"}},
        ]});
        assert!(crate::Definition::of_document(document.clone()).is_err(), "nobody defines it so any more");
        let definition = crate::Definition::of_accepted(document).expect("its runs go on");
        assert_eq!(definition.plan().steps.len(), 2);
        let wrong =
            json!({"name": "x", "steps": [{"id": "a", "event": {"topic": "t", "type": "t", "data": "${steps.b}"}}]});
        assert!(crate::Definition::of_accepted(wrong).is_err(), "nothing else is forgiven");
    }

    #[test]
    fn what_undoes_a_step_keeps_nothing() {
        let call = json!({"url": "http://h/", "keep": {"headers": ["etag"]}});
        let document = json!({"name": "x", "steps": [
            {"id": "a", "timer": {"for_ms": 1}, "compensate": {"call": call}},
        ]});
        let error = crate::Definition::of_document(document).expect_err("nobody sees it");
        let told =
            "/steps/0/compensate/call/keep: `keep` needs a step: no expression sees the answer to what undoes one";
        assert_eq!(error.to_string(), told);
    }
}
