//! What the server says of itself.

use crate::kit::Server;

#[test]
fn health_and_readiness() {
    let server = Server::start();
    let health = server.get("/healthz");
    assert_eq!((health.status, health.body.as_slice()), (200, b"ok\n".as_slice()));
    let ready = server.get("/readyz").json();
    assert_eq!((&ready["ready"], &ready["role"]), (&true.into(), &"leader".into()));
    assert!(ready["position"].as_str().unwrap().starts_with("main:1:"));
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::start();
    let mut client = server.connect();
    client.send("HEAD /healthz HTTP/1.1\r\nhost: t\r\n\r\n");
    let head = client.receive_head();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 3\r\n"), "{head}");
    assert_eq!(client.request("GET", "/healthz", &[], "").body, b"ok\n", "nothing of a body came between");
}

#[test]
fn each_code_has_a_page() {
    let server = Server::start();
    for row in &wire::codes::TABLE {
        let page = server.get(&format!("/errors/{}", row.text));
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/markdown; charset=utf-8")),
            "{}",
            row.text
        );
        assert!(String::from_utf8(page.body).unwrap().contains(row.title));
    }
    let index = server.connect().request("GET", "/errors", &[("accept", "text/html")], "");
    assert_eq!(index.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(String::from_utf8(index.body).unwrap().contains("/errors/overloaded"));
}

#[test]
fn the_description_names_each_path() {
    let server = Server::start();
    let document = server.get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/v1/accounts",
        "/v1/accounts/{id}",
        "/v1/accounts/{id}/transfers",
        "/v1/transfers",
        "/v1/transfers/batch",
        "/v1/transfers/{id}",
        "/v1/transfers/{id}/capture",
        "/v1/transfers/{id}/void",
        "/v1/transfers/{id}/reverse",
        "/v1/operations/{key}",
        "/v1/operations/{key}/settle",
        "/v1/topics",
        "/v1/topics/{topic}",
        "/v1/topics/{topic}/events",
        "/v1/subscriptions",
        "/v1/subscriptions/{name}",
        "/v1/subscriptions/{name}/events",
        "/v1/subscriptions/{name}/ack",
        "/v1/subscriptions/{name}/dead-letters",
        "/v1/subscriptions/{name}/dead-letters/replay",
        "/v1/subscriptions/{name}/dead-letters/drop",
        "/healthz",
        "/readyz",
        "/metrics",
    ] {
        assert!(paths.contains_key(path), "{path} is not described");
    }
}

/// Every metric stands in docs/metrics.md, and nothing else does.
#[test]
fn metrics_are_those_that_are_documented() {
    let server = Server::start();
    server.open(&["a"]);
    assert_eq!(server.transfer("k", "world", "a", 1).status, 201);
    assert_eq!(server.transfer("k", "world", "a", 2).status, 422);
    let text = server.get("/metrics");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(text.body).unwrap();
    assert!(text.contains(r#"tertium_requests_total{route="transfer",status="201",outcome="committed"} 1"#), "{text}");
    assert!(text.contains(r#"tertium_requests_total{route="transfer",status="422",outcome="refused"} 1"#), "{text}");
    assert!(text.contains(r#"tertium_request_duration_seconds_bucket{le="+Inf",route="transfer"} 2"#), "{text}");
    assert!(!text.contains("# EOF"));
    let accept = [("accept", "application/openmetrics-text; version=1.0.0")];
    let open = server.connect().request("GET", "/metrics", &accept, "");
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with(b"# EOF\n"));
    let served: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let table = include_str!("../../../../docs/metrics.md");
    let documented: Vec<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `tertium_")?.split('`').next()).collect();
    for name in &served {
        assert!(documented.contains(&name.strip_prefix("tertium_").unwrap()), "{name} is not in docs/metrics.md");
    }
    assert_eq!(served.len(), documented.len(), "docs/metrics.md has what is not served: {documented:?}");
}
