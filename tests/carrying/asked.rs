//! What is asked of the servers themselves.

use async_nats::jetstream;

/// The answer is of no interest: a leader that is gone cannot step down.
pub(crate) async fn step_down(jetstream: &jetstream::Context, what: &str) {
    let _ = jetstream.client().request(format!("$JS.API.{what}"), "".into()).await;
}

/// Of the consumer between the streams.
pub(crate) async fn reset(jetstream: &jetstream::Context) {
    let answer: serde_json::Value =
        jetstream.request("CONSUMER.RESET.DELAY_probe.DUE", &serde_json::json!({})).await.expect("an answer");
    assert!(answer["error"].is_null(), "{answer}");
}
