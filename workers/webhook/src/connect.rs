//! Makes connections, and decides to whom.
//!
//! A name is looked up once, what is not public is thrown out of the answer, and one of what is left is connected to. So
//! there is no second look-up that could answer differently, and a name that stands for public and private addresses
//! leads to the public ones.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::address::special;
use crate::resolve::Resolve;
use crate::settings::Addresses;

/// From the look-up to the end of the TLS handshake.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Every address is one that is not called; this is the first.
    #[error("{address} is {range}")]
    Private { address: IpAddr, range: &'static str },
    #[error("{0}")]
    Failed(String),
}

/// Connects over TCP, and TLS for `https`.
#[derive(Clone)]
pub(crate) struct Connector {
    shared: Arc<Shared>,
}

struct Shared {
    addresses: Addresses,
    resolver: Arc<dyn Resolve>,
    /// Or why there is none.
    tls: Result<TlsConnector, String>,
}

impl Connector {
    pub(crate) fn new(addresses: Addresses, resolver: Arc<dyn Resolve>, roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string());
        let tls = config.map(|config| {
            let mut config = config.with_root_certificates(roots).with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            TlsConnector::from(Arc::new(config))
        });
        Self { shared: Arc::new(Shared { addresses, resolver, tls }) }
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<TokioIo<Stream>, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        async move { shared.connect(&uri).await.map(TokioIo::new) }.boxed()
    }
}

impl Shared {
    async fn connect(&self, uri: &Uri) -> Result<Stream, ConnectError> {
        let by = Instant::now() + CONNECT_TIME_MAX;
        let late = |what: &str| ConnectError::Failed(format!("{what} took longer than {CONNECT_TIME_MAX:?}"));
        // IPv6 addresses stand in brackets.
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let found = timeout_at(by, self.look_up(host, port)).await.map_err(|_| late("the look-up of the name"))??;
        let tcp = self.first_that_answers(&self.permitted(found)?, by).await?;
        let peer = tcp.peer_addr().map_err(|error| ConnectError::Failed(error.to_string()))?;
        self.permit(peer.ip())?;
        // Requests are small and written at once; a failure costs some time and nothing else.
        let _ = tcp.set_nodelay(true);
        if !is_tls {
            return Ok(Stream { io: Box::new(tcp), peer });
        }
        let tls = self.tls.as_ref().map_err(|reason| ConnectError::Failed(reason.clone()))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| ConnectError::Failed(error.to_string()))?;
        let shaken = timeout_at(by, tls.connect(name, tcp)).await.map_err(|_| late("the TLS handshake"))?;
        Ok(Stream { io: Box::new(shaken.map_err(|error| ConnectError::Failed(format!("TLS: {error}")))?), peer })
    }

    async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let failed = |error| ConnectError::Failed(format!("the name {host} has no address: {error}"));
        self.resolver.resolve(host, port).await.map_err(failed)
    }

    fn permit(&self, address: IpAddr) -> Result<(), ConnectError> {
        match (self.addresses, special(address)) {
            (Addresses::PublicOnly, Some(range)) => Err(ConnectError::Private { address, range }),
            (Addresses::PublicOnly, None) | (Addresses::Any, _) => Ok(()),
        }
    }

    fn permitted(&self, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, ConnectError> {
        let mut refused = ConnectError::Failed("the name has no address".to_owned());
        let mut permitted = Vec::new();
        // The first refusal is the one that is told.
        for address in found.into_iter().rev() {
            match self.permit(address.ip()) {
                Ok(()) => permitted.push(address),
                Err(error) => refused = error,
            }
        }
        permitted.reverse();
        permitted.truncate(ADDRESSES_MAX);
        if permitted.is_empty() { Err(refused) } else { Ok(permitted) }
    }

    /// Each has its share of the time that is left, so that one that swallows everything does not hide the next.
    async fn first_that_answers(&self, addresses: &[SocketAddr], by: Instant) -> Result<TcpStream, ConnectError> {
        let mut last = ConnectError::Failed("the name has no address".to_owned());
        for (tried, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let share = by.saturating_duration_since(Instant::now()) / left;
            let reason = match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no connection within {share:?}"),
            };
            last = ConnectError::Failed(format!("{address}: {reason}"));
        }
        Err(last)
    }
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A connection, and who is at its other end.
pub(crate) struct Stream {
    io: Box<dyn Bytes>,
    peer: SocketAddr,
}

/// The other end, in an answer's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().extra(Peer(self.peer))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("addresses", &self.shared.addresses).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{ADDRESSES_MAX, ConnectError, Connector, RootCertStore};
    use crate::resolve::System;
    use crate::settings::Addresses;
    use std::net::SocketAddr;
    use std::sync::Arc;

    fn permitted(addresses: Addresses, found: &[&str]) -> Result<Vec<String>, ConnectError> {
        let connector = Connector::new(addresses, Arc::new(System), RootCertStore::empty());
        let found: Vec<SocketAddr> = found.iter().map(|address| address.parse().unwrap()).collect();
        let permitted = connector.shared.permitted(found)?;
        Ok(permitted.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn of_a_name_with_public_and_private_addresses_the_public_ones_are_called() {
        let found = ["127.0.0.1:80", "9.9.9.9:80", "[::1]:80", "[2620:fe::fe]:80", "169.254.169.254:80"];
        assert_eq!(permitted(Addresses::PublicOnly, &found).unwrap(), ["9.9.9.9:80", "[2620:fe::fe]:80"]);
        assert_eq!(permitted(Addresses::Any, &found).unwrap(), found);
    }

    #[test]
    fn where_no_address_is_left_the_first_is_named() {
        let refused = permitted(Addresses::PublicOnly, &["10.0.0.1:80", "[::1]:80"]).unwrap_err();
        assert_eq!(refused.to_string(), "10.0.0.1 is private");
        assert!(matches!(permitted(Addresses::PublicOnly, &[]).unwrap_err(), ConnectError::Failed(_)));
    }

    #[test]
    fn a_name_with_a_thousand_addresses_is_not_tried_a_thousand_times() {
        assert_eq!(permitted(Addresses::PublicOnly, &["9.9.9.9:80"; 1_000]).unwrap().len(), ADDRESSES_MAX);
    }
}
