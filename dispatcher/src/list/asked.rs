//! What every list is asked for: how many, from where on, and with which labels.
//!
//! One piece for the lists of tasks, of dead letters and of operations, so that a mistake is refused in the same words in
//! whichever it is made. Each list keeps its own question with named fields, which its callers fill in without a query too;
//! one question with a part that differs was the alternative, and would have put that part between callers and every field.

use std::collections::BTreeMap;

use super::cursor::{NoPlace, Place};
use crate::admit::labels::{self, LABEL};
use crate::error::ApiError;
use crate::limits::LIST_TASKS_MAX;

/// What was asked for, as it stands in a query.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) limit: Option<u32>,
    pub(crate) cursor: Option<String>,
}

/// Reads a query. `own` takes what is this list's own, and says whether it was given before; `None`: it is not its own.
///
/// # Errors
/// When a name is not among `known` or comes twice, or a value cannot be read.
pub(crate) fn read<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    known: &[&str],
    mut own: impl FnMut(&str, &str) -> Result<Option<bool>, ApiError>,
) -> Result<Asked, ApiError> {
    let mut asked = Asked::default();
    for (name, value) in pairs {
        let again = match (own(name, value)?, name) {
            (Some(again), _) => again,
            (None, LABEL) if known.contains(&LABEL) => {
                labels::add(&mut asked.labels, value)?;
                false
            }
            (None, "limit") => {
                let limit = value.parse().map_err(|_| ApiError::invalid_option(name, "not a whole number"))?;
                asked.limit.replace(limit).is_some()
            }
            (None, "cursor") => asked.cursor.replace(value.to_owned()).is_some(),
            (None, other) => {
                let known = known.iter().map(|name| (*name).to_owned()).collect();
                let shown: String = other.chars().take(80).collect();
                return Err(ApiError::invalid_option(&shown, "there is no such option").known(known));
            }
        };
        if again {
            return Err(ApiError::invalid_option(name, "the option is given twice"));
        }
    }
    Ok(asked)
}

/// How many are wanted; `default` where nobody said.
///
/// # Errors
/// When it is nothing, or more than a page has.
pub(crate) fn limit(asked: Option<u32>, default: usize) -> Result<usize, ApiError> {
    let limit = asked.map_or(default, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    if (1..=LIST_TASKS_MAX).contains(&limit) {
        return Ok(limit);
    }
    let detail = format!("limit is {limit}, but must be from 1 to {LIST_TASKS_MAX}");
    Err(ApiError::invalid_option("limit", detail))
}

/// Where the page begins; `None`: at the beginning.
///
/// # Errors
/// When no list has given that cursor.
pub(crate) fn place(cursor: Option<&str>) -> Result<Option<Place>, ApiError> {
    let wrong = |error: NoPlace| ApiError::invalid_option("cursor", error.to_string());
    cursor.map(str::parse).transpose().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::{Asked, limit, read};
    use crate::error::ApiError;

    fn asked(pairs: &[(&str, &str)], known: &[&str]) -> Result<Asked, ApiError> {
        read(pairs.iter().copied(), known, |name, _| Ok((name == "color").then_some(false)))
    }

    #[test]
    fn what_every_list_knows_is_read_and_what_is_its_own_is_left_to_it() {
        let pairs = [("color", "red"), ("limit", "7"), ("label", "a:1"), ("label", "b:2"), ("cursor", "x")];
        let read = asked(&pairs, &["color", "label", "limit", "cursor"]).expect("fine");
        assert_eq!((read.limit, read.labels.len(), read.cursor.as_deref()), (Some(7), 2, Some("x")));
        let unknown = asked(&[("label", "a:1")], &["color", "limit"]).expect_err("a list without labels");
        assert_eq!((unknown.field.as_deref(), unknown.known.len()), (Some("label"), 2));
        assert!(asked(&[("cursor", "x"), ("cursor", "y")], &["cursor"]).expect_err("twice").detail.contains("twice"));
    }

    #[test]
    fn a_page_has_one_at_least_and_a_thousand_at_most() {
        assert_eq!(
            (limit(None, 50).ok(), limit(Some(1), 50).ok(), limit(Some(1_000), 50).ok()),
            (Some(50), Some(1), Some(1_000))
        );
        assert!(limit(Some(0), 50).is_err() && limit(Some(1_001), 50).is_err());
    }
}
