//! One attempt at a delivery.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue};
use workfleet_proto::kinds::webhook::{WebhookReply, WebhookRequest};
use workfleet_sdk::{Context, Handler, TaskError};

use crate::client::{Answer, Client};
use crate::error::DeliveryError;
use crate::order::Order;
use crate::resolve::{Resolve, System};
use crate::secrets::{Secret, Secrets};
use crate::settings::Settings;
use crate::sign::signatures;
use crate::span::Span;
use crate::verdict;

/// Most of an answer's body that goes into a failure's message.
const BODY_CHARS_SHOWN_MAX: usize = 200;

/// The handler of the kind `webhook`.
#[derive(Debug)]
pub struct Webhook {
    secrets: Secrets,
    client: Client,
    timeout: Duration,
}

impl Webhook {
    /// With the system's resolver.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with_resolver(settings, Arc::new(System))
    }

    /// With another one, for tests.
    #[must_use]
    pub fn with_resolver(settings: Settings, resolver: Arc<dyn Resolve>) -> Self {
        let (secrets, timeout) = (Secrets::new(settings.secrets.clone()), settings.timeout);
        Self { secrets, client: Client::new(settings, resolver), timeout }
    }

    async fn deliver(&self, ctx: &Context, request: WebhookRequest) -> Result<WebhookReply, DeliveryError> {
        let order = Order::read(request)?;
        let body = order.body(ctx.submitted_at())?;
        let secrets = self.secrets.of(order.secret.as_ref()).await?;
        let span = Span::begin(&order.target, ctx);
        let mut headers = signed(&secrets, ctx.task_id().as_str(), ctx.now(), &body)?;
        span.inject(&mut headers);
        let limit = self.timeout.min(ctx.time_left());
        let answer = self.client.post(&order.target, headers, body, limit).await;
        let answer = answer.inspect_err(|error| span.failed(error))?;
        span.answered(&answer);
        judged(answer, ctx.now())
    }
}

impl Handler<WebhookRequest> for Webhook {
    async fn handle(&self, ctx: Context, request: WebhookRequest) -> Result<WebhookReply, TaskError> {
        self.deliver(&ctx, request).await.map_err(|error| error.failure())
    }
}

/// The specification's headers.
fn signed(secrets: &[Secret], id: &str, now: SystemTime, body: &[u8]) -> Result<HeaderMap, DeliveryError> {
    let unix_seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut headers = HeaderMap::new();
    let pairs = [
        ("webhook-id", Some(id.to_owned())),
        ("webhook-timestamp", Some(unix_seconds.to_string())),
        ("webhook-signature", signatures(secrets, id, unix_seconds, body)),
    ];
    for (name, value) in pairs {
        let Some(value) = value else { continue };
        // An id is written in letters that a header can have; should that change, no half-signed request goes out.
        let value = HeaderValue::try_from(value).map_err(|error| DeliveryError::Unreachable(error.to_string()))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn judged(answer: Answer, now: SystemTime) -> Result<WebhookReply, DeliveryError> {
    let Answer { status, retry_after, duration, body, .. } = answer;
    match verdict::fate(status, retry_after.as_deref(), now) {
        None => Ok(WebhookReply {
            status: status.as_u16().into(),
            duration_ms: u32::try_from(duration.as_millis()).unwrap_or(u32::MAX),
            body,
        }),
        Some(fate) => Err(DeliveryError::Answered { status, body: shown(&body), fate }),
    }
}

/// For a message of one line.
fn shown(body: &str) -> String {
    let plain: String =
        body.trim().chars().take(BODY_CHARS_SHOWN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if plain.is_empty() { plain } else { format!(": {plain}") }
}
