//! A conversation with a server, one command after the other.
//!
//! The library could send a whole mail by itself. Then a refusal would not tell which recipient, or whether it was the
//! login, that was refused; and here those have different codes, since one is the mail's fault and the other is not.

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Mechanism;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Noop, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;

use crate::error::MailError;
use crate::mail::Mail;
use crate::settings::{Security, SmtpSettings};

/// Longest reply that is kept, in characters.
const REPLY_CHARS_MAX: usize = 500;
/// Replies to `MAIL` and later that are about who we are and not about the mail: RFC 4954.
const LOGIN_CODES: [u16; 4] = [530, 534, 535, 538];

/// The answer to `DATA`.
const GO_ON: u16 = 354;
const OUT_OF_STEP: &str = "the message: the server's answers do not fit what it was asked";

/// An open connection, past its login.
pub(crate) struct Connection {
    inner: AsyncSmtpConnection,
}

/// Where the conversation is.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Connect,
    Login,
    Sender,
    Recipient(&'a Address),
    Message,
}

/// A mail that was not taken, and whether both sides still agree on what comes next.
pub(crate) struct NotTaken {
    pub(crate) error: MailError,
    pub(crate) answered: bool,
}

impl Connection {
    /// Connects, secures and logs in. The caller bounds the time.
    pub(crate) async fn open(settings: &SmtpSettings) -> Result<Self, MailError> {
        let failed = |error| describe(Step::Connect, &error);
        let hello = ClientId::Domain(settings.hello.clone());
        let tls = match &settings.security {
            Security::Tls(parameters) => Some(parameters.clone()),
            Security::None | Security::StartTls(_) => None,
        };
        let address = (settings.host.as_str(), settings.port);
        let connect = AsyncSmtpConnection::connect_tokio1(address, Some(settings.connect_timeout), &hello, tls, None);
        let mut inner = connect.await.map_err(failed)?;
        if let Security::StartTls(parameters) = &settings.security {
            // A server that does not offer it is refused: whoever sits between could have cut the offer out.
            inner.starttls(parameters.clone(), &hello).await.map_err(failed)?;
        }
        if let Some(login) = &settings.login {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let logged_in = inner.auth(&mechanisms, login.credentials()).await;
            logged_in.map_err(|error| describe(Step::Login, &error))?;
        }
        Ok(Self { inner })
    }

    /// Whether it is still there after lying idle.
    pub(crate) async fn is_alive(&mut self) -> bool {
        self.inner.command(Noop).await.is_ok()
    }

    /// Forgets a mail that was not taken; gives whether that went well.
    pub(crate) async fn reset(&mut self) -> bool {
        self.inner.command(Rset).await.is_ok()
    }

    /// Sends the mail to all of its recipients, or to none: the message goes out only after each of them was accepted.
    /// Gives what the server said when it took it.
    pub(crate) async fn send(&mut self, mail: &Mail) -> Result<String, NotTaken> {
        let sender = MailFrom::new(mail.from().cloned(), Vec::new());
        self.inner.command(sender).await.map_err(|error| not_taken(Step::Sender, &error))?;
        for to in mail.to() {
            let recipient = Rcpt::new(to.clone(), Vec::new());
            self.inner.command(recipient).await.map_err(|error| not_taken(Step::Recipient(to), &error))?;
        }
        let go_on = self.inner.command(Data).await.map_err(|error| not_taken(Step::Message, &error))?;
        // Every other good answer is a 250. Whoever could slip one answer in, in clear before STARTTLS, would have us read
        // each one too early from then on, and the last one not at all: a refused mail would be taken for a sent one.
        if !go_on.has_code(GO_ON) {
            return Err(NotTaken { error: MailError::Unreachable(OUT_OF_STEP.to_owned()), answered: false });
        }
        let taken = self.inner.message(mail.message()).await.map_err(|error| not_taken(Step::Message, &error))?;
        Ok(reply(&taken))
    }
}

fn not_taken(step: Step<'_>, error: &Error) -> NotTaken {
    NotTaken { error: describe(step, error), answered: error.status().is_some() }
}

fn describe(step: Step<'_>, error: &Error) -> MailError {
    let text = format!("{step}: {error}");
    let Some(code) = error.status().map(u16::from) else {
        // The server offers no login that we know.
        let no_login = matches!(step, Step::Login) && error.is_client();
        return if no_login { MailError::AuthRefused(text) } else { MailError::Unreachable(text) };
    };
    match (step, code) {
        // It was asked for no mail yet, so that this is no word about one.
        (Step::Connect, _) => MailError::Unreachable(text),
        (_, ..500) => MailError::Deferred(text),
        (Step::Login, _) => MailError::AuthRefused(text),
        (_, code) if LOGIN_CODES.contains(&code) => MailError::AuthRefused(text),
        _ => MailError::Refused(text),
    }
}

impl std::fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect => f.write_str("connecting"),
            Self::Login => f.write_str("logging in"),
            Self::Sender => f.write_str("the sender"),
            Self::Recipient(address) => write!(f, "the recipient {address}"),
            Self::Message => f.write_str("the message"),
        }
    }
}

fn reply(response: &Response) -> String {
    let words = std::iter::once(response.code().to_string()).chain(response.message().map(str::to_owned));
    words.collect::<Vec<_>>().join(" ").chars().take(REPLY_CHARS_MAX).collect()
}
