//! The paths of sagas and runs.

use http::Method;
use wire::request::ControlVerb;

use super::{NoRoute, RouteName};

/// What is asked of sagas and runs. Segments are still percent-encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SagaRoute<'a> {
    /// `GET /v1/sagas`
    List,
    /// `GET /v1/sagas/{name}`
    Read(&'a str),
    /// `PUT /v1/sagas/{name}`
    Define(&'a str),
    /// `POST /v1/sagas/{name}/runs`
    Start(&'a str),
    /// `GET /v1/runs`
    Runs,
    /// `GET /v1/runs/{id}`
    Run(&'a str),
    /// `POST /v1/runs/{id}/cancel` and so on
    Control(&'a str, ControlVerb),
    /// `POST /v1/runs/cancel` and so on
    ControlMany(ControlVerb),
}

const GET: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];
const GET_PUT: &[&str] = &["GET", "HEAD", "PUT"];

/// A name and what follows it, if there is anything.
type Parts<'a> = Option<(&'a str, Option<&'a str>)>;

impl<'a> SagaRoute<'a> {
    /// The route of what is below `/v1/`; `None` if it is of another collection.
    pub(super) fn of(method: &Method, below: &'a str) -> Option<Result<Self, NoRoute>> {
        let (collection, rest) = below.split_once('/').map_or((below, None), |(first, rest)| (first, Some(rest)));
        let parts = rest.map(|rest| rest.split_once('/').map_or((rest, None), |(name, verb)| (name, Some(verb))));
        // HEAD is GET without the body, which hyper leaves out.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        match collection {
            "sagas" => Some(Self::of_sagas(method, parts)),
            "runs" => Some(Self::of_runs(method, parts)),
            _ => None,
        }
    }

    fn of_sagas(method: &Method, parts: Parts<'a>) -> Result<Self, NoRoute> {
        let wrong = |allow| Err(NoRoute::WrongMethod { allow });
        match (parts, method) {
            (None, &Method::GET) => Ok(Self::List),
            (None, _) => wrong(GET),
            (Some(("", _)), _) => Err(NoRoute::NotFound),
            (Some((name, None)), &Method::GET) => Ok(Self::Read(name)),
            (Some((name, None)), &Method::PUT) => Ok(Self::Define(name)),
            (Some((_, None)), _) => wrong(GET_PUT),
            (Some((name, Some("runs"))), &Method::POST) => Ok(Self::Start(name)),
            (Some((_, Some("runs"))), _) => wrong(POST),
            (Some(_), _) => Err(NoRoute::NotFound),
        }
    }

    fn of_runs(method: &Method, parts: Parts<'a>) -> Result<Self, NoRoute> {
        let wrong = |allow| Err(NoRoute::WrongMethod { allow });
        match (parts, method) {
            (None, &Method::GET) => Ok(Self::Runs),
            (None, _) => wrong(GET),
            (Some(("", _)), _) => Err(NoRoute::NotFound),
            (Some((id, None)), method) => match (ControlVerb::parse(id), method) {
                (Some(verb), &Method::POST) => Ok(Self::ControlMany(verb)),
                (Some(_), _) => wrong(POST),
                (None, &Method::GET) => Ok(Self::Run(id)),
                (None, _) => wrong(GET),
            },
            (Some((id, Some(verb))), method) => match (ControlVerb::parse(verb), method) {
                (Some(verb), &Method::POST) => Ok(Self::Control(id, verb)),
                (Some(_), _) => wrong(POST),
                (None, _) => Err(NoRoute::NotFound),
            },
        }
    }

    /// Which it is, without what it is about.
    pub(super) const fn name(&self) -> RouteName {
        match self {
            Self::Define(_) => RouteName::DefineSaga,
            Self::List | Self::Read(_) => RouteName::Sagas,
            Self::Start(_) => RouteName::StartRun,
            Self::Control(..) | Self::ControlMany(_) => RouteName::ControlRuns,
            Self::Runs | Self::Run(_) => RouteName::Runs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Route;

    #[test]
    fn each_path_has_its_route() {
        let check = |method: &str, path: &str, expect: Result<SagaRoute<'_>, NoRoute>| {
            let found = Route::of(&method.parse().unwrap(), path);
            assert_eq!(found, expect.map(Route::Saga), "{method} {path}");
        };
        let wrong = |allow| Err(NoRoute::WrongMethod { allow });
        check("GET", "/v1/sagas", Ok(SagaRoute::List));
        check("POST", "/v1/sagas", wrong(GET));
        check("HEAD", "/v1/sagas/a", Ok(SagaRoute::Read("a")));
        check("PUT", "/v1/sagas/a", Ok(SagaRoute::Define("a")));
        check("POST", "/v1/sagas/a", wrong(GET_PUT));
        check("POST", "/v1/sagas/a%2Fb/runs", Ok(SagaRoute::Start("a%2Fb")));
        check("GET", "/v1/sagas/a/runs", wrong(POST));
        check("GET", "/v1/runs", Ok(SagaRoute::Runs));
        check("GET", "/v1/runs/x", Ok(SagaRoute::Run("x")));
        check("DELETE", "/v1/runs/x", wrong(GET));
        check("POST", "/v1/runs/cancel", Ok(SagaRoute::ControlMany(ControlVerb::Cancel)));
        check("GET", "/v1/runs/cancel", wrong(POST));
        check("POST", "/v1/runs/x/restart", Ok(SagaRoute::Control("x", ControlVerb::Restart)));
        check("GET", "/v1/runs/x/pause", wrong(POST));
        for path in ["/v1/sagas/", "/v1/sagas/a/b", "/v1/sagas//runs", "/v1/runs/", "/v1/runs/x/stop"] {
            check("GET", path, Err(NoRoute::NotFound));
        }
    }
}
