//! What other publishers may write, on purpose or not: numbers at the ends of their range, and messages of any size.

use std::time::Duration;

use prost::Message as _;
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::v1::{Backoff, Envelope, State};
use workfleet_proto::wire::CopyHeaders;
use workfleet_sdk::{Context, TaskError};

use crate::fleet::{Fleet, eventually};

async fn quick(_: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    Ok(ThumbnailReply::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_at_the_ends_of_their_range_do_no_harm() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(2, quick).await;
    for ms in [i64::MIN, i64::MAX] {
        let headers = CopyHeaders { due_ms: ms, ..fleet.headers() };
        let plain = Envelope { submitted_at_ms: ms, timeout_ms: ms, ..fleet.envelope() };
        let id = fleet.publish("m", headers.clone(), plain.clone()).await;
        assert_eq!(fleet.ended(&id).await.state(), State::Completed);
        let late = Envelope { deadline_ms: Some(ms), attempts_max: 1, ..plain };
        fleet.ended(&fleet.publish("m", headers.clone(), late).await).await;
        // Bytes of an unknown schema: it depends on the task's age whether they wait for a newer worker.
        let headers = CopyHeaders { schema: "ffffffffffffffff".to_owned(), ..headers };
        let payload = b"\xff\xff".as_slice().into();
        let unknown = fleet.publish("m", headers, Envelope { payload, submitted_at_ms: ms, ..fleet.envelope() }).await;
        match ms {
            i64::MIN => drop(fleet.ended(&unknown).await),
            _ => drop(eventually("it is scheduled", async || fleet.copies(&unknown).await.pop()).await),
        }
    }
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wait_before_the_next_attempt_is_endless() {
    let fleet = Fleet::start().await;
    let later = async |_: Context, task: ThumbnailRequest| {
        let error = TaskError::retryable("busy", "later");
        Err::<ThumbnailReply, _>(if task.width_px == 1 { error.retry_after(Duration::MAX) } else { error })
    };
    let worker = fleet.worker(2, move |ctx, task| Box::pin(later(ctx, task))).await;
    let backoff = Some(Backoff { base_ms: i64::MAX, max_ms: i64::MAX });
    for width_px in [1, 2] {
        let payload = ThumbnailRequest { width_px, ..Default::default() }.encode_to_vec().into();
        let id = fleet.publish("m", fleet.headers(), Envelope { payload, backoff, ..fleet.envelope() }).await;
        let due_ms = eventually("the retry", async || fleet.scheduled_for(&id).await).await;
        let week = Duration::from_secs(7 * 24 * 60 * 60 + 60).as_millis();
        assert!(u128::try_from(due_ms - workfleet_link::time::now_ms()).expect("later") <= week, "{due_ms}");
    }
    fleet.emptied().await;
    worker.stop().await;
}
