//! Who a caller is, and what it may do: bearer tokens, checked at the edges before anything of a request is read.
//!
//! - [`tokens`]: static tokens from a file of hashes. `jwt`, with `issuer`, `keys` and `signatures`: JWTs of an issuer.
//! - [`grant`]: what either of them allows. A request has one grant, and everything behind the edge goes by it.
//! - `reloaded`: files that change while the process runs. `told`: what the log is told of refusals.
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
mod told;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::dispatcher::Dispatcher;
use crate::error::ApiError;

pub use config::{AuthConfig, is_loopback};
pub use grant::{Action, Grant};
pub use refusal::{JwtFault, Refusal};

pub(crate) use refusal::{FORBIDDEN_CHALLENGE, FORBIDDEN_REASON};

use config::KeysConfig;
use issuer::{Issuer, Remote};
use jwt::Jwts;
use keys::JWKS_FILE;
use reloaded::Reloaded;
use tokens::{Found, Tokens};
use told::Told;

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Whoever calls where there is no authentication.
pub(crate) const ANYBODY: &str = "anybody";

/// Knows callers by their tokens. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Ways>);

struct Ways {
    told: Told,
    tokens: Option<Reloaded<Tokens>>,
    jwts: Option<Jwts>,
    /// Set where there is neither.
    anybody: Option<Arc<Grant>>,
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
        Self(Arc::new(Ways { told: Told::default(), tokens, jwts, anybody }))
    }

    /// Looks at files and fetches keys until `stop`, and measures whether they are those of now: from the call on, before
    /// it is waited for.
    pub fn keep_fresh(self, dispatcher: Dispatcher, stop: CancellationToken) -> impl Future<Output = ()> + Send {
        self.measure(&dispatcher);
        async move {
            let fetching = async {
                match self.0.jwts.as_ref().map(Jwts::issuer) {
                    Some(Issuer::Url(remote)) => remote.keep_fresh().await,
                    Some(Issuer::File(_)) | None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.look(&dispatcher) => {}
                () = fetching => {}
            }
        }
    }

    fn measure(&self, dispatcher: &Dispatcher) {
        if let Some(tokens) = &self.0.tokens {
            dispatcher.metrics().auth_file("tokens", tokens.is_stale());
        }
        if let Some(jwts) = &self.0.jwts {
            dispatcher.metrics().auth_file("jwks", jwts.issuer().is_stale());
        }
    }

    async fn look(&self, dispatcher: &Dispatcher) {
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
            self.measure(dispatcher);
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

    /// Logs that it is not known who a caller is.
    pub(crate) fn tell_stranger(&self, refusal: &Refusal) {
        self.0.told.stranger(refusal);
    }

    /// Logs that a known caller may not do what it asked for.
    pub(crate) fn tell(&self, grant: &Grant, refused: &ApiError) {
        self.0.told.forbidden(grant, refused);
    }
}
