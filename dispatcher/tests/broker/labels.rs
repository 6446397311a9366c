//! A caller's own pairs.

use std::collections::BTreeMap;

use workfleet_dispatcher::{Code, Options};

use crate::place::{Place, wide};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn labelled(pairs: &[(&str, &str)]) -> Options {
    Options { labels: labels(pairs), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_shown_with_its_labels_wherever_it_waits() {
    let place = Place::start("").await;
    let later = Options { delay: Some(std::time::Duration::from_secs(3_600)), ..labelled(&[("order", "17")]) };
    for options in [labelled(&[("order", "17")]), later] {
        let task = place.dispatcher.submit(wide(1, None, options)).await.expect("stored").task;
        assert_eq!(task.labels, labels(&[("order", "17")]));
        let read = place.dispatcher.get(&task.id.parse().expect("an id")).await.expect("known");
        assert_eq!(read.labels, labels(&[("order", "17")]), "{}", read.state.0.word());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_with_other_labels_is_the_same_task_with_its_first_ones() {
    let place = Place::start("").await;
    let submit = |options| place.dispatcher.submit(wide(1, Some("order-17"), options));
    let first = submit(labelled(&[("order", "17"), ("shop", "a")])).await.expect("stored").task;
    let repeat = submit(labelled(&[("order", "18")])).await.expect("told").task;
    assert_eq!((&repeat.id, &repeat.labels), (&first.id, &first.labels));
    assert_eq!(place.messages("TASKS_thumbnail").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_out_of_bounds_are_refused_and_nothing_is_stored() {
    let place = Place::start("").await;
    let many: Vec<(String, String)> = (0..17).map(|n| (format!("k{n}"), "v".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    for pairs in [&many[..], &[("Order", "17")], &[("order", "")], &[("order", "a\nb")], &[("", "x")]] {
        let refused = place.dispatcher.submit(wide(1, Some("k"), labelled(pairs))).await.expect_err("out of bounds");
        assert_eq!((refused.code, refused.field.as_deref()), (Code::InvalidOption, Some("label")), "{pairs:?}");
    }
    assert_eq!(place.messages("TASKS_thumbnail").await, 0);
}
