//! Answers that end after a while, whatever the service wants: for those who did not say who they are.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Frame;
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

/// A body that ends in time.
pub(super) struct Brief {
    body: Body,
    end: Pin<Box<Sleep>>,
}

impl Brief {
    /// The same body; after `time_max` come a status that asks to begin anew, and the end.
    pub(super) fn body(body: Body, time_max: Duration) -> Body {
        Body::new(Self { body, end: Box::pin(tokio::time::sleep(time_max)) })
    }
}

impl hyper::body::Body for Brief {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(self.end.as_mut().poll(cx));
        let status = Status::unavailable("a watch without a token does not go on for ever: begin another");
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::Brief;
    use bytes::Bytes;
    use hyper::body::{Body as _, Frame};
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;
    use tonic::Status;
    use tonic::body::Body;

    /// Says one thing, and then nothing for ever.
    struct Endless(Option<Bytes>);

    impl hyper::body::Body for Endless {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.take().map_or(Poll::Pending, |said| Poll::Ready(Some(Ok(Frame::data(said)))))
        }
    }

    #[tokio::test]
    async fn what_would_go_on_for_ever_ends_with_a_status() {
        let mut body = Brief::body(Body::new(Endless(Some(Bytes::from_static(b"serving")))), Duration::from_millis(50));
        let mut next =
            async || poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.expect("more").expect("no error");
        assert_eq!(next().await.into_data().expect("data comes first"), "serving");
        let trailers = next().await.into_trailers().expect("the end");
        assert_eq!(trailers["grpc-status"], "14");
    }
}
