//! What the queue stores twice is not run twice: a task that came through the delay stream is looked up before it starts.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use workfleet_tests::{Fleet, Probe, eventually_within};

use crate::is_full_form;

const SUBMITS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(90);

fn tasks() -> usize {
    if is_full_form() { 3_000 } else { 400 }
}

/// The server dies when part of the tasks have come, run and left the queue, so that nothing there shows any more that
/// they have been taken over.
#[tokio::test]
#[ignore = "a case of `make sourcing`: whether a killed server stores anything twice is not ours to say"]
#[allow(clippy::print_stderr, reason = "the counts are the point")]
async fn what_is_stored_twice_is_run_once() {
    let builder = Fleet::builder().probe(|queue| queue.lease("2s").attempts_max(20)).slots(16);
    let mut fleet = builder.workers("probe", 2).start().await;
    let submits = (0..tasks()).map(|_| async {
        let delay = rand::random_range(1_000..4_000);
        fleet.submit_with(&format!("?delay={delay}ms"), &Probe::echo("later")).await
    });
    let ids: BTreeSet<String> = futures::stream::iter(submits).buffer_unordered(SUBMITS).collect().await;
    let part = async || {
        let ended = fleet.observer.stores().await;
        (ended.len() >= tasks() / 3).then_some(ended)
    };
    let before = eventually_within(PATIENCE, "a third of the tasks have ended", part).await;
    fleet.nats.kill();
    fleet.nats.restart().await;
    let all = async || (fleet.observer.stores().await.len() == tasks()).then_some(());
    eventually_within(PATIENCE, "every task has ended", all).await;
    let jetstream = fleet.jetstream().await;
    let look = async || {
        let stream = jetstream.get_stream("TASKS_probe").await.ok()?;
        let state = &stream.cached_info().state;
        (state.messages == 0).then_some(usize::try_from(state.last_sequence).unwrap_or(usize::MAX))
    };
    let copies = eventually_within(PATIENCE, "the queue is empty", look).await;

    let twice = copies.saturating_sub(tasks());
    let again = before.keys().filter(|id| fleet.runs_of(id).len() > 1).count();
    eprintln!("{} tasks, {} ended before the kill, {twice} stored twice, {again} run twice", ids.len(), before.len());
    assert_eq!(again, 0, "tasks that had ended ran again");
    assert!(twice > 0, "nothing was stored twice, so nothing was tested");
    let stores = fleet.observer.stores().await;
    assert!(ids.iter().all(|id| stores.get(id) == Some(&1)), "{stores:?}");
}
