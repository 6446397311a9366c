//! Further headers that a task may set.
//!
//! What is allowed is listed, rather than what is not: a list of dangerous headers is never complete, and one that was
//! forgotten would let a task say who a mail is from, or what kind of body it has.

use std::collections::HashMap;

use lettre::message::header::{HeaderName, HeaderValue};

use crate::error::MailError;

/// Most further headers of a mail.
const HEADERS_MAX: usize = 32;
/// Longest name, and longest value, in bytes. No line of a mail may have more than 998.
const NAME_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 900;
/// Names that may be set, in lower case.
const ALLOWED: [&str; 12] = [
    "auto-submitted",
    "comments",
    "feedback-id",
    "importance",
    "in-reply-to",
    "keywords",
    "organization",
    "precedence",
    "priority",
    "references",
    "thread-index",
    "thread-topic",
];
/// What names may begin with, and what not although they would be allowed: those are our own.
const ALLOWED_PREFIXES: [&str; 2] = ["list-", "x-"];
const OWN_PREFIX: &str = "x-workfleet-";

/// Whether a reader may take a part of `text` for an encoded word, as in `=?utf-8?q?=0D=0A?=`, and show what it hides.
/// The mail library passes such words on as they are, and readers decode them wherever they stand.
pub(crate) fn has_encoded_word(text: &str) -> bool {
    text.split_once("=?").is_some_and(|(_, rest)| rest.contains("?="))
}

/// The headers, in the order of their names, so that a mail that is sent again looks the same.
pub(crate) fn further(headers: &HashMap<String, String>) -> Result<Vec<HeaderValue>, MailError> {
    if headers.len() > HEADERS_MAX {
        return Err(MailError::InvalidHeader { name: String::new(), reason: "more than 32 of them" });
    }
    let mut sorted: Vec<(String, &String, &String)> =
        headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), name, value)).collect();
    sorted.sort_unstable();
    for pair in sorted.windows(2) {
        if pair[0].0 == pair[1].0 {
            return Err(invalid(pair[1].1, "it is there twice, in upper and in lower case"));
        }
    }
    sorted.into_iter().map(|(lower, name, value)| header(&lower, name, value)).collect()
}

fn header(lower: &str, name: &str, value: &str) -> Result<HeaderValue, MailError> {
    check_name(lower).map_err(|reason| invalid(name, reason))?;
    let value = value.trim();
    if value.chars().any(char::is_control) {
        return Err(invalid(name, "a line break or another control character in its value"));
    }
    if has_encoded_word(value) {
        return Err(invalid(name, "an encoded word in its value: write the text itself"));
    }
    if value.is_empty() || value.len() > VALUE_BYTES_MAX {
        return Err(invalid(name, "a value has 1 to 900 bytes"));
    }
    let name = HeaderName::new_from_ascii(name.to_owned()).map_err(|_| invalid(name, "it is no name"))?;
    Ok(HeaderValue::new(name, value.to_owned()))
}

fn check_name(lower: &str) -> Result<(), &'static str> {
    if lower.len() > NAME_BYTES_MAX || !lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err("a name has up to 64 letters, digits and -");
    }
    let allowed = ALLOWED.contains(&lower)
        || ALLOWED_PREFIXES.iter().any(|prefix| lower.len() > prefix.len() && lower.starts_with(prefix));
    if !allowed || lower.starts_with(OWN_PREFIX) {
        return Err("a task may not set it");
    }
    Ok(())
}

/// The name goes into logs and on terminals, so it is shown without what it tried to smuggle in.
fn invalid(name: &str, reason: &'static str) -> MailError {
    let name = name.chars().filter(|c| !c.is_control()).take(NAME_BYTES_MAX).collect();
    MailError::InvalidHeader { name, reason }
}

#[cfg(test)]
mod tests {
    use super::{HashMap, further};

    fn code(name: &str, value: &str) -> Option<&'static str> {
        let headers = HashMap::from([(name.to_owned(), value.to_owned())]);
        further(&headers).err().map(|error| error.code())
    }

    #[test]
    fn what_is_listed_may_be_set() {
        for name in ["List-Unsubscribe", "X-Campaign", "x-a", "Auto-Submitted", "precedence", "References"] {
            assert_eq!(code(name, "<https://example.org/leave?id=1> ü"), None, "{name}");
        }
    }

    #[test]
    fn everything_else_may_not() {
        let names = [
            "From",
            "to",
            "Cc",
            "BCC",
            "Sender",
            "Subject",
            "Date",
            "Message-ID",
            "Reply-To",
            "Return-Path",
            "Received",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
            "DKIM-Signature",
            "Resent-To",
            "X-",
            "X-Workfleet-Task-Id",
            "",
            "X Y",
            "X:",
            "X-A\r\nBcc",
            "X-A\0",
            "X-É",
            "X-A ",
        ];
        for name in names {
            assert_eq!(code(name, "x"), Some("invalid_header"), "{name:?}");
        }
        assert_eq!(code(&format!("X-{}", "a".repeat(63)), "x"), Some("invalid_header"));
    }

    #[test]
    fn a_value_is_one_line() {
        for value in
            ["a\r\nBcc: eve@example.org", "a\nb", "a\rb", "a\0b", "a\u{1b}[2J", "a\u{85}b", "", "  ", "=?utf-8?q?=0D?="]
        {
            assert_eq!(code("X-A", value), Some("invalid_header"), "{value:?}");
        }
        assert_eq!(code("X-A", &"a".repeat(901)), Some("invalid_header"));
        assert_eq!(code("X-A", &"a".repeat(900)), None);
    }

    #[test]
    fn a_name_is_there_once_and_not_too_many_of_them() {
        let pairs = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        assert!(further(&pairs(&["X-A", "x-a"])).is_err());
        let many: Vec<String> = (0..33).map(|number| format!("X-{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(further(&pairs(&many)).is_err());
        assert_eq!(further(&pairs(&many[..32])).map(|headers| headers.len()), Ok(32));
    }
}
