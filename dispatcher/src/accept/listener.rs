//! A port, in clear or over TLS.
//!
//! TLS here rather than by a proxy beside each dispatcher: a token that travels in clear between a proxy and its
//! dispatcher is one that can be read there, and a fleet without a mesh would have none.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use workfleet_link::tls;

use super::certificate::Certificate;
use super::stream::Stream;

/// What is spoken behind TLS, as a client is told while both agree on it (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2.
    Grpc,
}

/// Takes connections.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Listens; with a certificate, nothing is served in clear.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(
        address: SocketAddr,
        protocol: Protocol,
        certificate: Option<&Arc<Certificate>>,
    ) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        Ok(Self { tcp, address, tls: certificate.map(|certificate| acceptor(protocol, Arc::clone(certificate))) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How its URLs begin.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The next connection. Over TLS the two sides agree only when the first byte is read or written.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        let (tcp, _) = self.tcp.accept().await?;
        // Answers are small; waiting for more of them only makes them late. Where it cannot be set, they still go.
        let _ = tcp.set_nodelay(true);
        Ok(match &self.tls {
            Some(acceptor) => Stream::Greeting(Box::new(acceptor.accept(tcp))),
            None => Stream::Plain(tcp),
        })
    }
}

fn acceptor(protocol: Protocol, certificate: Arc<Certificate>) -> TlsAcceptor {
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![match protocol {
        Protocol::Http => b"http/1.1".to_vec(),
        Protocol::Grpc => b"h2".to_vec(),
    }];
    TlsAcceptor::from(Arc::new(config))
}
