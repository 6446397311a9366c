use std::time::Duration;

use super::Deadline;
use crate::admit::{Admitted, Given, Options, Parent, admit};
use crate::error::ApiError;
use crate::view::UnixMs;
use bytes::Bytes;
use workfleet_proto::id::ChildKey;
use workfleet_proto::limits::INLINE_BYTES_MAX;
use workfleet_proto::settings;

const NOW_MS: i64 = 1_700_000_000_000;

fn with(options: &Options, parent: Option<&Parent>, bytes: usize) -> Result<Admitted, ApiError> {
    let queue = "mail".parse().expect("a name");
    let settings = settings::defaults(&queue);
    let given =
        Given { queue: &queue, settings: &settings, schema: "0123456789abcdef", now_ms: NOW_MS, random: [7; 10] };
    admit(None, parent, options, Bytes::from(vec![b'x'; bytes]), &given)
}

fn until(at_ms: i64) -> Options {
    Options { deadline: Some(Deadline::At(UnixMs(at_ms))), ..Options::default() }
}

fn parent(deadline_ms: Option<i64>) -> Parent {
    Parent {
        id: "post_01h455vb4pex5vsknk084sn02q".parse().expect("an id"),
        run: 1,
        key: ChildKey::Ordinal(1),
        deadline_ms,
        earlier: crate::admit::Earlier::Unknown,
    }
}

fn deadline(options: &Options, parent: Option<&Parent>) -> Option<i64> {
    with(options, parent, 1).expect("fine").envelope.deadline_ms
}

fn detail(options: &Options, bytes: usize) -> String {
    let error = with(options, None, bytes).expect_err("refused");
    assert_eq!(error.field.as_deref(), Some("deadline"));
    error.detail.to_string()
}

#[test]
fn a_deadline_is_a_time_or_so_long_from_now() {
    let read = |value| Deadline::read("deadline", value);
    assert_eq!(read("10m").expect("a duration"), Deadline::In(Duration::from_secs(600)));
    assert_eq!(read("1970-01-01T00:00:05Z").expect("a time"), Deadline::At(UnixMs(5_000)));
    assert!(read("soon").expect_err("neither").detail.contains("neither"));
    let later = Options { deadline: Some(Deadline::In(Duration::from_secs(5))), ..Options::default() };
    assert_eq!(deadline(&later, None), Some(NOW_MS + 5_000));
    assert_eq!(deadline(&Options::default(), None), None);
}

#[test]
fn what_can_only_expire_is_refused() {
    assert_eq!(deadline(&until(NOW_MS - 4_999), None), Some(NOW_MS - 4_999), "clocks differ");
    assert!(detail(&until(NOW_MS - 5_001), 1).contains("has passed"));
    let delayed = Options { delay: Some(Duration::from_secs(10)), ..until(NOW_MS + 10_000) };
    assert!(detail(&delayed, 1).contains("not after the start"));
    let delayed = Options { delay: Some(Duration::from_secs(10)), ..until(NOW_MS + 10_001) };
    assert!(deadline(&delayed, None).is_some());
}

#[test]
fn a_deadline_beyond_what_is_kept_is_refused() {
    const DAY_MS: i64 = 24 * 3_600_000;
    assert!(detail(&until(NOW_MS + 366 * DAY_MS), 1).contains("365 days"));
    assert!(detail(&until(NOW_MS + 31 * DAY_MS), INLINE_BYTES_MAX + 1).contains("30 days"));
    assert!(with(&until(NOW_MS + 30 * DAY_MS), None, INLINE_BYTES_MAX + 1).is_ok());
    assert!(detail(&until(i64::MAX), 1).contains("365 days"));
    assert!(detail(&until(i64::MIN), 1).contains("has passed"));
}

#[test]
fn a_child_has_the_sooner_of_two_deadlines() {
    let soon = parent(Some(NOW_MS + 5));
    assert_eq!(deadline(&Options::default(), Some(&soon)), Some(NOW_MS + 5));
    assert_eq!(deadline(&until(NOW_MS + 9), Some(&soon)), Some(NOW_MS + 5));
    assert_eq!(deadline(&until(NOW_MS + 3), Some(&soon)), Some(NOW_MS + 3));
    assert_eq!(deadline(&until(NOW_MS + 3), Some(&parent(None))), Some(NOW_MS + 3));
}

#[test]
fn a_task_may_have_less_time_than_its_queue_allows_and_not_more() {
    let timeout = |ms| Options { timeout: Some(Duration::from_millis(ms)), ..Options::default() };
    let timed = |options: &Options| with(options, None, 1).map(|admitted| admitted.envelope.timeout_ms);
    assert_eq!(timed(&Options::default()).expect("the queue's"), 300_000);
    assert_eq!(timed(&timeout(5)).expect("less"), 5);
    for wrong in [0, 300_001] {
        assert_eq!(timed(&timeout(wrong)).expect_err("refused").field.as_deref(), Some("timeout"));
    }
}
