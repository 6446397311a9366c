//! What an answer's status means.

use std::time::{Duration, SystemTime};

use http::StatusCode;

use crate::error::Fate;
use crate::retry_after;

/// `None` is success. `retry_after` is the header of that name.
pub(crate) fn fate(status: StatusCode, retry_after: Option<&str>, now: SystemTime) -> Option<Fate> {
    let after = || -> Option<Duration> { retry_after.and_then(|text| retry_after::read(text, now)) };
    Some(match status.as_u16() {
        200..=299 => return None,
        300..=399 => Fate::Never { code: "redirected" },
        // Each of them says that the same request may do well at another time.
        408 | 409 | 423 | 425 => Fate::Again { code: "not_now", after: after() },
        410 => Fate::Never { code: "gone" },
        429 => Fate::Again { code: "throttled", after: after() },
        500..=599 => Fate::Again { code: "server_error", after: after() },
        // What HTTP does not know is refused as other mistakes are.
        _ => Fate::Never { code: "rejected" },
    })
}

#[cfg(test)]
mod tests {
    use super::fate;
    use crate::error::Fate;
    use http::StatusCode;
    use std::time::{Duration, SystemTime};

    #[test]
    fn each_status_has_its_fate() {
        let of = |status: u16| fate(StatusCode::from_u16(status).unwrap(), Some("3"), SystemTime::UNIX_EPOCH);
        let after = Some(Duration::from_secs(3));
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(of(status), None, "{status}");
        }
        let again = [
            (408, "not_now"),
            (409, "not_now"),
            (423, "not_now"),
            (425, "not_now"),
            (429, "throttled"),
            (500, "server_error"),
            (503, "server_error"),
            (599, "server_error"),
        ];
        for (status, code) in again {
            assert_eq!(of(status), Some(Fate::Again { code, after }), "{status}");
        }
        let never = [
            (300, "redirected"),
            (301, "redirected"),
            (304, "redirected"),
            (308, "redirected"),
            (400, "rejected"),
            (401, "rejected"),
            (404, "rejected"),
            (410, "gone"),
            (499, "rejected"),
            (101, "rejected"),
            (600, "rejected"),
            (999, "rejected"),
        ];
        for (status, code) in never {
            assert_eq!(of(status), Some(Fate::Never { code }), "{status}");
        }
    }
}
