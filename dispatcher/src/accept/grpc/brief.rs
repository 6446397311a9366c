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
    use std::time::Duration;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::Code;
    use tonic::body::Body;
    use tonic::transport::{Endpoint, Server};
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tower::util::MapResponseLayer;

    #[tokio::test]
    async fn a_watch_that_would_go_on_for_ever_ends_with_a_status() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (_reporter, health) = tonic_health::server::health_reporter();
        let brief = |answer: http::Response<Body>| answer.map(|body| Brief::body(body, Duration::from_millis(100)));
        let server = Server::builder().layer(MapResponseLayer::new(brief)).add_service(health);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let channel = Endpoint::from_shared(url).expect("a URL").connect().await.expect("a connection");
        let mut client = HealthClient::new(channel);
        let watch = client.watch(HealthCheckRequest { service: String::new() }).await;
        let mut watch = watch.expect("it is open").into_inner();
        assert!(watch.message().await.expect("no error").is_some(), "what is said in time arrives");
        let ended = tokio::time::timeout(Duration::from_secs(10), watch.message()).await.expect("it ends");
        assert_eq!(ended.expect_err("a status").code(), Code::Unavailable);
        let check = client.check(HealthCheckRequest { service: String::new() }).await;
        check.expect("what ends by itself is left alone, and the connection goes on");
    }
}
