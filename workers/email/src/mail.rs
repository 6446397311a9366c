//! One message, made of a task.
//!
//! Its Message-ID is made of the task's id and its Date is the time of the submit, so that a mail that is sent again,
//! since nobody knows whether the first one arrived, is the same mail to every server and reader on its way.

use std::time::SystemTime;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, Message, MessageBuilder, MultiPart, SinglePart, header};
use lettre::{Address, address::Envelope};
use workfleet_proto::id::TaskId;
use workfleet_proto::kinds::email::EmailRequest;

use crate::address;
use crate::error::MailError;
use crate::headers::{Headers, has_encoded_word};
use crate::settings::Senders;

/// Most recipients of a mail, in to, cc and bcc; every server has to take so many.
pub const RECIPIENTS_MAX: usize = 100;
/// Longest subject, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 900;
/// Largest text and HTML of a mail, together, in bytes: 10 MiB. Most servers refuse a mail of 25 MB, and encoded it has
/// up to three times as many.
pub const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// The header that tells a reader of mails which task to look for.
const TASK_ID: &str = "X-Workfleet-Task-Id";

/// A message that can be sent.
#[derive(Debug)]
pub struct Mail {
    envelope: Envelope,
    message: Vec<u8>,
    id: String,
}

impl Mail {
    /// The sender.
    pub(crate) fn from(&self) -> Option<&Address> {
        self.envelope.from()
    }

    /// The recipients, each once.
    pub(crate) fn to(&self) -> &[Address] {
        self.envelope.to()
    }

    /// What goes over the wire, before dots are doubled. It is ASCII.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// How many get it.
    #[must_use]
    pub fn recipients(&self) -> usize {
        self.envelope.to().len()
    }

    /// How large it is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.message.len()
    }

    /// Its Message-ID, without angle brackets.
    #[must_use]
    pub fn into_id(self) -> String {
        self.id
    }
}

/// Makes a message of what `request` says.
///
/// # Errors
/// When it says something that cannot be sent, or must not be.
pub fn compose(
    request: &EmailRequest,
    senders: &Senders,
    headers: &Headers,
    task: &TaskId,
    submitted_at: SystemTime,
) -> Result<Mail, MailError> {
    check_body(request)?;
    let from = senders.sender(&request.from)?;
    let recipients = Recipients::read(request)?;
    let id = format!("{task}@{}", from.email.domain());
    let envelope = recipients.envelope(from.email.clone())?;

    let mut builder = Message::builder()
        .envelope(envelope.clone())
        .from(from)
        .date(submitted_at)
        .message_id(Some(format!("<{id}>")))
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(TASK_ID), task.to_string()));
    for to in recipients.to {
        builder = builder.to(to);
    }
    for cc in recipients.cc {
        builder = builder.cc(cc);
    }
    if !request.reply_to.is_empty() {
        builder = builder.reply_to(address::mailbox("reply_to", &request.reply_to)?);
    }
    if let Some(subject) = subject(&request.subject)? {
        builder = builder.subject(subject);
    }
    for header in headers.further(&request.headers)? {
        builder = builder.raw_header(header);
    }
    let message = body(builder, &request.text, &request.html)?.formatted();
    Ok(Mail { envelope, message, id })
}

fn check_body(request: &EmailRequest) -> Result<(), MailError> {
    match request.text.len().saturating_add(request.html.len()) {
        0 => Err(MailError::NoBody),
        bytes if bytes > BODY_BYTES_MAX => Err(MailError::TooLarge { bytes }),
        _ => Ok(()),
    }
}

struct Recipients {
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    bcc: Vec<Mailbox>,
}

impl Recipients {
    fn read(request: &EmailRequest) -> Result<Self, MailError> {
        match request.to.len().saturating_add(request.cc.len()).saturating_add(request.bcc.len()) {
            0 => return Err(MailError::NoRecipient),
            count if count > RECIPIENTS_MAX => return Err(MailError::TooManyRecipients { count }),
            _ => {}
        }
        let read = |field: &str, texts: &[String]| -> Result<Vec<Mailbox>, MailError> {
            let numbered = texts.iter().enumerate();
            numbered.map(|(number, text)| address::mailbox(format!("{field}[{number}]"), text)).collect()
        };
        Ok(Self { to: read("to", &request.to)?, cc: read("cc", &request.cc)?, bcc: read("bcc", &request.bcc)? })
    }

    /// Everybody once; who is in bcc stands here and in no header.
    fn envelope(&self, from: Address) -> Result<Envelope, MailError> {
        let mut to: Vec<Address> = Vec::new();
        for mailbox in self.to.iter().chain(&self.cc).chain(&self.bcc) {
            if !to.contains(&mailbox.email) {
                to.push(mailbox.email.clone());
            }
        }
        Envelope::new(Some(from), to).map_err(|error| MailError::NotMade(error.to_string()))
    }
}

fn subject(text: &str) -> Result<Option<String>, MailError> {
    if text.chars().any(char::is_control) {
        return Err(MailError::InvalidSubject("a line break or another control character"));
    }
    if has_encoded_word(text) {
        return Err(MailError::InvalidSubject("an encoded word: write the text itself"));
    }
    if text.len() > SUBJECT_BYTES_MAX {
        return Err(MailError::InvalidSubject("more than 900 bytes"));
    }
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn body(builder: MessageBuilder, text: &str, html: &str) -> Result<Message, MailError> {
    let plain = || SinglePart::builder().header(header::ContentType::TEXT_PLAIN).body(encoded(text));
    let rich = || SinglePart::builder().header(header::ContentType::TEXT_HTML).body(encoded(html));
    let message = match (text.is_empty(), html.is_empty()) {
        (false, true) => builder.singlepart(plain()),
        (true, _) => builder.singlepart(rich()),
        // The last of the alternatives is the one to prefer.
        (false, false) => builder.multipart(MultiPart::alternative().singlepart(plain()).singlepart(rich())),
    };
    message.map_err(|error| MailError::NotMade(error.to_string()))
}

/// A part that survives every server on its way: its lines end in CR LF and nowhere else (a lone CR or LF can make one
/// server see the end of a mail where another does not), and what is neither text nor a tab is encoded.
fn encoded(text: &str) -> Body {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        // Base64 takes any bytes; the library chooses it for bytes that are not said to be text.
        return Body::new(text.replace('\n', "\r\n").into_bytes());
    }
    Body::new(text)
}
