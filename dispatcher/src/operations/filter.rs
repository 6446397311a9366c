//! What stands in the log of how tasks were chosen, and why.

use std::collections::BTreeMap;

use crate::error::ApiError;
use crate::limits::REASON_CHARS_MAX;

/// A filter in one line, with the names that its options have; `all` where it has no condition.
pub(crate) fn words(others: &[(&str, Option<String>)], labels: &BTreeMap<String, String>) -> String {
    let others = others.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
    let labels = labels.iter().map(|(key, value)| format!("label={key}:{value}"));
    let words: Vec<String> = others.chain(labels).collect();
    if words.is_empty() { "all".to_owned() } else { words.join(" ") }
}

/// A reason as it may stand in a record.
///
/// # Errors
/// When it is too long.
pub(crate) fn reason(text: &str) -> Result<String, ApiError> {
    let chars = text.chars().count();
    if chars > REASON_CHARS_MAX {
        let detail = format!("the reason has {chars} characters; it may have {REASON_CHARS_MAX}");
        return Err(ApiError::invalid_option("reason", detail));
    }
    Ok(text.replace(char::is_control, " ").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{REASON_CHARS_MAX, reason, words};

    #[test]
    fn a_filter_is_one_line_and_one_without_conditions_says_what_it_means() {
        let labels = [("tier".to_owned(), "gold".to_owned()), ("order".to_owned(), "17".to_owned())].into();
        let state = [("state", Some("queued".to_owned())), ("code", None)];
        assert_eq!(words(&state, &labels), "state=queued label=order:17 label=tier:gold");
        assert_eq!(words(&[("code", None)], &Default::default()), "all");
    }

    #[test]
    fn a_reason_is_one_line_and_not_too_long() {
        assert_eq!(reason(" wrong\nbatch ").expect("fine"), "wrong batch");
        let long = reason(&"x".repeat(REASON_CHARS_MAX + 1)).expect_err("too long");
        assert_eq!(long.field.as_deref(), Some("reason"));
    }
}
