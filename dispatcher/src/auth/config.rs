//! What the process is told about its callers.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::redirect::Policy;
use url::{Host, Url};
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
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.password().is_none() => Some(url),
        // Not the URL itself: it may have a password in it.
        _ => {
            vars.mistake(format!("{KEYS_URL}: is no http:// or https:// URL, or has a password in it"));
            None
        }
    });
    let url = url.filter(|url| {
        let safe = url.scheme() == "https" || is_loopback(url);
        if !safe {
            vars.mistake(format!("{KEYS_URL}: whoever is between could make tokens: use https:// (or {KEYS_FILE})"));
        }
        safe
    });
    let url = url.and_then(|url| Some(KeysConfig::Url(url, client(vars)?)));
    if vars.optional_text(KEYS_FILE).is_some() && vars.optional_text(KEYS_URL).is_some() {
        vars.mistake(format!("{KEYS_FILE} and {KEYS_URL}: set one of them"));
    }
    file.or(url)
}

/// Whether a URL leads to this machine, so that nobody is between.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        None => false,
    }
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

#[cfg(test)]
mod tests {
    use super::{AuthConfig, KeysConfig};
    use crate::auth::tokens::{TokenEntry, mint};
    use crate::auth::{Action, grant::Queues};
    use std::net::SocketAddr;
    use workfleet_link::config::Vars;

    fn read(pairs: &[(&str, &str)]) -> Result<AuthConfig, Vec<String>> {
        let mut vars = Vars::from_pairs(pairs.iter().copied());
        let config = AuthConfig::read(&mut vars);
        vars.finish(config).map_err(|error| error.mistakes)
    }

    fn tokens() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let may = [Action::Read].into();
        let entry = TokenEntry { name: "x".to_owned(), sha256: mint().sha256, queues: Queues::All, may, expires: None };
        std::fs::write(file.path(), entry.to_string()).expect("a file");
        file
    }

    #[test]
    fn authentication_is_off_where_nothing_is_set_and_on_where_anything_is() {
        assert!(!read(&[]).expect("nothing").is_on());
        let file = tokens();
        let path = file.path().display().to_string();
        assert!(read(&[("WORKFLEET_TOKENS_FILE", &path)]).expect("a good file").is_on());
        let jwt = [
            ("WORKFLEET_JWKS_URL", "https://issuer.test/keys"),
            ("WORKFLEET_JWT_ISSUER", "https://issuer.test"),
            ("WORKFLEET_JWT_AUDIENCE", "workfleet"),
        ];
        let config = read(&jwt).expect("all three");
        assert!(config.is_on() && matches!(config.jwt.expect("JWTs").keys, KeysConfig::Url(..)));
        assert_eq!(read(&jwt[..1]).expect_err("no issuer, no audience").len(), 2);
        assert_eq!(read(&jwt[1..]).expect_err("both do nothing").len(), 2);
    }

    #[test]
    fn a_mistake_names_the_variable_and_no_secret() {
        let wrong = [
            ("WORKFLEET_TOKENS_FILE", "/nowhere/tokens.toml"),
            ("WORKFLEET_JWKS_FILE", "/nowhere/jwks.json"),
            ("WORKFLEET_JWKS_URL", "https://me:hush@issuer.test/keys"),
            ("WORKFLEET_JWT_ISSUER", "x"),
        ];
        let mistakes = read(&wrong).expect_err("five mistakes");
        assert_eq!(mistakes.len(), 5, "{mistakes:?}");
        assert!(mistakes.iter().all(|mistake| mistake.starts_with("WORKFLEET_") && !mistake.contains("hush")));
        for url in ["ftp://issuer.test", "keys", "file:///etc/passwd", "https://"] {
            let set = [("WORKFLEET_JWKS_URL", url), ("WORKFLEET_JWT_ISSUER", "x"), ("WORKFLEET_JWT_AUDIENCE", "y")];
            assert_eq!(read(&set).expect_err("no URL of a web server").len(), 1, "{url}");
        }
    }

    #[test]
    fn keys_come_in_clear_from_this_machine_alone() {
        let mistakes = |url: &str| {
            let set = [("WORKFLEET_JWKS_URL", url), ("WORKFLEET_JWT_ISSUER", "x"), ("WORKFLEET_JWT_AUDIENCE", "y")];
            read(&set).map_or_else(|mistakes| mistakes, |_| Vec::new())
        };
        for near in ["http://127.0.0.1:9/keys", "http://[::1]/keys", "http://localhost/keys", "https://issuer.test/"] {
            assert_eq!(mistakes(near), Vec::<String>::new(), "{near}");
        }
        let far = ["http://issuer.test/keys", "http://10.0.0.1/keys", "http://localhost.issuer.test", "http://[::2]/"];
        for url in far {
            let mistakes = mistakes(url);
            assert!(mistakes.len() == 1 && mistakes[0].contains("https://"), "{url}: {mistakes:?}");
        }
    }

    #[test]
    fn strangers_from_other_machines_are_served_with_authentication_alone() {
        let mistakes = |address: &str, pairs: &[(&str, &str)]| {
            let address: SocketAddr = address.parse().expect("an address");
            let mut vars = Vars::from_pairs(pairs.iter().copied());
            AuthConfig::must_cover(&mut vars, &[("WORKFLEET_HTTP_ADDR", address)]);
            vars.finish(()).map_or_else(|error| error.mistakes.len(), |()| 0)
        };
        for loopback in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert_eq!(mistakes(loopback, &[]), 0, "{loopback}");
        }
        for open in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
            assert_eq!(mistakes(open, &[]), 1, "{open}");
            assert_eq!(mistakes(open, &[("WORKFLEET_TOKENS_FILE", "tokens.toml")]), 0, "{open}");
        }
    }
}
