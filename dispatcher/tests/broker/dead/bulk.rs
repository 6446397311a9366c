//! Many letters in one call, and letters that are dropped.

use prost::Message as _;
use workfleet_dispatcher::operations::ListOperations;
use workfleet_dispatcher::{DeadFilter, DeadMany, DeadManyView, Letters, Options, Payload, RedriveChanges, Submit};
use workfleet_link::pipeline::Publish;
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_proto::v1::{Failure, State};

use super::graves::{dies, is_dead, letter, marked, operator, queued, recorded, store};
use crate::fill::id;
use crate::place::{Place, eventually, wide};

fn found(filter: DeadFilter) -> DeadMany {
    DeadMany { queue: "thumbnail".to_owned(), letters: Letters::Found(filter), reason: "a test".to_owned() }
}

fn of(ids: &[String]) -> DeadMany {
    DeadMany { queue: "thumbnail".to_owned(), letters: Letters::Of(ids.to_vec()), reason: String::new() }
}

async fn redriven(place: &Place, many: &DeadMany) -> DeadManyView {
    place.dispatcher.redrive_many(many, operator()).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_filter_finds_are_redriven_page_by_page_and_no_others() {
    let place = Place::start("").await;
    for number in 0..50 {
        let mut letter = letter(number);
        if number % 2 == 0 {
            let failure = Failure { code: "timed_out".to_owned(), ..Failure::default() };
            letter.result.as_mut().expect("a result").failure = Some(failure);
        }
        dies(&place, &letter).await;
    }
    let code = Some("timed_out".to_owned());
    let mut filter = DeadFilter { code, limit: Some(10), ..DeadFilter::default() };
    let mut done = 0;
    for _ in 0..20 {
        let view = redriven(&place, &found(filter.clone())).await;
        assert!(view.problems.is_empty() && view.done <= 10, "{view:?}");
        done += view.done;
        filter.cursor = view.next;
        if filter.cursor.is_none() {
            break;
        }
    }
    assert_eq!((done, filter.cursor), (25, None));
    assert_eq!((place.messages("TASKS_thumbnail").await, place.messages("DEAD_thumbnail").await), (25, 25));
    let all = ListOperations::default();
    let log = async || {
        let log = place.dispatcher.operations(&all, |_| true).await.expect("a page").operations;
        (log.iter().map(|one| one.count).sum::<u64>() == 25).then_some(log)
    };
    let log = eventually("each call stands in the operators' log", log).await;
    for one in &log {
        let told = [&one.action, &one.filter, &one.reason].map(String::as_str);
        assert_eq!((told, one.ids.len() as u64), (["redrive_many", "code=timed_out", "a test"], one.count));
    }
    let wordy = DeadMany { reason: "x".repeat(513), ..found(DeadFilter::default()) };
    let refused = place.dispatcher.redrive_many(&wordy, operator()).await.expect_err("too long");
    assert_eq!(refused.field.as_deref(), Some("reason"));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_named_one_by_one_and_those_that_are_gone_are_counted() {
    let place = Place::start("").await;
    let (one, two) = (dies(&place, &letter(1)).await, dies(&place, &letter(2)).await);
    let ids = [&one, &two, &id(3)].map(ToString::to_string);
    let view = redriven(&place, &of(&ids)).await;
    assert_eq!((view.done, view.gone, view.problems.len(), view.next), (2, 1, 0, None));
    let again = redriven(&place, &of(&ids)).await;
    assert_eq!((again.done, again.gone), (0, 3));
    for wrong in
        [vec!["x".to_owned()], vec!["mail_01h455vb4pex5vsknk084sn02q".to_owned()], vec![one.to_string(); 1_001]]
    {
        let refused = place.dispatcher.redrive_many(&of(&wrong), operator()).await.expect_err("no ids");
        assert_eq!((refused.code.name(), refused.field.as_deref()), ("invalid_option", Some("ids")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_full_midway_leaves_the_other_letters_and_says_so() {
    let place = Place::start("tasks_max = 5").await;
    for number in 0..30 {
        dies(&place, &letter(number)).await;
    }
    let view = redriven(&place, &found(DeadFilter::default())).await;
    assert_eq!((view.done, view.problems.len()), (5, 25), "{view:?}");
    assert!(view.problems.iter().all(|problem| problem.code == "queue_full" && problem.task_id.is_some()));
    assert_eq!(place.messages("DEAD_thumbnail").await, 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_a_full_queue_refuses_has_marked_nothing() {
    for (settings, sizes) in [("tasks_max = 1", &[0][..]), ("tasks_bytes_max = 1048576", &[250_000, 20_000, 2_000, 0])]
    {
        let place = Place::start(settings).await;
        for size in sizes {
            let image = vec![0; *size].into();
            let request = ThumbnailRequest { image, width_px: 1, height_px: 1, ..ThumbnailRequest::default() };
            let payload = Payload::Protobuf(request.encode_to_vec().into());
            while place
                .dispatcher
                .submit(Submit { payload: payload.clone(), ..wide(1, None, Options::default()) })
                .await
                .is_ok()
            {}
        }
        for number in 0..40 {
            dies(&place, &letter(number)).await;
        }
        let view = redriven(&place, &found(DeadFilter::default())).await;
        assert_eq!((view.done, view.problems.len()), (0, 40), "{view:?}");
        let one = place.dispatcher.redrive(&id(0), &RedriveChanges::default(), operator()).await.expect_err("full");
        assert_eq!(one.code.name(), "queue_full");
        assert!(one.detail.ends_with("is full; the dead letter is still there"), "{one}");
        for number in 0..40 {
            let (record, _) = recorded(&place, &id(number)).await.expect("a result");
            assert_eq!(record.state(), State::Failed, "{settings}: {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_dropped_one_or_many_and_their_tasks_stay_failed() {
    let place = Place::start("").await;
    for number in 0..5 {
        dies(&place, &letter(number)).await;
    }
    place.dispatcher.drop_dead(&id(0), "", operator()).await.expect("dropped");
    assert_eq!(
        place.dispatcher.drop_dead(&id(0), "", operator()).await.expect_err("gone").code.name(),
        "unknown_dead_letter"
    );
    assert!(!is_dead(&place, &id(0)).await && is_dead(&place, &id(1)).await);
    let dropped = place.dispatcher.drop_dead_many(&found(DeadFilter::default()), operator()).await.expect("an answer");
    assert_eq!((dropped.done, dropped.gone, dropped.next), (4, 0, None));
    assert_eq!(place.messages("DEAD_thumbnail").await, 0);
    assert_eq!(recorded(&place, &id(1)).await.expect("a result").0.state(), State::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_dropped_in_the_midst_of_its_redrive_leaves_no_task_that_never_ends() {
    let place = Place::start("").await;
    let (marked_only, published) = (dies(&place, &letter(1)).await, dies(&place, &letter(2)).await);
    marked(&place, &marked_only, 2, [0; 32]).await;
    place.dispatcher.drop_dead(&marked_only, "", operator()).await.expect("dropped");
    let (end, _) = recorded(&place, &marked_only).await.expect("an end");
    assert_eq!((end.state(), end.run), (State::Cancelled, 2));
    assert_eq!(place.dispatcher.get(&marked_only).await.expect("known").state.0.word(), "cancelled");
    place.dispatcher.redrive(&published, &RedriveChanges::default(), operator()).await.expect("redriven");
    let again = Publish::new(place.dispatcher.broker().names.dead(&published), letter(2).encode_to_vec().into());
    store(&place, again).await;
    place.dispatcher.drop_dead(&published, "", operator()).await.expect("dropped");
    assert!(queued(&place, &published).await.is_some(), "its run goes on");
    assert_eq!(recorded(&place, &published).await.expect("a mark").0.state(), State::Queued);
}
