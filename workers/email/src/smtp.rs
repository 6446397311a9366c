//! Connections that are kept for the next mail.
//!
//! The library has a pool of its own, and it is not used: a mail that is cut off in the middle (its time is up) leaves a
//! connection on which an answer is still to come. That pool would keep it, and the next mail would take the late answer
//! for its own. Here a connection is lent out whole, and given back only after the server's last answer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::connection::Connection;
use crate::error::MailError;
use crate::mail::Mail;
use crate::settings::SmtpSettings;

/// Most connections that lie idle. Those in use are bounded by the worker's slots.
const IDLE_MAX: usize = 8;
/// How long one may lie idle; servers close after minutes, firewalls sooner.
const IDLE_AGE_MAX: Duration = Duration::from_secs(30);
/// How long an idle one may take to say that it is alive.
const ALIVE_MAX: Duration = Duration::from_secs(2);
/// How long a server may take to forget a mail that it refused.
const RESET_MAX: Duration = Duration::from_secs(2);

/// A server, and the connections to it.
#[derive(Debug)]
pub struct Smtp {
    settings: SmtpSettings,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Smtp {
    /// Connects when there is something to send.
    #[must_use]
    pub fn new(settings: SmtpSettings) -> Self {
        Self { settings, idle: Mutex::default() }
    }

    /// Sends a mail, and gives what the server said to it.
    ///
    /// Where it takes too long, or the connection breaks, nobody knows whether the server took the mail.
    ///
    /// # Errors
    /// When the server did not take it, or did not say so.
    pub async fn send(&self, mail: &Mail) -> Result<String, MailError> {
        let limit = self.settings.timeout;
        // What is dropped here drops its connection too.
        timeout(limit, self.converse(mail)).await.unwrap_or(Err(timed_out(limit)))
    }

    async fn converse(&self, mail: &Mail) -> Result<String, MailError> {
        let mut connection = self.connection().await?;
        match connection.send(mail).await {
            Ok(reply) => {
                self.keep(connection);
                Ok(reply)
            }
            Err(not_taken) => {
                if not_taken.answered && timeout(RESET_MAX, connection.reset()).await.unwrap_or(false) {
                    self.keep(connection);
                }
                Err(not_taken.error)
            }
        }
    }

    /// An idle one that is alive, or a new one.
    async fn connection(&self) -> Result<Connection, MailError> {
        while let Some(mut connection) = self.take() {
            if timeout(ALIVE_MAX, connection.is_alive()).await.unwrap_or(false) {
                return Ok(connection);
            }
        }
        let limit = self.settings.connect_timeout;
        timeout(limit, Connection::open(&self.settings)).await.unwrap_or(Err(timed_out(limit)))
    }

    /// The one that was used last; those that are too old go.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.since.elapsed() < IDLE_AGE_MAX);
        idle.pop().map(|idle| idle.connection)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }
}

fn timed_out(limit: Duration) -> MailError {
    MailError::TimedOut { seconds: limit.as_secs() }
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").field("since", &self.since).finish_non_exhaustive()
    }
}
