use super::{is_news, is_same};
use crate::view::{Cursor, TaskView};
use workfleet_proto::v1::State;

fn view(state: State, cursor: &str) -> TaskView {
    let text = format!(
        r#"{{"id":"a","queue":"a","state":"{}","attempt":1,"attempts_max":1,"children":[],"labels":{{}}}}"#,
        state.word()
    );
    let mut view: TaskView = serde_json::from_str(&text).expect("a view");
    view.cursor = cursor.parse().expect("a cursor");
    view
}

fn seen(cursor: &str, state: State) -> Option<(Cursor, Option<State>)> {
    Some((cursor.parse().expect("a cursor"), Some(state)))
}

#[test]
fn a_reader_is_told_of_what_is_later_and_never_of_what_is_earlier() {
    assert!(is_news(None, &view(State::Queued, "0.0.0")));
    assert!(is_news(seen("0.0.0", State::Queued), &view(State::Running, "1.1.1")));
    assert!(is_news(seen("1.1.9", State::Running), &view(State::Running, "1.2.1")));
    assert!(!is_news(seen("1.1.2", State::Running), &view(State::Running, "1.1.2")));
    assert!(!is_news(seen("1.1.2", State::Running), &view(State::Running, "1.1.1")));
    assert!(!is_news(seen("1.1.2", State::Running), &view(State::Queued, "0.0.0")));
}

#[test]
fn a_task_whose_time_has_come_is_news_though_no_event_says_so() {
    assert!(is_news(seen("0.0.0", State::Scheduled), &view(State::Queued, "0.0.0")));
    assert!(!is_news(seen("0.0.0", State::Queued), &view(State::Scheduled, "0.0.0")));
}

#[test]
fn an_end_is_always_told_but_to_who_has_seen_that_very_end() {
    assert!(is_news(seen("1.3.7", State::Running), &view(State::Completed, "1.2.end")));
    assert!(!is_news(seen("1.2.end", State::Completed), &view(State::Completed, "1.2.end")));
}

#[test]
fn a_renewed_lease_is_no_difference() {
    assert!(is_same(&view(State::Running, "1.1.1"), &view(State::Running, "1.1.2")));
    assert!(!is_same(&view(State::Queued, "1.1.1"), &view(State::Running, "1.1.1")));
}
