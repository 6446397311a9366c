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

#[cfg(test)]
mod tests {
    use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
    use workfleet_sdk::testing;

    #[tokio::test]
    async fn what_is_wrong_with_a_picture_is_never_tried_again() {
        let image = b"Dear sir or madam".as_slice().into();
        let request = ThumbnailRequest { image, width_px: 8, height_px: 8, ..Default::default() };
        let failed = testing::attempt(&super::thumbnail, request).await.unwrap_err();
        assert_eq!((failed.code(), failed.is_permanent()), ("unsupported_format", true));
    }
}
