//! Health over HTTP: `/livez`, `/readyz`, `/metrics`.
//!
//! Live means: the io loop beats, and consumes where it could. A worker that is connected and no longer consumes is the
//! classic silent failure of the field, so it must fail here, and so must one whose slots are all taken while nothing
//! runs in them. A broker that is away is none: a restart would not bring it back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use workfleet_link::admin::{Admin, HealthCheck};
use workfleet_link::broker::Broker;
use workfleet_link::ready;
use workfleet_link::telemetry::Telemetry;

use crate::pulse::Pulse;
use crate::worker::RunError;

/// Longest silence of the io loop.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Longest time in which a worker that could consume hears nothing of its pulls.
const DEAF_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest time in which all slots are taken and no handler runs. Looks, waits for slots and stores, all at their
/// longest, fit into it.
const IDLE_TIME_MAX: Duration = Duration::from_secs(300);

/// What the process says about itself.
#[derive(Debug)]
pub(crate) struct Health {
    pulse: Pulse,
    broker: OnceLock<Broker>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Not yet, or not now, for this reason.
    Waiting(String),
    /// Pulls are out; something was heard of them at this time.
    Consuming(Instant),
    /// Connected, and all slots taken without a handler that runs, since this time.
    Idle(Instant),
    Draining,
}

impl Health {
    pub(crate) fn new(pulse: Pulse) -> Self {
        let state = Mutex::new(State::Waiting("no connection to the broker yet".to_owned()));
        Self { pulse, broker: OnceLock::new(), state }
    }

    pub(crate) fn connected(&self, broker: Broker) {
        // Set once: the connection is made once.
        let _ = self.broker.set(broker);
    }

    /// Tasks are not taken now, and a restart would not help.
    pub(crate) fn waiting(&self, reason: String) {
        self.set(State::Waiting(reason));
    }

    /// Something was heard of the pulls, or there is nothing to ask for.
    pub(crate) fn consuming(&self) {
        self.set(State::Consuming(Instant::now()));
    }

    /// There is nothing to ask for, since all slots are taken, and no handler runs.
    pub(crate) fn idle(&self) {
        let since = match *self.state() {
            State::Idle(since) => since,
            _ => Instant::now(),
        };
        self.set(State::Idle(since));
    }

    pub(crate) fn draining(&self) {
        self.set(State::Draining);
    }

    fn set(&self, next: State) {
        let mut state = self.state();
        if !matches!(*state, State::Draining) {
            *state = next;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_connected(&self) -> bool {
        self.broker.get().is_some_and(Broker::is_connected)
    }
}

impl HealthCheck for Health {
    fn live(&self) -> Result<(), String> {
        if self.pulse.silence() > SILENCE_MAX {
            return Err("the io loop does not beat".to_owned());
        }
        match &*self.state() {
            State::Consuming(heard) if self.is_connected() && heard.elapsed() > DEAF_TIME_MAX => {
                Err(format!("connected, but nothing was heard of the pulls for {} s", heard.elapsed().as_secs()))
            }
            State::Idle(since) if since.elapsed() > IDLE_TIME_MAX => {
                Err(format!("all slots are taken, and no handler has run in them for {} s", since.elapsed().as_secs()))
            }
            _ => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        self.live()?;
        // Before the first connection, the state says why there is none.
        if self.broker.get().is_some_and(|broker| !broker.is_connected()) {
            return Err("no connection to the broker".to_owned());
        }
        match &*self.state() {
            State::Waiting(reason) => Err(reason.clone()),
            State::Consuming(_) | State::Idle(_) => Ok(()),
            State::Draining => Err("draining".to_owned()),
        }
    }
}

/// Serves health and metrics, and tells whoever started this process where.
pub(crate) async fn serve(address: SocketAddr, health: Arc<Health>, telemetry: Telemetry) -> Result<Admin, RunError> {
    let admin = Admin::start(address, health, telemetry).await;
    let what = || format!("WORKFLEET_ADMIN_ADDR={address}: cannot listen");
    let admin = admin.map_err(|source| RunError::system(what(), source))?;
    ready::announce(&[("admin", admin.address())])
        .map_err(|source| RunError::system("cannot write the file that WORKFLEET_ADDR_FILE names", source))?;
    Ok(admin)
}

#[cfg(test)]
mod tests {
    use super::{Health, IDLE_TIME_MAX, State};
    use crate::pulse::Pulse;
    use std::time::{Duration, Instant};
    use workfleet_link::admin::HealthCheck as _;

    #[test]
    fn slots_that_are_taken_for_long_with_no_handler_running_are_no_life() {
        let health = Health::new(Pulse::new());
        let long_ago = Instant::now().checked_sub(IDLE_TIME_MAX + Duration::from_secs(1)).expect("a clock");
        health.consuming();
        health.idle();
        assert!(health.live().is_ok());
        health.set(State::Idle(long_ago));
        health.idle();
        assert!(health.live().is_err(), "the time runs from the first moment");
        health.consuming();
        assert!(health.live().is_ok());
    }
}
