use serde_json::{Value, json};
use workfleet_proto::v1::ListOperationsRequest;
use workfleet_tests::{Fleet, Probe, eventually, get};

pub(crate) async fn purge(fleet: &Fleet, queue: &str, reason: &str) {
    let output = fleet.command(&["queue", "purge", queue, "--yes", "--reason", reason]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn actions(list: &Value) -> Vec<(&str, &str)> {
    let operations = list["operations"].as_array().expect("a list");
    operations.iter().filter_map(|one| Some((one["action"].as_str()?, one["queue"].as_str()?))).collect()
}

#[tokio::test]
async fn whoever_empties_and_removes_queues_stands_in_the_log() {
    let fleet = Fleet::builder().queue("webhook", |queue| queue).workers("probe", 0).start().await;
    fleet.submit(&Probe::echo("purged")).await;
    purge(&fleet, "probe", "wrong\nbatch").await;
    let retired = fleet.command(&["queue", "retire", "webhook", "--yes"]).await;
    assert!(retired.status.success(), "{}", String::from_utf8_lossy(&retired.stderr));

    let output = fleet.command(&["operations", "--json"]).await;
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(actions(&list), [("retire", "webhook"), ("purge", "probe")]);
    let purged = &list["operations"][1];
    assert_eq!(
        (&purged["count"], &purged["from"], &purged["reason"]),
        (&json!(1), &json!("cli"), &json!("wrong\\nbatch"))
    );
    assert!(purged["who"].as_str().is_some_and(|who| who.contains('@')), "{purged}");
    let words = fleet.command(&["operations", "--queue", "probe"]).await;
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    assert!(words.contains("purge") && !words.contains("retire"), "{words}");

    let page = fleet.http.get("/v1/operations?limit=1").send().await.expect(200).json();
    assert_eq!(actions(&page), [("retire", "webhook")]);
    let next = page["next"].as_str().expect("more");
    let page = fleet.http.get(&format!("/v1/operations?limit=1&cursor={next}")).send().await.expect(200).json();
    assert_eq!((actions(&page), &page["next"]), (vec![("purge", "probe")], &Value::Null));
    fleet.http.get("/v1/operations?action=burn").send().await.expect_problem(400, "invalid_option");
    let request = ListOperationsRequest { queue: Some("probe".to_owned()), ..Default::default() };
    let reply = fleet.grpc().await.list_operations(request).await.expect("a page").into_inner();
    assert_eq!((reply.operations.len(), reply.operations[0].action.as_str()), (1, "purge"));
}

/// Its stream is away until the dispatcher has stopped to listen, so that only what waits for it then can be stored.
#[tokio::test]
async fn what_was_done_last_is_stored_before_a_dispatcher_leaves() {
    let mut fleet = Fleet::builder().workers("probe", 0).start().await;
    let id = fleet.submit(&Probe::echo("cancelled")).await;
    let jetstream = fleet.jetstream().await;
    let stream = jetstream.get_stream("OPERATIONS").await.expect("a stream");
    let config = stream.cached_info().config.clone();
    jetstream.delete_stream("OPERATIONS").await.expect("deleted");
    fleet.http.delete(&format!("/v1/tasks/{id}")).send().await.expect(200);
    let ready = format!("{}/readyz", fleet.http.url());
    fleet.dispatcher().terminate();
    eventually("nobody listens any more", async || get(&ready).await.is_err().then_some(())).await;
    let stream = jetstream.create_stream(config).await.expect("made again");
    let status = fleet.dispatcher().left().await;
    assert!(status.success(), "{status}");
    let last = stream.get_last_raw_message_by_subject("wf.operation.probe").await.expect("the cancel is stored");
    let entry: Value = serde_json::from_slice(&last.payload).expect("JSON");
    assert_eq!((&entry["action"], &entry["task_id"]), (&json!("cancel"), &json!(id)));
}
