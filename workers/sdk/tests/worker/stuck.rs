//! Slots whose handlers do not stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use prost::Message as _;
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::v1::{Envelope, State};
use workfleet_sdk::Context;

use crate::fleet::{Fleet, eventually};

/// The width that makes the handler block its thread.
const BLOCKS: u32 = 666;

/// Lets the blocked handler go, also where the test fails: its runtime would wait for that thread for ever.
struct Release(Arc<AtomicBool>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stuck_slot_and_a_task_that_must_run_alone_do_not_end_the_work() {
    let fleet = Fleet::start_with(|settings| settings.lease_ms = 8_000).await;
    let (blocked, released) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let seen = (Arc::clone(&blocked), Arc::clone(&released));
    let release = Release(released);
    let handler = move |_: Context, task: ThumbnailRequest| {
        let (blocked, released) = seen.clone();
        async move {
            blocked.fetch_add(u32::from(task.width_px == BLOCKS), Ordering::SeqCst);
            while task.width_px == BLOCKS && !released.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(ThumbnailReply::default())
        }
    };
    let alone = fleet.submit(ThumbnailRequest::default()).await;
    fleet.lose(1).await;
    let taken = fleet.take().await;
    let worker = fleet.worker(2, handler).await;
    let payload = ThumbnailRequest { width_px: BLOCKS, ..Default::default() }.encode_to_vec().into();
    let envelope = Envelope { payload, timeout_ms: 1_000, attempts_max: 1, ..fleet.envelope() };
    let stuck = fleet.publish("m", fleet.headers(), envelope).await;
    eventually("a handler blocks", async || (blocked.load(Ordering::SeqCst) == 1).then_some(())).await;
    // Its third delivery goes to the other slot, and waits there for the first one.
    fleet.drop_taken(taken).await;
    assert_eq!(fleet.ended(&stuck).await.failure.expect("a failure").code, "timeout");
    let other = fleet.submit(ThumbnailRequest::default()).await;
    assert_eq!(fleet.ended(&other).await.state(), State::Completed);
    let record = fleet.ended(&alone).await;
    assert_eq!((record.state(), record.attempt), (State::Completed, 3), "handed back, its attempt not spent");
    drop(release);
    // A worker that drains while a slot is stuck ends its process, which is this test's, so let it notice first.
    tokio::time::sleep(Duration::from_secs(3)).await;
    worker.stop().await;
}
