use serde_json::json;
use workfleet_tests::{Fleet, Probe, eventually};

#[tokio::test]
async fn labels_are_kept_through_retries_ends_and_dead_letters_and_find_their_tasks() {
    let fleet = Fleet::start().await;
    let labels = json!({ "team": "billing", "tier": "gold" });
    let options = "?label=team:billing&label=tier:gold";
    let retried = fleet.submit_with(options, &Probe::echo("retried").fails(1)).await;
    assert_eq!(fleet.completed(&retried).await["labels"], labels);
    let broken = fleet.submit_with(options, &Probe::echo("broken").fails_with("told_to_fail")).await;
    assert_eq!(fleet.failed(&broken).await["labels"], labels);
    let letter = eventually("the dead letter is there", async || fleet.dead_letter(&broken).await).await;
    let kept = letter.envelope.expect("the task is in it").labels;
    assert_eq!(json!(kept), labels);
    fleet.submit(&Probe::echo("without")).await;
    let list = "/v1/queues/probe/tasks?label=team:billing&label=tier:gold";
    let found = fleet.http.get(list).send().await.expect(200).json();
    let mut ids: Vec<&str> =
        found["tasks"].as_array().expect("tasks").iter().filter_map(|t| t["id"].as_str()).collect();
    let mut both = [retried.as_str(), broken.as_str()];
    ids.sort_unstable();
    both.sort_unstable();
    assert_eq!(ids, both);
}
