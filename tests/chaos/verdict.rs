//! What became of everything that was accepted, from the streams themselves.
//!
//! A second opinion beside `workfleet audit`, and by other means: every result is read, and every store of one is counted
//! on the subjects where stored results are republished.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::{self, consumer::PullConsumer};
use futures::StreamExt as _;
use prost::Message as _;
use serde_json::json;
use workfleet_proto::v1;
use workfleet_proto::v1::State;
use workfleet_tests::runs::Run;

use crate::field::Field;
use crate::load::Accepted;
use crate::mix::Sort;
use crate::pace::CONSUMER;

/// What waits and what is scheduled is worked off in this time, or something is stuck.
const QUIET_TIME_MAX: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(250);
/// Looks in a row that must find nothing.
const QUIET_LOOKS: usize = 3;
const PULL_MAX: usize = 500;
const PULL_EXPIRES: Duration = Duration::from_secs(2);

/// The counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    /// Children that were confirmed to a parent that completed are among them.
    pub(crate) accepted: usize,
    pub(crate) completed: usize,
    pub(crate) failed: usize,
    pub(crate) cancelled: usize,
    pub(crate) expired: usize,
    /// Accepted, and without an end.
    pub(crate) lost: Vec<String>,
    /// With more than one result stored.
    pub(crate) twice: Vec<String>,
    /// Messages of the results' stream that a later one has replaced: none, if nothing was recorded twice.
    pub(crate) replaced: u64,
    /// Ends that are none of what the task can end with.
    pub(crate) wrong: Vec<String>,
    /// Starts of handlers beyond those that the tasks asked for.
    pub(crate) executions_more: usize,
}

/// Waits until nothing waits and nothing is scheduled, or for as long as it may take.
pub(crate) async fn quiet(jetstream: &jetstream::Context) {
    let begun = std::time::Instant::now();
    let mut looks = 0;
    while looks < QUIET_LOOKS && begun.elapsed() < QUIET_TIME_MAX {
        let open = (messages(jetstream, "TASKS_probe").await, messages(jetstream, "DELAY_probe").await);
        looks = if open == (Some(0), Some(0)) { looks + 1 } else { 0 };
        tokio::time::sleep(LOOK).await;
    }
}

/// Counts, and completes the ledger with the children.
pub(crate) async fn of(field: &Field, ledger: &[Accepted]) -> Verdict {
    let jetstream = field.jetstream().await;
    let results = results(&jetstream).await;
    let accepted: BTreeMap<&str, Sort> = ledger.iter().map(|accepted| (accepted.id.as_str(), accepted.sort)).collect();
    let children: BTreeSet<&str> = results
        .values()
        .filter(|result| result.state() == State::Completed && accepted.contains_key(result.id.as_str()))
        .flat_map(|result| result.children.iter().map(String::as_str))
        .collect();
    write_ledger(&field.ledger_file(), ledger, &children);
    let mut verdict = Verdict { accepted: accepted.len() + children.len(), ..Verdict::default() };
    for id in accepted.keys().chain(&children) {
        match results.get(*id).map(v1::Result::state) {
            Some(State::Completed) => verdict.completed += 1,
            Some(State::Failed) => verdict.failed += 1,
            Some(State::Cancelled) => verdict.cancelled += 1,
            Some(State::Expired) => verdict.expired += 1,
            _ => verdict.lost.push((*id).to_owned()),
        }
    }
    verdict.wrong = ledger.iter().filter_map(|accepted| wrong(accepted, &results)).collect();
    let stores = field.observer.stores().await;
    verdict.twice = stores.into_iter().filter(|(_, count)| *count > 1).map(|(id, _)| id).collect();
    verdict.replaced = replaced(&jetstream).await;
    verdict.executions_more = executions_more(&field.stand.runs(), &accepted);
    verdict
}

fn wrong(accepted: &Accepted, results: &BTreeMap<String, v1::Result>) -> Option<String> {
    let result = results.get(&accepted.id)?;
    let state = result.state();
    let right = if accepted.is_cancelled { state == State::Cancelled } else { accepted.sort.may_end(state) };
    (!right).then(|| format!("{:?} {} ended {state:?}: {:?}", accepted.sort, accepted.id, result.failure))
}

/// Only of what was accepted; each other task once.
fn executions_more(runs: &[Run], accepted: &BTreeMap<&str, Sort>) -> usize {
    let mut starts: BTreeMap<&str, usize> = BTreeMap::new();
    for run in runs {
        *starts.entry(&run.task).or_default() += 1;
    }
    let wanted = |task: &str| accepted.get(task).map_or(1, |sort| sort.executions());
    starts.into_iter().map(|(task, starts)| starts.saturating_sub(wanted(task))).sum()
}

async fn results(jetstream: &jetstream::Context) -> BTreeMap<String, v1::Result> {
    let stream = jetstream.get_stream("RESULTS_probe").await.expect("the broker answers");
    let mut consumer: PullConsumer = stream.get_consumer(CONSUMER).await.expect("the consumer is there");
    let mut results = BTreeMap::new();
    while consumer.info().await.expect("the broker answers").num_pending > 0 {
        let batch = consumer.fetch().max_messages(PULL_MAX).expires(PULL_EXPIRES).messages();
        let mut batch = batch.await.expect("the broker answers");
        while let Some(Ok(message)) = batch.next().await {
            let result = v1::Result::decode(message.payload.clone()).expect("a result");
            results.insert(result.id.clone(), result);
        }
    }
    results
}

/// One message is kept of each subject, and what is gone was replaced: nothing here is old enough to go by age.
async fn replaced(jetstream: &jetstream::Context) -> u64 {
    let stream = jetstream.get_stream("RESULTS_probe").await.expect("the broker answers");
    let state = &stream.cached_info().state;
    state.last_sequence - state.messages
}

async fn messages(jetstream: &jetstream::Context, stream: &str) -> Option<u64> {
    let asked = tokio::time::timeout(PULL_EXPIRES, jetstream.get_stream(stream));
    Some(asked.await.ok()?.ok()?.cached_info().state.messages)
}

/// As `workfleet submit --log` writes it.
fn write_ledger(path: &Path, ledger: &[Accepted], children: &BTreeSet<&str>) {
    let mut file = std::fs::File::create(path).expect("a temporary folder takes files");
    let latest = ledger.iter().map(|accepted| accepted.submitted_at.as_str()).max().unwrap_or_default();
    let own = ledger.iter().map(|accepted| (accepted.id.as_str(), accepted.submitted_at.as_str()));
    for (id, submitted_at) in own.chain(children.iter().map(|id| (*id, latest))) {
        let line = json!({ "id": id, "queue": "probe", "submitted_at": submitted_at });
        writeln!(file, "{line}").expect("a temporary folder takes files");
    }
}
