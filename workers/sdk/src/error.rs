//! How a handler says that it failed.
//!
//! [`TaskError`] does not implement `std::error::Error`, as in `anyhow`: only so can `?` turn every error into one. The
//! alternative, an enum that authors convert into by hand, makes them decide on each line what is nearly always the
//! same: try again.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use workfleet_proto::limits::{FAILURE_CODE_BYTES_MAX, FAILURE_MESSAGE_BYTES_MAX, cut};
use workfleet_proto::v1::Failure;

use crate::blobs::BlobError;

/// Longest wait before the next attempt: seven days.
pub(crate) const RETRY_DELAY_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The code of a failure that names none.
pub(crate) const CODE_DEFAULT: &str = "error";

/// A handler's failure: tried again with backoff, unless it is [permanent](TaskError::permanent).
///
/// Every error becomes one through `?`; [`ResultExt`] says more about it.
///
/// ```
/// use workfleet_sdk::{ResultExt, TaskError};
///
/// fn width(text: &str) -> Result<u32, TaskError> {
///     if text.is_empty() {
///         return Err(TaskError::permanent("no_width", "the width is missing"));
///     }
///     text.parse::<u32>().permanent("bad_width")
/// }
/// assert_eq!(width("80").ok(), Some(80));
/// let error = width("x").unwrap_err();
/// assert_eq!((error.code(), error.is_permanent()), ("bad_width", true));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TaskError {
    code: String,
    message: String,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Retry { after: Option<Duration> },
    Permanent,
}

impl TaskError {
    /// A failure that may go away. The code is what clients see: `[a-z][a-z0-9_]*`.
    ///
    /// ```
    /// let error = workfleet_sdk::TaskError::retryable("upstream_down", "no answer from the image server");
    /// assert!(!error.is_permanent());
    /// ```
    #[must_use]
    pub fn retryable(code: &str, message: impl fmt::Display) -> Self {
        Self::new(code, &message, Fate::Retry { after: None })
    }

    /// A failure that will not go away: the task fails at once, and its dead letter is kept.
    #[must_use]
    pub fn permanent(code: &str, message: impl fmt::Display) -> Self {
        Self::new(code, &message, Fate::Permanent)
    }

    /// The same failure, tried again after this time instead of the queue's backoff. Longer waits are cut
    /// to seven days, and to half of the queue's `retention` (12 hours by default): a retry must find how its task ended.
    ///
    /// ```
    /// use std::time::Duration;
    /// let error = workfleet_sdk::TaskError::retryable("busy", "come back later").retry_after(Duration::from_secs(30));
    /// assert_eq!(error.delay(), Some(Duration::from_secs(30)));
    /// ```
    #[must_use]
    pub fn retry_after(self, delay: Duration) -> Self {
        Self { fate: Fate::Retry { after: Some(delay.min(RETRY_DELAY_MAX)) }, ..self }
    }

    fn new(code: &str, message: &dyn fmt::Display, fate: Fate) -> Self {
        let message = message.to_string();
        Self { code: clean_code(code), message: cut(&message, FAILURE_MESSAGE_BYTES_MAX).to_owned(), fate }
    }

    fn into_permanent(self, code: &str) -> Self {
        Self { code: clean_code(code), fate: Fate::Permanent, ..self }
    }

    /// The stable code, for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The message, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether it is never tried again.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.fate == Fate::Permanent
    }

    /// The wait before the next attempt, where the handler asked for one.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        match self.fate {
            Fate::Retry { after } => after,
            Fate::Permanent => None,
        }
    }

    pub(crate) fn failure(&self) -> Failure {
        Failure { code: self.code.clone(), message: self.message.clone() }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for TaskError {
    fn from(error: E) -> Self {
        // An error of this crate knows better than any caller what another attempt can change.
        let any: &dyn Any = &error;
        match any.downcast_ref::<BlobError>() {
            Some(error) => error.failure(),
            None => Self::retryable(CODE_DEFAULT, Chain(&error)),
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskError")
            .field("code", &self.code)
            .field("message", &self.message)
            .field("fate", &self.fate)
            .finish()
    }
}

/// An error with all its causes in one line.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written = self.0.to_string();
        f.write_str(&written)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many libraries repeat the cause in their own text.
            if !written.contains(&text) {
                write!(f, ": {text}")?;
            }
            written = text;
            cause = error.source();
        }
        Ok(())
    }
}

/// Says more about an error on its way out of a handler.
///
/// ```
/// use std::time::Duration;
/// use workfleet_sdk::{ResultExt, TaskError};
///
/// fn read(bytes: &[u8]) -> Result<&str, TaskError> {
///     std::str::from_utf8(bytes).permanent("not_text")
/// }
/// fn ask() -> Result<String, TaskError> {
///     std::fs::read_to_string("/no/such/file").retry_after(Duration::from_secs(5))
/// }
/// assert!(read(&[0xff]).unwrap_err().is_permanent());
/// assert_eq!(ask().unwrap_err().delay(), Some(Duration::from_secs(5)));
/// ```
pub trait ResultExt<T>: Sized {
    /// Never again; the code is what clients see.
    ///
    /// # Errors
    /// The same error, made permanent.
    fn permanent(self, code: &str) -> Result<T, TaskError>;

    /// Again, but not before this time has passed, of which seven days count at most.
    ///
    /// # Errors
    /// The same error, with that wait.
    fn retry_after(self, delay: Duration) -> Result<T, TaskError>;
}

impl<T, E: Into<TaskError>> ResultExt<T> for Result<T, E> {
    fn permanent(self, code: &str) -> Result<T, TaskError> {
        self.map_err(|error| error.into().into_permanent(code))
    }

    fn retry_after(self, delay: Duration) -> Result<T, TaskError> {
        self.map_err(|error| error.into().retry_after(delay))
    }
}

/// Codes are `[a-z][a-z0-9_]*`: what is not becomes so, since a handler must not fail for the spelling of its failure.
fn clean_code(code: &str) -> String {
    let mut clean: String = code
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' })
        .collect();
    if !clean.starts_with(|c: char| c.is_ascii_lowercase()) {
        clean.insert_str(0, if clean.is_empty() { CODE_DEFAULT } else { "e_" });
    }
    cut(&clean, FAILURE_CODE_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{RETRY_DELAY_MAX, ResultExt, TaskError, clean_code};
    use std::time::Duration;

    #[derive(Debug, thiserror::Error)]
    #[error("the page is gone")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn any_error_is_tried_again_and_tells_its_causes() {
        let error = TaskError::from(Outer(std::io::Error::other("no route")));
        assert_eq!(error.to_string(), "error: the page is gone: no route");
        assert!(!error.is_permanent() && error.delay().is_none());
    }

    #[test]
    fn a_cause_that_is_told_already_is_not_told_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot fetch: {0}")]
        struct Repeats(#[source] std::io::Error);
        assert_eq!(TaskError::from(Repeats(std::io::Error::other("x y"))).message(), "cannot fetch: x y");
    }

    #[test]
    fn the_last_word_on_a_failure_counts() {
        let retryable = || Err::<(), _>(std::io::Error::other("x"));
        assert!(retryable().retry_after(Duration::from_secs(1)).permanent("gone").unwrap_err().is_permanent());
        let again = retryable().permanent("gone").retry_after(Duration::from_secs(1)).unwrap_err();
        assert_eq!((again.code(), again.delay()), ("gone", Some(Duration::from_secs(1))));
    }

    #[test]
    fn a_wait_has_an_end() {
        let error = TaskError::retryable("busy", "later").retry_after(Duration::MAX);
        assert_eq!(error.delay(), Some(RETRY_DELAY_MAX));
    }

    #[test]
    fn codes_are_made_to_fit() {
        assert_eq!(clean_code("bad_image"), "bad_image");
        assert_eq!(clean_code("Bad-Image!"), "bad_image_");
        assert_eq!(clean_code("404"), "e_404");
        assert_eq!(clean_code(""), "error");
        assert_eq!(clean_code(&"x".repeat(100)).len(), 64);
    }

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(TaskError::permanent("x", "ä".repeat(2_000)).message().len(), 1_024);
    }
}
