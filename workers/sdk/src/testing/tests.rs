use std::time::{Duration, UNIX_EPOCH};

use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::kinds::webhook::WebhookRequest;
use workfleet_proto::limits::CHILDREN_MAX;

use super::{Bench, Ended};
use crate::{BlobError, Context, ResultExt as _, TaskError};

const HOUR: Duration = Duration::from_secs(3_600);

fn told(url: &str) -> WebhookRequest {
    WebhookRequest { url: url.to_owned(), ..Default::default() }
}

/// A handler that submits one webhook.
async fn tells(ctx: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    ctx.submit(told("https://a.example")).await?;
    Ok(ThumbnailReply::default())
}

async fn run<R>(bench: &Bench, handler: fn(Context, ThumbnailRequest) -> R) -> super::Ran<ThumbnailReply>
where
    R: Future<Output = Result<ThumbnailReply, TaskError>> + Send + 'static,
{
    bench.run(&handler, ThumbnailRequest::default()).await
}

#[tokio::test(start_paused = true)]
async fn the_clock_and_the_deadline_go_with_the_time_that_a_test_has_paused() {
    let ctx = Bench::new().at(UNIX_EPOCH + HOUR).timeout(HOUR).context();
    assert_eq!((ctx.now(), ctx.submitted_at(), ctx.time_left()), (UNIX_EPOCH + HOUR, UNIX_EPOCH + HOUR, HOUR));
    tokio::time::sleep(HOUR / 2).await;
    assert_eq!((ctx.now(), ctx.time_left()), (UNIX_EPOCH + HOUR + HOUR / 2, HOUR / 2));
    tokio::time::sleep(HOUR).await;
    assert_eq!(ctx.time_left(), Duration::ZERO);
    let earlier = Bench::new().at(UNIX_EPOCH + HOUR).submitted_at(UNIX_EPOCH).context();
    assert_eq!(earlier.submitted_at(), UNIX_EPOCH);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_with_its_time() {
    let bench = Bench::new().timeout(HOUR);
    let ran = run(&bench, |ctx, _| async move {
        ctx.progress(1, "begun");
        tokio::time::sleep(2 * HOUR).await;
        Ok(ThumbnailReply::default())
    });
    let ran = ran.await;
    assert_eq!((ran.ended, ran.progress.len()), (Ended::TimedOut, 1));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_told_to_stop_has_a_second_to_complete() {
    let bench = Bench::new().cancel_after(HOUR).timeout(2 * HOUR);
    let quick = run(&bench, |ctx, _| async move {
        ctx.cancelled().await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        Ok(ThumbnailReply { width_px: 7, ..Default::default() })
    });
    assert_eq!(quick.await.output().width_px, 7);
    let slow = run(&bench, |ctx, _| async move {
        ctx.cancelled().await;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        Ok(ThumbnailReply::default())
    });
    assert_eq!(slow.await.ended, Ended::HandedBack);
    assert!(run(&bench, |_, _| async { Ok(ThumbnailReply::default()) }).await.output().image.is_empty());
}

#[tokio::test]
async fn a_second_attempt_finds_the_children_of_the_first_and_a_redriven_run_has_its_own() {
    let bench = Bench::new();
    let first = run(&bench, tells).await.children::<WebhookRequest>();
    let bench = bench.attempt(2, 5);
    assert_eq!(run(&bench, tells).await.children::<WebhookRequest>(), first);
    let redriven = run(&bench.redriven(2), tells).await.children::<WebhookRequest>();
    assert_ne!(redriven[0].id, first[0].id);
}

#[tokio::test]
async fn what_differs_from_attempt_to_attempt_is_a_conflict_unless_it_is_named() {
    async fn differs(ctx: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
        let child = ctx.child(told(&format!("https://{}.example", ctx.attempt())));
        if task.width_px > 0 {
            child.named("it").submit().await?
        } else {
            child.submit().await?
        };
        Ok(ThumbnailReply::default())
    }
    let named = ThumbnailRequest { width_px: 1, ..Default::default() };
    let bench = Bench::new();
    run(&bench, differs).await.output();
    bench.run(&differs, named.clone()).await.output();
    let bench = bench.attempt(2, 5);
    let conflict = run(&bench, differs).await;
    assert_eq!((conflict.failure().code(), conflict.failure().is_permanent()), ("child_conflict", true));
    let found = bench.run(&differs, named).await.children::<WebhookRequest>();
    assert_eq!((found[0].task.url.as_str(), found[0].name.as_deref()), ("https://1.example", Some("it")));
}

#[tokio::test]
async fn children_count_in_the_order_of_the_calls_and_not_of_the_polls() {
    let (one, two) = (Bench::new(), Bench::new().context());
    let ctx = one.context();
    let (a, b) = (ctx.submit(told("https://a.example")), ctx.submit(told("https://b.example")));
    let (b, a) = (b.await.expect("taken"), a.await.expect("taken"));
    let again = one.context();
    assert_eq!(again.submit(told("https://a.example")).await.expect("it is there"), a);
    assert_eq!(again.submit(told("https://b.example")).await.expect("it is there"), b);
    assert_ne!(two.submit(told("https://a.example")).await.expect("another parent's"), a);
}

#[tokio::test]
async fn submits_are_refused_where_a_fleet_would_refuse_them() {
    let code = async |bench: &Bench| run(bench, tells).await.failure().code().to_owned();
    assert_eq!(code(&Bench::new().children(&["email"])).await, "forbidden");
    assert_eq!(code(&Bench::new().direct_call()).await, "no_parent");
    assert_eq!(
        code(&Bench::new().submit_fails("webhook", TaskError::retryable("queue_full", "x"))).await,
        "queue_full"
    );
    run(&Bench::new().children(&["webhook"]), tells).await.output();

    let ctx = Bench::new().context();
    let large = ctx.submit(told(&"x".repeat(2 << 20))).await.unwrap_err();
    assert_eq!((large.code(), large.is_permanent()), ("payload_too_large", true));
    assert_eq!(ctx.child(told("")).named("").submit().await.unwrap_err().code(), "invalid_option");
    assert_eq!(ctx.child(told("")).named("x".repeat(129)).submit().await.unwrap_err().code(), "invalid_option");
    let ctx = Bench::new().context();
    for _ in 0..CHILDREN_MAX {
        ctx.submit(told("https://a.example")).await.expect("there is room");
    }
    assert_eq!(ctx.submit(told("https://a.example")).await.unwrap_err().code(), "too_many_children");
}

#[tokio::test]
async fn the_options_of_a_child_are_told() {
    let bench = Bench::new();
    let ran = run(&bench, |ctx, _| async move {
        let child =
            ctx.child(told("")).delay(HOUR).priority("h").label("team", "web").ordering_key("k").attempts_max(3);
        child.submit().await?;
        Ok(ThumbnailReply::default())
    });
    let options = ran.await.children::<WebhookRequest>()[0].options.clone();
    assert_eq!((options.delay_ms, options.priority.as_deref()), (Some(3_600_000), Some("h")));
    assert_eq!((options.ordering_key.as_deref(), options.attempts_max), (Some("k"), Some(3)));
    assert_eq!(options.labels.get("team").map(String::as_str), Some("web"));
}

#[tokio::test]
async fn blobs_are_there_or_missing_or_damaged_and_what_is_stored_is_told() {
    async fn copies(ctx: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
        let source = ctx.blob(&task.blob).await?;
        ctx.put_blob(source).await.permanent("not_stored")?;
        Ok(ThumbnailReply::default())
    }
    let task = ThumbnailRequest { blob: "thumbnail_cat".to_owned(), ..Default::default() };
    let bench = Bench::new().blob("thumbnail_cat", "meow");
    let ran = bench.run(&copies, task.clone()).await;
    assert_eq!((ran.blobs.len(), &ran.blobs[0].1[..]), (1, &b"meow"[..]), "{ran:?}");
    assert_eq!(bench.stored(&ran.blobs[0].0).as_deref(), Some(&b"meow"[..]));
    for (bench, code, permanent) in [
        (Bench::new(), "blob_gone", true),
        (Bench::new().damaged_blob("thumbnail_cat", "me"), "blob_damaged", false),
        (bench.blobs_fail(BlobError::Full), "blobs_full", false),
    ] {
        let ran = bench.run(&copies, task.clone()).await;
        assert_eq!((ran.failure().code(), ran.failure().is_permanent()), (code, permanent));
        assert!(ran.blobs.is_empty());
    }
}
