//! Labels: a caller's own short pairs.
//!
//! They are part of attribute names and of queries, so their keys keep to a small alphabet. They are no part of a task's
//! identity: a repeat of a keyed submit with other labels is the same task, with its first labels.

use std::collections::BTreeMap;

use workfleet_proto::limits::{LABEL_BYTES_MAX, LABELS_MAX};

use crate::error::ApiError;

/// The name under which callers give them.
pub(crate) const LABEL: &str = "label";

/// One label as a query has it: `key:value`. The value may have further colons.
///
/// # Errors
/// When it is no such pair.
pub(crate) fn pair(text: &str) -> Result<(String, String), ApiError> {
    let Some((key, value)) = text.split_once(':') else {
        return Err(ApiError::invalid_option(LABEL, format!("{:?} is no label: write key:value", shown(text))));
    };
    check(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Adds one label as a query has it.
///
/// # Errors
/// When it is no label, or its key is there already, or there are too many.
pub(crate) fn add(labels: &mut BTreeMap<String, String>, text: &str) -> Result<(), ApiError> {
    let (key, value) = pair(text)?;
    let detail = format!("the label {key:?} is given twice");
    if labels.insert(key, value).is_some() {
        return Err(ApiError::invalid_option(LABEL, detail));
    }
    check_count(labels)
}

/// Labels that may travel with a task.
///
/// # Errors
/// When one is no label, or there are too many.
pub(crate) fn check_all(labels: &BTreeMap<String, String>) -> Result<(), ApiError> {
    check_count(labels)?;
    labels.iter().try_for_each(|(key, value)| check(key, value))
}

/// Whether somebody's labels, which `get` reads, have all that are wanted.
pub(crate) fn has_all<'a>(wanted: &BTreeMap<String, String>, get: impl Fn(&str) -> Option<&'a String>) -> bool {
    wanted.iter().all(|(key, value)| get(key) == Some(value))
}

fn check_count(labels: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if labels.len() > LABELS_MAX {
        let detail = format!("a task may have {LABELS_MAX} labels at most");
        return Err(ApiError::invalid_option(LABEL, detail));
    }
    Ok(())
}

fn check(key: &str, value: &str) -> Result<(), ApiError> {
    let wrong = |detail: String| Err(ApiError::invalid_option(LABEL, detail));
    let mut characters = key.bytes();
    let first_is_letter = characters.next().is_some_and(|first| first.is_ascii_lowercase());
    let rest_is_fine =
        characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'.' | b'-'));
    if !first_is_letter || !rest_is_fine || key.len() > LABEL_BYTES_MAX {
        return wrong(format!(
            "the key {:?} is none: a label's key is 1 to {LABEL_BYTES_MAX} of a-z, 0-9, `_`, `.` and `-`, the first a \
             letter",
            shown(key)
        ));
    }
    if value.is_empty() || value.len() > LABEL_BYTES_MAX {
        let bytes = value.len();
        return wrong(format!("the value of {key:?} has {bytes} bytes; a label's value has 1 to {LABEL_BYTES_MAX}"));
    }
    if value.chars().any(char::is_control) {
        return wrong(format!("the value of {key:?} has a control character"));
    }
    Ok(())
}

/// A stranger's text may be long.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, LABELS_MAX, add, check_all, pair};
    use crate::error::Code;

    #[test]
    fn a_label_is_a_key_and_a_value() {
        let read = |text| pair(text).expect("a label");
        assert_eq!(read("order:17"), ("order".to_owned(), "17".to_owned()));
        assert_eq!(read("at:10:30"), ("at".to_owned(), "10:30".to_owned()));
        assert_eq!(read("a.b-c_9:größe 1"), ("a.b-c_9".to_owned(), "größe 1".to_owned()));
        let longest = "k".repeat(63);
        assert_eq!(read(&format!("{longest}:{longest}")), (longest.clone(), longest));
    }

    #[test]
    fn what_is_no_label_is_refused_by_the_name_of_the_option() {
        let long = "k".repeat(64);
        for wrong in [
            "",
            ":",
            "order",
            ":17",
            "order:",
            "Order:17",
            "1a:x",
            "_a:x",
            "a b:x",
            "a*:x",
            "ä:x",
            "a:x\ny",
            "a:\u{7f}",
            &format!("{long}:x"),
            &format!("a:{long}"),
            &format!("a:{}", "ä".repeat(32)),
            &"x".repeat(1 << 20),
        ] {
            let error = pair(wrong).expect_err("no label");
            assert_eq!((error.code, error.field.as_deref()), (Code::InvalidOption, Some("label")), "{wrong:.80}");
            assert!(error.detail.len() < 500, "{}", error.detail);
        }
    }

    #[test]
    fn sixteen_labels_are_enough_and_a_key_comes_once() {
        let mut labels = BTreeMap::new();
        for number in 0..LABELS_MAX {
            add(&mut labels, &format!("k{number}:v")).expect("room");
        }
        assert!(add(&mut labels.clone(), "one-more:v").expect_err("too many").detail.contains("16"));
        assert!(add(&mut labels.clone(), "k0:w").expect_err("twice").detail.contains("twice"));
        check_all(&labels).expect("fine");
        labels.insert("one-more".to_owned(), "v".to_owned());
        assert_eq!(check_all(&labels).expect_err("too many").field.as_deref(), Some("label"));
        assert!(check_all(&BTreeMap::from([("Not this".to_owned(), "v".to_owned())])).is_err());
    }
}
