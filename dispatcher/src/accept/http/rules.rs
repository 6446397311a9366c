//! Which permission each call needs, in one table.
//!
//! A check in each handler would be forgotten in the next one. What is not in this table is served to nobody: a route
//! that is added without a line here is refused, with and without authentication, and the first test of it fails.

use axum::http::Method;

use crate::auth::Action;

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: for probes.
    Nothing,
    /// This action, in the queue that the call is about.
    InQueue(Action, Where),
    /// This action in any queue; the answer shows no others.
    InSome(Action),
    /// This action in all queues, since the answer is about all.
    InAll(Action),
}

/// Where a call says which queue it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    /// `{queue}` of the path.
    Path,
    /// `{id}` of the path: a task's id or a blob's begins with its queue.
    Id,
    /// `queue` of the query.
    Query,
}

struct Rule {
    route: &'static str,
    method: Method,
    needs: Needs,
}

const fn rule(route: &'static str, method: Method, needs: Needs) -> Rule {
    Rule { route, method, needs }
}

const READ_PATH: Needs = Needs::InQueue(Action::Read, Where::Path);
const READ_ID: Needs = Needs::InQueue(Action::Read, Where::Id);
const SUBMIT_PATH: Needs = Needs::InQueue(Action::Submit, Where::Path);
const OPERATE_PATH: Needs = Needs::InQueue(Action::Operate, Where::Path);
const SUBMIT_ID: Needs = Needs::InQueue(Action::Submit, Where::Id);

/// What the router has one route for, since it cannot split a segment; the handlers do.
const LETTER: &str = "/v1/queues/{queue}/dead/{id}";
const REDRIVE: &str = "/v1/queues/{queue}/dead/{id}:redrive";

/// The route of a path, of which the router says that it is `matched`.
pub(super) fn route<'a>(matched: &'a str, path: &str) -> &'a str {
    let redrives = [":redrive", "%3Aredrive", "%3aredrive"].iter().any(|end| path.ends_with(end));
    if matched == LETTER && redrives { REDRIVE } else { matched }
}

#[rustfmt::skip]
static RULES: [Rule; 26] = [
    rule("/livez",                    Method::GET,    Needs::Nothing),
    rule("/readyz",                   Method::GET,    Needs::Nothing),
    rule("/metrics",                  Method::GET,    Needs::InAll(Action::Read)),
    rule("/openapi.json",             Method::GET,    Needs::InSome(Action::Read)),
    rule("/v1/queues",                Method::GET,    Needs::InSome(Action::Read)),
    rule("/v1/queues/{queue}",        Method::GET,    READ_PATH),
    rule("/v1/queues/{queue}/tasks",  Method::GET,    READ_PATH),
    rule("/v1/queues/{queue}/tasks",  Method::POST,   SUBMIT_PATH),
    rule("/v1/queues/{queue}/calls",  Method::POST,   SUBMIT_PATH),
    rule("/v1/tasks/{id}",            Method::GET,    READ_ID),
    rule("/v1/tasks/{id}/result",     Method::GET,    READ_ID),
    rule("/v1/tasks/{id}/events",     Method::GET,    READ_ID),
    rule("/v1/blobs",                 Method::POST,   Needs::InQueue(Action::Submit, Where::Query)),
    rule("/v1/blobs/{id}",            Method::GET,    READ_ID),
    rule("/v1/blobs/{id}",            Method::PUT,    SUBMIT_ID),
    rule("/v1/blobs/{id}",            Method::DELETE, SUBMIT_ID),
    rule("/v1/tasks/{id}",            Method::DELETE, SUBMIT_ID),
    rule("/v1/queues/{queue}/tasks:cancel", Method::POST, OPERATE_PATH),
    rule("/v1/queues/{queue}/dead",   Method::GET,    READ_PATH),
    rule("/v1/queues/{queue}/dead/{id}", Method::GET, READ_PATH),
    rule("/v1/queues/{queue}/dead/{id}", Method::DELETE, OPERATE_PATH),
    rule(REDRIVE,                     Method::POST,   OPERATE_PATH),
    rule("/v1/queues/{queue}/dead:redrive", Method::POST, OPERATE_PATH),
    rule("/v1/queues/{queue}/dead:drop", Method::POST, OPERATE_PATH),
    rule("/v1/operations",            Method::GET,    Needs::InSome(Action::Operate)),
    rule("/v1/scale/{queue}",         Method::GET,    Needs::InQueue(Action::Scale, Where::Path)),
];

/// What is known of a route and a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// What the call needs.
    Needs(Needs),
    /// The route has other methods.
    OtherMethods,
    /// Nobody has thought of this route.
    Nothing,
}

/// Looks a call up. HEAD is GET without the body.
pub(super) fn find(route: &str, method: &Method) -> Found {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut of_route = RULES.iter().filter(|rule| rule.route == route).peekable();
    if of_route.peek().is_none() {
        return Found::Nothing;
    }
    of_route.find(|rule| rule.method == *method).map_or(Found::OtherMethods, |rule| Found::Needs(rule.needs))
}

/// The methods of a route, as `Allow` has them.
pub(super) fn allowed(route: &str) -> String {
    let mut methods: Vec<&str> = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.route == route) {
        methods.push(rule.method.as_str());
        if rule.method == Method::GET {
            methods.push(Method::HEAD.as_str());
        }
    }
    methods.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Found, Needs, allowed, find, route};
    use axum::http::Method;

    #[test]
    fn every_call_that_is_described_has_a_rule_and_only_probes_need_nothing() {
        let document = crate::openapi::document(&[]);
        let mut open = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            let route = path.replace("{blob_id}", "{id}");
            for method in ["get", "put", "post", "delete"].into_iter().filter(|method| item.get(*method).is_some()) {
                let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).expect("a method");
                match find(&route, &method) {
                    Found::Needs(Needs::Nothing) => open.push(route.clone()),
                    Found::Needs(_) => {}
                    other => panic!("{method} {route}: {other:?}"),
                }
            }
        }
        assert_eq!(open, ["/livez", "/readyz"]);
    }

    #[test]
    fn what_nobody_thought_of_is_found_nowhere() {
        assert_eq!(find("/v1/secrets", &Method::GET), Found::Nothing);
        assert_eq!(find("/v1/queues", &Method::DELETE), Found::OtherMethods);
        assert_eq!(find("/v1/blobs/{id}", &Method::HEAD), find("/v1/blobs/{id}", &Method::GET));
        assert_eq!(allowed("/v1/queues/{queue}/tasks"), "GET, HEAD, POST");
    }

    #[test]
    fn a_letter_and_its_redrive_are_two_routes_with_methods_of_their_own() {
        let letter = "/v1/queues/{queue}/dead/{id}";
        assert_eq!(allowed(route(letter, "/v1/queues/mail/dead/mail_1")), "GET, HEAD, DELETE");
        for path in ["/v1/queues/mail/dead/mail_1:redrive", "/v1/queues/mail/dead/mail_1%3Aredrive"] {
            assert_eq!(allowed(route(letter, path)), "POST", "{path}");
        }
        assert_eq!(route("/v1/tasks/{id}", "/v1/tasks/mail_1:redrive"), "/v1/tasks/{id}");
    }
}
