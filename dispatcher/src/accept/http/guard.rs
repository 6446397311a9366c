//! The door: who asks, and whether they may, before anything of a request's body is read.
//!
//! In this order: 401 for whoever is not known, whatever they ask for; 403 for what they may not do, also where the
//! queue does not exist; and then only what the handler finds wrong.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts as _, MatchedPath, Query, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Edge;
use super::body;
use super::connections::Peer;
use super::observe::method_name;
use super::problem::{self, Refused};
use super::rules::{self, Found, Needs, Where, allowed, find};
use crate::auth::{FORBIDDEN_CHALLENGE, FORBIDDEN_REASON, Grant, Refusal};
use crate::error::{ApiError, Code};
use crate::limits::{DRAIN_BYTES_MAX, DRAIN_TIMEOUT, STRANGER_DRAIN_BYTES_MAX, STRANGER_DRAIN_TIMEOUT};
use crate::operations::Caller;

/// Lets a request in, or does not.
pub(super) async fn guard(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let visit = Visit::new(&parts);
    let found = visit.route.as_deref().map(|route| find(route, &parts.method));
    if found == Some(Found::Needs(Needs::Nothing)) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let grant = match edge.auth.grant(&parts.headers).await {
        Ok(grant) => grant,
        Err(refusal) => {
            body::leave(&parts.headers, body, STRANGER_DRAIN_BYTES_MAX, STRANGER_DRAIN_TIMEOUT);
            return visit.of_stranger(&edge, &refusal);
        }
    };
    let checked = match found {
        // There is nothing under this path, and the router says so.
        None => Ok(()),
        Some(Found::Needs(needs)) => check(&grant, needs, &mut parts).await,
        Some(Found::OtherMethods) => return not_allowed(&parts, visit.route.as_deref().unwrap_or_default()).await,
        Some(Found::Nothing) => Err(ApiError::new(Code::Forbidden, "nobody may use this: it is in no list of rules")),
    };
    if let Err(error) = checked {
        body::leave(&parts.headers, body, DRAIN_BYTES_MAX, DRAIN_TIMEOUT);
        return visit.forbidden(&edge, &grant, error);
    }
    let peer = parts.extensions.get::<Peer>().map(|Peer(address)| *address);
    parts.extensions.insert(Caller::of_port(&grant, peer));
    parts.extensions.insert(Arc::clone(&grant));
    censored(&grant, next.run(Request::from_parts(parts, body)).await)
}

async fn check(grant: &Grant, needs: Needs, parts: &mut Parts) -> Result<(), ApiError> {
    match needs {
        Needs::Nothing => Ok(()),
        Needs::InSome(action) => grant.check_some(action),
        Needs::InAll(action) => grant.check_all(action),
        Needs::InQueue(action, place) => {
            let queues = queues(place, parts).await;
            // Without any, the handler says what is missing; nothing is done to any queue.
            grant.check_some(action)?;
            queues.iter().try_for_each(|queue| grant.check(action, queue))
        }
    }
}

/// The queues that a request names, read as the handlers read them. A path names exactly one, if not a good one.
async fn queues(place: Where, parts: &mut Parts) -> Vec<String> {
    if place == Where::Query {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let pairs = pairs.map(|Query(pairs)| pairs).unwrap_or_default();
        return pairs.into_iter().filter(|(name, _)| name == "queue").map(|(_, queue)| queue).collect();
    }
    let name = if place == Where::Path { "queue" } else { "id" };
    // What cannot be decoded names a queue that is nobody's.
    let params = RawPathParams::from_request_parts(parts, &()).await.ok();
    let value =
        params.and_then(|params| params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()));
    let value = value.unwrap_or_default();
    // No queue's name has an underscore.
    let queue = if place == Where::Id { value.split('_').next().unwrap_or_default() } else { &value };
    vec![queue.to_owned()]
}

/// A request at the door.
struct Visit {
    began: Instant,
    method: &'static str,
    /// The pattern of its path; nothing where there is none.
    route: Option<String>,
}

impl Visit {
    fn new(parts: &Parts) -> Self {
        let matched = parts.extensions.get::<MatchedPath>();
        let route = matched.map(|matched| rules::route(matched.as_str(), parts.uri.path()).to_owned());
        Self { began: Instant::now(), method: method_name(&parts.method), route }
    }

    fn of_stranger(self, edge: &Edge, refusal: &Refusal) -> Response {
        edge.auth.tell_stranger(refusal);
        self.refuse(edge, refusal.api_error(), refusal.reason(), refusal.challenge())
    }

    fn forbidden(self, edge: &Edge, grant: &Grant, error: ApiError) -> Response {
        edge.auth.tell(grant, &error);
        self.refuse(edge, error, FORBIDDEN_REASON, FORBIDDEN_CHALLENGE)
    }

    /// Measured as every other answer, and without a span: strangers are not to fill the traces.
    fn refuse(self, edge: &Edge, error: ApiError, reason: &'static str, challenge: &'static str) -> Response {
        let metrics = edge.dispatcher.metrics();
        metrics.caller_refused(reason);
        metrics.answered(self.method, self.route.unwrap_or_default(), error.code.status(), self.began.elapsed());
        let mut answer = error.into_response();
        if answer.status().is_client_error() {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        answer
    }
}

async fn not_allowed(parts: &Parts, route: &str) -> Response {
    let mut answer = problem::method_not_allowed(parts.method.clone()).await.into_response();
    if let Ok(methods) = HeaderValue::from_str(&allowed(route)) {
        answer.headers_mut().insert(header::ALLOW, methods);
    }
    answer
}

/// Takes the names of queues out of a refusal that the caller may not know of.
fn censored(grant: &Grant, answer: Response) -> Response {
    let Some(Refused(error)) = answer.extensions().get::<Refused>() else { return answer };
    let told = grant.censored(error.clone());
    if told.known.len() == error.known.len() { answer } else { told.into_response() }
}
