//! The connection to NATS.
//!
//! One place sets the options that cost others days: a short ping, so that a half-open link is noticed; the first
//! connect retried, since in a cluster a broker may come up later; and permission violations logged, which show
//! nowhere else but as a time-out. See also [`Broker::close`].
//!
//! # TLS and its rotation
//!
//! The client reads the files of [`TlsFiles`] anew at each connect. So a new authority, or a new certificate of this
//! client, needs no restart: it counts from the next reconnect on, and connections that stand are left alone. To change
//! an authority, trust the old and the new one in one file first, then replace the servers' certificates, then take the
//! old one out.

mod answers;
mod config;
mod error;
mod login;

pub use config::{BrokerConfig, CONNECT_TIMEOUT_DEFAULT, InboxPrefix, InboxPrefixError, TlsFiles};
pub use error::BrokerError;
pub use login::{Login, Seed, SeedError};

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectOptions, Event, HeaderMap, ServerAddr};
use tokio::sync::{Semaphore, watch};
use workfleet_proto::limits::BLOB_CHUNK_BYTES;
use workfleet_proto::names::Names;
use workfleet_proto::wire::Headers;

use answers::Answers;

/// Pause between two tries of the first connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How often it is logged that they still fail for the same reason.
const CONNECT_LOG_INTERVAL: Duration = Duration::from_secs(15);
/// How long an answer of JetStream is waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the last bytes may take on the way out: the longest time of [`Broker::close`].
pub const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);
/// How often the link is checked.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait between two tries to reconnect.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);
/// Pieces of blobs that are asked for and not received, over all readers of a connection: 16 MiB. What waits at the server
/// for a client counts, and beyond 64 MiB it cuts the client off, everything else on its connection with it.
pub(crate) const BLOB_CHUNKS_ASKED_MAX: usize = (16 << 20) / BLOB_CHUNK_BYTES;
/// Messages that wait in the client for the connection. A broker that does not read holds them up, and those of 256 KiB are
/// 64 MiB then; the client's own default is eight times as many.
const MESSAGES_UNSENT_MAX: usize = 256;
/// Acknowledgements of publishes that may be on their way at once.
const PUBLISHES_INFLIGHT_MAX: usize = 4_096;

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
    answers: Arc<Answers>,
    reconnects: watch::Receiver<u64>,
    closed: watch::Receiver<bool>,
}

impl Broker {
    /// Connects, and keeps trying for the time that the configuration gives.
    ///
    /// A server that does not trust us, or whom we do not trust, is tried again too: while a fleet is being set up,
    /// certificates and users may come later than the processes that use them.
    ///
    /// # Errors
    /// When the address or the credentials are no good, or no server takes us in that time.
    pub async fn connect(config: &BrokerConfig) -> Result<Self, BrokerError> {
        Self::connect_telling(config, |_| ()).await
    }

    /// The same, and `tell` hears why each try failed that is not the last, so that a process can say what it waits for.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_telling(config: &BrokerConfig, tell: impl Fn(&BrokerError)) -> Result<Self, BrokerError> {
        let (reconnected, reconnects) = watch::channel(0);
        let (closing, closed) = watch::channel(false);
        let answers = Arc::new(Answers::new(config.inbox_prefix.clone()));
        let callback = event_callback(reconnected, closing, Arc::clone(&answers));
        let client = first_connect(config, &callback, tell).await?;
        let jetstream = ContextBuilder::new()
            .timeout(ANSWER_TIME_MAX)
            .max_ack_inflight(PUBLISHES_INFLIGHT_MAX)
            .build(client.clone());
        let blob_chunks = Arc::new(Semaphore::new(BLOB_CHUNKS_ASKED_MAX));
        let names = Names::new(config.prefix.clone());
        Ok(Self { client, jetstream, names, blob_chunks, answers, reconnects, closed })
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

    /// Why nobody answers, once the server has said that this client may not have answers. It is logged too.
    #[must_use]
    pub fn refusal(&self) -> Option<BrokerError> {
        self.answers.refusal()
    }

    /// Subjects that the server has not let this client publish to so far. A request to one of them is never answered.
    #[must_use]
    pub fn refused_publishes(&self) -> Vec<String> {
        self.answers.refused_publishes()
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

async fn first_connect(
    config: &BrokerConfig,
    callback: &Callback,
    tell: impl Fn(&BrokerError),
) -> Result<Client, BrokerError> {
    let addresses = addresses(&config.url)?;
    let began = Instant::now();
    let mut logged: Option<(String, Instant)> = None;
    loop {
        let options = options(config, &addresses, Arc::clone(callback)).await?;
        let error = match options.connect(addresses.as_slice()).await {
            Ok(client) => return Ok(client),
            Err(error) => BrokerError::of_try(config, &error),
        };
        if began.elapsed() >= config.connect_timeout {
            return Err(error);
        }
        tell(&error);
        let words = error.to_string();
        let is_news = |(last, at): &(String, Instant)| *last != words || at.elapsed() >= CONNECT_LOG_INTERVAL;
        if logged.as_ref().is_none_or(is_news) {
            tracing::warn!(error = words, "no broker yet, trying again");
            logged = Some((words, Instant::now()));
        }
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

fn addresses(url: &str) -> Result<Vec<ServerAddr>, BrokerError> {
    url.split(',')
        .map(|part| {
            part.trim().parse().map_err(|error: std::io::Error| BrokerError::Address {
                url: config::redacted(url),
                reason: error.to_string(),
            })
        })
        .collect()
}

type Callback = Arc<dyn Fn(Event) + Send + Sync>;

fn event_callback(reconnected: watch::Sender<u64>, closing: watch::Sender<bool>, answers: Arc<Answers>) -> Callback {
    Arc::new(move |event| match event {
        Event::Connected => {
            reconnected.send_modify(|count| *count += 1);
            tracing::info!("connected to the broker");
        }
        Event::Disconnected => tracing::warn!("the connection to the broker is lost, reconnecting"),
        Event::Closed => {
            let _ = closing.send(true);
        }
        Event::ServerError(error) => answers.hear(&error),
        Event::SlowConsumer(subscription) => tracing::error!(subscription, "messages were dropped: slow consumer"),
        other => tracing::debug!(event = %other, "broker event"),
    })
}

async fn options(
    config: &BrokerConfig,
    addresses: &[ServerAddr],
    callback: Callback,
) -> Result<ConnectOptions, BrokerError> {
    let mut options = ConnectOptions::new()
        .name(&config.name)
        .custom_inbox_prefix(config.inbox_prefix.as_str())
        .ping_interval(PING_INTERVAL)
        .client_capacity(MESSAGES_UNSENT_MAX)
        .reconnect_delay_callback(|tries| {
            Duration::from_millis(50 * (1 << tries.min(6)) as u64).min(RECONNECT_DELAY_MAX)
        })
        .event_callback(move |event| {
            callback(event);
            async {}
        });
    if let Some(path) = &config.tls.ca_file {
        options = options.add_root_certificates(path.clone()).require_tls(true);
    }
    if let Some(files) = &config.tls.client_pair {
        options = options.add_client_certificate(files.certificate.clone(), files.key.clone());
    }
    login::log_in(options, &config.login, addresses).await
}

/// Headers as the contract reads them.
#[derive(Debug, Clone, Copy)]
pub struct NatsHeaders<'a>(pub &'a HeaderMap);

impl Headers for NatsHeaders<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(async_nats::HeaderValue::as_str)
    }
}
