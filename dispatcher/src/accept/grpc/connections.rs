//! Connections, a bounded number of them: the next one waits in the listener's backlog until another has gone.
//!
//! One that does not begin to speak HTTP/2 is closed, and so is one that comes to no end with its TLS handshake.
//! Keep-alive pings begin only behind the preface, so without that a stranger could hold every place by saying nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::super::{listener::Listener, stream::Stream};
use crate::limits::{CONNECTIONS_MAX, HEADER_READ_TIMEOUT};

/// Pause after an accept that failed, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// `PRI * HTTP/2.0 SM`, with its line ends (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;

/// The connections that `listener` takes.
pub(super) fn accept(listener: Listener) -> impl futures::Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    stream::unfold((listener, places), |(listener, places)| async move {
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        let stream = next(&listener).await;
        Some((Ok(Connection::new(stream, place)), (listener, places)))
    })
}

async fn next(listener: &Listener) -> Stream {
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            Err(error) => {
                tracing::warn!(%error, "a gRPC connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection and its place among those that there may be.
pub(super) struct Connection {
    stream: Stream,
    /// How long the preface may still take; none once it is there.
    preface: Option<Pin<Box<Sleep>>>,
    read_bytes: usize,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: Stream, place: OwnedSemaphorePermit) -> Self {
        let preface = Some(Box::pin(tokio::time::sleep(HEADER_READ_TIMEOUT)));
        Self { stream, preface, read_bytes: 0, _place: place }
    }

    /// An error once the time for the preface is over.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(preface) = &mut self.preface else { return Poll::Pending };
        preface.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }

    /// The same for a write: it waits for a handshake, and nothing else would end it.
    fn poll_late_greeting(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.stream.is_greeting() { self.poll_late(cx) } else { Poll::Pending }
    }
}

impl Connected for Connection {
    type ConnectInfo = <TcpStream as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.tcp().map_or(TcpConnectInfo { local_addr: None, remote_addr: None }, TcpStream::connect_info)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_late(cx) {
            return Poll::Ready(Err(error));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.preface.is_some() {
            self.read_bytes += buffer.filled().len() - before;
            if self.read_bytes >= PREFACE_BYTES {
                self.preface = None;
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.poll_late_greeting(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.poll_late_greeting(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
