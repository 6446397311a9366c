//! Sends a mail over SMTP: the work of the email worker, without any of the fleet.
//!
//! A mail goes through three stations: what the task says is checked, a message is made of it, and a server takes it.
//! The first two are pure, so that each way of smuggling a header into a mail is a line in a test. Everything is checked
//! before the first byte goes out, and a mail goes to all of its recipients or to none.
//!
//! In reading order:
//! - [`Settings`]: the server, and for whom mails may be sent.
//! - `address`, [`Headers`]: what strangers wrote, refused or made harmless.
//! - [`compose`], [`Mail`]: one message, with an id that is the task's.
//! - [`Smtp`]: connections, and the conversation over one.
//! - [`MailError`]: every way in which it fails, with its code, and whether trying again can help.

mod address;
mod connection;
mod error;
mod headers;
mod mail;
mod settings;
mod smtp;

pub use error::MailError;
pub use headers::Headers;
pub use mail::{BODY_BYTES_MAX, Mail, RECIPIENTS_MAX, SUBJECT_BYTES_MAX, compose};
pub use settings::{HELP, Login, Security, Senders, Settings, SmtpSettings};
pub use smtp::Smtp;

use tracing::Instrument as _;
use workfleet_proto::kinds::email::{EmailReply, EmailRequest};
use workfleet_sdk::{Context, Handler, TaskError};

/// The handler: all that it keeps between mails.
#[derive(Debug)]
pub struct Mailer {
    senders: Senders,
    headers: Headers,
    smtp: Smtp,
}

impl Mailer {
    /// Sends as `settings` say. Connects when there is something to send.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { senders: settings.senders, headers: settings.headers, smtp: Smtp::new(settings.smtp) }
    }
}

impl Handler<EmailRequest> for Mailer {
    async fn handle(&self, ctx: Context, request: EmailRequest) -> Result<EmailReply, TaskError> {
        // The time of the submit, as the id: what is sent again is the same mail.
        let mail = tracing::info_span!("compose")
            .in_scope(|| compose(&request, &self.senders, &self.headers, ctx.task_id(), ctx.submitted_at()))
            .map_err(MailError::into_task_error)?;
        drop(request);
        // Addresses stay out of traces.
        let span = tracing::info_span!("send", recipients = mail.recipients(), bytes = mail.bytes());
        let response = self.smtp.send(&mail).instrument(span).await.map_err(MailError::into_task_error)?;
        Ok(EmailReply { message_id: mail.into_id(), response })
    }
}

#[cfg(test)]
mod tests;

/// TLS with a real server at the other end: what is kept secret, and what is not sent at all.
#[cfg(test)]
mod tls_tests;
