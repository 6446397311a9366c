use serde_json::Value;
use workfleet_tests::{Fleet, Probe, eventually};

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn a_purge_asks_and_is_refused_while_tasks_run() {
    let fleet = Fleet::builder().slots(1).start().await;
    let running = fleet.submit(&Probe::echo("runs").sleeps_ms(4_000)).await;
    fleet.started(&running).await;
    let waiting = fleet.submit(&Probe::echo("waits")).await;
    let refused = fleet.command(&["queue", "purge", "probe", "--yes"]).await;
    assert_eq!(refused.status.code(), Some(5), "{}", said(&refused));
    assert!(said(&refused).contains("1 tasks run") && said(&refused).contains("--force"), "{}", said(&refused));

    let tried = fleet.command(&["queue", "purge", "probe", "--force", "--dry-run", "--json"]).await;
    let plan: Value = serde_json::from_slice(&tried.stdout).expect("JSON");
    assert_eq!(
        (&plan["removed"], &plan["items"][1]["holds"]),
        (&false.into(), &"1 tasks that wait, 1 that run".into())
    );
    let unasked = fleet.command(&["queue", "purge", "probe", "--force"]).await;
    assert_eq!(unasked.status.code(), Some(2), "{}", said(&unasked));
    assert!(said(&unasked).contains("--yes"), "{}", said(&unasked));
    assert_eq!(fleet.task(&waiting).await["state"], "queued", "nothing has gone");

    let forced = fleet.command(&["queue", "purge", "probe", "--force", "--yes"]).await;
    assert!(forced.status.success(), "{}", said(&forced));
    fleet.http.get(&format!("/v1/tasks/{waiting}")).send().await.expect_problem(404, "unknown_task");
    // What ran records its end all the same.
    fleet.completed(&running).await;
}

#[tokio::test]
async fn a_retired_queue_is_unknown_until_it_is_provisioned_again() {
    let mut fleet = Fleet::start().await;
    let done = fleet.submit(&Probe::echo("done")).await;
    fleet.completed(&done).await;
    let used = fleet.command(&["queue", "retire", "probe", "--yes"]).await;
    assert_eq!(used.status.code(), Some(5), "{}", said(&used));
    assert!(said(&used).contains("1 workers are connected"), "{}", said(&used));
    fleet.workers[0].drain().await;

    let retired = fleet.command(&["queue", "retire", "probe", "--yes"]).await;
    assert!(retired.status.success(), "{}", said(&retired));
    let body = Probe::echo("late").json();
    fleet.http.post("/v1/queues/probe/tasks").json(&body).send().await.expect_problem(404, "unknown_queue");
    fleet.http.get(&format!("/v1/tasks/{done}")).send().await.expect_problem(404, "unknown_task");
    let queues = fleet.http.get("/v1/queues").send().await.expect(200).json();
    assert_eq!(queues["queues"].as_array().map(Vec::len), Some(0), "{queues}");

    fleet.provision("probe").await;
    eventually("the queue is known", async || {
        (fleet.http.get("/v1/queues/probe").send().await.status == 200).then_some(())
    })
    .await;
    fleet.add_worker("probe").await;
    let again = fleet.submit(&Probe::echo("again")).await;
    assert_eq!(fleet.completed(&again).await["output"]["echo"], "again");
}
