use serde_json::json;
use workfleet_proto::v1::CancelRequest;
use workfleet_tests::{Fleet, eventually};

use super::grpc::bearing;
use super::{Bearing as _, get, submit};
use crate::auth::keyring::Keyring;
use crate::operations::{actions, purge};

#[tokio::test]
async fn a_caller_sees_what_was_done_in_the_queues_that_he_may_operate() {
    let keyring = Keyring::new();
    let operator = keyring.token("ops", &["probe"], &["operate"]).await;
    let reader = keyring.token("reader", &["*"], &["read"]).await;
    let builder = Fleet::builder().queue("webhook", |queue| queue).workers("probe", 0);
    let fleet = builder.variable("WORKFLEET_TOKENS_FILE", &keyring.path()).start().await;
    purge(&fleet, "probe", "").await;
    purge(&fleet, "webhook", "").await;
    let list = get(&fleet, "/v1/operations", &operator).await.expect(200).json();
    assert_eq!(actions(&list), [("purge", "probe")]);
    get(&fleet, "/v1/operations?queue=probe", &operator).await.expect(200);
    get(&fleet, "/v1/operations?queue=webhook", &operator).await.expect_problem(403, "forbidden");
    get(&fleet, "/v1/operations", &reader).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn an_entry_says_whose_token_it_was_from_where_and_why() {
    let keyring = Keyring::new();
    let product = keyring.token("product", &["probe"], &["submit"]).await;
    let support = keyring.token("support", &["probe"], &["submit"]).await;
    let operator = keyring.token("ops", &["probe"], &["operate"]).await;
    let builder = Fleet::builder().workers("probe", 0);
    let fleet = builder.variable("WORKFLEET_TOKENS_FILE", &keyring.path()).start().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let task = submit(&fleet, "probe", &product).await.expect(202).json();
        ids.push(task["id"].as_str().expect("an id").to_owned());
    }
    let path = format!("/v1/tasks/{}?reason=too%20many", ids[0]);
    fleet.http.delete(&path).bearing(&product).send().await.expect(200);
    let request = CancelRequest { id: ids[1].clone(), reason: "asked for".to_owned() };
    fleet.grpc().await.cancel(bearing(&support, request)).await.expect("cancelled");
    let log = eventually("both stand in the log", async || {
        let list = get(&fleet, "/v1/operations", &operator).await.expect(200).json();
        list["operations"].as_array().filter(|log| log.len() == 2).cloned()
    })
    .await;
    for (entry, id, who, reason) in
        [(&log[1], &ids[0], "product", "too many"), (&log[0], &ids[1], "support", "asked for")]
    {
        let wanted = json!(["cancel", id, who, "127.0.0.1", reason]);
        let told = ["action", "task_id", "who", "from", "reason"].map(|name| entry[name].clone());
        assert_eq!(json!(told), wanted, "{entry}");
    }
}
