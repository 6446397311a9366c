//! The worker that makes thumbnails. The work is in the library; here it meets the fleet.

mod handler;
mod notify;

use workfleet_sdk::{RunError, Worker};

#[tokio::main]
async fn main() -> Result<(), RunError> {
    Worker::from_env()?.handle(handler::thumbnail).run().await
}
