use super::{Place, Waiting, combine, of_result, told};
use crate::kinds::Queue;
use crate::state::Heard;
use crate::view::TaskView;
use bytes::Bytes;
use prost::Message as _;
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1::{Attempt, Envelope, Event, Failure, Progress, Result, State};

const NOW_MS: i64 = 1_700_000_000_000;
const ID: &str = "mail_01h455vb4pex5vsknk084sn02q";

fn queue() -> Queue {
    Queue::without_kind("mail".parse().expect("a name"))
}

fn waiting(place: Place, attempt: u32) -> Waiting {
    Waiting {
        place,
        lane: None,
        generation: Generation { attempt, ..Generation::FIRST },
        due_ms: NOW_MS + 500,
        envelope: Envelope {
            id: ID.to_owned(),
            attempts_max: 5,
            submitted_at_ms: NOW_MS - 9_000,
            ..Default::default()
        },
    }
}

fn heard(state: State, attempt: u32, sequence: u32, age_ms: i64) -> Heard {
    let event = Event {
        id: ID.to_owned(),
        state: state.into(),
        run: 1,
        attempt,
        sequence,
        at_ms: NOW_MS - age_ms,
        started_at_ms: NOW_MS - age_ms,
        progress: Some(Progress { percent: 40, message: "half".to_owned() }),
        ..Default::default()
    };
    Heard { event, at_ms: NOW_MS - age_ms }
}

fn view(waiting: &Waiting, heard: Option<&Heard>) -> (State, u32, String) {
    let view = combine(&queue(), &ID.parse().expect("an id"), waiting, heard, NOW_MS);
    (view.state.0, view.attempt, view.cursor.to_string())
}

#[test]
fn before_any_attempt_a_task_is_scheduled_or_queued() {
    assert_eq!(view(&waiting(Place::Scheduled, 1), None), (State::Scheduled, 0, "0.0.0".to_owned()));
    assert_eq!(view(&waiting(Place::Queue, 1), None), (State::Queued, 0, "0.0.0".to_owned()));
}

#[test]
fn a_fresh_event_says_that_a_worker_holds_it() {
    let running = heard(State::Running, 1, 3, 1_000);
    assert_eq!(view(&waiting(Place::Queue, 1), Some(&running)), (State::Running, 1, "1.1.3".to_owned()));
}

#[test]
fn an_event_older_than_the_lease_means_that_the_worker_is_gone() {
    let silent = heard(State::Running, 1, 3, 8_001);
    assert_eq!(view(&waiting(Place::Queue, 1), Some(&silent)), (State::Queued, 1, "1.1.3".to_owned()));
}

#[test]
fn a_schedule_of_a_later_attempt_is_a_retry() {
    let announced = heard(State::Retrying, 1, 4, 20_000);
    assert_eq!(view(&waiting(Place::Scheduled, 2), Some(&announced)), (State::Retrying, 1, "1.1.4".to_owned()));
    let unheard = view(&waiting(Place::Scheduled, 2), None);
    assert_eq!((unheard.0, unheard.1), (State::Retrying, 1));
}

#[test]
fn what_an_earlier_attempt_said_is_not_about_this_copy() {
    let earlier = heard(State::Retrying, 1, 4, 100);
    assert_eq!(view(&waiting(Place::Queue, 2), Some(&earlier)), (State::Queued, 1, "1.2.0".to_owned()));
}

#[test]
fn a_waiting_retry_says_why_the_last_attempt_failed() {
    let mut copy = waiting(Place::Scheduled, 2);
    copy.envelope.attempts =
        vec![Attempt { attempt: 1, code: "smtp".to_owned(), message: "refused".to_owned(), ..Default::default() }];
    let view = combine(&queue(), &ID.parse().expect("an id"), &copy, None, NOW_MS);
    let failure = view.failure.expect("what went wrong");
    assert_eq!((failure.code.as_str(), failure.attempts.len()), ("smtp", 1));
}

#[test]
fn only_a_completed_task_has_an_output_and_no_failure() {
    let result = |state: State| Result {
        id: ID.to_owned(),
        state: state.into(),
        run: 1,
        attempt: 2,
        failure: Some(Failure { code: "x".to_owned(), message: String::new() }),
        ..Default::default()
    };
    let completed = of_result(&queue(), result(State::Completed), None);
    assert!(completed.failure.is_none() && completed.output_bytes.is_some());
    assert_eq!(completed.cursor.to_string(), "1.2.end");
    let failed: TaskView = of_result(&queue(), result(State::Failed), None);
    assert!(failed.failure.is_some() && failed.output_bytes.is_none());
}

#[test]
fn an_event_of_no_state_that_workers_tell_of_says_nothing() {
    let bytes = |state: i32| Event { state, ..heard(State::Running, 1, 1, 0).event }.encode_to_vec().into();
    assert!(told(bytes(State::Running.into())).is_some() && told(bytes(State::Retrying.into())).is_some());
    for state in [0, 99, -1, State::Completed.into(), State::Queued.into()] {
        assert_eq!(told(bytes(state)), None, "{state}");
    }
    assert_eq!(told(Bytes::new()), None);
}
