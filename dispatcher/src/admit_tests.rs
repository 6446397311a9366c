use super::{Admitted, Earlier, Given, Identity, Options, Parent, Start, admit};
use crate::error::{ApiError, Code};
use crate::limits::DELAY_MAX;
use crate::view::UnixMs;
use bytes::Bytes;
use std::time::Duration;
use workfleet_proto::id::ChildKey;
use workfleet_proto::settings;
use workfleet_proto::wire::TraceMode;

const NOW_MS: i64 = 1_700_000_000_000;

fn with(key: Option<&str>, options: &Options) -> Result<Admitted, ApiError> {
    of(key, None, options)
}

fn of(key: Option<&str>, parent: Option<&Parent>, options: &Options) -> Result<Admitted, ApiError> {
    let queue = "mail".parse().expect("a name");
    let mut settings = settings::defaults(&queue);
    settings.lanes = vec!["h".to_owned(), "m".to_owned()];
    let given =
        Given { queue: &queue, settings: &settings, schema: "0123456789abcdef", now_ms: NOW_MS, random: [7; 10] };
    admit(key, parent, options, Bytes::from_static(b"x"), &given)
}

fn refused(key: Option<&str>, options: &Options) -> ApiError {
    let error = with(key, options).expect_err("out of bounds");
    assert_eq!(error.code, Code::InvalidOption);
    error
}

#[test]
fn a_plain_submit_takes_everything_from_the_queue() {
    let admitted = with(None, &Options::default()).expect("fine");
    assert_eq!((admitted.start, admitted.identity, admitted.trace), (Start::Now, Identity::Fresh, TraceMode::Child));
    assert_eq!(admitted.lane.to_string(), "m");
    assert_eq!(admitted.envelope.attempts_max, 5);
    assert_eq!(admitted.envelope.id, admitted.id.to_string());
    assert_eq!(admitted.envelope.submitted_at_ms, NOW_MS);
}

#[test]
fn the_same_key_gives_the_same_id() {
    let id = |key| with(Some(key), &Options::default()).expect("fine").id;
    assert_eq!(id("order-1"), id("order-1"));
    assert_ne!(id("order-1"), id("order-2"));
    assert_eq!(with(Some("k"), &Options::default()).expect("fine").identity, Identity::Keyed);
    assert_eq!(refused(Some(""), &Options::default()).field.as_deref(), Some("Idempotency-Key"));
    refused(Some(&"k".repeat(257)), &Options::default());
}

#[test]
fn a_delay_and_a_time_both_say_when_and_exclude_each_other() {
    let delay = |delay| Options { delay: Some(delay), ..Options::default() };
    let at = |at| Options { at: Some(UnixMs(at)), ..Options::default() };
    let start = |options: &Options| with(None, options).expect("fine").start;
    assert_eq!(start(&delay(Duration::from_secs(5))), Start::At(NOW_MS + 5_000));
    assert_eq!(start(&delay(Duration::ZERO)), Start::Now);
    assert_eq!(start(&at(NOW_MS + 1)), Start::At(NOW_MS + 1));
    assert_eq!(start(&at(NOW_MS - 1)), Start::Now, "the past is now");
    refused(None, &Options { at: Some(UnixMs(NOW_MS)), ..delay(Duration::ZERO) });
    refused(None, &delay(DELAY_MAX + Duration::from_millis(1)));
    refused(None, &delay(Duration::MAX));
    refused(None, &at(i64::MAX));
    assert_eq!(start(&at(i64::MIN)), Start::Now);
}

#[test]
fn what_starts_much_later_begins_a_trace_of_its_own() {
    let trace = |seconds| {
        let options = Options { delay: Some(Duration::from_secs(seconds)), ..Options::default() };
        with(None, &options).expect("fine").trace
    };
    assert_eq!(trace(60), TraceMode::Child);
    assert_eq!(trace(61), TraceMode::Linked);
}

#[test]
fn only_lanes_of_the_queue_can_be_asked_for() {
    let lane = |lane: &str| Options { priority: Some(lane.to_owned()), ..Options::default() };
    assert_eq!(with(None, &lane("h")).expect("fine").lane.to_string(), "h");
    for wrong in ["l", "", "high", "*", ">"] {
        assert_eq!(refused(None, &lane(wrong)).known, ["h", "m"], "{wrong}");
    }
}

#[test]
fn a_child_has_the_id_that_its_parent_run_and_key_give_and_no_key_beside_it() {
    let parent = |run, key| Parent {
        id: "thumbnail_01h455vb4pex5vsknk084sn02q".parse().expect("an id"),
        run,
        key,
        deadline_ms: Some(NOW_MS + 5),
        earlier: Earlier::Unknown,
    };
    let child = |parent: &Parent| of(None, Some(parent), &Options::default()).expect("fine");
    let first = child(&parent(1, ChildKey::Ordinal(1)));
    assert_eq!(first.identity, Identity::Ordinal);
    assert_eq!(first.envelope.parent_id.as_deref(), Some("thumbnail_01h455vb4pex5vsknk084sn02q"));
    assert_eq!(first.envelope.deadline_ms, Some(NOW_MS + 5), "it inherits the deadline");
    assert_eq!(first.id, child(&parent(1, ChildKey::Ordinal(1))).id);
    assert_ne!(first.id, child(&parent(2, ChildKey::Ordinal(1))).id, "a redriven parent has children of its own");
    assert_eq!(child(&parent(1, ChildKey::Name("x".to_owned()))).identity, Identity::Named);
    let both = of(Some("k"), Some(&parent(1, ChildKey::Ordinal(1))), &Options::default()).expect_err("both");
    assert_eq!((both.code, both.field.as_deref()), (Code::InvalidOption, Some("Idempotency-Key")));
}

#[test]
fn labels_travel_in_the_envelope_whoever_gives_them() {
    let labelled = |key: &str| Options { labels: [(key.to_owned(), "17".to_owned())].into(), ..Options::default() };
    let envelope = with(None, &labelled("order")).expect("fine").envelope;
    assert_eq!(envelope.labels, [("order".to_owned(), "17".to_owned())].into());
    assert_eq!(refused(None, &labelled("Order")).field.as_deref(), Some("label"));
    assert_eq!(with(Some("k"), &labelled("a")).expect("fine").id, with(Some("k"), &labelled("b")).expect("fine").id);
}

#[test]
fn attempts_have_bounds() {
    let attempts = |number| Options { attempts_max: Some(number), ..Options::default() };
    assert_eq!(with(None, &attempts(1)).expect("fine").envelope.attempts_max, 1);
    refused(None, &attempts(0));
    refused(None, &attempts(1_001));
}

#[test]
fn options_are_read_from_a_query() {
    let read = |pairs: &[(&'static str, &'static str)]| Options::from_pairs(pairs.iter().copied());
    let options = read(&[("delay", "1500ms"), ("priority", "h"), ("attempts_max", "3")]).expect("fine");
    assert_eq!(options.delay, Some(Duration::from_millis(1_500)));
    assert_eq!((options.priority.as_deref(), options.attempts_max), (Some("h"), Some(3)));
    let labelled = read(&[("label", "order:17"), ("label", "shop:a:b")]).expect("fine").labels;
    assert_eq!(labelled, [("order", "17"), ("shop", "a:b")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert_eq!(read(&[("at", "2023-11-14T23:13:20+01:00")]).expect("fine").at, Some(UnixMs(NOW_MS)));
    let unknown = read(&[("dealy", "1s")]).expect_err("a typing mistake");
    assert_eq!((unknown.field.as_deref(), unknown.known.len()), (Some("dealy"), 8));
    for wrong in [
        &[("delay", "5")][..],
        &[("delay", "-5s")],
        &[("at", "tomorrow")],
        &[("attempts_max", "x")],
        &[("delay", "1s"), ("delay", "2s")],
        &[("deadline", "soon")],
        &[("timeout", "5")],
        &[("label", "order")],
        &[("label", "a:1"), ("label", "a:1")],
    ] {
        assert_eq!(read(wrong).expect_err("wrong").code, Code::InvalidOption, "{wrong:?}");
    }
}
