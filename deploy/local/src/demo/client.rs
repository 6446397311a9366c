//! A client of the dispatcher's REST face, as small as any user's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::mails::Mail;
use super::samples::{Sample, Way};
use crate::error::LocalError;

/// What is read of a task.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) attempt: u32,
    pub(super) attempts_max: u32,
    pub(super) submitted_at: Option<Timestamp>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) progress: Option<Progress>,
    pub(super) output: Option<Value>,
    pub(super) failure: Option<Failure>,
    pub(super) trace_id: Option<String>,
    pub(super) parent_id: Option<String>,
    #[serde(default)]
    pub(super) children: Vec<String>,
}

/// How far it is.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Progress {
    pub(super) percent: u32,
    pub(super) message: String,
}

/// Why it failed.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
}

/// One dispatcher.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Task {
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "failed" | "cancelled" | "expired")
    }

    /// The thumbnail's bytes.
    pub(super) fn image(&self) -> Option<Vec<u8>> {
        BASE64.decode(self.text("image")?).ok()
    }

    /// A text in its output.
    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.output.as_ref()?.get(field)?.as_str()
    }
}

impl Client {
    pub(super) fn new(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap_or_default();
        Self { http, url: url.to_owned() }
    }

    /// Hands in a picture; the webhook that tells of its end goes to `notify`.
    pub(super) async fn picture(&self, sample: &Sample, notify: &str) -> Result<Task, LocalError> {
        let (width_px, height_px) = sample.box_px;
        let mut body = json!({ "width_px": width_px, "height_px": height_px, "notify": { "url": notify } });
        match sample.way {
            Way::Task => body["image"] = BASE64.encode(&sample.bytes).into(),
            Way::Upload => {
                let blob = format!("thumbnail_{}", sample.name);
                let request = self.http.put(format!("{}/v1/blobs/{blob}", self.url));
                accepted(sample.name, request.body(sample.bytes.to_vec())).await?;
                body["blob"] = blob.into();
            }
        }
        for (name, value) in [("fit", sample.fit), ("format", sample.format)] {
            if !value.is_empty() {
                body[name] = value.into();
            }
        }
        self.submit(sample.name, "thumbnail", &body).await
    }

    /// Hands in a mail.
    pub(super) async fn mail(&self, mail: &Mail) -> Result<Task, LocalError> {
        let mut body = json!({ "to": [mail.to], "subject": mail.subject, "text": mail.text });
        if !mail.html.is_empty() {
            body["html"] = mail.html.into();
        }
        self.submit(mail.name, "email", &body).await
    }

    async fn submit(&self, name: &str, queue: &str, body: &Value) -> Result<Task, LocalError> {
        let request = self.http.post(format!("{}/v1/queues/{queue}/tasks", self.url)).json(body);
        accepted(name, request).await?.json().await.map_err(LocalError::http)
    }

    /// Where a task is.
    pub(super) async fn get(&self, id: &str) -> Result<Task, LocalError> {
        let response = self.http.get(format!("{}/v1/tasks/{id}", self.url)).send().await.map_err(LocalError::http)?;
        response.error_for_status().map_err(LocalError::http)?.json().await.map_err(LocalError::http)
    }

    /// Calls `seen` with each state of a task that comes, until the server ends the stream.
    pub(super) async fn events(&self, id: &str, mut seen: impl FnMut(Task)) -> Result<(), LocalError> {
        let request = self.http.get(format!("{}/v1/tasks/{id}/events", self.url));
        let response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(LocalError::http)?;
        let mut pieces = response.bytes_stream();
        let mut text = Vec::new();
        while let Some(piece) = pieces.next().await {
            text.extend_from_slice(&piece.map_err(LocalError::http)?);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                if let Some(task) = data(&line) {
                    seen(task);
                }
            }
        }
        Ok(())
    }
}

/// The answer to `request`, or an error with all that it says.
async fn accepted(name: &str, request: reqwest::RequestBuilder) -> Result<reqwest::Response, LocalError> {
    let response = request.send().await.map_err(LocalError::http)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response.text().await.unwrap_or_default();
    Err(LocalError::Refused(format!("{name} was refused with {status}: {text}")))
}

/// The task in a line `data: {...}`; the dispatcher writes each in one line.
fn data(line: &[u8]) -> Option<Task> {
    serde_json::from_slice(line.strip_prefix(b"data:")?).ok()
}

#[cfg(test)]
mod tests {
    use super::data;

    #[test]
    fn of_an_event_stream_the_data_lines_matter() {
        let line = br#"data: {"id":"thumbnail_x","state":"running","attempt":1,"attempts_max":5,"submitted_at":"2026-11-23T14:00:00.123Z","progress":{"percent":40,"message":"decoded"},"labels":{}}"#;
        let task = data(line).unwrap();
        assert_eq!((task.state.as_str(), task.progress.unwrap().percent), ("running", 40));
        assert_eq!(task.submitted_at.unwrap().as_millisecond() % 1000, 123);
        assert!(data(b"event: state\n").is_none() && data(b": still here\n").is_none());
    }
}
