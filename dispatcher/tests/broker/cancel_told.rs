//! Who is told of a cancel, and who has not confirmed it.

use std::time::{Duration, Instant};

use workfleet_dispatcher::{CancelMany, Options};
use workfleet_proto::v1::State;

use crate::cancel::{cancelled, pulled, running};
use crate::halting::{FakeWorker, TASKS, caller, store, submitted};
use crate::place::Place;

#[tokio::test(flavor = "multi_thread")]
async fn every_registered_worker_is_waited_for_a_second_and_no_other() {
    let place = Place::start("").await;
    let mut answers = FakeWorker::register(&place, "w-1").await;
    let mut heard = answers.listen(&place, "w-1").await;
    let id = submitted(&place, Options::default()).await;
    assert_eq!(cancelled(&place, &id).await.workers_unanswered, 0);
    let told = heard.recv().await.expect("told");
    assert_eq!((told.ids, told.reason.as_str()), (vec![id.to_string()], "a test"));
    assert_eq!(told.state, i32::from(State::Cancelled));

    let _frozen = FakeWorker::register(&place, "w-2").await;
    let id = submitted(&place, Options::default()).await;
    let began = Instant::now();
    assert_eq!(cancelled(&place, &id).await.workers_unanswered, 1);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(place.messages(TASKS).await, 0, "it is cancelled all the same");

    FakeWorker::leave(&place, "w-2").await;
    assert_eq!(cancelled(&place, &id).await.workers_unanswered, 0, "who has left holds nothing");
}

/// Records in `WORKERS` live ten seconds, so a bucket without a leader loses those of all who live.
#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_registered_and_something_is_held_one_worker_has_not_confirmed() {
    let place = Place::start("").await;
    let taken = async || {
        let id = submitted(&place, Options::default()).await;
        let held = pulled(&place).await;
        store(&place, running(&place, &id)).await;
        (id, held)
    };
    let (id, _held) = taken().await;
    assert_eq!(cancelled(&place, &id).await.workers_unanswered, 1, "it ran");
    let waiting = submitted(&place, Options::default()).await;
    assert_eq!(cancelled(&place, &waiting).await.workers_unanswered, 0, "nothing is held any more");

    let (id, _held) = taken().await;
    let many = CancelMany { queue: "thumbnail".to_owned(), ids: vec![id.to_string()], ..CancelMany::default() };
    let done = place.dispatcher.cancel_many(many, &caller()).await.expect("done");
    assert_eq!((done.cancelled, done.workers_unanswered), (1, 1));

    let (_, held) = taken().await;
    let waiting = submitted(&place, Options::default()).await;
    assert_eq!(cancelled(&place, &waiting).await.workers_unanswered, 1, "whoever holds the other lives, or may");
    held.double_ack().await.expect("acknowledged");
    assert_eq!(cancelled(&place, &waiting).await.workers_unanswered, 0);
}
