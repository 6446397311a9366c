//! A task that must run alone, and neighbours that take long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use prost::Message as _;
use tokio::sync::watch;
use workfleet_proto::id::TaskId;
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1::{Attempt, Envelope, State};
use workfleet_proto::wire::CopyHeaders;
use workfleet_sdk::{Context, TaskError};

use crate::fleet::{Fleet, eventually};

/// The width that makes the handler wait until it is let go.
const LONG: u32 = 600;
/// Longer than a task waits that was handed back only a few times.
const PATIENCE: Duration = Duration::from_secs(63);
/// The timeout of the queue, and of its tasks.
const TIMEOUT_MS: i64 = 120_000;
/// Where a task stands that could not run alone three times.
const HANDED_BACK: Generation = Generation { run: 1, attempt: 3, back: 3 };

/// How long nothing may move that is watched for coming back.
const WATCHED: Duration = Duration::from_secs(5);
/// Slots of a worker that had asked for as many tasks before one of them took all slots.
const SLOTS: u32 = 4;

#[derive(Clone)]
struct Gate {
    started: Arc<AtomicU32>,
    open: watch::Sender<bool>,
}

impl workfleet_sdk::Handler<ThumbnailRequest> for Gate {
    async fn handle(&self, _: Context, task: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
        self.started.fetch_add(1, Ordering::SeqCst);
        if task.width_px == LONG {
            let _ = self.open.subscribe().wait_for(|open| *open).await;
        }
        Ok(ThumbnailReply::default())
    }
}

impl Gate {
    fn new() -> Self {
        Self { started: Arc::default(), open: watch::Sender::new(false) }
    }

    fn started(&self) -> u32 {
        self.started.load(Ordering::SeqCst)
    }
}

async fn fleet() -> Fleet {
    Fleet::start_with(|settings| settings.timeout_ms = TIMEOUT_MS).await
}

async fn submit(fleet: &Fleet, width_px: u32) -> TaskId {
    let payload = ThumbnailRequest { width_px, ..Default::default() }.encode_to_vec().into();
    fleet.publish("m", fleet.headers(), Envelope { payload, timeout_ms: TIMEOUT_MS, ..fleet.envelope() }).await
}

/// Submits a task with which two workers were lost, and which has been handed back often.
async fn submit_alone(fleet: &Fleet) -> TaskId {
    let lost = |attempt| Attempt { attempt, code: "worker_lost".to_owned(), ..Attempt::default() };
    let headers = CopyHeaders { generation: HANDED_BACK, ..fleet.headers() };
    fleet.publish("m", headers, Envelope { attempts: vec![lost(1), lost(2)], ..fleet.envelope() }).await
}

/// Waits until so many tasks are in the worker's hands.
async fn taken(fleet: &Fleet, count: u64) {
    let api = format!("CONSUMER.INFO.TASKS_{}.WORK_m", fleet.queue);
    eventually("they are taken", async || {
        let info = fleet.ask(&api, &serde_json::Value::Null).await;
        (info["num_ack_pending"].as_u64() == Some(count)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits for more than a minute: `make slow-test`"]
async fn a_task_that_was_handed_back_often_keeps_its_place_until_it_can_run_alone() {
    let (fleet, gate) = (fleet().await, Gate::new());
    let worker = fleet.worker(2, gate.clone()).await;
    let neighbour = submit(&fleet, LONG).await;
    eventually("the neighbour starts", async || (gate.started() == 1).then_some(())).await;
    let alone = submit_alone(&fleet).await;
    taken(&fleet, 2).await;
    let backlog = submit(&fleet, 1).await;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        assert_eq!(fleet.copies(&alone).await, [HANDED_BACK], "handed back after {:?}", start.elapsed());
        assert_eq!(gate.started(), 1, "nothing starts beside it");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    gate.open.send_replace(true);
    for id in [&neighbour, &alone, &backlog] {
        assert_eq!(fleet.ended(id).await.state(), State::Completed);
    }
    let (before, after) = (fleet.ended(&alone).await, fleet.ended(&backlog).await);
    assert!(before.ended_at_ms <= after.started_at_ms.expect("it ran"), "the backlog waits for it");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_meets_another_lone_one_is_handed_back_no_more_often_than_the_worker_had_asked() {
    let (fleet, gate) = (fleet().await, Gate::new());
    let worker = fleet.worker(SLOTS, gate.clone()).await;
    let neighbour = submit(&fleet, LONG).await;
    eventually("the neighbour starts", async || (gate.started() == 1).then_some(())).await;
    let first = submit_alone(&fleet).await;
    taken(&fleet, 2).await;
    let second = submit_alone(&fleet).await;
    let back = async || fleet.copies(&second).await.iter().map(|copy| copy.back).max();
    let is_back = async || back().await.filter(|back| *back > HANDED_BACK.back);
    eventually("the second is handed back", is_back).await;
    let start = Instant::now();
    while start.elapsed() < WATCHED {
        let back = back().await.unwrap_or_default();
        assert!(back <= HANDED_BACK.back + SLOTS, "handed back again and again: {back}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(gate.started(), 1, "the first still waits for the neighbour");
    gate.open.send_replace(true);
    for id in [&neighbour, &first, &second] {
        assert_eq!(fleet.ended(id).await.state(), State::Completed);
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ends_while_it_waits_to_run_alone_gives_up_its_place() {
    let (fleet, gate) = (fleet().await, Gate::new());
    let worker = fleet.worker(2, gate.clone()).await;
    submit(&fleet, LONG).await;
    eventually("the neighbour starts", async || (gate.started() == 1).then_some(())).await;
    let alone = submit_alone(&fleet).await;
    taken(&fleet, 2).await;
    fleet.registered().await;
    fleet.record_end(&alone, State::Cancelled).await;
    fleet.tell(&[&alone]).await;
    let next = submit(&fleet, 1).await;
    assert_eq!(fleet.ended(&next).await.state(), State::Completed, "beside the neighbour, which still runs");
    assert_eq!((fleet.copies(&alone).await, gate.started()), (Vec::new(), 2));
    gate.open.send_replace(true);
    fleet.emptied().await;
    worker.stop().await;
}
