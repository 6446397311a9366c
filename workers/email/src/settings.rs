//! The variables of this worker: which server takes the mails, and for whom they may be sent.
//!
//! Single variables rather than one URL: a URL would carry the password, and a variable is seen by whoever may list a
//! process's environment. The password comes from a file.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use workfleet_sdk::Vars;

use crate::address;
use crate::error::MailError;
use crate::headers::Headers;

/// What `--help` says of these variables.
pub const HELP: &str = "
  WORKFLEET_SMTP_HOST             the server that takes the mails; has to be set
  WORKFLEET_SMTP_TLS              tls, starttls or none [default: tls]
  WORKFLEET_SMTP_PORT             its port [default: 465 for tls, 587 for starttls, 25 for none]
  WORKFLEET_SMTP_USER             who logs in [default: nobody]
  WORKFLEET_SMTP_PASSWORD_FILE    file with the password
  WORKFLEET_SMTP_CA_FILE          certificates (PEM) to trust instead of the system's
  WORKFLEET_SMTP_HELLO            the name for EHLO [default: the domain of WORKFLEET_EMAIL_FROM]
  WORKFLEET_SMTP_CONNECT_TIMEOUT  longest time to connect and log in [default: 5s]
  WORKFLEET_SMTP_TIMEOUT          longest time for a whole mail, shorter than the drain timeout [default: 20s]
  WORKFLEET_EMAIL_FROM            the sender of mails that name none; has to be set
  WORKFLEET_EMAIL_FROM_DOMAINS    domains that senders may have, with commas [default: that of WORKFLEET_EMAIL_FROM]
  WORKFLEET_EMAIL_HEADERS         headers that tasks may set beside the usual ones, names with commas [default: none]
";

/// The default of `WORKFLEET_DRAIN_TIMEOUT`, which is the fleet's.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(20);

/// All of them.
#[derive(Debug)]
pub struct Settings {
    /// For whom mails are sent.
    pub senders: Senders,
    /// Which headers tasks may set.
    pub headers: Headers,
    /// Which server takes them.
    pub smtp: SmtpSettings,
}

/// Whom a mail may be from.
#[derive(Debug, Clone)]
pub struct Senders {
    default: Mailbox,
    /// In lower case.
    domains: Vec<String>,
}

/// Which server takes the mails, and how it is spoken to.
#[derive(Debug)]
pub struct SmtpSettings {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept secret.
    pub security: Security,
    /// Who logs in, if anybody does.
    pub login: Option<Login>,
    /// What we call ourselves.
    pub hello: String,
    /// Longest time to connect and log in.
    pub connect_timeout: Duration,
    /// Longest time for a whole mail, connecting included.
    pub timeout: Duration,
}

/// How the connection is kept secret.
#[derive(Clone)]
pub enum Security {
    /// Not at all: for a server on this machine.
    None,
    /// TLS after a first line in clear; without it, nothing is sent.
    StartTls(TlsParameters),
    /// TLS from the first byte.
    Tls(TlsParameters),
}

/// A user and a password.
#[derive(Clone)]
pub struct Login(Credentials);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    None,
    StartTls,
    Tls,
}

impl Settings {
    /// Reads them; mistakes are noted in `vars`.
    #[must_use]
    pub fn read(vars: &mut Vars) -> Self {
        let senders = Senders::read(vars);
        let headers = Headers::read(vars);
        let smtp = SmtpSettings::read(vars, senders.default.email.domain());
        Self { senders, headers, smtp }
    }
}

impl Senders {
    /// Those who may be named are of these domains; `default` is used where nobody is.
    ///
    /// # Errors
    /// When `default` is no address.
    pub fn new(default: &str, domains: &[&str]) -> Result<Self, MailError> {
        let domains = domains.iter().map(|domain| domain.to_ascii_lowercase()).collect();
        Ok(Self { default: address::mailbox("from", default)?, domains })
    }

    fn read(vars: &mut Vars) -> Self {
        let text = required(vars, "WORKFLEET_EMAIL_FROM", "Shop <shop@example.org>", "nobody@localhost");
        let default = address::mailbox("WORKFLEET_EMAIL_FROM", &text).unwrap_or_else(|error| {
            vars.mistake(error.to_string());
            Mailbox::new(None, lettre::Address::new_dangerous("nobody", "localhost"))
        });
        let domains = vars.text("WORKFLEET_EMAIL_FROM_DOMAINS", default.email.domain());
        let domains: Vec<String> = domains.split(',').map(|domain| domain.trim().to_ascii_lowercase()).collect();
        for domain in domains.iter().filter(|domain| !address::is_domain(domain)) {
            vars.mistake(format!("WORKFLEET_EMAIL_FROM_DOMAINS: {domain:?} is no domain"));
        }
        Self { default, domains }
    }

    /// Whom the mail is from that names `from`, or nobody.
    pub(crate) fn sender(&self, from: &str) -> Result<Mailbox, MailError> {
        if from.is_empty() {
            return Ok(self.default.clone());
        }
        let mailbox = address::mailbox("from", from)?;
        let domain = mailbox.email.domain().to_ascii_lowercase();
        if self.domains.contains(&domain) { Ok(mailbox) } else { Err(MailError::FromNotAllowed { domain }) }
    }
}

impl SmtpSettings {
    fn read(vars: &mut Vars, domain: &str) -> Self {
        let host = required(vars, "WORKFLEET_SMTP_HOST", "smtp.example.org", "localhost");
        let mode = vars.parsed("WORKFLEET_SMTP_TLS", Mode::Tls);
        let port = vars.parsed("WORKFLEET_SMTP_PORT", mode.port());
        let security = security(vars, mode, &host);
        let login = Login::read(vars, mode, &host);
        let hello = vars.text("WORKFLEET_SMTP_HELLO", domain);
        if !address::is_domain(&hello) {
            vars.mistake(format!("WORKFLEET_SMTP_HELLO={hello:?}: no domain"));
        }
        let connect_timeout = vars.duration("WORKFLEET_SMTP_CONNECT_TIMEOUT", CONNECT_TIMEOUT);
        let timeout = vars.duration("WORKFLEET_SMTP_TIMEOUT", TIMEOUT);
        let drain = vars.duration("WORKFLEET_DRAIN_TIMEOUT", DRAIN_TIMEOUT);
        if timeout.is_zero() || timeout >= drain {
            vars.mistake("WORKFLEET_SMTP_TIMEOUT: must be above 0 and shorter than WORKFLEET_DRAIN_TIMEOUT");
        }
        if connect_timeout.is_zero() || connect_timeout > timeout {
            vars.mistake("WORKFLEET_SMTP_CONNECT_TIMEOUT: must be above 0 and not above WORKFLEET_SMTP_TIMEOUT");
        }
        Self { host, port, security, login, hello, connect_timeout, timeout }
    }
}

/// What has to be set; without it, something to go on with until all mistakes are found.
fn required(vars: &mut Vars, name: &str, example: &str, placeholder: &str) -> String {
    vars.optional_text(name).unwrap_or_else(|| {
        vars.mistake(format!("{name}: has to be set, as in {example:?}"));
        placeholder.to_owned()
    })
}

fn security(vars: &mut Vars, mode: Mode, host: &str) -> Security {
    let ca_file = vars.optional_text("WORKFLEET_SMTP_CA_FILE");
    if mode == Mode::None {
        return Security::None;
    }
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = &ca_file {
        builder = builder.certificate_store(CertificateStore::None);
        match std::fs::read(path).map_err(|error| error.to_string()).and_then(|pem| certificate(&pem)) {
            Ok(certificate) => builder = builder.add_root_certificate(certificate),
            Err(error) => vars.mistake(format!("WORKFLEET_SMTP_CA_FILE={path:?}: {error}")),
        }
    }
    match (builder.build(), mode) {
        (Ok(parameters), Mode::StartTls) => Security::StartTls(parameters),
        (Ok(parameters), _) => Security::Tls(parameters),
        (Err(error), _) => {
            vars.mistake(format!("WORKFLEET_SMTP_TLS: {error}"));
            Security::None
        }
    }
}

fn certificate(pem: &[u8]) -> Result<Certificate, String> {
    // The reader of PEM takes a file without any certificate for one with none too many.
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err("there is no certificate in it".to_owned());
    }
    Certificate::from_pem(pem).map_err(|error| error.to_string())
}

impl Login {
    /// A password of `user`.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self(Credentials::new(user.into(), password.into()))
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.0
    }

    fn read(vars: &mut Vars, mode: Mode, host: &str) -> Option<Self> {
        let user = vars.optional_text("WORKFLEET_SMTP_USER");
        let file = vars.optional_text("WORKFLEET_SMTP_PASSWORD_FILE");
        let (user, file) = match (user, file) {
            (None, None) => return None,
            (Some(user), Some(file)) => (user, file),
            _ => {
                vars.mistake("WORKFLEET_SMTP_USER and WORKFLEET_SMTP_PASSWORD_FILE: one needs the other");
                return None;
            }
        };
        if mode == Mode::None && !is_this_machine(host) {
            vars.mistake("WORKFLEET_SMTP_TLS=none: no password is sent in clear to another machine");
        }
        let password = std::fs::read_to_string(&file).unwrap_or_else(|error| {
            vars.mistake(format!("WORKFLEET_SMTP_PASSWORD_FILE={file:?}: {error}"));
            "x".to_owned()
        });
        // Editors end a file with a line break; a password has none.
        let password = password.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            vars.mistake(format!("WORKFLEET_SMTP_PASSWORD_FILE={file:?}: it is empty"));
        }
        Some(Self::new(user, password))
    }
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl Mode {
    fn port(self) -> u16 {
        match self {
            Self::None => 25,
            Self::StartTls => 587,
            Self::Tls => 465,
        }
    }
}

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "starttls" => Ok(Self::StartTls),
            "tls" => Ok(Self::Tls),
            _ => Err("not tls, starttls or none"),
        }
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::StartTls(_) => "StartTls",
            Self::Tls(_) => "Tls",
        })
    }
}

/// The password goes into no log.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, Vars};

    /// The mistakes in these variables, in one text.
    fn mistakes(pairs: &[(&str, &str)]) -> String {
        let mut vars = Vars::from_pairs(pairs.iter().copied());
        let settings = Settings::read(&mut vars);
        vars.finish(settings).err().map_or_else(String::new, |error| error.to_string())
    }

    const GOOD: [(&str, &str); 2] =
        [("WORKFLEET_SMTP_HOST", "smtp.example.org"), ("WORKFLEET_EMAIL_FROM", "Shop <shop@example.org>")];

    #[test]
    fn a_server_and_a_sender_are_enough() {
        let mut vars = Vars::from_pairs(GOOD);
        let settings = Settings::read(&mut vars);
        assert_eq!(vars.finish(()), Ok(()));
        assert_eq!((settings.smtp.port, settings.smtp.hello.as_str()), (465, "example.org"));
        assert!(settings.senders.sender("").is_ok_and(|mailbox| mailbox.email.to_string() == "shop@example.org"));
    }

    #[test]
    fn every_mistake_is_reported_together() {
        let text = mistakes(&[
            ("WORKFLEET_SMTP_TLS", "ssl"),
            ("WORKFLEET_SMTP_PORT", "smtp"),
            ("WORKFLEET_SMTP_USER", "shop"),
            ("WORKFLEET_SMTP_CA_FILE", "/no/such/file"),
            ("WORKFLEET_SMTP_TIMEOUT", "25s"),
            ("WORKFLEET_SMTP_HELLO", "a b"),
            ("WORKFLEET_EMAIL_FROM", "shop"),
            ("WORKFLEET_EMAIL_FROM_DOMAINS", "example.org,,x y"),
        ]);
        for part in [
            "WORKFLEET_SMTP_HOST",
            "WORKFLEET_SMTP_TLS",
            "WORKFLEET_SMTP_PORT",
            "WORKFLEET_SMTP_USER and",
            "WORKFLEET_SMTP_CA_FILE",
            "WORKFLEET_SMTP_TIMEOUT",
            "WORKFLEET_SMTP_HELLO",
            "WORKFLEET_EMAIL_FROM:",
            "\"\" is no domain",
            "\"x y\" is no domain",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn no_password_goes_in_clear_to_another_machine() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "secret\n").unwrap();
        let login = |tls: &str, host: &str| {
            mistakes(&[
                ("WORKFLEET_EMAIL_FROM", "shop@example.org"),
                ("WORKFLEET_SMTP_HOST", host),
                ("WORKFLEET_SMTP_TLS", tls),
                ("WORKFLEET_SMTP_USER", "shop"),
                ("WORKFLEET_SMTP_PASSWORD_FILE", file.to_str().unwrap()),
            ])
        };
        assert!(login("none", "smtp.example.org").contains("in clear"));
        assert!(login("none", "10.0.0.1").contains("in clear"));
        for (tls, host) in [("none", "127.0.0.2"), ("none", "::1"), ("none", "LocalHost"), ("tls", "smtp.example.org")]
        {
            assert_eq!(login(tls, host), "", "{tls} {host}");
        }
        std::fs::write(&file, "\n").unwrap();
        assert!(login("tls", "smtp.example.org").contains("empty"));
    }

    #[test]
    fn nothing_shows_the_password() {
        let login = super::Login::new("shop", "hunter2");
        assert!(!format!("{login:?}").contains("hunter2"));
    }

    #[test]
    fn a_file_without_a_certificate_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "nothing").unwrap();
        let pairs = [GOOD[0], GOOD[1], ("WORKFLEET_SMTP_CA_FILE", file.to_str().unwrap())];
        assert!(mistakes(&pairs).contains("no certificate"));
    }
}
