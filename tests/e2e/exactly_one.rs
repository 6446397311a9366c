//! Tasks run while their workers are killed and frozen at random; each must end with exactly one stored result.
//!
//! Kills alone would not catch a missing compare-and-set: a dead worker stores nothing. So now and then a worker is
//! frozen until its leases have lapsed and then goes on, to store what others have stored meanwhile. Without the
//! compare-and-set this test fails, which is worth seeing once:
//!
//! ```text
//! cargo test -p workfleet-tests --features fault-no-cas --test e2e exactly_one
//! ```
//!
//! That leaves a worker in `target` that keeps no promise; the next plain `cargo build` puts the right one back.

use std::time::{Duration, Instant};

use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, rng};
use workfleet_tests::{Fleet, Probe, Worker, eventually_within, runs};

const WORKERS: usize = 4;
/// Longer than the lease.
const FROZEN: Duration = Duration::from_millis(2_700);

/// How much is done. `make kill-test` asks for the full form, which takes about a minute.
struct Extent {
    tasks: usize,
    lasts: Duration,
    hits_min: usize,
}

impl Extent {
    fn chosen() -> Self {
        match std::env::var("WORKFLEET_KILL_TEST").as_deref() {
            Ok("full") => Self { tasks: 1_000, lasts: Duration::from_secs(30), hits_min: 20 },
            _ => Self { tasks: 200, lasts: Duration::from_secs(8), hits_min: 4 },
        }
    }
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "the counts are the point")]
async fn every_task_has_exactly_one_result_whatever_dies() {
    let extent = Extent::chosen();
    let builder = Fleet::builder().probe(|queue| queue.lease("2s").attempts_max(100)).slots(4);
    let mut fleet = builder.workers("probe", WORKERS).start().await;
    let mut workers = std::mem::take(&mut fleet.workers);

    let (ids, hits) = tokio::join!(submit(&fleet, &extent), harm(&fleet, &mut workers, &extent));
    let harmed = Instant::now();
    let all_stored = async || (fleet.observer.stores().await.len() == ids.len()).then_some(());
    eventually_within(Duration::from_secs(90), "every task has a result", all_stored).await;
    let tail = harmed.elapsed();
    // A drained worker has settled all that it will ever settle.
    for worker in &mut workers {
        worker.ready().await;
        worker.drain().await;
    }

    let executions = fleet.runs().len();
    let tasks = ids.len();
    eprintln!("{tasks} tasks, {executions} executions, {hits} kills that hit a running task; all ended {tail:?} after");
    for id in &ids {
        fleet.completed(id).await;
    }
    let stores = fleet.observer.stores().await;
    let twice: Vec<_> = stores.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "stored more than once: {twice:?}");
    assert_eq!(stores.len(), extent.tasks);
    assert!(hits >= extent.hits_min, "only {hits} kills hit a running task");
    assert!(executions > extent.tasks, "{executions} executions: nothing was repeated, so nothing was tested");
}

/// Submits tasks of 50 to 500 ms, evenly over the time.
async fn submit(fleet: &Fleet, extent: &Extent) -> Vec<String> {
    let begun = Instant::now();
    let mut ids = Vec::new();
    for number in 0..extent.tasks {
        let due = extent.lasts.mul_f64(number as f64 / extent.tasks as f64);
        tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
        let sleep_ms = rng().random_range(50..=500);
        ids.push(fleet.submit(&Probe::echo("x").sleeps_ms(sleep_ms)).await);
    }
    ids
}

/// Kills and freezes until the time is over; gives the number of kills that hit a running task.
async fn harm(fleet: &Fleet, workers: &mut [Worker], extent: &Extent) -> usize {
    let begun = Instant::now();
    let pause = extent.lasts / u32::try_from(extent.hits_min * 2).unwrap_or(u32::MAX);
    let mut hits = 0;
    let mut frozen: Option<(usize, Instant)> = None;
    for turn in 1.. {
        tokio::time::sleep(pause.mul_f64(rng().random_range(0.5..1.3))).await;
        // Others have its tasks by now: it goes on, and stores what they have stored.
        frozen = frozen.filter(|(victim, since)| since.elapsed() < FROZEN || thaw(&workers[*victim]));
        if begun.elapsed() >= extent.lasts {
            break;
        }
        let others = busy(fleet, workers).into_iter().filter(|at| frozen.is_none_or(|(victim, _)| *at != victim));
        let Some(victim) = others.collect::<Vec<_>>().choose(&mut rng()).copied() else { continue };
        if frozen.is_none() && turn % 4 == 0 {
            workers[victim].freeze();
            frozen = Some((victim, Instant::now()));
        } else {
            hits += usize::from(kill(fleet, &mut workers[victim]));
        }
    }
    if let Some((victim, since)) = frozen {
        tokio::time::sleep(FROZEN.saturating_sub(since.elapsed())).await;
        thaw(&workers[victim]);
    }
    hits
}

/// Whether it still is frozen: never.
fn thaw(worker: &Worker) -> bool {
    worker.thaw();
    false
}

/// Whether it hit a running task. Read after the kill: what has no end by then never gets one.
fn kill(fleet: &Fleet, worker: &mut Worker) -> bool {
    let pid = worker.pid();
    worker.replace();
    runs::unfinished(&fleet.runs(), pid) > 0
}

fn busy(fleet: &Fleet, workers: &[Worker]) -> Vec<usize> {
    let runs = fleet.runs();
    (0..workers.len()).filter(|at| runs::unfinished(&runs, workers[*at].pid()) > 0).collect()
}
