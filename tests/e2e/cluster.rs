use workfleet_tests::{Cluster, Fleet, Probe, SERVERS, eventually};

#[tokio::test]
async fn a_task_completes_on_three_servers_and_again_after_the_leader_of_its_queue_was_killed() {
    let mut fleet = Fleet::builder().start_on(Cluster::builder()).await;
    let before = fleet.submit(&Probe::echo("three servers")).await;
    fleet.completed(&before).await;
    let delayed = fleet.submit_with("?delay=1s", &Probe::echo("later")).await;

    let leader = fleet.nats.leader_of("TASKS_probe").await;
    fleet.nats.kill(leader);
    assert_ne!(fleet.nats.leader_of("TASKS_probe").await, leader);
    let after = eventually("submits are taken again", async || {
        let request = fleet.http.post("/v1/queues/probe/tasks").json(&fleet.logged(&Probe::echo("two servers")));
        let answer = request.send().await;
        (answer.status == 202).then(|| answer.json()["id"].as_str().map(str::to_owned)).flatten()
    })
    .await;
    fleet.completed(&after).await;
    fleet.completed(&delayed).await;

    fleet.nats.restart(leader).await;
    assert_eq!(fleet.nats.up().len(), SERVERS);
    fleet.completed(&before).await;
}

#[tokio::test]
async fn a_server_that_has_lost_its_disk_is_given_everything_again() {
    let mut fleet = Fleet::builder().start_on(Cluster::builder()).await;
    let id = fleet.submit(&Probe::echo("kept by the others")).await;
    fleet.completed(&id).await;
    let leader = fleet.nats.leader_of("RESULTS_probe").await;
    fleet.nats.kill(leader);
    fleet.nats.delete_store(leader);
    fleet.nats.restart(leader).await;
    fleet.nats.rolling_restart().await;
    fleet.completed(&id).await;
}
