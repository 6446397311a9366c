//! The variables that are this worker's alone.

use std::path::PathBuf;
use std::time::Duration;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use workfleet_sdk::Vars;

/// What `--help` says of them.
pub const HELP: &str = "
  WORKFLEET_WEBHOOK_SECRETS_DIR    folder with the secrets, a file each [default: none, sent without a signature]
  WORKFLEET_WEBHOOK_TIMEOUT        longest time of one attempt, 100ms to 10m [default: 15s]
  WORKFLEET_WEBHOOK_ALLOW_PRIVATE  whether loopback and private addresses may be called [default: false]
  WORKFLEET_WEBHOOK_CA_FILE        PEM file with certificates to trust beside the system's [default: none]
";
/// Longest attempt if nothing is said: below the 25 s that a worker drains, so that SIGTERM cuts off no delivery.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// To which addresses a connection may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Only to those that anybody on the internet may reach.
    PublicOnly,
    /// To any. For receivers within one's own network, and for tests.
    Any,
}

/// What the operator wants of this worker.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `WORKFLEET_WEBHOOK_SECRETS_DIR`: where the secrets are.
    pub secrets: Option<PathBuf>,
    /// `WORKFLEET_WEBHOOK_TIMEOUT`: longest time of one attempt.
    pub timeout: Duration,
    /// `WORKFLEET_WEBHOOK_ALLOW_PRIVATE`.
    pub addresses: Addresses,
    /// Whom to trust: the system's certificates, and those of `WORKFLEET_WEBHOOK_CA_FILE`.
    pub roots: RootCertStore,
}

impl Settings {
    /// Reads them, and notes what is wrong with them.
    #[must_use]
    pub fn read(vars: &mut Vars) -> Self {
        let secrets = vars.optional_text("WORKFLEET_WEBHOOK_SECRETS_DIR").map(PathBuf::from);
        if let Some(folder) = secrets.as_ref().filter(|folder| !folder.is_dir()) {
            vars.mistake(format!("WORKFLEET_WEBHOOK_SECRETS_DIR={folder:?}: is no folder"));
        }
        let timeout = vars.duration("WORKFLEET_WEBHOOK_TIMEOUT", TIMEOUT_DEFAULT);
        if !(TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
            vars.mistake(format!(
                "WORKFLEET_WEBHOOK_TIMEOUT={timeout:?}: must be from {TIMEOUT_MIN:?} to {TIMEOUT_MAX:?}"
            ));
        }
        let private = vars.switch("WORKFLEET_WEBHOOK_ALLOW_PRIVATE", false);
        let addresses = if private { Addresses::Any } else { Addresses::PublicOnly };
        Self { secrets, timeout, addresses, roots: roots(vars) }
    }
}

/// A system without certificates is no mistake: there may be none but `http://` receivers, or a file of one's own.
fn roots(vars: &mut Vars) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = vars.optional_text("WORKFLEET_WEBHOOK_CA_FILE") {
        match read_certificates(&path) {
            Ok(own) if own.is_empty() => {
                vars.mistake(format!("WORKFLEET_WEBHOOK_CA_FILE={path:?}: has no certificate in it"));
            }
            Ok(own) => {
                for certificate in own {
                    if let Err(error) = roots.add(certificate) {
                        vars.mistake(format!("WORKFLEET_WEBHOOK_CA_FILE={path:?}: {error}"));
                    }
                }
            }
            Err(reason) => vars.mistake(format!("WORKFLEET_WEBHOOK_CA_FILE={path:?}: {reason}")),
        }
    }
    roots
}

fn read_certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    certificates.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use workfleet_sdk::{Vars, Worker};

    use super::{Addresses, HELP, Settings};

    const NONE: [(&str, &str); 0] = [];

    #[test]
    fn nothing_needs_to_be_set_and_no_private_address_is_called_then() {
        let (_, settings) = Worker::from_vars_with(Vars::from_pairs(NONE), Settings::read).unwrap();
        assert_eq!((settings.timeout, settings.addresses), (Duration::from_secs(15), Addresses::PublicOnly));
        assert_eq!(settings.secrets, None);
    }

    #[test]
    fn every_mistake_is_reported_together_and_help_names_every_variable() {
        let wrong = [
            ("WORKFLEET_WEBHOOK_SECRETS_DIR", "/nowhere/at/all"),
            ("WORKFLEET_WEBHOOK_TIMEOUT", "1h"),
            ("WORKFLEET_WEBHOOK_ALLOW_PRIVATE", "yes"),
            ("WORKFLEET_WEBHOOK_CA_FILE", "/nowhere/ca.pem"),
            ("WORKFLEET_SLOTS", "0"),
        ];
        let error = Worker::from_vars_with(Vars::from_pairs(wrong), Settings::read).unwrap_err().to_string();
        for (name, _) in wrong {
            assert!(error.contains(name), "{name}: {error}");
            assert!(HELP.contains(name) || name == "WORKFLEET_SLOTS", "{name}");
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_a_mistake() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no certificate").unwrap();
        let path = file.path().to_str().unwrap();
        let vars = Vars::from_pairs([("WORKFLEET_WEBHOOK_CA_FILE", path)]);
        assert!(Worker::from_vars_with(vars, Settings::read).unwrap_err().to_string().contains("no certificate"));
    }
}
