//! `workfleet serve`: the dispatcher.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use workfleet_dispatcher::{Config, ServeError};
use workfleet_link::config::Vars;

use super::fault::Fault;

/// Run the dispatcher: take tasks over REST and gRPC and say what became of them
///
/// Everything can be set by variables too (docs/configuration.md); an option wins over its variable. SIGTERM and SIGINT
/// make it finish what is in flight and leave.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  workfleet serve --queues deploy/local/queues.toml
  WORKFLEET_NATS_URL=nats://nats:4222 WORKFLEET_TOKENS_FILE=tokens.toml workfleet serve --http 0.0.0.0:8080

At a broker with `workfleet credentials`, two variables of its role:
  WORKFLEET_NATS_NKEY_FILE=credentials/dispatcher.nk  WORKFLEET_NATS_INBOX_PREFIX=_INBOX_dispatcher")]
pub(crate) struct Serve {
    /// Make the queues of this file first, as `workfleet provision` does [env: WORKFLEET_QUEUES_FILE]
    #[arg(long, value_name = "FILE")]
    queues: Option<PathBuf>,
    /// Where to serve REST; port 0 takes a free one [env: WORKFLEET_HTTP_ADDR] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Where to serve gRPC [env: WORKFLEET_GRPC_ADDR] [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    grpc: Option<SocketAddr>,
    /// The broker [env: WORKFLEET_NATS_URL] [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
}

impl Serve {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let config = self.config()?;
        let (http, grpc, admin) = (config.http_addr, config.grpc_addr, config.admin_addr);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        // On the heap: it is the whole program, and large.
        Box::pin(workfleet_dispatcher::serve(config, shutdown)).await.map_err(|error| match error {
            ServeError::Listen { address, .. } => listen_fault(&error, address, http, grpc, admin),
            error => error.into(),
        })
    }

    fn config(self) -> Result<Config, Fault> {
        let mut vars = Vars::from_env();
        // Before they are read: whether an address is allowed depends on the other variables.
        for (name, address) in [("WORKFLEET_HTTP_ADDR", self.http), ("WORKFLEET_GRPC_ADDR", self.grpc)] {
            if let Some(address) = address {
                vars.set(name, address.to_string());
            }
        }
        let mut config = Config::read(vars).map_err(|error| Fault::Usage(error.to_string()))?;
        config.queues_file = self.queues.or(config.queues_file);
        config.broker.url = self.nats.unwrap_or(config.broker.url);
        Ok(config)
    }
}

/// Names the option that chooses another address.
fn listen_fault(
    error: &ServeError,
    address: SocketAddr,
    http: SocketAddr,
    grpc: SocketAddr,
    admin: Option<SocketAddr>,
) -> Fault {
    let options = [
        (Some(http), "--http or WORKFLEET_HTTP_ADDR"),
        (Some(grpc), "--grpc or WORKFLEET_GRPC_ADDR"),
        (admin, "WORKFLEET_ADMIN_ADDR"),
    ];
    let fitting: Vec<&str> = options.iter().filter(|(of, _)| *of == Some(address)).map(|(_, option)| *option).collect();
    Fault::Usage(format!("{error}; choose another address with {}", fitting.join(", or with ")))
}

impl From<ServeError> for Fault {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Broker(error) => error.into(),
            ServeError::Provision(error) => error.into(),
            ServeError::Telemetry(_)
            | ServeError::Tls(_)
            | ServeError::QueuesFile(_)
            | ServeError::Listen { .. }
            | ServeError::Announce(_) => Self::Usage(error.to_string()),
            ServeError::Grpc(_) | ServeError::Subscribe(_) | ServeError::Lost => Self::Ended(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SocketAddr, listen_fault};
    use workfleet_dispatcher::ServeError;

    #[test]
    fn an_address_that_is_taken_comes_with_the_option_to_choose_another() {
        let [http, grpc, admin] = [8080, 8081, 9090].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let hint = |address, grpc| {
            let source = std::io::Error::from(std::io::ErrorKind::AddrInUse);
            listen_fault(&ServeError::Listen { address, source }, address, http, grpc, Some(admin)).to_string()
        };
        assert!(hint(http, grpc).ends_with("choose another address with --http or WORKFLEET_HTTP_ADDR"));
        assert!(hint(grpc, grpc).ends_with("choose another address with --grpc or WORKFLEET_GRPC_ADDR"));
        assert!(hint(admin, grpc).ends_with("choose another address with WORKFLEET_ADMIN_ADDR"));
        assert!(hint(http, http).contains("--http") && hint(http, http).contains("--grpc"));
    }
}
