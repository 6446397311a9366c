//! Child tasks (rule 20), and other submits from within the fleet.

use std::collections::HashSet;

use bytes::Bytes;
use futures::StreamExt as _;
use prost::Message as _;
use workfleet_dispatcher::{Dispatcher, TaskView};
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_link::read;
use workfleet_proto::id::{ChildKey, TaskId};
use workfleet_proto::names::Lane;
use workfleet_proto::v1::parent::Key;
use workfleet_proto::v1::submit_reply::Reply;
use workfleet_proto::v1::{self, FleetSubmit, Parent, SubmitReply, SubmitRequest};

use crate::fleet::{Fleet, PARENT, child, named, of_parent, plain, problem, serve};
use crate::place::eventually;

const QUEUE: &str = "TASKS_mail";

async fn shown(fleet: &Fleet, id: &str) -> TaskView {
    fleet.place.dispatcher.get(&id.parse().expect("an id")).await.expect("known")
}

async fn envelope(fleet: &Fleet, id: &str) -> v1::Envelope {
    let id: TaskId = id.parse().expect("an id");
    let subject = fleet.asker.names.task(&id, Lane::DEFAULT);
    let copy = read::last_on_subject(&fleet.asker, QUEUE, &subject).await.expect("an answer").expect("a copy");
    v1::Envelope::decode(copy.payload).expect("an envelope")
}

/// As a worker ends a task: its result is stored and its message acknowledged.
async fn end(fleet: &Fleet, id: &str) {
    let broker = fleet.place.dispatcher.broker();
    let task: TaskId = id.parse().expect("an id");
    let result = v1::Result { id: id.to_owned(), state: v1::State::Completed.into(), run: 1, ..Default::default() };
    let result = Publish::new(broker.names.result(&task), Bytes::from(result.encode_to_vec()));
    Pipeline::start(broker).publish(result).await.expect("stored");
    broker.jetstream.get_stream(QUEUE).await.expect("a stream").purge().await.expect("acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_one_task_however_often_its_parent_submits_it() {
    let fleet = Fleet::start().await;
    let parent = |ordinal| Parent {
        id: PARENT.to_owned(),
        run: 1,
        key: Some(Key::Ordinal(ordinal)),
        deadline_ms: Some(4_102_444_800_000),
        exists: false,
    };
    let first = fleet.accepted(&of_parent(1, parent(1))).await;
    let second = fleet.accepted(&of_parent(1, parent(2))).await;
    assert_ne!(first.id, second.id, "equal children are two tasks");
    let expected = TaskId::child(
        &"mail".parse().expect("a name"),
        &PARENT.parse().expect("an id"),
        1,
        &ChildKey::Ordinal(1),
        None,
    );
    assert_eq!(first.id, expected.as_str(), "a worker can tell the id by itself");
    for _ in 0..3 {
        assert_eq!(fleet.accepted(&of_parent(1, parent(1))).await.id, first.id);
    }
    assert_eq!(fleet.place.messages(QUEUE).await, 2);
    let view = shown(&fleet, &first.id).await;
    assert_eq!(view.parent_id.as_deref(), Some(PARENT));
    assert_eq!(view.deadline.map(|at| at.0), Some(4_102_444_800_000), "the parent's deadline");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counted_child_that_changes_is_a_conflict_and_a_named_one_stays_as_it_was() {
    let fleet = Fleet::start().await;
    let first = fleet.accepted(&child(1, Key::Ordinal(1))).await;
    let conflict = fleet.refused(&child(2, Key::Ordinal(1))).await;
    assert_eq!((conflict.code.as_str(), conflict.task_id.as_deref()), ("conflict", Some(first.id.as_str())));
    assert_eq!(conflict.field.as_deref(), Some("parent.ordinal"));

    let receipt = fleet.accepted(&child(1, named("receipt"))).await;
    let before = envelope(&fleet, &receipt.id).await;
    assert_eq!(fleet.accepted(&child(2, named("receipt"))).await.id, receipt.id);
    assert_eq!(envelope(&fleet, &receipt.id).await, before, "what was submitted first stands");
    assert_eq!(fleet.place.messages(QUEUE).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_has_ended_is_not_made_again() {
    let fleet = Fleet::start().await;
    for (key, repeat) in [(Key::Ordinal(1), 1), (named("receipt"), 2)] {
        let first = fleet.accepted(&child(1, key.clone())).await;
        end(&fleet, &first.id).await;
        let again = fleet.accepted(&child(repeat, key.clone())).await;
        assert_eq!((again.id.as_str(), again.state()), (first.id.as_str(), v1::State::Completed));
        // The record of the key is older than the result, so it goes first.
        let id: TaskId = first.id.parse().expect("an id");
        let results = fleet.asker.jetstream.get_stream(fleet.asker.names.results_stream(&id.queue())).await;
        let purged = results.expect("a stream").purge().filter(fleet.asker.names.key(&id)).await.expect("purged");
        assert_eq!(purged.purged, 1, "there was a record");
        assert_eq!(fleet.accepted(&child(repeat, key)).await.state(), v1::State::Completed);
    }
    assert_eq!(fleet.place.messages(QUEUE).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_parent_has_children_of_its_own() {
    let fleet = Fleet::start().await;
    let run = |run| Parent { id: PARENT.to_owned(), run, key: Some(Key::Ordinal(1)), ..Parent::default() };
    let first = fleet.accepted(&of_parent(1, run(1))).await;
    assert_ne!(fleet.accepted(&of_parent(1, run(2))).await.id, first.id);
    assert_eq!(fleet.place.messages(QUEUE).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_attempts_at_once_make_one_child() {
    let fleet = Fleet::start().await;
    for (key, differ) in [(Key::Ordinal(1), 0), (named("receipt"), 1)] {
        let submits: Vec<FleetSubmit> = (0..32).map(|n| child(1 + n * differ, key.clone())).collect();
        let tasks = futures::future::join_all(submits.iter().map(|submit| fleet.accepted(submit))).await;
        let ids: HashSet<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        assert_eq!(ids.len(), 1);
    }
    assert_eq!(fleet.place.messages(QUEUE).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_queues_may_have_children_of_a_queue() {
    let fleet = Fleet::start_with("", "").await;
    let refused = fleet.refused(&child(1, Key::Ordinal(1))).await;
    assert_eq!(refused.code, "forbidden");
    assert!(refused.detail.contains("`children` of [queue.thumbnail]"), "{}", refused.detail);
    let stranger =
        Parent { id: PARENT.replace("thumbnail", "nobody"), run: 1, key: Some(named("x")), ..Parent::default() };
    assert_eq!(fleet.refused(&of_parent(1, stranger)).await.field.as_deref(), Some("parent.id"));
    assert_eq!(fleet.place.messages(QUEUE).await, 0);
    // Who has no parent is not bound by anybody's settings.
    assert_eq!(shown(&fleet, &fleet.accepted(&plain(1)).await.id).await.parent_id, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_submits_are_answered_and_the_next_one_is_taken() {
    let fleet = Fleet::start().await;
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    for length in 0..200 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice.to_le_bytes()[3]
        })
        .take(length)
        .collect();
        let code = problem(fleet.ask_on("wf.submit.mail", bytes.into()).await).code;
        assert!(["invalid_payload", "invalid_option"].contains(&code.as_str()), "{code}");
    }
    let with = |change: fn(&mut SubmitRequest)| {
        let mut submit = child(1, Key::Ordinal(1));
        submit.submit.iter_mut().for_each(change);
        submit
    };
    for (submit, field) in [
        (with(|submit| submit.wait_ms = Some(1_000)), "wait_ms"),
        (with(|submit| submit.idempotency_key = Some("k".to_owned())), "Idempotency-Key"),
        (with(|submit| submit.queue = "thumbnail".to_owned()), "queue"),
        (child(1, Key::Ordinal(101)), "parent.ordinal"),
        (child(1, named(&"n".repeat(1_000))), "parent.name"),
        (of_parent(1, Parent::default()), "parent.id"),
    ] {
        let problem = fleet.refused(&submit).await;
        assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("invalid_option", Some(field)));
    }
    let subject = |queue: &str| format!("wf.submit.{queue}");
    for nowhere in ["nowhere", "UPPER", "$JS", "ä", &"q".repeat(500)] {
        let body = plain(1).encode_to_vec();
        assert_eq!(problem(fleet.ask_on(&subject(nowhere), body.into()).await).code, "unknown_queue", "{nowhere}");
    }
    // Nobody waits for what comes of it, so it is not taken.
    fleet.asker.client.publish(subject("mail"), plain(1).encode_to_vec().into()).await.expect("sent");
    fleet.accepted(&plain(1)).await;
    assert_eq!(fleet.place.messages(QUEUE).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_a_message_of_the_fleet_is_refused_where_the_broker_takes_larger_ones() {
    let fleet = Fleet::start_with("max_payload: 8MB", "").await;
    let body = Bytes::from(vec![b'x'; (1 << 20) + 1]);
    assert_eq!(problem(fleet.ask_on("wf.submit.mail", body).await).code, "payload_too_large");
    fleet.accepted(&plain(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_at_once_than_there_is_room_for_are_told_to_come_again() {
    const SUBMITS: usize = 5_000;
    let fleet = Fleet::start().await;
    let inbox = fleet.asker.client.new_inbox();
    let mut answers = fleet.asker.client.subscribe(inbox.clone()).await.expect("subscribed");
    let body = Bytes::from(plain(1).encode_to_vec());
    for _ in 0..SUBMITS {
        let sent = fleet.asker.client.publish_with_reply("wf.submit.mail", inbox.clone(), body.clone()).await;
        sent.expect("sent");
    }
    let (mut taken, mut refused) = (0, 0);
    while taken + refused < SUBMITS {
        let answer = tokio::time::timeout(std::time::Duration::from_secs(30), answers.next()).await;
        let answer = answer.expect("each is answered").expect("connected");
        match SubmitReply::decode(answer.payload).expect("a reply").reply.expect("an answer") {
            Reply::Task(_) => taken += 1,
            Reply::Problem(problem) => {
                assert_eq!(problem.code, "rate_limited", "{}", problem.detail);
                assert!(problem.retry_after_ms.is_some());
                refused += 1;
            }
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    assert_eq!(fleet.place.messages(QUEUE).await, taken as u64);
    fleet.accepted(&plain(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_dispatchers_one_answers_and_when_one_stops_the_other_goes_on() {
    let mut fleet = Fleet::start().await;
    let second = Dispatcher::connect(&fleet.place.config("")).await.expect("connected");
    let (stop, station) = serve(&second).await;
    let inbox = fleet.asker.client.new_inbox();
    let mut answers = fleet.asker.client.subscribe(inbox.clone()).await.expect("subscribed");
    for _ in 0..100 {
        let body = plain(1).encode_to_vec().into();
        fleet.asker.client.publish_with_reply("wf.submit.mail", inbox.clone(), body).await.expect("sent");
    }
    for _ in 0..100 {
        answers.next().await.expect("an answer");
    }
    // A second answer to any of them would be here before the answer to what is asked now.
    fleet.accepted(&plain(1)).await;
    assert!(futures::poll!(answers.next()).is_pending(), "one answer each");
    assert_eq!(fleet.place.messages(QUEUE).await, 101);

    let children: Vec<FleetSubmit> = (1..=100).map(|n| child(1, Key::Ordinal(n))).collect();
    let asked = futures::future::join_all(children.iter().map(|child| fleet.ask_in_passing(child)));
    let (replies, ()) = futures::future::join(asked, async {
        stop.cancel();
        station.await.expect("it leaves in order");
    })
    .await;
    // What crosses with the leaving gets no answer.
    for reply in replies.iter().flatten() {
        if let Reply::Problem(problem) = reply {
            assert_eq!(problem.code, "broker_unavailable", "{}", problem.detail);
        }
    }
    for child in &children {
        fleet.accepted(child).await;
    }
    assert_eq!(fleet.place.messages(QUEUE).await, 201);

    fleet.stop().await;
    let alone = fleet.asker.client.request("wf.submit.mail", Bytes::from(plain(1).encode_to_vec())).await;
    assert_eq!(alone.expect_err("nobody").kind(), async_nats::RequestErrorKind::NoResponders);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_broker_was_away_submits_are_answered_again_and_a_repeat_finds_its_child() {
    let mut fleet = Fleet::start().await;
    let first = fleet.accepted(&child(1, Key::Ordinal(1))).await;
    fleet.place.kill_broker();
    fleet.place.start_broker().await;
    let again = eventually("the station is back", async || {
        let body = Bytes::from(child(1, Key::Ordinal(1)).encode_to_vec());
        let answer = fleet.asker.client.request("wf.submit.mail", body).await.ok()?;
        match SubmitReply::decode(answer.payload).ok()?.reply? {
            Reply::Task(task) => Some(task),
            Reply::Problem(_) => None,
        }
    })
    .await;
    assert_eq!(again.id, first.id);
    assert_eq!(fleet.place.messages(QUEUE).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_without_a_broker_stops_all_the_same() {
    let mut fleet = Fleet::start().await;
    fleet.place.kill_broker();
    fleet.stop().await;
}
