//! Clients that submit as fast as the fleet goes, and know exactly what was accepted.
//!
//! A client repeats a submit at the next dispatcher until it has an answer, and notes what was accepted in the ledger.
//! How many tasks are open is bounded, or the queue alone would say how fast the fleet is: a client waits while more than
//! [`OPEN_MAX`] have no result.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;
use workfleet_tests::{Edges, client};

use crate::mix::Sort;
use crate::pace::Pace;

/// Clients at once.
const CLIENTS: usize = 24;
/// Tasks without a result at once.
const OPEN_MAX: u64 = 400;
/// Longer than a dispatcher waits for the broker.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(12);
/// No fault lasts so long. What has no answer by then never gets one.
const REPEATED_TIME_MAX: Duration = Duration::from_secs(120);
const REPEAT_PAUSE: Duration = Duration::from_millis(50);
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// A task that a dispatcher has said is stored.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) sort: Sort,
    pub(crate) submitted_at: String,
    /// Whether a dispatcher has acknowledged that it is cancelled.
    pub(crate) is_cancelled: bool,
}

/// Clients at work.
pub(crate) struct Load {
    run: Arc<Run>,
    clients: JoinSet<()>,
}

/// What they came to.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) ledger: Vec<Accepted>,
    /// What no dispatcher should ever have answered, and submits that got no answer for good.
    pub(crate) surprises: Vec<String>,
}

struct Run {
    name: String,
    edges: Edges,
    client: Client,
    runs_file: PathBuf,
    pace: Pace,
    cancels: bool,
    over: AtomicBool,
    next: AtomicUsize,
    expected: AtomicU64,
    repeated: AtomicU64,
    ledger: Mutex<Vec<Accepted>>,
    surprises: Mutex<Vec<String>>,
}

impl Load {
    /// Begins to submit.
    pub(crate) async fn start(edges: Edges, runs_file: PathBuf, pace: Pace) -> Self {
        let client = client(None).timeout(ANSWER_TIME_MAX).build().expect("its settings fit together");
        let cancels = can_cancel(&client, &edges.of_turn(0)).await;
        let run = Arc::new(Run {
            name: format!("{:x}", rand::random::<u64>()),
            edges,
            client,
            runs_file,
            pace,
            cancels,
            over: AtomicBool::new(false),
            next: AtomicUsize::new(0),
            expected: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            ledger: Mutex::default(),
            surprises: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for turn in 0..CLIENTS {
            clients.spawn(Arc::clone(&run).submit_all(turn));
        }
        Self { run, clients }
    }

    /// Tasks that were accepted so far, without children.
    pub(crate) fn accepted(&self) -> usize {
        self.run.ledger().len()
    }

    /// Requests so far that were not answered, or refused for a time.
    pub(crate) fn repeated(&self) -> u64 {
        self.run.repeated.load(Ordering::Relaxed)
    }

    /// Lets every client finish what it has begun.
    pub(crate) async fn stop(mut self) -> Submitted {
        self.run.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client does not panic");
        }
        let ledger = std::mem::take(&mut *self.run.ledger());
        let surprises = std::mem::take(&mut *self.run.surprises.lock().unwrap_or_else(PoisonError::into_inner));
        Submitted { ledger, surprises }
    }
}

impl Run {
    async fn submit_all(self: Arc<Self>, mut turn: usize) {
        while !self.over.load(Ordering::Relaxed) {
            if self.expected.load(Ordering::Relaxed).saturating_sub(self.pace.results()) >= OPEN_MAX {
                tokio::time::sleep(OPEN_PAUSE).await;
                continue;
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            self.one(number, &mut turn).await;
        }
    }

    /// A task, and what its client does with it.
    async fn one(&self, number: usize, turn: &mut usize) {
        let sort = match Sort::of(number) {
            Sort::Cancelled if !self.cancels => Sort::Keyed,
            sort => sort,
        };
        let body = sort.probe().logs_to(&self.runs_file).json();
        let options = sort.options(number);
        let Some(task) = self.submit(number, sort, &body, &options, turn).await else { return };
        let id = task["id"].as_str().unwrap_or_default().to_owned();
        let submitted_at = task["submitted_at"].as_str().unwrap_or_default().to_owned();
        self.expected.fetch_add(sort.tasks() as u64, Ordering::Relaxed);
        self.ledger().push(Accepted { id: id.clone(), sort, submitted_at, is_cancelled: false });
        match sort {
            Sort::Repeated => {
                *turn += 1;
                let again = self.submit(number, sort, &body, &options, turn).await;
                if again.as_ref().is_some_and(|again| again["id"] != id) {
                    self.surprise(format!("one key gave {id} and {again:?}"));
                }
            }
            Sort::Cancelled => {
                tokio::time::sleep(Duration::from_millis(u64::from(rand::random::<u8>()))).await;
                if self.cancel(&id, turn).await
                    && let Some(accepted) = self.ledger().iter_mut().rev().find(|accepted| accepted.id == id)
                {
                    accepted.is_cancelled = true;
                }
            }
            _ => {}
        }
    }

    /// Repeats it until there is an answer.
    async fn submit(&self, number: usize, sort: Sort, body: &Value, options: &str, turn: &mut usize) -> Option<Value> {
        let begun = Instant::now();
        while begun.elapsed() < REPEATED_TIME_MAX {
            let url = format!("{}/v1/queues/probe/tasks{options}", self.edges.of_turn(*turn));
            let mut request = self.client.post(url).json(body);
            if sort.is_keyed() {
                request = request.header("idempotency-key", format!("{}-{number}", self.name));
            }
            match answer(request).await {
                Some((StatusCode::ACCEPTED | StatusCode::OK, task)) => return Some(task),
                Some((status, problem)) if !is_for_a_time(status) => {
                    self.surprise(format!("a submit was answered {status}: {problem}"));
                    return None;
                }
                _ => self.repeat(turn).await,
            }
        }
        self.surprise(format!("submit {number} had no answer for {REPEATED_TIME_MAX:?}"));
        None
    }

    /// Whether it is cancelled; not, where it had ended before.
    async fn cancel(&self, id: &str, turn: &mut usize) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < REPEATED_TIME_MAX {
            let request = self.client.delete(format!("{}/v1/tasks/{id}", self.edges.of_turn(*turn)));
            match answer(request).await {
                Some((StatusCode::ACCEPTED | StatusCode::OK, _)) => return true,
                Some((StatusCode::CONFLICT, _)) => return false,
                Some((status, problem)) if !is_for_a_time(status) => {
                    self.surprise(format!("the cancel of {id} was answered {status}: {problem}"));
                    return false;
                }
                _ => self.repeat(turn).await,
            }
        }
        self.surprise(format!("the cancel of {id} had no answer for {REPEATED_TIME_MAX:?}"));
        false
    }

    async fn repeat(&self, turn: &mut usize) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
        *turn += 1;
        tokio::time::sleep(REPEAT_PAUSE).await;
    }

    fn surprise(&self, what: String) {
        self.surprises.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Vec<Accepted>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing, where there was no whole answer: the dispatcher has died, or its link.
async fn answer(request: reqwest::RequestBuilder) -> Option<(StatusCode, Value)> {
    let response = request.send().await.ok()?;
    let status = response.status();
    Some((status, response.json().await.unwrap_or_default()))
}

fn is_for_a_time(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Whether this dispatcher knows how to cancel: then it says that it does not know the task.
async fn can_cancel(client: &Client, edge: &str) -> bool {
    let nobody = client.delete(format!("{edge}/v1/tasks/probe_01h455vb4pex5vsknk084sn02q"));
    answer(nobody).await.is_some_and(|(_, problem)| problem["code"] == "unknown_task")
}
