//! gRPC on the same listener: the same calls, under the same limits and keys, through tonic.

mod messages;
mod methods;
mod stream;

use std::sync::Arc;

use edge::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, Uri};
use hyper::body::Incoming;
use tonic::codegen::Service as _;
use tonic::metadata::{MetadataMap, MetadataValue};
use wire::proto::tertium_server::TertiumServer;
use wire::{Code, Problem, headers};
use words::{Outcome, Position};

use crate::app::App;
use crate::call::{Call, bytes_of};
use crate::route::RouteName;
use methods::Methods;

const GRPC_TIMEOUT: http::HeaderName = http::HeaderName::from_static("grpc-timeout");
const TERTIUM_SESSION: http::HeaderName = http::HeaderName::from_static("tertium-session");

/// Answers gRPC calls.
#[derive(Clone)]
pub(crate) struct Service {
    methods: TertiumServer<Methods>,
}

/// Whether a request speaks gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

impl Service {
    /// A service over `app`.
    pub(crate) fn new(app: &Arc<App>) -> Self {
        let max = app.streams.message_bytes_max;
        Self { methods: TertiumServer::new(Methods).max_decoding_message_size(max).max_encoding_message_size(4 * max) }
    }

    /// Answers one call: the layers are those of HTTP.
    pub(crate) async fn answer(&self, mut call: Call, request: Request<Incoming>) -> Response<Body> {
        call.route = route_of(request.uri().path());
        if let Err(problem) = pass(&mut call, request.uri(), request.headers()) {
            call.count(problem.code.status(), Some(problem.outcome()), Some(&problem));
            return wire::grpc::status(&problem).into_http::<tonic::body::Body>().map(Body::stream);
        }
        let (head, body) = request.into_parts();
        // A stream lasts as long as it likes; its frames have deadlines of their own.
        let until = match call.route {
            RouteName::TransferStream => None,
            _ => call.grpc_deadline_us(&head.headers).ok().map(|deadline_us| call.app.instant_of(deadline_us)),
        };
        let mut request = Request::from_parts(head, messages::checked(call.clone(), body, until));
        request.extensions_mut().insert(call);
        let response = match self.methods.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        response.map(Body::stream)
    }
}

fn pass(call: &mut Call, uri: &Uri, head: &HeaderMap) -> Result<(), Problem> {
    call.bound_head(head)?;
    call.authorize(uri, head, call.route.role())?;
    call.session = headers::session(bytes_of(head, &TERTIUM_SESSION))?;
    Ok(())
}

fn route_of(path: &str) -> RouteName {
    match path.strip_prefix("/tertium.v1.Tertium/") {
        Some("OpenAccount") => RouteName::OpenAccount,
        Some("Transfer") => RouteName::Transfer,
        Some("Capture") => RouteName::Capture,
        Some("Void") => RouteName::Void,
        Some("Reverse") => RouteName::Reverse,
        Some("Batch") => RouteName::Batch,
        Some("GetAccount") => RouteName::Account,
        Some("ListAccounts") => RouteName::Accounts,
        Some("ListTransfers") => RouteName::History,
        Some("GetOperation") => RouteName::Operation,
        Some("Settle") => RouteName::Settle,
        Some("TransferStream") => RouteName::TransferStream,
        _ => RouteName::None,
    }
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
    /// The deadline in `grpc-timeout`, on the cell's clock, counted from the call's first byte.
    fn grpc_deadline_us(&self, head: &HeaderMap) -> Result<u64, Problem> {
        Ok(self.deadline_at(headers::grpc_timeout(bytes_of(head, &GRPC_TIMEOUT))?))
    }

    /// How long each frame of a stream may take.
    fn grpc_stream_patience_us(&self, head: &HeaderMap) -> Result<u64, Problem> {
        let patience = headers::grpc_timeout(bytes_of(head, &GRPC_TIMEOUT))?.remaining();
        let patience = patience.min(words::Deadline::default().remaining());
        Ok(u64::try_from(patience.as_micros()).unwrap_or(u64::MAX))
    }

    /// Counts an answer under the status HTTP would have given it.
    fn count(&self, status: u16, outcome: Option<Outcome>, problem: Option<&Problem>) {
        let took_us = edge::now_us().saturating_sub(self.began_us);
        let outcome = outcome.filter(|_| !self.route.is_read());
        self.app.metrics.answered(self.route, status, outcome, took_us);
        if let Some(problem) = problem {
            let (route, code) = (self.route.as_str(), problem.code.as_str());
            tracing::debug!(route, code, took_us, trace_id = %self.trace, "refused over gRPC");
        }
    }

    /// A message, or the status that says why there is none, each with its metadata.
    fn tell<T>(&self, answer: Result<Told<T>, Problem>) -> Result<tonic::Response<T>, tonic::Status> {
        let mut told = answer.unwrap_or_else(|problem| Told::of(Err(problem)));
        match &told.message {
            Ok(_) => self.count(200, told.outcome, None),
            Err(problem) => self.count(problem.code.status(), Some(problem.outcome()), Some(problem)),
        }
        match std::mem::replace(&mut told.message, Err(Problem::of(Code::Internal))) {
            Ok(message) => {
                let mut response = tonic::Response::new(message);
                self.put_metadata(response.metadata_mut(), &told);
                Ok(response)
            }
            Err(problem) => {
                let mut status = wire::grpc::status(&problem);
                let metadata = status.metadata_mut();
                if self.route.is_read() {
                    metadata.remove("tertium-outcome");
                }
                self.put_metadata(metadata, &told);
                Err(status)
            }
        }
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
