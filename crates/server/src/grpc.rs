//! gRPC on the same listener: the same calls, under the same limits and keys, through tonic.

mod messages;
mod methods;
mod stream;
mod transcoded;

use std::sync::Arc;

use edge::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method as Verb, Request, Response, Uri};
use hyper::body::Incoming;
use tonic::codegen::Service as _;
use tonic::metadata::{MetadataMap, MetadataValue};
use wire::grpc::Method;
use wire::proto::calls_server::CallsServer;
use wire::proto::leases_server::LeasesServer;
use wire::proto::sagas_server::SagasServer;
use wire::proto::subscriptions_server::SubscriptionsServer;
use wire::proto::tertium_server::TertiumServer;
use wire::proto::topics_server::TopicsServer;
use wire::{Code, Problem, headers};
use words::{Outcome, Position};

use crate::app::App;
use crate::call::{Call, GRPC_TIMEOUT, bytes_of};
use crate::nodes::refuse_follower;
use crate::route::{Route, RouteName};
use methods::Methods;

const TERTIUM_SESSION: http::HeaderName = http::HeaderName::from_static("tertium-session");

/// Answers gRPC calls.
#[derive(Clone)]
pub(crate) struct Service {
    tertium: TertiumServer<Methods>,
    calls: CallsServer<Methods>,
    sagas: SagasServer<Methods>,
    topics: TopicsServer<Methods>,
    subscriptions: SubscriptionsServer<Methods>,
    leases: LeasesServer<Methods>,
}

/// Whether a request speaks gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

impl Service {
    /// A service over `app`.
    pub(crate) fn new(app: &Arc<App>) -> Self {
        let max = app.streams.message_bytes_max;
        // What stands for a request over HTTP is no larger than that may be. What is answered has bounds of its own.
        let body_max = max.min(app.limits.body_bytes_max);
        macro_rules! bounded {
            ($server:ident) => {
                $server::new(Methods).max_decoding_message_size(body_max)
            };
        }
        Self {
            tertium: TertiumServer::new(Methods).max_decoding_message_size(max),
            calls: bounded!(CallsServer),
            sagas: bounded!(SagasServer),
            topics: bounded!(TopicsServer),
            subscriptions: bounded!(SubscriptionsServer),
            leases: bounded!(LeasesServer),
        }
    }

    /// Answers one call: the layers are those of HTTP.
    pub(crate) async fn answer(&self, mut call: Call, request: Request<Incoming>) -> Response<Body> {
        let method = Method::of(request.uri().path());
        (call.is_grpc, call.route) = (true, method.map_or(RouteName::None, route_of));
        if let Err(problem) = pass(&mut call, request.uri(), request.headers()) {
            call.count(problem.code.status(), Some(problem.outcome()), Some(problem.code));
            return wire::grpc::status(&problem).into_http::<tonic::body::Body>().map(Body::stream);
        }
        let (head, body) = request.into_parts();
        // A stream lasts as long as it likes; its frames have deadlines of their own.
        let until = match call.route {
            RouteName::TransferStream => None,
            _ => call.deadline_us(&head.headers).ok().map(|deadline_us| call.app.instant_of(deadline_us)),
        };
        let mut request = Request::from_parts(head, messages::checked(call.clone(), body, until));
        request.extensions_mut().insert(call);
        if let Some(method) = method {
            request.extensions_mut().insert(method);
        }
        let answered = match method.map_or("", Method::service) {
            "Calls" => self.calls.clone().call(request).await,
            "Sagas" => self.sagas.clone().call(request).await,
            "Topics" => self.topics.clone().call(request).await,
            "Subscriptions" => self.subscriptions.clone().call(request).await,
            "Leases" => self.leases.clone().call(request).await,
            // It also says of a method that it is none.
            _ => self.tertium.clone().call(request).await,
        };
        match answered {
            Ok(response) => response.map(Body::stream),
            Err(never) => match never {},
        }
    }
}

fn pass(call: &mut Call, uri: &Uri, head: &HeaderMap) -> Result<(), Problem> {
    call.bound_head(head)?;
    call.authorize(uri, head, call.route.role())?;
    call.session = headers::session(bytes_of(head, &TERTIUM_SESSION))?;
    if call.route.is_write() {
        refuse_follower(call.app.nodes.as_ref())?;
    }
    Ok(())
}

/// The name of the route whose operation a method is.
fn route_of(method: &Method) -> RouteName {
    if method.name == "Tertium/TransferStream" {
        return RouteName::TransferStream;
    }
    let verb = Verb::from_bytes(method.verb.as_bytes()).unwrap_or_default();
    Route::of(&verb, method.path).map_or(RouteName::None, |route| route.name())
}

/// A message, or the refusal that was decided, with what HTTP would say in headers.
pub(crate) struct Told<T> {
    message: Result<T, Problem>,
    outcome: Option<Outcome>,
    position: Option<Position>,
    seen: Option<Position>,
    replayed: bool,
    joined: bool,
    staleness_ms: Option<u64>,
}

impl Call {
    /// How long each frame of a stream may take.
    fn grpc_stream_patience_us(&self, head: &HeaderMap) -> Result<u64, Problem> {
        let patience = headers::grpc_timeout(bytes_of(head, &GRPC_TIMEOUT))?.remaining();
        let patience = patience.min(words::Deadline::default().remaining());
        Ok(u64::try_from(patience.as_micros()).unwrap_or(u64::MAX))
    }

    /// Counts an answer under the status HTTP would have given it.
    fn count(&self, status: u16, outcome: Option<Outcome>, code: Option<Code>) {
        let took_us = edge::now_us().saturating_sub(self.began_us);
        let outcome = outcome.filter(|_| !self.route.is_read());
        self.app.metrics.answered(self.route, status, outcome, took_us);
        if let Some(code) = code {
            let (route, code) = (self.route.as_str(), code.as_str());
            tracing::debug!(route, code, took_us, trace_id = %self.trace, "refused over gRPC");
        }
    }

    /// A message, or the status that says why there is none, each with its metadata.
    fn tell<T>(&self, answer: Result<Told<T>, Problem>) -> Result<tonic::Response<T>, tonic::Status> {
        let mut told = answer.unwrap_or_else(|problem| Told::of(Err(problem)));
        match &told.message {
            Ok(_) => self.count(200, told.outcome, None),
            Err(problem) => self.count(problem.code.status(), Some(problem.outcome()), Some(problem.code)),
        }
        match std::mem::replace(&mut told.message, Err(Problem::of(Code::Internal))) {
            Ok(message) => {
                let mut response = tonic::Response::new(message);
                self.put_metadata(response.metadata_mut(), &told);
                Ok(response)
            }
            Err(problem) => Err(self.refuse(wire::grpc::status(&problem), &told)),
        }
    }

    /// A status with its metadata. Only what may change something has an outcome.
    fn refuse<T>(&self, mut status: tonic::Status, told: &Told<T>) -> tonic::Status {
        let metadata = status.metadata_mut();
        if self.route.is_read() {
            metadata.remove("tertium-outcome");
        }
        self.put_metadata(metadata, told);
        status
    }

    fn put_metadata<T>(&self, metadata: &mut MetadataMap, told: &Told<T>) {
        let cell = self.app.cell.cell();
        let mut traceparent = Vec::with_capacity(crate::trace::TRACEPARENT_BYTES);
        self.trace.put_traceparent(&mut traceparent);
        put(metadata, "traceparent", &String::from_utf8_lossy(&traceparent));
        if let Some(outcome) = told.outcome {
            put(metadata, "tertium-outcome", outcome.as_str());
        }
        if let Some(position) = told.position {
            put(metadata, "tertium-position", &format!("{cell}:{position}"));
        }
        if let Some(seen) = told.seen {
            let mut session = self.session.clone();
            session.observe(cell, seen);
            put(metadata, "tertium-session", &session.to_string());
        }
        if told.replayed {
            put(metadata, "idempotency-replayed", "true");
        }
        if told.joined {
            put(metadata, "idempotency-joined", "true");
        }
        if let Some(staleness_ms) = told.staleness_ms {
            put(metadata, "tertium-staleness-ms", &staleness_ms.to_string());
            put(metadata, "tertium-served-by", self.app.node.to_str().unwrap_or_default());
        }
    }
}

fn put(metadata: &mut MetadataMap, name: &'static str, text: &str) {
    // Positions, tokens and ids are ASCII.
    if let Ok(value) = MetadataValue::try_from(text) {
        metadata.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_has_a_route() {
        for method in wire::grpc::METHODS {
            let route = route_of(method);
            assert_ne!(route, RouteName::None, "{method:?}");
            assert_eq!(route.is_write(), method.is_write(), "{method:?}");
        }
    }
}
