//! Direct calls.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;
use workfleet_proto::limits::PAYLOAD_BYTES_MAX;
use workfleet_proto::v1;

use super::Edge;
use super::answer;
use super::body::Unread;
use super::parts::{QueryPairs, QueuePath, accepted};
use crate::admit;
use crate::call::{Call, Called};
use crate::error::ApiError;

/// `POST /v1/queues/{queue}/calls`
pub(super) async fn call(
    State(edge): State<Edge>,
    QueuePath(queue): QueuePath,
    query: QueryPairs,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    let mut timeout = None;
    for (name, value) in query.iter() {
        if name != "timeout" {
            let shown: String = name.chars().take(80).collect();
            let error = ApiError::invalid_option(&shown, "there is no such option");
            return Err(error.known(vec!["timeout".to_owned()]));
        }
        timeout = Some(admit::duration("timeout", value)?);
    }
    let (payload, _held) = body.payload(PAYLOAD_BYTES_MAX, &edge.dispatcher.inner().large).await?;
    let called = edge.dispatcher.call(Call { queue, payload, timeout }).await?;
    Ok(answer::view::<_, v1::CallResponse>(StatusCode::OK, accepted(&headers), CallView::from(called)))
}

/// The answer to a call.
#[derive(Serialize)]
struct CallView {
    output: Box<RawValue>,
    worker: String,
    /// So that nobody takes it for a task.
    delivery: &'static str,
    #[serde(skip)]
    bytes: bytes::Bytes,
}

impl From<Called> for CallView {
    fn from(called: Called) -> Self {
        let Called { output, worker } = called;
        Self { output: output.json, worker, delivery: "at_most_once", bytes: output.protobuf }
    }
}

impl From<CallView> for v1::CallResponse {
    fn from(view: CallView) -> Self {
        Self { output: view.bytes, output_json: view.output.get().to_owned(), worker: view.worker }
    }
}
