//! `Retry-After`: seconds, or a date.

use std::time::{Duration, SystemTime};

/// Longest wait that a receiver can ask for. Beyond it a task would be held by somebody who means to be gone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait that is asked for; `None` where there is none, or no sense in it, so that the queue's backoff decides. A
/// receiver that says "at once" is left to the backoff too: it is not well.
pub(crate) fn read(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?
    };
    (!wait.is_zero()).then_some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::{RETRY_AFTER_MAX, read};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn seconds_and_dates_are_read_and_no_wait_is_endless() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let cases = [
            ("3", seconds(3)),
            (" 120 ", seconds(120)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", seconds(30)),
            ("99999999999999999999999999", Some(RETRY_AFTER_MAX)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(RETRY_AFTER_MAX)),
            ("0", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("", None),
            ("-5", None),
            ("3.5", None),
            ("soon", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, now), expected, "{text:?}");
        }
    }
}
