//! The span and the measurement of every request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, Method};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::propagation::Extractor;
use opentelemetry::trace::FutureExt as _;
use opentelemetry::{Context, KeyValue, global};
use workfleet_link::telemetry::attribute;

use super::Edge;
use super::problem::Refused;
use crate::auth::Grant;
use crate::spans;

/// Runs a request inside its span.
pub(super) async fn observe(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let caller = global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &OfHeaders(request.headers()))
    });
    let name = if route.is_empty() { method.to_owned() } else { format!("{method} {route}") };
    let client = request.extensions().get::<Arc<Grant>>().map_or(String::new(), |grant| grant.name.clone());
    let attributes = vec![
        KeyValue::new(attribute::CLIENT, client),
        KeyValue::new("http.request.method", method),
        KeyValue::new("http.route", route.clone()),
        KeyValue::new("url.path", request.uri().path().chars().take(200).collect::<String>()),
        KeyValue::new("url.scheme", edge.scheme),
    ];
    let span = spans::server(name, edge.callers, &caller, attributes);
    let answer = next.run(request).with_context(span.context().clone()).await;
    let status = answer.status().as_u16();
    span.set("http.response.status_code", i64::from(status));
    span.end(answer.extensions().get::<Refused>().map_or(Ok(()), |refused| Err(&refused.0)));
    edge.dispatcher.metrics().answered(method, route, status, began.elapsed());
    answer
}

/// A stranger's method must not become a label.
pub(super) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "_OTHER",
    }
}

struct OfHeaders<'a>(&'a HeaderMap);

impl Extractor for OfHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
