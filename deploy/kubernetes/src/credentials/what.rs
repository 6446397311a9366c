//! What can be turned over, by its name.

use std::fmt;
use std::str::FromStr;

use workfleet_dispatcher::credentials::{Role, Rotate};

use super::MakeError;
use super::tokens::Holder;

/// Something that is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The key of a role at the broker.
    Role(Role),
    /// A token of the API.
    Token(Holder),
    /// Every certificate, by the same CA.
    Tls,
}

/// Whether the old one stays good for now, or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make a new one; the old one stays good.
    Begin,
    /// End the old one.
    Finish,
    /// Make a new one and end every one before it, at once: for one that was stolen.
    Replace,
}

/// A step for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// For what.
    pub what: What,
    /// Which step.
    pub step: Step,
}

impl Turn {
    /// Makes a new one.
    #[must_use]
    pub fn begin(what: What) -> Self {
        Self { what, step: Step::Begin }
    }

    /// Ends the old one.
    #[must_use]
    pub fn finish(what: What) -> Self {
        Self { what, step: Step::Finish }
    }

    /// What was asked for: something to make anew, something to finish, or both for one and the same.
    ///
    /// # Errors
    /// When they are two things.
    pub fn new(begin: Option<What>, finish: Option<What>) -> Result<Option<Self>, MakeError> {
        match (begin, finish) {
            (Some(new), Some(old)) if new == old => Ok(Some(Self { what: new, step: Step::Replace })),
            (Some(new), Some(old)) => Err(MakeError::TwoThings(new, old)),
            (new, old) => Ok(new.map(Self::begin).or(old.map(Self::finish))),
        }
    }

    /// The step for the holder of a token, if it is for that one.
    pub(super) fn token(&self, holder: Holder) -> Option<Step> {
        (self.what == What::Token(holder)).then_some(self.step)
    }

    /// What it means to the keys of the broker.
    pub(super) fn nats(&self) -> Option<Rotate> {
        match (&self.what, self.step) {
            (What::Role(role), Step::Begin) => Some(Rotate::Begin(role.clone())),
            (What::Role(role), Step::Finish) => Some(Rotate::Finish(role.clone())),
            (What::Role(role), Step::Replace) => Some(Rotate::Replace(role.clone())),
            (What::Token(_) | What::Tls, _) => None,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => role.fmt(f),
            Self::Token(holder) => f.write_str(holder.name()),
            Self::Tls => f.write_str("tls"),
        }
    }
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "tls" {
            return Ok(Self::Tls);
        }
        if let Some(holder) = Holder::ALL.into_iter().find(|holder| holder.name() == text) {
            return Ok(Self::Token(holder));
        }
        let known = "a role of the broker (provision, dispatcher, backup, sys, worker-<queue>), a token (admin, app, scale), or tls";
        text.parse().map(Self::Role).map_err(|_| format!("{text:?} is none of: {known}"))
    }
}
