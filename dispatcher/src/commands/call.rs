//! `workfleet call`: asks a worker directly.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::fault::Fault;
use super::payload::Payload;
use super::print;
use super::remote::Remote;

/// What the dispatcher needs beyond the call's own time to tell us how it ended.
const ANSWER_MARGIN_MS: u64 = 5_000;

/// Ask a worker directly and print its answer; nothing is stored, and it runs at most once
///
/// For cheap questions where only a fresh answer counts. Without a worker it fails at once (exit code 3).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples, in the checkout, with a fleet that `make fleet` has started:
  workfleet call thumbnail --field image=@deploy/local/samples/julia.png --field width_px=64 --field height_px=64 --timeout 2s
  workfleet call thumbnail --field image=@deploy/local/samples/julia.png --field width_px=64 --field height_px=64 --json |
    jq -r .output.image | base64 -d > small.png")]
pub(crate) struct Call {
    /// The queue, which is the name of the kind of task
    queue: String,
    #[command(flatten)]
    payload: Payload,
    /// The longest time to wait for the answer, at most 60s
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    pub(super) remote: Remote,
}

impl Call {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let payload = self.payload.read()?;
        let client = self.remote.client()?;
        let request = client
            .request(Method::POST, &["v1", "queues", &self.queue, "calls"])
            .query(&[("timeout", format!("{}ms", self.timeout.as_millis()))])
            .timeout(self.timeout + Duration::from_millis(ANSWER_MARGIN_MS))
            .json(&payload);
        let answer = client.json(request).await.map_err(|fault| self.payload.explain(handler_failure(fault)))?;
        if self.remote.json {
            print::json(&answer)
        } else {
            print::json(&print::shortened(answer.get("output").unwrap_or(&Value::Null)))
        }
    }
}

/// A handler that says no has been reached: that is an end of the call and no refusal.
fn handler_failure(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(problem) if matches!(problem.code.as_str(), "call_rejected" | "call_failed") => {
            Fault::Ended(format!("the call failed: {}", problem.detail))
        }
        other => other,
    }
}
