//! Lists of tasks, from streams that hold what they hold.

use std::collections::BTreeMap;

use workfleet_dispatcher::{ApiError, ListTasks, Options, TaskList};
use workfleet_proto::lifecycle::STATES;
use workfleet_proto::v1::State;

use crate::fill::{Fill, id, record};
use crate::place::{Place, wide};

fn all_of(state: Option<State>, limit: u32) -> ListTasks {
    ListTasks { queue: "thumbnail".to_owned(), state, limit: Some(limit), ..ListTasks::default() }
}

async fn page(place: &Place, list: &ListTasks) -> Result<TaskList, ApiError> {
    place.dispatcher.tasks(list).await
}

/// Every task of a list, and how many pages it had.
async fn pages(place: &Place, mut list: ListTasks) -> (Vec<(String, &'static str)>, usize) {
    let (mut seen, mut count) = (Vec::new(), 0);
    loop {
        let page = page(place, &list).await.expect("a page");
        assert!(page.tasks.len() <= list.limit.expect("a limit") as usize);
        seen.extend(page.tasks.into_iter().map(|task| (task.id, task.state.0.word())));
        count += 1;
        assert!(count < 5_000, "the list does not end");
        match page.next {
            Some(next) => list.cursor = Some(next),
            None => return (seen, count),
        }
    }
}

async fn listed(place: &Place, list: ListTasks) -> Vec<(String, &'static str)> {
    pages(place, list).await.0
}

fn named(numbers: impl IntoIterator<Item = u64>, state: &'static str) -> Vec<(String, &'static str)> {
    numbers.into_iter().map(|number| (id(number).to_string(), state)).collect()
}

/// A queue with tasks in every state, with keys and another queue's dead letters between them.
async fn mixed(place: &Place) -> Vec<(String, &'static str)> {
    let fill = Fill::new(place.dispatcher.broker());
    fill.queued(0..30).await;
    fill.runs(0..4).await;
    fill.scheduled(30..40).await;
    fill.retrying(40..45).await;
    for number in 50..110 {
        fill.keys([number]).await;
        let state = match number % 6 {
            0 => State::Failed,
            1 => State::Cancelled,
            2 => State::Expired,
            _ => State::Completed,
        };
        fill.ended([record(number, state)]).await;
    }
    fill.dead((50..110).filter(|number| number % 6 == 0)).await;
    let ended = (50..110).rev().map(|number| {
        let state = ["failed", "cancelled", "expired", "completed", "completed", "completed"];
        (id(number).to_string(), state[usize::try_from(number % 6).expect("small")])
    });
    let waiting =
        [named(0..4, "running"), named(4..30, "queued"), named(30..40, "scheduled"), named(40..45, "retrying")];
    waiting.concat().into_iter().chain(ended).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_show_every_task_once_and_in_order() {
    let place = Place::start("lease = \"60s\"").await;
    let expected = mixed(&place).await;
    for limit in [1_000, 50, 7, 1] {
        assert_eq!(listed(&place, all_of(None, limit)).await, expected, "limit {limit}");
    }
    for state in STATES {
        // A list of what runs ends with what a worker was given, and here no worker is.
        let of_state: Vec<_> = expected.iter().filter(|(_, word)| *word == state.word()).cloned().collect();
        let of_state = if state == State::Running { Vec::new() } else { of_state };
        for limit in [1_000, 3] {
            assert_eq!(listed(&place, all_of(Some(state), limit)).await, of_state, "{state:?}, limit {limit}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_each_task_as_a_look_at_it_does() {
    let place = Place::start("lease = \"60s\"").await;
    mixed(&place).await;
    for task in page(&place, &all_of(None, 1_000)).await.expect("a page").tasks {
        let mut looked_at = place.dispatcher.get(&task.id.parse().expect("an id")).await.expect("known");
        looked_at.output = None;
        let json = |view| serde_json::to_value(view).expect("JSON");
        assert_eq!(json(&task), json(&looked_at));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_was_given_and_speaks_of_runs() {
    let place = Place::start("lease = \"60s\"").await;
    let fill = Fill::new(place.dispatcher.broker());
    fill.queued(0..20).await;
    let stream = place.dispatcher.broker().jetstream.get_stream("TASKS_thumbnail").await.expect("a stream");
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer("WORK_m").await.expect("a consumer");
    let mut given = consumer.fetch().max_messages(5).messages().await.expect("a pull");
    while let Some(message) = futures::StreamExt::next(&mut given).await {
        drop(message.expect("a task"));
    }
    fill.runs(0..4).await;
    assert_eq!(listed(&place, all_of(Some(State::Running), 3)).await, named(0..4, "running"));
    assert_eq!(listed(&place, all_of(Some(State::Queued), 3)).await, named(4..20, "queued"));
    // Its end is stored, and the copy is about to go: it is shown once, with its end.
    fill.ended([record(0, State::Completed)]).await;
    assert_eq!(listed(&place, all_of(Some(State::Running), 3)).await, named(1..4, "running"));
    let everything = listed(&place, all_of(None, 50)).await;
    assert_eq!(everything.iter().filter(|(task, _)| *task == id(0).to_string()).count(), 1);
    assert_eq!(everything.last(), named([0], "completed").last());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tasks_with_all_the_labels_are_listed() {
    let place = Place::start("").await;
    let fill = Fill::new(place.dispatcher.broker());
    fill.queued(0..300).await;
    fill.ended((300..600).map(|number| record(number, State::Completed))).await;
    let with = |pairs: &[(&str, &str)]| ListTasks {
        labels: pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>(),
        ..all_of(None, 50)
    };
    assert_eq!(listed(&place, with(&[("tenth", "2")])).await, named(20..30, "queued"));
    assert_eq!(listed(&place, with(&[("tenth", "31")])).await, named((310..320).rev(), "completed"));
    assert_eq!(listed(&place, with(&[("tenth", "2"), ("tier", "gold")])).await, []);
    assert_eq!(listed(&place, ListTasks { state: Some(State::Completed), ..with(&[("tenth", "2")]) }).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_outlives_its_result_and_not_its_redrive() {
    let place = Place::start("").await;
    let fill = Fill::new(place.dispatcher.broker());
    fill.dead(0..6).await;
    // 0 and 1: the results are no longer kept. 2: redriven. 3: redriven and completed. 6: its letter was too large.
    fill.ended([record(2, State::Queued), record(3, State::Completed)]).await;
    fill.ended([4, 5, 6].map(|number| record(number, State::Failed))).await;
    for limit in [1, 50] {
        assert_eq!(listed(&place, all_of(Some(State::Failed), limit)).await, named([5, 4, 1, 0, 6], "failed"));
    }
    assert_eq!(listed(&place, all_of(Some(State::Completed), 50)).await, named([3], "completed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_task_is_listed_once_however_large_its_letter() {
    let place = Place::start("").await;
    let fill = Fill::new(place.dispatcher.broker());
    fill.ended((0..20).map(|number| record(number, State::Failed))).await;
    fill.dead_with(0..20, 195_000).await;
    for limit in [50, 3] {
        assert_eq!(listed(&place, all_of(Some(State::Failed), limit)).await, named((0..20).rev(), "failed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_has_ended_is_not_listed_as_waiting_however_large_its_output() {
    let place = Place::start("lease = \"60s\"").await;
    let fill = Fill::new(place.dispatcher.broker());
    fill.queued(0..20).await;
    let large =
        |number| workfleet_proto::v1::Result { output: vec![1; 195_000].into(), ..record(number, State::Completed) };
    fill.ended((0..20).map(large)).await;
    for limit in [50, 3] {
        assert_eq!(listed(&place, all_of(Some(State::Queued), limit)).await, []);
        assert_eq!(listed(&place, all_of(None, limit)).await, named((0..20).rev(), "completed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_and_large_records_cost_a_few_reads_and_end_no_list() {
    let place = Place::start("").await;
    let fill = Fill::new(place.dispatcher.broker());
    let large =
        |number| workfleet_proto::v1::Result { output: vec![1; 200_000].into(), ..record(number, State::Completed) };
    fill.ended((0..40).map(large)).await;
    fill.keys(40..4_040).await;
    fill.ended((4_040..4_050).map(|number| record(number, State::Completed))).await;
    let broker = place.dispatcher.broker();
    let stream = broker.jetstream.get_stream("RESULTS_thumbnail").await.expect("a stream");
    stream.purge().filter("wf.key.thumbnail.*").await.expect("purged");
    let expected = named((0..40).chain(4_040..4_050).rev(), "completed");
    for limit in [1_000, 10] {
        let (seen, pages) = pages(&place, all_of(None, limit)).await;
        assert_eq!(seen, expected);
        assert!(pages <= 12, "{pages} pages with limit {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_finds_nothing_comes_to_an_end_in_pages_of_bounded_cost() {
    let place = Place::start("").await;
    let fill = Fill::new(place.dispatcher.broker());
    fill.ended((0..9_000).map(|number| record(number, State::Completed))).await;
    let first = page(&place, &all_of(Some(State::Cancelled), 50)).await.expect("a page");
    assert!(first.tasks.is_empty() && first.next.is_some(), "it does not read all of them for one page");
    let (seen, pages) = pages(&place, all_of(Some(State::Cancelled), 50)).await;
    assert_eq!(seen, []);
    assert!((3..10).contains(&pages), "{pages}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_ends_though_tasks_keep_coming() {
    let place = Place::start("").await;
    let fill = Fill::new(place.dispatcher.broker());
    fill.queued(0..10).await;
    let mut list = all_of(None, 2);
    let mut seen = Vec::new();
    for number in 10.. {
        fill.queued([number * 10, number * 10 + 1, number * 10 + 2]).await;
        let page = page(&place, &list).await.expect("a page");
        seen.extend(page.tasks.into_iter().map(|task| (task.id, task.state.0.word())));
        match page.next {
            Some(next) => list.cursor = Some(next),
            None => break,
        }
        assert!(number < 30, "it does not end");
    }
    assert_eq!(seen, [named(0..10, "queued"), named(100..103, "queued")].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_list_is_refused() {
    let place = Place::start("").await;
    place.dispatcher.submit(wide(1, None, Options::default())).await.expect("stored");
    place.dispatcher.submit(wide(2, None, Options::default())).await.expect("stored");
    let first = page(&place, &all_of(Some(State::Queued), 1)).await.expect("a page");
    assert_eq!((first.tasks.len(), first.next.is_some()), (1, true));
    for cursor in ["", "x", "q.1.2", &"z".repeat(100_000), first.next.as_deref().expect("one").to_uppercase().as_str()]
    {
        let list = ListTasks { cursor: Some(cursor.to_owned()), ..all_of(None, 1) };
        let refused = page(&place, &list).await.expect_err("no cursor");
        assert_eq!((refused.code.name(), refused.field.as_deref()), ("invalid_option", Some("cursor")));
    }
    let another = ListTasks { cursor: first.next, ..all_of(Some(State::Completed), 1) };
    assert_eq!(page(&place, &another).await.expect_err("another list's").field.as_deref(), Some("cursor"));
    let nowhere = ListTasks { queue: "nowhere".to_owned(), ..ListTasks::default() };
    assert_eq!(page(&place, &nowhere).await.expect_err("no queue").code.name(), "unknown_queue");
}
