//! Who a caller is, and what it may do: bearer tokens, checked at the edges before anything of a request is read.
//!
//! - [`tokens`]: static tokens from a file of hashes. `jwt`, with `issuer`, `keys` and `signatures`: JWTs of an issuer.
//! - [`grant`]: what either of them allows. A request has one grant, and everything behind the edge goes by it.
//! - `reloaded`: files that change while the process runs.
//!
//! A dispatcher without either serves its own machine alone: whoever reaches a loopback port is as good as its operator.
//! Tokens are checked here and not by a proxy in front, since only the dispatcher knows which queue an id belongs to.
//! Submits from within the fleet do not pass here: there the broker's permissions say who may submit where.

mod bearer;
mod config;
pub mod grant;
mod issuer;
mod jwt;
mod keys;
mod refusal;
mod reloaded;
mod signatures;
pub mod tokens;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use workfleet_link::telemetry::attribute;

use crate::error::ApiError;

pub use config::AuthConfig;
pub use grant::{Action, Grant};
pub use refusal::{JwtFault, Refusal};

pub(crate) use refusal::{FORBIDDEN_CHALLENGE, FORBIDDEN_REASON};

use config::KeysConfig;
use issuer::{Issuer, Remote};
use jwt::Jwts;
use keys::JWKS_FILE;
use reloaded::Reloaded;
use tokens::{Found, Tokens};

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Refusals that are logged in a second; a caller in a loop is not to fill the log.
const REFUSALS_LOGGED_MAX: u32 = 10;
/// Whoever calls where there is no authentication.
const ANYBODY: &str = "anybody";

/// Knows callers by their tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Ways>);

struct Ways {
    told: Mutex<Told>,
    tokens: Option<Reloaded<Tokens>>,
    jwts: Option<Jwts>,
    /// Set where there is neither.
    anybody: Option<Arc<Grant>>,
}

/// What was logged in this second.
struct Told {
    since: Instant,
    lines: u32,
}

impl Auth {
    /// To be called inside a tokio runtime; [`keep_fresh`](Self::keep_fresh) has to run beside it.
    #[must_use]
    pub fn new(config: &AuthConfig) -> Self {
        let tokens = config.tokens.clone().map(|(path, read)| Reloaded::new(path, &config::TOKENS_FILE, read));
        let jwts = config.jwt.clone().map(|jwt| {
            let issuer = match jwt.keys {
                KeysConfig::File(path, keys) => Issuer::File(Reloaded::new(path, &JWKS_FILE, keys)),
                KeysConfig::Url(url, client) => Issuer::Url(Arc::new(Remote::new(url, client))),
            };
            Jwts::new(issuer, jwt.issuer, jwt.audience)
        });
        let anybody = (!config.is_on()).then(|| Arc::new(Grant::everything(ANYBODY)));
        let told = Mutex::new(Told { since: Instant::now(), lines: 0 });
        Self(Arc::new(Ways { told, tokens, jwts, anybody }))
    }

    /// Looks at files and fetches keys until `stop`.
    pub async fn keep_fresh(self, stop: CancellationToken) {
        let fetching = async {
            match self.0.jwts.as_ref().map(Jwts::issuer) {
                Some(Issuer::Url(remote)) => remote.keep_fresh().await,
                Some(Issuer::File(_)) | None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.look() => {}
            () = fetching => {}
        }
    }

    async fn look(&self) {
        loop {
            let ways = Arc::clone(&self.0);
            let looked = tokio::task::spawn_blocking(move || {
                if let Some(tokens) = &ways.tokens {
                    tokens.look();
                }
                if let Some(Issuer::File(keys)) = ways.jwts.as_ref().map(Jwts::issuer) {
                    keys.look();
                }
            });
            if let Err(error) = looked.await {
                tracing::error!(%error, "tokens and keys could not be looked at");
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// What the sender of these headers may do.
    ///
    /// # Errors
    /// When it is not known who that is.
    pub async fn grant(&self, headers: &HeaderMap) -> Result<Arc<Grant>, Refusal> {
        if let Some(anybody) = &self.0.anybody {
            return Ok(Arc::clone(anybody));
        }
        let token = bearer::token(headers)?;
        let found = self.0.tokens.as_ref().map(|tokens| tokens.get().find(token, Timestamp::now()));
        match (found, &self.0.jwts) {
            (Some(Found::Grant(grant)), _) => Ok(grant),
            (Some(Found::Expired(grant)), _) => Err(Refusal::ExpiredToken { name: grant.name.clone() }),
            (Some(Found::Nothing) | None, Some(jwts)) if Jwts::is_one(token) => jwts.grant(token).await,
            (Some(Found::Nothing) | None, _) => Err(Refusal::UnknownToken),
        }
    }

    /// Logs that a known caller may not do what it asked for.
    pub(crate) fn tell(&self, grant: &Grant, refused: &ApiError) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.since.elapsed() >= Duration::from_secs(1) {
            *told = Told { since: Instant::now(), lines: 0 };
        }
        told.lines = told.lines.saturating_add(1);
        if told.lines <= REFUSALS_LOGGED_MAX {
            tracing::info!({ attribute::CLIENT } = grant.name, "a request is refused: {refused}");
        }
    }
}
