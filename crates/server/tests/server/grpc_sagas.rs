//! Sagas over gRPC: a run from its definition to its end, and what can be asked of it.

use serde_json::json;
use tonic::Code;
use tonic::transport::Channel;
use wire::proto::sagas_client::SagasClient;
use wire::proto::{
    ControlRunRequest, ControlRunsRequest, GetRunRequest, GetSagaRequest, ListRunsRequest, ListSagasRequest,
    PutSagaRequest, RestartRunRequest, RestartRunsRequest, StartRunRequest, start_run_response::Answer,
};

use crate::grpc::{code, connect, problem, text, within};
use crate::kit::Server;

const PAY: &str = "name: pay
steps:
  - id: move
    transfer: { from: \"${input.from}\", to: shop, amount: \"${input.amount}\" }
output: { moved: \"${steps.move.id}\" }
";

async fn sagas(server: &Server) -> SagasClient<Channel> {
    SagasClient::new(connect(server.address()).await)
}

fn definition(key: &str, text: &str) -> PutSagaRequest {
    PutSagaRequest {
        idempotency_key: key.to_owned(),
        name: "pay".to_owned(),
        definition: text.to_owned(),
        content_type: "application/yaml".to_owned(),
    }
}

fn wish(key: &str, input: &serde_json::Value) -> StartRunRequest {
    StartRunRequest {
        idempotency_key: key.to_owned(),
        name: "pay".to_owned(),
        input_json: input.to_string(),
        ..StartRunRequest::default()
    }
}

/// A server with an account that has money.
fn server() -> Server {
    let server = Server::start();
    server.open(&["shop", "ada"]);
    assert_eq!(server.transfer("fund", "world", "ada", 1_000).status, 201);
    server
}

#[test]
fn a_run_goes_to_its_end() {
    let server = server();
    let input = json!({"from": "ada", "amount": 5});
    server.runtime().block_on(async {
        let mut client = sagas(&server).await;
        let defined = client.put_saga(definition("d", PAY)).await.unwrap();
        assert_eq!((text(&defined, "tertium-outcome"), defined.get_ref().version), (Some("committed"), 1));
        let ended = client.start_run(within("20S", wish("r", &input))).await.unwrap();
        assert_eq!(text(&ended, "tertium-outcome"), Some("committed"));
        let ended = match ended.into_inner().answer {
            Some(Answer::Ended(ended)) => ended,
            other => panic!("{other:?}"),
        };
        assert_eq!((ended.state.as_str(), ended.path.as_str()), ("done", &*format!("/v1/runs/{}", ended.id)));
        let run = client.get_run(GetRunRequest { id: ended.id.clone(), wait_ms: 0 }).await.unwrap().into_inner();
        assert_eq!((run.saga.as_str(), run.state.as_str(), run.input_json.clone()), ("pay", "done", input_of(&input)));
        let step = &run.steps[0];
        assert_eq!((step.kind.as_str(), step.state.as_str(), step.tried.len()), ("transfer", "done", 1));
        let moved = step.made.as_ref().and_then(|made| made.transfer.clone()).unwrap();
        assert_eq!(ended.output_json, json!({ "moved": moved }).to_string());
        let listed = ListRunsRequest { state: "done".to_owned(), saga: "pay".to_owned(), ..Default::default() };
        let page = client.list_runs(listed).await.unwrap().into_inner();
        assert_eq!((page.items.len(), &page.items[0].id), (1, &ended.id));
        let all = client.list_sagas(ListSagasRequest::default()).await.unwrap().into_inner();
        assert_eq!((all.items[0].name.as_str(), all.items[0].steps), ("pay", 1));
        let got = client.get_saga(GetSagaRequest { name: "pay".to_owned(), version: Some(1) }).await.unwrap();
        assert!(got.get_ref().definition_json.starts_with('{'), "{got:?}");
        let none = client.get_saga(GetSagaRequest { name: "pay".to_owned(), version: Some(2) }).await.unwrap_err();
        assert_eq!((code(&none), none.code()), ("saga-not-found", Code::NotFound));
    });
    // One key, whichever way it comes.
    let again = server.post("/v1/sagas/pay/runs", "r", &json!({ "input": input }).to_string());
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")), "{again:?}");
    let headers = [("content-type", "application/yaml"), ("idempotency-key", "d")];
    let defined = server.connect().request("PUT", "/v1/sagas/pay", &headers, PAY);
    assert_eq!((defined.status, defined.header("idempotency-replayed")), (201, Some("true")), "{defined:?}");
    assert_eq!(server.balance("shop"), 5, "it ran once");
}

/// As the server keeps it: members in order.
fn input_of(input: &serde_json::Value) -> String {
    let (amount, from) = (&input["amount"], &input["from"]);
    format!(r#"{{"amount":{amount},"from":{from}}}"#)
}

#[test]
fn runs_are_held_and_ended_by_hand() {
    let server = server();
    server.runtime().block_on(async {
        let mut client = sagas(&server).await;
        client.put_saga(definition("d", PAY)).await.unwrap();
        let input = json!({"from": "ada", "amount": 5});
        let mut ids = Vec::new();
        for key in ["r1", "r2"] {
            let delayed = StartRunRequest { delay_ms: 3_600_000, ..wish(key, &input) };
            let mut request = within("20S", delayed);
            request.metadata_mut().insert("prefer", "respond-async".parse().unwrap());
            let accepted = client.start_run(request).await.unwrap();
            assert_eq!(text(&accepted, "tertium-outcome"), Some("uncertain"));
            match accepted.into_inner().answer {
                Some(Answer::Accepted(run)) => {
                    assert_eq!(run.operation, format!("/v1/operations/{key}"));
                    ids.push(run.id);
                }
                other => panic!("{other:?}"),
            }
        }
        let one = |key: &str, id: &str| ControlRunRequest { idempotency_key: key.to_owned(), id: id.to_owned() };
        assert_eq!(client.pause_run(one("p", &ids[0])).await.unwrap().into_inner().control, "pause");
        assert_eq!(client.resume_run(one("u", &ids[0])).await.unwrap().into_inner().control, "resume");
        assert_eq!(client.cancel_run(one("c", &ids[0])).await.unwrap().into_inner().id, ids[0]);
        let ended = client.get_run(within("20S", GetRunRequest { id: ids[0].clone(), wait_ms: 10_000 })).await.unwrap();
        assert_eq!((&*ended.get_ref().state, ended.get_ref().why.as_deref()), ("compensated", Some("cancelled")));
        let told = client.start_run(within("20S", StartRunRequest { delay_ms: 3_600_000, ..wish("r1", &input) })).await;
        let told = told.unwrap_err();
        assert_eq!((code(&told), told.code()), ("run-compensated", Code::Aborted));
        let run: serde_json::Value = serde_json::from_str(&problem(&told).run_json).unwrap();
        assert_eq!(run["id"], ids[0]);
        assert_eq!(code(&client.cancel_run(one("c2", &ids[0])).await.unwrap_err()), "run-not-possible");
        for bad in ["x", "cancel", ""] {
            let status = client.pause_run(one("x", bad)).await.unwrap_err();
            assert_eq!(status.code(), if bad.is_empty() { Code::InvalidArgument } else { Code::NotFound }, "{bad}");
        }
        let step = RestartRunRequest { idempotency_key: "s".to_owned(), id: ids[1].clone(), from: "none".to_owned() };
        assert_eq!(code(&client.restart_run(step).await.unwrap_err()), "step-not-found");
        let many = ControlRunsRequest { idempotency_key: "m".to_owned(), saga: "pay".to_owned(), ..Default::default() };
        let paused = client.pause_runs(many.clone()).await.unwrap().into_inner();
        assert_eq!((paused.count, paused.next), (1, None));
        let again = ControlRunsRequest { idempotency_key: "m2".to_owned(), ..many.clone() };
        assert_eq!(client.resume_runs(again).await.unwrap().into_inner().count, 1);
        let last = ControlRunsRequest { idempotency_key: "m3".to_owned(), state: "delayed".to_owned(), ..many };
        assert_eq!(client.cancel_runs(last).await.unwrap().into_inner().count, 1);
        let restarts = RestartRunsRequest { idempotency_key: "m4".to_owned(), ..Default::default() };
        let all = client.restart_runs(restarts.clone()).await.unwrap_err();
        assert_eq!((code(&all), problem(&all).field.as_deref()), ("invalid-request", Some("saga")));
        let restarted = client.restart_runs(RestartRunsRequest { saga: "pay".to_owned(), ..restarts }).await.unwrap();
        assert_eq!((restarted.get_ref().count, &*restarted.get_ref().control), (0, "restart"));
    });
    assert_eq!(server.balance("shop"), 0);
}

#[test]
fn all_that_is_wrong_with_a_definition_is_told() {
    let server = server();
    server.runtime().block_on(async {
        let mut client = sagas(&server).await;
        let wrong = "name: pay\nsteps:\n  - { id: a, transfer: { from: x } }\n  - { id: a, nothing: 1 }\n";
        let status = client.put_saga(definition("d", wrong)).await.unwrap_err();
        let told = problem(&status);
        assert_eq!((code(&status), status.code()), ("invalid-request", Code::InvalidArgument));
        assert!(told.errors.len() > 1 && told.errors.iter().all(|error| error.pointer.starts_with('/')), "{told:?}");
        let broken = PutSagaRequest { content_type: String::new(), ..definition("d", "{\n\"name\": }") };
        let told = problem(&client.put_saga(broken).await.unwrap_err());
        assert_eq!((told.line, told.column), (Some(2), Some(9)), "{told:?}");
        let other = PutSagaRequest { content_type: "text/plain".to_owned(), ..definition("d", PAY) };
        assert_eq!(code(&client.put_saga(other).await.unwrap_err()), "unsupported-media-type");
        let none = client.start_run(wish("r", &json!({}))).await.unwrap_err();
        assert_eq!((code(&none), none.code()), ("saga-not-found", Code::NotFound));
    });
}
