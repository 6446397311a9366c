//! The worker that sends mails. The work is in the library; here it meets the fleet.

use workfleet_email::{HELP, Mailer, Settings};
use workfleet_sdk::{RunError, Worker};

#[tokio::main]
async fn main() -> Result<(), RunError> {
    let (worker, settings) = Worker::from_env_with(HELP, Settings::read)?;
    worker.handle(Mailer::new(settings)).run().await
}
