//! The broker's process, and what JetStream holds.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use prost::Message as _;
use serde_json::{Value, json};
use workfleet_link::broker::{Broker, BrokerConfig};
use workfleet_link::config::Vars;
use workfleet_proto::blob::Store;
use workfleet_proto::id::QueueName;
use workfleet_proto::names::DelayPart;
use workfleet_proto::settings;
use workfleet_proto::v1::QueueSettings;

use crate::fleet::eventually;

pub(super) async fn start_nats(folder: &Path, port: Option<u16>) -> (Child, u16) {
    let port_argument = port.map_or("-1".to_owned(), |port| port.to_string());
    let child = Command::new(nats_server())
        .args(["--addr=127.0.0.1", "--jetstream", "--port", &port_argument])
        .arg(format!("--store_dir={}", folder.join("store").display()))
        .arg(format!("--ports_file_dir={}", folder.display()))
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server starts");
    let ports = folder.join(format!("nats-server_{}.ports", child.id()));
    let port = eventually("nats-server tells its port", async || {
        let text = std::fs::read_to_string(&ports).ok()?;
        let ports: Value = serde_json::from_str(&text).ok()?;
        ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
    });
    (child, port.await)
}

fn nats_server() -> PathBuf {
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
    if pinned.is_file() { pinned } else { PathBuf::from("nats-server") }
}

pub(super) async fn connect(port: u16) -> Broker {
    let mut vars = Vars::from_pairs([("WORKFLEET_NATS_URL", format!("nats://127.0.0.1:{port}"))]);
    Broker::connect(&BrokerConfig::read(&mut vars, "test")).await.expect("a connection")
}

pub(super) async fn ask(broker: &Broker, api: &str, body: &Value) -> Value {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let request = broker.client.request(format!("$JS.API.{api}"), body);
    let Ok(answer) = request.await else { return Value::Null };
    serde_json::from_slice(&answer.payload).expect("JSON")
}

/// The streams of one queue, as `workfleet provision` makes them but for their sizes.
pub(super) async fn provision(broker: &Broker, queue: &QueueName, settings: &QueueSettings) {
    let names = &broker.names;
    let delay = names.delay_stream(queue);
    let due = names.delay_all(DelayPart::Due, queue);
    let due = json!({ "durable_name": names.due_consumer(), "filter_subject": due, "ack_policy": "explicit" });
    for bucket in [names.kinds_bucket(), names.queues_bucket(), names.workers_bucket()] {
        let subject = format!("$KV.{bucket}.>");
        stream(
            broker,
            json!({ "name": format!("KV_{bucket}"), "subjects": [subject], "max_msgs_per_subject": 1,
            "allow_rollup_hdrs": true, "deny_delete": true, "allow_direct": true, "discard": "new" }),
        )
        .await;
    }
    let dead =
        json!({ "name": names.dead_stream(queue), "subjects": [names.dead_all(queue)], "max_msgs_per_subject": 1 });
    stream(broker, dead).await;
    let parts: Vec<String> = DelayPart::ALL.iter().map(|part| names.delay_all(*part, queue)).collect();
    let schedules = json!({ "name": delay, "subjects": parts, "retention": "workqueue", "allow_msg_schedules": true });
    stream(broker, schedules).await;
    consumer(broker, &delay, due).await;
    stream(
        broker,
        json!({ "name": names.tasks_stream(queue), "subjects": [names.task_all(queue)],
        "retention": "workqueue", "discard": "new", "max_msgs": 10_000 }),
    )
    .await;
    stream(
        broker,
        json!({ "name": names.results_stream(queue), "subjects": [names.result_all(queue)],
        "max_msgs_per_subject": 1, "allow_direct": true }),
    )
    .await;
    stream(
        broker,
        json!({ "name": names.events_stream(queue), "subjects": [names.event_all(queue)],
        "storage": "memory", "max_msgs_per_subject": 1 }),
    )
    .await;
    for store in [Store::In, Store::Out] {
        stream(broker, object_store(&names.object_store(store, queue), settings)).await;
    }
    for lane in settings::lanes(settings) {
        let work = json!({ "durable_name": names.work_consumer(lane), "filter_subject": names.task_lane(queue, lane),
            "ack_policy": "explicit", "ack_wait": settings.lease_ms * 1_000_000, "max_deliver": -1,
            "max_ack_pending": 1_000 });
        consumer(broker, &names.tasks_stream(queue), work).await;
    }
    let subject = format!("$KV.{}.{queue}", names.queues_bucket());
    let stored = broker.jetstream.publish(subject, settings.encode_to_vec().into()).await.expect("sent");
    stored.await.expect("stored");
}

fn object_store(name: &str, settings: &QueueSettings) -> Value {
    json!({ "name": format!("OBJ_{name}"), "subjects": [format!("$O.{name}.C.>"), format!("$O.{name}.M.>")],
        "discard": "new", "max_bytes": settings.blobs_bytes_max, "allow_direct": true, "allow_rollup_hdrs": true })
}

pub(super) async fn stream(broker: &Broker, config: Value) {
    let name = config["name"].as_str().expect("a name").to_owned();
    let answer = ask(broker, &format!("STREAM.CREATE.{name}"), &config).await;
    assert!(answer["error"].is_null(), "{name}: {answer}");
}

pub(super) async fn consumer(broker: &Broker, stream: &str, config: Value) {
    let name = config["durable_name"].as_str().expect("a name").to_owned();
    let request = json!({ "stream_name": stream, "config": config });
    let answer = ask(broker, &format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), &request).await;
    assert!(answer["error"].is_null(), "{name}: {answer}");
}
