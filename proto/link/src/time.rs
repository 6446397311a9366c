//! The clock that people read. Decisions about leases use the monotonic clock instead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A time as RFC 3339 in UTC with milliseconds, `2026-11-23T14:00:00.123Z`. Times outside the years 1970 to 9999 are
/// moved to the nearest end, which is a day short: a reader may be anywhere on earth, and jiff takes nothing that would be
/// another year there.
#[must_use]
pub fn rfc3339_ms(unix_ms: i64) -> String {
    const LAST_MS: u64 = 253_402_207_199_999;
    let ms = u64::try_from(unix_ms).unwrap_or(0).min(LAST_MS);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// Reads an RFC 3339 time in UTC into milliseconds since the Unix epoch.
///
/// # Errors
/// When the text is no such time.
pub fn parse_rfc3339(text: &str) -> Result<i64, humantime::TimestampError> {
    let time = humantime::parse_rfc3339(text)?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{parse_rfc3339, rfc3339_ms};

    #[test]
    fn times_are_written_with_milliseconds_and_read_back() {
        assert_eq!(rfc3339_ms(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(parse_rfc3339("2023-11-14T22:13:20.123Z"), Ok(1_700_000_000_123));
        assert_eq!(rfc3339_ms(-5), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339_ms(i64::MAX), "9999-12-30T21:59:59.999Z");
    }
}
