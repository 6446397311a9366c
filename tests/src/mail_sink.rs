//! The mail sink as a process of its own, as the demo has it: the SMTP server of the email worker's tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tempfile::TempDir;

use crate::fleet::{Fleet, FleetBuilder, address};
use crate::place::program;
use crate::process::{Process, Spec};
use crate::wait::eventually;

/// A running sink.
#[derive(Debug)]
pub struct MailSink {
    process: Process,
    address: SocketAddr,
    folder: TempDir,
}

impl MailSink {
    /// Starts one that goes by these rules, as in `rcpt:ada@example.org=450x2`.
    ///
    /// # Panics
    /// When the program is missing or does not listen.
    pub async fn start(rules: &[&str]) -> Self {
        let folder = TempDir::with_prefix("workfleet-mails-").expect("the machine has a temporary folder");
        let file = folder.path().join("addresses.json");
        let mut spec = Spec::new("mail-sink", program("workfleet-local"))
            .argument("mail-sink")
            .argument("--dir")
            .argument(folder.path().join("mails").display().to_string())
            .variable("WORKFLEET_ADDR_FILE", file.display().to_string());
        for rule in rules {
            spec = spec.argument("--rule").argument(*rule);
        }
        let mut process = Process::start(&spec, folder.path());
        let address = eventually("the mail sink listens", async || {
            process.must_run();
            address(&file, "smtp")
        })
        .await;
        Self { process, address, folder }
    }

    /// A fleet with the queue `email` and one worker, which sends its mails here as `Shop <shop@example.org>`.
    #[must_use]
    pub fn fleet(&self) -> FleetBuilder {
        let builder = Fleet::builder().queue("email", |queue| queue).workers("probe", 0).workers("email", 1);
        self.variables().into_iter().fold(builder, |builder, (name, value)| builder.variable(name, &value))
    }

    /// What tells an email worker to send its mails here.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("WORKFLEET_SMTP_HOST", self.address.ip().to_string()),
            ("WORKFLEET_SMTP_PORT", self.address.port().to_string()),
            ("WORKFLEET_SMTP_TLS", "none".to_owned()),
            ("WORKFLEET_EMAIL_FROM", "Shop <shop@example.org>".to_owned()),
        ])
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every mail that it has taken, in order, below the envelope that it writes above each.
    #[must_use]
    pub fn mails(&self) -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(self.folder.path().join("mails")).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        paths.sort();
        paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
    }

    /// Waits until there are so many, and gives all there are.
    pub async fn taken(&mut self, count: usize) -> Vec<Vec<u8>> {
        eventually(&format!("the sink takes {count} mails"), async || {
            self.process.must_run();
            let mails = self.mails();
            (mails.len() >= count).then_some(mails)
        })
        .await
    }
}
