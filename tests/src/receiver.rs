//! A receiver of webhooks that is as rude as a test wants it: what the webhook worker meets in the world.
//!
//! It speaks HTTP by hand, over plain sockets: no server library would send half an answer, or reset a connection, on
//! request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::wait::eventually;

/// Largest request that is read.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// Pause between two bytes of a slow body.
const SLOW_PAUSE: Duration = Duration::from_millis(100);

/// What the receiver does with a call.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// Answers with this status.
    Status(u16),
    /// Answers with this status and a header.
    Header(u16, &'static str, String),
    /// Answers 204, after a while.
    After(Duration),
    /// Says nothing and keeps the connection.
    Hang,
    /// Resets the connection.
    Reset,
    /// Answers with this status, and a body that never ends.
    EndlessBody(u16),
    /// Answers with this status, and a body of a byte now and then.
    SlowBody(u16),
}

/// A call as it came in.
#[derive(Debug, Clone)]
pub struct Call {
    /// When it had come in whole.
    pub at: Instant,
    /// Method and path.
    pub line: String,
    /// Headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Call {
    /// A header, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

/// Receives for as long as it lives.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    script: Vec<Reaction>,
    calls: Mutex<Vec<Call>>,
    connections: AtomicUsize,
}

impl Receiver {
    /// Begins to receive. The first call meets the first reaction, and so on; the last one is for all that come after.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(script: impl IntoIterator<Item = Reaction>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback interface has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let script: Vec<Reaction> = script.into_iter().collect();
        let shared = Arc::new(Shared { script, calls: Mutex::default(), connections: AtomicUsize::new(0) });
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, _serving: serving }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every call so far, in the order in which they came.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this many calls have come, and gives them.
    pub async fn called(&self, times: usize) -> Vec<Call> {
        eventually(&format!("{times} calls come"), async || {
            let calls = self.calls();
            (calls.len() >= times).then_some(calls)
        })
        .await
    }

    /// How many connections were made, whether anything was sent or not.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with the receiver, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Some(call) = read(&mut stream).await {
        let reaction = {
            let mut calls = shared.calls.lock().unwrap_or_else(PoisonError::into_inner);
            let reaction = shared.script.get(calls.len()).or(shared.script.last()).cloned();
            calls.push(call);
            reaction
        };
        let Some(reaction) = reaction else { return };
        if !react(&mut stream, reaction).await {
            return;
        }
    }
}

/// Whether the connection is as good as before.
async fn react(stream: &mut TcpStream, reaction: Reaction) -> bool {
    let answer = match reaction {
        Reaction::Status(status) => format!("HTTP/1.1 {status} So\r\ncontent-length: 4\r\n\r\nsaid"),
        Reaction::Header(status, name, value) => {
            format!("HTTP/1.1 {status} So\r\n{name}: {value}\r\ncontent-length: 0\r\n\r\n")
        }
        Reaction::After(time) => {
            tokio::time::sleep(time).await;
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        }
        Reaction::Hang => return std::future::pending().await,
        Reaction::Reset => {
            // With nothing to linger for, closing is a reset.
            let _ = stream.set_zero_linger();
            return false;
        }
        Reaction::EndlessBody(status) => {
            let _ = stream.write_all(chunked(status).as_bytes()).await;
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
            return false;
        }
        Reaction::SlowBody(status) => {
            let _ = stream.write_all(chunked(status).as_bytes()).await;
            while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
                tokio::time::sleep(SLOW_PAUSE).await;
            }
            return false;
        }
    };
    stream.write_all(answer.as_bytes()).await.is_ok()
}

fn chunked(status: u16) -> String {
    format!("HTTP/1.1 {status} So\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n")
}

/// The next request of a connection; `None` when it ends.
async fn read(stream: &mut TcpStream) -> Option<Call> {
    let mut bytes = Vec::new();
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = head {
            let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let mut lines = text.lines().map(str::to_owned);
            let line = lines.next()?;
            let headers: BTreeMap<String, String> = lines
                .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
                .collect();
            let length: usize = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let body = bytes.get(end + 4..end + 4 + length);
            if let Some(body) = body {
                return Some(Call { at: Instant::now(), line, headers, body: body.to_vec() });
            }
        }
        if bytes.len() > REQUEST_BYTES_MAX || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
