//! Queues that are emptied, beside queues that lose nothing.

use std::time::Duration;

use futures::StreamExt as _;
use workfleet_dispatcher::streams::{self, InUse, Part, Removal};
use workfleet_dispatcher::{Code, Options, Submit};
use workfleet_link::blobs;
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_proto::blob::BlobId;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::names::Lane;

use crate::place::{Place, wide};

const QUEUES: [&str; 3] = ["mail", "mail-x", "mail-x-y"];

/// A kind for each queue, and the queues.
pub(crate) async fn provisioned(place: &Place) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = String::new();
    for queue in QUEUES {
        let service: String = queue.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        let proto = format!(
            "syntax = \"proto3\"; package acme.{}.v1; service {service} {{ rpc Run(In) returns (Out); }} \
             message In {{ uint32 width_px = 1; }} message Out {{}}",
            service.to_lowercase()
        );
        let path = folder.path().join(format!("{queue}.proto"));
        std::fs::write(&path, proto).expect("a file");
        text.push_str(&format!("[queue.{queue}]\nproto = {path:?}\n"));
    }
    place.provision(&text).await;
}

pub(crate) fn to(queue: &str, width_px: u32, key: Option<&str>, options: Options) -> Submit {
    Submit { queue: queue.to_owned(), ..wide(width_px, key, options) }
}

fn delayed() -> Options {
    Options { delay: Some(Duration::from_secs(3_600)), ..Options::default() }
}

pub(crate) fn name(queue: &str) -> QueueName {
    queue.parse().expect("a name")
}

pub(crate) async fn purged(place: &Place, queue: &str, parts: &[Part]) -> Removal {
    let broker = place.dispatcher.broker();
    let removal = streams::purge(broker, &name(queue), parts, InUse::Refused).await.expect("not in use");
    removal.carry_out(broker, InUse::Refused).await.expect("purged");
    removal
}

/// One of everything in each queue.
pub(crate) async fn filled(place: &Place) {
    let broker = place.dispatcher.broker();
    for queue in QUEUES {
        for options in [Options::default(), delayed()] {
            place.dispatcher.submit(to(queue, 1, None, options)).await.expect("stored");
        }
        let pipeline = Pipeline::start(broker);
        for subject in [format!("wf.dead.{queue}.a"), format!("wf.result.{queue}.a.a"), format!("wf.key.{queue}.a")] {
            pipeline.publish(Publish::new(subject, vec![1].into())).await.expect("stored");
        }
        let upload = BlobId::upload(&name(queue), 7);
        blobs::put_bytes(broker, &upload, vec![1; 10].into()).await.expect("stored");
    }
}

/// What a queue has: tasks, delayed ones, results and keys, dead letters, messages of its object store.
pub(crate) async fn counts(place: &Place, queue: &str) -> [u64; 5] {
    let dead = place.dispatcher.queue(queue).await.expect("a queue").dead;
    let mut counts = [0, 0, 0, dead, 0];
    for (at, stream) in [(0, "TASKS"), (1, "DELAY"), (2, "RESULTS"), (4, "OBJ_IN")] {
        counts[at] = place.messages(&format!("{stream}_{queue}")).await;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_what_was_named_of_that_queue_alone() {
    let place = Place::start("").await;
    provisioned(&place).await;
    filled(&place).await;
    let all = [1, 1, 2, 1, 2];
    assert_eq!(counts(&place, "mail").await, all);
    let planned = streams::purge(place.dispatcher.broker(), &name("mail"), &[Part::Dead], InUse::Refused).await;
    assert_eq!(planned.expect("a plan").items[0].holds, "1 dead letters");
    assert_eq!(counts(&place, "mail").await, all, "a plan removes nothing");
    purged(&place, "mail", &[Part::Waiting]).await;
    assert_eq!(counts(&place, "mail").await, [0, 0, 2, 1, 2]);
    purged(&place, "mail", &[Part::Dead]).await;
    assert_eq!(counts(&place, "mail").await, [0, 0, 2, 0, 2]);
    purged(&place, "mail", &[Part::Results]).await;
    assert_eq!(counts(&place, "mail").await, [0, 0, 0, 0, 2], "uploads are their callers'");
    for other in &QUEUES[1..] {
        assert_eq!(counts(&place, other).await, all, "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_task_can_be_submitted_again_under_its_key() {
    let place = Place::start("").await;
    for (key, options) in [("now", Options::default()), ("later", delayed())] {
        let first = place.dispatcher.submit(wide(1, Some(key), options.clone())).await.expect("stored").task;
        purged(&place, "thumbnail", &[Part::Waiting]).await;
        let gone = place.dispatcher.get(&first.id.parse().expect("an id")).await.expect_err("purged");
        assert_eq!(gone.code, Code::UnknownTask);
        let again = place.dispatcher.submit(wide(1, Some(key), options.clone())).await.expect("stored").task;
        assert_eq!(again.id, first.id);
        let found = place
            .dispatcher
            .get(&again.id.parse().expect("an id"))
            .await
            .unwrap_or_else(|error| panic!("{key}: it is not there: {error:?}"));
        assert_eq!(found.state, first.state);
    }
    assert_eq!(place.info("TASKS_thumbnail").await["config"]["duplicate_window"], 120_000_000_000_u64);
    // With the results go the keys, so that another payload may use them.
    purged(&place, "thumbnail", &[Part::Waiting, Part::Results]).await;
    place.dispatcher.submit(wide(2, Some("now"), Options::default())).await.expect("nobody remembers the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_while_tasks_run_unless_it_is_forced() {
    let place = Place::start("").await;
    place.dispatcher.submit(wide(1, None, Options::default())).await.expect("stored");
    let broker = place.dispatcher.broker();
    let stream = broker.jetstream.get_stream("TASKS_thumbnail").await.expect("a stream");
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer("WORK_m").await.expect("a consumer");
    let mut given = consumer.fetch().max_messages(1).messages().await.expect("a pull");
    let _held = given.next().await.expect("a task");
    for part in [Part::Waiting, Part::Dead, Part::Results] {
        let refused = streams::purge(broker, &name("thumbnail"), &[part], InUse::Refused).await.expect_err("in use");
        assert!(refused.to_string().contains("1 tasks run"), "{refused}");
    }
    let removal = streams::purge(broker, &name("thumbnail"), &[Part::Waiting], InUse::Forced).await.expect("forced");
    removal.carry_out(broker, InUse::Forced).await.expect("purged");
    assert_eq!(place.messages("TASKS_thumbnail").await, 0);
    let unknown = streams::purge(broker, &name("nowhere"), &[Part::Waiting], InUse::Refused).await;
    assert!(unknown.expect_err("no such queue").to_string().contains("thumbnail"), "the known ones are named");
}

/// Publishes what a worker does of one task, all under the ids of its first life; says of which the stream holds that it
/// has them already.
async fn duplicates(place: &Place, id: &TaskId) -> Vec<String> {
    let broker = place.dispatcher.broker();
    let pipeline = Pipeline::start(broker);
    let names = &broker.names;
    let lives = [(names.task(id, Lane::DEFAULT), "1/1"), (names.delay_at(id), "1/2"), (names.dead(id), "1/dead")];
    let mut duplicates = Vec::new();
    for (subject, copy) in lives {
        let message_id = Some(format!("{id}/{copy}"));
        let stored = pipeline.publish(Publish { message_id, ..Publish::new(subject, vec![1].into()) }).await;
        if stored.expect("acknowledged").duplicate {
            duplicates.push(copy.to_owned());
        }
    }
    duplicates
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_left_in_the_streams_memories_is_not_taken_for_that_of_its_next_life() {
    let place = Place::start("").await;
    let id = TaskId::keyed(&name("thumbnail"), "order-1", None);
    assert!(duplicates(&place, &id).await.is_empty(), "its first life");
    assert_eq!(duplicates(&place, &id).await, ["1/1", "1/2", "1/dead"], "they are remembered");
    for part in [Part::Results, Part::Dead, Part::Waiting] {
        purged(&place, "thumbnail", &[part]).await;
        assert_eq!(duplicates(&place, &id).await, Vec::<String>::new(), "{part:?}");
    }
    let broker = place.dispatcher.broker();
    let removal = streams::retire(broker, &name("thumbnail"), InUse::Forced).await.expect("forced");
    removal.carry_out(broker, InUse::Forced).await.expect("retired");
    place.provision("").await;
    assert_eq!(duplicates(&place, &id).await, Vec::<String>::new(), "retired");
}

async fn remember_for(place: &Place, stream: &str, window_ns: u64) {
    let mut config = place.info(stream).await["config"].clone();
    config["duplicate_window"] = window_ns.into();
    let subject = format!("STREAM.UPDATE.{stream}");
    let answer: serde_json::Value =
        place.dispatcher.broker().jetstream.request(subject, &config).await.expect("an answer");
    assert_eq!(answer["config"]["duplicate_window"], window_ns, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_broke_off_leaves_no_short_memory_behind_the_next() {
    let place = Place::start("").await;
    let streams = ["TASKS_thumbnail", "DELAY_thumbnail", "DEAD_thumbnail"];
    for stream in streams {
        // As one that was killed leaves it.
        remember_for(&place, stream, 200_000_000).await;
    }
    purged(&place, "thumbnail", &[Part::Waiting]).await;
    for stream in streams {
        assert_eq!(place.info(stream).await["config"]["duplicate_window"], 120_000_000_000_u64, "{stream}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_began_to_run_since_the_question_are_not_purged() {
    let place = Place::start("").await;
    place.dispatcher.submit(wide(1, None, Options::default())).await.expect("stored");
    let broker = place.dispatcher.broker();
    let removal = streams::purge(broker, &name("thumbnail"), &[Part::Waiting], InUse::Refused).await.expect("at rest");
    let stream = broker.jetstream.get_stream("TASKS_thumbnail").await.expect("a stream");
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer("WORK_m").await.expect("a consumer");
    let mut given = consumer.fetch().max_messages(1).messages().await.expect("a pull");
    let _held = given.next().await.expect("a task");
    let refused = removal.carry_out(broker, InUse::Refused).await.expect_err("it runs by now");
    assert!(refused.to_string().contains("1 tasks run"), "{refused}");
    assert_eq!(place.messages("TASKS_thumbnail").await, 1, "nothing has gone");
    removal.carry_out(broker, InUse::Forced).await.expect("forced");
    assert_eq!(place.messages("TASKS_thumbnail").await, 0);
}
