//! The paths of topics and subscriptions.

use http::Method;

use super::{NoRoute, RouteName};

/// What is asked of topics and subscriptions. Segments are still percent-encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TopicRoute<'a> {
    /// `GET /v1/topics`
    List,
    /// `PUT /v1/topics/{topic}`
    Keep(&'a str),
    /// `GET /v1/topics/{topic}/events`
    Events(&'a str),
    /// `POST /v1/topics/{topic}/events`
    Publish(&'a str),
    /// `GET /v1/subscriptions`
    Subscriptions,
    /// `GET /v1/subscriptions/{name}`
    Subscription(&'a str),
    /// `PUT /v1/subscriptions/{name}`
    Subscribe(&'a str),
    /// `DELETE /v1/subscriptions/{name}`
    Unsubscribe(&'a str),
    /// `GET /v1/subscriptions/{name}/events`
    Fetch(&'a str),
    /// `POST /v1/subscriptions/{name}/ack`
    Acknowledge(&'a str),
    /// `GET /v1/subscriptions/{name}/dead-letters`
    DeadLetters(&'a str),
    /// `POST /v1/subscriptions/{name}/dead-letters/replay`
    Replay(&'a str),
    /// `POST /v1/subscriptions/{name}/dead-letters/drop`
    Drop(&'a str),
}

const GET: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];
const PUT: &[&str] = &["PUT"];
const GET_POST: &[&str] = &["GET", "HEAD", "POST"];
const GET_PUT_DELETE: &[&str] = &["GET", "HEAD", "PUT", "DELETE"];

/// A name and what follows it, if there is anything.
type Parts<'a> = Option<(&'a str, Option<&'a str>)>;

impl<'a> TopicRoute<'a> {
    /// The route of what is below `/v1/`; `None` if it is of another collection.
    pub(super) fn of(method: &Method, below: &'a str) -> Option<Result<Self, NoRoute>> {
        let (collection, rest) = below.split_once('/').map_or((below, None), |(first, rest)| (first, Some(rest)));
        let parts = rest.map(|rest| rest.split_once('/').map_or((rest, None), |(name, verb)| (name, Some(verb))));
        // HEAD is GET without the body, which hyper leaves out.
        let method = if method == Method::HEAD { &Method::GET } else { method };
        match collection {
            "topics" => Some(Self::of_topics(method, parts)),
            "subscriptions" => Some(Self::of_subscriptions(method, parts)),
            _ => None,
        }
    }

    fn of_topics(method: &Method, parts: Parts<'a>) -> Result<Self, NoRoute> {
        let wrong = |allow| Err(NoRoute::WrongMethod { allow });
        match (parts, method) {
            (None, &Method::GET) => Ok(Self::List),
            (None, _) => wrong(GET),
            (Some(("", _)), _) => Err(NoRoute::NotFound),
            (Some((topic, None)), &Method::PUT) => Ok(Self::Keep(topic)),
            (Some((_, None)), _) => wrong(PUT),
            (Some((topic, Some("events"))), &Method::GET) => Ok(Self::Events(topic)),
            (Some((topic, Some("events"))), &Method::POST) => Ok(Self::Publish(topic)),
            (Some((_, Some("events"))), _) => wrong(GET_POST),
            (Some(_), _) => Err(NoRoute::NotFound),
        }
    }

    fn of_subscriptions(method: &Method, parts: Parts<'a>) -> Result<Self, NoRoute> {
        let wrong = |allow| Err(NoRoute::WrongMethod { allow });
        let read = |route| if method == Method::GET { Ok(route) } else { wrong(GET) };
        let write = |route| if method == Method::POST { Ok(route) } else { wrong(POST) };
        match parts {
            None => read(Self::Subscriptions),
            Some(("", _)) => Err(NoRoute::NotFound),
            Some((name, None)) => match *method {
                Method::GET => Ok(Self::Subscription(name)),
                Method::PUT => Ok(Self::Subscribe(name)),
                Method::DELETE => Ok(Self::Unsubscribe(name)),
                _ => wrong(GET_PUT_DELETE),
            },
            Some((name, Some("events"))) => read(Self::Fetch(name)),
            Some((name, Some("ack"))) => write(Self::Acknowledge(name)),
            Some((name, Some("dead-letters"))) => read(Self::DeadLetters(name)),
            Some((name, Some("dead-letters/replay"))) => write(Self::Replay(name)),
            Some((name, Some("dead-letters/drop"))) => write(Self::Drop(name)),
            Some(_) => Err(NoRoute::NotFound),
        }
    }

    /// As metrics name it.
    pub(crate) const fn name(&self) -> RouteName {
        match self {
            Self::Publish(_) => RouteName::Publish,
            Self::Events(_) | Self::Fetch(_) => RouteName::Events,
            Self::List | Self::Subscriptions | Self::Subscription(_) | Self::DeadLetters(_) => RouteName::Subscriptions,
            Self::Keep(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::Acknowledge(_)
            | Self::Replay(_)
            | Self::Drop(_) => RouteName::Subscribe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Route;
    use super::*;

    #[test]
    fn each_path_has_its_route() {
        let check = |method: &str, path: &str, expect: Result<TopicRoute<'_>, NoRoute>| {
            let found = Route::of(&method.parse().unwrap(), path);
            assert_eq!(found, expect.map(Route::Topic), "{method} {path}");
        };
        let wrong = |allow| Err(NoRoute::WrongMethod { allow });
        check("GET", "/v1/topics", Ok(TopicRoute::List));
        check("POST", "/v1/topics", wrong(GET));
        check("PUT", "/v1/topics/a%2Fb", Ok(TopicRoute::Keep("a%2Fb")));
        check("GET", "/v1/topics/a", wrong(PUT));
        check("HEAD", "/v1/topics/a/events", Ok(TopicRoute::Events("a")));
        check("POST", "/v1/topics/a/events", Ok(TopicRoute::Publish("a")));
        check("PUT", "/v1/topics/a/events", wrong(GET_POST));
        check("GET", "/v1/subscriptions", Ok(TopicRoute::Subscriptions));
        check("GET", "/v1/subscriptions/s", Ok(TopicRoute::Subscription("s")));
        check("PUT", "/v1/subscriptions/s", Ok(TopicRoute::Subscribe("s")));
        check("DELETE", "/v1/subscriptions/s", Ok(TopicRoute::Unsubscribe("s")));
        check("POST", "/v1/subscriptions/s", wrong(GET_PUT_DELETE));
        check("GET", "/v1/subscriptions/s/events", Ok(TopicRoute::Fetch("s")));
        check("POST", "/v1/subscriptions/s/ack", Ok(TopicRoute::Acknowledge("s")));
        check("GET", "/v1/subscriptions/s/dead-letters", Ok(TopicRoute::DeadLetters("s")));
        check("POST", "/v1/subscriptions/s/dead-letters/replay", Ok(TopicRoute::Replay("s")));
        check("POST", "/v1/subscriptions/s/dead-letters/drop", Ok(TopicRoute::Drop("s")));
        check("GET", "/v1/subscriptions/s/dead-letters/drop", wrong(POST));
        for path in
            ["/v1/topics/", "/v1/topics/a/b", "/v1/topics//events", "/v1/subscriptions/s/x", "/v1/subscriptions/"]
        {
            check("GET", path, Err(NoRoute::NotFound));
        }
    }
}
