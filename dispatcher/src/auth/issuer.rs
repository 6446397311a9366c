//! Where an issuer's keys come from: a file, or a URL.
//!
//! By URL they are fetched every few minutes, and when a token names a key that is not known, which is how an issuer's
//! new key is met first; that is done at most every 30 s, since anybody can send a token that names a key. Who
//! comes with an unknown key in between is refused as unknown (401), and told to come again. To say 503 instead would let
//! strangers make answers that meshes and alerts take for our failures. What was fetched last stays when the URL does not
//! answer: an issuer that is down for an hour is not to stop its callers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
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
/// Requests that wait for a fetch at once; further ones go by the keys that are known.
const WAITING_MAX: usize = 64;

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

    /// Whether what is known is from before, since the file or the URL is of no use now.
    pub(super) fn is_stale(&self) -> bool {
        match self {
            Self::File(file) => file.is_stale(),
            Self::Url(remote) => remote.failed(),
        }
    }

    /// Asks the issuer anew, if that is possible, was not done a moment ago, and not too many wait for it already.
    pub(super) async fn ask_anew(&self) {
        let Self::Url(remote) = self else { return };
        let Ok(waiting) = Arc::clone(&remote.waiting).try_acquire_owned() else { return };
        let remote = Arc::clone(remote);
        // In a running of its own: a caller that goes away must not end the fetch for the others.
        let refreshing = tokio::spawn(async move {
            remote.refresh().await;
            drop(waiting);
        });
        let _ = refreshing.await;
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
    /// When the last fetch began, whatever came of it. Locked while one runs.
    last: Mutex<Option<Instant>>,
    /// Whether the last fetch failed.
    failed: AtomicBool,
    waiting: Arc<Semaphore>,
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
        Self {
            url,
            shown,
            client,
            pause_min: REFRESH_PAUSE_MIN,
            good: RwLock::default(),
            last: Mutex::default(),
            failed: AtomicBool::new(false),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }

    fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn keys(&self) -> Option<Arc<KeySet>> {
        self.good.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches now, and then for ever, sooner after a failure.
    pub(super) async fn keep_fresh(&self) {
        loop {
            self.refresh().await;
            tokio::time::sleep(if self.failed() { self.pause_min } else { REFRESH_INTERVAL }).await;
        }
    }

    /// Fetches, unless that was done a moment ago. Who comes meanwhile waits for what comes of it.
    async fn refresh(&self) {
        let mut last = self.last.lock().await;
        if last.is_some_and(|at| at.elapsed() < self.pause_min) {
            return;
        }
        *last = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                if self.failed() || self.keys().is_none() {
                    tracing::info!(url = self.shown, keys = keys.len(), "the keys for JWTs are fetched");
                }
                *self.good.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
                self.failed.store(false, Ordering::Relaxed);
            }
            Err(error) => {
                let kept = if self.keys().is_some() { "those from before are still used" } else { "JWTs are refused" };
                tracing::error!(url = self.shown, %error, "the keys for JWTs cannot be fetched: {kept}");
                self.failed.store(true, Ordering::Relaxed);
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
