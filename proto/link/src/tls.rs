//! Certificates and keys in PEM files, and what is made of them. One place, so that every listener and every client of
//! the fleet reads them alike, and says alike what is wrong with a file.
//!
//! The provider of cryptography is always ring, named at each place: what a process has installed as its default is up
//! to whoever embeds us.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Everything that is encrypted or signed here.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates of a file, at least one.
///
/// # Errors
/// When the file cannot be read, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::new(path, "there is no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(TlsError::pem(path, &error)),
    }
}

/// The authorities of a file: whoever they vouch for is trusted, and nobody else.
///
/// # Errors
/// When the file cannot be read, holds no certificate, or one that is none.
pub fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::new(path, error.to_string()))?;
    }
    Ok(roots)
}

/// Where a certificate with its chain is, and the key that belongs to it; both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate, then whoever vouches for it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl PairFiles {
    /// Reads both.
    ///
    /// # Errors
    /// When one cannot be read, or they do not fit together.
    pub fn read(&self) -> Result<CertifiedKey, TlsError> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| TlsError::pem(&self.key, &error))?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            TlsError::new(&self.key, format!("it is not the key of {}: {error}", self.certificate.display()))
        })
    }
}

/// How a client of ours makes sure with whom it speaks: by the authorities of this file, or the system's.
///
/// # Errors
/// When the file cannot be used, or the system has no authorities.
pub fn client(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let roots = match ca_file {
        Some(path) => authorities(path)?,
        None => system_authorities(),
    };
    Ok(trusting(roots))
}

/// For clients that speak plain HTTP alone, and have to be given something.
#[must_use]
pub fn nobody() -> ClientConfig {
    trusting(RootCertStore::empty())
}

fn trusting(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// What TLS says against a connection, where it is TLS that stands behind an error.
#[must_use]
pub fn reason<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An io error hides what it was made of from `source`.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Where the system has none, nobody is trusted, and the first connection says so.
fn system_authorities() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::debug!(%error, "authorities of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

/// What is wrong with a file of certificates or with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TlsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it; nothing of what it holds.
    pub reason: String,
}

impl TlsError {
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), reason: reason.into() }
    }

    fn pem(path: &Path, error: &PemError) -> Self {
        let reason = match error {
            PemError::Io(error) => error.to_string(),
            PemError::NoItemsFound => "there is no key in it".to_owned(),
            // The others repeat what they have read, and that may be a key.
            _ => "it is not PEM".to_owned(),
        };
        Self::new(path, reason)
    }
}
