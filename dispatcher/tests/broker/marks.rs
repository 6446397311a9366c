//! Marks of redrives of which neither a letter nor a copy is left: no task is lost beside one.

use std::time::Duration;

use serde_json::Value;
use workfleet_dispatcher::streams::Part;
use workfleet_dispatcher::{Code, Deadline, Options, RedriveChanges};
use workfleet_link::pipeline::Publish;
use workfleet_link::read;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::State;

use crate::dead::graves::{dies, is_dead, letter, marked, operator, queued, recorded, store};
use crate::place::{Place, wide};
use crate::removal::purged;

fn of_key(key: &str) -> TaskId {
    TaskId::keyed(&"thumbnail".parse().expect("a name"), key, None)
}

/// Keeps the record of a key whose task no stream remembers.
async fn keyed(place: &Place, key: &str) -> TaskId {
    let broker = place.dispatcher.broker();
    place.dispatcher.submit(wide(1, Some("another"), Options::default())).await.expect("stored");
    let record = read::last_on_subject(broker, "RESULTS_thumbnail", &broker.names.key(&of_key("another"))).await;
    let record = record.expect("an answer").expect("a record").payload;
    store(place, Publish::new(broker.names.key(&of_key(key)), record)).await;
    of_key(key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_which_a_mark_alone_is_left_is_stored_as_the_run_of_that_mark() {
    let place = Place::start("").await;
    for id in [keyed(&place, "kept").await, of_key("forgotten")] {
        marked(&place, &id, 2, [0; 32]).await;
        let (_, sequence) = recorded(&place, &id).await.expect("a mark");
        let key = if id == of_key("forgotten") { "forgotten" } else { "kept" };
        let task = place.dispatcher.submit(wide(1, Some(key), Options::default())).await.expect("accepted").task;
        assert_eq!((task.id.as_str(), task.state.0.word()), (id.as_str(), "queued"));
        let copy = queued(&place, &id).await.expect("a copy");
        assert_eq!((copy.headers.generation.run, copy.headers.result_sequence), (2, sequence), "{key}");
        assert_eq!(copy.message_id, format!("{id}/2/1"), "as a redrive that is slow would publish it");
        assert_eq!(recorded(&place, &id).await.expect("the mark").1, sequence);
        let repeat = place.dispatcher.submit(wide(1, Some(key), Options::default())).await.expect("told").task;
        assert_eq!(repeat.state.0.word(), "queued");
    }
    assert_eq!(place.messages("TASKS_thumbnail").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_gone_on_with_has_the_deadline_of_its_submit() {
    let place = Place::start("").await;
    let id = of_key("timed");
    marked(&place, &id, 2, [0; 32]).await;
    let options = Options { deadline: Some(Deadline::In(Duration::from_secs(3_600))), ..Options::default() };
    place.dispatcher.submit(wide(1, Some("timed"), options)).await.expect("accepted");
    let copy = queued(&place, &id).await.expect("a copy");
    assert!(copy.envelope.deadline_ms.is_some());
    assert!(recorded(&place, &id).await.is_none(), "the mark has another, and whoever expires the run goes by it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_run_before_the_mark_is_not_the_task() {
    let place = Place::start("").await;
    place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect("stored");
    let id = of_key("order-1");
    marked(&place, &id, 2, [0; 32]).await;
    // A worker drops it, so to answer with it would be to lose the task.
    let refused = place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect_err("in the way");
    assert_eq!((refused.code, refused.retry_after_ms.is_some()), (Code::BrokerUnavailable, true));
    assert_eq!(place.dispatcher.get(&id).await.expect_err("it will not run").code, Code::UnknownTask);
    let stream = place.dispatcher.broker().jetstream.get_stream("TASKS_thumbnail").await.expect("a stream");
    stream.purge().await.expect("as a worker that drops it");
    let task = place.dispatcher.submit(wide(1, Some("order-1"), Options::default())).await.expect("accepted").task;
    assert_eq!((task.id.as_str(), queued(&place, &id).await.expect("a copy").headers.generation.run), (id.as_str(), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_the_marks_that_it_leaves_nothing_of() {
    let place = Place::start("").await;
    let (redriven, marked_only, failed) =
        (dies(&place, &letter(1)).await, dies(&place, &letter(2)).await, dies(&place, &letter(3)).await);
    place.dispatcher.redrive(&redriven, &RedriveChanges::default(), operator()).await.expect("redriven");
    marked(&place, &marked_only, 2, [0; 32]).await;
    purged(&place, "thumbnail", &[Part::Waiting]).await;
    assert!(recorded(&place, &redriven).await.is_none(), "its copy has gone");
    assert!(recorded(&place, &marked_only).await.is_some(), "its letter is there");
    purged(&place, "thumbnail", &[Part::Dead]).await;
    assert!(recorded(&place, &marked_only).await.is_none(), "its letter has gone");
    assert_eq!(recorded(&place, &failed).await.expect("a result").0.state(), State::Failed, "an end stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_that_races_a_redrive_leaves_an_end_or_the_letter() {
    let place = Place::start("").await;
    // Its settings say that there is room, as they do where others take it at that moment.
    let mut full = place.info("TASKS_thumbnail").await["config"].clone();
    full["max_msgs"] = 1.into();
    let jetstream = &place.dispatcher.broker().jetstream;
    let updated: Value = jetstream.request("STREAM.UPDATE.TASKS_thumbnail", &full).await.expect("an answer");
    assert!(updated.get("error").is_none(), "{updated}");
    place.dispatcher.submit(wide(1, None, Options::default())).await.expect("it is full now");
    for number in 100..160 {
        let dead = dies(&place, &letter(number)).await;
        let as_it_was = RedriveChanges::default();
        let late = Duration::from_micros((number - 100) * 70);
        let (redriven, dropped) = tokio::join!(place.dispatcher.redrive(&dead, &as_it_was, operator()), async {
            tokio::time::sleep(late).await;
            place.dispatcher.drop_dead(&dead, "", operator()).await
        });
        let has_end = recorded(&place, &dead).await.is_some_and(|(record, _)| record.state().is_end());
        assert!(has_end || is_dead(&place, &dead).await, "{number}: {redriven:?} {dropped:?}");
        let code = redriven.expect_err("no room").code;
        assert!(matches!(code, Code::QueueFull | Code::UnknownDeadLetter), "{code:?}");
    }
}
