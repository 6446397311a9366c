//! Whether this client gets its answers.
//!
//! A role of the broker may subscribe to inboxes of its own alone. A process with its key and another inbox prefix logs
//! in, asks, and is never answered, which looks like a broker that is down. The server does say what it refused; that
//! is the one sign of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{BrokerError, InboxPrefix};

/// How a server begins when it refuses a subscription. What follows is the subject, in quotes.
const REFUSED: &str = "Permissions Violation for Subscription to \"";

/// The same of a publish.
const PUBLISH_REFUSED: &str = "Permissions Violation for Publish to \"";
/// Subjects of refused publishes that are remembered.
const SUBJECTS_MAX: usize = 256;

/// What a connection knows of its answers.
#[derive(Debug)]
pub(super) struct Answers {
    inbox: InboxPrefix,
    refused: AtomicBool,
    publishes: Mutex<BTreeSet<String>>,
}

impl Answers {
    pub(super) fn new(inbox: InboxPrefix) -> Self {
        Self { inbox, refused: AtomicBool::new(false), publishes: Mutex::default() }
    }

    /// Hears what the server says is wrong, and logs it. That answers are refused is logged once, and in words that help.
    pub(super) fn hear(&self, error: &async_nats::ServerError) {
        let words = error.to_string();
        self.remember(&words);
        if !self.is_refusal(&words) {
            // A permission violation names its subject here, and nowhere else.
            tracing::error!(%error, "the broker refuses");
        } else if self.refused.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "the broker refuses");
        } else {
            let refusal = self.refusal().map(|refusal| refusal.to_string()).unwrap_or_default();
            tracing::error!(%error, "{refusal}");
        }
    }

    /// What the server has said of answers to this client, if it refuses them.
    pub(super) fn refusal(&self) -> Option<BrokerError> {
        let inbox = || self.inbox.as_str().to_owned();
        self.refused.load(Ordering::Relaxed).then(|| BrokerError::AnswersRefused { inbox: inbox() })
    }

    /// Subjects that this client may not publish to, as far as it tried: requests to them are never answered.
    pub(super) fn refused_publishes(&self) -> Vec<String> {
        self.publishes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn remember(&self, words: &str) {
        let subject = words.split_once(PUBLISH_REFUSED).and_then(|(_, rest)| rest.split('"').next());
        let mut publishes = self.publishes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(subject) = subject.filter(|_| publishes.len() < SUBJECTS_MAX) {
            publishes.insert(subject.to_owned());
        }
    }

    fn is_refusal(&self, words: &str) -> bool {
        let subject = words.split_once(REFUSED).map(|(_, subject)| subject);
        let rest = subject.and_then(|subject| subject.strip_prefix(self.inbox.as_str()));
        rest.is_some_and(|rest| rest.starts_with('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::Answers;

    #[test]
    fn only_a_refused_inbox_of_this_client_is_its_answers() {
        let answers = Answers::new("_INBOX".parse().expect("a prefix"));
        for (subject, refused) in [("_INBOX.a1.*", true), ("_INBOX_provision.a1.*", false), ("wf.call.mail", false)] {
            let words = format!("nats: Permissions Violation for Subscription to \"{subject}\"");
            assert_eq!(answers.is_refusal(&words), refused, "{subject}");
        }
        assert!(
            !answers.is_refusal("nats: Permissions Violation for Publish to \"_INBOX.a1.b\""),
            "an answer to another"
        );
    }

    #[test]
    fn a_refused_publish_is_remembered_by_its_subject() {
        let answers = Answers::new("_INBOX".parse().expect("a prefix"));
        answers.remember("nats: Permissions Violation for Publish to \"$JS.API.INFO\"");
        answers.remember("nats: Permissions Violation for Subscription to \"a.b\"");
        assert_eq!(answers.refused_publishes(), ["$JS.API.INFO"]);
    }
}
