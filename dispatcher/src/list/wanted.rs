//! What a list is asked for, and what it may be asked for.

use std::collections::BTreeMap;

use workfleet_proto::lifecycle::STATES;
use workfleet_proto::v1::State;

use super::asked::{self, Asked};
use super::cursor::Place;
use crate::admit::labels;
use crate::error::{ApiError, Code};
use crate::limits::LIST_TASKS_DEFAULT;
use crate::view::TaskView;

/// A question for a page of a queue's tasks.
///
/// Without a state, it lists what runs and waits first, oldest first, then what is scheduled or waits for a retry, then
/// what has ended, newest first. Tasks that move while somebody pages may be seen twice, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListTasks {
    /// The queue's name.
    pub queue: String,
    /// Only tasks in this state; `None`: in any.
    pub state: Option<State>,
    /// Only tasks that have all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Most tasks of the page, 1 to 1,000; `None`: 50.
    pub limit: Option<u32>,
    /// `next` of the page before; `None`: the first page.
    pub cursor: Option<String>,
}

/// The same, read.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) state: Option<State>,
    labels: BTreeMap<String, String>,
    pub(super) limit: usize,
    pub(super) place: Option<Place>,
}

impl ListTasks {
    /// What a query may name.
    pub const NAMES: [&'static str; 4] = ["state", "label", "limit", "cursor"];

    /// Reads names and values, as a query has them. `label` may come more than once.
    ///
    /// # Errors
    /// When a name is unknown or comes twice, or a value cannot be read.
    pub fn from_pairs<'a>(
        queue: String,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, ApiError> {
        let mut wanted = None;
        let Asked { labels, limit, cursor } = asked::read(pairs, &Self::NAMES, |name, value| match name {
            "state" => Ok(Some(wanted.replace(state(value)?).is_some())),
            _ => Ok(None),
        })?;
        Ok(Self { queue, state: wanted, labels, limit, cursor })
    }

    /// The same for tests/fuzz.
    #[cfg(feature = "fuzz")]
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        self.read().map(drop)
    }

    /// Checks everything that does not depend on the queue.
    pub(super) fn read(&self) -> Result<Wanted, ApiError> {
        if self.state == Some(State::Unspecified) {
            return Err(unknown_state("unspecified"));
        }
        let limit = asked::limit(self.limit, LIST_TASKS_DEFAULT)?;
        labels::check_all(&self.labels)?;
        let place = asked::place(self.cursor.as_deref())?;
        Ok(Wanted { state: self.state, labels: self.labels.clone(), limit, place })
    }
}

impl Wanted {
    /// Whether nothing that is read is left out.
    pub(super) fn takes_all(&self) -> bool {
        self.state.is_none() && self.labels.is_empty()
    }

    /// Whether a task with these labels may be in the list.
    pub(super) fn has_labels<'a>(&self, get: impl Fn(&str) -> Option<&'a String>) -> bool {
        labels::has_all(&self.labels, get)
    }

    /// Whether a task is to be in the list.
    pub(super) fn takes(&self, task: &TaskView) -> bool {
        self.state.is_none_or(|state| task.state.0 == state) && self.has_labels(|key| task.labels.get(key))
    }
}

fn state(word: &str) -> Result<State, ApiError> {
    State::from_word(word).ok_or_else(|| unknown_state(word))
}

/// The refusal of a state that is none, with those there are.
pub(crate) fn unknown_state(word: &str) -> ApiError {
    let known = STATES.into_iter().map(|state| state.word().to_owned()).collect();
    let shown: String = word.chars().take(80).collect();
    ApiError::new(Code::InvalidOption, format!("there is no state {shown:?}")).field("state").known(known)
}

#[cfg(test)]
mod tests {
    use super::{ListTasks, State};

    fn list(pairs: &[(&str, &str)]) -> Result<ListTasks, crate::ApiError> {
        let list = ListTasks::from_pairs("mail".to_owned(), pairs.iter().copied())?;
        list.read().map(|_| list)
    }

    #[test]
    fn what_is_asked_for_arrives() {
        let asked = [("state", "failed"), ("label", "tier:gold"), ("label", "url:http://a"), ("limit", "1000")];
        let list = list(&asked).expect("fine");
        assert_eq!((list.state, list.limit), (Some(State::Failed), Some(1_000)));
        assert_eq!(list.labels.get("url").map(String::as_str), Some("http://a"));
    }

    #[test]
    fn a_mistake_is_named_with_what_would_have_been_right() {
        let state = list(&[("state", "pending")]).expect_err("no such state");
        assert_eq!((state.field.as_deref(), state.known.len()), (Some("state"), 8));
        assert!(list(&[("color", "red")]).expect_err("no such option").known.contains(&"label".to_owned()));
        for (name, value) in [
            ("limit", "0"),
            ("limit", "1001"),
            ("limit", "-1"),
            ("limit", "x"),
            ("limit", "99999999999"),
            ("label", "gold"),
            ("label", ":gold"),
            ("label", "tier:"),
            ("cursor", "x"),
            ("cursor", ""),
            ("state", "unspecified"),
        ] {
            let error = list(&[(name, value)]).expect_err(value);
            assert_eq!((error.code.name(), error.field.as_deref()), ("invalid_option", Some(name)), "{value}");
        }
        for twice in [[("limit", "1"), ("limit", "1")], [("label", "a:1"), ("label", "a:2")]] {
            assert!(list(&twice).is_err(), "{twice:?}");
        }
    }
}
