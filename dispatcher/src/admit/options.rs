//! What can be asked for beside the payload, as names and values.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::deadline::Deadline;
use super::labels::{self, LABEL};
use crate::error::ApiError;
use crate::view::UnixMs;

/// What can be asked for beside the payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Start no sooner than in this time.
    pub delay: Option<Duration>,
    /// Start no sooner than at this time. Not with `delay`.
    pub at: Option<UnixMs>,
    /// A lane of the queue.
    pub priority: Option<String>,
    /// Tasks with one ordering key share a bucket.
    pub ordering_key: Option<String>,
    /// How often the handler may be started; the default is the queue's.
    pub attempts_max: Option<u32>,
    /// The task is `expired` unless it has ended by then. A child has its parent's, if that is sooner.
    pub deadline: Option<Deadline>,
    /// The longest time of one attempt; the default, and the most, is the queue's.
    pub timeout: Option<Duration>,
    /// Short pairs of the caller's own, kept through retries, results and dead letters: up to 16, with keys as
    /// `[a-z][a-z0-9_.-]{0,62}` and values of 1 to 63 bytes without control characters. They are no part of a task's
    /// identity: a repeat of a keyed submit with others is the same task, with its first ones.
    pub labels: BTreeMap<String, String>,
}

impl Options {
    /// Names of all options.
    pub const NAMES: [&'static str; 8] =
        ["delay", "at", "deadline", "timeout", "priority", "ordering_key", "attempts_max", LABEL];

    /// Reads names and values, as a query has them.
    ///
    /// # Errors
    /// When a name is unknown or comes twice (`label` may), or a value cannot be read.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ApiError> {
        let mut options = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in pairs {
            if name != LABEL && seen.contains(&name) {
                return Err(ApiError::invalid_option(&shorten(name), "the option is given twice"));
            }
            seen.push(name);
            options.set(name, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        match name {
            "delay" => self.delay = Some(duration(name, value)?),
            "at" => self.at = Some(time(name, value)?),
            "deadline" => self.deadline = Some(Deadline::read(name, value)?),
            "timeout" => self.timeout = Some(duration(name, value)?),
            "priority" => self.priority = Some(value.to_owned()),
            "ordering_key" => self.ordering_key = Some(value.to_owned()),
            LABEL => labels::add(&mut self.labels, value)?,
            "attempts_max" => {
                let number = value.parse().map_err(|_| ApiError::invalid_option(name, "not a whole number"))?;
                self.attempts_max = Some(number);
            }
            other => {
                let known = Self::NAMES.map(ToOwned::to_owned).to_vec();
                return Err(ApiError::invalid_option(&shorten(other), "there is no such option").known(known));
            }
        }
        Ok(())
    }
}

/// A time with its unit: `1500ms`, `10s`, `5m`.
pub(crate) fn duration(name: &str, value: &str) -> Result<Duration, ApiError> {
    humantime::parse_duration(value)
        .map_err(|error| ApiError::invalid_option(name, format!("not a duration: {error}; write 1500ms, 10s or 5m")))
}

pub(crate) fn time(name: &str, value: &str) -> Result<UnixMs, ApiError> {
    let wrong = |error: jiff::Error| {
        let detail = format!("not a time: {error}; write RFC 3339, 2026-11-23T14:00:00Z (+ is %2B in a query)");
        ApiError::invalid_option(name, detail)
    };
    value.parse::<Timestamp>().map(|time| UnixMs(time.as_millisecond())).map_err(wrong)
}

/// A stranger's name may be long.
fn shorten(name: &str) -> String {
    name.chars().take(80).collect()
}
