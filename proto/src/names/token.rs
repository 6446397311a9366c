//! The two words in a name that are chosen: the fleet's prefix and a task's lane.

use std::str::FromStr;

/// What stands before every subject and stream, so that two fleets can share one account.
///
/// With the default, `wf`, streams have their bare names; with any other prefix, say `blue`, subjects begin with
/// `blue.` and streams and buckets with `BLUE_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(pub(super) String);

impl Default for Prefix {
    fn default() -> Self {
        Self("wf".to_owned())
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let fine = text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let starts_with_letter = text.bytes().next().is_some_and(|c| c.is_ascii_lowercase());
        if fine && starts_with_letter && text.len() <= 16 { Ok(Self(text.to_owned())) } else { Err(PrefixError) }
    }
}

/// The text is not a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a prefix is 1 to 16 characters, a-z and 0-9, and starts with a letter")]
pub struct PrefixError;

/// A group of tasks in a queue with a consumer of its own, `[a-z]`. `m` is the only one unless the queue asks for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(char);

impl Lane {
    /// The lane of tasks that ask for none.
    pub const DEFAULT: Self = Self('m');
}

impl FromStr for Lane {
    type Err = LaneError;

    fn from_str(text: &str) -> Result<Self, LaneError> {
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(letter), None) if letter.is_ascii_lowercase() => Ok(Self(letter)),
            _ => Err(LaneError),
        }
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The text is not a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lane is one letter, a-z")]
pub struct LaneError;
