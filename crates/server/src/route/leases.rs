//! The paths of leases.

use http::Method;

use super::{NoRoute, RouteName};

/// What is asked of leases. Segments are still percent-encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LeaseRoute<'a> {
    /// `GET /v1/leases`
    List,
    /// `GET /v1/leases/{name}`
    Read(&'a str),
    /// `POST /v1/leases/{name}/acquire`
    Acquire(&'a str),
    /// `POST /v1/leases/{name}/renew`
    Renew(&'a str),
    /// `POST /v1/leases/{name}/release`
    Release(&'a str),
}

const GET: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];

impl<'a> LeaseRoute<'a> {
    /// The route of what is below `/v1/`; `None` if it is of another collection.
    pub(super) fn of(method: &Method, below: &'a str) -> Option<Result<Self, NoRoute>> {
        let rest = match below.strip_prefix("leases")? {
            "" => None,
            rest => Some(rest.strip_prefix('/')?),
        };
        let parts = rest.map(|rest| rest.split_once('/').map_or((rest, None), |(name, verb)| (name, Some(verb))));
        // HEAD is GET without the body, which hyper leaves out.
        let read = |route| match *method {
            Method::GET | Method::HEAD => Ok(route),
            _ => Err(NoRoute::WrongMethod { allow: GET }),
        };
        let write = |route| match *method {
            Method::POST => Ok(route),
            _ => Err(NoRoute::WrongMethod { allow: POST }),
        };
        Some(match parts {
            None => read(Self::List),
            Some(("", _)) => Err(NoRoute::NotFound),
            Some((name, None)) => read(Self::Read(name)),
            Some((name, Some("acquire"))) => write(Self::Acquire(name)),
            Some((name, Some("renew"))) => write(Self::Renew(name)),
            Some((name, Some("release"))) => write(Self::Release(name)),
            Some(_) => Err(NoRoute::NotFound),
        })
    }

    /// Which it is, without what it is about.
    pub(super) const fn name(&self) -> RouteName {
        match self {
            Self::Acquire(_) => RouteName::AcquireLease,
            Self::Renew(_) | Self::Release(_) => RouteName::HoldLease,
            Self::List | Self::Read(_) => RouteName::Leases,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Route;

    #[test]
    fn each_path_has_its_route() {
        let check = |method: &str, path: &str, expect: Result<LeaseRoute<'_>, NoRoute>| {
            let found = Route::of(&method.parse().unwrap(), path);
            assert_eq!(found, expect.map(Route::Lease), "{method} {path}");
        };
        let wrong = |allow| Err(NoRoute::WrongMethod { allow });
        check("GET", "/v1/leases", Ok(LeaseRoute::List));
        check("POST", "/v1/leases", wrong(GET));
        check("HEAD", "/v1/leases/a%2Fb", Ok(LeaseRoute::Read("a%2Fb")));
        check("DELETE", "/v1/leases/a", wrong(GET));
        check("POST", "/v1/leases/a/acquire", Ok(LeaseRoute::Acquire("a")));
        check("POST", "/v1/leases/a/renew", Ok(LeaseRoute::Renew("a")));
        check("POST", "/v1/leases/a/release", Ok(LeaseRoute::Release("a")));
        check("GET", "/v1/leases/a/acquire", wrong(POST));
        for path in ["/v1/leases/", "/v1/leases/a/b", "/v1/leases//acquire", "/v1/leasesx", "/v1/leases/a/renew/b"] {
            check("GET", path, Err(NoRoute::NotFound));
        }
    }
}
