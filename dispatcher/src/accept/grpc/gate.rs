//! The door of gRPC: who asks is seen before a message is read, and whether they may, once it is.
//!
//! Which queue a call is about stands in its messages, so a layer cannot check it. The service therefore has no
//! dispatcher: it has [`Door`]s, and none of them opens without an action and a queue. A call that forgets the check
//! does not compile.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, HeaderValue, Request, Response, header};
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use super::brief::Brief;
use super::status;
use crate::auth::{Action, Auth, FORBIDDEN_REASON, Grant};
use crate::dispatcher::Dispatcher;
use crate::error::{ApiError, Code};
use crate::operations::Caller;

/// Probes have no token.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// The one call of them that goes on for as long as the caller likes.
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
/// How long it goes on for a stranger, who then asks again.
const STRANGERS_WATCH_TIME_MAX: Duration = Duration::from_secs(600);
/// Descriptions, which are for those who may read anything.
const REFLECTION: &str = "/grpc.reflection.";

/// Lets in whom `auth` knows.
#[derive(Clone)]
pub(super) struct Gate {
    auth: Auth,
    dispatcher: Dispatcher,
}

impl Gate {
    pub(super) fn new(auth: Auth, dispatcher: Dispatcher) -> Self {
        Self { auth, dispatcher }
    }

    /// The grant of a request; nothing where none is needed.
    async fn grant<B>(&self, request: &Request<B>) -> Result<Option<Arc<Grant>>, Response<Body>> {
        let path = request.uri().path();
        if path.starts_with(HEALTH) {
            return Ok(None);
        }
        let grant = self.auth.grant(request.headers()).await.map_err(|refusal| {
            self.auth.tell_stranger(&refusal);
            self.dispatcher.metrics().caller_refused(refusal.reason());
            let mut answer: Response<Body> = status::status(&refusal.api_error()).into_http();
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(refusal.challenge()));
            answer
        })?;
        if path.starts_with(REFLECTION)
            && let Err(error) = grant.check_some(Action::Read)
        {
            return Err(status::status(&self.forbidden(&grant, error)).into_http());
        }
        Ok(Some(grant))
    }

    /// Whether the answer must end although the caller does not want it to.
    async fn must_be_brief<B>(&self, request: &Request<B>) -> bool {
        request.uri().path() == HEALTH_WATCH && self.auth.grant(request.headers()).await.is_err()
    }

    /// Counts and logs a refusal.
    fn forbidden(&self, grant: &Grant, error: ApiError) -> ApiError {
        self.auth.tell(grant, &error);
        self.dispatcher.metrics().caller_refused(FORBIDDEN_REASON);
        error
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

/// A service behind the gate.
#[derive(Clone)]
pub(super) struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that is ready, and a copy for the next request.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let gate = self.gate.clone();
        Box::pin(async move {
            // The whole request would have to be shared between threads for a look at its head.
            let (parts, body) = request.into_parts();
            let head = Request::from_parts(parts, ());
            let granted = gate.grant(&head).await;
            let brief = gate.must_be_brief(&head).await;
            let (parts, ()) = head.into_parts();
            request = Request::from_parts(parts, body);
            match granted {
                Ok(grant) => {
                    if let Some(grant) = grant {
                        request.extensions_mut().insert(grant);
                    }
                    let answer = inner.call(request).await?;
                    Ok(if brief { answer.map(|body| Brief::body(body, STRANGERS_WATCH_TIME_MAX)) } else { answer })
                }
                Err(answer) => Ok(answer),
            }
        })
    }
}

/// A dispatcher behind its doors.
pub(super) struct Doors(Gate);

impl Doors {
    pub(super) fn new(gate: Gate) -> Self {
        Self(gate)
    }

    /// The door of one request.
    pub(super) fn of(&self, request: &Extensions) -> Door {
        let peer = request.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr).map(|address| address.ip());
        Door { gate: self.0.clone(), grant: request.get::<Arc<Grant>>().cloned(), peer }
    }
}

/// A dispatcher for one caller.
#[derive(Clone)]
pub(super) struct Door {
    gate: Gate,
    /// Nothing where the gate was not passed, and then nothing opens.
    grant: Option<Arc<Grant>>,
    /// The other end of the connection.
    peer: Option<IpAddr>,
}

impl Door {
    /// The dispatcher, for this action in that queue.
    pub(super) fn open(&self, action: Action, queue: &str) -> Result<&Dispatcher, ApiError> {
        self.checked(|grant| grant.check(action, queue))
    }

    /// The dispatcher, for this action in some queues; the answer has to be filtered by [`sees`](Self::sees).
    pub(super) fn open_some(&self, action: Action) -> Result<&Dispatcher, ApiError> {
        self.checked(|grant| grant.check_some(action))
    }

    fn checked(&self, check: impl FnOnce(&Grant) -> Result<(), ApiError>) -> Result<&Dispatcher, ApiError> {
        let Some(grant) = &self.grant else {
            return Err(ApiError::new(Code::Forbidden, "nobody has looked who asks"));
        };
        check(grant).map_err(|error| self.gate.forbidden(grant, error))?;
        Ok(&self.gate.dispatcher)
    }

    /// Whether the caller may know of this queue.
    pub(super) fn sees(&self, queue: &str) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.sees(queue))
    }

    /// Whether the caller may do this in that queue; for answers of several queues.
    pub(super) fn may(&self, action: Action, queue: &str) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.check(action, queue).is_ok())
    }

    /// The same error without the names of queues that the caller may not know of.
    pub(super) fn censored(&self, error: ApiError) -> ApiError {
        match &self.grant {
            Some(grant) => grant.censored(error),
            None => error.known(Vec::new()),
        }
    }

    /// Who asks, for the operators' log. Nobody gets as far without a grant.
    pub(super) fn caller(&self) -> Caller {
        self.grant.as_ref().map_or_else(|| Caller::new("", ""), |grant| Caller::of_port(grant, self.peer))
    }

    /// Who asks.
    pub(super) fn client(&self) -> String {
        self.grant.as_ref().map_or(String::new(), |grant| grant.name.clone())
    }
}
