//! The secrets that deliveries are signed with: a folder with a file for each.
//!
//! A file is read at each attempt, so that a secret is changed without a restart, as mounted secrets are. A task names
//! a secret and never carries one: what it carries lies in queues, results and dead letters.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncReadExt as _;

use crate::error::DeliveryError;

/// The secret of a task that names none.
const DEFAULT: &str = "default";
/// How a secret begins when it is written down.
const PREFIX: &str = "whsec_";
/// Longest name.
const NAME_BYTES_MAX: usize = 63;
/// Largest file.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// Most secrets in a file, and so most signatures of a delivery.
const SECRETS_MAX: usize = 8;
/// Bounds of a secret's length, after the specification.
const SECRET_BYTES_MIN: usize = 24;
const SECRET_BYTES_MAX: usize = 64;

/// The name of a secret. It is that of a file, and none that leads out of the folder can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretName(String);

impl SecretName {
    pub(crate) fn read(text: &str) -> Result<Self, DeliveryError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = text.len() <= NAME_BYTES_MAX
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|byte| plain(byte) || b"_.-".contains(&byte));
        if good { Ok(Self(text.to_owned())) } else { Err(DeliveryError::InvalidSecretRef) }
    }
}

/// A secret. Its bytes are never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let base64 = text.strip_prefix(PREFIX).ok_or_else(|| format!("a line does not begin with {PREFIX}"))?;
        let bytes = STANDARD.decode(base64).map_err(|_| "a line is no base64".to_owned())?;
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            return Err(format!("a secret has not {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes"));
        }
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Secrets(Option<PathBuf>);

impl Secrets {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self(folder)
    }

    /// Every secret of this name, at least one; the default's for a task that names none. Only where there is no folder
    /// at all, and no name, there are none, and the delivery goes out without a signature: an operator who has a folder
    /// must not send unsigned by a slip.
    pub(crate) async fn of(&self, name: Option<&SecretName>) -> Result<Vec<Secret>, DeliveryError> {
        let shown = name.map_or(DEFAULT, |name| &name.0);
        let bad = |reason| DeliveryError::BadSecret { name: shown.to_owned(), reason };
        let Some(folder) = &self.0 else {
            return if name.is_none() { Ok(Vec::new()) } else { Err(DeliveryError::UnknownSecret(shown.to_owned())) };
        };
        match text(&folder.join(shown)).await {
            Ok(text) => read(&text).map_err(bad),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(DeliveryError::UnknownSecret(shown.to_owned()))
            }
            Err(error) => Err(bad(error.to_string())),
        }
    }
}

async fn text(path: &Path) -> io::Result<String> {
    let file = tokio::fs::File::open(path).await?;
    if !file.metadata().await?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).await?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("the file has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// A line each; empty ones, and those that begin with `#`, are left out.
fn read(text: &str) -> Result<Vec<Secret>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let secrets = lines.map(Secret::read).collect::<Result<Vec<_>, _>>()?;
    match secrets.len() {
        0 => Err("there is none in its file".to_owned()),
        1..=SECRETS_MAX => Ok(secrets),
        _ => Err(format!("there are more than {SECRETS_MAX} in its file")),
    }
}

#[cfg(test)]
mod tests {
    use super::{SecretName, Secrets, read};
    use tempfile::TempDir;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn no_path_can_be_named() {
        let long = "x".repeat(64);
        for wrong in
            ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", ".hidden", "-a", "A", "a b", "a\0", "ä", &long]
        {
            assert_eq!(SecretName::read(wrong).unwrap_err().code(), "invalid_secret_ref", "{wrong:?}");
        }
        for good in ["a", "shop", "0.a_b-c", &long[1..]] {
            assert!(SecretName::read(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_file_has_a_secret_per_line() {
        assert_eq!(read(&format!("# new\n{SECRET}\r\n\n# old\n{SECRET}")).unwrap().len(), 2);
        let short = "whsec_AAAA";
        for wrong in ["", "# none", "secret", "whsec_", "whsec_?", short, &format!("{SECRET}\n").repeat(9)] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_secret_is_read_each_time_and_what_is_wrong_with_it_is_told() {
        let folder = TempDir::new().unwrap();
        let secrets = Secrets::new(Some(folder.path().to_owned()));
        let shop = SecretName::read("shop").unwrap();
        assert_eq!(secrets.of(None).await.unwrap_err().code(), "unknown_secret");
        assert_eq!(secrets.of(Some(&shop)).await.unwrap_err().code(), "unknown_secret");
        let bad: [&[u8]; 3] = [b"\xff\xfe", b"half a secr", &[b'\n'; 17 * 1024]];
        for bytes in bad {
            std::fs::write(folder.path().join("shop"), bytes).unwrap();
            assert_eq!(secrets.of(Some(&shop)).await.unwrap_err().code(), "bad_secret");
        }
        std::fs::write(folder.path().join("shop"), SECRET).unwrap();
        assert_eq!(secrets.of(Some(&shop)).await.unwrap().len(), 1);
        std::fs::create_dir(folder.path().join("default")).unwrap();
        assert_eq!(secrets.of(None).await.unwrap_err().code(), "bad_secret");
    }

    #[tokio::test]
    async fn only_without_a_folder_and_a_name_there_is_no_secret() {
        let secrets = Secrets::new(None);
        assert!(secrets.of(None).await.unwrap().is_empty());
        let shop = SecretName::read("shop").unwrap();
        assert_eq!(secrets.of(Some(&shop)).await.unwrap_err().code(), "unknown_secret");
    }
}
