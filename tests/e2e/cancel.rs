//! Cancels and deadlines over every face, with real programs. No workers: what these do is in their own tests.

use serde_json::{Value, json};
use workfleet_proto::v1::{CancelManyRequest, CancelRequest, State, TaskFilter};
use workfleet_tests::{Fleet, Probe};

async fn fleet() -> Fleet {
    Fleet::builder().workers("probe", 0).start().await
}

fn path(id: &str) -> String {
    format!("/v1/tasks/{id}")
}

#[tokio::test]
async fn a_task_is_cancelled_over_rest_and_whoever_follows_it_is_told() {
    let fleet = fleet().await;
    let id = fleet.submit(&Probe::echo("unwanted")).await;
    let events = fleet.events(&id, None).await;
    let cancelled = fleet.http.delete(&format!("{}?reason=not%20wanted", path(&id))).send().await.expect(200).json();
    assert_eq!((&cancelled["id"], &cancelled["state"]), (&json!(id), &json!("cancelled")), "{cancelled:#}");
    assert_eq!((&cancelled["failure"]["message"], &cancelled["workers_unanswered"]), (&json!("not wanted"), &json!(0)));
    let told = events.rest().await;
    assert_eq!(told.last().expect("an end").state(), "cancelled");
    assert_eq!(fleet.task(&id).await["state"], "cancelled");
    assert_eq!(fleet.http.delete(&path(&id)).send().await.expect(200).json()["failure"], cancelled["failure"]);

    fleet.http.delete(&format!("{}?why=x", path(&id))).send().await.expect_problem(400, "invalid_option");
    let nobody = path("probe_01h455vb4pex5vsknk084sn02q");
    fleet.http.delete(&nobody).send().await.expect_problem(404, "unknown_task");
    let expired = fleet.submit_with("?deadline=1s", &Probe::echo("too late")).await;
    let end = fleet.ended(&expired).await;
    assert_eq!((&end["state"], &end["attempt"], &end["started_at"]), (&json!("expired"), &json!(0), &Value::Null));
    assert!(end["ended_at"].as_str() >= end["deadline"].as_str() && end["deadline"].is_string(), "{end:#}");
    let shown = fleet.command(&["get", &expired]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for (name, at) in [("deadline", &end["deadline"]), ("ended", &end["ended_at"])] {
        // A person is spared the zeros at the end of a fraction.
        let second = &at.as_str().expect("a time")[..19];
        assert!(shown.lines().any(|line| line.starts_with(name) && line.contains(second)), "{shown}");
    }
    assert!(shown.lines().any(|line| line.starts_with("attempt") && line.contains("0 of ")), "{shown}");
    let conflict = fleet.http.delete(&path(&expired)).send().await.expect_problem(409, "conflict");
    assert!(conflict["detail"].as_str().is_some_and(|detail| detail.contains("expired")), "{conflict}");
}

#[tokio::test]
async fn many_are_cancelled_over_rest_and_grpc() {
    let fleet = fleet().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(fleet.submit_with("?label=tier:gold", &Probe::echo("gold")).await);
    }
    let cancel = "/v1/queues/probe/tasks:cancel";
    let body = json!({ "ids": ids[..2], "reason": "a mistake" });
    let done = fleet.http.post(cancel).json(&body).send().await.expect(200).json();
    assert_eq!((&done["cancelled"], &done["ended"], &done["next"]), (&json!(2), &json!(0), &Value::Null), "{done:#}");
    fleet.http.post(cancel).json(&json!({})).send().await.expect_problem(400, "invalid_option");
    let typo = json!({ "filter": { "label": { "tier": "gold" } } });
    fleet.http.post(cancel).json(&typo).send().await.expect_problem(400, "invalid_option");
    let others = json!({ "ids": ["other_01h455vb4pex5vsknk084sn02q"] });
    fleet.http.post(cancel).json(&others).send().await.expect_problem(400, "invalid_option");

    let mut grpc = fleet.grpc().await;
    let one = CancelRequest { id: ids[2].clone(), reason: "over gRPC".to_owned() };
    let reply = grpc.cancel(one).await.expect("cancelled").into_inner();
    assert_eq!((reply.task.expect("a task").state(), reply.workers_unanswered), (State::Cancelled, 0));
    let filter = TaskFilter { labels: [("tier".to_owned(), "gold".to_owned())].into(), ..TaskFilter::default() };
    let many = CancelManyRequest { queue: "probe".to_owned(), filter: Some(filter), ..CancelManyRequest::default() };
    assert_eq!(grpc.cancel_many(many).await.expect("done").into_inner().cancelled, 2);
    let unknown = CancelRequest { id: "probe_01h455vb4pex5vsknk084sn02q".to_owned(), ..CancelRequest::default() };
    assert_eq!(grpc.cancel(unknown).await.expect_err("unknown").code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn tasks_are_cancelled_on_the_command_line() {
    let fleet = fleet().await;
    let id = fleet.submit(&Probe::echo("one")).await;
    let output = fleet.command(&["cancel", &id, "--reason", "by hand"]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{id}  cancelled\n"), "{output:?}");
    let unknown = fleet.command(&["cancel", "probe_01h455vb4pex5vsknk084sn02q", &id]).await;
    assert_eq!(unknown.status.code(), Some(5), "{unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stdout).contains(&id), "the others are cancelled");

    for _ in 0..3 {
        fleet.submit_with("?label=tier:gold", &Probe::echo("gold")).await;
    }
    fleet.submit(&Probe::echo("another")).await;
    let gold = ["cancel", "--queue", "probe", "--label", "tier:gold"];
    assert_eq!(fleet.command(&gold).await.status.code(), Some(2), "nobody can be asked");
    assert_eq!(fleet.command(&["cancel", "--queue", "probe", "--yes"]).await.status.code(), Some(2), "no condition");
    let output = fleet.command(&[&gold[..], &["--yes", "--json"]].concat()).await;
    let done: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((&done["cancelled"], &done["problems"]), (&json!(3), &json!([])));
    let waiting = fleet.http.get("/v1/queues/probe").send().await.expect(200).json()["waiting"].clone();
    assert_eq!(waiting, json!(1));
}
