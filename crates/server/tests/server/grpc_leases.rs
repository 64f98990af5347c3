//! Leases over gRPC: the same keys, tokens and refusals as over HTTP.

use std::time::{Duration, Instant};

use serde_json::json;
use tonic::transport::Channel;
use tonic::{Code, Status};
use wire::proto::leases_client::LeasesClient;
use wire::proto::tertium_client::TertiumClient;
use wire::proto::{
    AcquireLeaseRequest, GetLeaseRequest, GetOperationRequest, LeaseGranted, ListLeasesRequest, Outcome,
    ReleaseLeaseRequest, RenewLeaseRequest, acquire_lease_response::Answer,
};

use crate::grpc::{asked_late, code, connect, problem, text, within};
use crate::kit::Server;

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

async fn leases(server: &Server) -> LeasesClient<Channel> {
    LeasesClient::new(connect(server.address()).await)
}

fn wish(key: &str, owner: &str) -> AcquireLeaseRequest {
    AcquireLeaseRequest {
        idempotency_key: key.to_owned(),
        name: "db".to_owned(),
        owner: owner.to_owned(),
        ttl_ms: 60_000,
        ..AcquireLeaseRequest::default()
    }
}

#[track_caller]
fn granted(answer: Option<Answer>) -> LeaseGranted {
    match answer {
        Some(Answer::Granted(granted)) => granted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_waits_is_granted_under_a_greater_token() {
    let server = Server::start();
    server.runtime().block_on(async {
        let mut client = leases(&server).await;
        let metadata_json = r#"{ "host": "a", "n": 1.50 }"#.to_owned();
        let first = AcquireLeaseRequest { metadata_json, ..wish("k1", "ann") };
        let first = client.acquire_lease(first).await.unwrap();
        assert_eq!(text(&first, "tertium-outcome"), Some("committed"));
        assert!(text(&first, "tertium-position").is_some() && text(&first, "tertium-session").is_some());
        let first = granted(first.into_inner().answer);
        assert_eq!((first.owner.as_str(), first.capacity, first.ttl_ms), ("ann", 1, 60_000));
        assert_eq!(first.metadata_json, r#"{"host":"a","n":1.5}"#);
        let mut waiting = client.clone();
        let waits = tokio::spawn(async move { waiting.acquire_lease(within("20S", wish("k2", "bob"))).await });
        let began = Instant::now();
        let lease = loop {
            assert!(began.elapsed() < PATIENCE, "nobody waits");
            let lease = client.get_lease(GetLeaseRequest { name: "db".to_owned() }).await.unwrap();
            if lease.get_ref().waiting == 1 {
                assert_eq!(text(&lease, "tertium-staleness-ms"), Some("0"));
                break lease.into_inner();
            }
        };
        assert_eq!((lease.capacity, lease.holders.len(), lease.holders[0].token), (Some(1), 1, first.token));
        let renew = RenewLeaseRequest {
            idempotency_key: "r".to_owned(),
            name: "db".to_owned(),
            token: first.token,
            ttl_ms: 90_000,
        };
        let renewed = client.renew_lease(renew).await.unwrap().into_inner();
        assert!(renewed.token == first.token && renewed.expires_at > first.expires_at);
        let release =
            ReleaseLeaseRequest { idempotency_key: "k3".to_owned(), name: "db".to_owned(), token: first.token };
        client.release_lease(release.clone()).await.unwrap();
        let next = granted(waits.await.unwrap().unwrap().into_inner().answer);
        assert!(next.token > first.token && next.owner == "bob");
        let again = client.release_lease(release.clone()).await.unwrap();
        assert_eq!(text(&again, "idempotency-replayed"), Some("true"));
        let late = ReleaseLeaseRequest { idempotency_key: "k4".to_owned(), ..release };
        let lost = client.release_lease(late).await.unwrap_err();
        assert_eq!((code(&lost), lost.code()), ("lease-lost", Code::FailedPrecondition));
        let page = client.list_leases(ListLeasesRequest::default()).await.unwrap().into_inner();
        assert_eq!((page.items.len(), page.items[0].name.as_str(), page.next), (1, "db", None));
    });
}

#[test]
fn a_key_is_one_operation_over_both_protocols() {
    let server = Server::start();
    let body = json!({"metadata": {"b": 1, "a": 10.0}, "owner": "ann", "ttl_ms": 60_000, "wait_ms": 0}).to_string();
    let over_http = server.post("/v1/leases/db/acquire", "k\"1", &body);
    assert_eq!(over_http.status, 201, "{over_http:?}");
    server.runtime().block_on(async {
        let mut client = leases(&server).await;
        let metadata_json = r#"{"a":10.0, "b":1}"#.to_owned();
        let same = AcquireLeaseRequest { wait_ms: Some(0), metadata_json, ..wish("k\"1", "ann") };
        let again = client.acquire_lease(same.clone()).await.unwrap();
        assert_eq!(text(&again, "idempotency-replayed"), Some("true"));
        let mut unnamed = tonic::Request::new(AcquireLeaseRequest { idempotency_key: String::new(), ..same.clone() });
        unnamed.metadata_mut().insert("idempotency-key", r#""k\"1""#.parse().unwrap());
        let by_metadata = client.acquire_lease(unnamed).await.unwrap();
        assert_eq!(text(&by_metadata, "idempotency-replayed"), Some("true"));
        assert_eq!(by_metadata.get_ref(), again.get_ref());
        let again = granted(again.into_inner().answer);
        assert_eq!(json!(again.token), over_http.json()["token"]);
        let other = client.acquire_lease(AcquireLeaseRequest { wait_ms: None, ..same }).await.unwrap_err();
        assert_eq!((code(&other), problem(&other).status), ("idempotency-key-reused", 422));
        let held = client.acquire_lease(AcquireLeaseRequest { wait_ms: Some(0), ..wish("k2", "bob") }).await;
        let held = held.unwrap_err();
        let told = problem(&held);
        assert_eq!((code(&held), told.operation.as_deref()), ("lease-held", Some("/v1/operations/k2")));
        assert_eq!(told.outcome(), Outcome::Refused);
    });
    let body = json!({"owner": "bob", "ttl_ms": 60_000, "wait_ms": 0}).to_string();
    let again = server.post("/v1/leases/db/acquire", "k2", &body);
    assert_eq!((again.code().as_str(), again.header("idempotency-replayed")), ("lease-held", Some("true")));
}

#[test]
fn what_is_only_accepted_is_asked_for() {
    let server = Server::start();
    server.runtime().block_on(async {
        let mut client = leases(&server).await;
        let first = granted(client.acquire_lease(wish("k1", "ann")).await.unwrap().into_inner().answer);
        let mut request = within("20S", wish("k2", "bob"));
        request.metadata_mut().insert("prefer", "respond-async".parse().unwrap());
        let accepted = client.acquire_lease(request).await.unwrap();
        assert_eq!(text(&accepted, "tertium-outcome"), Some("uncertain"));
        match accepted.into_inner().answer {
            Some(Answer::Accepted(operation)) => {
                assert_eq!((operation.key.as_str(), operation.outcome()), ("k2", Outcome::Uncertain));
            }
            other => panic!("{other:?}"),
        }
        let name = "db".to_owned();
        client
            .release_lease(ReleaseLeaseRequest { idempotency_key: "k3".to_owned(), name, token: first.token })
            .await
            .unwrap();
        let mut ledger = TertiumClient::new(connect(server.address()).await);
        let ask = GetOperationRequest { key: "k2".to_owned(), wait_ms: 10_000 };
        assert_eq!(ledger.get_operation(within("20S", ask)).await.unwrap().into_inner().status, 201);
    });
}

#[test]
fn what_is_no_wish_is_refused_as_over_http() {
    let server = Server::start();
    let before = server.position();
    server.runtime().block_on(async {
        let mut client = leases(&server).await;
        let check = |found: Result<_, Status>, expect: &str, detail: &str| {
            let status = found.err().unwrap();
            assert_eq!((code(&status), problem(&status).field.as_deref()), (expect, Some(detail)), "{status:?}");
        };
        let not_json = AcquireLeaseRequest { metadata_json: "{".to_owned(), ..wish("k", "ann") };
        check(client.acquire_lease(not_json).await, "malformed-json", "metadata");
        let listed = AcquireLeaseRequest { metadata_json: "[]".to_owned(), ..wish("k", "ann") };
        check(client.acquire_lease(listed).await, "invalid-request", "metadata");
        let endless = AcquireLeaseRequest { ttl_ms: 0, ..wish("k", "ann") };
        check(client.acquire_lease(endless).await, "invalid-request", "ttl_ms");
        let long = AcquireLeaseRequest { ttl_ms: u64::MAX, ..wish("k", "ann") };
        check(client.acquire_lease(long).await, "invalid-request", "ttl_ms");
        check(client.acquire_lease(wish("k", "a n")).await, "invalid-request", "owner");
        let unnamed = AcquireLeaseRequest { name: String::new(), ..wish("k", "ann") };
        check(client.acquire_lease(unnamed).await, "invalid-request", "name");
        let spaced = AcquireLeaseRequest { name: "a/ b".to_owned(), ..wish("k", "ann") };
        check(client.acquire_lease(spaced).await, "invalid-request", "name");
        check(client.acquire_lease(wish("k k", "ann")).await, "idempotency-key-invalid", "idempotency_key");
        let keyless = client.acquire_lease(wish("", "ann")).await.unwrap_err();
        assert_eq!((code(&keyless), keyless.code()), ("idempotency-key-missing", Code::InvalidArgument));
        let many = ListLeasesRequest { limit: 1_001, ..ListLeasesRequest::default() };
        check(client.list_leases(many).await.map(|_| unreachable!()), "invalid-request", "limit");
        let late = asked_late(server.address(), "Leases/AcquireLease", "0n", wish("late", "ann")).await;
        assert_eq!(late, ("deadline-exceeded".to_owned(), "4".to_owned()));
    });
    assert_eq!(server.position(), before, "nothing was appended");
}
