//! The certificate that the listeners show, read anew when its files change, so that rotating it needs no restart.
//!
//! Both files are read every few seconds and compared. Times of files would be cheaper to look at, and they are wrong
//! where a file is replaced by one of the same second; notifications of the kernel miss the links by which Kubernetes
//! replaces a whole folder at once.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;
use workfleet_link::tls::{PairFiles, TlsError};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);

/// A certificate and its key, and the files that they come from.
#[derive(Debug)]
pub struct Certificate {
    files: PairFiles,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    /// When a file cannot be read, or the two do not fit together.
    pub fn read(files: PairFiles) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(Arc::new(files.read()?));
        Ok(Arc::new(Self { files, current }))
    }

    /// Keeps it as new as its files until `shutdown`. What cannot be used is logged once for each change of the files,
    /// and the pair from before stays: half a replacement, or a wrong one, must not take a fleet off the net.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let mut seen = None;
        loop {
            let certificate = Arc::clone(&self);
            // Reading a file blocks for as long as the file system does.
            let looked = tokio::task::spawn_blocking(move || {
                certificate.look(&mut seen);
                seen
            });
            seen = looked.await.unwrap_or_default();
            if shutdown.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await.is_none() {
                return;
            }
        }
    }

    /// `seen` is what the files held when they were looked at last.
    fn look(&self, seen: &mut Option<Contents>) {
        let contents = Contents::of(&self.files);
        let first = seen.is_none();
        if seen.as_ref() == Some(&contents) {
            return;
        }
        *seen = Some(contents);
        let path = self.files.certificate.display();
        match self.files.read() {
            Ok(pair) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                if !first {
                    tracing::info!(%path, "the certificate has changed; new connections see the new one");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the certificate has changed and cannot be used: the one from before stays");
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What the two files held; nothing of one that could not be read.
#[derive(PartialEq, Eq)]
struct Contents([Option<Vec<u8>>; 2]);

impl Contents {
    fn of(files: &PairFiles) -> Self {
        let read = |path: &Path| std::fs::read(path).ok();
        Self([read(&files.certificate), read(&files.key)])
    }
}

#[cfg(test)]
mod tests {
    use super::Certificate;
    use rcgen::{CertificateParams, KeyPair};
    use std::sync::PoisonError;
    use workfleet_link::tls::PairFiles;

    /// A certificate and its key, as PEM.
    fn made() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(["localhost".to_owned()]).expect("a name").self_signed(&key);
        (certificate.expect("a certificate").pem(), key.serialize_pem())
    }

    #[test]
    fn a_replaced_pair_is_taken_and_half_of_one_or_a_broken_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = PairFiles { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        let write = |certificate: &str, key: &str| {
            std::fs::write(&files.certificate, certificate).expect("a file");
            std::fs::write(&files.key, key).expect("a file");
        };
        let (first, second) = (made(), made());
        write(&first.0, &first.1);
        let certificate = Certificate::read(files.clone()).expect("a pair");
        let shown = || {
            let pair = certificate.current.read().unwrap_or_else(PoisonError::into_inner);
            pair.cert[0].to_vec()
        };
        let mut seen = None;
        certificate.look(&mut seen);
        let before = shown();
        for (certificate_text, key_text) in [(&second.0, &first.1), (&"no PEM".to_owned(), &second.1)] {
            write(certificate_text, key_text);
            certificate.look(&mut seen);
            assert_eq!(shown(), before);
        }
        std::fs::remove_file(&files.key).expect("it was there");
        certificate.look(&mut seen);
        assert_eq!(shown(), before);
        write(&second.0, &second.1);
        certificate.look(&mut seen);
        assert_ne!(shown(), before);
    }
}
