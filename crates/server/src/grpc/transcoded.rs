//! Methods that are HTTP's operations in another form: the message becomes the request that HTTP would have brought, goes
//! through the same routes, and the answer's JSON becomes a message.

use std::pin::Pin;

use futures_util::{Stream, stream};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use machine::TopicPage;
use tonic::{Request, Response, Status};
use wire::grpc::{Form, Method, Question, form};
use wire::proto::calls_server::Calls;
use wire::proto::leases_server::Leases;
use wire::proto::sagas_server::Sagas;
use wire::proto::subscriptions_server::Subscriptions;
use wire::proto::topics_server::Topics;
use wire::{Code, Problem, grpc, headers, proto};

use super::Told;
use super::methods::{Asked, Methods};
use crate::call::{Call, IDEMPOTENCY_KEY, Payload};
use crate::respond::{Answered, internal};
use crate::route::{Route, TopicRoute};
use crate::routes::{self, Begun, Follower, LAST_EVENT_ID};

/// The methods of a service, each answered by its route.
macro_rules! methods {
    ($service:ident: $($name:ident($question:ident) -> $answer:ident,)* $({ $($more:tt)* })?) => {
        #[tonic::async_trait]
        impl $service for Methods {
            $(async fn $name(
                &self,
                request: Request<proto::$question>,
            ) -> Result<Response<proto::$answer>, Status> {
                answer(request).await
            })*
            $($($more)*)?
        }
    };
}

methods! { Calls:
    make_call(MakeCallRequest) -> MakeCallResponse,
    list_uncertain(ListUncertainRequest) -> UncertainPage,
    resolve(ResolveRequest) -> Resolved,
}

methods! { Sagas:
    list_sagas(ListSagasRequest) -> SagaPage,
    get_saga(GetSagaRequest) -> SagaDefined,
    put_saga(PutSagaRequest) -> SagaVersion,
    start_run(StartRunRequest) -> StartRunResponse,
    list_runs(ListRunsRequest) -> RunPage,
    get_run(GetRunRequest) -> Run,
    cancel_run(ControlRunRequest) -> RunControlled,
    pause_run(ControlRunRequest) -> RunControlled,
    resume_run(ControlRunRequest) -> RunControlled,
    restart_run(RestartRunRequest) -> RunControlled,
    cancel_runs(ControlRunsRequest) -> RunsControlled,
    pause_runs(ControlRunsRequest) -> RunsControlled,
    resume_runs(ControlRunsRequest) -> RunsControlled,
    restart_runs(RestartRunsRequest) -> RunsControlled,
}

methods! { Topics:
    list_topics(ListTopicsRequest) -> TopicPage,
    put_topic(PutTopicRequest) -> TopicKept,
    publish(PublishRequest) -> Published,
    list_events(ListEventsRequest) -> EventPage,
    {
        type FollowEventsStream = Pages;

        async fn follow_events(
            &self,
            request: Request<proto::FollowEventsRequest>,
        ) -> Result<Response<Pages>, Status> {
            let Asked { call, head, message, method } = Asked::of(request)?;
            let told = follow(&call, method, head, &message).await;
            call.tell(told)
        }
    }
}

methods! { Subscriptions:
    list_subscriptions(ListSubscriptionsRequest) -> SubscriptionPage,
    get_subscription(GetSubscriptionRequest) -> Subscription,
    put_subscription(PutSubscriptionRequest) -> SubscriptionSet,
    delete_subscription(DeleteSubscriptionRequest) -> SubscriptionNamed,
    fetch_events(FetchEventsRequest) -> EventPage,
    acknowledge(AcknowledgeRequest) -> Acknowledged,
    list_dead_letters(ListDeadLettersRequest) -> DeadLetterPage,
    replay_dead_letters(ReplayDeadLettersRequest) -> DeadLettersReplayed,
    drop_dead_letters(DropDeadLettersRequest) -> DeadLettersDropped,
}

methods! { Leases:
    acquire_lease(AcquireLeaseRequest) -> AcquireLeaseResponse,
    renew_lease(RenewLeaseRequest) -> LeaseRenewed,
    release_lease(ReleaseLeaseRequest) -> LeaseReleased,
    get_lease(GetLeaseRequest) -> Lease,
    list_leases(ListLeasesRequest) -> LeasePage,
}

async fn answer<Q: Question>(request: Request<Q>) -> Result<Response<Q::Answer>, Status> {
    let Asked { mut call, head, message, method } = Asked::of(request)?;
    let answered = ask(&mut call, method, head, &message).await;
    drop(message);
    call.tell_answered(answered.unwrap_or_else(|problem| Answered::problem(&problem))).await
}

/// Asks the route that the method is.
async fn ask<Q: Question>(
    call: &mut Call,
    method: &Method,
    metadata: HeaderMap,
    message: &Q,
) -> Result<Answered, Problem> {
    let (head, mut body) = parts_of(method, metadata, message)?;
    match Route::of(&head.method, head.uri.path()) {
        // An id may be a word that leads elsewhere.
        Ok(route) if route.name() == call.route && route.is_write() => {
            routes::write(call, route, &head, &mut body).await
        }
        Ok(route) if route.name() == call.route => routes::read(call, route, &head).await,
        _ => Err(Problem::of(Code::NotFound)),
    }
}

/// Pages of events, as they come.
type Pages = Pin<Box<dyn Stream<Item = Result<proto::EventPage, Status>> + Send>>;

/// Follows the topic that the method's route is of.
async fn follow(
    call: &Call,
    method: &Method,
    metadata: HeaderMap,
    message: &proto::FollowEventsRequest,
) -> Result<Told<Pages>, Problem> {
    let (head, _) = parts_of(method, metadata, message)?;
    let Ok(Route::Topic(TopicRoute::Events(topic))) = Route::of(&head.method, head.uri.path()) else {
        return Err(Problem::of(Code::NotFound));
    };
    let Begun { follower, position, staleness_ms } = Follower::begin(call, topic, &head).await?;
    let pages = follower.map(|follower| -> Pages {
        Box::pin(stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            Some(match follower.next_page().await {
                Ok(page) => (page_of(&follower, &page), Some(follower)),
                Err(problem) => (Err(ended(&problem)), None),
            })
        }))
    });
    Ok(Told { position: Some(position), seen: Some(position), staleness_ms: Some(staleness_ms), ..Told::of(pages) })
}

/// Why a stream of pages ends. What only looks has no outcome.
fn ended(problem: &Problem) -> Status {
    let mut status = grpc::status(problem);
    status.metadata_mut().remove("tertium-outcome");
    status
}

fn page_of(follower: &Follower, page: &TopicPage) -> Result<proto::EventPage, Status> {
    grpc::Told::of(200, &follower.json(page)).map_err(broken)
}

/// The head and the body that HTTP would have brought. What a header would change there, metadata does not change here.
fn parts_of<Q: Question>(method: &Method, mut metadata: HeaderMap, message: &Q) -> Result<(Parts, Payload), Problem> {
    let keys = metadata.get_all(IDEMPOTENCY_KEY).iter().map(HeaderValue::as_bytes);
    let Form { target, key, content_type, body } = form(method, message, keys)?;
    metadata.remove(ACCEPT);
    metadata.remove(IDEMPOTENCY_KEY);
    metadata.remove(LAST_EVENT_ID);
    let unsupported = |error| Problem::field(Code::UnsupportedMediaType, "content_type", error);
    metadata.insert(CONTENT_TYPE, HeaderValue::try_from(content_type).map_err(unsupported)?);
    if let Some(key) = key {
        let quoted = HeaderValue::from_str(&headers::quote_key(key.as_str())).map_err(internal)?;
        metadata.insert(IDEMPOTENCY_KEY, quoted);
    }
    let too_long = |_| Problem::new(Code::InvalidRequest, "What names it is too long.");
    let request = http::Request::builder().method(method.verb).uri(target).body(()).map_err(too_long)?;
    let (mut head, ()) = request.into_parts();
    head.headers = metadata;
    Ok((head, Payload::Whole(body.into())))
}

impl Call {
    /// What a route answered, as a message or a status with its metadata.
    async fn tell_answered<T: grpc::Told>(&self, answered: Answered) -> Result<Response<T>, Status> {
        let Answered { status, body, outcome, position, seen, extra, .. } = answered;
        let told = Told {
            outcome: outcome.filter(|_| !self.route.is_read()),
            position,
            seen,
            replayed: extra.replayed,
            joined: extra.joined,
            staleness_ms: extra.staleness_ms,
            ..Told::of(Ok(()))
        };
        self.count(status, told.outcome, extra.code);
        let json = body.collect().await.map_err(|error| self.refuse(broken(error), &told))?.to_bytes();
        if status >= 400 {
            let refused = grpc::problem_of_json(&json).map_or_else(broken, grpc::status_of_message);
            return Err(self.refuse(refused, &told));
        }
        let mut response = Response::new(T::of(status, &json).map_err(|error| self.refuse(broken(error), &told))?);
        self.put_metadata(response.metadata_mut(), &told);
        Ok(response)
    }
}

/// An answer that cannot be told.
fn broken(why: impl std::fmt::Display) -> Status {
    grpc::status(&internal(why))
}
