//! The variables of a worker.

use std::net::SocketAddr;
use std::time::Duration;

use workfleet_link::broker::BrokerConfig;
use workfleet_link::config::{ConfigError, Vars};
use workfleet_link::telemetry::TelemetryConfig;

/// Most slots of one process.
const SLOTS_MAX: u64 = 4_096;

/// What the operator wants of this process.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) broker: BrokerConfig,
    pub(crate) telemetry: TelemetryConfig,
    /// `WORKFLEET_ADMIN_ADDR`: health and metrics over HTTP.
    pub(crate) admin_addr: SocketAddr,
    /// `WORKFLEET_SLOTS`: most tasks at once.
    pub(crate) slots: u32,
    /// `WORKFLEET_DRAIN_TIMEOUT`: how long running handlers may go on after SIGTERM.
    pub(crate) drain_timeout: Duration,
}

impl Config {
    /// Together with the variables that are the worker's own.
    pub(crate) fn read<C>(mut vars: Vars, own: impl FnOnce(&mut Vars) -> C) -> Result<(Self, C), ConfigError> {
        let config = Self {
            broker: BrokerConfig::read(&mut vars, "workfleet-worker"),
            telemetry: TelemetryConfig::read(&mut vars),
            admin_addr: vars.parsed("WORKFLEET_ADMIN_ADDR", SocketAddr::from(([127, 0, 0, 1], 0))),
            slots: u32::try_from(vars.number("WORKFLEET_SLOTS", 16, 1, SLOTS_MAX)).unwrap_or(u32::MAX),
            drain_timeout: vars.duration("WORKFLEET_DRAIN_TIMEOUT", Duration::from_secs(25)),
        };
        let own = own(&mut vars);
        vars.finish((config, own))
    }
}

#[cfg(test)]
mod tests {
    use super::Config;
    use std::time::Duration;
    use workfleet_link::config::Vars;

    #[test]
    fn nothing_needs_to_be_set() {
        let config = Config::read(Vars::from_pairs::<_, String, String>([]), |_| ()).expect("defaults").0;
        assert_eq!((config.slots, config.drain_timeout), (16, Duration::from_secs(25)));
    }

    #[test]
    fn every_mistake_is_reported_together() {
        let vars = Vars::from_pairs([("WORKFLEET_SLOTS", "0"), ("WORKFLEET_ADMIN_ADDR", "here")]);
        let own = |vars: &mut Vars| vars.mistake("ACME: neither fish nor fowl");
        assert_eq!(Config::read(vars, own).expect_err("three mistakes").mistakes.len(), 3);
    }
}
