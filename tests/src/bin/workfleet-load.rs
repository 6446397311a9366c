//! Submits tasks to a fleet over REST, waits for every one of them, and says what became of them.
//!
//! Made to run as a pod: what is tried is the way through the Service, with dispatchers and brokers that come and go. So
//! a submit is repeated under its idempotency key until it is stored, and a task that cannot be read is asked for again.
//! It writes a line of JSON per second, one per ended task, and a summary last. `bench` tools that exist measure
//! requests; here a request is nothing and the end of its task is all.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use futures::StreamExt as _;
use image::{DynamicImage, ImageFormat, RgbImage};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// Longest time of one request; a dispatcher that goes away must not hold a submit for longer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// How long to wait before a request is repeated.
const REPEAT_PAUSE: Duration = Duration::from_millis(250);
/// How long to wait before all open tasks are looked at once more.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Requests under way at once, for submits and for looks each.
const REQUESTS_MAX: usize = 16;
/// Tasks that are shown in full because something is odd about them.
const ODD_SHOWN_MAX: usize = 20;
/// Width and height of the pictures that are sent.
const IMAGE_PX: u32 = 96;

/// Submit tasks, wait for all of them, say what became of them
#[derive(Debug, Parser)]
struct Load {
    /// Where the dispatcher's REST is
    #[arg(long)]
    url: String,
    /// A file with the bearer token
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// PEM file with the certificates to trust
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// The queue; without `--input`, its tasks are pictures
    #[arg(long, default_value = "thumbnail")]
    queue: String,
    /// Every task's input, as JSON
    #[arg(long)]
    input: Option<String>,
    /// A word that no other run uses; the idempotency keys begin with it
    #[arg(long)]
    run: String,
    /// How many tasks
    #[arg(long, default_value_t = 1)]
    tasks: usize,
    /// Submits per second
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Seconds after which a task that has not ended is lost
    #[arg(long, default_value_t = 300)]
    wait_s: u64,
}

/// What became of a task.
#[derive(Debug)]
enum End {
    Refused(Value),
    Ended(Value),
    Lost(String),
}

/// Everything that the requests share.
struct Run {
    load: Load,
    client: Client,
    token: Option<String>,
    begun: Instant,
    accepted: AtomicUsize,
    repeated: AtomicUsize,
    first_ms: Mutex<Option<u128>>,
    ends: Mutex<Vec<End>>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let load = Load::parse();
    match Run::new(load) {
        Ok(run) => Arc::new(run).go().await,
        Err(problem) => {
            say(&json!({ "problem": problem }));
            ExitCode::from(2)
        }
    }
}

impl Run {
    fn new(load: Load) -> Result<Self, String> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let builder = workfleet_tests::client(load.ca_file.as_deref()).timeout(REQUEST_TIME_MAX);
        let token = load.token_file.as_deref().map(read).transpose()?;
        let token = token.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        let client = builder.build().map_err(|error| error.to_string())?;
        let begun = Instant::now();
        let (accepted, repeated, first_ms, ends) = Default::default();
        Ok(Self { load, client, token, begun, accepted, repeated, first_ms, ends })
    }

    async fn go(self: Arc<Self>) -> ExitCode {
        let progress = tokio::spawn(Arc::clone(&self).tell());
        let (stored, mut ids) = tokio::sync::mpsc::unbounded_channel();
        let submits = tokio::spawn(Arc::clone(&self).submit_all(stored));
        let mut open = Vec::new();
        // Looks at what is open, over and over, while new ones come.
        loop {
            while let Ok(id) = ids.try_recv() {
                open.push(id);
            }
            if open.is_empty() && submits.is_finished() && ids.is_empty() {
                break;
            }
            open = self.look(open).await;
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        progress.abort();
        self.summary()
    }

    async fn submit_all(self: Arc<Self>, stored: tokio::sync::mpsc::UnboundedSender<String>) {
        let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / self.load.rate));
        let turns = Arc::new(tokio::sync::Semaphore::new(REQUESTS_MAX));
        let mut submits = tokio::task::JoinSet::new();
        for number in 0..self.load.tasks {
            pace.tick().await;
            let turn = Arc::clone(&turns).acquire_owned().await;
            let (run, stored) = (Arc::clone(&self), stored.clone());
            submits.spawn(async move {
                if let Some(id) = run.submit(number).await {
                    let _ = stored.send(id);
                }
                drop(turn);
            });
        }
        submits.join_all().await;
    }

    /// Repeats one submit until it is stored or refused for good.
    async fn submit(&self, number: usize) -> Option<String> {
        let input = self.load.input.clone().unwrap_or_else(|| picture(number).to_string());
        let path = format!("/v1/queues/{}/tasks", self.load.queue);
        while !self.late() {
            let request = self.client.post(format!("{}{path}", self.load.url));
            let request = request.header("content-type", "application/json").body(input.clone());
            let key = format!("{}-{number}", self.load.run);
            match self.ask(request.header("idempotency-key", key)).await {
                Ok((StatusCode::ACCEPTED | StatusCode::OK, task)) => {
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                    return task["id"].as_str().map(str::to_owned);
                }
                Ok((status, _)) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {}
                Ok((_, problem)) => {
                    self.end(End::Refused(problem));
                    return None;
                }
                Err(_) => {}
            }
            self.repeated.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(REPEAT_PAUSE).await;
        }
        self.end(End::Refused(json!({ "never_stored": number })));
        None
    }

    /// Looks at every open task once, and gives those that are still open.
    async fn look(&self, open: Vec<String>) -> Vec<String> {
        let looks = futures::stream::iter(open).map(|id| async {
            let answer = self.ask(self.client.get(format!("{}/v1/tasks/{id}", self.load.url))).await;
            match answer {
                Ok((StatusCode::OK, task)) if ended(&task) => self.ended(&task),
                _ if self.late() => self.end(End::Lost(id)),
                _ => return Some(id),
            }
            None
        });
        looks.buffer_unordered(REQUESTS_MAX).filter_map(std::future::ready).collect().await
    }

    async fn ask(&self, request: RequestBuilder) -> reqwest::Result<(StatusCode, Value)> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await?;
        Ok((response.status(), response.json().await?))
    }

    fn ended(&self, task: &Value) {
        let now_ms = self.begun.elapsed().as_millis();
        self.first_ms.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now_ms);
        say(&json!({ "ended": {
            "id": task["id"], "state": task["state"], "attempt": task["attempt"], "trace": task["trace_id"],
            "children": task["children"], "submitted_at": task["submitted_at"], "started_at": task["started_at"],
        }}));
        self.end(End::Ended(task.clone()));
    }

    fn end(&self, end: End) {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).push(end);
    }

    fn late(&self) -> bool {
        self.begun.elapsed() > Duration::from_secs(self.load.wait_s)
    }

    async fn tell(self: Arc<Self>) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            let ended = self.ends.lock().unwrap_or_else(PoisonError::into_inner).len();
            say(&json!({ "progress": {
                "at_s": self.begun.elapsed().as_secs(), "accepted": self.accepted.load(Ordering::Relaxed),
                "ended": ended, "repeated_submits": self.repeated.load(Ordering::Relaxed),
            }}));
        }
    }

    /// Says it, and gives 0 only if every task has completed.
    fn summary(&self) -> ExitCode {
        let ends = std::mem::take(&mut *self.ends.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut completed, mut failed, mut refused, mut lost) = (0, 0, 0, 0);
        let mut attempts: BTreeMap<u64, usize> = BTreeMap::new();
        let mut odd = Vec::new();
        for end in &ends {
            match end {
                End::Ended(task) => {
                    *attempts.entry(task["attempt"].as_u64().unwrap_or_default()).or_default() += 1;
                    if task["state"] == "completed" {
                        completed += 1;
                    } else {
                        failed += 1;
                        odd.push(json!({ "id": task["id"], "state": task["state"], "failure": task["failure"] }));
                    }
                }
                End::Refused(problem) => {
                    refused += 1;
                    odd.push(problem.clone());
                }
                End::Lost(id) => {
                    lost += 1;
                    odd.push(json!({ "id": id, "state": "no end in time" }));
                }
            }
        }
        odd.truncate(ODD_SHOWN_MAX);
        say(&json!({ "summary": {
            "accepted": self.accepted.load(Ordering::Relaxed), "completed": completed, "failed": failed,
            "refused": refused, "lost": lost, "attempts": attempts, "odd": odd,
            "repeated_submits": self.repeated.load(Ordering::Relaxed),
            "first_ms": *self.first_ms.lock().unwrap_or_else(PoisonError::into_inner),
            "took_ms": self.begun.elapsed().as_millis(),
        }}));
        if completed == self.load.tasks { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn ended(task: &Value) -> bool {
    ["completed", "failed", "cancelled", "expired"].contains(&task["state"].as_str().unwrap_or_default())
}

/// A thumbnail task with a picture of its own, PNG and JPEG in turn.
fn picture(number: usize) -> Value {
    let shade = u8::try_from(number % 256).unwrap_or_default();
    let pixels =
        RgbImage::from_fn(IMAGE_PX, IMAGE_PX, |x, y| image::Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], shade]));
    let format = if number.is_multiple_of(2) { ImageFormat::Png } else { ImageFormat::Jpeg };
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(pixels).write_to(&mut bytes, format).expect("memory takes every picture");
    json!({ "image": STANDARD.encode(bytes.into_inner()), "width_px": 32, "height_px": 32 })
}

fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    // Nobody who listens is no reason to stop: the tasks are what counts.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
