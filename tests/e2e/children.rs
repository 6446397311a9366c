use std::collections::BTreeSet;

use serde_json::{Value, json};
use workfleet_proto::limits::CHILDREN_MAX;

use workfleet_tests::{Fleet, FleetBuilder, Probe, QueueSettings, Traces, eventually};

/// One pixel.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01D\x00;";

/// A fleet whose probes may submit probes and images.
fn parents() -> FleetBuilder {
    Fleet::builder().probe(may_submit)
}

fn may_submit(queue: QueueSettings) -> QueueSettings {
    queue.children(&["probe", "thumbnail"])
}

/// Every task that a probe has worked on.
fn tasks(fleet: &Fleet) -> BTreeSet<String> {
    fleet.runs().into_iter().map(|run| run.task).collect()
}

/// The one child of a task.
#[track_caller]
fn only_child(task: &Value) -> String {
    let children = task["children"].as_array().expect("a list");
    assert_eq!(children.len(), 1, "{task:#}");
    children[0].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_parent_that_is_retried_makes_one_child() {
    let fleet = parents().start().await;
    let id = fleet.submit(&Probe::echo("parent").fails(2).submits(&Probe::echo("child"))).await;
    let parent = fleet.completed(&id).await;
    assert_eq!((&parent["attempt"], &parent["output"]["children"]), (&json!(3), &parent["children"]), "{parent:#}");
    assert_eq!(parent["parent_id"], json!(null));
    let child = fleet.completed(&only_child(&parent)).await;
    assert_eq!((&child["parent_id"], &child["output"]["echo"]), (&json!(id), &json!("child")), "{child:#}");
    assert_eq!(child["children"], json!([]));
    assert_eq!(fleet.runs_of(child["id"].as_str().expect("an id")).len(), 1);
    assert_eq!(tasks(&fleet).len(), 2, "a parent and its child");
}

#[tokio::test]
async fn a_parent_whose_worker_is_killed_makes_one_child() {
    let mut fleet = parents().workers("probe", 2).start().await;
    let id = fleet.submit(&Probe::echo("parent").sleeps_ms(2_000).submits(&Probe::echo("child"))).await;
    let running = eventually("a running task tells of its child", async || {
        let task = fleet.task(&id).await;
        (task["children"] != json!([])).then_some(task)
    })
    .await;
    assert_eq!(running["state"], "running");
    let child = only_child(&running);
    let first = fleet.started(&id).await;
    fleet.worker_of(&first).kill();
    let parent = fleet.completed(&id).await;
    assert_eq!((parent["attempt"].as_u64(), only_child(&parent)), (Some(2), child.clone()), "{parent:#}");
    fleet.completed(&child).await;
    assert_eq!(tasks(&fleet), BTreeSet::from([id, child]));
}

#[tokio::test]
async fn two_equal_children_are_two_and_two_of_one_name_are_one() {
    let fleet = parents().start().await;
    let (twin, named) = (Probe::echo("twin"), Probe::echo("named").named("the one"));
    let twins = fleet.submit(&Probe::echo("parent").submits(&twin).submits(&twin)).await;
    assert_eq!(fleet.completed(&twins).await["children"].as_array().map(Vec::len), Some(2));
    let parent = fleet.submit(&Probe::echo("parent").submits(&named).submits(&named)).await;
    only_child(&fleet.completed(&parent).await);
}

#[tokio::test]
async fn a_child_that_differs_from_attempt_to_attempt_is_a_conflict_unless_it_is_named() {
    let fleet = parents().start().await;
    let child = Probe::echo("child").differs();
    let unnamed = fleet.submit(&Probe::echo("parent").fails(1).submits(&child)).await;
    let failed = fleet.failed(&unnamed).await;
    assert_eq!((&failed["failure"]["code"], &failed["attempt"]), (&json!("child_conflict"), &json!(2)), "{failed:#}");
    let first = only_child(&failed);
    assert_eq!(fleet.completed(&first).await["output"]["echo"], "child of attempt 1");
    let letter = eventually("the dead letter is stored", async || fleet.dead_letter(&unnamed).await).await;
    assert_eq!(letter.result.map(|result| result.children), Some(vec![first]));

    let named = fleet.submit(&Probe::echo("parent").fails(1).submits(&child.named("the one"))).await;
    let parent = fleet.completed(&named).await;
    assert_eq!(fleet.completed(&only_child(&parent)).await["output"]["echo"], "child of attempt 1");
}

#[tokio::test]
async fn a_child_in_another_queue_is_in_the_same_trace() {
    let traces = Traces::start().await;
    let builder = parents().queue("thumbnail", |queue| queue).workers("thumbnail", 1).workers("probe", 1);
    let fleet = builder.traces_to(traces.endpoint()).start().await;
    let id = fleet.submit(&Probe::echo("parent").submits_image(GIF)).await;
    let parent = fleet.completed(&id).await;
    let child = fleet.completed(&only_child(&parent)).await;
    assert_eq!((&child["queue"], &child["parent_id"]), (&json!("thumbnail"), &json!(id)), "{child:#}");
    assert_eq!(child["trace_id"], parent["trace_id"]);

    let trace = parent["trace_id"].as_str().expect("a trace id");
    let above = traces.one(trace, "process probe").await;
    let publish = traces.one(trace, "publish thumbnail").await;
    let below = traces.one(trace, "process thumbnail").await;
    assert_eq!((publish.service.as_str(), below.service.as_str()), ("workfleet-dispatcher", "workfleet-thumbnail"));
    assert_eq!([&publish.parent, &below.parent], [&above.id, &publish.id]);
}

#[tokio::test]
async fn a_queue_that_is_not_listed_is_forbidden() {
    let fleet = Fleet::builder().queue("thumbnail", |queue| queue).start().await;
    let id = fleet.submit(&Probe::echo("parent").submits_image(GIF)).await;
    let parent = fleet.failed(&id).await;
    assert_eq!((&parent["failure"]["code"], &parent["attempt"]), (&json!("forbidden"), &json!(1)), "{parent:#}");
    let message = parent["failure"]["message"].as_str().expect("a text");
    assert!(message.contains("`children` of [queue.probe]"), "it says which setting: {message}");
    let queue = fleet.http.get("/v1/queues/thumbnail").send().await.expect(200).json();
    assert_eq!((&queue["waiting"], &parent["children"]), (&json!(0), &json!([])), "{queue}");
}

#[tokio::test]
async fn a_run_has_so_many_children_and_no_more() {
    let fleet = parents().slots(32).start().await;
    let parent = (0..=CHILDREN_MAX).fold(Probe::echo("parent"), |parent, _| parent.submits(&Probe::echo("child")));
    let id = fleet.submit(&parent.survives_refusals()).await;
    let task = fleet.completed(&id).await;
    let said = task["output"]["children"].as_array().expect("a list");
    assert_eq!((said.len(), said.last()), (CHILDREN_MAX + 1, Some(&json!("too_many_children"))));
    assert_eq!(task["children"].as_array(), Some(&said[..CHILDREN_MAX].to_vec()));
}

#[tokio::test]
async fn a_direct_call_has_no_children() {
    let fleet = parents().start().await;
    let answer = fleet.call("", &Probe::echo("asked").submits(&Probe::echo("child"))).await;
    let problem = answer.expect_problem(422, "call_rejected");
    assert_eq!(problem["failure"]["code"], "no_parent", "{problem}");
}

#[tokio::test]
async fn a_dispatcher_that_restarts_costs_a_parent_no_attempt() {
    let (mut fleet, id) = parent_without_a_dispatcher().await;
    fleet.started(&id).await;
    fleet.replace_dispatcher().await;
    let parent = fleet.completed(&id).await;
    assert_eq!(parent["attempt"], 1, "{parent:#}");
    fleet.completed(&only_child(&parent)).await;
}

#[tokio::test]
async fn a_dispatcher_that_stays_away_is_waited_for_between_attempts() {
    let (mut fleet, id) = parent_without_a_dispatcher().await;
    let gives_up = async || fleet.workers[0].process().log().contains("no_dispatcher").then_some(());
    eventually("the first attempt gives up", gives_up).await;
    fleet.replace_dispatcher().await;
    let parent = fleet.completed(&id).await;
    assert_eq!(parent["attempt"], 2, "{parent:#}");
    fleet.completed(&only_child(&parent)).await;
    assert_eq!(tasks(&fleet).len(), 2);
}

/// The dispatcher is gone when a worker starts on it.
async fn parent_without_a_dispatcher() -> (Fleet, String) {
    let mut fleet = parents().workers("probe", 0).start().await;
    let id = fleet.submit(&Probe::echo("parent").submits(&Probe::echo("child"))).await;
    fleet.dispatcher().kill();
    fleet.launch_worker("probe");
    (fleet, id)
}

#[tokio::test]
async fn a_queue_without_room_is_told_after_a_while() {
    let builder = parents().queue("thumbnail", |queue| queue.tasks_max(1));
    let fleet = builder.start().await;
    let full = Probe::echo("parent").submits_image(GIF).submits_image(GIF).survives_refusals();
    let id = fleet.submit(&full).await;
    let parent = fleet.completed(&id).await;
    assert_eq!(parent["output"]["children"], json!([only_child(&parent), "queue_full"]), "{parent:#}");
}
