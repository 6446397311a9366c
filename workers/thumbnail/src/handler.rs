//! One task: where the picture comes from, the work, and whom to tell.

use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_sdk::{Context, TaskError};
use workfleet_thumbnail::{Origin, Request, ThumbnailError, make};

use crate::notify::completed;

/// The name of the webhook among the task's children. Its payload is not the same in every attempt, should the encoder
/// change in between; by its name it is the same child nevertheless.
const CHILD: &str = "notify";

/// Carries out one task.
pub(crate) async fn thumbnail(ctx: Context, request: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    let Request { origin, order, notify } = request.try_into().map_err(never_again)?;
    let source = match origin {
        Origin::Image(bytes) => bytes,
        Origin::Blob(id) => {
            let bytes = ctx.blob(id).await?;
            ctx.progress(20, "read");
            bytes
        }
    };
    let steps = ctx.clone();
    let work = move || make(source, &order, |percent, step| steps.progress(percent, step));
    let made = ctx.blocking(work).await.map_err(never_again)?;
    if let Some(notify) = notify {
        ctx.child(completed(ctx.task_id(), &made, notify)).named(CHILD).submit().await?;
        ctx.progress(100, "webhook submitted");
    }
    Ok(made)
}

/// The same bytes fail in the same way tomorrow.
fn never_again(error: ThumbnailError) -> TaskError {
    TaskError::permanent(error.code(), error)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat};
    use prost_types::Value;
    use prost_types::value::Kind;
    use workfleet_proto::kinds::thumbnail::{Notify, ThumbnailRequest};
    use workfleet_proto::kinds::webhook::WebhookRequest;
    use workfleet_sdk::TaskError;
    use workfleet_sdk::testing::Bench;

    use super::thumbnail;

    /// A PNG of 40 x 20 pixels.
    fn picture() -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(40, 20).write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn request(image: Vec<u8>) -> ThumbnailRequest {
        ThumbnailRequest { image: image.into(), width_px: 10, height_px: 10, ..Default::default() }
    }

    fn telling(image: Vec<u8>) -> ThumbnailRequest {
        let notify = Notify { url: "https://shop.example/hooks".to_owned(), secret_ref: "shop".to_owned() };
        ThumbnailRequest { notify: Some(notify), ..request(image) }
    }

    fn field<'a>(data: Option<&'a Value>, name: &str) -> &'a Kind {
        match data.and_then(|data| data.kind.as_ref()) {
            Some(Kind::StructValue(data)) => data.fields[name].kind.as_ref().unwrap(),
            other => panic!("no object: {other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_picture_is_never_tried_again_and_nobody_is_told() {
        let ran = Bench::new().run(&thumbnail, telling(b"Dear sir or madam".to_vec())).await;
        assert_eq!((ran.failure().code(), ran.failure().is_permanent()), ("unsupported_format", true));
        assert!(ran.children::<WebhookRequest>().is_empty());
    }

    #[tokio::test]
    async fn a_picture_that_was_uploaded_is_made_small_as_one_that_was_sent_along() {
        let uploaded = ThumbnailRequest { blob: "thumbnail_holiday.png".to_owned(), ..request(Vec::new()) };
        let ran = Bench::new().blob("thumbnail_holiday.png", picture()).run(&thumbnail, uploaded.clone()).await;
        assert_eq!(ran.output(), Bench::new().run(&thumbnail, request(picture())).await.output());
        let ran = Bench::new().run(&thumbnail, uploaded).await;
        assert_eq!((ran.failure().code(), ran.failure().is_permanent()), ("blob_gone", true));
    }

    #[tokio::test]
    async fn progress_goes_up_to_the_end() {
        let told = ThumbnailRequest { blob: "thumbnail_holiday.png".to_owned(), ..telling(Vec::new()) };
        let ran = Bench::new().blob("thumbnail_holiday.png", picture()).run(&thumbnail, told).await;
        let said: Vec<u32> = ran.progress.iter().map(|progress| progress.percent).collect();
        assert_eq!(said, [20, 40, 70, 90, 100]);
    }

    #[tokio::test]
    async fn who_is_to_be_notified_is_told_what_came_of_it() {
        let ran = Bench::new().children(&["webhook"]).run(&thumbnail, telling(picture())).await;
        let [child] = &ran.children::<WebhookRequest>()[..] else { panic!("one child") };
        let WebhookRequest { url, r#type, data, secret_ref } = &child.task;
        assert_eq!([url, r#type, secret_ref], ["https://shop.example/hooks", "thumbnail.completed", "shop"]);
        let field = |name| field(data.as_ref(), name);
        assert!(matches!(field("task_id"), Kind::StringValue(id) if id.starts_with("thumbnail_")));
        assert_eq!(field("format"), &Kind::StringValue("FORMAT_PNG".to_owned()));
        for (name, number) in [("width_px", 10.0), ("height_px", 5.0), ("bytes", ran.output().image.len() as f64)] {
            assert_eq!(field(name), &Kind::NumberValue(number), "{name}");
        }
        assert!(Bench::new().run(&thumbnail, request(picture())).await.children::<WebhookRequest>().is_empty());
    }

    #[tokio::test]
    async fn a_second_attempt_tells_nobody_twice() {
        let bench = Bench::new();
        let first = bench.run(&thumbnail, telling(picture())).await.children::<WebhookRequest>();
        let second = bench.attempt(2, 5).run(&thumbnail, telling(picture())).await.children::<WebhookRequest>();
        assert_eq!(first[0].id, second[0].id);
        assert_eq!(first[0].name.as_deref(), Some("notify"));
    }

    #[tokio::test]
    async fn where_nobody_can_be_told_now_the_task_is_tried_again() {
        let full = TaskError::retryable("queue_full", "no room");
        let ran = Bench::new().submit_fails("webhook", full).run(&thumbnail, telling(picture())).await;
        assert_eq!((ran.failure().code(), ran.failure().is_permanent()), ("queue_full", false));
    }
}
