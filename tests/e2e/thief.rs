//! Somebody has the seed of one queue's workers, and a NATS client of his own.

use async_nats::{HeaderMap, jetstream};
use futures::StreamExt as _;
use serde_json::json;
use workfleet_tests::{Fleet, FleetBuilder, Probe, Thief, eventually};

const OTHERS_ID: &str = "thumbnail_01h455vb4pex5vsknk084sn02q";

/// He has the seed of `probe`; `thumbnail` is another queue, `webhook` may be asked for children.
fn fleet() -> FleetBuilder {
    let builder = Fleet::builder().with_keys().probe(|queue| queue.children(&["webhook"]));
    builder.queue("thumbnail", |queue| queue).queue("webhook", |queue| queue)
}

async fn thief(fleet: &Fleet) -> Thief {
    let keys = fleet.nats.keys().expect("a fleet with keys");
    let (url, seed) = (fleet.nats.url(), keys.seed("worker-probe"));
    Thief::connect(&url, "worker-probe", seed).await.expect("the seed is good")
}

#[tokio::test]
async fn he_reads_nothing_of_another_queue() {
    let fleet = fleet().start().await;
    let thief = thief(&fleet).await;
    let last = json!({ "last_by_subj": "wf.result.thumbnail.q.x" }).to_string();
    for stream in ["TASKS_thumbnail", "DELAY_thumbnail", "RESULTS_thumbnail", "EVENTS_thumbnail", "DEAD_thumbnail"] {
        thief.may_not_publish(&format!("$JS.API.STREAM.MSG.GET.{stream}"), &last).await;
        thief.may_not_publish(&format!("$JS.API.DIRECT.GET.{stream}"), &last).await;
        thief.may_not_publish(&format!("$JS.API.DIRECT.GET.{stream}.wf.result.thumbnail.q.x"), "").await;
        thief.may_not_publish(&format!("$JS.API.STREAM.INFO.{stream}"), "").await;
    }
    for store in ["OBJ_IN_thumbnail", "OBJ_OUT_thumbnail", "KV_WORKERS", "KV_FLOWS"] {
        thief.may_not_publish(&format!("$JS.API.STREAM.MSG.GET.{store}"), "{\"seq\":1}").await;
        thief.may_not_publish(&format!("$JS.API.DIRECT.GET.{store}"), "{\"seq\":1}").await;
    }
    for next in ["MSG.NEXT.TASKS_thumbnail.WORK_m", "INFO.TASKS_thumbnail.WORK_m", "MSG.NEXT.DELAY_probe.DUE"] {
        thief.may_not_publish(&format!("$JS.API.CONSUMER.{next}"), "1").await;
    }
    for consumer in ["RESULTS_thumbnail", "RESULTS_probe", "TASKS_probe", "DEAD_probe", "KV_QUEUES"] {
        thief.may_not_publish(&format!("$JS.API.CONSUMER.CREATE.{consumer}"), "{}").await;
        thief.may_not_publish(&format!("$JS.API.CONSUMER.DURABLE.CREATE.{consumer}.X"), "{}").await;
    }
    for subject in [
        ">",
        "wf.>",
        "*.*.thumbnail.>",
        "wf.task.thumbnail.>",
        "wf.done.>",
        "wf.event.>",
        "wf.submit.*",
        "wf.call.thumbnail",
        "wf.cancel.thumbnail",
        "wf.cancel.*",
        "_INBOX.>",
        "_INBOX_dispatcher.>",
        "_INBOX_provision.>",
        "_INBOX_worker-thumbnail.>",
        "$JS.>",
        "$KV.>",
        "$O.>",
        "$SYS.>",
    ] {
        thief.may_not_subscribe(subject).await;
    }
}

#[tokio::test]
async fn he_changes_nothing_of_another_queue() {
    let fleet = fleet().start().await;
    let thief = thief(&fleet).await;
    for subject in [
        &format!("wf.task.thumbnail.q.m.{OTHERS_ID}"),
        &format!("wf.task.probe.q.m.{}", OTHERS_ID.replace("thumbnail", "probe")),
        &format!("wf.delay.at.thumbnail.{OTHERS_ID}"),
        &format!("wf.delay.due.thumbnail.q.m.{OTHERS_ID}"),
        &format!("wf.result.thumbnail.q.{OTHERS_ID}"),
        &format!("wf.key.thumbnail.{OTHERS_ID}"),
        &format!("wf.key.probe.{}", OTHERS_ID.replace("thumbnail", "probe")),
        &format!("wf.dead.thumbnail.{OTHERS_ID}"),
        &format!("wf.event.thumbnail.{OTHERS_ID}"),
        &format!("wf.done.thumbnail.{OTHERS_ID}"),
        "wf.call.thumbnail",
        "wf.cancel.thumbnail",
        "wf.cancel.probe",
        &format!("wf.delay.deadline.thumbnail.{OTHERS_ID}"),
        &format!("wf.delay.expired.thumbnail.{OTHERS_ID}"),
        "wf.submit.thumbnail",
        "wf.submit.probe",
        "$JS.ACK.TASKS_thumbnail.WORK_m.1.1.1.1.0",
        "$O.IN_thumbnail.M.x",
        "$O.OUT_thumbnail.C.x",
        "$O.IN_probe.M.x",
        "$KV.QUEUES.thumbnail",
        "$KV.QUEUES.probe",
        "$KV.KINDS.kind.thumbnail",
        "$KV.KINDS.schema.thumbnail.0123456789abcdef",
        "$KV.KINDS.schema.0123456789abcdef",
        "$KV.WORKERS.thumbnail.x",
        "_INBOX_dispatcher.x",
        "_INBOX_worker-thumbnail.x",
        "$SRV.PING",
    ] {
        thief.may_not_publish(subject, "x").await;
    }
}

#[tokio::test]
async fn he_makes_changes_and_removes_no_stream() {
    let fleet = fleet().start().await;
    let thief = thief(&fleet).await;
    for stream in [
        "TASKS_thumbnail",
        "TASKS_probe",
        "RESULTS_probe",
        "DELAY_probe",
        "EVENTS_probe",
        "DEAD_probe",
        "KV_QUEUES",
        "X",
    ] {
        for act in ["CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "LEADER.STEPDOWN", "SNAPSHOT", "RESTORE"] {
            thief.may_not_publish(&format!("$JS.API.STREAM.{act}.{stream}"), "{}").await;
        }
        thief.may_not_publish(&format!("$JS.API.CONSUMER.DELETE.{stream}.WORK_m"), "").await;
        thief.may_not_publish(&format!("$JS.API.CONSUMER.PAUSE.{stream}.WORK_m"), "{}").await;
    }
    for store in ["OBJ_IN_thumbnail", "OBJ_OUT_thumbnail"] {
        thief.may_not_publish(&format!("$JS.API.STREAM.PURGE.{store}"), "").await;
        thief.may_not_publish(&format!("$JS.API.STREAM.MSG.DELETE.{store}"), "{\"seq\":1}").await;
    }
    for list in ["STREAM.NAMES", "STREAM.LIST", "INFO", "CONSUMER.NAMES.TASKS_thumbnail"] {
        thief.may_not_publish(&format!("$JS.API.{list}"), "").await;
    }
    let made = jetstream::new(thief.client.clone()).create_stream("MINE").await;
    assert!(made.is_err(), "{made:?}");
    assert!(fleet.jetstream().await.get_stream("MINE").await.is_err());
}

#[tokio::test]
async fn he_wipes_no_bucket_that_all_queues_share_with_a_roll_up() {
    let fleet = fleet().start().await;
    let thief = thief(&fleet).await;
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Rollup", "all");
    let jetstream = jetstream::new(thief.client.clone());
    for subject in ["$KV.KINDS.kind.probe", "$KV.WORKERS.probe.x", "wf.dead.probe.x"] {
        let sent = jetstream.publish_with_headers(subject, headers.clone(), "x".into()).await.expect("it is sent");
        let refused = sent.await.expect_err("it is not stored").to_string();
        assert!(refused.contains("rollup"), "{refused}");
    }
    assert!(thief.refusals().is_empty(), "he may write there, and no more");
    fleet.http.get("/v1/queues/thumbnail").send().await.expect(200);
}

/// The broker asks nobody's leave for where an answer goes, and some answers are all that a request needs to be.
#[tokio::test]
async fn he_has_no_answer_sent_where_he_may_not_publish() {
    let fleet = fleet().workers("probe", 0).start().await;
    let own = fleet.submit(&Probe::echo("his")).await;
    let others = json!({"url": "http://receiver.example", "type": "a", "data": {}});
    fleet.http.post("/v1/queues/webhook/tasks").json(&others).send().await.expect(202);
    let thief = thief(&fleet).await;
    let forged = thief.client.publish("wf.event.probe.x", "forged".into()).await;
    forged.expect("he may say something about his own tasks");

    let task = format!("wf.task.thumbnail.q.m.{OTHERS_ID}");
    let delete = "$JS.API.STREAM.DELETE.TASKS_webhook".to_owned();
    let purge = "$JS.API.STREAM.PURGE.TASKS_webhook".to_owned();
    let settings = "$KV.QUEUES.webhook".to_owned();
    for elsewhere in [task, delete, purge, settings] {
        for (subject, body) in [
            ("wf.event.probe.x", "x"),
            ("wf.submit.webhook", "no submit"),
            ("$JS.API.STREAM.MSG.GET.TASKS_probe", "{\"seq\":1}"),
            ("$JS.API.DIRECT.GET.OBJ_IN_probe", "{\"seq\":1}"),
            ("$JS.API.CONSUMER.MSG.NEXT.TASKS_probe.WORK_m", "{\"batch\":1,\"no_wait\":true}"),
            ("$JS.API.CONSUMER.MSG.NEXT.TASKS_probe.WORK_m", "{\"batch\":1,\"no_wait\":true}"),
        ] {
            let sent = thief.client.publish_with_reply(subject, elsewhere.clone(), body.into()).await;
            sent.expect("the connection is open");
        }
    }
    // Answered after the others, which come from the same connection.
    thief.client.request("wf.submit.webhook", "no submit".into()).await.expect("an inbox is answered");
    assert!(thief.refusals().is_empty(), "he asked for what he may: {:?}", thief.refusals());
    let waiting = async |queue: &str| {
        let queue = fleet.http.get(&format!("/v1/queues/{queue}")).send().await.expect(200).json();
        queue["waiting"].as_u64().zip(queue["running"].as_u64()).map(|(waiting, running)| waiting + running)
    };
    assert_eq!([waiting("thumbnail").await, waiting("webhook").await], [Some(0), Some(1)]);
    assert_eq!(fleet.task(&own).await["queue"], "probe");
}

#[tokio::test]
async fn of_his_own_queue_he_sees_what_its_workers_see() {
    let fleet = fleet().workers("probe", 0).start().await;
    let id = fleet.submit(&Probe::echo("his")).await;
    let thief = thief(&fleet).await;
    let mut calls = thief.client.queue_subscribe("wf.call.probe", "probe".to_owned()).await.expect("subscribed");
    thief.client.flush().await.expect("sent");
    let inbox = thief.client.new_inbox();
    let mut tasks = thief.client.subscribe(inbox.clone()).await.expect("subscribed");
    let next = "$JS.API.CONSUMER.MSG.NEXT.TASKS_probe.WORK_m";
    thief.client.publish_with_reply(next, inbox, "1".into()).await.expect("sent");
    let pulled = tasks.next().await.expect("a task");
    assert!(pulled.subject.ends_with(&id), "{pulled:?}");
    let called = fleet.http.post("/v1/queues/probe/calls?timeout=1s").json(&Probe::echo("asked").json());
    let (_, call) = tokio::join!(called.send(), calls.next());
    assert!(call.is_some());
    let settings = json!({ "last_by_subj": "$KV.QUEUES.thumbnail" }).to_string();
    let settings = thief.client.request("$JS.API.STREAM.MSG.GET.KV_QUEUES", settings.into()).await.expect("an answer");
    assert!(
        String::from_utf8_lossy(&settings.payload).contains("$KV.QUEUES.thumbnail"),
        "known, and in docs/security.md"
    );
    eventually("nothing was refused", async || thief.refusals().is_empty().then_some(())).await;
}
