use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mail_parser::{Message, MessageParser, MimeHeaders as _};
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::kinds::email::EmailRequest;
use workfleet_sdk::testing;

use super::{BODY_BYTES_MAX, Headers, Mail, MailError, Mailer, Security, Senders, Settings, SmtpSettings, compose};

fn senders() -> Senders {
    Senders::new("Shop <shop@example.org>", &["example.org", "Example.com"]).unwrap()
}

fn task() -> TaskId {
    let queue: QueueName = "email".parse().unwrap();
    TaskId::new(&queue, 1_700_000_000_000, [7; 10], None)
}

fn submitted_at() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn request() -> EmailRequest {
    EmailRequest {
        to: vec!["Ada <ada@example.net>".to_owned()],
        subject: "Hello".to_owned(),
        text: "Hello, Ada\n".to_owned(),
        ..EmailRequest::default()
    }
}

fn composed(request: &EmailRequest) -> Result<Mail, MailError> {
    compose(request, &senders(), &Headers::new(&["X-A"]).unwrap(), &task(), submitted_at())
}

#[track_caller]
fn parsed(mail: &Mail) -> Message<'_> {
    assert!(mail.message().is_ascii(), "8-bit mails need a server that takes them");
    let text = str::from_utf8(mail.message()).unwrap();
    for line in text.split("\r\n") {
        assert!(line.len() <= 998 && !line.contains(['\r', '\n', '\0']), "{line:?}");
    }
    MessageParser::default().parse(mail.message()).unwrap()
}

fn code(change: impl FnOnce(&mut EmailRequest)) -> &'static str {
    let mut request = request();
    change(&mut request);
    let error = composed(&request).expect_err("it is refused");
    assert!(!error.may_pass(), "{error}");
    error.code()
}

#[test]
fn a_mail_has_both_parts_and_says_what_the_task_says() {
    let mut request = request();
    request.cc = vec!["\"Bob, B.\" <bob@example.net>".to_owned(), "Zoë 💌 <zoe@example.net>".to_owned()];
    request.bcc = vec!["eve@example.net".to_owned(), "ada@example.net".to_owned()];
    request.reply_to = "help@example.net".to_owned();
    request.subject =
        "Grüße =? 100 % größer, 日本語, and so many more words that one line cannot hold all of them".to_owned();
    request.html = "<p>Grüße</p>".to_owned();
    request.headers = HashMap::from([("List-Unsubscribe".to_owned(), "<https://example.org/leave>".to_owned())]);
    let mail = composed(&request).unwrap();
    let to: Vec<&str> = mail.to().iter().map(AsRef::as_ref).collect();
    assert_eq!(to, ["ada@example.net", "bob@example.net", "zoe@example.net", "eve@example.net"], "each once");
    assert!(!str::from_utf8(mail.message()).unwrap().contains("eve@"), "bcc is in no header");

    let message = parsed(&mail);
    assert_eq!(message.from().unwrap().first().unwrap().address(), Some("shop@example.org"));
    assert_eq!(message.from().unwrap().first().unwrap().name(), Some("Shop"));
    assert_eq!(message.to().unwrap().first().unwrap().name(), Some("Ada"));
    let cc: Vec<_> = message.cc().unwrap().iter().map(|address| (address.name(), address.address())).collect();
    let expected = [(Some("Bob, B."), Some("bob@example.net")), (Some("Zoë 💌"), Some("zoe@example.net"))];
    assert_eq!(cc, expected);
    assert_eq!(message.reply_to().unwrap().first().unwrap().address(), Some("help@example.net"));
    assert_eq!(
        message.subject(),
        Some("Grüße =? 100 % größer, 日本語, and so many more words that one line cannot hold all of them")
    );
    assert_eq!(message.body_text(0).unwrap(), "Hello, Ada\r\n");
    assert_eq!(message.body_html(0).unwrap(), "<p>Grüße</p>");
    assert_eq!(message.content_type().unwrap().subtype(), Some("alternative"));
    assert_eq!(message.header_raw("List-Unsubscribe").unwrap().trim(), "<https://example.org/leave>");
    assert_eq!(message.header_raw("X-Workfleet-Task-Id").unwrap().trim(), task().to_string());
    assert_eq!(message.message_id(), Some(format!("{}@example.org", task()).as_str()));
    assert_eq!(message.date().unwrap().to_timestamp(), 1_700_000_000);
}

#[test]
fn one_part_stands_alone() {
    let text = composed(&request()).unwrap();
    assert_eq!(parsed(&text).content_type().unwrap().subtype(), Some("plain"));
    let mut request = request();
    request.html = std::mem::take(&mut request.text);
    let html = composed(&request).unwrap();
    assert_eq!(parsed(&html).content_type().unwrap().subtype(), Some("html"));
}

#[test]
fn what_is_sent_again_is_the_same_mail() {
    let mut request = request();
    request.headers = (0..20).map(|number| (format!("List-{number}"), "x".to_owned())).collect();
    assert_eq!(composed(&request).unwrap().message(), composed(&request.clone()).unwrap().message());
}

#[test]
fn any_text_arrives_as_it_was_and_ends_no_mail() {
    let long = "word ".repeat(4_000);
    let unbroken = "a".repeat(5_000);
    for text in [
        "a\r\n.\r\nMAIL FROM:<eve@example.net>\r\n",
        "a\n.\nQUIT\n",
        "a\r.\rQUIT\r",
        "\n.\r\n.",
        ".",
        "..\n...",
        "From the start",
        "nul \0 bell \u{7} escape \u{1b}[2J next \u{85}",
        "\u{feff}ünïcode 💌 \u{2028}",
        "trailing   \nspaces\t\n=20=\n",
        long.as_str(),
        unbroken.as_str(),
    ] {
        let mut request = request();
        (request.text, request.html) = (text.to_owned(), text.to_owned());
        let mail = composed(&request).unwrap();
        let expected = text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n");
        assert_eq!(parsed(&mail).body_text(0).unwrap(), expected, "{text:?}");
    }
}

/// Each place where a stranger's text goes, with each way of ending a line in it.
#[test]
fn no_field_can_add_a_header_or_a_recipient() {
    for end in ["\r\n", "\n", "\r", "\0", "\r\n ", "\u{b}", "\u{85}"] {
        let evil = |text: &str| format!("{text}{end}Bcc: eve@example.net");
        assert_eq!(code(|request| request.from = evil("shop@example.org")), "invalid_address");
        assert_eq!(code(|request| request.from = evil("Shop") + " <shop@example.org>"), "invalid_address");
        assert_eq!(code(|request| request.to.push(evil("bob@example.net"))), "invalid_address");
        assert_eq!(
            code(|request| request.to.push(format!("\"{}\" <bob@example.net>", evil("Bob")))),
            "invalid_address"
        );
        assert_eq!(code(|request| request.cc.push(evil("bob@example.net"))), "invalid_address");
        assert_eq!(code(|request| request.bcc.push(evil("bob@example.net"))), "invalid_address");
        assert_eq!(code(|request| request.reply_to = evil("bob@example.net")), "invalid_address");
        assert_eq!(code(|request| request.subject = evil("Hello")), "invalid_subject");
        assert_eq!(code(|request| drop(request.headers.insert("X-A".to_owned(), evil("a")))), "invalid_header");
        assert_eq!(code(|request| drop(request.headers.insert(evil("X-A"), "a".to_owned()))), "invalid_header");
    }
    for name in ["Bcc", "from", "Content-Type", "Message-ID", "Date", "X-SMTPAPI", "X-MC-BccAddress"] {
        assert_eq!(code(|request| drop(request.headers.insert(name.to_owned(), "a".to_owned()))), "invalid_header");
    }
}

#[test]
fn what_cannot_be_sent_has_a_code() {
    assert_eq!(code(|request| request.to.clear()), "no_recipient");
    let many = |count| vec!["ada@example.net".to_owned(); count];
    assert_eq!(code(|request| request.bcc = many(100)), "too_many_recipients");
    assert_eq!(code(|request| request.text.clear()), "no_body");
    assert_eq!(code(|request| request.text = "a".repeat(BODY_BYTES_MAX + 1)), "too_large");
    assert_eq!(code(|request| request.subject = "a".repeat(901)), "invalid_subject");
    assert_eq!(code(|request| request.subject = "=?utf-8?q?=0D=0ABcc:_eve?=".to_owned()), "invalid_subject");
    assert_eq!(code(|request| request.from = "shop@example.net".to_owned()), "from_not_allowed");
    assert_eq!(code(|request| request.from = "shop@sub.example.org".to_owned()), "from_not_allowed");
    assert_eq!(code(|request| request.to.push("bob".to_owned())), "invalid_address");
}

#[test]
fn an_error_says_which_address_is_wrong() {
    let mut request = request();
    request.cc = vec!["bob@example.net".to_owned(), "eve".to_owned()];
    assert_eq!(composed(&request).unwrap_err().to_string(), "cc[1]: no @");
}

#[test]
fn a_sender_of_an_allowed_domain_is_taken_and_names_the_message() {
    let mut request = request();
    request.from = "Newsletter <news@EXAMPLE.com>".to_owned();
    let mail = composed(&request).unwrap();
    assert_eq!(mail.from().unwrap().as_ref() as &str, "news@EXAMPLE.com");
    assert!(mail.into_id().ends_with("@EXAMPLE.com"));
}

#[test]
fn an_empty_subject_is_no_header() {
    let mut request = request();
    request.subject = "  ".to_owned();
    let mail = composed(&request).unwrap();
    assert_eq!(parsed(&mail).subject(), None);
}

/// A mailer whose server is a port that nobody listens on.
fn mailer() -> Mailer {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let second = Duration::from_secs(1);
    let smtp = SmtpSettings {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr().unwrap().port(),
        security: Security::None,
        login: None,
        hello: "example.org".to_owned(),
        connect_timeout: second,
        timeout: second,
    };
    Mailer::new(Settings { senders: senders(), headers: Headers::default(), smtp })
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let failed = testing::attempt(&mailer(), request()).await.unwrap_err();
    assert_eq!((failed.code(), failed.is_permanent()), ("unreachable", false), "{failed}");
}

#[tokio::test]
async fn what_is_wrong_with_a_mail_is_never_tried_again() {
    let failed = testing::attempt(&mailer(), EmailRequest { to: vec!["x".to_owned()], ..request() }).await.unwrap_err();
    assert_eq!((failed.code(), failed.is_permanent()), ("invalid_address", true), "{failed}");
}
