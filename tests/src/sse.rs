//! Server-sent events, read as a browser reads them.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde_json::Value;

use crate::http::Request;

const SILENCE_MAX: Duration = Duration::from_secs(30);

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// `state` or `progress`.
    pub kind: String,
    /// Where the stream can be taken up again.
    pub id: String,
    /// The task.
    pub data: Value,
}

impl Event {
    /// The state that the event tells.
    #[must_use]
    pub fn state(&self) -> &str {
        self.data["state"].as_str().unwrap_or_default()
    }
}

/// An open stream.
pub struct Events {
    chunks: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    unread: String,
}

impl Events {
    /// Sends the request and makes sure that the answer is a stream of events.
    ///
    /// # Panics
    /// When it is not.
    pub async fn open(request: Request) -> Self {
        let response = request.header("accept", "text/event-stream").response().await;
        assert_eq!(response.status().as_u16(), 200);
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self { chunks: response.bytes_stream().boxed(), unread: String::new() }
    }

    /// The next event; `None` when the server has ended the stream.
    ///
    /// # Panics
    /// When nothing comes for 30 s.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let event = parse(block);
                self.unread = rest.to_owned();
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let chunk = tokio::time::timeout(SILENCE_MAX, self.chunks.next()).await.expect("the stream goes on");
            // A broken connection ends the stream like an orderly end; tests look at what came before.
            let chunk = chunk?.ok()?;
            self.unread.push_str(&String::from_utf8_lossy(&chunk));
        }
    }

    /// Every event until the server ends the stream.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_start).next()
    };
    // A block of comments alone keeps the connection open and tells nothing.
    let data = serde_json::from_str(field("data")?).expect("the data of an event is JSON");
    Some(Event {
        kind: field("event").unwrap_or("message").to_owned(),
        id: field("id").unwrap_or_default().to_owned(),
        data,
    })
}
