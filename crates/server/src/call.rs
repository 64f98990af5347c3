//! One request from its head to its answer: the layers it passes, in order, one reason each.

use std::sync::Arc;

use bytes::Bytes;
use edge::{Body, Caller, Exchange, Role, TokenHash};
use http::header::{AUTHORIZATION, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response, Uri};
use hyper::body::{Body as _, Incoming};
use wire::{Code, Problem, headers};
use words::{Deadline, Session};

use crate::app::App;
use crate::origin::check_origin;
use crate::respond::Answered;
use crate::route::{NoRoute, Route, RouteName};
use crate::trace::Trace;
use crate::{grpc, nodes, routes};

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const X_REQUEST_DEADLINE: HeaderName = HeaderName::from_static("x-request-deadline");
/// The deadline over gRPC.
pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const TERTIUM_SESSION: HeaderName = HeaderName::from_static("tertium-session");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// How long what is left of a refused request's body is read and forgotten.
const DISCARD_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// What answers all requests.
#[derive(Clone)]
pub(crate) struct Service {
    app: Arc<App>,
    grpc: grpc::Service,
}

/// One request: who asks, since when, and under which name it is found in logs.
#[derive(Clone)]
pub(crate) struct Call {
    /// What all requests share.
    pub app: Arc<App>,
    /// Which route it takes.
    pub route: RouteName,
    /// When its first byte came, on [`edge::now_us`]'s clock.
    pub began_us: u64,
    /// Its trace.
    pub trace: Trace,
    /// Whose idempotency keys it uses.
    pub principal: Arc<str>,
    /// What whoever asks may do; `None` where nobody is asked who they are.
    pub role: Option<Role>,
    /// The token it came with, for streams that outlive its key.
    token: Option<TokenHash>,
    /// What its client has seen.
    pub session: Session,
    /// Whether it is spoken of over gRPC, which has a header of its own for the deadline.
    pub is_grpc: bool,
}

/// What a request brings besides its head.
#[derive(Default)]
pub(crate) enum Payload {
    /// A body that comes through a socket.
    Incoming(Incoming),
    /// A body that is there: it was made of a message.
    Whole(Bytes),
    /// None any more: somebody else reads it.
    #[default]
    Gone,
}

impl Payload {
    /// Whether nothing more comes of it.
    fn is_end(&self) -> bool {
        match self {
            Self::Incoming(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Gone => true,
        }
    }
}

impl Service {
    /// A service over `app`.
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { grpc: grpc::Service::new(&app), app }
    }
}

impl edge::Handler for Service {
    async fn answer(self, request: Request<Incoming>, exchange: Exchange) -> Response<Body> {
        let mut call = Call::begin(&self.app, request.headers(), exchange);
        // gRPC has its own framing and its own place for errors: it goes its own way from here.
        if grpc::is_grpc(request.headers()) {
            return self.grpc.answer(call, request).await;
        }
        let (head, body) = request.into_parts();
        let mut body = Payload::Incoming(body);
        let mut answered = match call.pass(&head, &mut body).await {
            Ok(answered) => answered,
            Err(problem) => Answered::problem(&problem),
        };
        // Only what may change something has an outcome.
        if call.route.is_read() {
            answered.outcome = None;
        }
        // A client that is still sending would not read the answer before it is done.
        if let Payload::Incoming(rest) = body
            && !rest.is_end_stream()
            && !head.headers.contains_key(EXPECT)
        {
            edge::discard(rest, 4 * self.app.limits.body_bytes_max, DISCARD_PATIENCE).await;
        }
        call.respond(answered)
    }
}

impl Call {
    /// Begins: the clock runs, the trace is known.
    pub(crate) fn begin(app: &Arc<App>, headers: &HeaderMap, exchange: Exchange) -> Self {
        Self {
            app: Arc::clone(app),
            route: RouteName::None,
            began_us: exchange.began_us,
            trace: Trace::continue_or_start(bytes_of(headers, &TRACEPARENT)),
            principal: Arc::clone(&app.anonymous),
            role: None,
            token: None,
            session: Session::default(),
            is_grpc: false,
        }
    }

    async fn pass(&mut self, head: &Parts, body: &mut Payload) -> Result<Answered, Problem> {
        // A head of many small headers costs as much as one long one.
        self.bound_head(&head.headers)?;
        // What does not exist is said to everybody alike.
        let route = match Route::of(&head.method, head.uri.path()) {
            Ok(route) => route,
            Err(no_route) => return Ok(answer_no_route(no_route)),
        };
        self.route = route.name();
        // Whoever asks must be known and may do only what their key allows.
        if !route.is_open() {
            self.authorize(&head.uri, &head.headers, route.role())?;
        }
        // What the client has seen comes back in the answer, whatever it is.
        self.session = headers::session(bytes_of(&head.headers, &TERTIUM_SESSION))?;
        if let Route::Promote(node) = route {
            return nodes::promote(self, node, head).await;
        }
        if route.is_write()
            && let Some(nodes) = self.app.nodes.as_ref().filter(|nodes| nodes.follows()).cloned()
        {
            return nodes::forward(self, &nodes, route, head, body).await;
        }
        if route.is_write() {
            routes::write(self, route, head, body).await
        } else {
            routes::read(self, route, head).await
        }
    }

    /// Refuses heads that are larger than allowed.
    ///
    /// # Errors
    /// `headers-too-large`.
    pub(crate) fn bound_head(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let max = self.app.limits.header_bytes_max;
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > max || headers.len() > self.app.limits.headers_max {
            return Err(Problem::new(
                Code::HeadersTooLarge,
                format!("The headers of a request have at most {max} bytes."),
            ));
        }
        Ok(())
    }

    /// Finds out who is calling, if anybody is asked. Where nobody is, it must not be a web page.
    ///
    /// # Errors
    /// `unauthenticated`, `forbidden`, `origin-not-allowed`.
    pub(crate) fn authorize(&mut self, uri: &Uri, headers: &HeaderMap, needed: Role) -> Result<(), Problem> {
        let Some(keys) = &self.app.keys else { return check_origin(uri, headers, &self.app.hosts) };
        let token = bytes_of(headers, &AUTHORIZATION).and_then(headers::bearer).map(TokenHash::of);
        let known = token.and_then(|token| Some((token, keys.caller(&token)?)));
        let (token, Caller { principal, role }) = known.ok_or_else(|| Problem::of(Code::Unauthenticated))?;
        if role < needed {
            return Err(Problem::of(Code::Forbidden));
        }
        (self.principal, self.role, self.token) = (principal, Some(role), Some(token));
        Ok(())
    }

    /// Whether whoever began to ask may go on: their key may have been revoked since.
    pub(crate) fn is_still_allowed(&self) -> bool {
        let Some(keys) = &self.app.keys else { return true };
        let caller = self.token.and_then(|token| keys.caller(&token));
        caller.is_some_and(|caller| caller.role >= self.route.role() && caller.principal == self.principal)
    }

    /// The deadline in the request's header, on the cell's clock, counted from the request's first byte.
    ///
    /// # Errors
    /// `deadline-invalid`.
    pub(crate) fn deadline_us(&self, headers: &HeaderMap) -> Result<u64, Problem> {
        let deadline = match self.is_grpc {
            true => headers::grpc_timeout(bytes_of(headers, &GRPC_TIMEOUT))?,
            false => headers::deadline(bytes_of(headers, &X_REQUEST_DEADLINE), wall_us())?,
        };
        Ok(self.deadline_at(deadline))
    }

    /// That remaining time as an instant of the cell's clock.
    pub(crate) fn deadline_at(&self, deadline: Deadline) -> u64 {
        let passed_us = edge::now_us().saturating_sub(self.began_us);
        let remaining_us = u64::try_from(deadline.remaining().as_micros()).unwrap_or(u64::MAX);
        (self.app.cell.now_us() + remaining_us).saturating_sub(passed_us)
    }

    /// Refuses what is late already, before work is spent on it.
    ///
    /// # Errors
    /// `deadline-exceeded`.
    pub(crate) fn check_in_time(&self, deadline_us: u64, key: &str) -> Result<(), Problem> {
        if deadline_us <= self.app.cell.now_us() {
            return Err(Problem::of(Code::DeadlineExceeded).with_operation(key));
        }
        Ok(())
    }
}

fn answer_no_route(no_route: NoRoute) -> Answered {
    match no_route {
        NoRoute::NotFound => Answered::problem(&Problem::of(Code::NotFound)),
        NoRoute::WrongMethod { allow } => {
            let mut answered = Answered::problem(&Problem::of(Code::MethodNotAllowed).with_allowed(allow));
            answered.extra.allow = Some(allow);
            answered
        }
    }
}

/// The first value of a header.
pub(crate) fn bytes_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(http::HeaderValue::as_bytes)
}

/// The media type that the body claims to be of.
pub(crate) fn media_of(headers: &HeaderMap, body: &Payload) -> Result<headers::Media, Problem> {
    headers::content_type(bytes_of(headers, &CONTENT_TYPE), body.is_end())
}

fn wall_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
