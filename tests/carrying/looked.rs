//! What the queue stores twice is not run twice: a task that came through the delay stream is looked up before it starts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{HeaderValue, Message};
use futures::StreamExt as _;
use workfleet_proto::names::header;
use workfleet_tests::{Fleet, Probe, eventually_within};

use crate::is_full_form;

const SUBMITS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(90);

fn tasks() -> usize {
    if is_full_form() { 600 } else { 200 }
}

/// As a dispatcher stores them that had carried them, was cut off before it could acknowledge, and is back when the server
/// does not know their message ids any more.
#[tokio::test]
async fn what_is_stored_twice_is_run_once() {
    let fleet = Fleet::builder().workers("probe", 2).slots(16).start().await;
    let jetstream = fleet.jetstream().await;
    let carried = carried(&jetstream).await;
    let submits = (0..tasks()).map(|_| async { fleet.submit_with("?delay=2s", &Probe::echo("later")).await });
    let ids: Vec<String> = futures::stream::iter(submits).buffer_unordered(SUBMITS).collect().await;
    all_ended(&fleet, &jetstream, ids.len()).await;

    let again = carried.lock().expect("no test panics with it").clone();
    assert_eq!(again.len(), ids.len(), "each was carried once");
    for copy in again {
        let mut headers = copy.headers.expect("a copy has headers");
        assert_eq!(headers.get(header::CHECK).map(HeaderValue::as_str), Some(header::CARRIED));
        headers.insert(header::MESSAGE_ID, format!("{}/again", copy.subject));
        let stored = jetstream.publish_with_headers(copy.subject, headers, copy.payload).await.expect("sent");
        assert!(!stored.await.expect("stored").duplicate);
    }
    all_ended(&fleet, &jetstream, ids.len()).await;

    for id in &ids {
        assert_eq!(fleet.runs_of(id).len(), 1, "{id} had ended, and ran again");
        assert_eq!(fleet.task(id).await["state"], "completed");
    }
    let stores = fleet.observer.stores().await;
    assert!(ids.iter().all(|id| stores.get(id) == Some(&1)), "{stores:?}");
}

/// What dispatchers publish to the queue from now on.
async fn carried(jetstream: &jetstream::Context) -> Arc<Mutex<Vec<Message>>> {
    let mut heard = jetstream.client().subscribe("wf.task.probe.>").await.expect("connected");
    let carried = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&carried);
    tokio::spawn(async move {
        while let Some(copy) = heard.next().await {
            noted.lock().expect("no test panics with it").push(copy);
        }
    });
    carried
}

/// With nothing left in the queue.
async fn all_ended(fleet: &Fleet, jetstream: &jetstream::Context, tasks: usize) {
    let all = async || {
        let queue = jetstream.get_stream("TASKS_probe").await.ok()?;
        let is_empty = queue.cached_info().state.messages == 0;
        (is_empty && fleet.observer.stores().await.len() == tasks).then_some(())
    };
    eventually_within(PATIENCE, "every task has ended", all).await;
}
