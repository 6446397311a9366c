use workfleet_tests::Fleet;

use super::get;
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
