//! A task's life as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt as _, stream};
use workfleet_proto::v1;

use super::Edge;
use super::parts::{IdPath, single};
use super::tasks::note_task;
use crate::error::ApiError;
use crate::limits::SSE_COMMENT_INTERVAL;
use crate::view::{Cursor, TaskView};
use crate::watch::Watch;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long a browser waits before it connects again.
const RECONNECT_TIME: Duration = Duration::from_secs(1);

/// `GET /v1/tasks/{id}/events`: the state now, every change, and the end; then the stream ends.
pub(super) async fn follow(
    State(edge): State<Edge>,
    IdPath(id): IdPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    note_task(id.as_str());
    // A cursor that is none of ours is no cursor: the reader is told everything.
    let after = single(&headers, &LAST_EVENT_ID, "Last-Event-ID")?.and_then(|text| text.trim().parse::<Cursor>().ok());
    let watch = edge.dispatcher.watch(&id, after).await?;
    if watch.is_over() {
        // An EventSource comes again for ever, unless it is told that there is nothing more.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let events = events(watch).take_until(edge.shutdown.clone().cancelled_owned());
    let keep_alive = KeepAlive::new().interval(SSE_COMMENT_INTERVAL).text("alive");
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

fn events(watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    stream::unfold((watch, None), |(mut watch, before)| async move {
        let (event, now) = match watch.next().await? {
            Ok(view) => {
                let now = (view.state.0, view.attempt);
                (event(&view, before), Some(now))
            }
            Err(error) => (problem(&error), before),
        };
        Some((Ok(event), (watch, now)))
    })
}

/// `progress` where nothing but the progress is new.
fn event(view: &TaskView, before: Option<(v1::State, u32)>) -> Event {
    let running = view.state.0 == v1::State::Running && before == Some((view.state.0, view.attempt));
    let name = if running { "progress" } else { "state" };
    data(Event::default().event(name).id(view.cursor.to_string()).retry(RECONNECT_TIME), view)
}

/// The stream breaks off; the reader may come again with its cursor.
fn problem(error: &ApiError) -> Event {
    data(Event::default().event("error"), &error.problem())
}

fn data(event: Event, value: &impl serde::Serialize) -> Event {
    match serde_json::to_string(value) {
        Ok(text) => event.data(text),
        Err(error) => {
            tracing::error!(%error, "an event cannot be written");
            event
        }
    }
}
