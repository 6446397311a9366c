//! x
use std::pin::Pin;
use std::task::{Context, Poll};
use futures::Stream;
use crate::error::ApiError;
use crate::view::TaskView;

/// A task from now on. Ends after the terminal state.
pub struct Watch {
    inner: Pin<Box<dyn Stream<Item = Result<TaskView, ApiError>> + Send>>,
}

impl Stream for Watch {
    type Item = Result<TaskView, ApiError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(cx)
    }
}
