//! Letters of fleets from before each queue had its own stream.

use async_nats::jetstream::stream::Config;
use workfleet_dispatcher::streams::{Change, Report};
use workfleet_dispatcher::{DeadFilter, RedriveChanges};
use workfleet_proto::v1::DeadLetter;

use super::graves::{dies, letter, lies, list, operator, queued};
use crate::fill::id;
use crate::place::Place;

const OWN: &str = "DEAD_thumbnail";

/// Takes the queues' own streams away, and puts the one in their place that all shared.
async fn before(place: &Place, own: &[&str]) {
    for stream in own {
        place.dispatcher.broker().jetstream.delete_stream(stream).await.expect("it was there");
    }
    create(place, "DEAD", "wf.dead.>").await;
}

async fn create(place: &Place, name: &str, subject: &str) {
    let (name, subjects) = (name.to_owned(), vec![subject.to_owned()]);
    let config = Config { name, subjects, allow_direct: true, max_messages_per_subject: 1, ..Config::default() };
    place.dispatcher.broker().jetstream.create_stream(config).await.expect("created");
}

async fn subjects(place: &Place, stream: &str) -> Vec<String> {
    let stream = place.dispatcher.broker().jetstream.get_stream(stream).await.expect("it is there");
    stream.cached_info().config.subjects.clone()
}

async fn is_there(place: &Place, stream: &str) -> bool {
    place.dispatcher.broker().jetstream.get_stream(stream).await.is_ok()
}

fn change(report: &Report, name: &str) -> Option<Change> {
    report.lines.iter().find(|line| line.name == name).map(|line| line.change)
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_the_shared_stream_move_into_their_queues_own_and_the_shared_one_goes() {
    let place = Place::start("").await;
    before(&place, &[OWN]).await;
    for number in 0..700 {
        lies(&place, &letter(number)).await;
    }
    let dead = dies(&place, &letter(700)).await;
    let report = place.provision("").await;
    assert_eq!(change(&report, "stream DEAD"), Some(Change::Removed));
    assert!(!is_there(&place, "DEAD").await);
    assert_eq!(place.messages(OWN).await, 701);
    let first = list(&place, DeadFilter { limit: Some(3), ..DeadFilter::default() }).await;
    let ids: Vec<String> = first.dead.into_iter().map(|letter| letter.task.id).collect();
    assert_eq!(ids, [700, 699, 698].map(|number| id(number).to_string()));
    place.dispatcher.redrive(&dead, &RedriveChanges::default(), operator()).await.expect("redriven");
    assert!(queued(&place, &dead).await.is_some());
    let again = place.provision("").await;
    assert!(again.lines.iter().all(|line| line.change == Change::Unchanged), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_broke_off_is_finished_and_a_later_letter_stays() {
    let place = Place::start("").await;
    before(&place, &[OWN]).await;
    for number in 0..3 {
        lies(&place, &letter(number)).await;
    }
    // The subjects were given up and the new stream made; one letter was copied, and another task failed once more.
    let stream = place.dispatcher.broker().jetstream.get_stream("DEAD").await.expect("it is there");
    let config = Config { subjects: vec!["wf.dead-shared".to_owned()], ..stream.cached_info().config.clone() };
    place.dispatcher.broker().jetstream.update_stream(config).await.expect("narrowed");
    create(&place, OWN, "wf.dead.thumbnail.*").await;
    lies(&place, &letter(0)).await;
    lies(&place, &DeadLetter { reason: "a later one".to_owned(), ..letter(1) }).await;
    place.provision("").await;
    assert!(!is_there(&place, "DEAD").await);
    assert_eq!(place.messages(OWN).await, 3);
    assert_eq!(place.dispatcher.dead_letter(&id(1)).await.expect("a letter").reason, "a later one");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_another_file_keep_the_shared_stream_until_theirs_is_provisioned() {
    let place = Place::start("").await;
    let mail = format!("\n[queue.mail]\nproto = {:?}", place.mail_proto());
    place.provision(&mail).await;
    before(&place, &[OWN, "DEAD_mail"]).await;
    lies(&place, &letter(1)).await;
    let theirs = |number: u64| {
        let mut letter = letter(number);
        letter.result.as_mut().expect("one").id = format!("mail_{}", id(number).suffix());
        letter
    };
    lies(&place, &theirs(2)).await;
    let report = place.provision("").await;
    assert_eq!(change(&report, "stream DEAD"), Some(Change::Updated));
    assert_eq!(subjects(&place, "DEAD").await, ["wf.dead.mail.*"]);
    assert_eq!((place.messages(OWN).await, place.messages("DEAD").await), (1, 1));
    lies(&place, &theirs(3)).await;
    assert_eq!(place.messages("DEAD").await, 2, "its workers still have somewhere to put their letters");
    let report = place.provision(&mail).await;
    assert_eq!(change(&report, "stream DEAD"), Some(Change::Removed));
    assert_eq!((place.messages("DEAD_mail").await, is_there(&place, "DEAD").await), (2, false));
}
