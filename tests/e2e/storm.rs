//! Everything at once: workers are killed, frozen and drained, the broker dies, tasks fail, wait and are delayed.
//!
//! Each of these has a test of its own; this one looks for what only their meeting breaks.

use std::time::{Duration, Instant};

use rand::{RngExt as _, rng};
use workfleet_tests::{Fleet, Probe, Worker, eventually_within};

const TASKS: usize = 150;
const WORKERS: usize = 4;
const LASTS: Duration = Duration::from_secs(10);
const FROZEN: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn every_task_ends_once_and_only_failures_leave_a_dead_letter() {
    let builder = Fleet::builder().probe(|queue| queue.lease("2s").attempts_max(60)).slots(4);
    let builder = builder.variable("WORKFLEET_DRAIN_TIMEOUT", "100ms");
    let mut fleet = builder.workers("probe", WORKERS).start().await;
    let mut ids = Vec::new();
    for number in 0..TASKS {
        let work = Probe::echo("storm").sleeps_ms(rng().random_range(50..=900));
        let (options, probe) = match number % 5 {
            0 => ("", work.fails(2)),
            1 => ("", work.fails_with("hopeless")),
            2 => ("?delay=3s", work),
            _ => ("", work),
        };
        ids.push((fleet.submit_with(options, &probe).await, number % 5 == 1));
    }
    weather(&mut fleet).await;
    let all = async || (fleet.observer.stores().await.len() == TASKS).then_some(());
    eventually_within(Duration::from_secs(90), "every task has a result", all).await;
    for worker in &mut fleet.workers {
        worker.ready().await;
        worker.drain().await;
    }
    let stores = fleet.observer.stores().await;
    assert!(stores.values().all(|count| *count == 1), "{stores:?}");
    for (id, hopeless) in &ids {
        let task = if *hopeless { fleet.failed(id).await } else { fleet.completed(id).await };
        assert_eq!(fleet.dead_letter(id).await.is_some(), *hopeless, "{task:#}");
    }
}

async fn weather(fleet: &mut Fleet) {
    let begun = Instant::now();
    let mut frozen = None;
    for turn in 0.. {
        tokio::time::sleep(Duration::from_millis(rng().random_range(200..700))).await;
        frozen = frozen.filter(|(victim, since)| !thaws(&fleet.workers[*victim], since));
        if begun.elapsed() >= LASTS {
            break;
        }
        let victim = rng().random_range(0..WORKERS);
        if frozen.is_some_and(|(asleep, _)| asleep == victim) {
            continue;
        }
        match turn % 5 {
            0 | 3 => fleet.workers[victim].replace(),
            1 if frozen.is_none() => {
                fleet.workers[victim].freeze();
                frozen = Some((victim, Instant::now()));
            }
            2 => {
                fleet.workers[victim].process().terminate();
                fleet.workers[victim].process().left().await;
                fleet.workers[victim].replace();
            }
            4 => {
                fleet.nats.kill();
                fleet.nats.restart().await;
            }
            _ => {}
        }
    }
    if let Some((victim, since)) = frozen {
        tokio::time::sleep(FROZEN.saturating_sub(since.elapsed())).await;
        fleet.workers[victim].thaw();
    }
}

fn thaws(worker: &Worker, since: &Instant) -> bool {
    let due = since.elapsed() >= FROZEN;
    if due {
        worker.thaw();
    }
    due
}
