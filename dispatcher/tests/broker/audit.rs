//! What an audit says of tasks in every state, and of those that are gone.

use futures::stream;
use workfleet_dispatcher::audit::{Audit, Letters};
use workfleet_dispatcher::ledger::{self, LedgerFile};
use workfleet_dispatcher::{Options, TaskView};
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_link::read;
use workfleet_link::time::{now_ms, rfc3339_ms};
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::names::Lane;
use workfleet_proto::v1::{Result as Record, State};

use crate::fill::{Fill, id, record};
use crate::place::{Place, wide};

/// More than the broker gives at once.
const ENTRIES: u64 = 2_500;

/// A line for each of these tasks, as somebody wrote it so long ago.
fn lines(numbers: impl IntoIterator<Item = u64>, ago_ms: i64) -> String {
    let at = rfc3339_ms(now_ms() - ago_ms);
    let line = |number| format!("{{\"id\":\"{}\",\"queue\":\"thumbnail\",\"submitted_at\":\"{at}\"}}\n", id(number));
    numbers.into_iter().map(line).collect()
}

async fn audit(place: &Place, ledger: &str) -> Audit {
    let lines: Vec<_> = LedgerFile::new("ledger", ledger.as_bytes()).collect();
    place.dispatcher.audit(stream::iter(lines)).await.expect("an audit")
}

fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|number| id(number).to_string()).collect()
}

/// Deletes what a stream holds of a task, as nobody of ours does.
async fn delete(place: &Place, stream: &str, subject: &str) {
    let jetstream = &place.dispatcher.broker().jetstream;
    let stream = jetstream.get_stream(stream).await.expect("a stream");
    stream.purge().filter(subject).await.expect("purged");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_task_is_found_where_it_is_and_a_deleted_one_is_named() {
    let place = Place::start("lease = \"60s\"").await;
    let fill = Fill::new(place.dispatcher.broker());
    fill.queued(0..30).await;
    fill.runs(0..4).await;
    fill.scheduled(30..40).await;
    fill.retrying(40..45).await;
    let ended =
        [(50..60, State::Completed), (60..63, State::Failed), (63..67, State::Cancelled), (67..70, State::Expired)];
    for (numbers, state) in ended {
        fill.ended(numbers.map(|number| Record { ended_at_ms: now_ms(), ..record(number, state) })).await;
    }
    fill.dead(60..63).await;

    let ledger = lines(0..45, 1_000) + &lines(50..70, 1_000) + &lines(0..1, 1_000);
    let whole = audit(&place, &ledger).await;
    let expected = Audit {
        total: 65,
        waiting: 26,
        running: 4,
        scheduled: 15,
        completed: 10,
        failed: 3,
        cancelled: 4,
        expired: 3,
        repeated: 1,
        ..Audit::default()
    };
    assert_eq!(whole, expected);
    assert!(whole.accounts_for_all(Letters::Kept));

    delete(&place, "TASKS_thumbnail", &format!("wf.task.thumbnail.*.m.{}", id(7))).await;
    delete(&place, "DELAY_thumbnail", &format!("wf.delay.at.thumbnail.{}", id(33))).await;
    delete(&place, "RESULTS_thumbnail", &format!("wf.result.thumbnail.*.{}", id(55))).await;
    delete(&place, "DEAD_thumbnail", &format!("wf.dead.thumbnail.{}", id(61))).await;
    let harmed = audit(&place, &ledger).await;
    assert_eq!(harmed.lost, ids([7, 33, 55]));
    assert_eq!(harmed.failed_without_letter, ids([61]));
    assert_eq!((harmed.total, harmed.failed, harmed.waiting, harmed.completed), (65, 3, 25, 9));
    assert!(!harmed.accounts_for_all(Letters::MayBeDropped));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_gone_by_right_is_not_called_lost() {
    let place = Place::start("retention = \"1h\"").await;
    let hour_ms = 3_600_000;
    let fill = Fill::new(place.dispatcher.broker());
    // A letter that is dropped, a result from before the letters' time, and a redrive that died over its mark.
    let mut old = record(2, State::Failed);
    old.ended_at_ms = now_ms() - 31 * 24 * hour_ms;
    let recent = Record { ended_at_ms: now_ms(), ..record(1, State::Failed) };
    let mark = Record { run: 2, ..record(3, State::Queued) };
    fill.ended([recent, old, mark]).await;
    fill.dead([3]).await;
    let ledger =
        lines(1..4, 1_000) + &lines([4], hour_ms + 60_000) + &lines([5], hour_ms - 60_000) + "nonsense\n{\"id\"";
    let audited = audit(&place, &ledger).await;
    assert_eq!((audited.lost.clone(), audited.beyond_retention), (ids([5]), 1));
    assert_eq!((audited.no_longer_kept.clone(), audited.knows_none()), (ids([4]), false));
    assert_eq!((audited.failed, audited.failed_without_letter.clone()), (3, ids([1])));
    assert_eq!(audited.redrive_unfinished, ids([3]));
    assert_eq!((audited.unreadable_lines.clone(), audited.torn_lines), (vec!["ledger:6".to_owned()], 1));

    let elsewhere = audit(&place, &(lines([4], 2 * hour_ms) + "other_01h455vb4pex5vsknk084sn02q\n")).await;
    assert_eq!((elsewhere.lost.len(), elsewhere.beyond_retention, elsewhere.knows_none()), (1, 1, true));
    assert!(!audit(&place, "").await.knows_none(), "there is nothing to know");
    let fill = Pipeline::start(place.dispatcher.broker());
    let garbled = Publish::new(place.dispatcher.broker().names.task(&id(9), Lane::DEFAULT), "not a task".into());
    fill.publish(garbled).await.expect("stored");
    let unreadable = audit(&place, &lines([9], 0)).await;
    assert_eq!(unreadable.unreadable, ids([9]));
    assert!(!unreadable.accounts_for_all(Letters::MayBeDropped));
}

/// A hop of the retry was repeated after its task had failed and was redriven: workers drop it when it is due.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_an_earlier_run_is_no_task() {
    let place = Place::start("").await;
    let fill = Fill::new(place.dispatcher.broker());
    fill.retrying(1..6).await;
    let mark = |number, run| Record { run, ..record(number, State::Queued) };
    let failed = |number| Record { ended_at_ms: now_ms(), ..record(number, State::Failed) };
    fill.ended([mark(1, 2), mark(2, 2), mark(3, 1), failed(4), failed(5)]).await;
    fill.dead([2, 5]).await;
    let audited = audit(&place, &lines(1..6, 1_000)).await;
    assert_eq!((audited.lost.clone(), audited.redrive_unfinished.clone()), (ids([1]), ids([2])));
    assert_eq!((audited.scheduled, audited.failed), (1, 3), "the copy of the run that is marked is the task");
    assert_eq!(audited.failed_without_letter, ids([4]));
    let unknown = place.dispatcher.get(&id(1)).await.expect_err("nobody knows it");
    assert_eq!(unknown.code.status(), 404, "as the audit says");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_submitted_long_ago_for_later_is_judged_by_when_it_could_end() {
    let place = Place::start("retention = \"1h\"").await;
    let (submitted, hour_ms) = (rfc3339_ms(now_ms() - 36_000_000), 3_600_000);
    let line = |number, not_before_ms| {
        let (id, at) = (id(number), rfc3339_ms(not_before_ms));
        format!("{{\"id\":\"{id}\",\"submitted_at\":\"{submitted}\",\"not_before\":\"{at}\"}}\n")
    };
    let ledger = line(1, now_ms() - 60_000) + &line(2, now_ms() + hour_ms) + &line(3, now_ms() - 2 * hour_ms);
    let audited = audit(&place, &ledger).await;
    assert_eq!((audited.lost, audited.no_longer_kept), (ids([1, 2]), ids([3])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_moves_all_the_time_is_never_lost() {
    let place = Place::start("").await;
    let broker = place.dispatcher.broker();
    let (names, queue): (_, QueueName) = (&broker.names, "thumbnail".parse().expect("a name"));
    let fill = Fill::new(broker);
    fill.queued(0..8).await;
    // Each hops as retries do: it is stored in its next place, and only then gone from the last.
    let hop = async {
        loop {
            for number in 0..8 {
                fill.scheduled([number]).await;
                delete(&place, &names.tasks_stream(&queue), &names.task(&id(number), Lane::DEFAULT)).await;
                fill.queued([number]).await;
                delete(&place, &names.delay_stream(&queue), &names.delay_at(&id(number))).await;
            }
        }
    };
    let look = async {
        for _ in 0..100 {
            let audited = audit(&place, &lines(0..8, 1_000)).await;
            assert_eq!((audited.lost, audited.waiting + audited.scheduled), (Vec::new(), 8));
        }
    };
    tokio::select! {
        () = hop => {}
        () = look => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_a_ledger_writes_down_what_it_accepts_once() {
    let place = Place::start("ledger = true").await;
    let submit = async |width, key: Option<&str>| -> TaskView {
        place.dispatcher.submit(wide(width, key, Options::default())).await.expect("accepted").task
    };
    let (first, keyed) = (submit(1, None).await, submit(2, Some("once")).await);
    assert_eq!(submit(2, Some("once")).await.id, keyed.id);
    // One message is kept of each task, so that the sequence tells whether one was written over.
    let state = place.info("ACCEPTED_thumbnail").await["state"].clone();
    assert_eq!((&state["messages"], &state["last_seq"]), (&2.into(), &2.into()));
    let late = Options { delay: Some(std::time::Duration::from_secs(3_600)), ..Options::default() };
    let late = place.dispatcher.submit(wide(3, None, late)).await.expect("accepted").task;
    let broker = place.dispatcher.broker();
    let subject = broker.names.accepted(&late.id.parse().expect("an id"));
    let line = read::last_on_subject(broker, "ACCEPTED_thumbnail", &subject).await.expect("an answer");
    let line: serde_json::Value = serde_json::from_slice(&line.expect("a line").payload).expect("JSON");
    assert_eq!(line["not_before"], serde_json::json!(late.not_before.expect("a time").to_string()));

    let queue: QueueName = "thumbnail".parse().expect("a name");
    let audit = async || {
        let ledger = ledger::of_queue(place.dispatcher.broker(), &queue).await.expect("a ledger");
        place.dispatcher.audit(ledger).await.expect("an audit")
    };
    let audited = audit().await;
    assert_eq!((audited.total, audited.waiting, audited.scheduled), (3, 2, 1));
    let id: TaskId = first.id.parse().expect("an id");
    let subject = place.dispatcher.broker().names.task(&id, Lane::DEFAULT);
    delete(&place, "TASKS_thumbnail", &subject).await;
    assert_eq!(audit().await.lost, [first.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_newer_results_have_pushed_out_is_not_called_lost() {
    let place = Place::start("results_bytes_max = 1048576").await;
    let large = |number| Record { output: vec![7; 1_000].into(), ..record(number, State::Completed) };
    Fill::new(place.dispatcher.broker()).ended((0..1_500).map(large)).await;
    let audited = audit(&place, &(lines([0], 60_000) + &lines([1_499, 5_000], 0))).await;
    assert_eq!((audited.beyond_retention, audited.completed, audited.lost), (1, 1, ids([5_000])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_many_entries_is_read_to_its_end() {
    let place = Place::start("ledger = true").await;
    let broker = place.dispatcher.broker();
    Fill::new(broker).ended((0..ENTRIES).map(|number| record(number, State::Completed))).await;
    let pipeline = Pipeline::start(broker);
    let entries = (0..ENTRIES).map(|number| {
        let line = lines([number], 1_000);
        pipeline.publish(Publish::new(broker.names.accepted(&id(number)), line.into()))
    });
    for stored in futures::future::join_all(entries).await {
        stored.expect("stored");
    }
    let ledger = ledger::of_queue(broker, &"thumbnail".parse().expect("a name")).await.expect("a ledger");
    let audited = place.dispatcher.audit(ledger).await.expect("an audit");
    assert_eq!((audited.total, audited.completed, audited.repeated), (ENTRIES, ENTRIES, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submit_that_cannot_be_written_down_is_told_so_with_its_task() {
    let place = Place::start("ledger = true").await;
    place.dispatcher.broker().jetstream.delete_stream("ACCEPTED_thumbnail").await.expect("deleted");
    let error = place.dispatcher.submit(wide(1, Some("k"), Options::default())).await.expect_err("no ledger");
    assert_eq!((error.code.status(), place.messages("TASKS_thumbnail").await), (503, 1));
    assert!(error.detail.contains("ledger") && error.task_id.is_some(), "{error:?}");
    place.provision("ledger = true").await;
    place.dispatcher.submit(wide(1, Some("k"), Options::default())).await.expect("told of the first");
    assert_eq!(place.messages("ACCEPTED_thumbnail").await, 1);
    assert_eq!(place.messages("TASKS_thumbnail").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_tasks_are_accounted_for_in_seconds() {
    let place = Place::start("").await;
    let fill = Fill::new(place.dispatcher.broker());
    for start in (0..20_000).step_by(2_000) {
        fill.ended((start..start + 2_000).map(|number| record(number, State::Completed))).await;
    }
    fill.queued(20_000..22_000).await;
    let began = std::time::Instant::now();
    let audited = audit(&place, &lines(0..22_100, 0)).await;
    let took = began.elapsed();
    println!("22,100 ids in {took:?}");
    assert_eq!((audited.completed, audited.waiting, audited.lost.len()), (20_000, 2_000, 100));
    assert!(took.as_secs() < 60, "{took:?}");
}
