//! An authority that vouches for the servers of a test, and nobody else does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// Names and addresses of every server of a test.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Signs certificates. Its files go with the last clone of it.
#[derive(Debug, Clone)]
pub struct Authority {
    folder: Arc<TempDir>,
    issuer: Arc<Issuer<'static, KeyPair>>,
    pairs: Arc<AtomicUsize>,
}

impl Authority {
    /// A new one, which nobody knows yet.
    ///
    /// # Panics
    /// When the machine has no temporary folder.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let folder = TempDir::with_prefix("workfleet-test-").expect("the machine has a temporary folder");
        std::fs::write(folder.path().join("ca.crt"), certificate).expect("a temporary folder takes files");
        Self { folder: Arc::new(folder), issuer: Arc::new(Issuer::new(params, key)), pairs: Arc::default() }
    }

    /// What has to be trusted to trust whom it vouches for.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A certificate and its key for a server on this machine, in files of their own.
    #[must_use]
    pub fn pair(&self) -> (PathBuf, PathBuf) {
        let number = self.pairs.fetch_add(1, Ordering::Relaxed);
        let [certificate, key] = ["crt", "key"].map(|end| self.folder.path().join(format!("tls-{number}.{end}")));
        self.write_pair(&certificate, &key);
        (certificate, key)
    }

    /// The same into these files; what was in them is gone.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write_pair(&self, certificate_file: &Path, key_file: &Path) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(NAMES.map(str::to_owned)).expect("names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        std::fs::write(certificate_file, certificate).expect("the file can be written");
        std::fs::write(key_file, key.serialize_pem()).expect("the file can be written");
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
