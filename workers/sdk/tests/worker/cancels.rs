//! Tasks that are cancelled while a worker has them. The test plays the dispatcher: it stores the end by compare-and-set,
//! purges what waits, and tells the queue's workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use prost::Message as _;
use tokio::sync::mpsc;
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::v1::{Envelope, State};
use workfleet_sdk::{Context, TaskError};

use crate::fleet::{Fleet, eventually};

/// Tasks whose handlers are told at once.
const TASKS: usize = 200;

fn task(width_px: u32) -> ThumbnailRequest {
    ThumbnailRequest { width_px, ..Default::default() }
}

/// A handler that tells when it started and when it was told to stop, and then takes its time.
#[derive(Clone)]
struct Polite {
    told: mpsc::UnboundedSender<(TaskId, Instant)>,
    started: Arc<AtomicU32>,
    dropped: Arc<AtomicU32>,
    /// How long it goes on after it was told.
    cleans_up: Duration,
}

/// Counts when it is dropped.
struct Witness(Arc<AtomicU32>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl workfleet_sdk::Handler<ThumbnailRequest> for Polite {
    async fn handle(&self, ctx: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
        let _witness = Witness(Arc::clone(&self.dropped));
        self.started.fetch_add(1, Ordering::SeqCst);
        ctx.cancelled().await;
        let _ = self.told.send((ctx.task_id().clone(), Instant::now()));
        tokio::time::sleep(self.cleans_up).await;
        Err(TaskError::retryable("stopped", "told to stop"))
    }
}

impl Polite {
    fn new(cleans_up: Duration) -> (Self, mpsc::UnboundedReceiver<(TaskId, Instant)>) {
        let (told, heard) = mpsc::unbounded_channel();
        (Self { told, started: Arc::default(), dropped: Arc::default(), cleans_up }, heard)
    }

    async fn started(&self, count: u32) {
        eventually("the handlers start", async || (self.started.load(Ordering::SeqCst) == count).then_some(())).await;
    }

    async fn dropped(&self, count: u32) {
        eventually("the handlers end", async || (self.dropped.load(Ordering::SeqCst) == count).then_some(())).await;
    }
}

async fn quick(_: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    Ok(ThumbnailReply::default())
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "the numbers are the point")]
async fn running_handlers_are_told_of_a_cancel_within_half_a_second_and_nothing_more_is_recorded() {
    let fleet = Fleet::start().await;
    let (handler, mut heard) = Polite::new(Duration::ZERO);
    let worker = fleet.worker(u32::try_from(TASKS).expect("few"), handler.clone()).await;
    let mut ids = Vec::new();
    for _ in 0..TASKS {
        ids.push(fleet.submit(task(1)).await);
    }
    handler.started(u32::try_from(TASKS).expect("few")).await;
    let mut waits = Vec::new();
    for id in &ids {
        fleet.record_end(id, State::Cancelled).await;
        let begun = Instant::now();
        let replies = fleet.tell(&[id]).await;
        assert_eq!(replies.iter().map(|reply| reply.held.clone()).collect::<Vec<_>>(), [[id.to_string()]]);
        let (told, at) = heard.recv().await.expect("the handler is told");
        assert_eq!(&told, id);
        waits.push(at.saturating_duration_since(begun));
    }
    waits.sort_unstable();
    let (p50, p99) = (waits[TASKS / 2], waits[TASKS * 99 / 100]);
    eprintln!("{TASKS} running handlers were told of their cancel: p50 {p50:?}, p99 {p99:?} from the request");
    assert!(p99 < Duration::from_millis(500), "{p99:?}");
    // Every slot is free again, and every delivery is acknowledged.
    handler.dropped(u32::try_from(TASKS).expect("few")).await;
    fleet.emptied().await;
    for id in &ids {
        let record = fleet.ended(id).await;
        assert_eq!((record.state(), record.worker.as_str()), (State::Cancelled, "the test"));
        assert!(fleet.copies(id).await.is_empty() && fleet.dead(id).await.is_none(), "nothing is tried again");
    }
    assert_eq!(handler.started.load(Ordering::SeqCst), u32::try_from(TASKS).expect("few"));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_does_not_stop_is_dropped_after_the_grace_and_its_slot_is_free() {
    let fleet = Fleet::start_with(|settings| settings.cancel_grace_ms = 700).await;
    let (handler, mut heard) = Polite::new(Duration::from_secs(3_600));
    let worker = fleet.worker(1, handler.clone()).await;
    let id = fleet.submit(task(1)).await;
    handler.started(1).await;
    fleet.record_end(&id, State::Cancelled).await;
    fleet.tell(&[&id]).await;
    let (_, told_at) = heard.recv().await.expect("the handler is told");
    handler.dropped(1).await;
    assert!(told_at.elapsed() >= Duration::from_millis(600), "it had its grace: {:?}", told_at.elapsed());
    fleet.emptied().await;
    let next = fleet.submit(task(1)).await;
    handler.started(2).await;
    fleet.record_end(&next, State::Cancelled).await;
    fleet.tell(&[&next]).await;
    fleet.emptied().await;
    assert_eq!(fleet.ended(&id).await.state(), State::Cancelled);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_work_is_told_through_its_context() {
    let fleet = Fleet::start().await;
    let (begun, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let seen = (Arc::clone(&begun), Arc::clone(&asked));
    let handler = move |ctx: Context, _: ThumbnailRequest| {
        let (begun, asked) = seen.clone();
        async move {
            let inner = ctx.clone();
            ctx.blocking(move || {
                begun.store(true, Ordering::SeqCst);
                while !inner.is_cancelled() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                asked.store(true, Ordering::SeqCst);
            })
            .await;
            Ok(ThumbnailReply::default())
        }
    };
    let worker = fleet.worker(1, handler).await;
    let id = fleet.submit(task(1)).await;
    eventually("the work begins", async || begun.load(Ordering::SeqCst).then_some(())).await;
    fleet.record_end(&id, State::Cancelled).await;
    fleet.tell(&[&id]).await;
    eventually("the work is told", async || asked.load(Ordering::SeqCst).then_some(())).await;
    fleet.emptied().await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.worker.as_str()), (State::Cancelled, "the test"), "its success came too late");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_not_lost_when_it_was_said_in_error_that_it_was_cancelled() {
    let fleet = Fleet::start_with(|settings| settings.cancel_grace_ms = 200).await;
    let started = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&started);
    let handler = move |ctx: Context, _: ThumbnailRequest| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                ctx.cancelled().await;
                std::future::pending::<()>().await;
            }
            Ok(ThumbnailReply { width_px: ctx.attempt(), ..Default::default() })
        }
    };
    let worker = fleet.worker(1, handler).await;
    let id = fleet.submit(task(1)).await;
    eventually("the handler starts", async || (started.load(Ordering::SeqCst) == 1).then_some(())).await;
    fleet.tell(&[&id]).await;
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt), (State::Completed, 1), "handed back, its attempt not spent");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_of_which_a_cancel_was_heard_before_is_not_started() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker(1, async |_: Context, _: ThumbnailRequest| panic!("must not start")).await;
    // A cancel that comes between the delivery and its start, as far as a test can have it: the word is there first, and
    // nothing about the delivery asks for a look.
    let id = fleet.new_id();
    fleet.record_end(&id, State::Cancelled).await;
    assert!(fleet.tell(&[&id]).await.iter().all(|reply| reply.held.is_empty()), "nobody holds it");
    let envelope = Envelope { id: id.to_string(), payload: task(1).encode_to_vec().into(), ..fleet.envelope() };
    let mut headers = async_nats::HeaderMap::new();
    fleet.headers().pairs().into_iter().for_each(|(name, value)| headers.insert(name, value));
    fleet.publish_raw(&id, "m", headers, envelope.encode_to_vec().into()).await;
    fleet.emptied().await;
    assert_eq!(fleet.ended(&id).await.worker, "the test");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_registered_hears_every_cancel() {
    let fleet = Fleet::start().await;
    for _ in 0..10 {
        let worker = fleet.launch(1, quick);
        fleet.registered().await;
        assert_eq!(fleet.tell(&[&fleet.new_id()]).await.len(), 1, "it is registered, and does not answer");
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_while_the_connection_was_lost_is_noticed_after_it() {
    let mut fleet = Fleet::start_with(|settings| settings.lease_ms = 60_000).await;
    let (handler, mut heard) = Polite::new(Duration::ZERO);
    let worker = fleet.worker(2, handler.clone()).await;
    let id = fleet.submit(task(1)).await;
    let other = fleet.submit(task(1)).await;
    handler.started(2).await;
    // Nobody is told: the word is lost with the connection.
    fleet.record_end(&id, State::Cancelled).await;
    fleet.restart_broker().await;
    let (told, _) = heard.recv().await.expect("the handler is told");
    assert_eq!(told, id);
    fleet.record_end(&other, State::Expired).await;
    fleet.tell(&[&other]).await;
    assert_eq!(heard.recv().await.expect("told").0, other, "nobody told it before");
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_its_deadline_a_running_handler_is_told_and_the_task_expires() {
    let fleet = Fleet::start_with(|settings| settings.cancel_grace_ms = 300).await;
    let (handler, mut heard) = Polite::new(Duration::from_secs(3_600));
    let worker = fleet.worker(1, handler.clone()).await;
    let payload = task(1).encode_to_vec().into();
    let deadline_ms = now_ms() + 800;
    let envelope = Envelope { payload, deadline_ms: Some(deadline_ms), ..fleet.envelope() };
    let id = fleet.publish("m", fleet.headers(), envelope).await;
    heard.recv().await.expect("the handler is told");
    assert!(now_ms() >= deadline_ms);
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt, record.attempts.len()), (State::Expired, 1, 1));
    assert_eq!(record.failure.expect("a failure").code, "expired");
    assert!(record.ended_at_ms >= deadline_ms + 200, "it had its grace");
    fleet.emptied().await;
    assert!(fleet.dead(&id).await.is_none() && fleet.copies(&id).await.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_would_come_after_the_deadline_expires_at_it_with_the_last_failure() {
    let fleet = Fleet::start().await;
    let handler = async |_: Context, _: ThumbnailRequest| {
        Err(TaskError::retryable("no_route", "nobody answers").retry_after(Duration::from_secs(3_600)))
    };
    let worker = fleet.worker(1, handler).await;
    let deadline_ms = now_ms() + 1_500;
    let envelope = Envelope { deadline_ms: Some(deadline_ms), ..fleet.envelope() };
    let id = fleet.publish("m", fleet.headers(), envelope).await;
    let due_ms = eventually("it waits", async || fleet.scheduled_for(&id).await).await;
    assert!(due_ms <= deadline_ms, "{due_ms} {deadline_ms}");
    let record = fleet.ended(&id).await;
    assert_eq!((record.state(), record.attempt, record.attempts.len()), (State::Expired, 1, 1));
    assert_eq!(record.started_at_ms, Some(record.attempts[0].started_at_ms), "the last that was begun");
    assert_eq!(record.attempts[0].code, "no_route");
    assert!(record.ended_at_ms >= deadline_ms);
    fleet.emptied().await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_has_the_timeout_of_its_task() {
    let fleet = Fleet::start().await;
    let (handler, mut heard) = Polite::new(Duration::ZERO);
    let worker = fleet.worker(1, handler).await;
    let envelope = Envelope { timeout_ms: 250, attempts_max: 1, ..fleet.envelope() };
    let id = fleet.publish("m", fleet.headers(), envelope).await;
    heard.recv().await.expect("the handler is told");
    assert_eq!(fleet.ended(&id).await.failure.expect("a failure").code, "timeout");
    worker.stop().await;
}
