//! What a caller may do, and to which queues.
//!
//! A grant is queues times actions. Rules per queue ("submit here, read there") would say more; two tokens say the same,
//! and whoever reads a list of tokens sees at once what each one opens.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use workfleet_proto::id::{IdError, QueueName};

use crate::error::{ApiError, Code};

/// Something that a caller wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Submit, call, upload and delete blobs, cancel.
    Submit,
    /// Read tasks, outputs, events, lists, queues, blobs, descriptions and metrics.
    Read,
    /// Read the number that an autoscaler needs, and nothing else. `read` allows it too.
    Scale,
    /// Pause, resume, dead letters, redrive.
    Operate,
}

impl Action {
    /// Every action, in the order in which they are listed for people.
    pub const ALL: [Self; 4] = [Self::Submit, Self::Read, Self::Scale, Self::Operate];

    /// The action as it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Scale => "scale",
            Self::Operate => "operate",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text is no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an action is submit, read, scale or operate")]
pub struct ActionError;

impl FromStr for Action {
    type Err = ActionError;

    fn from_str(text: &str) -> Result<Self, ActionError> {
        Self::ALL.into_iter().find(|action| action.name() == text).ok_or(ActionError)
    }
}

/// The queues of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queues {
    /// All there are and will be; written `*`.
    All,
    /// These alone.
    Only(BTreeSet<QueueName>),
}

/// Why a list of queues is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueuesError {
    /// It is empty.
    #[error("name at least one queue, or `*` for all")]
    Empty,
    /// All, and some.
    #[error("`*` means all queues and stands alone")]
    AllAndSome,
    /// One of them is no name.
    #[error("{0:?}: {1}")]
    Name(String, IdError),
}

impl Queues {
    /// Reads a list as it is written: names, or `*` alone.
    ///
    /// # Errors
    /// When it is empty, mixed, or has what is no name.
    pub fn from_names<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, QueuesError> {
        let names: Vec<&str> = names.into_iter().collect();
        match names.as_slice() {
            [] => Err(QueuesError::Empty),
            ["*"] => Ok(Self::All),
            some if some.contains(&"*") => Err(QueuesError::AllAndSome),
            some => some
                .iter()
                .map(|name| name.parse().map_err(|error| QueuesError::Name(shown(name), error)))
                .collect::<Result<_, _>>()
                .map(Self::Only),
        }
    }

    /// The list as it is written.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::All => vec!["*"],
            Self::Only(names) => names.iter().map(QueueName::as_str).collect(),
        }
    }

    fn contain(&self, queue: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|name| name.as_str() == queue),
        }
    }
}

/// What one caller may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who it is, for logs and traces; never the token.
    pub name: String,
    /// To which queues.
    pub queues: Queues,
    /// What.
    pub may: BTreeSet<Action>,
}

impl Grant {
    /// Everything: for whoever is on the same machine as a dispatcher without authentication.
    #[must_use]
    pub fn everything(name: &str) -> Self {
        Self { name: name.to_owned(), queues: Queues::All, may: Action::ALL.into() }
    }

    /// Whether the caller may do this to that queue. The refusal says the same for a queue that does not exist: whoever
    /// may not use a queue is not to learn whether there is one.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn check(&self, action: Action, queue: &str) -> Result<(), ApiError> {
        self.check_some(action)?;
        if self.queues.contain(queue) {
            return Ok(());
        }
        let detail = format!("{:?} may not {action} in the queue {:?}", self.name, shown(queue));
        Err(ApiError::new(Code::Forbidden, detail))
    }

    /// Whether the caller may do this to any queue at all.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn check_some(&self, action: Action) -> Result<(), ApiError> {
        let allowed = self.may.contains(&action) || (action == Action::Scale && self.may.contains(&Action::Read));
        if allowed { Ok(()) } else { Err(self.lacks(&format!("`{action}`"))) }
    }

    /// Whether the caller may do this to every queue.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn check_all(&self, action: Action) -> Result<(), ApiError> {
        self.check_some(action)?;
        match self.queues {
            Queues::All => Ok(()),
            Queues::Only(_) => Err(self.lacks(&format!("`{action}` for all queues (`*`)"))),
        }
    }

    /// Whether the caller may know of this queue.
    #[must_use]
    pub fn sees(&self, queue: &str) -> bool {
        self.queues.contain(queue)
    }

    /// The same error without the names of queues that the caller may not know of.
    #[must_use]
    pub fn censored(&self, error: ApiError) -> ApiError {
        if error.code != Code::UnknownQueue || self.queues == Queues::All {
            return error;
        }
        let known = error.known.iter().filter(|queue| self.sees(queue)).cloned().collect();
        error.known(known)
    }

    fn lacks(&self, what: &str) -> ApiError {
        ApiError::new(Code::Forbidden, format!("{:?} has no permission to {what}", self.name))
    }
}

/// A stranger's text is not to fill our answers.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::{Action, Grant, Queues, QueuesError};
    use crate::error::{ApiError, Code};

    fn grant(queues: &[&str], may: &[Action]) -> Grant {
        let queues = Queues::from_names(queues.iter().copied()).expect("good names");
        Grant { name: "product".to_owned(), queues, may: may.iter().copied().collect() }
    }

    #[test]
    fn a_grant_is_queues_times_actions() {
        let grant = grant(&["mail", "post"], &[Action::Submit]);
        assert!(grant.check(Action::Submit, "mail").is_ok());
        assert!(grant.check(Action::Submit, "post").is_ok());
        for (action, queue) in [(Action::Read, "mail"), (Action::Submit, "mai"), (Action::Submit, "")] {
            assert_eq!(grant.check(action, queue).expect_err("not granted").code, Code::Forbidden);
        }
        assert!(grant.check_all(Action::Submit).is_err());
    }

    #[test]
    fn all_queues_are_also_those_that_do_not_exist_yet() {
        let grant = grant(&["*"], &[Action::Read]);
        assert!(grant.check(Action::Read, "anything").is_ok());
        assert!(grant.check_all(Action::Read).is_ok());
        assert!(grant.check(Action::Operate, "anything").is_err());
    }

    #[test]
    fn who_reads_may_scale_and_not_the_other_way_round() {
        assert!(grant(&["mail"], &[Action::Read]).check(Action::Scale, "mail").is_ok());
        assert!(grant(&["mail"], &[Action::Scale]).check(Action::Read, "mail").is_err());
        assert!(grant(&["mail"], &[Action::Submit]).check(Action::Scale, "mail").is_err());
    }

    #[test]
    fn a_refusal_does_not_tell_whether_there_is_such_a_queue() {
        let known = ApiError::new(Code::UnknownQueue, "there is no queue").known(vec!["mail".into(), "post".into()]);
        let few = grant(&["mail"], &[Action::Read]);
        assert_eq!(few.censored(known.clone()).known, ["mail"]);
        assert_eq!(Grant::everything("anybody").censored(known).known.len(), 2);
    }

    #[test]
    fn a_list_of_queues_has_names_or_stands_for_all() {
        assert_eq!(Queues::from_names([]), Err(QueuesError::Empty));
        assert_eq!(Queues::from_names(["mail", "*"]), Err(QueuesError::AllAndSome));
        assert!(matches!(Queues::from_names(["Mail"]), Err(QueuesError::Name(..))));
        assert_eq!(Queues::from_names(["b", "a", "a"]).expect("names").names(), ["a", "b"]);
        assert_eq!(Queues::from_names(["*"]).expect("all").names(), ["*"]);
    }
}
