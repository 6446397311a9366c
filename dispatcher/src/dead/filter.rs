//! Which dead letters are asked for.

use std::collections::BTreeMap;

use super::letter::Letter;
use crate::admit;
use crate::admit::labels::{self, LABEL};
use crate::error::ApiError;
use crate::limits::LIST_TASKS_DEFAULT;
use crate::list::asked::{self, Asked};
use crate::list::{Place, Stage};
use crate::operations;
use crate::view::UnixMs;

/// Which dead letters of a queue; all conditions together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// Only letters whose failure has this code.
    pub code: Option<String>,
    /// Only letters of tasks that have all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only letters that died before this time.
    pub before: Option<UnixMs>,
    /// Only letters that died at this time or later.
    pub after: Option<UnixMs>,
    /// Most letters of a page, or that one call looks at, 1 to 1,000.
    pub limit: Option<u32>,
    /// `next` of the page before; `None`: the first page.
    pub cursor: Option<String>,
}

/// A question for a page of a queue's dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListDead {
    /// The queue's name.
    pub queue: String,
    /// Which.
    pub filter: DeadFilter,
}

/// The same, read.
#[derive(Debug)]
pub(super) struct Wanted {
    filter: DeadFilter,
    pub(super) limit: usize,
    pub(super) place: Place,
}

impl DeadFilter {
    /// What a query may name.
    pub const NAMES: [&'static str; 6] = ["code", LABEL, "before", "after", "limit", "cursor"];

    /// Reads names and values, as a query has them. `label` may come more than once.
    ///
    /// # Errors
    /// When a name is unknown or comes twice, or a value cannot be read.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ApiError> {
        let mut filter = Self::default();
        let Asked { labels, limit, cursor } = asked::read(pairs, &Self::NAMES, |name, value| match name {
            "code" => Ok(Some(filter.code.replace(value.to_owned()).is_some())),
            "before" => Ok(Some(filter.before.replace(admit::time(name, value)?).is_some())),
            "after" => Ok(Some(filter.after.replace(admit::time(name, value)?).is_some())),
            _ => Ok(None),
        })?;
        Ok(Self { labels, limit, cursor, ..filter })
    }

    /// For the operators' log.
    pub(super) fn words(&self) -> String {
        let time = |at: Option<UnixMs>| at.map(|at| at.to_string());
        let others = [("code", self.code.clone()), ("before", time(self.before)), ("after", time(self.after))];
        operations::words(&others, &self.labels)
    }

    /// Checks everything that does not depend on the queue.
    pub(super) fn read(&self, limit_default: usize) -> Result<Wanted, ApiError> {
        let limit = asked::limit(self.limit, limit_default)?;
        labels::check_all(&self.labels)?;
        let place = asked::place(self.cursor.as_deref())?.unwrap_or(Place::before(Stage::Dead));
        if place.stage != Stage::Dead {
            return Err(ApiError::invalid_option("cursor", "the cursor was given by another list"));
        }
        Ok(Wanted { filter: self.clone(), limit, place })
    }
}

impl ListDead {
    pub(super) fn read(&self) -> Result<Wanted, ApiError> {
        self.filter.read(LIST_TASKS_DEFAULT)
    }
}

impl Wanted {
    /// Whether a letter is to be in the list.
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        let Self { filter, .. } = self;
        let code = letter.result.failure.as_ref().map(|failure| failure.code.as_str());
        filter.code.as_deref().is_none_or(|wanted| code == Some(wanted))
            && labels::has_all(&filter.labels, |key| letter.result.labels.get(key))
            && filter.before.is_none_or(|before| letter.dead_at_ms < before.0)
            && filter.after.is_none_or(|after| letter.dead_at_ms >= after.0)
    }

    /// Whether nothing that was stored before this time can be in it. A letter is stored after its task died, by another
    /// clock.
    pub(super) fn is_past(&self, stored_at_ms: i64) -> bool {
        const CLOCKS_DIFFER_MS_MAX: i64 = 300_000;
        self.filter.after.is_some_and(|after| stored_at_ms.saturating_add(CLOCKS_DIFFER_MS_MAX) < after.0)
    }

    /// Whether nothing that is read is left out.
    pub(super) fn takes_all(&self) -> bool {
        let DeadFilter { code, labels, before, after, .. } = &self.filter;
        code.is_none() && labels.is_empty() && before.is_none() && after.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::DeadFilter;

    fn refused(pairs: &[(&str, &str)]) -> crate::ApiError {
        let read = DeadFilter::from_pairs(pairs.iter().copied()).and_then(|filter| filter.read(50).map(|_| ()));
        read.expect_err("a mistake")
    }

    #[test]
    fn what_is_asked_for_arrives() {
        let asked = [("code", "bad_image"), ("label", "tier:gold"), ("before", "2026-11-23T14:00:00Z"), ("limit", "7")];
        let filter = DeadFilter::from_pairs(asked).expect("fine");
        assert_eq!((filter.code.as_deref(), filter.limit), (Some("bad_image"), Some(7)));
        assert_eq!(filter.before.map(|at| at.to_string()).as_deref(), Some("2026-11-23T14:00:00.000Z"));
    }

    #[test]
    fn a_mistake_is_named_with_what_would_have_been_right() {
        assert!(refused(&[("state", "failed")]).known.contains(&"code".to_owned()));
        for (name, value) in
            [("limit", "0"), ("limit", "1001"), ("before", "yesterday"), ("after", ""), ("cursor", "x"), ("label", "a")]
        {
            assert_eq!(refused(&[(name, value)]).field.as_deref(), Some(name), "{value}");
        }
        assert!(refused(&[("code", "a"), ("code", "b")]).detail.contains("twice"));
    }
}
