//! What the queue stores twice is not run twice: a task that came through the delay stream is looked up before it starts.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use workfleet_tests::{Fleet, Probe, eventually_within};

use crate::is_full_form;

const SUBMITS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(90);
/// Whether a killed server stores anything twice is not ours to say; it was seen to do so with all of the tasks in each round.
const ROUNDS_MAX: usize = 8;

fn tasks() -> usize {
    if is_full_form() { 600 } else { 200 }
}

/// The server dies when all that was due has come, run and left the queue, so that nothing there shows any more what has
/// been taken over; again and again, until it has stored something twice.
#[tokio::test]
#[allow(clippy::print_stderr, reason = "the counts are the point")]
async fn what_is_stored_twice_is_run_once() {
    let builder = Fleet::builder().probe(|queue| queue.lease("2s").attempts_max(20)).slots(16);
    let mut fleet = builder.workers("probe", 2).start().await;
    let mut ids = BTreeSet::new();
    let mut twice = 0;
    for round in 1..=ROUNDS_MAX {
        let stored_before = stored(&fleet).await;
        ids.extend(submit(&fleet).await);
        all_ended(&fleet, ids.len()).await;
        fleet.nats.kill();
        fleet.nats.restart().await;
        let ready = async || (fleet.http.get("/readyz").send().await.status == 200).then_some(());
        eventually_within(PATIENCE, "the dispatcher is ready again", ready).await;
        // What comes after this sentinel has come after what was taken over again.
        ids.extend([fleet.submit_with("?delay=1s", &Probe::echo("last")).await]);
        all_ended(&fleet, ids.len()).await;
        twice += (stored(&fleet).await - stored_before).saturating_sub(tasks() + 1);
        eprintln!("round {round}: {} tasks so far, {twice} stored twice", ids.len());
        if twice > 0 {
            break;
        }
    }
    assert!(twice > 0, "nothing was stored twice, so nothing was tested");
    let again = ids.iter().filter(|id| fleet.runs_of(id).len() > 1).count();
    assert_eq!(again, 0, "tasks that had ended ran again");
    let stores = fleet.observer.stores().await;
    assert!(ids.iter().all(|id| stores.get(id) == Some(&1)), "{stores:?}");
}

async fn submit(fleet: &Fleet) -> Vec<String> {
    let submits = (0..tasks()).map(|_| async { fleet.submit_with("?delay=2s", &Probe::echo("later")).await });
    futures::stream::iter(submits).buffer_unordered(SUBMITS).collect().await
}

async fn all_ended(fleet: &Fleet, tasks: usize) {
    let all = async || (fleet.observer.stores().await.len() == tasks).then_some(());
    eventually_within(PATIENCE, "every task has ended", all).await;
}

/// How many messages the queue has ever stored. None is in it.
async fn stored(fleet: &Fleet) -> usize {
    let jetstream = fleet.jetstream().await;
    let look = async || {
        let stream = jetstream.get_stream("TASKS_probe").await.ok()?;
        let state = &stream.cached_info().state;
        (state.messages == 0).then_some(usize::try_from(state.last_sequence).unwrap_or(usize::MAX))
    };
    eventually_within(PATIENCE, "the queue is empty", look).await
}
