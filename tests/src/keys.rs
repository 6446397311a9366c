//! A fleet's keys, as `workfleet credentials` writes them, and clients that hold one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Client, ConnectError, ConnectOptions, Event};

use crate::place::program;
use crate::wait::eventually;

/// The folder with the keys of a fleet.
#[derive(Debug, Clone)]
pub struct Keys {
    folder: PathBuf,
    queues: PathBuf,
    environment: BTreeMap<String, String>,
}

impl Keys {
    /// Writes the keys of a queues file into a folder beside it.
    ///
    /// # Panics
    /// When the command fails.
    pub async fn write(queues: &Path) -> Self {
        Self::write_for(queues, BTreeMap::new()).await
    }

    /// The same for a fleet with these variables.
    pub(crate) async fn write_for(queues: &Path, environment: BTreeMap<String, String>) -> Self {
        let folder = queues.with_file_name("keys");
        let keys = Self { folder, queues: queues.to_owned(), environment };
        keys.command(&[]).await;
        keys
    }

    /// Runs `workfleet credentials` once more, with these arguments too, and gives what it said.
    ///
    /// # Panics
    /// When it fails.
    pub async fn command(&self, arguments: &[&str]) -> String {
        let mut command = tokio::process::Command::new(program("workfleet"));
        command.args(["credentials", "--queues"]).arg(&self.queues).arg("--out").arg(&self.folder).args(arguments);
        let output = command.envs(&self.environment).kill_on_drop(true).output().await.expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it writes text")
    }

    /// The configuration of a server that knows these keys and nobody else.
    pub(crate) fn write_server_configuration(&self) -> PathBuf {
        let path = self.folder.with_file_name("nats.conf");
        std::fs::write(&path, "include \"keys/auth.conf\"\n").expect("a temporary folder takes files");
        path
    }

    /// The secret of a role.
    ///
    /// # Panics
    /// When there is no such role.
    #[must_use]
    pub fn seed(&self, role: &str) -> String {
        std::fs::read_to_string(self.seed_file(role)).expect("the role has a seed").trim().to_owned()
    }

    fn seed_file(&self, role: &str) -> PathBuf {
        self.folder.join(format!("{role}.nk"))
    }

    /// What tells a program who it is.
    #[must_use]
    pub fn variables(&self, role: &str) -> [(&'static str, String); 2] {
        [
            ("WORKFLEET_NATS_NKEY_FILE", self.seed_file(role).display().to_string()),
            ("WORKFLEET_NATS_INBOX_PREFIX", format!("_INBOX_{role}")),
        ]
    }

    /// A connection as a role has it.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn connect(&self, url: &str, role: &str) -> Result<Client, ConnectError> {
        self.options(role).connect(url).await
    }

    /// How a role connects.
    pub(crate) fn options(&self, role: &str) -> ConnectOptions {
        options(role, self.seed(role))
    }
}

fn options(role: &str, seed: String) -> ConnectOptions {
    ConnectOptions::with_nkey(seed).custom_inbox_prefix(format!("_INBOX_{role}"))
}

/// Somebody who has got hold of a role's seed, and of nothing else.
#[derive(Debug, Clone)]
pub struct Thief {
    /// The connection.
    pub client: Client,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Thief {
    /// Connects with a seed.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn connect(url: &str, role: &str, seed: String) -> Result<Self, ConnectError> {
        let refusals = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&refusals);
        let options = options(role, seed).event_callback(move |event| {
            if let Event::ServerError(error) = event {
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
            }
            async {}
        });
        Ok(Self { client: options.connect(url).await?, refusals })
    }

    /// Publishes, and waits until the broker says that this is not permitted.
    ///
    /// # Panics
    /// When it does not.
    pub async fn may_not_publish(&self, subject: &str, body: &str) {
        let sent = self.client.publish_with_reply(subject.to_owned(), self.client.new_inbox(), body.to_owned().into());
        sent.await.expect("the connection is open");
        self.is_refused("Publish", subject).await;
    }

    /// Subscribes, and waits until the broker says that this is not permitted.
    ///
    /// # Panics
    /// When it does not.
    pub async fn may_not_subscribe(&self, subject: &str) {
        let _subscription = self.client.subscribe(subject.to_owned()).await.expect("the connection is open");
        self.is_refused("Subscription", subject).await;
    }

    async fn is_refused(&self, what: &str, subject: &str) {
        self.client.flush().await.expect("the connection is open");
        eventually(&format!("the broker refuses {subject}"), async || {
            let refusals = self.refusals();
            let named = |refusal: &String| refusal.contains(&format!("\"{subject}\""));
            refusals.iter().any(|refusal| is_violation(refusal, what) && named(refusal)).then_some(())
        })
        .await;
    }

    /// Everything that the broker has refused so far, in its own words.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn is_violation(refusal: &str, what: &str) -> bool {
    refusal.to_lowercase().contains(&format!("permissions violation for {}", what.to_lowercase()))
}
