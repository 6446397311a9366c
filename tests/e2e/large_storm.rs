//! Large payloads and outputs while workers die: nothing is lost, and nothing is left over.
//!
//! A payload is stored before its task and deleted after the task's end, so a crash leaves too much and never too
//! little. What is too much goes with the sweep. Deleting a payload before its result is stored would fail this test by
//! tasks that end with `payload_gone`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use prost::Message as _;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, rng};
use workfleet_proto::blob::BlobId;
use workfleet_proto::id::TaskId;
use workfleet_tests::kinds::probe::{ProbeReply, ProbeRequest};
use workfleet_tests::{Fleet, eventually, eventually_within, stores};

const WORKERS: usize = 3;
const PAYLOAD_BYTES: usize = 1_000_000;
/// One task in so many fails for good: its dead letter must keep its payload.
const FAILS_EVERY: usize = 10;
const SUBMITS_AT_ONCE: usize = 4;

/// How much is done. `make kill-test` asks for the full form.
fn tasks() -> usize {
    if std::env::var("WORKFLEET_KILL_TEST").as_deref() == Ok("full") { 500 } else { 60 }
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "the counts are the point")]
async fn large_tasks_lose_nothing_and_leave_nothing_whatever_dies() {
    let tasks = tasks();
    let builder = Fleet::builder().probe(|queue| queue.lease("2s").attempts_max(100).blobs_bytes_max(2 << 30)).slots(2);
    let mut fleet = builder.workers("probe", WORKERS).start().await;
    let mut workers = std::mem::take(&mut fleet.workers);
    let submitted = async {
        let submits = (0..tasks).map(|number| submit(&fleet, number));
        futures::stream::iter(submits).buffer_unordered(SUBMITS_AT_ONCE).collect::<BTreeMap<_, _>>().await
    };
    let mut kills = 0;
    let harm = async {
        loop {
            tokio::time::sleep(Duration::from_millis(rng().random_range(400..1_200))).await;
            let victim = *(0..WORKERS).collect::<Vec<_>>().choose(&mut rng()).expect("there are some");
            workers[victim].replace();
            kills += 1;
            if fleet.observer.stores().await.len() >= tasks * 9 / 10 {
                return;
            }
        }
    };
    let (submitted, ()) = tokio::join!(submitted, harm);
    let all_stored = async || (fleet.observer.stores().await.len() == tasks).then_some(());
    eventually_within(Duration::from_secs(180), "every task has a result", all_stored).await;
    for worker in &mut workers {
        worker.ready().await;
        worker.drain().await;
    }
    let ended = check_ends(&fleet, &submitted).await;
    let left = sweep(&fleet).await;
    let (input, output) = (stores::read(&fleet.jetstream().await, "IN_probe").await, left);
    let owners = |blobs: &BTreeMap<String, String>| -> BTreeSet<String> { blobs.keys().cloned().collect() };
    eprintln!(
        "{tasks} tasks of {PAYLOAD_BYTES} bytes, {kills} kills, {} executions: 0 lost; {} payloads kept for dead letters, \
         {} outputs for results",
        fleet.runs().len(),
        input.blobs.len(),
        output.blobs.len()
    );
    assert_eq!(owners(&input.blobs), ended.inputs, "payloads and dead letters");
    assert_eq!(owners(&output.blobs), ended.outputs, "outputs and results");
    assert!(input.orphans.is_empty() && output.orphans.is_empty(), "{input:?} {output:?}");
    assert!(fleet.runs().len() > tasks, "nothing was repeated, so nothing was tested");
}

/// A task with bytes of its own, and what it was.
async fn submit(fleet: &Fleet, number: usize) -> (String, Bytes) {
    let mut padding = vec![0; PAYLOAD_BYTES];
    rng().fill(&mut padding[..]);
    let fails = number.is_multiple_of(FAILS_EVERY);
    let request = ProbeRequest {
        padding: Bytes::from(padding),
        // Long enough that a worker which is killed holds some.
        sleep_ms: rng().random_range(200..700),
        fail_times: if fails { 1_000 } else { 0 },
        fail_code: if fails { "told_to_fail".to_owned() } else { String::new() },
        log_file: fleet.folder().join("runs").display().to_string(),
        ..Default::default()
    };
    let begun = Instant::now();
    let task = eventually_within(Duration::from_secs(60), "a large task is accepted", async || {
        let answer = fleet.http.post("/v1/queues/probe/tasks").protobuf(&request).send().await;
        assert!([202, 429].contains(&answer.status), "{} after {:?}", answer.text(), begun.elapsed());
        (answer.status == 202).then(|| answer.json())
    })
    .await;
    (task["id"].as_str().expect("an id").to_owned(), request.padding)
}

/// Blobs that have an owner.
struct Owned {
    inputs: BTreeSet<String>,
    outputs: BTreeSet<String>,
}

/// Every task has its one end, with its own bytes, and every claim check has its blob.
async fn check_ends(fleet: &Fleet, submitted: &BTreeMap<String, Bytes>) -> Owned {
    let mut owned = Owned { inputs: BTreeSet::new(), outputs: BTreeSet::new() };
    let stores = fleet.observer.stores().await;
    for (id, padding) in submitted {
        assert_eq!(stores.get(id), Some(&1), "{id} has one result");
        let task = fleet.task(id).await;
        if task["state"] == "failed" {
            assert_eq!(task["failure"]["code"], "told_to_fail", "{task:#}");
            let letter = eventually("a dead letter is there", async || fleet.dead_letter(id).await).await;
            let blob = letter.envelope.and_then(|envelope| envelope.blob).expect("its payload is a blob");
            let path = format!("/v1/blobs/probe_{}", blob.name);
            let body = fleet.http.get(&path).send().await.expect(200).body;
            assert!(ProbeRequest::decode(body).expect("a request").padding == *padding, "{id}: other bytes");
            owned.inputs.insert(blob.name);
            continue;
        }
        assert_eq!(task["state"], "completed", "{task:#}");
        let path = format!("/v1/tasks/{id}/result");
        let body = fleet.http.get(&path).header("accept", "application/x-protobuf").send().await.expect(200).body;
        assert!(ProbeReply::decode(body).expect("a reply").padding == *padding, "{id}: other bytes came back");
        let blob: BlobId = task["output_blob"].as_str().expect("a large output").parse().expect("a blob's id");
        assert_eq!(blob.owner(), workfleet_proto::blob::Owner::Output(id.parse::<TaskId>().expect("an id")));
        owned.outputs.insert(blob.name().to_owned());
    }
    owned
}

/// Sweeps everything, however young; gives what is left of the outputs.
async fn sweep(fleet: &Fleet) -> stores::Stored {
    let output = fleet.command(&["blob", "sweep", "--older-than", "0s"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stores::read(&fleet.jetstream().await, "OUT_probe").await
}
