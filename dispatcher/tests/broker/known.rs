//! Children that their parent knows of: looked for, and never stored.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_link::read;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::parent::Key;
use workfleet_proto::v1::submit_reply::Reply;
use workfleet_proto::v1::{self, FleetSubmit, Task};

use crate::fleet::{Fleet, child, named};
use crate::place::eventually;

const QUEUE: &str = "TASKS_mail";
const RESULTS: &str = "RESULTS_mail";

/// What an attempt asks that knows of the child.
fn known(width_px: u32, key: &Key) -> FleetSubmit {
    let mut submit = child(width_px, key.clone());
    submit.parent.iter_mut().for_each(|parent| parent.exists = true);
    submit
}

async fn purge(fleet: &Fleet, stream: &str) {
    fleet.asker.jetstream.get_stream(stream).await.expect("a stream").purge().await.expect("purged");
}

/// As a worker ends a task.
async fn end(fleet: &Fleet, task: &Task) {
    let id: TaskId = task.id.parse().expect("an id");
    let result = v1::Result { id: task.id.clone(), state: v1::State::Completed.into(), run: 1, ..Default::default() };
    let result = Publish::new(fleet.asker.names.result(&id), Bytes::from(result.encode_to_vec()));
    Pipeline::start(&fleet.asker).publish(result).await.expect("stored");
    purge(fleet, QUEUE).await;
}

async fn has_key(fleet: &Fleet, task: &Task) -> bool {
    let id: TaskId = task.id.parse().expect("an id");
    read::last_on_subject(&fleet.asker, RESULTS, &fleet.asker.names.key(&id)).await.expect("an answer").is_some()
}

/// A queue that forgets message ids soon, as it does between two attempts that are days apart.
async fn forgetful() -> Fleet {
    let fleet = Fleet::start().await;
    let mut stream = fleet.asker.jetstream.get_stream(QUEUE).await.expect("a stream");
    let mut config = stream.info().await.expect("an answer").config.clone();
    config.duplicate_window = Duration::from_millis(100);
    fleet.asker.jetstream.update_stream(config).await.expect("updated");
    fleet
}

async fn assert_unknown(fleet: &Fleet, submit: &FleetSubmit, task: &Task) {
    let problem = fleet.refused(submit).await;
    assert_eq!((problem.code.as_str(), problem.task_id.as_deref()), ("unknown_task", Some(task.id.as_str())));
    assert_eq!(fleet.place.messages(QUEUE).await, 0, "nothing is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_of_which_nothing_is_left_is_made_again_only_if_its_parent_does_not_know_of_it() {
    let fleet = forgetful().await;
    for key in [Key::Ordinal(1), named("receipt")] {
        let first = fleet.accepted(&child(1, key.clone())).await;
        assert_eq!(fleet.accepted(&known(1, &key)).await.id, first.id, "it waits");
        end(&fleet, &first).await;
        assert_eq!(fleet.accepted(&known(1, &key)).await.state(), v1::State::Completed);
        // As the retention leaves it.
        purge(&fleet, RESULTS).await;
        assert_unknown(&fleet, &known(1, &key), &first).await;
        assert!(!has_key(&fleet, &first).await, "and no key is taken");
        let again =
            eventually("the stream has forgotten the id", async || match fleet.ask(&child(1, key.clone())).await {
                Reply::Task(task) => Some(task),
                Reply::Problem(_) => None,
            });
        assert_eq!(again.await.id, first.id);
        assert_eq!(fleet.place.messages(QUEUE).await, 1, "without `exists` it is a new child");
        purge(&fleet, QUEUE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_child_that_was_purged_is_not_stored_from_its_key_and_a_counted_one_is_still_compared() {
    let fleet = forgetful().await;
    for key in [Key::Ordinal(1), named("receipt")] {
        let first = fleet.accepted(&child(1, key.clone())).await;
        purge(&fleet, QUEUE).await;
        assert!(has_key(&fleet, &first).await);
        assert_unknown(&fleet, &known(1, &key), &first).await;
    }
    assert_eq!(fleet.refused(&known(2, &Key::Ordinal(1))).await.code, "conflict");
}
