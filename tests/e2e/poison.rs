//! A task that kills its process, and a thousand that do nothing wrong beside it.
//!
//! Each death takes along whatever else the process holds. A neighbour that went down twice is in its last attempt, so the
//! third death must take nobody along; and there must be no fourth.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::json;
use workfleet_tests::{Fleet, Probe, eventually};

const NEIGHBOURS: usize = 1_000;
/// Submits, and reads, that are on their way at once.
const REQUESTS: usize = 8;
/// Longest time of the whole on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(240);
/// How often the supervisor looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

#[tokio::test]
#[allow(clippy::print_stderr, reason = "the counts are the point")]
async fn a_task_that_aborts_its_process_kills_as_many_as_it_has_attempts_and_no_neighbour_fails() {
    let mut fleet = Fleet::builder().probe(|queue| queue.lease("3s").attempts_max(3)).slots(16).start().await;
    let begun = Instant::now();
    let (first, second) = (NEIGHBOURS / 10, NEIGHBOURS * 9 / 10);
    let mut neighbours = submit(&fleet, first).await;
    let poison = fleet.submit(&Probe::echo("poison").sleeps_ms(100).aborts()).await;
    neighbours.extend(submit(&fleet, second).await);

    let deaths = supervise(&mut fleet, NEIGHBOURS + 1).await;
    let took = begun.elapsed();
    let task = fleet.failed(&poison).await;
    let executions = fleet.runs_of(&poison).len();
    let mut attempts: BTreeMap<u64, usize> = BTreeMap::new();
    let reading = futures::stream::iter(&neighbours).map(|id| fleet.task(id)).buffer_unordered(REQUESTS);
    for neighbour in reading.collect::<Vec<_>>().await {
        assert_eq!(neighbour["state"], "completed", "{neighbour:#}");
        *attempts.entry(neighbour["attempt"].as_u64().expect("a number")).or_default() += 1;
    }
    eprintln!(
        "a poison with 3 attempts: {deaths} deaths of the process, {executions} executions; {NEIGHBOURS} neighbours \
         completed, by attempt {attempts:?}; all in {took:?}"
    );
    assert_eq!((deaths, executions), (3, 3));
    assert!(attempts.keys().any(|attempt| *attempt > 1), "it took nobody along, so nothing was tested");
    let history = task["failure"]["attempts"].as_array().expect("a history");
    let told: Vec<_> = history.iter().map(|attempt| (&attempt["attempt"], &attempt["code"])).collect();
    let lost = json!("worker_lost");
    assert_eq!(told, [(&json!(1), &lost), (&json!(2), &lost), (&json!(3), &lost)]);
    assert_eq!((&history[0]["started_at"], &history[0]["worker"]), (&json!(null), &json!(null)), "nobody knows");
    let letter = eventually("the dead letter is stored", async || fleet.dead_letter(&poison).await).await;
    assert_eq!(letter.result.expect("the result").attempts.len(), 3);
    let queue = fleet.http.get("/v1/queues/probe").send().await.expect(200).json();
    assert_eq!(queue["dead"], 1, "{queue}");
}

async fn submit(fleet: &Fleet, count: usize) -> Vec<String> {
    let probe = Probe::echo("neighbour").sleeps_ms(120);
    let submits = futures::stream::iter(0..count).map(|_| fleet.submit(&probe)).buffer_unordered(REQUESTS);
    submits.collect().await
}

/// Starts the worker again whenever it has died, until so many tasks have ended. Gives the number of deaths.
async fn supervise(fleet: &mut Fleet, tasks: usize) -> usize {
    let begun = Instant::now();
    let mut deaths = 0;
    while fleet.observer.stores().await.len() < tasks {
        assert!(begun.elapsed() < TIME_MAX, "not all have ended after {deaths} deaths");
        if fleet.workers[0].process().status().is_some() {
            deaths += 1;
            fleet.workers[0].replace();
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    assert!(fleet.workers[0].process().status().is_none(), "the last worker lives");
    deaths
}
