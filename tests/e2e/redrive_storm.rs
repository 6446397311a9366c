//! Redrives, edited and not, while dispatchers are killed at random: each dead letter ends as exactly one new result, or is
//! still there.
//!
//! `make redrive-test` does it with 500; the short form is among the other tests. Clients do what a careful caller would:
//! who hears no answer asks the next dispatcher the same again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use futures::StreamExt as _;
use prost::Message as _;
use rand::{RngExt as _, rng};
use serde_json::{Value, json};
use workfleet_proto::v1::{DeadLetter, Result as Record, State};
use workfleet_tests::{Edges, Nats, Probe, StandPlan, client, eventually_within};

const DISPATCHERS: usize = 3;
const CLIENTS: usize = 4;
/// Longest pause of a client before it asks for the next one, so that there is time to kill somebody.
const PAUSE_MS_MAX: u64 = 400;
const SETTLES_WITHIN: Duration = Duration::from_secs(180);
/// Whatever is published as a result, with nothing replaced.
const SEEN: &str = "SEEN_RESULTS";

fn letters() -> usize {
    if std::env::var("WORKFLEET_REDRIVE_TEST").as_deref() == Ok("full") { 500 } else { 60 }
}

/// What happened on the way.
#[derive(Default)]
struct Counts {
    asked: AtomicUsize,
    unanswered: AtomicUsize,
    accepted: AtomicUsize,
    gone: AtomicUsize,
    refused: AtomicUsize,
}

fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

#[tokio::test]
async fn each_dead_letter_ends_as_one_new_result_or_is_still_there_though_dispatchers_die() {
    let folder = tempfile::tempdir().expect("a folder");
    let nats = Nats::start(folder.path()).await;
    let plan = StandPlan {
        folder: folder.path().to_owned(),
        direct: nats.url(),
        dispatchers: vec![nats.url(); DISPATCHERS],
        workers: vec![nats.url(); 2],
        slots: 4,
        queue: StandPlan::probe(),
    };
    let mut stand = plan.start().await;
    let jetstream = nats.jetstream().await;
    let config = jetstream::stream::Config {
        name: SEEN.to_owned(),
        subjects: vec!["wf.done.>".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(config).await.expect("one more stream");
    let ids = die(&stand.edges(), letters()).await;
    eventually_within(SETTLES_WITHIN, "every task is dead", async || {
        (runs_of_letters(&jetstream).await.len() == ids.len()).then_some(())
    })
    .await;

    let (counts, asked) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let clients = tokio::spawn(redrive_all(stand.edges(), ids.clone(), Arc::clone(&counts), Arc::clone(&asked)));
    let (mut kills, began) = (0, Instant::now());
    while !asked.load(Ordering::Relaxed) && began.elapsed() < SETTLES_WITHIN {
        tokio::time::sleep(Duration::from_millis(rng().random_range(20..400))).await;
        stand.replace_dispatcher(rng().random_range(0..DISPATCHERS)).await;
        kills += 1;
    }
    clients.await.expect("the clients end");
    settled(&jetstream, &ids).await;

    let (ends, letters) = (ends(&jetstream).await, runs_of_letters(&jetstream).await);
    let doubled: Vec<_> = ends.iter().filter(|(_, times)| **times > 1).collect();
    let redriven: BTreeSet<&String> = ends.keys().filter(|(_, run)| *run > 1).map(|(id, _)| id).collect();
    let untouched = ids.iter().filter(|id| letters.get(*id) == Some(&1)).count();
    let lost: Vec<&String> = ids.iter().filter(|id| !redriven.contains(id) && !letters.contains_key(*id)).collect();
    let twice: Vec<&String> =
        ids.iter().filter(|id| ends.keys().filter(|(of, run)| of == *id && *run > 1).count() > 1).collect();
    println!(
        "redrive storm: {} letters, half of them edited; {kills} dispatchers killed; {} requests, {} without an answer, {} \
         accepted, {} told that it is gone, {} refused; {} with one new result, {untouched} still there, {} lost, {} \
         recorded twice",
        ids.len(),
        count(&counts.asked),
        count(&counts.unanswered),
        count(&counts.accepted),
        count(&counts.gone),
        count(&counts.refused),
        redriven.len(),
        lost.len(),
        doubled.len() + twice.len(),
    );
    assert!(kills > 0, "no dispatcher was killed while somebody asked");
    assert!(lost.is_empty(), "{lost:?}");
    assert!(doubled.is_empty() && twice.is_empty(), "{doubled:?} {twice:?}");
    assert_eq!(redriven.len() + untouched, ids.len());
}

/// Tasks that fail for good.
async fn die(edges: &Edges, number: usize) -> Vec<String> {
    let client = client(None).build().expect("its settings fit together");
    let mut ids = Vec::new();
    for at in 0..number {
        let probe = Probe::echo("storm").fails_with("hopeless").json();
        let url = format!("{}/v1/queues/probe/tasks", edges.of_turn(at));
        let answer = client.post(url).json(&probe).send().await.expect("an answer");
        let task: Value = answer.json().await.expect("JSON");
        ids.push(task["id"].as_str().expect("an id").to_owned());
    }
    ids
}

/// Each letter by a client that goes on until it hears that it is done; every third by two of them.
async fn redrive_all(edges: Edges, ids: Vec<String>, counts: Arc<Counts>, asked: Arc<AtomicBool>) {
    let asks = ids.iter().enumerate().flat_map(|(at, id)| {
        let times = if at % 3 == 0 { 2 } else { 1 };
        (0..times).map(move |_| (at, id.clone()))
    });
    let client = client(None).timeout(Duration::from_secs(15)).build().expect("its settings fit together");
    futures::stream::iter(asks)
        .for_each_concurrent(CLIENTS, |(at, id)| {
            let (client, edges, counts) = (client.clone(), edges.clone(), Arc::clone(&counts));
            async move {
                let pause = Duration::from_millis(rng().random_range(0..PAUSE_MS_MAX));
                tokio::time::sleep(pause).await;
                redrive_one(&client, &edges, at, &id, &counts).await;
            }
        })
        .await;
    asked.store(true, Ordering::Relaxed);
}

async fn redrive_one(client: &reqwest::Client, edges: &Edges, at: usize, id: &str, counts: &Counts) {
    let edited = at.is_multiple_of(2);
    // Which run's letter is meant: that of the next one, where it fails again, is another.
    let body = if edited { json!({ "payload": Probe::echo("edited").json(), "run": 1 }) } else { json!({ "run": 1 }) };
    for turn in 0..200 {
        counts.asked.fetch_add(1, Ordering::Relaxed);
        let request = client.post(format!("{}/v1/queues/probe/dead/{id}:redrive", edges.of_turn(at + turn)));
        let status = request.json(&body).send().await.map(|answer| answer.status().as_u16());
        let counter = match status {
            Ok(200 | 202) => &counts.accepted,
            Ok(404) => &counts.gone,
            Ok(400..=499) => &counts.refused,
            Ok(_) | Err(_) => &counts.unanswered,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if matches!(status, Ok(200 | 202 | 404)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until no task is on its way any more: each has an end of its latest run.
async fn settled(jetstream: &jetstream::Context, ids: &[String]) {
    eventually_within(SETTLES_WITHIN, "the queue is empty", async || {
        let stream = jetstream.get_stream("TASKS_probe").await.ok()?;
        let delay = jetstream.get_stream("DELAY_probe").await.ok()?;
        (stream.cached_info().state.messages + delay.cached_info().state.messages == 0).then_some(())
    })
    .await;
    assert!(!ids.is_empty());
}

/// How often an end was stored, for each task and run.
async fn ends(jetstream: &jetstream::Context) -> BTreeMap<(String, u32), usize> {
    let mut ends = BTreeMap::new();
    for message in all(jetstream, SEEN).await {
        let record = Record::decode(message).expect("a record");
        if record.state().is_end() && record.state() != State::Unspecified {
            *ends.entry((record.id, record.run)).or_insert(0) += 1;
        }
    }
    ends
}

/// The run of each letter that is there.
async fn runs_of_letters(jetstream: &jetstream::Context) -> BTreeMap<String, u32> {
    let letters = all(jetstream, "DEAD_probe").await;
    let results = letters.into_iter().filter_map(|letter| DeadLetter::decode(letter).expect("a letter").result);
    results.map(|result| (result.id, result.run)).collect()
}

/// Everything that a stream holds.
async fn all(jetstream: &jetstream::Context, stream: &str) -> Vec<bytes::Bytes> {
    let stream = jetstream.get_stream(stream).await.expect("it is there");
    let state = &stream.cached_info().state;
    let mut messages = Vec::new();
    for sequence in state.first_sequence.max(1)..=state.last_sequence {
        // What was deleted leaves a gap.
        if let Ok(message) = stream.get_raw_message(sequence).await {
            messages.push(message.payload);
        }
    }
    messages
}
