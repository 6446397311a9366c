//! Dead letters as operators meet them.

use serde_json::{Value, json};
use workfleet_proto::v1;
use workfleet_tests::{Fleet, Probe, eventually};

/// A task that has failed, with its letter.
async fn dead(fleet: &Fleet) -> String {
    let id = fleet.submit(&Probe::echo("x").fails_with("bad_image")).await;
    fleet.failed(&id).await;
    eventually("the letter is stored", async || fleet.dead_letter(&id).await).await;
    id
}

#[tokio::test]
async fn a_letter_is_listed_read_edited_and_redriven_over_rest() {
    let fleet = Fleet::start().await;
    let id = dead(&fleet).await;
    let path = format!("/v1/queues/probe/dead/{id}");
    let list = fleet.http.get("/v1/queues/probe/dead?code=bad_image").send().await.expect(200).json();
    assert_eq!((&list["dead"][0]["id"], &list["next"]), (&json!(id), &Value::Null));
    assert!(list["dead"][0]["payload"].is_null());
    let letter = fleet.http.get(&path).send().await.expect(200).json();
    assert_eq!((&letter["payload"]["echo"], &letter["run"]), (&json!("x"), &json!(1)));
    assert_eq!(letter["failure"]["attempts"][0]["code"], "bad_image");

    let wrong = fleet.http.post(&format!("{path}:redrive")).json(&json!({ "payload": { "ecko": 1 } })).send().await;
    wrong.expect_problem(422, "invalid_payload");
    let edited = json!({ "payload": fleet.logged(&Probe::echo("edited")) });
    let redriven = fleet.http.post(&format!("{path}:redrive")).json(&edited).send().await.expect(202);
    assert_eq!(redriven.header("location"), Some(format!("/v1/tasks/{id}").as_str()));
    let task = fleet.completed(&id).await;
    assert_eq!(task["output"]["echo"], "edited");
    assert_ne!(task["trace_id"], letter["trace_id"], "a trace of its own");
    fleet.http.get(&path).send().await.expect_problem(404, "unknown_dead_letter");
    fleet.http.post(&format!("{path}:redrive")).send().await.expect_problem(404, "unknown_dead_letter");
}

#[tokio::test]
async fn with_a_key_for_each_role_letters_are_redriven_and_dropped_and_nobody_is_refused() {
    let fleet = Fleet::builder().with_keys().start().await;
    let (first, second) = (dead(&fleet).await, dead(&fleet).await);
    let edited = json!({ "payload": fleet.logged(&Probe::echo("edited")), "deadline": "10m" });
    fleet.http.post(&format!("/v1/queues/probe/dead/{first}:redrive")).json(&edited).send().await.expect(202);
    fleet.completed(&first).await;
    let all =
        fleet.http.post("/v1/queues/probe/dead:drop").json(&json!({ "filter": {} })).send().await.expect(200).json();
    assert_eq!(all["done"], 1);
    assert!(fleet.dead_letter(&second).await.is_none());
    assert_eq!(fleet.nats.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_redrive_without_a_body_runs_the_same_task_again() {
    let fleet = Fleet::start().await;
    let id = dead(&fleet).await;
    fleet.http.post(&format!("/v1/queues/probe/dead/{id}:redrive")).send().await.expect(202);
    eventually("its second run is dead", async || {
        let letter = fleet.dead_letter(&id).await?.result?;
        (letter.run == 2 && letter.attempt == 1).then_some(())
    })
    .await;
    assert_eq!(fleet.observer.stores_of(&id).await, 3, "failed, marked, failed again");
}

#[tokio::test]
async fn paths_and_bodies_that_are_wrong_are_refused() {
    let fleet = Fleet::start().await;
    let id = dead(&fleet).await;
    let post = async |path: &str, body: Value| fleet.http.post(path).json(&body).send().await;
    post(&format!("/v1/queues/probe/dead/{id}"), json!({})).await.expect_problem(405, "method_not_allowed");
    fleet.http.get(&format!("/v1/queues/other/dead/{id}")).send().await.expect_problem(404, "unknown_dead_letter");
    fleet.http.get("/v1/queues/probe/dead/probe_x").send().await.expect_problem(404, "unknown_dead_letter");
    post("/v1/queues/probe/dead:redrive", json!({})).await.expect_problem(400, "invalid_option");
    post("/v1/queues/probe/dead:drop", json!({ "filter": { "state": "x" } }))
        .await
        .expect_problem(400, "invalid_option");
    fleet.http.get("/v1/queues/probe/dead?before=x").send().await.expect_problem(400, "invalid_option");
    assert!(fleet.dead_letter(&id).await.is_some(), "nothing was done");
    fleet.http.delete(&format!("/v1/queues/probe/dead/{id}")).send().await.expect(204);
    fleet.http.delete(&format!("/v1/queues/probe/dead/{id}")).send().await.expect_problem(404, "unknown_dead_letter");
}

#[tokio::test]
async fn the_same_calls_are_there_over_grpc() {
    let fleet = Fleet::start().await;
    let (first, second) = (dead(&fleet).await, dead(&fleet).await);
    let mut grpc = fleet.grpc().await;
    let list = v1::ListDeadRequest { queue: "probe".to_owned(), filter: None };
    let list = grpc.list_dead(list).await.expect("a page").into_inner();
    assert_eq!(list.dead.len(), 2);
    let letter = grpc.get_dead(v1::GetDeadRequest { id: first.clone() }).await.expect("a letter").into_inner();
    assert!(letter.payload.is_some() && letter.payload_json.is_some_and(|json| json.contains("bad_image")));
    let payload = Some(v1::redrive_request::Payload::Json(fleet.logged(&Probe::echo("edited")).to_string()));
    let redrive = v1::RedriveRequest { id: first.clone(), payload, ..Default::default() };
    assert_eq!(grpc.redrive(redrive).await.expect("redriven").into_inner().id, first);
    fleet.completed(&first).await;
    let all = v1::DropDeadManyRequest { queue: "probe".to_owned(), ids: vec![second, first], ..Default::default() };
    let dropped = grpc.drop_dead_many(all).await.expect("an answer").into_inner();
    assert_eq!((dropped.done, dropped.gone, dropped.problems.len()), (1, 1, 0));
}

#[tokio::test]
async fn a_person_lists_reads_redrives_and_drops() {
    let fleet = Fleet::start().await;
    let (first, second) = (dead(&fleet).await, dead(&fleet).await);
    let told = async |arguments: &[&str], code: i32| {
        let output = fleet.command(arguments).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out} {err}");
        format!("{out}{err}")
    };
    let list = told(&["dead", "list", "probe"], 0).await;
    assert!(list.contains(&first) && list.contains("bad_image") && list.lines().count() == 3, "{list}");
    let letter = told(&["dead", "get", &first], 0).await;
    let worker = fleet.dead_letter(&first).await.and_then(|letter| letter.result).expect("a result").worker;
    assert!(letter.contains("bad_image in attempt 1 of 3") && letter.contains(&worker), "{worker}: {letter}");
    let other = told(&["dead", "redrive", &first, "--run", "3"], 5).await;
    assert!(other.contains("is of run 1, and not of run 3"), "{other}");
    let payload: Value = serde_json::from_str(&told(&["dead", "get", &first, "--payload"], 0).await).expect("JSON");
    assert_eq!(payload["echo"], "x");
    let edit = ["dead", "redrive", &first, "--field", "fail_times=0", "--reason", "edited"];
    let ended = told(&[&edit[..], &["--wait=30s"]].concat(), 0).await;
    assert!(ended.contains("completed"), "{ended}");
    told(&["dead", "redrive", &first], 5).await;
    assert!(told(&["dead", "drop", "--queue", "probe"], 2).await.contains("--all"));
    assert!(told(&["dead", "drop", "--queue", "probe", "--all"], 2).await.contains("--yes"));
    let dropped =
        told(&["dead", "drop", "--queue", "probe", "--code", "bad_image", "--yes", "--json", "--reason", "old"], 0)
            .await;
    let dropped: Value = serde_json::from_str(&dropped).expect("JSON");
    assert_eq!(dropped["done"], 1);
    assert!(fleet.dead_letter(&second).await.is_none());
    assert!(told(&["dead", "list", "probe"], 0).await.contains("No dead letters in probe."));
    assert!(told(&["dead", "list", "probe", "--code", "x"], 0).await.contains("meet these conditions"));
    let log = async || {
        let log = fleet.http.get("/v1/operations").send().await.expect(200).json();
        log["operations"].as_array().filter(|log| log.len() == 2).cloned()
    };
    let log = eventually("both stand in the operators' log", log).await;
    assert_eq!((&log[0]["action"], &log[0]["reason"]), (&json!("drop_many"), &json!("old")));
    assert_eq!((&log[0]["filter"], &log[0]["ids"]), (&json!("code=bad_image"), &json!([second])));
    assert_eq!((&log[1]["action"], &log[1]["reason"]), (&json!("redrive"), &json!("edited")));
    let words = told(&["operations"], 0).await;
    assert!(words.contains("code=bad_image") && words.contains(&second), "{words}");
    let unknown = told(&["operations", "--queue", "nope"], 5).await;
    assert!(unknown.contains("probe"), "the known queues are named: {unknown}");
    let third = dead(&fleet).await;
    let both = told(&["dead", "drop", "probe_01h455vb4pex5vsknk084sn02q", &third], 5).await;
    assert!(both.contains("unknown_dead_letter") && both.contains(&third), "{both}");
    assert!(fleet.dead_letter(&third).await.is_none(), "one that is not there does not keep the other");
}
