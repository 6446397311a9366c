//! The operators' log, written and read.

use workfleet_dispatcher::Code;
use workfleet_dispatcher::operations::{self, Action, Caller, ListOperations, Operation, OperationView};
use workfleet_proto::id::QueueName;

use crate::place::Place;

async fn record(place: &Place, action: Action, queue: &str, count: u64) {
    let queue: QueueName = queue.parse().expect("a name");
    let caller = Caller::new("ada@desk", "cli");
    let (filter, reason) = ("waiting".to_owned(), "because".to_owned());
    let operation = Operation { action, queue, task: None, filter, ids: Vec::new(), count, caller, reason };
    operations::record(place.dispatcher.broker(), operation).await.expect("recorded");
}

/// Every page of a list, and how many there were.
async fn pages(
    place: &Place,
    mut list: ListOperations,
    may_see: impl Fn(&str) -> bool + Send + Copy,
) -> (Vec<u64>, usize) {
    let (mut counts, mut pages) = (Vec::new(), 0);
    loop {
        let page = place.dispatcher.operations(&list, may_see).await.expect("a page");
        counts.extend(page.operations.iter().map(|operation| operation.count));
        pages += 1;
        assert!(pages < 1_000, "the list comes to no end: {counts:?}");
        match page.next {
            Some(next) => list.cursor = Some(next),
            None => return (counts, pages),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_did_is_listed_newest_first_in_the_queues_that_one_may_operate() {
    let place = Place::start("").await;
    let all = ListOperations::default();
    assert_eq!(pages(&place, all.clone(), |_| true).await, (Vec::new(), 1), "nothing was done yet");
    let of_queue = |queue: &str| ListOperations { queue: Some(queue.to_owned()), ..ListOperations::default() };
    for unknown in ["gone", "Gone!"] {
        let refused = place.dispatcher.operations(&of_queue(unknown), |_| true).await.expect_err("no such queue");
        assert_eq!(refused.code, Code::UnknownQueue);
    }
    assert_eq!(pages(&place, of_queue("thumbnail"), |_| true).await.0, Vec::<u64>::new(), "a queue without entries");
    for count in 0..30 {
        let (action, queue) = if count % 3 == 0 { (Action::Purge, "mail") } else { (Action::Retire, "gone") };
        record(&place, action, queue, count).await;
    }
    assert_eq!(pages(&place, all.clone(), |_| true).await.0, (0..30).rev().collect::<Vec<_>>());
    for limit in [1, 7, 30] {
        let list = ListOperations { limit: Some(limit), ..all.clone() };
        assert_eq!(pages(&place, list, |_| true).await.0, (0..30).rev().collect::<Vec<_>>(), "limit {limit}");
    }
    let of_mail: Vec<u64> = (0..30).rev().filter(|count| count % 3 == 0).collect();
    for list in [
        ListOperations { queue: Some("mail".to_owned()), ..all.clone() },
        ListOperations { action: Some("purge".to_owned()), limit: Some(3), ..all.clone() },
    ] {
        assert_eq!(pages(&place, list, |_| true).await.0, of_mail);
    }
    assert_eq!(pages(&place, all.clone(), |queue| queue == "mail").await.0, of_mail, "of the others nothing is told");

    assert_eq!(pages(&place, of_queue("gone"), |_| true).await.0.len(), 20, "its entries outlive a queue");
    let page = place.dispatcher.operations(&all, |_| true).await.expect("a page");
    let OperationView { who, from, reason, queue, action, filter, .. } = &page.operations[0];
    assert_eq!([who, from, reason, queue, action, filter], ["ada@desk", "cli", "because", "gone", "retire", "waiting"]);

    // An entry that was taken out by hand leaves a gap, and beyond it nothing is told twice.
    let stream = place.dispatcher.broker().jetstream.get_stream("OPERATIONS").await.expect("a stream");
    stream.delete_message(15).await.expect("deleted");
    let rest: Vec<u64> = (0..30).rev().filter(|count| *count != 14).collect();
    for limit in [1, 7, 30] {
        let list = ListOperations { limit: Some(limit), ..all.clone() };
        assert_eq!(pages(&place, list, |_| true).await.0, rest, "limit {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_costs_a_bounded_number_of_reads_and_goes_on_where_it_stopped() {
    let place = Place::start("").await;
    // So many that a page that finds nothing must stop before it is through, and so large that an answer may end before
    // all is in it that was asked for.
    let pipeline = workfleet_link::pipeline::Pipeline::start(place.dispatcher.broker());
    let text =
        serde_json::json!({"at_ms": 5, "action": "drop", "queue": "thumbnail", "count": 1, "who": "w".repeat(1_500)});
    let body = text.to_string();
    let publishes = (0..12_000).map(|_| {
        let message = workfleet_link::pipeline::Publish::new("wf.operation.thumbnail".to_owned(), body.clone().into());
        pipeline.publish(message)
    });
    for stored in futures::future::join_all(publishes).await {
        stored.expect("stored");
    }
    record(&place, Action::Purge, "mail", 7).await;
    let seldom = ListOperations { action: Some("retire".to_owned()), ..ListOperations::default() };
    let (counts, count) = pages(&place, seldom, |_| true).await;
    assert!(counts.is_empty() && count > 1, "{count}");
    let (counts, _) = pages(&place, ListOperations { limit: Some(1_000), ..ListOperations::default() }, |_| true).await;
    assert_eq!((counts.len(), counts[0]), (12_001, 7));
}
