//! A task from now on: its state, then every change, then its end.
//!
//! Three sources are merged: events, the republished result, and reads every 5 s and after each reconnect, since
//! neither of the first two is a promise. A cursor keeps the reader from being taken backwards, whichever source is
//! late. Intermediate progress may be skipped; an end never is.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_nats::Subscriber;
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Interval;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::{self, State};

use crate::dispatcher::Inner;
use crate::error::{ApiError, Code, unavailable};
use crate::kinds::Queue;
use crate::state::{apply_event, told};
use crate::view::{Cursor, TaskView};
use crate::wait::{end, reread_ticks};

/// A task from now on. Ends after the terminal state.
pub struct Watch {
    over: bool,
    views: Pin<Box<dyn Stream<Item = Result<TaskView, ApiError>> + Send>>,
}

impl Watch {
    /// Whether the reader has seen the end already, so that nothing will come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over
    }
}

impl Stream for Watch {
    type Item = Result<TaskView, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.views.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// Begins to watch.
///
/// # Errors
/// When nobody knows the task, too many watch, or the broker does not answer.
pub(crate) async fn watch(
    inner: Arc<Inner>,
    queue: Arc<Queue>,
    id: TaskId,
    after: Option<Cursor>,
    permit: OwnedSemaphorePermit,
) -> Result<Watch, ApiError> {
    let events = inner.subscribe(inner.broker.names.event(&id)).await?;
    let done = inner.subscribe(inner.broker.names.done(&id)).await?;
    let view = inner.found(&queue, &id).await?;
    let watcher = Watcher {
        reconnects: inner.broker.reconnects(),
        first: is_news(after.map(|after| (after, None)), &view).then(|| view.clone()),
        // Whoever has seen this very end has nothing to wait for.
        over: view.is_end(),
        seen: after.map_or(view.cursor, |after| after.max(view.cursor)),
        view,
        reread: reread_ticks(),
        events,
        done,
        inner,
        queue,
        id,
        _permit: permit,
    };
    let over = watcher.over && watcher.first.is_none();
    let views = stream::unfold(watcher, |mut watcher| async move {
        let next = watcher.next().await?;
        Some((next, watcher))
    });
    Ok(Watch { over, views: Box::pin(views) })
}

/// Whether a reader who stood at `seen` (with the state seen there) is told of `view`.
fn is_news(seen: Option<(Cursor, Option<State>)>, view: &TaskView) -> bool {
    let Some((cursor, state)) = seen else { return true };
    if view.is_end() {
        return view.cursor != cursor;
    }
    let moved_on = state.is_some_and(|state| view.cursor == cursor && state.may_become(view.state.0));
    view.cursor > cursor || moved_on
}

/// Whether a reader would see no difference.
fn is_same(before: &TaskView, now: &TaskView) -> bool {
    (before.state, before.attempt, &before.progress) == (now.state, now.attempt, &now.progress)
        && before.not_before == now.not_before
}

struct Watcher {
    inner: Arc<Inner>,
    queue: Arc<Queue>,
    id: TaskId,
    events: Subscriber,
    done: Subscriber,
    reconnects: watch::Receiver<u64>,
    reread: Interval,
    /// The task as the reader knows it; events are applied to it.
    view: TaskView,
    /// What the reader is told first, if that is news.
    first: Option<TaskView>,
    /// Where the reader stands.
    seen: Cursor,
    over: bool,
    /// Held as long as the reader is there.
    _permit: OwnedSemaphorePermit,
}

/// What happened.
enum Heard {
    Event(v1::Event),
    End(Box<v1::Result>),
    /// Time to read again.
    Tick,
    /// Something that says nothing.
    Noise,
    Closed,
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<TaskView, ApiError>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        while !self.over {
            let view = match self.heard().await {
                Heard::Event(event) => {
                    let mut view = self.view.clone();
                    apply_event(&mut view, &event);
                    view
                }
                Heard::End(result) => self.inner.view_of_result(&self.queue, *result).await,
                Heard::Tick => match self.reread().await {
                    Ok(Some(view)) => view,
                    Ok(None) => continue,
                    Err(error) => {
                        self.over = true;
                        return Some(Err(error));
                    }
                },
                Heard::Noise => continue,
                Heard::Closed => {
                    self.over = true;
                    return Some(Err(unavailable("the connection to the broker is closed".to_owned())));
                }
            };
            if is_news(Some((self.seen, Some(self.view.state.0))), &view) {
                self.seen = view.cursor;
                self.over = view.is_end();
                // A lease that was renewed is no news, though it moves the cursor.
                let same = is_same(&self.view, &view);
                self.view = view.clone();
                if !same {
                    return Some(Ok(view));
                }
            }
        }
        None
    }

    async fn heard(&mut self) -> Heard {
        tokio::select! {
            // An end first: what was said before it no longer matters.
            biased;
            message = self.done.next() => match message {
                Some(message) => end(&message).map_or(Heard::Noise, |result| Heard::End(Box::new(result))),
                None => Heard::Closed,
            },
            message = self.events.next() => match message {
                Some(message) => told(message.payload).map_or(Heard::Noise, Heard::Event),
                None => Heard::Closed,
            },
            _ = self.reconnects.changed() => Heard::Tick,
            _ = self.reread.tick() => Heard::Tick,
        }
    }

    /// The task as it is now; nothing while the broker is away.
    async fn reread(&self) -> Result<Option<TaskView>, ApiError> {
        if !self.inner.broker.is_connected() {
            return Ok(None);
        }
        match self.inner.found(&self.queue, &self.id).await {
            Ok(view) => Ok(Some(view)),
            Err(error) if error.code == Code::BrokerUnavailable => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
