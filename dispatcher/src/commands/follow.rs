//! Follows a task to its end over server-sent events.
//!
//! A connection that breaks is no news about the task: it is taken up again behind the last event, with
//! `Last-Event-ID`, until nobody has answered for a while.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;

use super::fault::{Fault, Problem};
use super::progress::Progress;
use super::remote::{Client, Remote, next_bytes};
use super::sse::{Event, Parser};
use super::task::Task;

/// How long nobody may answer before we give up.
const UNANSWERED_MS_MAX: u64 = 60_000;
const RECONNECT_DELAY_MS_MIN: u64 = 100;
const RECONNECT_DELAY_MS_MAX: u64 = 5_000;

/// Calls `on_change` with every change, the end included, and returns the ended task.
pub(crate) async fn follow(
    client: &Client,
    id: &str,
    mut on_change: impl FnMut(&Task) -> Result<(), Fault>,
) -> Result<Task, Fault> {
    let mut place = Place::default();
    loop {
        match read(client, id, &mut place, &mut on_change).await {
            Ok(Some(task)) => return Ok(task),
            Ok(None) => {}
            Err(fault) if fault.is_passing() && place.may_try_again() => {}
            Err(fault) => return Err(fault),
        }
        place.pause().await;
    }
}

/// Follows a task for at most `wait`, prints how it ended, and makes a fault of an end without an output.
pub(crate) async fn tell_end(client: &Client, id: &str, wait: Duration, remote: &Remote) -> Result<(), Fault> {
    let progress = (!remote.json && std::io::stderr().is_terminal()).then(|| Progress::start("stored"));
    let following = follow(client, id, |task| {
        progress.iter().for_each(|progress| progress.show(task));
        Ok(())
    });
    let followed = tokio::time::timeout(wait, following).await;
    progress.iter().for_each(Progress::clear);
    let Ok(task) = followed else {
        let wait = humantime::format_duration(wait);
        return Err(Fault::TimedOut(format!(
            "task {id} has not ended within {wait}; it goes on: workfleet watch {id}"
        )));
    };
    let task = task?;
    task.print(remote)?;
    task.verdict()
}

/// How far the stream has been read, and how the connection does.
#[derive(Debug, Default)]
struct Place {
    cursor: Option<String>,
    answered: Option<Instant>,
    failures: u32,
}

impl Place {
    fn reached(&mut self, event: &Event) {
        self.answered = Some(Instant::now());
        self.failures = 0;
        if event.id.is_some() {
            self.cursor.clone_from(&event.id);
        }
    }

    /// The very first connection is not tried again: a wrong URL should be said at once.
    fn may_try_again(&self) -> bool {
        self.answered.is_some_and(|last| last.elapsed() < Duration::from_millis(UNANSWERED_MS_MAX))
    }

    async fn pause(&mut self) {
        let delay_ms = RECONNECT_DELAY_MS_MIN.saturating_mul(1 << self.failures.min(10)).min(RECONNECT_DELAY_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
}

/// One connection; `None` when it ended before the task did.
async fn read(
    client: &Client,
    id: &str,
    place: &mut Place,
    on_change: &mut impl FnMut(&Task) -> Result<(), Fault>,
) -> Result<Option<Task>, Fault> {
    let mut response = client.events(id, place.cursor.as_deref()).await?;
    if response.status() == StatusCode::NO_CONTENT {
        // The end has been sent already, on a connection that broke with it.
        let task = Task::read(client.get(&["v1", "tasks", id]).await?)?;
        on_change(&task)?;
        return Ok(Some(task));
    }
    let mut parser = Parser::default();
    while let Some(bytes) = next_bytes(&mut response, client).await? {
        for event in parser.feed(&bytes)? {
            place.reached(&event);
            let task = Task::read(document(&event)?)?;
            on_change(&task)?;
            if task.has_ended() {
                return Ok(Some(task));
            }
        }
    }
    Ok(None)
}

fn document(event: &Event) -> Result<Value, Fault> {
    let unreadable = |error| Fault::Unreachable(format!("an event that is not JSON: {error}"));
    if event.name == "error" {
        let problem: Problem = serde_json::from_str(&event.data).map_err(unreadable)?;
        return Err(Fault::Refused(Box::new(problem)));
    }
    serde_json::from_str(&event.data).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::follow;
    use crate::commands::Fault;
    use crate::commands::remote::Remote;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    const GONE: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    fn event(cursor: &str, state: &str) -> String {
        format!(": comment\n\nevent: state\nid: {cursor}\ndata: {{\"id\":\"a_1\",\"state\":\"{state}\"}}\n\n")
    }

    /// Gives each connection the next answer, and returns the requests.
    async fn serve(listener: TcpListener, answers: Vec<String>) -> Vec<String> {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.expect("a request"));
            }
            stream.write_all(answer.as_bytes()).await.expect("an answer");
            requests.push(String::from_utf8(request).expect("text").to_lowercase());
        }
        requests
    }

    #[tokio::test]
    async fn a_cut_connection_is_taken_up_behind_the_last_event() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address")).parse().expect("a URL");
        let answers = vec![
            format!("{HEAD}{}", event("1.1.1", "running")),
            GONE.to_owned(),
            format!("{HEAD}{}", event("1.1.end", "completed")),
        ];
        let serving = tokio::spawn(serve(listener, answers));
        let client = Remote { url, token_file: None, ca_file: None, json: false }.client().expect("a client");
        let mut states = Vec::new();
        let task = follow(&client, "a_1", |task| {
            states.push(task.fields.state.clone());
            Ok(())
        })
        .await
        .expect("the end");
        assert!(task.has_ended());
        assert_eq!(states, ["running", "completed"]);
        let requests = serving.await.expect("served");
        assert!(!requests[0].contains("last-event-id"), "{}", requests[0]);
        assert!(requests[2].contains("last-event-id: 1.1.1\r\n"), "{}", requests[2]);
    }

    #[tokio::test]
    async fn a_wrong_url_is_said_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address")).parse().expect("a URL");
        drop(listener);
        let client = Remote { url, token_file: None, ca_file: None, json: false }.client().expect("a client");
        let fault = follow(&client, "a_1", |_| Ok(())).await.expect_err("nobody listens");
        assert!(matches!(&fault, Fault::Unreachable(text) if text.contains("workfleet serve")), "{fault}");
    }
}
