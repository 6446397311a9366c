use serde_json::Value;
use workfleet_tests::{Answer, Fleet, Probe};

async fn submit(fleet: &Fleet, key: &str, probe: &Probe) -> Answer {
    let request = fleet.http.post("/v1/queues/probe/tasks").header("idempotency-key", key);
    request.json(&fleet.logged(probe)).send().await
}

fn id(answer: &Answer) -> String {
    answer.json()["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn the_same_key_gives_the_same_task_before_and_after_its_end() {
    let fleet = Fleet::start().await;
    let probe = Probe::echo("once").sleeps_ms(1_000);
    let first = id(&submit(&fleet, "order-17", &probe).await.expect(202));
    let second = submit(&fleet, "order-17", &probe).await;
    assert!([200, 202].contains(&second.status), "{}", second.text());
    assert_eq!(id(&second), first);

    fleet.completed(&first).await;
    let after = submit(&fleet, "order-17", &probe).await;
    assert!([200, 202].contains(&after.status), "{}", after.text());
    assert_eq!((id(&after), &after.json()["state"]), (first.clone(), &Value::from("completed")));
    assert_ne!(id(&submit(&fleet, "order-18", &probe).await.expect(202)), first);

    assert_eq!(fleet.runs_of(&first).len(), 1);
    assert_eq!(fleet.observer.stores_of(&first).await, 1);
}

#[tokio::test]
async fn the_same_key_with_another_payload_is_a_conflict() {
    let fleet = Fleet::start().await;
    let first = id(&submit(&fleet, "k", &Probe::echo("one")).await.expect(202));
    submit(&fleet, "k", &Probe::echo("two")).await.expect_problem(409, "conflict");
    fleet.completed(&first).await;
    submit(&fleet, "k", &Probe::echo("two")).await.expect_problem(409, "conflict");
}

#[tokio::test]
async fn many_at_once_with_one_key_make_one_task() {
    let fleet = Fleet::start().await;
    let probe = Probe::echo("crowd");
    let answers = futures::future::join_all((0..20).map(|_| submit(&fleet, "crowd", &probe))).await;
    let ids: Vec<String> = answers.iter().map(id).collect();
    assert!(ids.iter().all(|other| *other == ids[0]), "{ids:?}");
    fleet.completed(&ids[0]).await;
    assert_eq!(fleet.runs_of(&ids[0]).len(), 1);
}

#[tokio::test]
async fn whoever_repeats_the_key_of_a_cancelled_task_is_told_that_it_is_cancelled() {
    let fleet = Fleet::builder().workers("probe", 0).start().await;
    let payload = fleet.logged(&Probe::echo("once")).to_string();
    let submitted = async |more: &[&str]| {
        let output = fleet.command(&[&["submit", "probe", &payload, "--key", "order-17"], more].concat()).await;
        assert!(output.status.success(), "{output:?}");
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).trim().to_owned())
    };
    let [first, said] = submitted(&[]).await;
    assert_eq!(said, "", "nothing is to be said of the first");
    assert!(fleet.command(&["cancel", &first]).await.status.success());
    let [second, said] = submitted(&[]).await;
    assert_eq!(second, first);
    assert!(said.contains("exists already, and is cancelled"), "{said}");
    let [document, said] = submitted(&["--json"]).await;
    let (document, said): (Value, Value) =
        (serde_json::from_str(&document).expect("JSON"), serde_json::from_str(&said).expect("JSON"));
    assert_eq!((&document["state"], &said["code"]), (&Value::from("cancelled"), &Value::from("repeated_key")));
    let answer = submit(&fleet, "order-17", &Probe::echo("once")).await;
    assert_eq!(answer.header("idempotency-key-repeated"), Some("true"));
    assert_eq!(submit(&fleet, "order-18", &Probe::echo("once")).await.header("idempotency-key-repeated"), None);
}
