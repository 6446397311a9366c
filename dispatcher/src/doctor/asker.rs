//! Questions to JetStream whose asker may not be allowed to ask. The server answers those never, and says so elsewhere:
//! so an answer is waited for only until the refusal comes.

use std::time::Duration;

use serde_json::Value;
use workfleet_link::broker::Broker;

use crate::limits::BROKER_TIMEOUT;

const NOT_FOUND: u64 = 404;
/// How often it is looked whether the server has refused.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// What came of a question.
#[derive(Debug)]
pub(super) enum Answer {
    /// The answer.
    Told(Value),
    /// There is no such thing.
    Missing,
    /// This client may not ask.
    Refused,
    /// Nothing came, or an error.
    Silent(String),
}

/// Asks `$JS.API.<question>`.
pub(super) async fn ask(broker: &Broker, question: &str) -> Answer {
    let subject = format!("$JS.API.{question}");
    let request = async_nats::Request::new().payload(Vec::new().into()).timeout(Some(BROKER_TIMEOUT));
    let answer = broker.client.send_request(subject.clone(), request);
    let answer = tokio::select! {
        answer = answer => answer,
        () = refused(broker, &subject) => return Answer::Refused,
    };
    let value: Value = match answer {
        Ok(answer) => serde_json::from_slice(&answer.payload).unwrap_or_default(),
        Err(error) => return Answer::Silent(error.to_string()),
    };
    match value.get("error") {
        None => Answer::Told(value),
        Some(error) if error["code"] == NOT_FOUND => Answer::Missing,
        Some(error) => Answer::Silent(error["description"].as_str().unwrap_or_default().to_owned()),
    }
}

/// Ends once the server has refused this subject; never if it does not.
async fn refused(broker: &Broker, subject: &str) {
    while !broker.refused_publishes().iter().any(|refused| refused == subject) {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
