//! A worker is killed that holds many tasks: how long it takes until all of them run again.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use workfleet_link::time::now_ms;
use workfleet_tests::{Fleet, Probe, eventually_within};

/// Submits that are on their way at once.
const REQUESTS: usize = 8;
/// Longest wait for all tasks to start on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// How many tasks the killed worker holds. `make crash-test` asks for the full form.
fn tasks() -> usize {
    if std::env::var("WORKFLEET_CRASH_TEST").as_deref() == Ok("full") { 200 } else { 50 }
}

#[tokio::test]
async fn the_tasks_of_a_killed_worker_run_again_within_ten_seconds_with_the_usual_lease() {
    run_again("8s", Duration::from_secs(10)).await;
}

#[tokio::test]
async fn the_tasks_of_a_killed_worker_run_again_within_five_seconds_with_a_lease_of_three() {
    run_again("3s", Duration::from_secs(5)).await;
}

#[allow(clippy::print_stderr, reason = "the numbers are the point")]
async fn run_again(lease: &str, p99_max: Duration) {
    let tasks = tasks();
    let builder = Fleet::builder().probe(|queue| queue.lease(lease).timeout("120s"));
    let mut fleet = builder.slots(tasks).start().await;
    let probe = Probe::echo("long").sleeps_ms(90_000);
    let submits = futures::stream::iter(0..tasks).map(|_| fleet.submit(&probe)).buffer_unordered(REQUESTS);
    let ids: BTreeSet<String> = submits.collect().await;
    let started = async |fleet: &Fleet, pid: u32| {
        let held = async || (fleet.runs().iter().filter(|run| run.pid == pid).count() == tasks).then_some(());
        eventually_within(START_TIME_MAX, "all tasks run in one worker", held).await;
    };
    let first = fleet.workers[0].pid();
    started(&fleet, first).await;
    fleet.add_worker("probe").await;
    let killed_at_ms = now_ms();
    fleet.workers[0].kill();
    started(&fleet, fleet.workers[1].pid()).await;

    let runs = fleet.runs();
    let again: Vec<_> = runs.iter().filter(|run| run.pid != first).collect();
    assert_eq!(again.iter().map(|run| run.task.clone()).collect::<BTreeSet<_>>(), ids, "each of them, and none twice");
    assert!(again.iter().all(|run| run.attempt == 2), "each has lost one attempt");
    let mut waits: Vec<i64> = again.iter().map(|run| run.started_at_ms - killed_at_ms).collect();
    waits.sort_unstable();
    let (p50, p99, last) = (waits[tasks / 2], waits[tasks * 99 / 100], waits[tasks - 1]);
    eprintln!(
        "lease {lease}: {tasks} tasks of a killed worker ran again after p50 {p50} ms, p99 {p99} ms, the last {last} ms"
    );
    assert!(u128::try_from(p99).unwrap_or(0) < p99_max.as_millis(), "{p99} ms");
}
