//! `workfleet credentials`: makes the keys that a fleet connects to its broker with.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use workfleet_dispatcher::credentials::{self, AUTH_CONF, Change, CredentialsError, Report, Role, Rotate};
use workfleet_dispatcher::queues_file::QueuesFile;
use workfleet_proto::names::Prefix;

use super::fault::Fault;
use super::print;

/// What a process needs of its role.
const ROLE_VARS: &str =
    "each role's processes have WORKFLEET_NATS_NKEY_FILE=<its SEED> and WORKFLEET_NATS_INBOX_PREFIX=_INBOX_<its ROLE>";
/// Why two roles are refused.
const TWO_ROLES: &str = "--rotate and --finish can be said together for one and the same role; do others one by one";

/// Make a key for each role of a fleet, and the broker's configuration that knows them
///
/// Writes `<role>.nk` (a secret seed, for the processes of that role alone) for provision, dispatcher, backup, the
/// workers of each queue in the file, and sys, and `auth.conf` with their public keys and what each of them may do.
/// What is there is kept: run it again whenever the queues file has changed, then have the broker read its
/// configuration again. `backup` is for backups and restores: it reads every payload, so keep its key elsewhere.
///
/// A key is changed without a pause in two steps. --rotate makes a new seed, and auth.conf knows both keys; reload the
/// broker, then restart the processes of the role with the new seed. --finish takes the old key out; reload the broker
/// again. After a theft do both at once, for the same role: the old key ends now, and that role's processes are cut off
/// until they have the new one.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  workfleet credentials --queues deploy/local/queues.toml --out credentials
  echo 'include \"credentials/auth.conf\"' >> nats.conf && nats-server --signal reload
  WORKFLEET_NATS_NKEY_FILE=credentials/worker-thumbnail.nk \\
    WORKFLEET_NATS_INBOX_PREFIX=_INBOX_worker-thumbnail workfleet-thumbnail")]
pub(crate) struct Credentials {
    /// The queues, in TOML
    #[arg(long, value_name = "FILE", env = "WORKFLEET_QUEUES_FILE")]
    queues: PathBuf,
    /// The folder for the keys; it is made, and made its owner's alone
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What stands before every name
    #[arg(long, value_name = "PREFIX", env = "WORKFLEET_PREFIX", default_value = "wf")]
    prefix: Prefix,
    /// Make a new key for this role; the old one stays good
    #[arg(long, value_name = "ROLE")]
    rotate: Option<Role>,
    /// Take the old key of this role out; with --rotate of the same role, in one go
    #[arg(long, value_name = "ROLE")]
    finish: Option<Role>,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Credentials {
    /// Runs the command.
    pub(crate) fn run(self) -> Result<(), Fault> {
        let file = QueuesFile::read(&self.queues).map_err(|error| Fault::Usage(error.to_string()))?;
        let rotate = match (self.rotate, self.finish) {
            (Some(new), Some(old)) if new == old => Some(Rotate::Replace(new)),
            (Some(_), Some(_)) => return Err(Fault::Usage(TWO_ROLES.to_owned())),
            (new, old) => new.map(Rotate::Begin).or(old.map(Rotate::Finish)),
        };
        let report = credentials::write(&self.out, &file, &self.prefix, rotate.as_ref())?;
        if self.json { print::json(&json!(report)) } else { show(&report) }
    }
}

fn show(report: &Report) -> Result<(), Fault> {
    let rows = report.lines.iter().map(|line| {
        let file = line.seed_file.display().to_string();
        [line.role.to_string(), line.change.word().to_owned(), line.public_key.clone(), file]
    });
    let conf = [AUTH_CONF.to_owned(), report.auth_conf.word().to_owned(), String::new(), String::new()];
    print::table(["ROLE", "CHANGE", "PUBLIC KEY", "SEED"], rows.chain([conf]))?;
    for line in report.lines.iter().filter(|line| line.previous_key.is_some()) {
        let role = &line.role;
        print::line(&format!("{role} has its old key too; once all its processes have the new one: --finish {role}"))?;
    }
    for seed in &report.left {
        print::line(&format!("{} belongs to no queue of the file: no broker knows it any more", seed.display()))?;
    }
    print::line(ROLE_VARS)?;
    if report.auth_conf != Change::Kept {
        print::line("the broker has to read its configuration again: nats-server --signal reload")?;
    }
    Ok(())
}

impl From<CredentialsError> for Fault {
    fn from(error: CredentialsError) -> Self {
        match error {
            CredentialsError::NoKey(_) | CredentialsError::Unfinished { .. } => Self::Denied(error.to_string()),
            CredentialsError::UnknownRole { .. } | CredentialsError::File { .. } | CredentialsError::Garbled { .. } => {
                Self::Usage(error.to_string())
            }
        }
    }
}
