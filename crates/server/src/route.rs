//! Which request is meant: method and path, and nothing else.
//!
//! A `match` and not a router: there are three dozen paths, each request passes here, and the paths' segments are wanted
//! undecoded, since an id may hold an encoded slash.

mod leases;
mod sagas;
mod topics;

use edge::Role;
use http::Method;

pub(crate) use leases::LeaseRoute;
pub(crate) use sagas::SagaRoute;
pub(crate) use topics::TopicRoute;

/// What is asked for. Segments are still percent-encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Route<'a> {
    /// `POST /v1/accounts`
    OpenAccount,
    /// `GET /v1/accounts`
    Accounts,
    /// `GET /v1/accounts/{id}`
    Account(&'a str),
    /// `GET /v1/accounts/{id}/transfers`
    History(&'a str),
    /// `POST /v1/transfers`
    Transfer,
    /// `POST /v1/transfers/batch`
    Batch,
    /// `GET /v1/transfers/{id}`
    ReadTransfer(&'a str),
    /// `POST /v1/transfers/{id}/capture`
    Capture(&'a str),
    /// `POST /v1/transfers/{id}/void`
    Void(&'a str),
    /// `POST /v1/transfers/{id}/reverse`
    Reverse(&'a str),
    /// `GET /v1/operations/{key}`
    Operation(&'a str),
    /// `POST /v1/operations/{key}/settle`
    Settle(&'a str),
    /// Of topics and subscriptions.
    Topic(TopicRoute<'a>),
    /// Of sagas and runs.
    Saga(SagaRoute<'a>),
    /// Of leases.
    Lease(LeaseRoute<'a>),
    /// `POST /v1/calls`
    Call,
    /// `GET /v1/uncertain`
    Uncertain,
    /// `POST /v1/uncertain/{id}/resolve`
    Resolve(&'a str),
    /// `GET /v1/nodes`
    Nodes,
    /// `POST /v1/nodes/{node}/promote`
    Promote(&'a str),
    /// `GET /healthz`
    Healthz,
    /// `GET /readyz`
    Readyz,
    /// `GET /metrics`
    Metrics,
    /// `GET /openapi.json`
    OpenApi,
    /// `GET /errors`
    Errors,
    /// `GET /errors/{code}`
    Error(&'a str),
}

/// Why a request has no route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoRoute {
    /// There is nothing at this path.
    NotFound,
    /// There is, but not for this method.
    WrongMethod {
        /// The methods it takes, as the `Allow` header says them.
        allow: &'static [&'static str],
    },
}

const GET: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];
const GET_POST: &[&str] = &["GET", "HEAD", "POST"];

impl<'a> Route<'a> {
    /// The route of a request.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub(crate) fn of(method: &Method, path: &'a str) -> Result<Self, NoRoute> {
        // HEAD is GET without the body, which hyper leaves out.
        let get = method == Method::GET || method == Method::HEAD;
        let post = method == Method::POST;
        let read = |route| if get { Ok(route) } else { Err(NoRoute::WrongMethod { allow: GET }) };
        let write = |route| if post { Ok(route) } else { Err(NoRoute::WrongMethod { allow: POST }) };
        let Some(below) = path.strip_prefix("/v1/") else { return Self::of_server(path).and_then(read) };
        if let Some(route) = TopicRoute::of(method, below) {
            return route.map(Self::Topic);
        }
        if let Some(route) = SagaRoute::of(method, below) {
            return route.map(Self::Saga);
        }
        if let Some(route) = LeaseRoute::of(method, below) {
            return route.map(Self::Lease);
        }
        let (collection, rest) = below.split_once('/').map_or((below, None), |(first, rest)| (first, Some(rest)));
        let Some(rest) = rest else {
            return match (collection, get, post) {
                ("transfers", ..) => write(Self::Transfer),
                ("calls", ..) => write(Self::Call),
                ("uncertain", ..) => read(Self::Uncertain),
                ("nodes", ..) => read(Self::Nodes),
                ("accounts", true, _) => Ok(Self::Accounts),
                ("accounts", _, true) => Ok(Self::OpenAccount),
                ("accounts", ..) => Err(NoRoute::WrongMethod { allow: GET_POST }),
                _ => Err(NoRoute::NotFound),
            };
        };
        let (name, verb) = rest.split_once('/').map_or((rest, None), |(name, verb)| (name, Some(verb)));
        match (collection, name, verb) {
            (_, "", _) => Err(NoRoute::NotFound),
            ("transfers", "batch", None) => write(Self::Batch),
            ("transfers", id, None) => read(Self::ReadTransfer(id)),
            ("transfers", id, Some("capture")) => write(Self::Capture(id)),
            ("transfers", id, Some("void")) => write(Self::Void(id)),
            ("transfers", id, Some("reverse")) => write(Self::Reverse(id)),
            ("accounts", id, None) => read(Self::Account(id)),
            ("accounts", id, Some("transfers")) => read(Self::History(id)),
            ("operations", key, None) => read(Self::Operation(key)),
            ("operations", key, Some("settle")) => write(Self::Settle(key)),
            ("nodes", node, Some("promote")) => write(Self::Promote(node)),
            ("uncertain", id, Some("resolve")) => write(Self::Resolve(id)),
            _ => Err(NoRoute::NotFound),
        }
    }

    fn of_server(path: &'a str) -> Result<Self, NoRoute> {
        Ok(match path {
            "/healthz" => Self::Healthz,
            "/readyz" => Self::Readyz,
            "/metrics" => Self::Metrics,
            "/openapi.json" => Self::OpenApi,
            "/errors" | "/errors/" => Self::Errors,
            _ => Self::Error(path.strip_prefix("/errors/").ok_or(NoRoute::NotFound)?),
        })
    }

    /// Whether it may be asked without an API key: what probes and people with an error in hand need.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self, Self::Healthz | Self::Readyz | Self::OpenApi | Self::Errors | Self::Error(_))
    }

    /// Whether it changes something.
    pub(crate) const fn is_write(&self) -> bool {
        self.name().is_write()
    }

    /// What whoever asks must be allowed.
    pub(crate) const fn role(&self) -> Role {
        self.name().role()
    }

    /// Which it is, without what it is about.
    pub(crate) const fn name(&self) -> RouteName {
        match self {
            Self::OpenAccount => RouteName::OpenAccount,
            Self::Accounts => RouteName::Accounts,
            Self::Account(_) => RouteName::Account,
            Self::History(_) => RouteName::History,
            Self::Transfer => RouteName::Transfer,
            Self::Batch => RouteName::Batch,
            Self::ReadTransfer(_) => RouteName::ReadTransfer,
            Self::Capture(_) => RouteName::Capture,
            Self::Void(_) => RouteName::Void,
            Self::Reverse(_) => RouteName::Reverse,
            Self::Operation(_) => RouteName::Operation,
            Self::Settle(_) => RouteName::Settle,
            Self::Topic(route) => route.name(),
            Self::Saga(route) => route.name(),
            Self::Lease(route) => route.name(),
            Self::Call => RouteName::Call,
            Self::Uncertain => RouteName::Uncertain,
            Self::Resolve(_) => RouteName::Resolve,
            Self::Nodes => RouteName::Nodes,
            Self::Promote(_) => RouteName::Promote,
            _ => RouteName::Server,
        }
    }
}

/// A route as metrics name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub(crate) enum RouteName {
    OpenAccount,
    Accounts,
    Account,
    History,
    Transfer,
    TransferStream,
    Batch,
    ReadTransfer,
    Capture,
    Void,
    Reverse,
    Operation,
    Settle,
    Publish,
    Events,
    Subscribe,
    Subscriptions,
    DefineSaga,
    Sagas,
    StartRun,
    ControlRuns,
    Runs,
    Call,
    Uncertain,
    Resolve,
    AcquireLease,
    HoldLease,
    Leases,
    Nodes,
    Promote,
    Server,
    None,
}

impl RouteName {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 32] = [
        Self::OpenAccount,
        Self::Accounts,
        Self::Account,
        Self::History,
        Self::Transfer,
        Self::TransferStream,
        Self::Batch,
        Self::ReadTransfer,
        Self::Capture,
        Self::Void,
        Self::Reverse,
        Self::Operation,
        Self::Settle,
        Self::Publish,
        Self::Events,
        Self::Subscribe,
        Self::Subscriptions,
        Self::DefineSaga,
        Self::Sagas,
        Self::StartRun,
        Self::ControlRuns,
        Self::Runs,
        Self::Call,
        Self::Uncertain,
        Self::Resolve,
        Self::AcquireLease,
        Self::HoldLease,
        Self::Leases,
        Self::Nodes,
        Self::Promote,
        Self::Server,
        Self::None,
    ];

    /// Whether it changes something.
    pub(crate) const fn is_write(self) -> bool {
        match self {
            Self::OpenAccount
            | Self::Transfer
            | Self::TransferStream
            | Self::Batch
            | Self::Capture
            | Self::Void
            | Self::Reverse
            | Self::Settle
            | Self::Publish
            | Self::Subscribe
            | Self::DefineSaga
            | Self::StartRun
            | Self::ControlRuns
            | Self::Call
            | Self::Resolve
            | Self::AcquireLease
            | Self::HoldLease
            | Self::Promote => true,
            Self::Accounts
            | Self::Account
            | Self::History
            | Self::ReadTransfer
            | Self::Operation
            | Self::Events
            | Self::Subscriptions
            | Self::Sagas
            | Self::Runs
            | Self::Uncertain
            | Self::Leases
            | Self::Nodes
            | Self::Server
            | Self::None => false,
        }
    }

    /// Whether it only looks: what leads nowhere is neither a read nor a write.
    pub(crate) fn is_read(self) -> bool {
        self != Self::None && !self.is_write()
    }

    /// Whether it may go on long after it is accepted: only then is `Prefer: respond-async` followed.
    pub(crate) const fn is_slow(self) -> bool {
        matches!(self, Self::Call | Self::StartRun | Self::AcquireLease)
    }

    /// What whoever asks must be allowed. To say by hand what became of something is for few.
    pub(crate) const fn role(self) -> Role {
        match self {
            Self::Resolve | Self::Promote => Role::Admin,
            _ if self.is_write() => Role::Write,
            _ => Role::Read,
        }
    }

    /// The value of the label `route`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAccount => "open_account",
            Self::Accounts => "accounts",
            Self::Account => "account",
            Self::History => "history",
            Self::Transfer => "transfer",
            Self::TransferStream => "transfer_stream",
            Self::Batch => "batch",
            Self::ReadTransfer => "read_transfer",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Reverse => "reverse",
            Self::Operation => "operation",
            Self::Settle => "settle",
            Self::Publish => "publish",
            Self::Events => "events",
            Self::Subscribe => "subscribe",
            Self::Subscriptions => "subscriptions",
            Self::DefineSaga => "define_saga",
            Self::Sagas => "sagas",
            Self::StartRun => "start_run",
            Self::ControlRuns => "control_runs",
            Self::Runs => "runs",
            Self::Call => "call",
            Self::Uncertain => "uncertain",
            Self::Resolve => "resolve",
            Self::AcquireLease => "acquire_lease",
            Self::HoldLease => "hold_lease",
            Self::Leases => "leases",
            Self::Nodes => "nodes",
            Self::Promote => "promote",
            Self::Server => "server",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_route() {
        let check = |method: &str, path: &str, expect: Result<Route<'_>, NoRoute>| {
            assert_eq!(Route::of(&method.parse().unwrap(), path), expect, "{method} {path}");
        };
        let wrong = |allow| Err(NoRoute::WrongMethod { allow });
        check("POST", "/v1/accounts", Ok(Route::OpenAccount));
        check("GET", "/v1/accounts", Ok(Route::Accounts));
        check("HEAD", "/v1/accounts", Ok(Route::Accounts));
        check("PUT", "/v1/accounts", wrong(GET_POST));
        check("GET", "/v1/accounts/a%2Fb", Ok(Route::Account("a%2Fb")));
        check("DELETE", "/v1/accounts/a", wrong(GET));
        check("GET", "/v1/accounts/a/transfers", Ok(Route::History("a")));
        check("GET", "/v1/accounts/a/b/transfers", Err(NoRoute::NotFound));
        check("POST", "/v1/transfers", Ok(Route::Transfer));
        check("GET", "/v1/transfers", wrong(POST));
        check("POST", "/v1/transfers/batch", Ok(Route::Batch));
        check("GET", "/v1/transfers/x", Ok(Route::ReadTransfer("x")));
        check("POST", "/v1/transfers/x/capture", Ok(Route::Capture("x")));
        check("GET", "/v1/transfers/x/void", wrong(POST));
        check("POST", "/v1/transfers/x/reverse", Ok(Route::Reverse("x")));
        check("GET", "/v1/operations/k", Ok(Route::Operation("k")));
        check("POST", "/v1/operations/k/settle", Ok(Route::Settle("k")));
        check("POST", "/v1/calls", Ok(Route::Call));
        check("GET", "/v1/calls", wrong(POST));
        check("GET", "/v1/uncertain", Ok(Route::Uncertain));
        check("POST", "/v1/uncertain/17/resolve", Ok(Route::Resolve("17")));
        check("GET", "/v1/uncertain/17", Err(NoRoute::NotFound));
        check("GET", "/v1/nodes", Ok(Route::Nodes));
        check("POST", "/v1/nodes/b/promote", Ok(Route::Promote("b")));
        check("GET", "/v1/nodes/b", Err(NoRoute::NotFound));
        check("GET", "/healthz", Ok(Route::Healthz));
        check("POST", "/readyz", wrong(GET));
        check("GET", "/errors", Ok(Route::Errors));
        check("GET", "/errors/overloaded", Ok(Route::Error("overloaded")));
        for path in
            ["/", "", "*", "/v1", "/v1/", "/v1/x", "/v1/accounts/", "/v1//", "/v2/accounts", "/v1/transfers/x/y"]
        {
            check("GET", path, Err(NoRoute::NotFound));
        }
    }

    #[test]
    fn names_stand_in_order() {
        for (at, name) in RouteName::ALL.into_iter().enumerate() {
            assert_eq!(name as usize, at);
        }
    }
}
