//! Where the broker is, who asks, and how: read from variables.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use workfleet_proto::names::Prefix;

use super::login::{self, Login};
use crate::config::Vars;
use crate::tls::{self, PairFiles};

/// How long the first connect is tried where nothing else is said.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Where the broker is and who asks.
#[derive(Clone)]
pub struct BrokerConfig {
    /// `nats://host:port`, or several with commas; `nats://user:password@host` or `nats://token@host` to log in.
    pub url: String,
    /// What stands before every name.
    pub prefix: Prefix,
    /// Who this is; stands above what the address says.
    pub login: Login,
    /// Whom to trust, and the certificate of this client.
    pub tls: TlsFiles,
    /// What stands before the subjects of all answers.
    pub inbox_prefix: InboxPrefix,
    /// How long the first connect is tried.
    pub connect_timeout: Duration,
    /// The client's name, as the server shows it.
    pub name: String,
}

/// PEM files, read anew at each connect: replaced ones count from the next connect on, and no process has to be started
/// again for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that are trusted instead of the system's. With them, a server without TLS is refused.
    pub ca_file: Option<PathBuf>,
    /// A certificate with its chain, and its key.
    pub client_pair: Option<PairFiles>,
}

impl BrokerConfig {
    /// A broker without login and TLS, by its address, and everything else as it is by default.
    #[must_use]
    pub fn new(url: impl Into<String>, name: &str) -> Self {
        Self {
            url: url.into(),
            prefix: Prefix::default(),
            login: Login::default(),
            tls: TlsFiles::default(),
            inbox_prefix: InboxPrefix::default(),
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            name: name.to_owned(),
        }
    }

    /// Reads `WORKFLEET_PREFIX` and every `WORKFLEET_NATS_*`; docs/configuration.md lists them. Files are looked at
    /// too, so that a wrong one is reported together with all other mistakes.
    pub fn read(vars: &mut Vars, name: &str) -> Self {
        Self {
            prefix: vars.parsed("WORKFLEET_PREFIX", Prefix::default()),
            login: login::read(vars),
            tls: TlsFiles::read(vars),
            inbox_prefix: vars.parsed("WORKFLEET_NATS_INBOX_PREFIX", InboxPrefix::default()),
            connect_timeout: vars.duration("WORKFLEET_NATS_CONNECT_TIMEOUT", CONNECT_TIMEOUT_DEFAULT),
            ..Self::new(vars.text("WORKFLEET_NATS_URL", "nats://127.0.0.1:4222"), name)
        }
    }

    /// Where the broker is, without user and password.
    #[must_use]
    pub fn address(&self) -> String {
        redacted(&self.url)
    }
}

impl TlsFiles {
    fn read(vars: &mut Vars) -> Self {
        let ca_file = vars.file("WORKFLEET_NATS_CA_FILE", |path| {
            tls::authorities(path).map(|_| path.to_owned()).map_err(|error| error.reason)
        });
        Self { ca_file, client_pair: vars.pair("WORKFLEET_NATS_CERT_FILE", "WORKFLEET_NATS_KEY_FILE") }
    }
}

impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, prefix, login, tls, inbox_prefix, connect_timeout, name } = self;
        f.debug_struct("BrokerConfig")
            .field("url", &redacted(url))
            .field("prefix", prefix)
            .field("login", login)
            .field("tls", tls)
            .field("inbox_prefix", inbox_prefix)
            .field("connect_timeout", connect_timeout)
            .field("name", name)
            .finish()
    }
}

/// The first tokens of every subject on which this client waits for answers. With one of its own for each role, the
/// server can keep a role from reading answers that are not for it. It begins with `_INBOX`: a dispatcher answers nowhere
/// else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxPrefix(String);

impl InboxPrefix {
    /// How all of them begin.
    const BEGINNING: &str = "_INBOX";
    /// Longest, in bytes.
    const LENGTH_MAX: usize = 128;

    /// As it stands in subjects.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for InboxPrefix {
    fn default() -> Self {
        Self(Self::BEGINNING.to_owned())
    }
}

impl FromStr for InboxPrefix {
    type Err = InboxPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>');
        let token = |token: &str| !token.is_empty() && token.bytes().all(plain);
        if text.len() > Self::LENGTH_MAX || !text.starts_with(Self::BEGINNING) || !text.split('.').all(token) {
            return Err(InboxPrefixError);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Why a text cannot stand before a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must begin with _INBOX and be at most 128 visible ASCII characters, without * and > and empty parts between dots"
)]
pub struct InboxPrefixError;

/// The address without user, password and token, for logs and errors. What cannot be told apart from a password goes
/// with it.
pub(super) fn redacted(url: &str) -> String {
    let mut parts: Vec<&str> = url.split('@').collect();
    let host = parts.pop().unwrap_or_default();
    let hidden = parts.iter().map(|part| {
        let scheme_ends = part.find("://").map_or(0, |at| at + "://".len());
        format!("{}***@", &part[..scheme_ends])
    });
    hidden.chain([host.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::{BrokerConfig, InboxPrefix, redacted};
    use crate::config::Vars;

    #[test]
    fn no_secret_is_left_of_an_address() {
        assert_eq!(redacted("nats://127.0.0.1:4222"), "nats://127.0.0.1:4222");
        assert_eq!(redacted("nats://me:secret@a:4222"), "nats://***@a:4222");
        assert_eq!(redacted("secret@a, tls://secret@b"), "***@a, tls://***@b");
        for url in ["nats://me:se@cret@a", "nats://me:x://secret@a", "nats://me:x,secret@a,nats://me:secret@b"] {
            let shown = format!("{:?}", BrokerConfig::new(url, "test"));
            assert!(!shown.contains("secret") && !shown.contains("cret@"), "{shown}");
        }
    }

    #[test]
    fn what_stands_before_a_subject_has_no_wildcard_and_no_gap() {
        for good in ["_INBOX", "_INBOX_worker-mail", "_INBOX.b"] {
            assert_eq!(good.parse::<InboxPrefix>().expect("a prefix").as_str(), good);
        }
        for bad in
            ["", "wf", "_INBOX..b", "_INBOX.", "_INBOX.*", "_INBOX.>", "_INBOX b", "_INBOXä", &"_INBOX".repeat(22)]
        {
            assert!(bad.parse::<InboxPrefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_file_that_cannot_be_used_is_a_mistake_with_its_name_and_without_what_it_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path.display().to_string()
        };
        let pairs = [
            ("WORKFLEET_NATS_NKEY_FILE", file("seed", "SUSECRET")),
            ("WORKFLEET_NATS_CREDENTIALS_FILE", "/nowhere/a".to_owned()),
            ("WORKFLEET_NATS_CA_FILE", file("ca", "-----BEGIN CERTIFICATE-----\nSECRET\n-----END CERTIFICATE-----")),
            ("WORKFLEET_NATS_CERT_FILE", file("cert", "")),
            ("WORKFLEET_NATS_INBOX_PREFIX", "a.>".to_owned()),
            ("WORKFLEET_NATS_CONNECT_TIMEOUT", "soon".to_owned()),
        ];
        let mut vars = Vars::from_pairs(pairs.clone());
        let config = BrokerConfig::read(&mut vars, "test");
        assert!(!format!("{config:?}").contains("SECRET"));
        let error = vars.finish(()).expect_err("mistakes").to_string();
        for (name, _) in pairs {
            assert!(error.contains(name), "{name}: {error}");
        }
        assert!(error.contains("both or neither") && !error.contains("SECRET"), "{error}");
    }
}
