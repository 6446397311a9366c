//! Where an issuer's keys come from: a file, or a URL.
//!
//! By URL they are fetched every few minutes, and when a token names a key that is not known, which is how an issuer's
//! new key is met first; that is done at most every 30 s, since anybody can send a token that names a key. What was
//! fetched last stays when the URL does not answer: an issuer that is down for an hour is not to stop its callers.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::keys::{JWKS_BYTES_MAX, KeySet, KeySetError};
use super::reloaded::Reloaded;

/// How often the keys are fetched again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(300);
/// Shortest time between two fetches.
const REFRESH_PAUSE_MIN: Duration = Duration::from_secs(30);
/// Longest time of a fetch, from the connection to the last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// The keys of an issuer.
pub(super) enum Issuer {
    File(Reloaded<KeySet>),
    Url(Arc<Remote>),
}

impl Issuer {
    /// What is known now; nothing where no fetch has succeeded yet.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::File(file) => Some(file.get()),
            Self::Url(remote) => remote.keys(),
        }
    }

    /// Asks the issuer anew, if that is possible and was not done a moment ago.
    pub(super) async fn ask_anew(&self) {
        if let Self::Url(remote) = self {
            let remote = Arc::clone(remote);
            // In a running of its own: a caller that goes away must not end the fetch for the others.
            let _ = tokio::spawn(async move { remote.refresh().await }).await;
        }
    }
}

/// Keys behind a URL.
pub(super) struct Remote {
    url: Url,
    /// For logs: without a query, which may have a secret in it.
    shown: String,
    client: reqwest::Client,
    pause_min: Duration,
    good: RwLock<Option<Arc<KeySet>>>,
    last: Mutex<Last>,
}

/// The last fetch, whatever came of it.
#[derive(Default)]
struct Last {
    at: Option<Instant>,
    failed: bool,
}

/// Why keys cannot be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{}", words(.0))]
    Http(reqwest::Error),
    #[error("the answer has more than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer is no key set: {0}")]
    NoKeys(#[from] KeySetError),
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

impl Remote {
    pub(super) fn new(url: Url, client: reqwest::Client) -> Self {
        let mut shown = url.clone();
        shown.set_query(None);
        let shown = shown.to_string();
        Self { url, shown, client, pause_min: REFRESH_PAUSE_MIN, good: RwLock::default(), last: Mutex::default() }
    }

    fn keys(&self) -> Option<Arc<KeySet>> {
        self.good.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches now, and then for ever, sooner after a failure.
    pub(super) async fn keep_fresh(&self) {
        if self.url.scheme() == "http" {
            tracing::warn!(url = self.shown, "the keys for JWTs come in clear: whoever is between can make tokens");
        }
        loop {
            self.refresh().await;
            let failed = self.last.lock().await.failed;
            tokio::time::sleep(if failed { self.pause_min } else { REFRESH_INTERVAL }).await;
        }
    }

    /// Fetches, unless that was done a moment ago. Who comes meanwhile waits for what comes of it.
    async fn refresh(&self) {
        let mut last = self.last.lock().await;
        if last.at.is_some_and(|at| at.elapsed() < self.pause_min) {
            return;
        }
        last.at = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                if last.failed || self.keys().is_none() {
                    tracing::info!(url = self.shown, keys = keys.len(), "the keys for JWTs are fetched");
                }
                *self.good.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
                last.failed = false;
            }
            Err(error) => {
                let kept = if self.keys().is_some() { "those from before are still used" } else { "JWTs are refused" };
                tracing::error!(url = self.shown, %error, "the keys for JWTs cannot be fetched: {kept}");
                last.failed = true;
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let request = self.client.get(self.url.clone()).timeout(FETCH_TIMEOUT);
        let mut answer = request.send().await?.error_for_status()?;
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            if text.len() + piece.len() > JWKS_BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
            text.extend_from_slice(&piece);
        }
        Ok(KeySet::parse(&text)?)
    }
}

/// reqwest says what it did and keeps why to its sources.
fn words(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}

#[cfg(test)]
#[path = "issuer_tests.rs"]
mod tests;
