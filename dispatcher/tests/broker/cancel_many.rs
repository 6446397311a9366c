//! Cancels of many tasks at once.

use std::time::Duration;

use workfleet_dispatcher::operations::{ListOperations, OPERATION_IDS_MAX, OperationView};
use workfleet_dispatcher::{CancelMany, Options};
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::State;

use crate::halting::{DELAY, FakeWorker, RESULTS, TASKS, caller, record, recorded, submitted};
use crate::place::{Place, eventually};

/// The operators' log, newest first, once there are so many.
async fn logged(place: &Place, count: usize) -> Vec<OperationView> {
    let all = ListOperations::default();
    let log = async || {
        let log = place.dispatcher.operations(&all, |_| true).await.expect("a page").operations;
        (log.len() >= count).then_some(log)
    };
    let log = eventually("each call stands in the operators' log", log).await;
    assert_eq!(log.len(), count, "{log:?}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_cancelled_by_label_and_state_a_page_at_a_time() {
    let place = Place::start("").await;
    let mut worker = FakeWorker::register(&place, "w-1").await;
    let mut heard = worker.listen(&place, "w-1").await;
    let gold = |delay: Option<Duration>| Options {
        delay,
        labels: [("tier".to_owned(), "gold".to_owned())].into(),
        ..Options::default()
    };
    for _ in 0..30 {
        submitted(&place, gold(None)).await;
        submitted(&place, Options::default()).await;
    }
    for _ in 0..10 {
        submitted(&place, gold(Some(Duration::from_secs(600)))).await;
    }
    let mut many = CancelMany {
        queue: "thumbnail".to_owned(),
        labels: [("tier".to_owned(), "gold".to_owned())].into(),
        state: Some(State::Queued),
        limit: Some(20),
        ..CancelMany::default()
    };
    let first = place.dispatcher.cancel_many(many.clone(), &caller()).await.expect("done");
    assert_eq!((first.cancelled, first.workers_unanswered, first.problems.len()), (20, 0, 0));
    assert_eq!(heard.recv().await.expect("told").ids.len(), 20, "all at once");
    many.cursor = Some(first.next.expect("there are more"));
    let second = place.dispatcher.cancel_many(many.clone(), &caller()).await.expect("done");
    assert_eq!(second.cancelled, 10);
    assert_eq!((place.messages(TASKS).await, place.messages(DELAY).await), (30, 10), "the others are left alone");
    let all = CancelMany { state: None, limit: None, cursor: None, ..many };
    let rest = place.dispatcher.cancel_many(all, &caller()).await.expect("done");
    assert_eq!((rest.cancelled, rest.next), (10, None), "those that are scheduled, and no end");
    assert_eq!((place.messages(TASKS).await, place.messages(DELAY).await), (30, 0));
    let log = logged(&place, 3).await;
    let told: Vec<_> = log.iter().rev().map(|one| (one.filter.as_str(), one.count, one.ids.len())).collect();
    let by_state = "state=queued label=tier:gold";
    assert_eq!(told, [(by_state, 20, 20), (by_state, 10, 10), ("label=tier:gold", 10, 10)]);
    assert!(log[0].ids.iter().all(|id| id.starts_with("thumbnail_")), "{:?}", log[0].ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_cancelled_by_their_ids_and_each_is_accounted_for() {
    let place = Place::start("").await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(submitted(&place, Options::default()).await.to_string());
    }
    let ended: TaskId = ids[0].parse().expect("an id");
    recorded(&place, &ended, State::Completed, 1).await;
    ids.push("thumbnail_01h455vb4pex5vsknk084sn02q".to_owned());
    let many = CancelMany { queue: "thumbnail".to_owned(), ids, ..CancelMany::default() };
    let done = place.dispatcher.cancel_many(many.clone(), &caller()).await.expect("done");
    assert_eq!((done.cancelled, done.ended, done.unknown, done.next), (49, 1, 1, None));
    assert_eq!(place.messages(TASKS).await, 1, "the ended one is its worker's to acknowledge");
    assert_eq!(place.info(RESULTS).await["state"]["messages"].as_u64(), Some(50));
    let again = place.dispatcher.cancel_many(many, &caller()).await.expect("done");
    assert_eq!((again.cancelled, again.ended, again.unknown), (49, 1, 1));
    // Nor is one that cancels nothing anew worth an entry where it is of one task.
    let last = submitted(&place, Options::default()).await;
    for _ in 0..2 {
        place.dispatcher.cancel(&last, "", &caller()).await.expect("cancelled");
    }
    let witness = submitted(&place, Options::default()).await;
    place.dispatcher.cancel(&witness, "", &caller()).await.expect("cancelled");
    let log = logged(&place, 3).await;
    let told: Vec<_> = log.iter().map(|one| (one.action.as_str(), one.count, one.ids.len())).collect();
    assert_eq!(told, [("cancel", 1, 0), ("cancel", 1, 0), ("cancel_many", 49, OPERATION_IDS_MAX)]);
    assert_eq!((log[0].task_id.as_deref(), log[2].filter.as_str()), (Some(witness.as_str()), ""));
}

/// The end is stored before anything is taken away, and it holds although that is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_before_the_broker_fell_silent_is_logged_and_told() {
    let place = Place::start("").await;
    let mut worker = FakeWorker::register(&place, "w-1").await;
    let mut heard = worker.listen(&place, "w-1").await;
    let id = submitted(&place, Options::default()).await;
    let mut config = place.info(TASKS).await["config"].clone();
    config["deny_delete"] = true.into();
    let subject = format!("STREAM.UPDATE.{TASKS}");
    let broker = place.dispatcher.broker();
    let changed: serde_json::Value = broker.jetstream.request(subject, &config).await.expect("an answer");
    assert_eq!(changed["config"]["deny_delete"], true, "{changed}");

    let many = CancelMany { queue: "thumbnail".to_owned(), ids: vec![id.to_string()], ..CancelMany::default() };
    let done = place.dispatcher.cancel_many(many.clone(), &caller()).await.expect("done");
    assert_eq!((done.cancelled, done.workers_unanswered, done.problems.len()), (0, 0, 1));
    assert!(done.problems[0].detail.contains("recorded as cancelled, and that holds"), "{:?}", done.problems);
    assert_eq!(record(&place, &id).await.expect("a record").state(), State::Cancelled);
    let told = eventually("the worker is told", async || heard.try_recv().ok()).await;
    assert_eq!(told.ids, [id.to_string()]);
    // A repeat meets the same refusal, and has nothing new to note.
    place.dispatcher.cancel_many(many, &caller()).await.expect("done");
    let ids = vec![submitted(&place, Options::default()).await.to_string()];
    let witness = CancelMany { queue: "thumbnail".to_owned(), ids, ..CancelMany::default() };
    place.dispatcher.cancel_many(witness.clone(), &caller()).await.expect("done");
    let log = logged(&place, 2).await;
    let told: Vec<_> = log.iter().map(|one| (one.action.as_str(), one.count, one.ids.clone())).collect();
    assert_eq!(told, [("cancel_many", 1, witness.ids), ("cancel_many", 1, vec![id.to_string()])]);
}
