//! Durable calls over gRPC: their ends, their doubts and where they may not go.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;
use wire::proto::calls_client::CallsClient;
use wire::proto::tertium_client::TertiumClient;
use wire::proto::{
    CallEnded, CallProbe, CallRetry, GetOperationRequest, ListUncertainRequest, MakeCallRequest, Outcome,
    ResolveRequest, make_call_response::Answer,
};

use crate::calls::{Receiver, uncertain};
use crate::grpc::{code, connect, problem, text, within};
use crate::kit::Server;

async fn calls(server: &Server) -> CallsClient<Channel> {
    CallsClient::new(connect(server.address()).await)
}

fn order(key: &str, url: String) -> MakeCallRequest {
    MakeCallRequest { idempotency_key: key.to_owned(), url, ..MakeCallRequest::default() }
}

#[track_caller]
fn ended(answer: Option<Answer>) -> CallEnded {
    match answer {
        Some(Answer::Ended(ended)) => ended,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_ends_and_is_replayed_over_either_protocol() {
    let (server, receiver) = (Server::start(), Receiver::start());
    let url = receiver.url("/ok");
    server.runtime().block_on(async {
        let mut client = calls(&server).await;
        let request = MakeCallRequest {
            headers: BTreeMap::from([("X-Order".to_owned(), "17".to_owned())]),
            body_json: r#"{"b":1e2, "a":9007199254740991}"#.to_owned(),
            ..order("order/1", url.clone())
        };
        let first = client.make_call(within("20S", request.clone())).await.unwrap();
        assert_eq!((text(&first, "tertium-outcome"), text(&first, "idempotency-replayed")), (Some("committed"), None));
        let first = ended(first.into_inner().answer);
        let response = first.response.clone().unwrap();
        assert_eq!((first.end.as_str(), first.tries, response.status), ("committed", 1, 201));
        assert_eq!((response.body_json.as_str(), response.is_cut), (r#"{"done":true}"#, false));
        let again = client.make_call(request).await.unwrap();
        assert_eq!(text(&again, "idempotency-replayed"), Some("true"));
        assert_eq!(ended(again.into_inner().answer), first);
        let other = client.make_call(order("order/1", url.clone())).await.unwrap_err();
        assert_eq!((code(&other), problem(&other).status), ("idempotency-key-reused", 422));
    });
    let body = format!(r#"{{"url":"{url}","headers":{{"X-Order":"17"}},"body":{{"a":9007199254740991,"b":100.0}}}}"#);
    let over_http = server.post("/v1/calls", "order/1", &body);
    assert_eq!((over_http.status, over_http.header("idempotency-replayed")), (200, Some("true")), "{over_http:?}");
    let seen = receiver.seen();
    assert_eq!((seen.len(), seen[0].header("x-order")), (1, "17"), "called once: {seen:?}");
}

#[test]
fn an_end_that_is_none_is_told_with_the_call() {
    let (server, receiver) = (Server::start(), Receiver::start());
    server.runtime().block_on(async {
        let mut client = calls(&server).await;
        let refused = client.make_call(within("20S", order("k", receiver.url("/refuse")))).await.unwrap_err();
        assert_eq!((code(&refused), refused.code()), ("call-refused", Code::FailedPrecondition));
        let told = problem(&refused);
        let call: Value = serde_json::from_str(&told.call_json).unwrap();
        assert_eq!((&call["end"], &call["response"]["body"]), (&json!("refused"), &json!({"why": "sold out"})));
        let nowhere = client.make_call(order("far", "http://169.254.169.254/".to_owned())).await.unwrap_err();
        assert_eq!((code(&nowhere), nowhere.code()), ("destination-not-allowed", Code::PermissionDenied));
        assert_eq!(problem(&nowhere).field.as_deref(), Some("url"));
        let probe = Some(CallProbe { url: "http://10.0.0.1/{key}".to_owned(), ..CallProbe::default() });
        let nowhere = MakeCallRequest { probe, ..order("far", receiver.url("/ok")) };
        let nowhere = client.make_call(nowhere).await.unwrap_err();
        assert_eq!(
            (code(&nowhere), problem(&nowhere).field.as_deref()),
            ("destination-not-allowed", Some("probe.url"))
        );
        let own = BTreeMap::from([("Tertium-Attempt".to_owned(), "1".to_owned())]);
        let own = client.make_call(MakeCallRequest { headers: own, ..order("own", receiver.url("/ok")) }).await;
        assert_eq!(code(&own.unwrap_err()), "invalid-request");
    });
    assert_eq!(receiver.lines(), ["POST /refuse"]);
}

/// An end that is too large for trailers is left out of them, and there for who asks.
#[test]
fn trailers_stay_small() {
    let (server, receiver) = (Server::start(), Receiver::start());
    server.runtime().block_on(async {
        let mut client = calls(&server).await;
        let request = order("k", receiver.url("/refuse-at-length"));
        let refused = client.make_call(within("20S", request)).await.unwrap_err();
        let told = problem(&refused);
        assert_eq!((code(&refused), told.status, told.call_json.as_str()), ("call-refused", 422, ""));
        let mut ledger = TertiumClient::new(connect(server.address()).await);
        let ask = GetOperationRequest { key: "k".to_owned(), wait_ms: 0 };
        let operation = ledger.get_operation(ask).await.unwrap().into_inner();
        let body: Value = serde_json::from_str(&operation.body_json).unwrap();
        assert_eq!(body["call"]["response"]["body"]["why"].as_str().map(str::len), Some(20_000));
        let long = order("long", format!("http://127.0.0.1/{}", "x".repeat(100_000)));
        assert_eq!(code(&client.make_call(long).await.unwrap_err()), "invalid-request");
    });
}

#[test]
fn a_doubt_is_listed_and_resolved() {
    let (server, receiver) = (Server::start(), Receiver::start());
    server.runtime().block_on(async {
        let mut client = calls(&server).await;
        let retry = Some(CallRetry { tries_max: Some(1), until_deadline: false });
        let request = MakeCallRequest { retry, ..order("k", receiver.url("/silent")) };
        let mut asked = within("20S", request.clone());
        asked.metadata_mut().insert("prefer", "respond-async".parse().unwrap());
        match client.make_call(asked).await.unwrap().into_inner().answer {
            Some(Answer::Accepted(operation)) => assert_eq!(operation.outcome(), Outcome::Uncertain),
            other => panic!("{other:?}"),
        }
        uncertain(&server, 1);
        let page = client.list_uncertain(ListUncertainRequest::default()).await.unwrap();
        assert!(text(&page, "tertium-position").is_some());
        let page = page.into_inner();
        let item = &page.items[0];
        assert_eq!((page.items.len(), item.key.as_str(), item.kind.as_str()), (1, "k", "call"));
        assert_eq!((item.tried[0].found.as_str(), item.tried[0].status), ("uncertain", None));
        let decree = ResolveRequest {
            idempotency_key: "r".to_owned(),
            id: item.id.clone(),
            outcome: "committed".to_owned(),
            by: "ada".to_owned(),
            note: "the bank's statement shows it".to_owned(),
        };
        let unsaid = client.resolve(ResolveRequest { note: String::new(), ..decree.clone() }).await.unwrap_err();
        assert_eq!((code(&unsaid), problem(&unsaid).field.as_deref()), ("invalid-request", Some("note")));
        let resolved = client.resolve(decree.clone()).await.unwrap();
        assert_eq!(
            (text(&resolved, "tertium-outcome"), &*resolved.get_ref().outcome),
            (Some("committed"), "committed")
        );
        let twice = ResolveRequest { idempotency_key: "r2".to_owned(), ..decree };
        assert_eq!(code(&client.resolve(twice).await.unwrap_err()), "not-uncertain");
        let end = ended(client.make_call(within("20S", request)).await.unwrap().into_inner().answer);
        assert_eq!((end.end.as_str(), end.resolved_by.as_deref()), ("resolved_committed", Some("ada")));
    });
    assert_eq!(receiver.lines().len(), 1);
}
