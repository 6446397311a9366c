//! What stands for the world outside: a sink for mails and a receiver for webhooks, with what the workers need to reach
//! them and nobody else.
//!
//! They are members of the fleet like any other. The secret that signs webhooks is made anew with each fleet, and lies in
//! a folder that only its owner may read: a secret in the project would sooner or later sign something real.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Addresses, Roster};
use crate::error::LocalError;
use crate::program::{Probe, Program, Role};

/// The queue whose worker writes to the mail sink.
pub(super) const MAIL_QUEUE: &str = "email";
/// The queue whose worker writes to the webhook receiver.
pub(super) const WEBHOOK_QUEUE: &str = "webhook";
/// The secret that is used where a task names none.
const SECRET: &str = "default";
/// As long as the output of the hash that it is for.
const SECRET_BYTES: usize = 32;
/// Who mails are from where a task does not say; a domain that no mail can come from.
const MAIL_FROM: &str = "Workfleet <fleet@workfleet.example>";

/// A sink, and where to find what came to it.
#[derive(Debug, Clone)]
pub(crate) struct SinkAddress {
    pub(crate) address: SocketAddr,
    /// A folder of mails, or a file with a line for each webhook.
    pub(crate) received: PathBuf,
}

/// What sinks and workers have to agree on.
#[derive(Debug)]
pub(super) struct Sinks {
    secrets: PathBuf,
}

impl Sinks {
    /// Makes a secret, in a folder below `folder`.
    pub(super) fn new(folder: &Path) -> Result<Self, LocalError> {
        let secrets = folder.join("secrets");
        fs::DirBuilder::new().mode(0o700).create(&secrets).map_err(LocalError::file(&secrets))?;
        let path = secrets.join(SECRET);
        let secret = format!("whsec_{}\n", BASE64.encode(rand::random::<[u8; SECRET_BYTES]>()));
        let file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(secret.as_bytes())).map_err(LocalError::file(&path))?;
        Ok(Self { secrets })
    }

    /// Variables for the worker of `queue`.
    pub(super) fn needs(&self, queue: &str, addresses: &Addresses) -> Vec<(&'static str, OsString)> {
        match (queue, &addresses.mail_sink) {
            (MAIL_QUEUE, Some(sink)) => vec![
                ("WORKFLEET_SMTP_HOST", sink.address.ip().to_string().into()),
                ("WORKFLEET_SMTP_PORT", sink.address.port().to_string().into()),
                ("WORKFLEET_SMTP_TLS", "none".into()),
                // Whoever logs in somewhere else must not do it here, in clear.
                ("WORKFLEET_SMTP_USER", OsString::new()),
                ("WORKFLEET_SMTP_PASSWORD_FILE", OsString::new()),
                ("WORKFLEET_EMAIL_FROM", MAIL_FROM.into()),
            ],
            (WEBHOOK_QUEUE, _) => vec![
                ("WORKFLEET_WEBHOOK_ALLOW_PRIVATE", "true".into()),
                ("WORKFLEET_WEBHOOK_SECRETS_DIR", self.secrets.clone().into()),
            ],
            _ => Vec::new(),
        }
    }
}

impl Roster {
    /// The sinks that this fleet has use for.
    pub(crate) fn sinks(&self) -> Result<Vec<Program>, LocalError> {
        let mail = self.addresses.mail_sink.as_ref().map(|sink| {
            let words = ["mail-sink".into(), "--dir".into(), sink.received.clone().into()];
            self.sink("mail-sink", sink, words.into())
        });
        let webhook = self.addresses.webhook_receiver.as_ref().map(|sink| {
            let secret = self.sinks.secrets.join(SECRET);
            let words = ["webhook-receiver".into(), "--secret-file".into(), secret.into(), "--file".into()];
            self.sink("webhook-receiver", sink, words.into_iter().chain([sink.received.clone().into()]).collect())
        });
        mail.into_iter().chain(webhook).collect()
    }

    /// This very program, with other words.
    fn sink(&self, name: &str, sink: &SinkAddress, mut words: Vec<OsString>) -> Result<Program, LocalError> {
        words.extend(["--addr".into(), sink.address.to_string().into()]);
        Ok(Program {
            name: name.to_owned(),
            role: Role::Sink,
            queue: None,
            executable: std::env::current_exe().map_err(LocalError::file("/proc/self/exe"))?,
            arguments: words,
            variables: vec![("WORKFLEET_ADDR_FILE", self.address_file(name).into())],
            probe: Probe::Accepts(sink.address),
        })
    }
}
