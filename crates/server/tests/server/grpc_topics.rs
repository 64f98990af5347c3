//! Topics and subscriptions over gRPC: events by pages, as a stream that goes on where it was, and as a consumer has them.

use std::time::Duration;

use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;
use wire::proto::subscriptions_client::SubscriptionsClient;
use wire::proto::topics_client::TopicsClient;
use wire::proto::{
    AcknowledgeRequest, DeleteSubscriptionRequest, DropDeadLettersRequest, Event, EventPage, FetchEventsRequest,
    FollowEventsRequest, GetSubscriptionRequest, ListDeadLettersRequest, ListEventsRequest, ListSubscriptionsRequest,
    ListTopicsRequest, NewEvent, PublishRequest, PutSubscriptionRequest, PutTopicRequest, ReplayDeadLettersRequest,
};

use crate::grpc::{asked_late, code, connect, problem, text};
use crate::kit::Server;

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

async fn topics(server: &Server) -> TopicsClient<Channel> {
    TopicsClient::new(connect(server.address()).await)
}

fn event(kind: &str) -> NewEvent {
    NewEvent { r#type: kind.to_owned(), ..NewEvent::default() }
}

fn publish(key: &str, events: Vec<NewEvent>) -> PublishRequest {
    PublishRequest { idempotency_key: key.to_owned(), topic: "orders".to_owned(), events, ..PublishRequest::default() }
}

fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.r#type.as_str()).collect()
}

#[test]
fn events_are_published_once_over_either_protocol() {
    let server = Server::start();
    let first = server.runtime().block_on(async {
        let mut client = topics(&server).await;
        let data_json = r#"{ "n": 1.0, "m": null }"#.to_owned();
        let made = NewEvent { key: "a".to_owned(), data_json, ..event("made") };
        let published = client.publish(publish("k1", vec![made, event("paid")])).await.unwrap();
        assert_eq!(text(&published, "tertium-outcome"), Some("committed"));
        let first = published.into_inner();
        assert_eq!((first.topic.as_str(), first.count), ("orders", 2));
        client.publish(publish("k2", vec![event("one")])).await.unwrap();
        let body = json!({"specversion": "1.0", "id": "7", "source": "/shop", "type": "sent", "zone": "z"}).to_string();
        let content_type = "application/cloudevents+json".to_owned();
        let cloud = PublishRequest { body, content_type, ..publish("k3", vec![]) };
        assert_eq!(client.publish(cloud.clone()).await.unwrap().into_inner().count, 1);
        let both = PublishRequest { events: vec![event("x")], ..cloud };
        let both = client.publish(PublishRequest { idempotency_key: "k4".to_owned(), ..both }).await.unwrap_err();
        assert_eq!((code(&both), problem(&both).field.as_deref()), ("invalid-request", Some("body")));
        let own = PublishRequest { topic: "ledger".to_owned(), ..publish("k5", vec![event("x")]) };
        let own = client.publish(own).await.unwrap_err();
        assert_eq!((code(&own), own.code()), ("topic-reserved", Code::PermissionDenied));
        let page = ListEventsRequest { topic: "orders".to_owned(), limit: 2, ..ListEventsRequest::default() };
        let page = client.list_events(page).await.unwrap().into_inner();
        assert_eq!((kinds(&page.items), page.end), (vec!["made", "paid"], false));
        assert_eq!(page.items[0].offset, first.first_offset);
        let told: Value = serde_json::from_str(&page.items[0].event_json).unwrap();
        assert_eq!((&told["data"], &told["partitionkey"]), (&json!({"m": null, "n": 1.0}), &json!("a")));
        let rest = ListEventsRequest { topic: "orders".to_owned(), from: page.next_offset, ..Default::default() };
        let rest = client.list_events(rest).await.unwrap().into_inner();
        assert_eq!((kinds(&rest.items), rest.end), (vec!["one", "sent"], true));
        let kept = PutTopicRequest {
            idempotency_key: "t".to_owned(),
            topic: "orders".to_owned(),
            retention_ms: 60_000,
            bytes_max: None,
        };
        assert_eq!(client.put_topic(kept).await.unwrap().into_inner().retention_ms, 60_000);
        let all = client.list_topics(ListTopicsRequest::default()).await.unwrap().into_inner();
        assert_eq!((all.items[0].name.as_str(), all.items[0].events, all.items[0].bytes_max), ("orders", 4, None));
        first
    });
    let body = json!({"events": [{"type": "made", "key": "a", "data": {"m": null, "n": 1.0}}, {"type": "paid"}]});
    let again = server.post("/v1/topics/orders/events", "k1", &body.to_string());
    assert_eq!(
        (again.header("idempotency-replayed"), &again.json()["first_offset"]),
        (Some("true"), &json!(first.first_offset))
    );
    let again = server.post("/v1/topics/orders/events", "k2", r#"{"type":"one"}"#);
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")), "{again:?}");
}

/// The next page with events in it.
async fn next(pages: &mut tonic::Streaming<EventPage>) -> EventPage {
    loop {
        let page = tokio::time::timeout(PATIENCE, pages.message()).await.expect("it goes on").unwrap().unwrap();
        if !page.items.is_empty() {
            return page;
        }
    }
}

#[test]
fn a_stream_goes_on_where_it_was() {
    let mut server = Server::start();
    let mut pages = server.runtime().block_on(async {
        let mut client = topics(&server).await;
        let follow = |from| FollowEventsRequest { topic: "orders".to_owned(), from };
        let none = client.follow_events(follow(0)).await.unwrap_err();
        assert_eq!((code(&none), none.code()), ("topic-not-found", Code::NotFound));
        assert!(
            none.metadata().get("tertium-staleness-ms").is_some() && none.metadata().get("tertium-outcome").is_none()
        );
        client.publish(publish("k1", vec![event("one")])).await.unwrap();
        let opened = client.follow_events(follow(0)).await.unwrap();
        assert_eq!(text(&opened, "tertium-staleness-ms"), Some("0"));
        let mut pages = opened.into_inner();
        let one = next(&mut pages).await;
        assert_eq!(kinds(&one.items), ["one"]);
        // What is published while the stream is open comes down it.
        client.publish(publish("k2", vec![event("two")])).await.unwrap();
        assert_eq!(kinds(&next(&mut pages).await.items), ["two"]);
        drop(pages);
        client.publish(publish("k3", vec![event("three")])).await.unwrap();
        let mut pages = client.follow_events(follow(one.next_offset)).await.unwrap().into_inner();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let page = next(&mut pages).await;
            seen.extend(page.items.into_iter().map(|event| event.r#type));
        }
        assert_eq!(seen, ["two", "three"]);
        pages
    });
    let (running, runtime) = server.take();
    runtime.block_on(async {
        let stopping = tokio::spawn(running.stop());
        let ended = loop {
            match tokio::time::timeout(PATIENCE, pages.message()).await.expect("it ends") {
                Ok(page) => assert!(page.is_some_and(|page| page.items.is_empty()), "an end that says nothing"),
                Err(status) => break status,
            }
        };
        assert_eq!((code(&ended), ended.code()), ("stopping", Code::Unavailable));
        assert!(ended.metadata().get("tertium-outcome").is_none(), "{ended:?}");
        drop(pages);
        tokio::time::timeout(PATIENCE, stopping).await.expect("a stream does not hold up the stop").unwrap();
    });
}

/// The server lets go of a stream when its client does: only then is the connection idle, and closed for it.
#[test]
fn a_stream_ends_when_its_client_leaves() {
    let server = Server::with(|config| config.limits.keep_alive_timeout = Duration::from_millis(300));
    assert_eq!(server.post("/v1/topics/orders/events", "k1", r#"{"type":"one"}"#).status, 201);
    let address = server.address();
    server.runtime().block_on(async {
        use http_body_util::{BodyExt, Full};
        use hyper_util::rt::{TokioExecutor, TokioIo};
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        let mut connection = tokio::spawn(connection);
        // `FollowEventsRequest { topic: "orders" }`, uncompressed.
        let message = bytes::Bytes::from_static(b"\0\0\0\0\x08\x0a\x06orders");
        let request = http::Request::post(format!("http://{address}/tertium.v1.Topics/FollowEvents"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(message))
            .unwrap();
        let mut answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
        assert!(answer.body_mut().frame().await.unwrap().unwrap().is_data());
        // It is not closed while it is followed, however long nothing comes.
        let closed = tokio::time::timeout(Duration::from_millis(900), &mut connection).await;
        assert!(closed.is_err(), "the stream goes on");
        drop(answer);
        // The sender stays: what closes the connection is the server.
        let _ = tokio::time::timeout(PATIENCE, connection).await.expect("the connection is idle, and closed").unwrap();
        drop(sender);
    });
}

#[test]
fn a_consumer_fetches_and_acknowledges() {
    let server = Server::start();
    server.runtime().block_on(async {
        let channel = connect(server.address()).await;
        let (mut client, mut topics) = (SubscriptionsClient::new(channel.clone()), TopicsClient::new(channel));
        let name = "shop/mail".to_owned();
        let wish = PutSubscriptionRequest {
            idempotency_key: "s1".to_owned(),
            name: name.clone(),
            topics: vec!["orders".to_owned()],
            types: vec!["made".to_owned()],
            ..PutSubscriptionRequest::default()
        };
        let made = client.put_subscription(wish.clone()).await.unwrap().into_inner();
        assert_eq!((made.name.as_str(), made.generation, made.url), ("shop/mail", 1, None));
        topics.publish(publish("k1", vec![event("made"), event("paid"), event("made")])).await.unwrap();
        let fetch = || FetchEventsRequest { name: name.clone(), ..FetchEventsRequest::default() };
        let fetched = client.fetch_events(fetch()).await.unwrap().into_inner();
        assert_eq!(kinds(&fetched.items), ["made", "made"]);
        let ack = AcknowledgeRequest { idempotency_key: "a1".to_owned(), name: name.clone(), offset: None };
        assert_eq!(problem(&client.acknowledge(ack.clone()).await.unwrap_err()).field.as_deref(), Some("offset"));
        let ack = AcknowledgeRequest { offset: Some(fetched.items[0].offset), ..ack };
        let acknowledged = client.acknowledge(ack.clone()).await.unwrap().into_inner();
        assert_eq!(acknowledged.next_offset, fetched.items[0].offset + 1);
        assert_eq!(client.fetch_events(fetch()).await.unwrap().into_inner().items, fetched.items[1..]);
        // Where it begins is a word or a number.
        for (key, start, left) in [("s2", "beginning", 2), ("s3", &*fetched.items[1].offset.to_string(), 1)] {
            let start = start.to_owned();
            let moved = PutSubscriptionRequest { idempotency_key: key.to_owned(), start, ..wish.clone() };
            client.put_subscription(moved).await.unwrap();
            assert_eq!(client.fetch_events(fetch()).await.unwrap().into_inner().items.len(), left, "{key}");
        }
        let view = client.get_subscription(GetSubscriptionRequest { name: name.clone() }).await.unwrap().into_inner();
        assert_eq!((view.generation, view.resting.as_deref(), view.url.as_deref()), (3, None, None));
        let page = client.list_subscriptions(ListSubscriptionsRequest::default()).await.unwrap().into_inner();
        assert_eq!(page.items, [view]);
        let letters = ListDeadLettersRequest { name: name.clone(), ..ListDeadLettersRequest::default() };
        assert_eq!(client.list_dead_letters(letters).await.unwrap().into_inner().items, []);
        let replay = ReplayDeadLettersRequest { idempotency_key: "l1".to_owned(), name: name.clone(), offset: Some(1) };
        assert_eq!(code(&client.replay_dead_letters(replay).await.unwrap_err()), "dead-letter-not-found");
        let forget = DropDeadLettersRequest { idempotency_key: "l2".to_owned(), name: name.clone(), offset: None };
        assert_eq!(client.drop_dead_letters(forget).await.unwrap().into_inner().dropped, 0);
        let far = PutSubscriptionRequest {
            idempotency_key: "s4".to_owned(),
            url: "http://169.254.169.254/".to_owned(),
            ..wish
        };
        assert_eq!(code(&client.put_subscription(far).await.unwrap_err()), "destination-not-allowed");
        let delete = DeleteSubscriptionRequest { idempotency_key: "d".to_owned(), name: name.clone() };
        assert_eq!(client.delete_subscription(delete).await.unwrap().into_inner().name, name);
        let gone = client.get_subscription(GetSubscriptionRequest { name: name.clone() }).await.unwrap_err();
        assert_eq!((code(&gone), gone.code()), ("subscription-not-found", Code::NotFound));
        let late = AcknowledgeRequest { idempotency_key: "a2".to_owned(), ..ack };
        assert_eq!(code(&client.acknowledge(late).await.unwrap_err()), "subscription-not-found");
    });
}

#[test]
fn what_is_too_large_or_too_late_is_refused() {
    let server = Server::with(|config| config.streams.message_bytes_max = 128 << 10);
    let before = server.position();
    server.runtime().block_on(async {
        let mut client = topics(&server).await;
        let sized = |bytes: usize| NewEvent { data_json: format!("\"{}\"", "x".repeat(bytes)), ..event("large") };
        let large = client.publish(publish("k", vec![sized(70_000)])).await.unwrap_err();
        assert_eq!((code(&large), large.code()), ("invalid-request", Code::InvalidArgument));
        let larger = client.publish(publish("k", vec![sized(200_000)])).await.unwrap_err();
        assert_eq!(code(&larger), "payload-too-large");
        let many = client.publish(publish("k", vec![event("x"); 40_000])).await.unwrap_err();
        assert_eq!(code(&many), "payload-too-large");
        for (timeout, expect, status) in [("0n", "deadline-exceeded", "4"), ("1x", "deadline-invalid", "3")] {
            let found = asked_late(server.address(), "Topics/Publish", timeout, publish("k", vec![event("x")])).await;
            assert_eq!(found, (expect.to_owned(), status.to_owned()));
        }
    });
    assert_eq!(server.position(), before, "nothing was appended");
}
