//! What arrived outside: the receiver's lines about webhooks, and the sink's mails. They were written before the worker
//! had its answer, so that whatever has completed is there.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::error::LocalError;
use crate::roster::Addresses;

/// Everything that arrived.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    pub(super) webhooks: Vec<Webhook>,
    pub(super) mails: Vec<Mail>,
}

/// A webhook, as its receiver saw it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Webhook {
    /// The task's id, by the specification's header.
    pub(super) id: String,
    pub(super) traceparent: String,
    /// `good`, or what is wrong with it.
    pub(super) signature: String,
    pub(super) body: Value,
}

/// A mail, as its server took it.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) path: PathBuf,
    text: String,
}

impl Arrived {
    pub(super) fn read(addresses: &Addresses) -> Result<Self, LocalError> {
        let webhooks = match &addresses.webhook_receiver {
            Some(receiver) => webhooks(&receiver.received)?,
            None => Vec::new(),
        };
        let mails = match &addresses.mail_sink {
            Some(sink) => mails(&sink.received)?,
            None => Vec::new(),
        };
        Ok(Self { webhooks, mails })
    }

    /// What came of the webhook's task `id`.
    pub(super) fn webhook(&self, id: &str) -> Option<&Webhook> {
        self.webhooks.iter().find(|webhook| webhook.id == id)
    }

    /// The mail with this Message-ID.
    pub(super) fn mail(&self, message_id: &str) -> Option<&Mail> {
        let id = format!("<{message_id}>");
        self.mails.iter().find(|mail| mail.text.contains(&id))
    }
}

impl Webhook {
    pub(super) fn is_verified(&self) -> bool {
        self.signature == "good"
    }
}

fn webhooks(file: &Path) -> Result<Vec<Webhook>, LocalError> {
    let text = std::fs::read_to_string(file).map_err(LocalError::file(file))?;
    let webhooks = text.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    webhooks.map_err(|error| LocalError::Refused(format!("{}: {error}", file.display())))
}

fn mails(folder: &Path) -> Result<Vec<Mail>, LocalError> {
    let mut mails = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(LocalError::file(folder))? {
        let path = entry.map_err(LocalError::file(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            let text = std::fs::read(&path).map_err(LocalError::file(&path))?;
            mails.push(Mail { path, text: String::from_utf8_lossy(&text).into_owned() });
        }
    }
    mails.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(mails)
}
