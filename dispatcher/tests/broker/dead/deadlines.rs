//! Redrives and deadlines: kept until they have passed, and refused where there is no room for one.

use std::time::Duration;

use workfleet_dispatcher::view::UnixMs;
use workfleet_dispatcher::{Code, Deadline, RedriveChanges};
use workfleet_link::read;
use workfleet_link::time::now_ms;
use workfleet_proto::v1::State;

use super::graves::{dies, is_dead, letter, operator, queued, recorded};
use super::redrive::{AS_IT_WAS, redriven, refused};
use crate::place::Place;

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept_until_it_has_passed_and_may_be_another() {
    let place = Place::start("").await;
    let broker = place.dispatcher.broker();
    let later_ms = now_ms() + 3_600_000;
    for (number, old_ms, asked, wanted) in [
        (1, Some(later_ms), None, Some(later_ms)),
        (2, Some(1_700_000_002_000), None, None),
        (3, Some(1_700_000_002_000), Some(Deadline::At(UnixMs(later_ms + 5_000))), Some(later_ms + 5_000)),
        (4, None, None, None),
    ] {
        let mut letter = letter(number);
        letter.envelope.as_mut().expect("one").deadline_ms = old_ms;
        let dead = dies(&place, &letter).await;
        redriven(&place, &dead, &RedriveChanges { deadline: asked, ..AS_IT_WAS }).await;
        assert_eq!(queued(&place, &dead).await.expect("a copy").envelope.deadline_ms, wanted, "{number}");
        let timer = read::last_on_subject(broker, "DELAY_thumbnail", &broker.names.delay_deadline(&dead)).await;
        let timer = timer.expect("an answer").map(|timer| timer.headers.get("Wf-Deadline-Ms").map(ToString::to_string));
        assert_eq!(timer.flatten(), wanted.map(|at_ms| at_ms.to_string()), "{number}");
    }
    let dead = dies(&place, &letter(5)).await;
    let past = RedriveChanges { deadline: Some(Deadline::At(UnixMs(5))), ..AS_IT_WAS };
    assert_eq!(refused(&place, &dead, &past).await, "invalid_option");
    let soon = RedriveChanges { deadline: Some(Deadline::In(Duration::from_secs(60))), ..AS_IT_WAS };
    redriven(&place, &dead, &soon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_for_which_there_is_no_room_is_refused_and_the_letter_stays() {
    let place = Place::start("deadlines_max = 1").await;
    let within =
        |hours: u64| RedriveChanges { deadline: Some(Deadline::In(Duration::from_secs(hours * 3_600))), ..AS_IT_WAS };
    let (first, second) = (dies(&place, &letter(1)).await, dies(&place, &letter(2)).await);
    redriven(&place, &first, &within(1)).await;
    let full = place.dispatcher.redrive(&second, &within(1), operator()).await.expect_err("full");
    assert!(full.code == Code::QueueFull && full.detail.contains("deadlines_max"), "{full}");
    assert!(full.detail.ends_with("the dead letter is still there") && full.retry_after_ms.is_some(), "{full}");
    assert!(is_dead(&place, &second).await);
    assert_eq!(recorded(&place, &second).await.expect("a result").0.state(), State::Failed, "nothing was begun");
    // It fails again before its deadline: the next one takes the place of that.
    place
        .dispatcher
        .broker()
        .jetstream
        .get_stream("TASKS_thumbnail")
        .await
        .expect("one")
        .purge()
        .await
        .expect("purged");
    let mut again = letter(1);
    again.result.as_mut().expect("one").run = 2;
    dies(&place, &again).await;
    assert_eq!(redriven(&place, &first, &within(2)).await, "queued");
    assert_eq!(redriven(&place, &second, &AS_IT_WAS).await, "queued", "without a deadline there is room");
}
