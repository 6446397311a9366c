//! Further headers that a task may set.
//!
//! What is allowed is listed, rather than what is not: a list of dangerous headers is never complete, and one that was
//! forgotten would let a task say who a mail is from, or what kind of body it has. `X-...` is not allowed as a whole:
//! some mail services take commands in such headers, recipients and senders among them. Whoever runs the worker knows the
//! service, and lists what tasks need beside these.

use std::collections::HashMap;

use lettre::message::header::{HeaderName, HeaderValue};
use workfleet_sdk::Vars;

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
/// What names may begin with.
const ALLOWED_PREFIX: &str = "list-";
/// Names that no setting allows: those of the worker's own headers, and those that say to a server on the way whom a mail
/// is from or who gets it.
const NEVER: [&str; 13] = [
    "apparently-to",
    "bcc",
    "cc",
    "date",
    "errors-to",
    "from",
    "message-id",
    "mime-version",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
];
const NEVER_PREFIXES: [&str; 3] = ["content-", "resent-", "x-workfleet-"];

/// What tasks may set beside the headers that are harmless everywhere.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// In lower case.
    more: Vec<String>,
}

impl Headers {
    /// With these names.
    ///
    /// # Errors
    /// When one is no name, or one of a header that the worker sets itself.
    pub fn new(names: &[&str]) -> Result<Self, MailError> {
        let more = names.iter().map(|name| {
            let lower = name.to_ascii_lowercase();
            check_more(&lower).map(|()| lower).map_err(|reason| invalid(name, reason))
        });
        Ok(Self { more: more.collect::<Result<_, _>>()? })
    }

    pub(crate) fn read(vars: &mut Vars) -> Self {
        let Some(text) = vars.optional_text("WORKFLEET_EMAIL_HEADERS") else { return Self::default() };
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        Self::new(&names).unwrap_or_else(|error| {
            vars.mistake(format!("WORKFLEET_EMAIL_HEADERS: {error}"));
            Self::default()
        })
    }

    /// The headers, in the order of their names, so that a mail that is sent again looks the same.
    pub(crate) fn further(&self, headers: &HashMap<String, String>) -> Result<Vec<HeaderValue>, MailError> {
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
        sorted.into_iter().map(|(lower, name, value)| self.header(&lower, name, value)).collect()
    }

    fn header(&self, lower: &str, name: &str, value: &str) -> Result<HeaderValue, MailError> {
        self.check(lower).map_err(|reason| invalid(name, reason))?;
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

    fn check(&self, lower: &str) -> Result<(), &'static str> {
        check_name(lower)?;
        let listed = lower.strip_prefix(ALLOWED_PREFIX).is_some_and(|rest| !rest.is_empty());
        if listed || ALLOWED.contains(&lower) || self.more.iter().any(|more| more == lower) {
            return Ok(());
        }
        Err("a task may not set it")
    }
}

/// Whether a reader may take a part of `text` for an encoded word, as in `=?utf-8?q?=0D=0A?=`, and show what it hides.
/// The mail library passes such words on as they are, and readers decode them wherever they stand.
pub(crate) fn has_encoded_word(text: &str) -> bool {
    text.split_once("=?").is_some_and(|(_, rest)| rest.contains("?="))
}

fn check_name(lower: &str) -> Result<(), &'static str> {
    let legal = !lower.is_empty() && lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if legal && lower.len() <= NAME_BYTES_MAX { Ok(()) } else { Err("a name has 1 to 64 letters, digits and -") }
}

fn check_more(lower: &str) -> Result<(), &'static str> {
    check_name(lower)?;
    if NEVER.contains(&lower) || NEVER_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err("no setting lets a task set it");
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
    use super::{HashMap, Headers, Vars};

    /// What comes of a header where a setting allows some `X-...`.
    fn code(name: &str, value: &str) -> Option<&'static str> {
        let headers = HashMap::from([(name.to_owned(), value.to_owned())]);
        Headers::new(&["X-A", "x-campaign"]).unwrap().further(&headers).err().map(|error| error.code())
    }

    /// What is wrong with the setting.
    fn mistakes(setting: &str) -> String {
        let mut vars = Vars::from_pairs([("WORKFLEET_EMAIL_HEADERS", setting)]);
        let _ = Headers::read(&mut vars);
        vars.finish(()).err().map_or_else(String::new, |error| error.to_string())
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
            "List-",
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
        assert_eq!(code(&format!("List-{}", "a".repeat(60)), "x"), Some("invalid_header"));
    }

    #[test]
    fn a_header_in_which_a_mail_service_takes_commands_may_be_set_only_where_the_setting_lists_it() {
        for name in ["X-SMTPAPI", "X-MC-BccAddress", "X-SES-SOURCE-ARN", "X-Mailgun-Recipient-Variables", "X-A-B"] {
            assert_eq!(code(name, "{\"to\": [\"eve@example.net\"]}"), Some("invalid_header"), "{name}");
        }
        let none = Headers::read(&mut Vars::from_pairs([("WORKFLEET_EMAIL_FROM", "shop@example.org")]));
        let headers = HashMap::from([("X-A".to_owned(), "x".to_owned())]);
        assert!(none.further(&headers).is_err(), "none of them without the setting");
        let some = Headers::read(&mut Vars::from_pairs([("WORKFLEET_EMAIL_HEADERS", "X-B , x-a")]));
        assert!(some.further(&headers).is_ok());
    }

    #[test]
    fn no_setting_lets_a_task_set_what_the_worker_sets_or_what_says_who_gets_a_mail() {
        assert_eq!(mistakes("X-Campaign,X-Mailer"), "");
        for name in ["Bcc", "from", "MESSAGE-ID", "Content-Type", "Resent-Bcc", "X-Workfleet-Task-Id", "X-*", "a b", ""]
        {
            let mistakes = mistakes(&format!("X-A,{name},X-B"));
            assert!(mistakes.contains("WORKFLEET_EMAIL_HEADERS"), "{name:?}: {mistakes}");
        }
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
        let further = |names: &[&str]| {
            let pairs = names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
            Headers::default().further(&pairs)
        };
        assert!(further(&["List-A", "list-a"]).is_err());
        let many: Vec<String> = (0..33).map(|number| format!("List-{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(further(&many).is_err());
        assert_eq!(further(&many[..32]).map(|headers| headers.len()), Ok(32));
    }
}
