//! The worker that makes thumbnails. The work is in the library; here it meets the fleet.

use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_sdk::{Context, RunError, TaskError, Worker};

#[tokio::main]
async fn main() -> Result<(), RunError> {
    Worker::from_env()?.handle(thumbnail).run().await
}

async fn thumbnail(ctx: Context, request: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    let steps = ctx.clone();
    let make = move || workfleet_thumbnail::make(request, |percent, step| steps.progress(percent, step));
    // The same bytes fail in the same way tomorrow.
    ctx.blocking(make).await.map_err(|error| TaskError::permanent(error.code(), error))
}
