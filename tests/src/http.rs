//! The REST edge as a client sees it.

use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use workfleet_link::tls;

use crate::authority::Authority;

/// Where every client of a test begins: it trusts the authorities of this file, or the system's.
///
/// # Panics
/// When the file cannot be used.
pub fn client(ca_file: Option<&Path>) -> reqwest::ClientBuilder {
    let tls = tls::client(ca_file).unwrap_or_else(|error| panic!("{error}"));
    reqwest::Client::builder().tls_backend_preconfigured(tls)
}

/// A GET by a client of its own, from whoever listens on this machine.
///
/// # Errors
/// When nobody answers.
pub async fn get(url: impl AsRef<str>) -> reqwest::Result<reqwest::Response> {
    client(None).build()?.get(url.as_ref()).send().await
}

/// Speaks to one dispatcher.
#[derive(Debug, Clone)]
pub struct Http {
    address: SocketAddr,
    scheme: &'static str,
    client: reqwest::Client,
}

impl Http {
    /// Over TLS where an authority vouches for it.
    pub(crate) fn new(address: SocketAddr, authority: Option<&Authority>) -> Self {
        let ca_file = authority.map(Authority::ca_file);
        let client = client(ca_file.as_deref()).build().expect("its settings fit together");
        Self { address, scheme: if authority.is_some() { "https" } else { "http" }, client }
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let answer = self.client.get(format!("{}/readyz", self.url())).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// The start of every URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// A GET of `path`.
    pub fn get(&self, path: &str) -> Request {
        Request(self.client.get(format!("{}{path}", self.url())))
    }

    /// A POST to `path`.
    pub fn post(&self, path: &str) -> Request {
        Request(self.client.post(format!("{}{path}", self.url())))
    }

    /// A PUT to `path`.
    pub fn put(&self, path: &str) -> Request {
        Request(self.client.put(format!("{}{path}", self.url())))
    }

    /// A DELETE of `path`.
    pub fn delete(&self, path: &str) -> Request {
        Request(self.client.delete(format!("{}{path}", self.url())))
    }

    /// Sends bytes that no well-behaved client would send, and gives back what is answered until the connection ends.
    ///
    /// # Panics
    /// When the dispatcher does not accept a connection.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("the dispatcher accepts connections");
        // A server may close as soon as it has seen enough; what it said before is the answer.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A request that is being put together.
#[derive(Debug)]
#[must_use]
pub struct Request(reqwest::RequestBuilder);

impl Request {
    /// A JSON body.
    pub fn json(self, body: &Value) -> Self {
        Self(self.0.json(body))
    }

    /// A protobuf body.
    pub fn protobuf(self, body: &impl prost::Message) -> Self {
        self.bytes("application/x-protobuf", body.encode_to_vec())
    }

    /// Any body.
    pub fn bytes(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.header("content-type", content_type).body(body))
    }

    /// A header.
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// Sends it.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(self) -> Answer {
        let response = self.response().await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("the answer has a whole body");
        Answer { status, headers, body }
    }

    /// Sends it and leaves the body to be read as it comes.
    pub(crate) async fn response(self) -> reqwest::Response {
        self.0.send().await.expect("the dispatcher answers")
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Makes sure of the status.
    ///
    /// # Panics
    /// When it is another; the message shows the body.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// Makes sure that this is an RFC 9457 problem with this status and code, and gives it.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        for word in ["type", "title", "detail"] {
            assert!(problem[word].as_str().is_some_and(|text| !text.is_empty()), "{word} in {problem}");
        }
        problem
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
