//! What the process is told about its callers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::redirect::Policy;
use url::Url;
use workfleet_link::config::Vars;
use workfleet_link::tls;

use super::keys::{JWKS_FILE, KeySet};
use super::reloaded::Format;
use super::tokens::{TOKENS_FILE_BYTES_MAX, Tokens};

const TOKENS: &str = "WORKFLEET_TOKENS_FILE";
const KEYS_FILE: &str = "WORKFLEET_JWKS_FILE";
const KEYS_URL: &str = "WORKFLEET_JWKS_URL";
const KEYS_CA: &str = "WORKFLEET_JWKS_CA_FILE";
const ISSUER: &str = "WORKFLEET_JWT_ISSUER";
const AUDIENCE: &str = "WORKFLEET_JWT_AUDIENCE";

/// How a tokens file is read.
pub(super) static TOKENS_FILE: Format<Tokens> = Format {
    what: "the tokens",
    bytes_max: TOKENS_FILE_BYTES_MAX,
    parse: |text| Tokens::parse(text).map_err(|error| error.to_string()),
};

/// How callers are known. Nothing of both: they are not, and only those on the same machine are served.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    pub(super) tokens: Option<(PathBuf, Arc<Tokens>)>,
    pub(super) jwt: Option<JwtConfig>,
}

/// How JWTs are checked.
#[derive(Debug, Clone)]
pub(super) struct JwtConfig {
    pub(super) keys: KeysConfig,
    pub(super) issuer: String,
    pub(super) audience: String,
}

/// Where the issuer's keys are.
#[derive(Debug, Clone)]
pub(super) enum KeysConfig {
    File(PathBuf, Arc<KeySet>),
    Url(Url, reqwest::Client),
}

impl AuthConfig {
    /// Reads `WORKFLEET_TOKENS_FILE`, `WORKFLEET_JWKS_FILE` or `WORKFLEET_JWKS_URL`, `WORKFLEET_JWT_ISSUER` and
    /// `WORKFLEET_JWT_AUDIENCE`, and the files that they name.
    pub fn read(vars: &mut Vars) -> Self {
        let tokens = vars.file(TOKENS, |path| read(&TOKENS_FILE, path));
        let keys = keys(vars);
        let [issuer, audience] = [ISSUER, AUDIENCE].map(|name| vars.optional_text(name));
        let keys_wanted = [KEYS_FILE, KEYS_URL].iter().any(|name| vars.optional_text(name).is_some());
        for (name, value) in [(ISSUER, &issuer), (AUDIENCE, &audience)] {
            if value.is_none() && keys_wanted {
                vars.mistake(format!("{name}: has to be set where JWTs are taken: a token for others is not for us"));
            }
            if value.is_some() && !keys_wanted {
                vars.mistake(format!("{name}: does nothing without {KEYS_FILE} or {KEYS_URL}"));
            }
        }
        let jwt = match (keys, issuer, audience) {
            (Some(keys), Some(issuer), Some(audience)) => Some(JwtConfig { keys, issuer, audience }),
            _ => None,
        };
        Self { tokens, jwt }
    }

    /// Whether callers have to say who they are.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.tokens.is_some() || self.jwt.is_some()
    }

    /// Notes a mistake where strangers from other machines would be served. To be called once everything is read, with
    /// the addresses and the names of their variables.
    pub fn must_cover(vars: &mut Vars, addresses: &[(&str, SocketAddr)]) {
        // A file that is wrong is a mistake of its own.
        if [TOKENS, KEYS_FILE, KEYS_URL].iter().any(|name| vars.optional_text(name).is_some()) {
            return;
        }
        for (name, address) in addresses.iter().filter(|(_, address)| !address.ip().to_canonical().is_loopback()) {
            vars.mistake(format!(
                "{name}={address}: authentication is off only on loopback; set {TOKENS} (`workfleet token` makes \
                 tokens) or {KEYS_URL}, or listen on 127.0.0.1"
            ));
        }
    }
}

fn keys(vars: &mut Vars) -> Option<KeysConfig> {
    let file = vars.file(KEYS_FILE, |path| read(&JWKS_FILE, path)).map(|(path, keys)| KeysConfig::File(path, keys));
    let url = vars.optional_text(KEYS_URL).and_then(|text| match text.parse::<Url>() {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
        // Not the URL itself: it may have a password in it.
        _ => {
            vars.mistake(format!("{KEYS_URL}: is no http:// or https:// URL"));
            None
        }
    });
    let url = url.and_then(|url| Some(KeysConfig::Url(url, client(vars)?)));
    if vars.optional_text(KEYS_FILE).is_some() && vars.optional_text(KEYS_URL).is_some() {
        vars.mistake(format!("{KEYS_FILE} and {KEYS_URL}: set one of them"));
    }
    file.or(url)
}

/// Follows no redirect: where keys come from is the operator's to say.
fn client(vars: &mut Vars) -> Option<reqwest::Client> {
    let tls = match vars.optional_text(KEYS_CA) {
        Some(_) => vars.file(KEYS_CA, |path| tls::client(Some(path))),
        None => tls::client(None).map_err(|error| vars.mistake(format!("{KEYS_URL}: {error}"))).ok(),
    };
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls?).redirect(Policy::none()).build();
    client.map_err(|error| vars.mistake(format!("{KEYS_URL}: {error}"))).ok()
}

fn read<T>(format: &Format<T>, path: &Path) -> Result<(PathBuf, Arc<T>), super::reloaded::FileError> {
    format.read(path).map(|read| (path.to_owned(), Arc::new(read)))
}
