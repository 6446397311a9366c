//! Queues of before dispatchers carried what is due: the server moved it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use workfleet_dispatcher::queues_file::QueuesFile;
use workfleet_dispatcher::streams;

use crate::cancel::pulled;
use crate::due::{Carrier, soon};
use crate::halting::{DELAY, TASKS, submitted};
use crate::place::{Place, eventually};

/// Puts a queue back into that way.
async fn before(place: &Place, queue: &str) {
    let jetstream = &place.dispatcher.broker().jetstream;
    let delay = format!("DELAY_{queue}");
    jetstream.get_stream(&delay).await.expect("a stream").delete_consumer("DUE").await.expect("deleted");
    let (deliver, due) = (format!("wf.source.{queue}"), format!("wf.delay.due.{queue}.>"));
    let source = json!({
        "stream_name": delay,
        "config": {
            "durable_name": "SRC", "deliver_subject": deliver, "filter_subject": due, "deliver_policy": "all",
            "ack_policy": "flow_control", "flow_control": true, "idle_heartbeat": 1_000_000_000,
        },
    });
    let made: Value =
        jetstream.request(format!("CONSUMER.DURABLE.CREATE.{delay}.SRC"), &source).await.expect("an answer");
    assert!(made.get("error").is_none(), "{made}");
    let mut config = place.info(&format!("TASKS_{queue}")).await["config"].clone();
    config["sources"] = json!([{
        "name": delay, "consumer": { "name": "SRC", "deliver_subject": deliver },
        "subject_transforms": [{ "src": due, "dest": format!("wf.task.{queue}.>") }],
    }]);
    let changed: Value = jetstream.request(format!("STREAM.UPDATE.TASKS_{queue}"), &config).await.expect("an answer");
    assert!(changed.get("error").is_none(), "{changed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_whose_server_moved_what_is_due_is_taken_over_without_a_loss() {
    let place = Place::start("tasks_max = 1").await;
    before(&place, "thumbnail").await;
    let mut ids = BTreeSet::new();
    for _ in 0..5 {
        ids.insert(submitted(&place, soon()).await.to_string());
    }
    eventually("the server moves one", async || (place.messages(TASKS).await == 1).then_some(())).await;
    let scale = async || {
        let scale = place.dispatcher.scale("thumbnail").await.expect("a queue");
        (scale.waiting == 1 && scale.due >= 4).then_some(())
    };
    eventually("all are counted, although nobody takes them here", scale).await;
    let report = place.provision("tasks_max = 1").await;
    let line = |name: &str| report.lines.iter().find(|line| line.name == name).map(|line| format!("{:?}", line.change));
    assert_eq!(line("consumer DELAY_thumbnail/SRC").as_deref(), Some("Removed"), "{report:?}");
    assert_eq!(line("consumer DELAY_thumbnail/DUE").as_deref(), Some("Created"), "{report:?}");
    assert!(place.info(TASKS).await["config"]["sources"].is_null());
    assert!(place.messages(DELAY).await > 0, "some wait for room");

    let carrier = Carrier::start(&place.dispatcher);
    let mut seen = BTreeSet::new();
    while seen.len() < ids.len() {
        let task = pulled(&place).await;
        seen.insert(task.subject.rsplit('.').next().expect("an id").to_owned());
        task.double_ack().await.expect("acknowledged");
    }
    assert_eq!(seen, ids, "some perhaps twice, and none is missing");
    carrier.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_behind_one_that_is_refused_goes_on_in_the_old_way() {
    let place = Place::start("").await;
    let proto = place.mail_proto();
    let other = proto.with_file_name("other.proto");
    let text = std::fs::read_to_string(&proto).expect("a file").replace("service Mail", "service Other");
    std::fs::write(&other, text).expect("a file");
    let file = |tasks_bytes_max: u64| {
        let small = "tasks_bytes_max = 268435456\nresults_bytes_max = 268435456\nblobs_bytes_max = 268435456";
        let path = proto.with_file_name("both.toml");
        let text = format!(
            "[defaults]\n{small}\n[queue.mail]\nproto = {proto:?}\ntasks_bytes_max = {tasks_bytes_max}\n\
             [queue.other]\nproto = {other:?}\n"
        );
        std::fs::write(&path, text).expect("a file");
        QueuesFile::read(&path).expect("no mistakes")
    };
    let broker = place.dispatcher.broker();
    streams::provision(broker, &file(268_435_456)).await.expect("provisioned");
    for queue in ["mail", "other"] {
        before(&place, queue).await;
    }
    streams::provision(broker, &file(1 << 44)).await.expect_err("there is no disk for it");
    assert_eq!(place.info("TASKS_other").await["config"]["sources"][0]["name"], "DELAY_other");
    let delay = broker.jetstream.get_stream("DELAY_other").await.expect("a stream");
    delay.consumer_info("SRC").await.expect("the consumer of before");
    streams::provision(broker, &file(268_435_456)).await.expect("provisioned");
    delay.consumer_info("DUE").await.expect("the consumer of today");
    delay.consumer_info("SRC").await.expect_err("the consumer of before is gone");
}
