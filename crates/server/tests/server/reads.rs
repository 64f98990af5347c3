//! Reads: levels, positions, pages.

use serde_json::Value;

use crate::kit::{Answer, Server};

fn read(server: &Server, path: &str, level: &str, more: &[(&str, &str)]) -> Answer {
    let mut headers = vec![("tertium-consistency", level)];
    headers.extend_from_slice(more);
    server.connect().request("GET", path, &headers, "")
}

#[test]
fn each_level_is_met_or_refused() {
    let server = Server::start();
    server.open(&["a"]);
    let first = server.transfer("1", "world", "a", 5);
    let second = server.transfer("2", "world", "a", 7);
    for level in ["linearizable", "session", "bounded=0", "bounded=1000", "eventual"] {
        let answer = read(&server, "/v1/accounts/a", level, &[]);
        assert_eq!((answer.status, &answer.json()["balance"]), (200, &12.into()), "{level}: {answer:?}");
        assert_eq!(answer.header("tertium-position"), second.header("tertium-position"));
        assert_eq!(
            (answer.header("tertium-staleness-ms"), answer.header("tertium-served-by")),
            (Some("0"), Some("one"))
        );
        assert_eq!(answer.header("tertium-outcome"), None, "a read has no outcome");
    }
    let at = format!("at={}", first.header("tertium-position").unwrap());
    let past = read(&server, "/v1/accounts/a", &at, &[]);
    assert_eq!((past.status, &past.json()["balance"]), (200, &5.into()), "{past:?}");
    assert_eq!(past.header("tertium-position"), first.header("tertium-position"));
    let session = ("tertium-session", "1.main:1:999999");
    // Long enough that a stall of the disk, which the server may wait for first, is not what ends it.
    let deadline = ("x-request-deadline", "1s");
    let refused = read(&server, "/v1/accounts/a", "session", &[session, deadline]);
    assert_eq!((refused.status, refused.code().as_str()), (503, "consistency-unavailable"), "{refused:?}");
    assert_eq!(refused.json()["could_have"], "eventual");
    let future = read(&server, "/v1/accounts/a", "at=main:1:999999", &[deadline]);
    assert_eq!((future.status, future.code().as_str()), (503, "consistency-unavailable"), "{future:?}");
    for (path, level) in
        [("/v1/accounts/a", "at=other:1:1"), ("/v1/accounts", at.as_str()), ("/v1/accounts/a/transfers", at.as_str())]
    {
        assert_eq!(read(&server, path, level, &[]).code(), "consistency-invalid", "{path} {level}");
    }
}

#[test]
fn a_session_read_sees_what_the_session_saw() {
    let server = Server::start();
    server.open(&["a"]);
    for round in 1..50 {
        let written = server.transfer(&format!("k{round}"), "world", "a", 1);
        let session = written.header("tertium-session").unwrap();
        let answer = read(&server, "/v1/accounts/a", "session", &[("tertium-session", session)]);
        assert_eq!(answer.json()["balance"], round);
    }
}

/// All pages of a list.
fn pages(server: &Server, path: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let separator = if path.contains('?') { '&' } else { '?' };
        let answer = server.get(&format!("{path}{separator}limit={limit}{cursor}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        let of_page = page["items"].as_array().unwrap();
        assert!(of_page.len() <= limit);
        items.extend(of_page.iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

#[test]
fn lists_are_the_same_whatever_the_page() {
    let server = Server::start();
    server.open(&["a", "b"]);
    assert_eq!(server.post("/v1/accounts", "e", r#"{"id":"euro","unit":"EUR"}"#).status, 201);
    for round in 1..=7 {
        assert_eq!(
            server.transfer(&format!("k{round}"), "world", if round % 2 == 0 { "a" } else { "b" }, round).status,
            201
        );
    }
    let ids = |path: &str, limit: usize| -> Vec<String> {
        pages(&server, path, limit).iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("/v1/accounts", 100), ["world", "a", "b", "euro"]);
    assert_eq!(ids("/v1/accounts?unit=GBP", 100), ["world", "a", "b"]);
    assert_eq!(ids("/v1/accounts?unit=GBP", 1), ["world", "a", "b"]);
    let history = pages(&server, "/v1/accounts/a/transfers", 100);
    let column = |member: &str| history.iter().map(|item| item[member].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!((column("amount"), column("balance_after")), (vec![6, 4, 2], vec![12, 6, 2]));
    for limit in 1..=4 {
        assert_eq!(pages(&server, "/v1/accounts/a/transfers", limit), history, "{limit} per page");
        assert_eq!(pages(&server, "/v1/accounts/world/transfers", limit).len(), 7);
    }
    let middle = history[1]["created_at"].as_str().unwrap();
    assert_eq!(pages(&server, &format!("/v1/accounts/a/transfers?from={middle}"), 1), history[..2]);
    assert_eq!(pages(&server, &format!("/v1/accounts/a/transfers?to={middle}"), 1), history[2..]);
    let cursor = server.get("/v1/accounts/a/transfers?limit=1").json()["next"].as_str().unwrap().to_owned();
    let elsewhere = server.get(&format!("/v1/accounts/b/transfers?cursor={cursor}"));
    assert_eq!(elsewhere.code(), "cursor-invalid", "a cursor is good for its own list only");
    assert_eq!(server.get("/v1/accounts/nobody/transfers").code(), "account-not-found");
}

#[test]
fn history_outlives_a_restart() {
    let mut server = Server::start();
    server.open(&["a"]);
    for round in 1..=5 {
        server.transfer(&format!("k{round}"), "world", "a", round);
    }
    let before = pages(&server, "/v1/accounts/a/transfers", 2);
    server.restart();
    assert_eq!(pages(&server, "/v1/accounts/a/transfers", 2), before);
    assert_eq!(before.len(), 5);
}
