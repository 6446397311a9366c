//! The connection to NATS.
//!
//! One place sets the options that cost others days: a short ping, so that a half-open link is noticed; the first
//! connect retried, since in a cluster a broker may come up later; and permission violations logged, which show
//! nowhere else but as a time-out. See also [`Broker::close`].

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectOptions, Event, HeaderMap, ServerAddr};
use percent_encoding::percent_decode_str;
use tokio::sync::{Semaphore, watch};
use workfleet_proto::limits::BLOB_CHUNK_BYTES;
use workfleet_proto::names::{Names, Prefix};
use workfleet_proto::wire::Headers;

use crate::config::Vars;

/// How long the first connect is tried.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);
/// How long an answer of JetStream is waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the last bytes may take on the way out.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);
/// How often the link is checked.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait between two tries to reconnect.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);
/// Pieces of blobs that are asked for and not received, over all readers of a connection: 16 MiB. What waits at the server
/// for a client counts, and beyond 64 MiB it cuts the client off, everything else on its connection with it.
pub(crate) const BLOB_CHUNKS_ASKED_MAX: usize = (16 << 20) / BLOB_CHUNK_BYTES;
/// Acknowledgements of publishes that may be on their way at once.
const PUBLISHES_INFLIGHT_MAX: usize = 4_096;

/// Where the broker is and who asks.
#[derive(Clone)]
pub struct BrokerConfig {
    /// `nats://host:port`, or several with commas; `nats://user:password@host` or `nats://token@host` to log in.
    pub url: String,
    /// What stands before every name.
    pub prefix: Prefix,
    /// A NATS credentials file.
    pub credentials_file: Option<PathBuf>,
    /// The client's name, as the server shows it.
    pub name: String,
}

impl BrokerConfig {
    /// Reads `WORKFLEET_NATS_URL`, `WORKFLEET_PREFIX` and `WORKFLEET_NATS_CREDENTIALS_FILE`.
    pub fn read(vars: &mut Vars, name: &str) -> Self {
        Self {
            url: vars.text("WORKFLEET_NATS_URL", "nats://127.0.0.1:4222"),
            prefix: vars.parsed("WORKFLEET_PREFIX", Prefix::default()),
            credentials_file: vars.optional_text("WORKFLEET_NATS_CREDENTIALS_FILE").map(PathBuf::from),
            name: name.to_owned(),
        }
    }
}

impl BrokerConfig {
    /// Where the broker is, without user and password.
    #[must_use]
    pub fn address(&self) -> String {
        redacted(&self.url)
    }
}

impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, prefix, credentials_file, name } = self;
        f.debug_struct("BrokerConfig")
            .field("url", &redacted(url))
            .field("prefix", prefix)
            .field("credentials_file", credentials_file)
            .field("name", name)
            .finish()
    }
}

/// A connection, with the names of the fleet it belongs to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Core NATS.
    pub client: Client,
    /// JetStream over the same connection.
    pub jetstream: jetstream::Context,
    /// Every name.
    pub names: Names,
    /// [`BLOB_CHUNKS_ASKED_MAX`] of them. Who comes first is served first.
    pub(crate) blob_chunks: Arc<Semaphore>,
    reconnects: watch::Receiver<u64>,
    closed: watch::Receiver<bool>,
}

impl Broker {
    /// Connects, and keeps trying for 30 s.
    ///
    /// # Errors
    /// When the address or the credentials are no good, or no server answers in that time.
    pub async fn connect(config: &BrokerConfig) -> Result<Self, BrokerError> {
        let (reconnected, reconnects) = watch::channel(0);
        let (closing, closed) = watch::channel(false);
        let callback = event_callback(reconnected, closing);
        let addresses = addresses(&config.url)?;
        let deadline = tokio::time::Instant::now() + CONNECT_TIME_MAX;
        let client = loop {
            let options = options(config, &addresses, callback.clone()).await?;
            match options.connect(addresses.as_slice()).await {
                Ok(client) => break client,
                Err(error) if tokio::time::Instant::now() >= deadline => {
                    return Err(BrokerError::Unreachable { url: redacted(&config.url), reason: error.to_string() });
                }
                Err(error) => {
                    tracing::warn!(url = redacted(&config.url), %error, "no broker yet, trying again");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        };
        let jetstream = ContextBuilder::new()
            .timeout(ANSWER_TIME_MAX)
            .max_ack_inflight(PUBLISHES_INFLIGHT_MAX)
            .build(client.clone());
        let blob_chunks = Arc::new(Semaphore::new(BLOB_CHUNKS_ASKED_MAX));
        Ok(Self { client, jetstream, names: Names::new(config.prefix.clone()), blob_chunks, reconnects, closed })
    }

    /// Whether the link is up at this moment.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Counts connects; changes at each one, so that what hangs on a connection can be renewed.
    #[must_use]
    pub fn reconnects(&self) -> watch::Receiver<u64> {
        self.reconnects.clone()
    }

    /// Sends what is not sent, then closes. Dropping the last client instead loses it, acknowledgements included.
    pub async fn close(mut self) {
        let close = async {
            let _ = self.client.flush().await;
            let _ = self.client.drain().await;
            let _ = self.closed.wait_for(|closed| *closed).await;
        };
        if tokio::time::timeout(CLOSE_TIME_MAX, close).await.is_err() {
            tracing::warn!("the connection to the broker did not close in time");
        }
    }
}

fn addresses(url: &str) -> Result<Vec<ServerAddr>, BrokerError> {
    url.split(',')
        .map(|part| {
            part.trim()
                .parse()
                .map_err(|error: std::io::Error| BrokerError::Address { url: redacted(url), reason: error.to_string() })
        })
        .collect()
}

/// The address without user, password and token, for logs and errors. What cannot be told apart from a password goes
/// with it.
fn redacted(url: &str) -> String {
    let mut parts: Vec<&str> = url.split('@').collect();
    let host = parts.pop().unwrap_or_default();
    let hidden = parts.iter().map(|part| {
        let scheme_ends = part.find("://").map_or(0, |at| at + "://".len());
        format!("{}***@", &part[..scheme_ends])
    });
    hidden.chain([host.to_owned()]).collect()
}

/// What an address says of who connects. The client takes it from its options alone.
fn log_in(options: ConnectOptions, address: &ServerAddr) -> ConnectOptions {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    match (address.username().map(decoded), address.password().map(decoded)) {
        (Some(user), Some(password)) => options.user_and_password(user, password),
        (Some(token), None) => options.token(token),
        (None, _) => options,
    }
}

type Callback = Arc<dyn Fn(Event) + Send + Sync>;

fn event_callback(reconnected: watch::Sender<u64>, closing: watch::Sender<bool>) -> Callback {
    Arc::new(move |event| match event {
        Event::Connected => {
            reconnected.send_modify(|count| *count += 1);
            tracing::info!("connected to the broker");
        }
        Event::Disconnected => tracing::warn!("the connection to the broker is lost, reconnecting"),
        Event::Closed => {
            let _ = closing.send(true);
        }
        // A permission violation names its subject here, and nowhere else.
        Event::ServerError(error) => tracing::error!(%error, "the broker refuses"),
        Event::SlowConsumer(subscription) => tracing::error!(subscription, "messages were dropped: slow consumer"),
        other => tracing::debug!(event = %other, "broker event"),
    })
}

async fn options(
    config: &BrokerConfig,
    addresses: &[ServerAddr],
    callback: Callback,
) -> Result<ConnectOptions, BrokerError> {
    let options = ConnectOptions::new()
        .name(&config.name)
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(|tries| {
            Duration::from_millis(50 * (1 << tries.min(6)) as u64).min(RECONNECT_DELAY_MAX)
        })
        .event_callback(move |event| {
            callback(event);
            async {}
        });
    match &config.credentials_file {
        Some(path) => options
            .credentials_file(path)
            .await
            .map_err(|error| BrokerError::Credentials { path: path.clone(), reason: error.to_string() }),
        // One login for all of them: a cluster names servers that no address here names.
        None => Ok(match addresses.iter().find(|address| address.has_user_pass()) {
            Some(address) => log_in(options, address),
            None => options,
        }),
    }
}

/// Headers as the contract reads them.
#[derive(Debug, Clone, Copy)]
pub struct NatsHeaders<'a>(pub &'a HeaderMap);

impl Headers for NatsHeaders<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(async_nats::HeaderValue::as_str)
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// The address cannot be read.
    #[error("WORKFLEET_NATS_URL={url:?} is not an address: {reason}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The credentials cannot be read.
    #[error("the credentials file {path} cannot be used: {reason}")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers.
    #[error("no NATS server answers at {url}: {reason}; is it running, and is WORKFLEET_NATS_URL right?")]
    Unreachable {
        /// The address.
        url: String,
        /// What the last try said.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::{BrokerConfig, redacted};

    #[test]
    fn no_secret_is_left_of_an_address() {
        assert_eq!(redacted("nats://127.0.0.1:4222"), "nats://127.0.0.1:4222");
        assert_eq!(redacted("nats://me:secret@a:4222"), "nats://***@a:4222");
        assert_eq!(redacted("secret@a, tls://secret@b"), "***@a, tls://***@b");
        for url in ["nats://me:se@cret@a", "nats://me:x://secret@a", "nats://me:x,secret@a,nats://me:secret@b"] {
            let config = BrokerConfig {
                url: url.to_owned(),
                prefix: workfleet_proto::names::Prefix::default(),
                credentials_file: None,
                name: "test".to_owned(),
            };
            let shown = format!("{config:?}");
            assert!(!shown.contains("secret") && !shown.contains("cret@"), "{shown}");
        }
    }
}
