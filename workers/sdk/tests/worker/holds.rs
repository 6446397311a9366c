//! Leases, slots, lanes, and handing back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::v1::State;
use workfleet_sdk::{Context, TaskError};

use crate::fleet::{Fleet, eventually};

fn task(width_px: u32) -> ThumbnailRequest {
    ThumbnailRequest { width_px, ..Default::default() }
}

/// Counts its runs and waits as many milliseconds as the width says.
#[derive(Clone, Default)]
struct Sleepy {
    runs: Arc<AtomicU32>,
    most_at_once: Arc<AtomicU32>,
    at_once: Arc<AtomicU32>,
}

impl workfleet_sdk::Handler<ThumbnailRequest> for Sleepy {
    async fn handle(&self, _: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(task.width_px.into())).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        Ok(ThumbnailReply::default())
    }
}

impl Sleepy {
    fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    async fn started(&self, runs: u32) {
        eventually("the handlers start", async || (self.runs() >= runs).then_some(())).await;
    }
}

#[test]
fn a_handler_that_blocks_its_only_thread_beyond_the_lease_keeps_its_task() {
    let broker = tokio::runtime::Runtime::new().expect("a runtime");
    let fleet = broker.block_on(Fleet::start());
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    // A runtime of one thread for the worker, which its handler blocks for more than two leases.
    let blocking = move |_: Context, _: ThumbnailRequest| {
        let counted = Arc::clone(&counted);
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_secs(5));
            Ok(ThumbnailReply::default())
        }
    };
    let handlers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
    let worker = broker.block_on(fleet.worker_on(&handlers, 2, blocking));
    broker.block_on(async {
        let id = fleet.submit(task(1)).await;
        let record = fleet.ended(&id).await;
        assert_eq!((record.state(), record.attempt), (State::Completed, 1));
        fleet.emptied().await;
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        worker.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_one_slot_holds_no_second_task_while_another_worker_is_free() {
    let fleet = Fleet::start().await;
    let handler = Sleepy::default();
    let (one, two) = (fleet.worker(1, handler.clone()).await, fleet.worker(1, handler.clone()).await);
    let long = fleet.submit(task(3_000)).await;
    handler.started(1).await;
    let start = Instant::now();
    for _ in 0..5 {
        let short = fleet.submit(task(10)).await;
        assert_eq!(fleet.ended(&short).await.attempt, 1);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    fleet.ended(&long).await;
    assert_eq!(handler.runs(), 6);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_slot_is_used_and_none_twice() {
    let fleet = Fleet::start().await;
    let handler = Sleepy::default();
    let worker = fleet.worker(4, handler.clone()).await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(fleet.submit(task(20)).await);
    }
    for id in ids {
        fleet.ended(&id).await;
    }
    assert_eq!((handler.runs(), handler.most_at_once.load(Ordering::SeqCst)), (40, 4));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_short_work_end_and_hands_long_work_back_without_spending_its_attempt() {
    let fleet = Fleet::start().await;
    let handler = Sleepy::default();
    let vars = [("WORKFLEET_DRAIN_TIMEOUT", "1s"), ("WORKFLEET_SLOTS", "2")];
    let worker = fleet.worker_with(&vars, handler.clone(), |worker| worker).await;
    let short = fleet.submit(task(500)).await;
    let long = fleet.submit(task(60_000)).await;
    handler.started(2).await;
    worker.stop().await;
    assert_eq!(fleet.ended(&short).await.state(), State::Completed);
    let quick = |_: Context, _: ThumbnailRequest| async { Ok(ThumbnailReply::default()) };
    let worker = fleet.worker(1, quick).await;
    let record = fleet.ended(&long).await;
    assert_eq!((record.attempt, record.attempts.len()), (1, 0));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_its_third_delivery_on_a_task_runs_alone() {
    let fleet = Fleet::start().await;
    let poison = fleet.submit(task(1_000)).await;
    fleet.lose(2).await;
    let handler = Sleepy::default();
    let worker = fleet.worker(4, handler.clone()).await;
    let mut ids = vec![poison];
    for _ in 0..4 {
        ids.push(fleet.submit(task(50)).await);
    }
    handler.started(1).await;
    let alone = fleet.ended(&ids[0]).await;
    assert_eq!(alone.attempt, 3);
    for id in &ids[1..] {
        let other = fleet.ended(id).await;
        assert_eq!(other.attempt, 1);
        let is_beside = other.started_at_ms < Some(alone.ended_at_ms) && Some(other.ended_at_ms) > alone.started_at_ms;
        assert!(!is_beside, "{other:?} ran beside {alone:?}");
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_one_slot_serves_every_lane() {
    let fleet = Fleet::start_with(|settings| settings.lanes = ["h", "m", "l"].map(str::to_owned).to_vec()).await;
    let handler = Sleepy::default();
    let worker = fleet.worker(1, handler.clone()).await;
    for lane in ["l", "m", "h", "l"] {
        let id = fleet.submit_to(lane, task(1)).await;
        let start = Instant::now();
        fleet.ended(&id).await;
        assert!(start.elapsed() < Duration::from_secs(3), "{lane}: {:?}", start.elapsed());
    }
    let mut ids = Vec::new();
    for _ in 0..30 {
        for lane in ["l", "m", "h"] {
            ids.push(fleet.submit_to(lane, task(1)).await);
        }
    }
    for id in ids {
        fleet.ended(&id).await;
    }
    assert_eq!((handler.runs(), handler.most_at_once.load(Ordering::SeqCst)), (94, 1));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_after_its_broker_was_killed() {
    let mut fleet = Fleet::start().await;
    let handler = Sleepy::default();
    let worker = fleet.worker(2, handler.clone()).await;
    fleet.ended(&fleet.submit(task(1)).await).await;
    let waiting = fleet.submit(task(400)).await;
    handler.started(2).await;
    fleet.restart_broker().await;
    assert_eq!(fleet.ended(&waiting).await.state(), State::Completed);
    let start = Instant::now();
    fleet.ended(&fleet.submit(task(1)).await).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_after_its_broker_was_frozen() {
    let fleet = Fleet::start().await;
    let handler = Sleepy::default();
    let worker = fleet.worker(2, handler.clone()).await;
    fleet.signal_broker("-STOP");
    tokio::time::sleep(Duration::from_secs(7)).await;
    fleet.signal_broker("-CONT");
    let start = Instant::now();
    fleet.ended(&fleet.submit(task(1)).await).await;
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_gone_is_waited_for() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(1, Sleepy::default()).await;
    let consumer = fleet.delete_consumer().await;
    let id = fleet.submit(task(1)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    fleet.create_consumer(consumer).await;
    assert_eq!(fleet.ended(&id).await.attempt, 1);
    worker.stop().await;
}

/// Names the broker for the test below when it is run as a process of its own.
const PROCESS_URL: &str = "WORKFLEET_SDK_TEST_URL";

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_handlers_do_not_stop_ends_itself() {
    let forever = |_: Context, _: ThumbnailRequest| async {
        std::thread::sleep(Duration::from_secs(600));
        Ok(ThumbnailReply::default())
    };
    if let Ok(url) = std::env::var(PROCESS_URL) {
        let vars = [("WORKFLEET_NATS_URL", url.as_str()), ("WORKFLEET_SLOTS", "2")];
        let worker = workfleet_sdk::Worker::from_vars(workfleet_sdk::Vars::from_pairs(vars));
        worker.expect("variables").handle(forever).run().await.expect("it does not return");
    }
    let fleet = Fleet::start().await;
    let name = "holds::a_process_whose_handlers_do_not_stop_ends_itself";
    let mut process = tokio::process::Command::new(std::env::current_exe().expect("a test knows its own file"))
        .args(["--exact", name])
        .env(PROCESS_URL, fleet.url())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut ids = Vec::new();
    for _ in 0..2 {
        let envelope = workfleet_proto::v1::Envelope { timeout_ms: 300, attempts_max: 1, ..fleet.envelope() };
        ids.push(fleet.publish("m", fleet.headers(), envelope).await);
    }
    let status =
        tokio::time::timeout(Duration::from_secs(20), process.wait()).await.expect("it ends").expect("a status");
    assert_eq!(status.code(), Some(70));
    for id in ids {
        assert_eq!(fleet.ended(&id).await.failure.expect("a failure").code, "timeout", "settled before the end");
    }
}
