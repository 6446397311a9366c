//! Versions of servers, and which of them a fleet needs. Pure.

/// The first version that has everything that a queue is made of.
pub(super) const VERSION_MIN: (u64, u64) = (2, 14);
/// The first whose replicated streams share their writes to the disk.
pub(super) const VERSION_QUICK: (u64, u64) = (2, 15);

/// `2.15.1` as (2, 15); what cannot be read is (0, 0).
pub(super) fn version_of(text: &str) -> (u64, u64) {
    let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{VERSION_MIN, VERSION_QUICK, version_of};

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version_of("2.9.30") < VERSION_MIN && version_of("2.14.0-beta.1") >= VERSION_MIN);
        assert!(version_of("2.15.1") >= VERSION_QUICK && version_of("dev") < VERSION_MIN);
    }
}
