//! Which method is which route: one row for each, so that no second place says what a method does, who may use it, or
//! what it is counted as.

/// A method of a service, and the route whose operation it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Method {
    /// `<service>/<method>`, both of the package `tertium.v1`.
    pub name: &'static str,
    /// HTTP's method.
    pub verb: &'static str,
    /// HTTP's path: `{x}` stands for the message's field `x`.
    pub path: &'static str,
}

const fn row(name: &'static str, verb: &'static str, path: &'static str) -> Method {
    Method { name, verb, path }
}

/// The package, as it stands in the paths of gRPC.
const PACKAGE: &str = "/tertium.v1.";

/// All of them: first those that come most often, since they are looked for in order.
pub const METHODS: &[Method] = &[
    row("Tertium/Transfer", "POST", "/v1/transfers"),
    row("Tertium/TransferStream", "POST", "/v1/transfers"),
    row("Tertium/Batch", "POST", "/v1/transfers/batch"),
    row("Tertium/GetAccount", "GET", "/v1/accounts/{id}"),
    row("Tertium/OpenAccount", "POST", "/v1/accounts"),
    row("Tertium/Capture", "POST", "/v1/transfers/{id}/capture"),
    row("Tertium/Void", "POST", "/v1/transfers/{id}/void"),
    row("Tertium/Reverse", "POST", "/v1/transfers/{id}/reverse"),
    row("Tertium/GetTransfer", "GET", "/v1/transfers/{id}"),
    row("Tertium/ListAccounts", "GET", "/v1/accounts"),
    row("Tertium/ListTransfers", "GET", "/v1/accounts/{id}/transfers"),
    row("Tertium/GetOperation", "GET", "/v1/operations/{key}"),
    row("Tertium/Settle", "POST", "/v1/operations/{key}/settle"),
    row("Calls/MakeCall", "POST", "/v1/calls"),
    row("Calls/ListUncertain", "GET", "/v1/uncertain"),
    row("Calls/Resolve", "POST", "/v1/uncertain/{id}/resolve"),
    row("Topics/Publish", "POST", "/v1/topics/{topic}/events"),
    row("Topics/ListEvents", "GET", "/v1/topics/{topic}/events"),
    row("Topics/FollowEvents", "GET", "/v1/topics/{topic}/events"),
    row("Topics/ListTopics", "GET", "/v1/topics"),
    row("Topics/PutTopic", "PUT", "/v1/topics/{topic}"),
    row("Subscriptions/FetchEvents", "GET", "/v1/subscriptions/{name}/events"),
    row("Subscriptions/Acknowledge", "POST", "/v1/subscriptions/{name}/ack"),
    row("Subscriptions/ListSubscriptions", "GET", "/v1/subscriptions"),
    row("Subscriptions/GetSubscription", "GET", "/v1/subscriptions/{name}"),
    row("Subscriptions/PutSubscription", "PUT", "/v1/subscriptions/{name}"),
    row("Subscriptions/DeleteSubscription", "DELETE", "/v1/subscriptions/{name}"),
    row("Subscriptions/ListDeadLetters", "GET", "/v1/subscriptions/{name}/dead-letters"),
    row("Subscriptions/ReplayDeadLetters", "POST", "/v1/subscriptions/{name}/dead-letters/replay"),
    row("Subscriptions/DropDeadLetters", "POST", "/v1/subscriptions/{name}/dead-letters/drop"),
    row("Sagas/StartRun", "POST", "/v1/sagas/{name}/runs"),
    row("Sagas/GetRun", "GET", "/v1/runs/{id}"),
    row("Sagas/ListRuns", "GET", "/v1/runs"),
    row("Sagas/ListSagas", "GET", "/v1/sagas"),
    row("Sagas/GetSaga", "GET", "/v1/sagas/{name}"),
    row("Sagas/PutSaga", "PUT", "/v1/sagas/{name}"),
    row("Sagas/CancelRun", "POST", "/v1/runs/{id}/cancel"),
    row("Sagas/PauseRun", "POST", "/v1/runs/{id}/pause"),
    row("Sagas/ResumeRun", "POST", "/v1/runs/{id}/resume"),
    row("Sagas/RestartRun", "POST", "/v1/runs/{id}/restart"),
    row("Sagas/CancelRuns", "POST", "/v1/runs/cancel"),
    row("Sagas/PauseRuns", "POST", "/v1/runs/pause"),
    row("Sagas/ResumeRuns", "POST", "/v1/runs/resume"),
    row("Sagas/RestartRuns", "POST", "/v1/runs/restart"),
    row("Leases/AcquireLease", "POST", "/v1/leases/{name}/acquire"),
    row("Leases/RenewLease", "POST", "/v1/leases/{name}/renew"),
    row("Leases/ReleaseLease", "POST", "/v1/leases/{name}/release"),
    row("Leases/GetLease", "GET", "/v1/leases/{name}"),
    row("Leases/ListLeases", "GET", "/v1/leases"),
];

impl Method {
    /// The method of a request's path; `None` if there is none of that name.
    pub fn of(path: &str) -> Option<&'static Self> {
        let name = path.strip_prefix(PACKAGE)?;
        METHODS.iter().find(|method| method.name == name)
    }

    /// The service it is of.
    pub fn service(&self) -> &'static str {
        self.name.split_once('/').map_or("", |(service, _)| service)
    }

    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        self.verb != "GET"
    }
}
