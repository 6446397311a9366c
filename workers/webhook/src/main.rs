//! The worker that delivers webhooks. The work is in the library; here it meets the fleet.

use workfleet_sdk::{RunError, Worker};
use workfleet_webhook::{HELP, Settings, Webhook};

#[tokio::main]
async fn main() -> Result<(), RunError> {
    let (worker, settings) = Worker::from_env_with(HELP, Settings::read)?;
    worker.handle(Webhook::new(settings)).run().await
}
