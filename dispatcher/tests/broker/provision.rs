//! Streams and consumers, made and made again.

use std::time::Duration;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use serde_json::json;
use workfleet_dispatcher::Options;
use workfleet_dispatcher::streams::{self, Change, Losses, ProvisionError, Report};
use workfleet_link::{kinds, read};
use workfleet_proto::Task as _;
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_proto::limits::DESCRIPTORS_BYTES_MAX;

use crate::place::{Place, eventually, wide};

fn changed(report: &Report) -> Vec<(&str, Change)> {
    let changed = report.lines.iter().filter(|line| line.change != Change::Unchanged);
    changed.map(|line| (line.name.as_str(), line.change)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_time_changes_nothing_and_a_new_limit_just_that() {
    let place = Place::start("lanes = [\"h\", \"m\"]").await;
    assert_eq!(changed(&place.provision("lanes = [\"h\", \"m\"]").await), []);
    let report = place.provision("lanes = [\"h\", \"m\"]\ntasks_max = 77\nlease = \"3s\"").await;
    assert_eq!(
        changed(&report),
        [
            ("stream TASKS_thumbnail", Change::Updated),
            ("consumer TASKS_thumbnail/WORK_h", Change::Updated),
            ("consumer TASKS_thumbnail/WORK_m", Change::Updated),
            ("queue thumbnail", Change::Updated),
        ]
    );
    assert_eq!(place.info("TASKS_thumbnail").await["config"]["max_msgs"], 77);
}

#[tokio::test(flavor = "multi_thread")]
async fn lower_limits_lose_no_task_that_waits() {
    let place = Place::start("").await;
    for width_px in 1..=5 {
        place.dispatcher.submit(wide(width_px, None, Options::default())).await.expect("stored");
    }
    place.provision("tasks_max = 2\ntasks_bytes_max = 1048576").await;
    assert_eq!(place.messages("TASKS_thumbnail").await, 5);
    let refused = place.dispatcher.submit(wide(6, None, Options::default())).await.expect_err("the queue is full");
    assert_eq!(refused.code.name(), "queue_full");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_would_drop_results_is_refused_before_anything_is_changed() {
    let place = Place::start("").await;
    let jetstream = &place.dispatcher.broker().jetstream;
    for id in ["a", "b"] {
        let stored = jetstream.publish(format!("wf.result.thumbnail.0.{id}"), vec![0; 800 << 10].into()).await;
        stored.expect("sent").await.expect("stored");
    }
    let smaller = "tasks_max = 7\nresults_bytes_max = 1048576";
    let refused = place.try_provision(smaller).await.expect_err("results would go");
    assert!(
        matches!(&refused, ProvisionError::WouldDrop { name, .. } if name == "stream RESULTS_thumbnail"),
        "{refused}"
    );
    assert_eq!(place.messages("RESULTS_thumbnail").await, 2);
    assert_ne!(place.info("TASKS_thumbnail").await["config"]["max_msgs"], 7, "changed all the same");
    place.provision("results_bytes_max = 2097152").await;
    let report = streams::provision_with(place.dispatcher.broker(), &place.file(smaller), Losses::Allowed).await;
    report.expect("told to");
    assert_eq!(place.messages("RESULTS_thumbnail").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_set_beside_it_stays() {
    let place = Place::start("").await;
    let mut config = place.info("TASKS_thumbnail").await["config"].clone();
    config["description"] = "ours".into();
    let update: serde_json::Value =
        place.dispatcher.broker().jetstream.request("STREAM.UPDATE.TASKS_thumbnail", &config).await.expect("an answer");
    assert_eq!(update["config"]["description"], "ours", "{update}");
    place.provision("tasks_max = 5").await;
    assert_eq!(place.info("TASKS_thumbnail").await["config"]["description"], "ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_in_memory_are_made_again_after_the_broker_was_killed() {
    let mut place = Place::start("").await;
    let id = place.dispatcher.submit(wide(1, None, Options::default())).await.expect("stored").task.id;
    place.kill_broker();
    place.start_broker().await;
    // The state is told while they are gone, too.
    let view = place.dispatcher.get(&id.parse().expect("an id")).await.expect("still there");
    assert_eq!(view.state.0.word(), "queued");
    let made = streams::restore_events(place.dispatcher.broker()).await.expect("made again");
    assert_eq!(made, ["stream EVENTS_thumbnail"]);
    assert_eq!(streams::restore_events(place.dispatcher.broker()).await.expect("there"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_appears_later_is_known_without_a_restart() {
    let place = Place::start("").await;
    let submit =
        |queue: &str| workfleet_dispatcher::Submit { queue: queue.to_owned(), ..wide(1, None, Options::default()) };
    let refused = place.dispatcher.submit(submit("mail")).await.expect_err("not there yet");
    assert_eq!((refused.code.name(), refused.known.clone()), ("unknown_queue", vec!["thumbnail".to_owned()]));
    let proto = place.mail_proto();
    place.provision(&format!("[queue.mail]\nproto = {proto:?}")).await;
    eventually("the queue is known", async || place.dispatcher.submit(submit("mail")).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_goes_only_when_no_task_can_be_left_in_it() {
    let place = Place::start("lanes = [\"h\", \"m\"]").await;
    let urgent = Options { priority: Some("h".to_owned()), ..Options::default() };
    place.dispatcher.submit(wide(1, None, urgent)).await.expect("stored");
    let refused = place.try_provision("lanes = [\"m\"]").await.expect_err("a task would be lost");
    assert!(refused.to_string().contains("the lane h is to go"), "{refused}");
    let stream = place.dispatcher.broker().jetstream.get_stream("TASKS_thumbnail").await.expect("a stream");
    stream.purge().await.expect("drained");
    let report = place.provision("lanes = [\"m\"]").await;
    assert_eq!(
        changed(&report),
        [("queue thumbnail", Change::Updated), ("consumer TASKS_thumbnail/WORK_h", Change::Removed)]
    );
    assert_eq!(changed(&place.provision("lanes = [\"m\"]").await), []);
}

/// The lanes that the queue's settings name.
async fn lanes(place: &Place) -> Vec<String> {
    let queue = "thumbnail".parse().expect("a name");
    let settings = read::queue_settings(place.dispatcher.broker(), &queue).await.expect("an answer");
    settings.expect("a queue").lanes
}

fn urgent() -> Options {
    Options { priority: Some("h".to_owned()), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_submitted_by_old_settings_while_its_lane_goes_keeps_the_lane() {
    let place = Place::start("lanes = [\"h\", \"m\"]").await;
    // The dispatcher knows the lane for two seconds from here on.
    place.dispatcher.queue("thumbnail").await.expect("a queue");
    let late = async {
        eventually("the lane goes", async || (lanes(&place).await == ["m"]).then_some(())).await;
        place.dispatcher.submit(wide(1, None, urgent())).await.expect("by the settings of a moment ago")
    };
    let (report, _) = futures::join!(place.try_provision("lanes = [\"m\"]"), late);
    let refused = report.expect_err("the task would be lost");
    assert!(refused.to_string().contains("the lane h is to go"), "{refused}");
    assert_eq!(lanes(&place).await, ["h", "m"], "the lane is back, as urgent as it was");
    let stream = place.dispatcher.broker().jetstream.get_stream("TASKS_thumbnail").await.expect("a stream");
    let consumer = stream.consumer_info("WORK_h").await.expect("whoever takes the task");
    assert_eq!(consumer.num_pending, 1);
    eventually("it can be submitted to", async || place.dispatcher.submit(wide(1, None, urgent())).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_broke_off_after_the_settings_is_finished_by_the_next() {
    let place = Place::start("lanes = [\"h\", \"m\"]").await;
    let broken_off = tokio::time::timeout(Duration::from_secs(2), place.try_provision("lanes = [\"m\"]")).await;
    assert!(broken_off.is_err(), "it waits for settings to be read");
    assert_eq!(lanes(&place).await, ["m"]);
    let report = place.provision("lanes = [\"m\"]").await;
    assert_eq!(changed(&report), [("consumer TASKS_thumbnail/WORK_h", Change::Removed)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workers_can_wait_at_a_lane_and_a_consumer_made_with_fewer_stays() {
    let place = Place::start("").await;
    let stream = place.dispatcher.broker().jetstream.get_stream("TASKS_thumbnail").await.expect("a stream");
    let mut config = stream.consumer_info("WORK_m").await.expect("a consumer").config;
    assert_eq!(config.max_waiting, 16_384);
    stream.delete_consumer("WORK_m").await.expect("deleted");
    config.max_waiting = 512;
    stream.create_consumer(config).await.expect("as an earlier provision made it");
    let report = place.provision("lease = \"3s\"").await;
    assert!(changed(&report).contains(&("consumer TASKS_thumbnail/WORK_m", Change::Updated)), "{report:?}");
    assert_eq!(stream.consumer_info("WORK_m").await.expect("a consumer").config.max_waiting, 512);
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_the_broker_cannot_store_are_told_with_what_to_change() {
    let place = Place::start("").await;
    let refused = place.try_provision("blobs_bytes_max = 17592186044416\n").await.expect_err("16 TiB");
    assert!(matches!(refused, ProvisionError::NoRoom { .. }), "{refused}");
    assert!(refused.to_string().contains("blobs_bytes_max"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_from_before_loses_its_roll_ups_and_nothing_else() {
    let place = Place::start("").await;
    let jetstream = &place.dispatcher.broker().jetstream;
    let mut config = place.info("KV_KINDS").await["config"].clone();
    config["allow_rollup_hdrs"] = true.into();
    let update: serde_json::Value = jetstream.request("STREAM.UPDATE.KV_KINDS", &config).await.expect("an answer");
    assert_eq!(update["config"]["allow_rollup_hdrs"], true, "{update}");
    let held = place.messages("KV_KINDS").await;
    assert_eq!(changed(&place.provision("").await), [("stream KV_KINDS", Change::Updated)]);
    assert_ne!(place.info("KV_KINDS").await["config"]["allow_rollup_hdrs"], true);
    assert_eq!(place.messages("KV_KINDS").await, held);
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_buckets_take_small_records_alone_and_those_from_before_are_changed() {
    let place = Place::start("").await;
    let jetstream = &place.dispatcher.broker().jetstream;
    let mut config = place.info("KV_WORKERS").await["config"].clone();
    config["max_msg_size"] = (-1).into();
    let update: serde_json::Value = jetstream.request("STREAM.UPDATE.KV_WORKERS", &config).await.expect("an answer");
    assert_eq!(update["config"]["max_msg_size"], -1, "{update}");
    assert_eq!(changed(&place.provision("").await), [("stream KV_WORKERS", Change::Updated)]);
    for (bucket, bytes_max) in [("WORKERS", 4 << 10), ("QUEUES", 64 << 10), ("KINDS", 260 << 10)] {
        let record = async |bytes: usize| {
            let stored = jetstream.publish(format!("$KV.{bucket}.other"), vec![0; bytes].into()).await;
            stored.expect("sent").await
        };
        record(bytes_max).await.expect("no more than allowed");
        let refused = record(bytes_max + 1).await.expect_err("too large").to_string();
        assert!(refused.contains("10054"), "{bucket}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_is_too_large_is_refused_with_the_limit() {
    let place = Place::start("").await;
    let queue = "mail".parse().expect("a name");
    let comment = "x".repeat(DESCRIPTORS_BYTES_MAX);
    let mut files = FileDescriptorSet::decode(ThumbnailRequest::DESCRIPTORS).expect("descriptors");
    files.file[0].name = Some(format!("{comment}.proto"));
    let service = ThumbnailRequest::SERVICE;
    let refused = kinds::register(place.dispatcher.broker(), &queue, service, &files.encode_to_vec()).await;
    let refused = refused.expect_err("too large").to_string();
    assert!(refused.contains("the limit is 262144 bytes"), "{refused}");
}

/// Fleets from before kept the bytes of all queues' contracts side by side.
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_from_before_is_read_where_it_was() {
    let place = Place::start("").await;
    let broker = place.dispatcher.broker();
    let queue = "thumbnail".parse().expect("a name");
    let record = kinds::record(broker, &queue).await.expect("an answer").expect("it is registered");
    let bytes = kinds::schema(broker, &queue, &record.schema).await.expect("an answer").expect("it is there");
    let subject = |key: String| format!("$KV.KINDS.{key}");
    let own = subject(broker.names.schema_key(&queue, &record.schema));
    let shared = subject(broker.names.schema_key_shared(&record.schema));
    let purge = json!({ "filter": own });
    let purged: serde_json::Value = broker.jetstream.request("STREAM.PURGE.KV_KINDS", &purge).await.expect("an answer");
    assert_eq!(purged["purged"], 1, "{purged}");
    assert!(kinds::schema(broker, &queue, &record.schema).await.expect("an answer").is_none());

    broker.jetstream.publish(shared.clone(), bytes.clone()).await.expect("sent").await.expect("stored");
    assert_eq!(kinds::schema(broker, &queue, &record.schema).await.expect("an answer"), Some(bytes));
    broker.jetstream.publish(shared, "forged".into()).await.expect("sent").await.expect("stored");
    let refused = kinds::schema(broker, &queue, &record.schema).await.expect_err("its hash is another").to_string();
    assert!(refused.contains("hash"), "{refused}");
}
