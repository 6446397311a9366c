//! An authority of certificates, and what it signs.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key can be made");
        let pem = params.self_signed(&key).expect("it signs itself").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Writes `ca.crt` into a folder, and says where.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        std::fs::create_dir_all(folder).expect("a temporary folder takes folders");
        let path = folder.join("ca.crt");
        std::fs::write(&path, &self.pem).expect("a temporary folder takes files");
        path
    }

    /// Writes what the Secret `tls-nats` has, for these names: `tls.crt`, `tls.key` and `ca.crt`.
    pub(crate) fn sign(&self, names: &[&str], folder: &Path) {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).expect("names of hosts are fine");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        self.write(folder);
        std::fs::write(folder.join("tls.crt"), certificate.pem()).expect("a temporary folder takes files");
        std::fs::write(folder.join("tls.key"), key.serialize_pem()).expect("a temporary folder takes files");
    }
}
