//! Cancels by the thousand: of what waits while every worker is down, of what is scheduled or waits behind others, and of
//! what runs (rule 11).
//!
//! What was cancelled before it ran never starts, then or later; what ran is not started again; nothing is recorded of any
//! but that it was cancelled. How soon running handlers are told is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use workfleet_link::time::now_ms;
use workfleet_tests::{Edges, Probe, client, eventually_within};

use crate::field::{Field, Ground};
use crate::form;
use crate::load::Accepted;
use crate::mix::Sort;
use crate::verdict;

/// Requests at once.
const REQUESTS: usize = 16;
/// Running tasks at once: fewer than the fleet has slots.
const RUNNING: usize = 40;
/// The cancels that wait behind others wait behind so many.
const SLOTS: usize = 48;
/// Longer than the test.
const LONG_MS: u32 = 600_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// How soon a running handler is to be told: the 99th of a hundred.
const TOLD_MS_MAX: i64 = 500;

/// Of each third.
fn tasks() -> usize {
    if form::is_full() { 3_334 } else { 60 }
}

/// Who submits and cancels.
struct Caller {
    edges: Edges,
    client: Client,
    runs_file: std::path::PathBuf,
    turn: AtomicUsize,
    cancelled: std::sync::Mutex<Vec<Accepted>>,
}

/// When a cancel was asked for, and its task.
struct Asked {
    id: String,
    unix_ms: i64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
#[allow(clippy::print_stderr, reason = "the counts are the point")]
async fn an_acknowledged_cancel_holds() {
    let _turn = crate::row::TURN.lock().await;
    let mut field = Field::start(Ground::One).await.expect("this row needs no small disk");
    let caller = Caller::new(&field);
    let begun = Instant::now();
    while_all_workers_are_down(&mut field, &caller).await;
    let down = caller.count();
    let (p50, p99) = while_it_runs(&field, &caller).await;
    let running = caller.count() - down;
    before_it_runs(&field, &caller).await;
    let waiting = caller.count() - down - running;

    // What is left of the tasks that were in the way is cancelled too, or workers would not drain.
    for worker in &mut field.stand.workers {
        worker.kill();
    }
    let ledger = std::mem::take(&mut *caller.cancelled.lock().expect("no caller panics"));
    let verdict = verdict::of(&field, &ledger).await;
    eprintln!(
        "{} cancels in {:.0} s: {down} while all workers were down, {running} of running tasks, {waiting} of scheduled and \
         waiting ones; handlers were told after p50 {p50} ms, p99 {p99} ms",
        ledger.len(),
        begun.elapsed().as_secs_f64(),
    );
    assert!(verdict.lost.is_empty() && verdict.twice.is_empty() && verdict.wrong.is_empty(), "{verdict:#?}");
    assert_eq!((verdict.cancelled, verdict.executions_more), (ledger.len(), 0), "{verdict:#?}");
    assert!(p99 <= TOLD_MS_MAX, "told after {p99} ms");
}

/// The workers leave; tasks are submitted, to wait and to be scheduled, and cancelled; the workers return, and start none.
async fn while_all_workers_are_down(field: &mut Field, caller: &Caller) {
    for worker in &mut field.stand.workers {
        worker.drain().await;
    }
    let submits = (0..tasks()).map(|number| async move {
        let options = if number.is_multiple_of(3) { "?delay=2s" } else { "" };
        caller.submit(options, 10).await
    });
    let ids: Vec<String> = futures::stream::iter(submits).buffer_unordered(REQUESTS).collect().await;
    caller.cancel_all(ids.clone()).await;
    for worker in &mut field.stand.workers {
        worker.replace();
        worker.ready().await;
    }
    // One that comes after them, and after the delay of those that had one, is through: so would they be.
    let last = caller.submit("?delay=3s", 10).await;
    let runs = async || (!runs_of(field, &BTreeSet::from([last.clone()])).is_empty()).then_some(());
    eventually_within(PATIENCE, "a task runs that nobody has cancelled", runs).await;
    assert_eq!(runs_of(field, &ids.into_iter().collect()), Vec::<String>::new(), "started although cancelled before");
}

/// Running tasks by the slotful; gives how soon their handlers were told.
async fn while_it_runs(field: &Field, caller: &Caller) -> (i64, i64) {
    let mut asked = Vec::new();
    while asked.len() < tasks() {
        let count = RUNNING.min(tasks() - asked.len());
        let submits = (0..count).map(|_| caller.submit("", LONG_MS));
        let ids: Vec<String> = futures::stream::iter(submits).buffer_unordered(REQUESTS).collect().await;
        let wanted: BTreeSet<String> = ids.iter().cloned().collect();
        let all = async || (runs_of(field, &wanted).len() >= count).then_some(());
        eventually_within(PATIENCE, "all of them run", all).await;
        asked.extend(caller.cancel_all(ids).await);
    }
    told(field, &asked).await
}

/// Every slot is taken, and the tasks wait behind, or are scheduled.
async fn before_it_runs(field: &Field, caller: &Caller) {
    let in_the_way = (0..SLOTS).map(|_| caller.submit("", LONG_MS));
    let in_the_way: Vec<String> = futures::stream::iter(in_the_way).buffer_unordered(REQUESTS).collect().await;
    let blocked: BTreeSet<String> = in_the_way.iter().cloned().collect();
    let all = async || (runs_of(field, &blocked).len() >= SLOTS).then_some(());
    eventually_within(PATIENCE, "every slot is taken", all).await;
    let submits = (0..tasks()).map(|number| async move {
        let options = if number.is_multiple_of(3) { "?delay=1h" } else { "" };
        caller.submit(options, 10).await
    });
    let ids: Vec<String> = futures::stream::iter(submits).buffer_unordered(REQUESTS).collect().await;
    caller.cancel_all(ids.clone()).await;
    caller.cancel_all(in_the_way).await;
    let last = caller.submit("", 10).await;
    let runs = async || (!runs_of(field, &BTreeSet::from([last.clone()])).is_empty()).then_some(());
    eventually_within(PATIENCE, "a task runs that nobody has cancelled", runs).await;
    assert_eq!(runs_of(field, &ids.into_iter().collect()), Vec::<String>::new(), "started although cancelled before");
}

/// The median and the 99th of a hundred, in milliseconds.
async fn told(field: &Field, asked: &[Asked]) -> (i64, i64) {
    let all = async || {
        let runs = field.stand.runs();
        let told: BTreeMap<&str, i64> =
            runs.iter().filter_map(|run| Some((run.task.as_str(), run.told_at_ms?))).collect();
        let after = |asked: &Asked| Some(told.get(asked.id.as_str())? - asked.unix_ms);
        asked.iter().map(after).collect::<Option<Vec<i64>>>()
    };
    let mut after = eventually_within(PATIENCE, "every handler is told", all).await;
    after.sort_unstable();
    (after[after.len() / 2], after[after.len() * 99 / 100])
}

/// The tasks of these that a handler has started on, one for each start.
fn runs_of(field: &Field, ids: &BTreeSet<String>) -> Vec<String> {
    field.stand.runs().into_iter().map(|run| run.task).filter(|task| ids.contains(task)).collect()
}

impl Caller {
    fn new(field: &Field) -> Self {
        let client = client(None).timeout(Duration::from_secs(12)).build().expect("its settings fit together");
        let (edges, runs_file) = (field.stand.edges(), field.stand.runs_file());
        Self { edges, client, runs_file, turn: AtomicUsize::new(0), cancelled: std::sync::Mutex::default() }
    }

    fn count(&self) -> usize {
        self.cancelled.lock().expect("no caller panics").len()
    }

    fn edge(&self) -> String {
        self.edges.of_turn(self.turn.fetch_add(1, Ordering::Relaxed))
    }

    async fn submit(&self, options: &str, sleep_ms: u32) -> String {
        let url = format!("{}/v1/queues/probe/tasks{options}", self.edge());
        let answer = self.client.post(url).json(&body(&self.runs_file, sleep_ms)).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let task: Value = answer.json().await.expect("a task");
        task["id"].as_str().expect("a task has an id").to_owned()
    }

    /// Each cancel is acknowledged, by whichever dispatcher.
    async fn cancel_all(&self, ids: Vec<String>) -> Vec<Asked> {
        let cancels = ids.into_iter().map(|id| self.cancel(id));
        futures::stream::iter(cancels).buffer_unordered(REQUESTS).collect().await
    }

    async fn cancel(&self, id: String) -> Asked {
        let unix_ms = now_ms();
        let answer = self.client.delete(format!("{}/v1/tasks/{id}", self.edge())).send().await.expect("an answer");
        let status = answer.status();
        let task: Value = answer.json().await.unwrap_or_default();
        assert!(matches!(status, StatusCode::OK | StatusCode::ACCEPTED), "{status}: {task:#}");
        assert_eq!(task["state"], "cancelled", "{task:#}");
        let submitted_at = task["submitted_at"].as_str().unwrap_or_default().to_owned();
        let accepted = Accepted { id: id.clone(), sort: Sort::Cancelled, submitted_at, is_cancelled: true };
        self.cancelled.lock().expect("no caller panics").push(accepted);
        Asked { id, unix_ms }
    }
}

fn body(runs_file: &Path, sleep_ms: u32) -> Value {
    Probe::echo("cancel me").sleeps_ms(sleep_ms).notes_cancel().heeds_cancel().logs_to(runs_file).json()
}
