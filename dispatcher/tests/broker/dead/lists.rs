//! What is shown of dead letters.

use workfleet_dispatcher::DeadFilter;
use workfleet_dispatcher::view::UnixMs;
use workfleet_proto::v1::{DeadLetter, Failure};

use super::graves::{dies, letter, lies, list, marked, store};
use crate::fill::id;
use crate::place::Place;
use workfleet_link::pipeline::Publish;

async fn listed(place: &Place, filter: DeadFilter) -> Vec<String> {
    let (mut ids, mut filter) = (Vec::new(), filter);
    for _ in 0..100 {
        let page = list(place, filter.clone()).await;
        ids.extend(page.dead.into_iter().map(|letter| letter.task.id));
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => return ids,
        }
    }
    panic!("the list does not end")
}

fn named(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|number| id(number).to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_latest_first_in_pages_of_any_size() {
    let place = Place::start("").await;
    for number in 0..40 {
        lies(&place, &letter(number)).await;
    }
    for limit in [Some(1_000), Some(7), None] {
        let filter = DeadFilter { limit, ..DeadFilter::default() };
        assert_eq!(listed(&place, filter).await, named((0..40).rev()), "{limit:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_letters_that_meet_all_conditions_are_listed() {
    let place = Place::start("").await;
    for number in 0..60 {
        let mut letter = letter(number);
        if number % 2 == 0 {
            let failure = Failure { code: "timed_out".to_owned(), ..Failure::default() };
            letter.result.as_mut().expect("a result").failure = Some(failure);
        }
        lies(&place, &letter).await;
    }
    let code = Some("timed_out".to_owned());
    let labels = [("tenth".to_owned(), "2".to_owned())].into();
    let both = DeadFilter { code: code.clone(), labels, limit: Some(3), ..DeadFilter::default() };
    assert_eq!(listed(&place, both).await, named([28, 26, 24, 22, 20]));
    let at = |number: i64| Some(UnixMs(1_700_000_001_000 + number));
    let between = DeadFilter { after: at(10), before: at(15), ..DeadFilter::default() };
    assert_eq!(listed(&place, between).await, named([14, 13, 12, 11, 10]));
    let none = DeadFilter { code: Some("other".to_owned()), ..DeadFilter::default() };
    assert_eq!(listed(&place, none).await, named([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_listed_while_it_is_there_whatever_its_redrive_came_to() {
    let place = Place::start("").await;
    let dead = dies(&place, &letter(1)).await;
    marked(&place, &dead, 2, [0; 32]).await;
    assert_eq!(listed(&place, DeadFilter::default()).await, named([1]));
    let task = place.dispatcher.get(&dead).await.expect("it is known");
    assert_eq!(task.state.0.word(), "failed", "nobody has published the run that is marked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_read_with_its_payload_and_why_it_died() {
    let place = Place::start("").await;
    let dead = dies(&place, &letter(640)).await;
    let letter = place.dispatcher.dead_letter(&dead).await.expect("a letter");
    let json = serde_json::to_value(&letter).expect("JSON");
    assert_eq!(json["payload"]["width_px"], 640);
    assert_eq!((&json["state"], &json["failure"]["code"]), (&"failed".into(), &"bad_image".into()));
    assert_eq!(json["failure"]["attempts"][0]["attempt"], 1);
    assert_eq!((&json["run"], &json["reason"]), (&1.into(), &"bad_image in attempt 1 of 3".into()));
    assert_eq!(json["dead_at"], "2023-11-14T22:13:21.640Z");
    assert!(json["payload_blob"].is_null() && letter.payload_bytes.is_some());
    let shown = list(&place, DeadFilter::default()).await.dead.remove(0);
    assert!(shown.payload.is_none() && shown.payload_bytes.is_none(), "a list has no payloads");
    let unknown = place.dispatcher.dead_letter(&id(1)).await.expect_err("there is none");
    assert_eq!(unknown.code.name(), "unknown_dead_letter");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shown_as_json_is_still_read_and_what_is_no_letter_can_only_be_dropped() {
    let place = Place::start("").await;
    let mut garbled = letter(1);
    garbled.envelope.as_mut().expect("one").payload = vec![0xff; 9].into();
    let dead = dies(&place, &garbled).await;
    let read = place.dispatcher.dead_letter(&dead).await.expect("a letter");
    assert!(read.payload.is_none() && read.payload_bytes.is_some_and(|bytes| bytes.len() == 9));
    let subject = place.dispatcher.broker().names.dead(&id(2));
    store(&place, Publish::new(subject, vec![0xff; 9].into())).await;
    assert_eq!(listed(&place, DeadFilter::default()).await, named([1]));
    assert_eq!(place.dispatcher.dead_letter(&id(2)).await.expect_err("no letter").code.name(), "internal");
    place.dispatcher.drop_dead(&id(2), "", super::graves::operator()).await.expect("dropped");
    assert_eq!(place.messages("DEAD_thumbnail").await, 1);
    let _: DeadLetter = garbled;
}
