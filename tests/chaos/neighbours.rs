//! A cancel takes its own task out of the queue and leaves the others' redeliveries alone.
//!
//! The server's purge did not (`docs/decisions/0018`): with one copy of what a worker held purged, the others were never
//! delivered again when that worker died.

use workfleet_tests::{Fleet, Probe};

/// Tasks that a worker holds when it is killed, beside the cancelled one.
const HELD: usize = 7;

#[tokio::test]
async fn what_a_killed_worker_held_runs_again_though_a_task_beside_it_was_cancelled() {
    let _turn = crate::row::TURN.lock().await;
    let builder = Fleet::builder().probe(|queue| queue.lease("2s").attempts_max(20)).slots(16);
    let mut fleet = builder.start().await;
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push(fleet.submit(&Probe::echo("held").sleeps_ms(4_000)).await);
    }
    // Delivered last, so that the server would take all before it for acknowledged.
    for id in &held {
        fleet.started(id).await;
    }
    let cancelled = fleet.submit(&Probe::echo("cancelled").sleeps_ms(60_000).heeds_cancel()).await;
    fleet.started(&cancelled).await;
    fleet.http.delete(&format!("/v1/tasks/{cancelled}")).send().await.expect(200);
    fleet.completed(&fleet.submit(&Probe::echo("next")).await).await;
    fleet.workers[0].replace();
    for id in &held {
        fleet.completed(id).await;
        assert_eq!(fleet.runs_of(id).len(), 2, "{id} was to be struck in the middle");
    }
}
