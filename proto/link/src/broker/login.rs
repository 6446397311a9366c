//! Who this client is to the broker.
//!
//! Secrets come from files, and are nowhere to be seen: not in the environment, which whoever may list processes can
//! read, and not in `Debug`. An nkey's seed is read once, at start; replacing it means starting the process again, as
//! the manifests do by a rolling restart.

use std::fmt;
use std::path::{Path, PathBuf};

use async_nats::{ConnectOptions, ServerAddr};
use nkeys::{KeyPair, KeyPairType};
use percent_encoding::percent_decode_str;

use super::BrokerError;
use crate::config::Vars;

/// Who this client is. What a file says stands above what the address says.
#[derive(Debug, Clone, Default)]
pub enum Login {
    /// Whoever the address names, if anybody.
    #[default]
    Address,
    /// A NATS credentials file, with a JWT and a seed.
    Credentials(PathBuf),
    /// An nkey.
    Nkey(Seed),
}

/// The seed of a user's nkey, which begins with `SU`.
#[derive(Clone)]
pub struct Seed(String);

impl Seed {
    /// Reads the file: the seed on a line of its own, as `nk -gen user` and `workfleet credentials` write it.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no seed of a user. The error says nothing of what the file holds.
    pub fn read(path: &Path) -> Result<Self, SeedError> {
        let text = std::fs::read_to_string(path).map_err(|error| SeedError::Unreadable(error.kind().to_string()))?;
        let line = text.lines().map(str::trim).find(|line| line.starts_with("SU")).ok_or(SeedError::NoSeed)?;
        match KeyPair::from_seed(line) {
            Ok(pair) if pair.key_pair_type() == KeyPairType::User => Ok(Self(line.to_owned())),
            Ok(_) | Err(_) => Err(SeedError::NoSeed),
        }
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(***)")
    }
}

/// Why a file gives no seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It holds something else.
    #[error("there is no seed of a user (SU...) in it")]
    NoSeed,
}

/// Reads the variables that name a file.
pub(super) fn read(vars: &mut Vars) -> Login {
    let credentials = vars.file("WORKFLEET_NATS_CREDENTIALS_FILE", |path| {
        std::fs::File::open(path).map(|_| path.to_owned()).map_err(|error| error.kind().to_string())
    });
    let seed = vars.file("WORKFLEET_NATS_NKEY_FILE", Seed::read);
    match (seed, credentials) {
        (Some(_), Some(_)) => {
            vars.mistake("WORKFLEET_NATS_NKEY_FILE and WORKFLEET_NATS_CREDENTIALS_FILE: only one of them can log in");
            Login::Address
        }
        (Some(seed), None) => Login::Nkey(seed),
        (None, Some(path)) => Login::Credentials(path),
        (None, None) => Login::Address,
    }
}

/// Options with which the client logs in.
pub(super) async fn log_in(
    options: ConnectOptions,
    login: &Login,
    addresses: &[ServerAddr],
) -> Result<ConnectOptions, BrokerError> {
    match login {
        Login::Nkey(seed) => Ok(options.nkey(seed.0.clone())),
        Login::Credentials(path) => options
            .credentials_file(path)
            .await
            .map_err(|error| BrokerError::Credentials { path: path.clone(), reason: error.to_string() }),
        // One login for all of them: a cluster names servers that no address here names.
        Login::Address => Ok(match addresses.iter().find(|address| address.has_user_pass()) {
            Some(address) => by_address(options, address),
            None => options,
        }),
    }
}

/// What an address says of who connects. The client takes it from its options alone.
fn by_address(options: ConnectOptions, address: &ServerAddr) -> ConnectOptions {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    match (address.username().map(decoded), address.password().map(decoded)) {
        (Some(user), Some(password)) => options.user_and_password(user, password),
        (Some(token), None) => options.token(token),
        (None, _) => options,
    }
}
